//! Following a leader: take its records, say how much is provably the same, apply what it has committed.

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::peer::{Append, AppendAck, Message, Reject, Sender};
use simplekv_types::{Batch, Epoch, Lsn, NodeId, Tick};

use super::core::Core;
use super::read_lease::{Freshness, ReadLease};
use super::suspicion::Suspicion;
use crate::effect::{Alarm, Appending, Effect};

/// A replica that does not lead, in one epoch. A new epoch begins with a new one of these: nothing that was verified, asked for or
/// promised in another epoch carries over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Follower {
    /// Who leads the epoch, once known.
    pub(crate) leader: Option<Sender>,
    /// First LSN not known to equal the leader's log. Invariant: at most `log.end`; nothing below is ever truncated in this epoch.
    pub(crate) verified_end: Lsn,
    /// When the leader was last heard, or the epoch begun.
    heard_at: Tick,
    /// The greatest send time heard of the leader, on its clock.
    echo: Tick,
    /// When the last acknowledgement was sent, and what it said.
    acked: Option<(Tick, Lsn)>,
    /// Whether the last answer sent the leader back: it wants to know at once how its next attempt fares.
    rejected: bool,
    pub(crate) lease: ReadLease,
    pub(crate) freshness: Freshness,
    pub(crate) suspicion: Suspicion,
    /// When the leader was last told that this replica will stop.
    told_leaving: Option<Tick>,
}

/// A follower cannot go on: the group's history contradicts what is applied here.
#[derive(Debug)]
pub(crate) struct Halt;

impl Follower {
    pub(crate) fn new(now: Tick, leader: Option<Sender>) -> Self {
        Self {
            leader,
            verified_end: Lsn::ZERO,
            heard_at: now,
            echo: Tick::ZERO,
            acked: None,
            rejected: false,
            lease: ReadLease::new(now),
            freshness: Freshness::default(),
            suspicion: Suspicion::default(),
            told_leaving: None,
        }
    }

    /// When the leader was last heard, or the epoch begun.
    pub(crate) fn heard_at(&self) -> Tick {
        self.heard_at
    }

    /// Whether this node leads the epoch, as far as is known; if nobody was known, it is now.
    pub(crate) fn follows(&mut self, leader: Sender) -> bool {
        *self.leader.get_or_insert(leader) == leader
    }

    /// Records or a heartbeat of the epoch's leader.
    pub(crate) fn on_append(&mut self, core: &mut Core, now: Tick, append: Append) -> Result<(), Halt> {
        if let Err(reason) = well_formed(core.epoch, &append) {
            let from = self.leader.map_or(NodeId(0), |leader| leader.node);
            core.malformed(from, reason);
            return Ok(());
        }
        self.heard_at = now;
        core.barren_epochs = 0;
        self.echo = self.echo.max(append.sent_at);
        self.suspicion.lift();
        core.clock.hear(now, append.time);
        self.take_grant(core, now, &append);
        // What is committed here is in every later leader's log: it matches even if this log cannot tell any more.
        let known = append.prev_end <= core.high_watermark.max(self.verified_end)
            || (is_broken(Rule::C24) && append.prev_end <= core.log.end);
        if !known && !core.log.agrees(append.prev_end, append.prev_epoch) {
            self.reject(core, now, &append);
            return Ok(());
        }
        let covered = append.batches.last().map_or(append.prev_end, Batch::end);
        let fresh = append.fresh.filter(|sent_at| *sent_at > core.started && *sent_at <= now);
        let (leader_high_watermark, carried) = (append.high_watermark, !append.batches.is_empty());
        let sent_at = append.sent_at;
        self.merge(core, now, append.batches)?;

        let verified_before = self.verified_end;
        self.verified_end = self.verified_end.max(covered);
        let high_watermark_before = core.high_watermark;
        let provable = if is_broken(Rule::C28) { core.log.end } else { self.verified_end };
        core.advance_high_watermark(core.high_watermark.max(leader_high_watermark.min(provable)));
        if let Some(sent_at) = fresh {
            self.freshness.promise(leader_high_watermark, sent_at, core.high_watermark);
        }
        self.freshness.applied(core.high_watermark);
        core.flush_if_due(now);

        let only_commit =
            !carried && core.high_watermark > high_watermark_before && self.verified_end == verified_before;
        self.acknowledge_if_due(core, now, sent_at, carried, only_commit);
        Ok(())
    }

    /// Writes what is missing of the leader's batches, after dropping what contradicts them.
    fn merge(&mut self, core: &mut Core, now: Tick, mut batches: Vec<Batch>) -> Result<(), Halt> {
        let known_end = core.high_watermark.max(self.verified_end);
        let mut known = 0;
        for batch in &batches {
            if batch.end() > known_end
                && !(batch.end() <= core.log.end && core.log.epochs.at(batch.base) == batch.epoch)
            {
                break;
            }
            known += 1;
        }
        let end = batches.last().map(Batch::end);
        let missing = batches.split_off(known);
        if let Some(log_end) = end.filter(|end| is_broken(Rule::C29) && missing.is_empty() && *end < core.log.end)
            && log_end >= core.high_watermark
        {
            self.verified_end = self.verified_end.min(log_end);
            core.log.truncate(log_end);
            core.push(Effect::Truncate { log_end });
        }
        let Some(first) = missing.first() else { return Ok(()) };
        if first.base < core.log.end {
            if first.base < known_end {
                core.alarm(Alarm::CommittedConflict { at: first.base });
                return Err(Halt);
            }
            core.log.truncate(first.base);
            core.push(Effect::Truncate { log_end: first.base });
        }
        for batch in &missing {
            core.log.write_received(now, batch);
        }
        core.push(Effect::Append(Appending::Received(missing)));
        Ok(())
    }

    fn take_grant(&mut self, core: &mut Core, now: Tick, append: &Append) {
        let Some(grant) = append.grant.filter(|grant| grant.for_run == core.config.identity.run) else { return };
        if self.lease.grant(now, grant.requested_at, grant.duration) {
            core.generation += 1;
        }
    }

    /// First LSN this replica may not acknowledge to the leader: verified, and its own by policy.
    fn acknowledged_end(&self, core: &Core) -> Lsn {
        if is_broken(Rule::C27) {
            return core.own_end();
        }
        self.verified_end.min(core.own_end())
    }

    fn acknowledge_if_due(&mut self, core: &mut Core, now: Tick, echo: Tick, carried: bool, only_commit: bool) {
        let answered_lately = self.acked.is_some_and(|(at, _)| now < at + core.config.timing.heartbeat / 2);
        // What waits for a flush is acknowledged when that completes; what only pushes a commit needs no answer of its own. But
        // however busy the leader keeps us, it must hear us often enough to keep its lease.
        let answer_later = only_commit || (carried && self.acknowledged_end(core) < self.verified_end);
        if answer_later && answered_lately && !self.rejected {
            return;
        }
        self.acknowledge(core, now, echo, None);
    }

    /// A flush has completed.
    pub(crate) fn on_flushed(&mut self, core: &mut Core, now: Tick) {
        let said = self.acked.map_or(Lsn::ZERO, |(_, end)| end);
        if self.leader.is_some() && core.epoch_persisted && self.acknowledged_end(core) > said {
            self.acknowledge(core, now, self.echo, None);
        }
    }

    /// The refusal names exactly the append it answers: the leader goes by which of its attempts was refused.
    fn reject(&mut self, core: &mut Core, now: Tick, append: &Append) {
        let prev_end = append.prev_end;
        let hint = if prev_end > core.log.end {
            core.log.end
        } else {
            // The whole epoch may differ; go back to where it began, but never behind what is committed.
            core.log.epochs.start_before(prev_end).max(core.high_watermark)
        };
        let hint_epoch = core.log.epochs.before(hint);
        self.acknowledge(core, now, append.sent_at, Some(Reject { refused: prev_end, hint, hint_epoch }));
    }

    fn acknowledge(&mut self, core: &mut Core, now: Tick, echo: Tick, reject: Option<Reject>) {
        let Some(leader) = self.leader else { return };
        // Before it is sent: from here on the leader may count on us for the length of a lease.
        core.last_ack = now;
        self.rejected = reject.is_some();
        let verified_end = self.acknowledged_end(core);
        self.acked = Some((now, verified_end));
        core.send(leader.node, Message::AppendAck(AppendAck { verified_end, echo, sent_at: now, reject }));
    }

    /// The leader wants its read lease back.
    pub(crate) fn on_revoke(&mut self, core: &mut Core, now: Tick, id: u64) {
        let Some(leader) = self.leader else { return };
        self.give_up_lease(core, now);
        core.send(leader.node, Message::RevokeAck { id });
    }

    fn give_up_lease(&mut self, core: &mut Core, now: Tick) {
        self.lease.void(now);
        core.withdraw_leases();
    }

    /// Looks after everything that time or news may have made due.
    pub(crate) fn review(&mut self, core: &mut Core, now: Tick) {
        core.flush_if_due(now);
        self.suspicion.review(core, now, self.heard_at);
    }

    /// Tells the leader that this replica will stop. Returns whether there is nothing to wait for.
    pub(crate) fn leave(&mut self, core: &mut Core, now: Tick) -> bool {
        let retell = self.told_leaving.is_none_or(|told| now >= told + core.config.timing.heartbeat);
        if let Some(leader) = self.leader.filter(|_| retell && core.epoch_persisted) {
            self.told_leaving = Some(now);
            self.give_up_lease(core, now);
            core.send(leader.node, Message::Leave);
        }
        let Some((record, _)) = &core.record else { return true };
        let spare = record.in_sync.len() > usize::try_from(record.min_in_sync).unwrap_or(usize::MAX);
        record.epoch == core.epoch && !(spare && record.is_in_sync(core.me()))
    }

    pub(crate) fn deadlines(&self, core: &Core) -> [Option<Tick>; 3] {
        let leaving = self.told_leaving.map(|told| told + core.config.timing.heartbeat);
        let flush = core.log.flush_due(core.config.flush, &core.config.timing);
        [leaving, flush, Some(self.suspicion.next_deadline())]
    }
}

/// Whether an append can be a leader's of this epoch at all.
fn well_formed(epoch: Epoch, append: &Append) -> Result<(), &'static str> {
    let mut end = append.prev_end;
    let mut last_epoch = append.prev_epoch;
    for batch in &append.batches {
        if batch.base != end {
            return Err("batches are not contiguous");
        }
        if batch.count == 0 || batch.base.0.checked_add(u64::from(batch.count)).is_none() {
            return Err("a batch has no records, or too many");
        }
        if batch.epoch < last_epoch || batch.epoch > epoch {
            return Err("epochs fall, or exceed that of the message");
        }
        end = batch.end();
        last_epoch = batch.epoch;
    }
    Ok(())
}
