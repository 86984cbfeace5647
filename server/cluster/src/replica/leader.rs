//! Leading: say what comes next in the log, and when it counts.

use std::collections::BTreeMap;
use std::time::Duration;

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::peer::{AppendAck, Message, Sender};
use simplekv_types::{GroupRecord, GroupTime, Lsn, Member, NodeId, Revision, Tick};

use super::core::Core;
use super::gate::Gate;
use super::in_sync::{InSync, smallest};
use super::lag::PastEnds;
use super::probe::AppendProbe;
use super::progress::{Finding, Progress};
use super::transfer::Transfer;
use super::{Admission, Refusal};
use crate::effect::{Alarm, Appending, Effect};
use crate::event::BatchHeader;
use crate::lease;

/// A replica that leads, in one epoch, which never changes: a batch it stamps can belong to no other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Leader {
    pub(crate) in_sync: InSync,
    /// Every other replica that records are sent to: assigned ones, in sync or learning, and whoever else is in sync.
    pub(crate) followers: BTreeMap<NodeId, Progress>,
    /// When it was elected.
    pub(crate) since: Tick,
    /// The first and the last end of the batch that starts the epoch; `None` until it is written.
    epoch_start: Option<(Lsn, Lsn)>,
    ends: PastEnds,
    pub(crate) gate: Gate,
    /// Whether the start of the epoch is committed. Before that, a record of an earlier epoch in this log may already have been
    /// read elsewhere, and nothing may be read here.
    activated: bool,
    pub(crate) probe: AppendProbe,
    pub(crate) transfer: Option<Transfer>,
    /// Whether a transfer was tried because the process will end.
    pub(crate) handed_over: bool,
    /// When the fenced members were last asked to drop their leases.
    fence_asked_at: Option<Tick>,
    /// When another leader was last asked for.
    pub(crate) election_requested_at: Option<Tick>,
}

impl Leader {
    /// A leader as elected by this record, which was read linearizably.
    pub(crate) fn new(core: &Core, now: Tick, record: GroupRecord, revision: Revision) -> Self {
        let timing = &core.config.timing;
        let longest = if is_broken(Rule::C60) { record.lease_ms } else { record.fence_ms };
        let wait = lease::gate_wait(timing, Duration::from_millis(longest));
        let me = core.me();
        // Of this node itself nothing is left: becoming leader ended every older lease and role of it, and of an earlier process.
        let fence = record.fence.iter().copied().filter(|member| *member != me).collect();
        Self {
            in_sync: InSync::new(record, revision),
            followers: BTreeMap::new(),
            since: now,
            epoch_start: None,
            ends: PastEnds::new(timing.lag_time, core.log.end),
            gate: Gate::new(core.last_ack + wait, fence),
            activated: false,
            probe: AppendProbe::default(),
            transfer: None,
            handed_over: false,
            fence_asked_at: None,
            election_requested_at: None,
        }
    }

    /// The epoch is on disk: begin it. Records even without a write which leadership the log went on under, so that the logs of two
    /// leaders that wrote nothing can be told apart.
    pub(crate) fn start(&mut self, core: &mut Core, now: Tick, wall: GroupTime) {
        if self.epoch_start.is_some() {
            return;
        }
        let header = BatchHeader {
            lineage: core.lineage,
            epoch: core.epoch,
            base: core.log.end,
            count: 1,
            time: stamp(core, now, wall, GroupTime::ZERO),
            high_watermark: core.high_watermark,
        };
        self.write(core, now, &header);
        core.push(Effect::Append(Appending::EpochStart(header)));
        self.epoch_start = Some((header.base, header.end()));
        self.sync_followers(core);
    }

    fn write(&mut self, core: &mut Core, now: Tick, header: &BatchHeader) {
        core.log.write(now, header);
        self.ends.push(now, core.log.end);
    }

    /// Sends to whom the record names, and to nobody else.
    fn sync_followers(&mut self, core: &Core) {
        let Some((start, _)) = self.epoch_start else { return };
        let me = core.config.identity.node;
        let record = &self.in_sync.record;
        let nodes = record.replicas.iter().copied().chain(self.in_sync.required().iter().map(|member| member.node));
        let wanted: Vec<NodeId> = nodes.filter(|node| *node != me).collect();
        self.followers.retain(|node, _| wanted.contains(node));
        for node in wanted {
            self.followers.entry(node).or_insert_with(|| Progress::new(node, start));
        }
    }

    /// The group's record in this epoch is certainly this.
    pub(crate) fn confirm(&mut self, core: &Core, record: GroupRecord, revision: Revision) {
        self.in_sync.confirm(record, revision);
        self.sync_followers(core);
    }

    pub(crate) fn is_activated(&self) -> bool {
        self.activated
    }

    /// First LSN after the start of the epoch.
    pub(crate) fn epoch_start_end(&self) -> Option<Lsn> {
        self.epoch_start.map(|(_, end)| end)
    }

    /// Permission to write a batch.
    pub(crate) fn admit(
        &self,
        core: &mut Core,
        now: Tick,
        wall: GroupTime,
        not_before: GroupTime,
    ) -> Result<Admission, Refusal> {
        if self.epoch_start.is_none() {
            return Err(Refusal::Starting { epoch: core.epoch });
        }
        if self.probe.is_stalled(core, now) {
            return Err(Refusal::Stalled);
        }
        if self.transfer.is_some() {
            return Err(Refusal::Transferring);
        }
        let required = self.in_sync.required();
        let lagging = required.iter().filter(|member| self.is_lagging(core, now, **member)).count();
        if lagging > 0 || !self.in_sync.meets_floor() {
            let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let in_sync = count(required.len() - lagging);
            return Err(Refusal::NoReplicas { in_sync, required: count(required.len().max(self.in_sync.floor())) });
        }
        Ok(Admission {
            lineage: core.lineage,
            epoch: core.epoch,
            base: core.log.end,
            high_watermark: core.high_watermark,
            time: stamp(core, now, wall, not_before),
        })
    }

    /// An admitted batch is filled.
    pub(crate) fn on_proposed(&mut self, core: &mut Core, now: Tick, header: BatchHeader) {
        assert!(header.epoch == core.epoch && header.count > 0, "only what was admitted is proposed");
        self.write(core, now, &header);
        core.push(Effect::Append(Appending::Proposed(header)));
    }

    /// A replica says how much of this leader's log it holds.
    pub(crate) fn on_ack(&mut self, core: &mut Core, now: Tick, from: Sender, ack: &AppendAck) {
        let Some(progress) = self.followers.get_mut(&from.node) else { return };
        if ack.verified_end > core.log.end || ack.echo > now {
            core.malformed(from.node, "it acknowledges what was never sent");
            return;
        }
        if !progress.identify(from) {
            return;
        }
        let lease = Duration::from_millis(if is_broken(Rule::C9) { 1000 } else { self.in_sync.record.lease_ms });
        let begins = if is_broken(Rule::C21) { now } else { ack.echo };
        progress.lead_until = progress.lead_until.max(begins + lease);
        if let Finding::Lied { acknowledged } = progress.on_ack(now, &core.log, ack) {
            let member = Member { node: from.node, storage: from.storage };
            core.alarm(Alarm::StorageLied { member, acknowledged });
        }
    }

    /// A follower has given up its read lease.
    pub(crate) fn on_revoke_ack(&mut self, from: Sender, id: u64) {
        let Some(leave) = self.in_sync.change_mut().and_then(|change| change.leave.as_mut()) else { return };
        let member = Member { node: from.node, storage: from.storage };
        // Only an answer to this attempt voids the grants sent since the last.
        if (leave.revoke == id || is_broken(Rule::C68)) && leave.member == member {
            leave.revoked = true;
        }
    }

    /// A member of the fence has dropped every older lease and role.
    pub(crate) fn on_epoch_ack(&mut self, from: Sender) {
        self.gate.dropped(Member { node: from.node, storage: from.storage });
    }

    /// A follower will stop and holds no read lease.
    pub(crate) fn on_leave(&mut self, from: Sender) {
        if let Some(progress) = self.followers.get_mut(&from.node).filter(|progress| progress.run() == Some(from.run)) {
            progress.leaving = true;
        }
    }

    /// The driver could send fewer records than it was asked to.
    pub(crate) fn on_sent_less(&mut self, core: &Core, now: Tick, to: NodeId, end: Lsn) {
        if let Some(progress) = self.followers.get_mut(&to) {
            progress.sent_less(end, now + core.config.timing.heartbeat);
        }
    }

    /// Everything that follows from what has just happened, in the one order that is right: first what counts, then who must be
    /// waited for, then what is sent. So a joining replica is compared with the very commit that it is waited for from.
    pub(crate) fn review(&mut self, core: &mut Core, now: Tick) {
        if self.epoch_start.is_none() {
            return;
        }
        core.flush_if_due(now);
        self.probe.review(core, now);
        self.gate.review(now);
        self.commit(core);
        self.review_in_sync(core, now);
        // Somebody may not be waited for any more.
        self.commit(core);
        self.ask_fence(core, now);
        self.replicate(core, now);
    }

    /// Everything that all required replicas hold is committed.
    fn commit(&mut self, core: &mut Core) {
        if !self.gate.is_open() || !self.in_sync.meets_floor() {
            return;
        }
        let held = smallest(self.in_sync.required().iter().map(|member| self.matched(core, *member)));
        core.advance_high_watermark(held.max(core.high_watermark));
        if !self.activated && self.epoch_start.is_some_and(|(_, end)| core.high_watermark >= end) {
            self.activated = true;
        }
    }

    /// First LSN that this incarnation is not known to hold.
    pub(crate) fn matched(&self, core: &Core, member: Member) -> Lsn {
        if member == core.me() {
            return core.own_end();
        }
        self.progress_of(member).map_or(Lsn::ZERO, |progress| progress.matched)
    }

    pub(crate) fn progress_of(&self, member: Member) -> Option<&Progress> {
        self.followers.get(&member.node).filter(|progress| progress.is(member))
    }

    /// Whether an acknowledgement of the member was received within the lag time.
    pub(crate) fn is_heard(&self, core: &Core, now: Tick, member: Member) -> bool {
        let heard_at = self.progress_of(member).and_then(|progress| progress.heard_at);
        member == core.me() || heard_at.is_some_and(|at| now <= at + core.config.timing.lag_time)
    }

    /// Whether the member does not keep up. Answering heartbeats is not enough, and neither is having everything but being silent.
    pub(crate) fn is_lagging(&self, core: &Core, now: Tick, member: Member) -> bool {
        let is_silent = !self.is_heard(core, now, member) && !is_broken(Rule::C72);
        let is_behind = self.matched(core, member) < self.ends.one_lag_time_ago(now) && !is_broken(Rule::C63);
        is_silent || is_behind
    }

    /// Until when every required replica supports this leader; [`Tick::ZERO`] before activation.
    pub(crate) fn lease_until(&self, core: &Core) -> Tick {
        if !self.activated && !is_broken(Rule::C13) {
            return Tick::ZERO;
        }
        let me = core.me();
        let others = self.in_sync.required().iter().filter(|member| **member != me);
        // Alone in the set, nobody else can be elected.
        let support = others.map(|member| self.progress_of(*member).map_or(Tick::ZERO, |progress| progress.lead_until));
        let until = if is_broken(Rule::C1) { support.max() } else { support.min() };
        until.unwrap_or(Tick(u64::MAX))
    }

    /// Asks those who may hold older leases to drop them.
    fn ask_fence(&mut self, core: &mut Core, now: Tick) {
        let due = self.fence_asked_at.is_none_or(|at| now >= at + core.config.timing.heartbeat);
        if self.gate.is_open() || !due {
            return;
        }
        self.fence_asked_at = Some(now);
        let mut asked: Vec<NodeId> = self.gate.awaited().iter().map(|member| member.node).collect();
        asked.dedup();
        for node in asked {
            core.send(node, Message::EpochProbe);
        }
    }

    pub(crate) fn deadlines(&self, core: &Core) -> [Option<Tick>; 9] {
        let timing = &core.config.timing;
        let heartbeat =
            self.followers.values().filter_map(|progress| progress.sent_at).min().map(|at| at + timing.heartbeat);
        let heard = self.in_sync.required().iter().filter_map(|member| self.progress_of(*member)?.heard_at).min();
        let lag = heard.map(|at| at + timing.lag_time + Duration::from_nanos(1));
        let fence = self.fence_asked_at.filter(|_| !self.gate.is_open()).map(|at| at + timing.heartbeat);
        [
            heartbeat.filter(|_| !self.probe.was_stalled()),
            fence,
            lag,
            self.gate.deadline(),
            self.probe.deadline(core),
            core.log.flush_due(core.config.flush, timing),
            self.in_sync.deadline(),
            self.in_sync.change().and_then(|change| change.leave).map(|leave| self.holder_until(leave.member)),
            self.transfer.as_ref().map(|transfer| transfer.deadline),
        ]
    }
}

/// The group time of a batch written now.
fn stamp(core: &mut Core, now: Tick, wall: GroupTime, not_before: GroupTime) -> GroupTime {
    let floor = core.log.last_time.max(not_before);
    let (time, jumped) = core.clock.stamp(now, wall, floor);
    if let Some(ahead) = jumped {
        core.alarm(Alarm::ClockJumped { ahead });
    }
    time
}
