//! One replica of one group.

mod core;
mod epochs;
mod follower;
mod gate;
mod halt;
mod in_sync;
mod lag;
mod leader;
mod log;
mod membership;
mod probe;
mod progress;
mod read_lease;
mod record;
mod replication;
mod status;
mod suspicion;
mod transfer;

use std::collections::VecDeque;

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::peer::{Envelope, Message, Sender};
use simplekv_types::{Epoch, GroupTime, Lineage, Lsn, Tick};

use self::core::Core;
use self::follower::{Follower, Halt};
use self::leader::Leader;
use self::read_lease::Freshness;
use self::record::Certainty;
use crate::config::{Config, Recovered};
use crate::effect::{Effect, Role, TransferOutcome};
use crate::event::{BatchHeader, Event, RequestId};
use crate::failover::learn;
use crate::invariants;
use crate::recovery::Traces;
use crate::serving::{Admission, Refusal, Serving};

pub use halt::HaltCause;
pub use status::{FollowerStatus, Status};

/// Messages of an epoch that is not on disk yet, of which only so many are kept: what is lost is sent again.
const HELD_MAX: usize = 16;

/// The replicated log of one group, seen from one node.
///
/// Contract: after every [`step`](Self::step), take effects until [`next_effect`](Self::next_effect) returns `None` before anything
/// else. The crate's documentation says what the driver owes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    pub(crate) core: Core,
    pub(crate) role: RoleState,
    /// What came in `core.epoch` before that was on disk.
    held: VecDeque<Envelope>,
    /// A read of the record, with the history and epoch known when it was asked for.
    refresh: Option<(RequestId, Lineage, Epoch)>,
    /// No other read before this.
    refresh_after: Tick,
    /// The latest time seen.
    now: Tick,
    told_ready_to_stop: bool,
    /// Why the role is `Halted`.
    halted: Option<HaltCause>,
    /// The latest history seen that this replica has no part in: only in a later one it can be chosen.
    ended_by: Lineage,
    /// Another epoch has begun while a transfer was under way: whoever asked for it is told who leads once that is known.
    transfer_untold: bool,
}

/// The role, with what exists only in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RoleState {
    Follower(Box<Follower>),
    Leader(Box<Leader>),
    Halted,
}

impl Replica {
    /// A replica with the storage it finds, as a follower that knows no leader. `now` is when its process began to take part: after
    /// it registered, and before it was told anything. Effects may be waiting already.
    #[must_use]
    pub fn new(now: Tick, config: Config, recovered: Recovered) -> Self {
        let core = Core::new(now, config, recovered);
        let mut replica = Self {
            core,
            role: RoleState::Follower(Box::new(Follower::new(now, None))),
            held: VecDeque::new(),
            refresh: None,
            refresh_after: Tick::ZERO,
            now,
            told_ready_to_stop: false,
            halted: None,
            ended_by: Lineage(0),
            transfer_untold: false,
        };
        replica.review(now);
        replica
    }

    /// Something happened. Afterwards all effects must be taken.
    pub fn step(&mut self, now: Tick, event: Event) {
        let now = now.max(self.now);
        self.now = now;
        if matches!(self.role, RoleState::Halted) && !self.is_another_beginning(&event) {
            return self.step_halted(event);
        }
        self.dispatch(now, event);
        self.review(now);
        if cfg!(debug_assertions) {
            invariants::check(self);
        }
    }

    /// What to do next, in order; `None` when the step is done.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.core.effects.pop_front()
    }

    /// When [`Event::Tick`] is next needed; `None` when nothing is being waited for.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        // What was due at the last step was done in it, or waits for something else.
        let due = |at: &Tick| *at > self.now;
        let refresh = (self.is_elected_unconfirmed() && self.refresh.is_none()).then_some(self.refresh_after);
        let refresh = refresh.into_iter().chain(self.look_again_at()).filter(due).min();
        let role = match &self.role {
            RoleState::Follower(follower) => follower.deadlines(&self.core).into_iter().flatten().filter(due).min(),
            RoleState::Leader(leader) => leader.deadlines(&self.core).into_iter().flatten().filter(due).min(),
            RoleState::Halted => return None,
        };
        [refresh, role].into_iter().flatten().min()
    }

    /// Permission to append a batch now. Either nothing comes of it, or the next step is [`Event::Proposed`] with
    /// [`Admission::header`].
    ///
    /// `wall` is this node's wall clock in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`Refusal`]: nothing was done, nothing will be.
    pub fn admit(&mut self, now: Tick, wall: GroupTime) -> Result<Admission, Refusal> {
        self.admit_not_before(now, wall, GroupTime::ZERO)
    }

    /// The same, of a batch whose group time is at least `not_before`: what another group has done by then must not come undone here.
    ///
    /// # Errors
    /// [`Refusal`]: nothing was done, nothing will be.
    pub fn admit_not_before(
        &mut self,
        now: Tick,
        wall: GroupTime,
        not_before: GroupTime,
    ) -> Result<Admission, Refusal> {
        let now = now.max(self.now);
        match &mut self.role {
            RoleState::Leader(leader) => leader.admit(&mut self.core, now, wall, not_before),
            RoleState::Follower(follower) => {
                Err(Refusal::NotLeader { leader: follower.leader.map(|leader| leader.node), epoch: self.core.epoch })
            }
            RoleState::Halted => Err(Refusal::NotLeader { leader: None, epoch: self.core.epoch }),
        }
    }

    /// Each epoch of the log with the LSN it begins at, in order.
    #[must_use]
    pub fn epochs(&self) -> &[(Epoch, Lsn)] {
        self.core.log.epochs.starts()
    }

    /// Why this replica does nothing; `None` while it takes part.
    #[must_use]
    pub fn halted(&self) -> Option<HaltCause> {
        matches!(self.role, RoleState::Halted).then_some(self.halted).flatten()
    }

    /// What is left here, for whoever has to decide how the group goes on.
    #[must_use]
    pub fn traces(&self) -> Traces {
        let core = &self.core;
        Traces {
            identity: core.config.identity,
            lineage: core.lineage,
            epoch: core.epoch,
            last_epoch: core.log.last_epoch(),
            log_end: core.log.end,
            high_watermark: core.high_watermark,
            halted: self.halted(),
        }
    }

    /// What may be answered now.
    #[must_use]
    pub fn serving(&self) -> Serving {
        let none = Serving {
            epoch: self.core.epoch,
            lineage: self.core.lineage,
            role: Role::Halted,
            leader: None,
            activated: false,
            generation: self.core.generation,
            leader_lease_until: Tick::ZERO,
            read_lease_until: Tick::ZERO,
            fresh_as_of: None,
            stalled: false,
        };
        match &self.role {
            RoleState::Halted => none,
            RoleState::Follower(follower) => Serving {
                role: Role::Follower,
                leader: follower.leader.map(|leader| leader.node),
                read_lease_until: follower.lease.until(),
                fresh_as_of: follower.freshness.as_of(),
                ..none
            },
            RoleState::Leader(leader) => Serving {
                role: Role::Leader,
                leader: Some(self.core.config.identity.node),
                activated: leader.is_activated(),
                leader_lease_until: leader.lease_until(&self.core),
                // While the lease lasts nobody else commits anything.
                fresh_as_of: leader.lease_until(&self.core).0.checked_sub(1).map(Tick),
                stalled: leader.probe.was_stalled(),
                ..none
            },
        }
    }

    fn dispatch(&mut self, now: Tick, event: Event) {
        match event {
            Event::Received(envelope) => self.on_received(now, envelope),
            Event::Proposed(header) => self.on_proposed(now, header),
            Event::SentLess { to, end } => {
                if let RoleState::Leader(leader) = &mut self.role {
                    leader.on_sent_less(&self.core, now, to, end);
                }
            }
            Event::Flushed { log_end, truncations } => self.on_flushed(now, log_end, truncations),
            Event::EpochPersisted { epoch, wall } => self.on_epoch_persisted(now, epoch, wall),
            Event::Probed { id } => {
                if let RoleState::Leader(leader) = &mut self.role {
                    leader.probe.completed(id);
                }
            }
            Event::RecordSeen { record, revision } => self.observe(now, record, revision, Certainty::Hint),
            Event::NodesSeen(facts) => learn(&mut self.core.nodes, facts),
            Event::Metadata { id, outcome } => self.on_metadata(now, id, outcome),
            Event::Transfer { to } => match &mut self.role {
                RoleState::Leader(leader) => leader.on_transfer(&mut self.core, now, to, true),
                _ => self.core.push(Effect::TransferEnded(TransferOutcome::NotLeader)),
            },
            Event::Stop => self.core.stopping = true,
            Event::StorageFailed => self.halt(HaltCause::Storage),
            Event::Tick => (),
        }
    }

    /// Does what has become due, whatever made it so.
    fn review(&mut self, now: Tick) {
        if self.is_elected_unconfirmed() || self.look_again_at().is_some_and(|at| at <= now) {
            self.read_record(now);
        }
        let stopped = match &mut self.role {
            RoleState::Follower(follower) => {
                follower.review(&mut self.core, now);
                self.core.stopping && follower.leave(&mut self.core, now)
            }
            RoleState::Leader(leader) => {
                let stopped = self.core.stopping && leader.hand_over(&mut self.core, now);
                leader.review(&mut self.core, now);
                stopped
            }
            RoleState::Halted => false,
        };
        if stopped && !self.told_ready_to_stop {
            self.told_ready_to_stop = true;
            self.core.push(Effect::ReadyToStop);
        }
    }

    fn on_proposed(&mut self, now: Tick, header: BatchHeader) {
        let RoleState::Leader(leader) = &mut self.role else {
            panic!("a batch is proposed in the step after its admission, and nothing can end a leadership in between")
        };
        leader.on_proposed(&mut self.core, now, header);
    }

    fn on_flushed(&mut self, now: Tick, log_end: Lsn, truncations: u64) {
        self.core.log.flushed(now, log_end, truncations);
        if let RoleState::Follower(follower) = &mut self.role {
            follower.on_flushed(&mut self.core, now);
        }
    }

    fn is_for_us(&self, envelope: &Envelope) -> bool {
        let config = &self.core.config;
        envelope.cluster == config.cluster
            && envelope.group == config.group
            && envelope.to == config.identity.node
            && envelope.from.node != config.identity.node
    }

    fn on_received(&mut self, now: Tick, envelope: Envelope) {
        if !self.is_for_us(&envelope) {
            return;
        }
        if envelope.lineage != self.core.lineage {
            // Of an earlier history it proves nothing. Of a later one the record tells.
            if envelope.lineage > self.core.lineage {
                self.read_record(now);
            }
            return;
        }
        if envelope.epoch > self.core.epoch {
            let leader = speaks_as_leader(&envelope.message).then_some(envelope.from);
            self.adopt(now, envelope.epoch, leader);
        }
        let is_past = envelope.epoch < self.core.epoch;
        if is_past && !(is_broken(Rule::C26) && matches!(envelope.message, Message::AppendAck(_))) {
            return self.answer_the_past(envelope);
        }
        if !self.core.epoch_persisted {
            if self.held.len() < HELD_MAX {
                self.held.push_back(envelope);
            }
            return;
        }
        self.on_current(now, envelope);
    }

    /// A message of this epoch, which is on disk.
    fn on_current(&mut self, now: Tick, envelope: Envelope) {
        let Envelope { from, message, .. } = envelope;
        match &mut self.role {
            RoleState::Leader(leader) => match message {
                Message::AppendAck(ack) => leader.on_ack(&mut self.core, now, from, &ack),
                Message::RevokeAck { id } => leader.on_revoke_ack(from, id),
                Message::EpochAck { .. } => leader.on_epoch_ack(from),
                Message::Leave => leader.on_leave(from),
                // Whoever suspects us does not hear us; nothing we could answer would reach it.
                Message::Suspect { .. } => (),
                Message::Append(_) | Message::Revoke { .. } | Message::EpochProbe | Message::SnapshotOffer { .. } => {
                    self.core.malformed(from.node, "it leads our epoch");
                }
            },
            RoleState::Follower(follower) => {
                let knew = follower.leader.is_some();
                if speaks_as_leader(&message) && !follower.follows(from) {
                    return self.core.malformed(from.node, "two lead the same epoch");
                }
                self.on_followed(now, from, message);
                if !knew && matches!(&self.role, RoleState::Follower(follower) if follower.leader.is_some()) {
                    self.tell_role();
                }
            }
            RoleState::Halted => (),
        }
    }

    fn on_followed(&mut self, now: Tick, from: Sender, message: Message) {
        let RoleState::Follower(follower) = &mut self.role else { return };
        match message {
            Message::Append(append) => {
                if let Err(Halt) = follower.on_append(&mut self.core, now, append) {
                    self.halt(HaltCause::Conflict);
                }
            }
            Message::Revoke { id } => follower.on_revoke(&mut self.core, now, id),
            Message::EpochProbe => self.say_epoch_adopted(from),
            Message::Suspect { last_epoch, log_end } => follower.suspicion.hear(now, from, (last_epoch, log_end)),
            Message::SnapshotOffer { upto } => {
                if upto > self.core.log.end {
                    self.core.push(Effect::FetchSnapshot { from: from.node, upto });
                }
            }
            // Answers to a leadership that has ended, or never was.
            Message::AppendAck(_) | Message::RevokeAck { .. } | Message::EpochAck { .. } | Message::Leave => (),
        }
    }

    /// Whoever still acts in an earlier epoch is told of this one, so that it stops.
    fn answer_the_past(&mut self, envelope: Envelope) {
        if speaks_as_leader(&envelope.message) && self.core.epoch_persisted {
            self.say_epoch_adopted(envelope.from);
        }
    }

    /// True whenever it is said: adopting an epoch drops every older lease and role before anything else.
    fn say_epoch_adopted(&mut self, to: Sender) {
        let (log_end, last_epoch) = (self.core.log.end, self.core.log.last_epoch());
        self.core.send(to.node, Message::EpochAck { log_end, last_epoch });
    }

    /// Leaves the epoch for a later one. Everything that was verified, asked for or promised in the old one ends here, at once;
    /// nothing is answered in the new one before it is on disk.
    fn adopt(&mut self, now: Tick, epoch: Epoch, leader: Option<Sender>) {
        assert!(epoch > self.core.epoch, "epochs never fall");
        let before = match &self.role {
            RoleState::Follower(follower) if is_broken(Rule::C25) => Some((follower.leader, follower.verified_end)),
            _ => None,
        };
        // What was committed by some time stays so, whoever leads.
        let fresh_as_of = self.serving().fresh_as_of.map(|as_of| as_of.min(now));
        self.enter(now, epoch);
        let mut follower = Follower::new(now, leader);
        follower.freshness = Freshness::since(fresh_as_of);
        if let Some((_, verified_end)) = before.filter(|(led, _)| led.map(|led| led.node) == leader.map(|led| led.node))
        {
            follower.verified_end = verified_end;
        }
        if is_broken(Rule::C23) && self.core.high_watermark < self.core.log.end {
            let log_end = self.core.high_watermark;
            self.core.log.truncate(log_end);
            self.core.push(Effect::Truncate { log_end });
        }
        self.role = RoleState::Follower(Box::new(follower));
        self.tell_role();
    }

    fn enter(&mut self, now: Tick, epoch: Epoch) {
        if let RoleState::Leader(leader) = &mut self.role {
            // Until now we supported ourselves.
            if !is_broken(Rule::C56) {
                self.core.last_ack = now;
            }
            self.transfer_untold |= leader.transfer.take().is_some_and(|transfer| transfer.told);
        }
        self.core.withdraw_leases();
        self.core.barren_epochs += 1;
        self.core.epoch = epoch;
        self.core.epoch_persisted = false;
        self.core.push(Effect::PersistEpoch { epoch, lineage: self.core.lineage });
        self.held.clear();
    }

    fn tell_role(&mut self) {
        let Serving { epoch, role, leader, .. } = self.serving();
        self.core.push(Effect::RoleChanged { epoch, role, leader });
        if let Some(leader) = leader.filter(|_| self.transfer_untold) {
            self.transfer_untold = false;
            self.core.push(Effect::TransferEnded(TransferOutcome::Elected { leader, epoch }));
        }
    }

    fn on_epoch_persisted(&mut self, now: Tick, epoch: Epoch, wall: GroupTime) {
        if epoch != self.core.epoch || self.core.epoch_persisted {
            return;
        }
        self.core.epoch_persisted = true;
        if let RoleState::Leader(leader) = &mut self.role {
            leader.start(&mut self.core, now, wall);
        }
        for envelope in std::mem::take(&mut self.held) {
            if envelope.epoch == self.core.epoch {
                self.on_current(now, envelope);
            }
        }
    }
}

/// Whether only the leader of the message's epoch says this.
fn speaks_as_leader(message: &Message) -> bool {
    match message {
        Message::Append(_) | Message::Revoke { .. } | Message::EpochProbe | Message::SnapshotOffer { .. } => true,
        Message::AppendAck(_)
        | Message::RevokeAck { .. }
        | Message::EpochAck { .. }
        | Message::Suspect { .. }
        | Message::Leave => false,
    }
}
