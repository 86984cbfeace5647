//! What a replica knows whatever its role.

use std::collections::VecDeque;

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::peer::{Envelope, Message, Sender};
use simplekv_types::{Epoch, GroupRecord, Leadership, Lineage, Lsn, Member, NodeId, Revision, Tick};

use super::log::Log;
use crate::config::{Config, Recovered};
use crate::effect::{Alarm, Effect, MetadataRequest};
use crate::event::{NodeFacts, RequestId};
use crate::failover::Nodes;
use crate::group_clock::GroupClock;

/// The part of a replica that roles come and go on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Core {
    pub(crate) config: Config,
    /// When this process began to take part: whatever an earlier process promised, it promised before.
    pub(crate) started: Tick,
    /// The epoch this replica acts in. Never falls.
    pub(crate) epoch: Epoch,
    /// Whether `epoch` is on disk. Nothing is answered in an epoch before it is.
    pub(crate) epoch_persisted: bool,
    pub(crate) lineage: Lineage,
    pub(crate) log: Log,
    /// First LSN not known committed; everything below is applied. Never falls. Invariant: at most `log.end`.
    pub(crate) high_watermark: Lsn,
    pub(crate) clock: GroupClock,
    /// When this replica last supported a leader, by an acknowledgement or by being one, in any epoch. Until a lease counted from
    /// here has ended, an older leader may still answer reads.
    pub(crate) last_ack: Tick,
    /// Epochs entered since a leader was last heard or a commit seen. Replicas that cannot reach each other would otherwise depose
    /// each other as fast as they can.
    pub(crate) barren_epochs: u32,
    /// Changes whenever a lease of this replica ends.
    pub(crate) generation: u64,
    /// The newest group record seen.
    pub(crate) record: Option<(GroupRecord, Revision)>,
    pub(crate) nodes: Nodes,
    /// Set by [`Event::Stop`](crate::Event::Stop): this replica will not stand for leader.
    pub(crate) stopping: bool,
    next_request: u64,
    next_revoke: u64,
    pub(crate) effects: VecDeque<Effect>,
}

impl Core {
    pub(crate) fn new(now: Tick, config: Config, recovered: Recovered) -> Self {
        let high_watermark = recovered.high_watermark.min(recovered.log_end);
        let (persisted, lineage) = (recovered.epoch, recovered.lineage);
        let log = Log::new(recovered);
        let epoch = persisted.max(log.last_epoch());
        Self {
            config,
            started: now,
            epoch,
            // A record in the log is as good a proof of its epoch as the file written for it.
            epoch_persisted: true,
            lineage,
            log,
            high_watermark,
            clock: GroupClock::default(),
            last_ack: if is_broken(Rule::C11) { Tick::ZERO } else { now },
            barren_epochs: 0,
            generation: 0,
            record: None,
            nodes: Nodes::new(),
            stopping: false,
            next_request: 0,
            next_revoke: 0,
            effects: VecDeque::new(),
        }
    }

    pub(crate) fn me(&self) -> Member {
        let Sender { node, storage, .. } = self.config.identity;
        Member { node, storage }
    }

    /// Whether this very run was elected.
    pub(crate) fn is_me(&self, leader: Option<Leadership>) -> bool {
        leader.is_some_and(|leader| {
            Sender::from(leader) == self.config.identity || (is_broken(Rule::C12) && leader.member() == self.me())
        })
    }

    /// What the metadata store says about this node, if it is this run that is registered there.
    pub(crate) fn own_facts(&self) -> Option<&NodeFacts> {
        let Sender { node, storage, run } = self.config.identity;
        self.nodes.get(&node).filter(|facts| facts.storage == storage && facts.run == run && !facts.poisoned)
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    pub(crate) fn alarm(&mut self, alarm: Alarm) {
        self.push(Effect::Alarm(alarm));
    }

    pub(crate) fn malformed(&mut self, from: NodeId, reason: &'static str) {
        self.alarm(Alarm::MalformedMessage { from, reason });
    }

    pub(crate) fn envelope(&self, to: NodeId, message: Message) -> Envelope {
        Envelope {
            cluster: self.config.cluster,
            group: self.config.group,
            lineage: self.lineage,
            epoch: self.epoch,
            from: self.config.identity,
            to,
            message,
        }
    }

    pub(crate) fn send(&mut self, to: NodeId, message: Message) {
        let envelope = self.envelope(to, message);
        self.push(Effect::Send(envelope));
    }

    pub(crate) fn request(&mut self, request: MetadataRequest) -> RequestId {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.push(Effect::Metadata { id, request });
        id
    }

    /// A number for one attempt to revoke a lease; never used again, so that no late answer can be taken for another attempt's.
    pub(crate) fn revoke_id(&mut self) -> u64 {
        self.next_revoke += 1;
        self.next_revoke
    }

    /// A lease or role of this replica ends: no reader may count on it once this step's later effects are executed.
    pub(crate) fn withdraw_leases(&mut self) {
        self.generation += 1;
        self.push(Effect::WithdrawLeases);
    }

    /// First LSN this replica may not acknowledge.
    pub(crate) fn own_end(&self) -> Lsn {
        self.log.own_end(self.config.flush)
    }

    /// Everything below is committed.
    pub(crate) fn advance_high_watermark(&mut self, to: Lsn) {
        assert!(to <= self.log.end, "committed {to}, but we end at {}", self.log.end);
        if self.high_watermark < to {
            self.high_watermark = to;
            self.barren_epochs = 0;
            self.push(Effect::Apply { high_watermark: to });
        }
    }

    /// Asks for a flush if one is due.
    pub(crate) fn flush_if_due(&mut self, now: Tick) {
        if self.log.ask_flush(now, self.config.flush, &self.config.timing) {
            let (log_end, truncations) = (self.log.end, self.log.truncations);
            self.push(Effect::Flush { log_end, truncations });
        }
    }
}

/// `now - duration`, at the beginning of the clock if it has not run that long.
pub(crate) fn before(now: Tick, duration: std::time::Duration) -> Tick {
    Tick(now.0.saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
}
