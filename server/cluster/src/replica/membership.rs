//! When the in-sync set should change, and how.

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::peer::Message;
use simplekv_types::{Lsn, Member, NodeId, Revision, Tick};

use super::core::Core;
use super::in_sync::{Join, Leave};
use super::leader::Leader;
use crate::effect::Effect;
use crate::failover::{self, Standing, floor_compares};

impl Leader {
    /// Begins, pursues or abandons a change of the record. Nothing is changed before the gate is open: until then an older leader
    /// may still count on the set as it was.
    pub(crate) fn review_in_sync(&mut self, core: &mut Core, now: Tick) {
        self.in_sync.read_if_due(core, now);
        if !self.gate.is_open() {
            return;
        }
        if self.in_sync.change().is_some() {
            self.pursue_change(core, now);
        }
        self.review_transfer(core, now);
        if self.transfer.is_none() && self.in_sync.is_free(now) {
            self.begin_change(core, now);
            self.pursue_change(core, now);
        }
        self.request_election_if_stuck(core, now);
    }

    fn begin_change(&mut self, core: &mut Core, now: Tick) {
        let leaving = self.pick_leaving(core, now);
        if let Some(member) = leaving.filter(|member| self.may_shrink(core, *member)) {
            let leave = self.begin_leave(core, now, member);
            return self.in_sync.begin(None, Some(leave));
        }
        let joining = self.pick_joining(core, now, leaving);
        match (joining, leaving) {
            (Some(join), Some(member)) if self.is_activated() || !is_broken(Rule::C62) => {
                let leave = self.begin_leave(core, now, member);
                self.in_sync.begin(Some(join), Some(leave));
            }
            // Before activation the set may only be brought to its floor: what was committed before is not yet known to be on
            // whoever joins.
            (Some(join), None)
                if self.is_activated()
                    || (!self.in_sync.meets_floor() && !is_broken(Rule::C62))
                    || is_broken(Rule::C43) =>
            {
                self.in_sync.begin(Some(join), None);
            }
            _ if self.is_activated() && !self.in_sync.record.fence.is_empty() && !is_broken(Rule::C67) => {
                self.in_sync.begin(None, None);
            }
            _ => (),
        }
    }

    /// The member that should leave first: one that is gone for ever before one that is merely slow, so that the floor is not met
    /// by the dead.
    fn pick_leaving(&self, core: &Core, now: Tick) -> Option<Member> {
        let me = core.me();
        let others = || self.in_sync.record.in_sync.iter().copied().filter(|member| *member != me);
        let superseded = others().find(|member| failover::standing(&core.nodes, *member) == Standing::Superseded);
        superseded
            .or_else(|| others().find(|member| self.should_leave(core, now, *member) && self.would_help(core, now)))
    }

    /// Whether those that keep up are enough. If not, somebody who lags is needed in any case, and the fewer are in sync the fewer
    /// can take over: a leader that is itself cut off would only be in its successor's way.
    fn would_help(&self, core: &Core, now: Tick) -> bool {
        let keeping_up = |member: &&Member| !self.is_lagging(core, now, **member);
        let spare = self.followers.values().filter_map(|progress| {
            let member = Member { node: progress.node, storage: progress.storage()? };
            (!self.in_sync.record.is_in_sync(member)).then_some(member)
        });
        let members = self.in_sync.record.in_sync.iter().filter(keeping_up).count();
        members + spare.filter(|member| keeping_up(&member)).count() >= self.in_sync.floor()
    }

    fn should_leave(&self, core: &Core, now: Tick, member: Member) -> bool {
        let asked_for = self.progress_of(member).is_some_and(|progress| progress.leaving || progress.distrusted);
        asked_for
            || failover::standing(&core.nodes, member) == Standing::Superseded
            || (self.is_lagging(core, now, member) && self.may_judge(core, now))
    }

    /// Whether it is the others' fault that they lag.
    fn may_judge(&self, core: &Core, now: Tick) -> bool {
        // Right after the election nobody has had the time to answer, and whom we send nothing cannot answer either.
        now >= self.since + core.config.timing.lag_time && !self.probe.was_stalled()
    }

    fn may_shrink(&self, core: &Core, member: Member) -> bool {
        self.shrink_compares(core, member).is_some()
    }

    /// What must be compared when the member leaves and nobody joins; `None` if it may not.
    fn shrink_compares(&self, core: &Core, member: Member) -> Option<Vec<(NodeId, Revision)>> {
        let kept: Vec<Member> = self.in_sync.record.in_sync.iter().copied().filter(|other| *other != member).collect();
        let floor = self.in_sync.floor();
        if is_broken(Rule::C69) {
            return (kept.len() >= floor).then(Vec::new);
        }
        (kept.len() >= floor).then(|| floor_compares(&core.nodes, floor, &kept, &[member])).flatten()
    }

    fn begin_leave(&mut self, core: &mut Core, now: Tick, member: Member) -> Leave {
        let leave = Leave { member, revoke: core.revoke_id(), revoked: false, told_at: now };
        self.send_revoke(core, now, &leave);
        leave
    }

    fn send_revoke(&self, core: &mut Core, now: Tick, leave: &Leave) {
        if self.holder_until(leave.member) > now {
            core.send(leave.member.node, Message::Revoke { id: leave.revoke });
        }
    }

    pub(crate) fn holder_until(&self, member: Member) -> Tick {
        self.followers.get(&member.node).map_or(Tick::ZERO, |progress| progress.holder_until)
    }

    /// A replica that can join: it holds everything committed and the start of this epoch, and proves it by answers of the run that
    /// is registered. `leaving` is who would make room.
    fn pick_joining(&self, core: &Core, now: Tick, leaving: Option<Member>) -> Option<Join> {
        let record = &self.in_sync.record;
        let start_end = self.epoch_start_end()?;
        let needed = core.high_watermark.max(if is_broken(Rule::C43) { Lsn::ZERO } else { start_end });
        let candidate = self.followers.values().find(|progress| {
            let Some(member) = progress.storage().map(|storage| Member { node: progress.node, storage }) else {
                return false;
            };
            let facts = core.nodes.get(&progress.node).filter(|facts| facts.is_intact(member));
            // A node is listed once: its earlier incarnation must leave as it joins.
            let listed = record.in_sync.iter().find(|other| other.node == progress.node);
            listed.is_none_or(|other| *other != member && leaving == Some(*other))
                && record.is_assigned(progress.node)
                && !progress.distrusted
                && !progress.leaving
                && (progress.matched >= needed || is_broken(Rule::C61))
                && (!self.is_lagging(core, now, member) || is_broken(Rule::C70))
                && facts.is_some_and(|facts| Some(facts.run) == progress.run())
        })?;
        let facts = core.nodes.get(&candidate.node)?;
        let member = Member { node: candidate.node, storage: facts.storage };
        Some(Join { member, run: facts.run, registration: facts.revision, since: now })
    }

    /// Sends the transaction once its conditions hold, abandons the change when they cannot hold any more.
    fn pursue_change(&mut self, core: &mut Core, now: Tick) {
        let retry_at = now + core.config.timing.metadata_retry;
        let Some(change) = self.in_sync.change().filter(|change| change.is_preparing()) else { return };
        let (join, leave) = (change.join, change.leave);
        let stays = join.is_some_and(|join| !self.can_still_join(core, now, &join))
            || leave.is_some_and(|leave| !self.should_leave(core, now, leave.member));
        if stays && !is_broken(Rule::C71) {
            return self.in_sync.abandon(retry_at);
        }
        let answered = |join: Join| self.progress_of(join.member).is_some_and(|progress| progress.echo >= join.since);
        let joined = join.is_none_or(answered) || is_broken(Rule::C10);
        let left = leave.is_none_or(|leave| leave.revoked || now >= self.holder_until(leave.member));
        if !left {
            self.revoke_again(core, now);
        }
        if !joined || !left {
            return;
        }
        let registrations = match (join, leave) {
            (Some(join), leave) => Some(swap_compares(core, &join, leave.as_ref())),
            (None, Some(leave)) => self.shrink_compares(core, leave.member),
            (None, None) => Some(Vec::new()),
        };
        let Some(registrations) = registrations else { return self.in_sync.abandon(retry_at) };
        let mut record = self.in_sync.record.clone();
        record.in_sync.retain(|member| leave.is_none_or(|leave| leave.member != *member));
        record.in_sync.extend(join.map(|join| join.member));
        record.in_sync.sort_unstable();
        if self.is_activated() {
            // No older lease is left. Before activation that is not known, and an election in between must still wait.
            record.fence.clear();
            record.fence_ms = record.lease_ms;
        }
        self.in_sync.propose(core, record, registrations);
    }

    fn can_still_join(&self, core: &Core, now: Tick, join: &Join) -> bool {
        self.progress_of(join.member)
            .is_some_and(|progress| progress.run() == Some(join.run) && !progress.distrusted && !progress.leaving)
            && (!self.is_lagging(core, now, join.member) || is_broken(Rule::C70))
    }

    fn revoke_again(&mut self, core: &mut Core, now: Tick) {
        let Some(leave) = self.in_sync.change_mut().and_then(|change| change.leave.as_mut()) else { return };
        if now >= leave.told_at + core.config.timing.heartbeat {
            leave.told_at = now;
            let leave = *leave;
            self.send_revoke(core, now, &leave);
        }
    }

    /// A leader that cannot start its epoch, and has nobody to put in the place of whom it misses, makes way.
    fn request_election_if_stuck(&mut self, core: &mut Core, now: Tick) {
        let limit = core.config.timing.activation_limit;
        let Some(opened_at) = self.gate.opened_at().filter(|_| !self.is_activated()) else { return };
        let since = self.election_requested_at.unwrap_or(opened_at).max(opened_at);
        if now < since + limit || self.in_sync.change().is_some() {
            return;
        }
        self.election_requested_at = Some(now);
        let required = self.in_sync.required().iter().copied();
        let unheard = required.filter(|member| !self.is_heard(core, now, *member)).collect();
        core.push(Effect::RequestElection { epoch: core.epoch, unheard });
    }
}

/// What must be compared when somebody joins, perhaps in the place of another.
fn swap_compares(core: &Core, join: &Join, leave: Option<&Leave>) -> Vec<(NodeId, Revision)> {
    // Whoever takes the place of its own earlier incarnation is compared once.
    let leaving: Vec<Member> =
        leave.map(|leave| leave.member).filter(|member| member.node != join.member.node).into_iter().collect();
    let mut compares = failover::superseded_compares(&core.nodes, &leaving);
    if !is_broken(Rule::C35) {
        compares.push((join.member.node, join.registration));
    }
    compares.sort_unstable();
    compares
}
