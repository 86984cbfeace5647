//! What must hold after every step of a replica.

use std::collections::BTreeSet;

use simplekv_cluster::{Role, Serving};
use simplekv_types::ReadPolicy;
use simplekv_types::peer::Message;

use super::*;
use crate::history::Action;
use crate::oracle::{Applying, Shadow};
use crate::truth::Truth;

impl World {
    /// Looks at a replica that has just been stepped.
    pub(super) fn observe(&mut self, id: NodeId, group: GroupId) {
        let Some(oracle) = self.oracles.get_mut(&group) else { return };
        let Some(hosted) = self.machines.get_mut(&id).and_then(|machine| machine.hosted_mut(group)) else { return };
        let engine = hosted.group.engine();
        let (log_end, last_epoch, applied) = (engine.log_end(), engine.last_epoch(), engine.applied());
        let dropped = hosted.shadow.follow(&hosted.log, log_end, last_epoch);
        assert_eq!(hosted.shadow.end(), log_end, "{id}: the log of {group} cannot be read to its end");
        let serving = hosted.group.replica().serving();
        let Serving { lineage, epoch, .. } = serving;
        let applying = Applying { who: id, group, lineage, epoch, applied, now: self.now };
        self.counts.truncations += u64::from(!dropped.is_empty());
        self.counts.checks += 1;
        if serving.lineage < oracle.lineage {
            // Another history has begun: this one may be anything, but must not be answered from as if it were the only one.
            return self.check_leases(id, group);
        }
        oracle.drop_batches(id, group, epoch, &dropped);
        let news = oracle.apply(applying, &mut hosted.shadow, &hosted.log);
        if serving.role == Role::Leader && serving.activated && serving.epoch >= oracle.committed_epoch() {
            // A leader that was replaced without knowing is left behind, and none the worse for it.
            let held = oracle.is_held_by(&hosted.shadow);
            assert!(held, "{id} leads epoch {} of {group} and lacks what is committed", serving.epoch);
        }
        if news {
            self.check_in_sync(group);
            self.check_floor(id, group);
        }
        self.check_leases(id, group);
    }

    /// Every intact in-sync replica holds everything committed.
    pub(super) fn check_in_sync(&self, group: GroupId) {
        let Some(oracle) = self.oracles.get(&group) else { return };
        let (record, _) = self.store.group(group);
        if record.lineage > oracle.lineage || self.has_old_record(group) {
            // Who was chosen has not begun, or the record says who was in sync once.
            return;
        }
        for member in record.in_sync {
            if let Some(log) = self.log_of(group, member) {
                assert!(oracle.is_held_by(log), "{member} is in sync in {group} and lacks what is committed");
            }
        }
    }

    /// What the log of an incarnation holds, or held when it ended. `None` if there was none, or it is not known yet.
    fn log_of(&self, group: GroupId, member: Member) -> Option<&Shadow> {
        let process = self.machines.get(&member.node).and_then(|machine| machine.process.as_ref());
        match process.filter(|process| process.sender.storage == member.storage) {
            Some(process) => {
                let hosted = process.groups.get(&group)?;
                // It may have grown in the very step that committed: then it has not been looked at yet.
                (hosted.group.engine().log_end() == hosted.shadow.end()).then_some(&hosted.shadow)
            }
            None => self.left_behind.get(&(group, member)),
        }
    }

    /// Nothing is committed by fewer than the group's minimum. Looked at when its leader is first to apply it.
    fn check_floor(&self, id: NodeId, group: GroupId) {
        let (record, _) = self.store.group(group);
        let (Some(oracle), Some(hosted)) =
            (self.oracles.get(&group), self.machines.get(&id).and_then(|machine| machine.hosted(group)))
        else {
            return;
        };
        let serving = hosted.group.replica().serving();
        if serving.role != Role::Leader || serving.epoch != record.epoch {
            return;
        }
        let running = self.machines.values().filter_map(|machine| Some((machine.id, &machine.hosted(group)?.shadow)));
        let ended = self.left_behind.iter().filter(|((of, _), _)| *of == group).map(|((_, who), log)| (who.node, log));
        let holders: BTreeSet<NodeId> =
            running.chain(ended).filter(|(_, log)| oracle.is_held_by(log)).map(|(node, _)| node).collect();
        let (held, needed) = (holders.len(), record.min_in_sync);
        assert!(held >= needed as usize, "{id} commits in {group} what {held} of {needed} have");
    }

    /// A change of a group's record, at the moment of its execution. An intact replica leaves only if as many intact ones as the group
    /// needs stay, and whoever joins or leads is who is registered.
    pub(super) fn check_change(&mut self, group: GroupId, before: &GroupRecord, after: &GroupRecord) {
        if after.lineage > before.lineage {
            return self.check_beginning(group, before, after);
        }
        let registration = |node| self.store.node(node);
        let is_intact = |member: &Member| {
            registration(member.node)
                .is_some_and(|found| found.record.storage == member.storage && !found.record.poisoned)
        };
        let intact = |record: &GroupRecord| record.in_sync.iter().filter(|member| is_intact(member)).count();
        let (was, is) = (intact(before), intact(after));
        let enough = is >= after.min_in_sync as usize || is >= was;
        assert!(enough, "{was} intact replicas were in sync, {is} are, {} are needed", after.min_in_sync);
        for member in after.in_sync.iter().filter(|member| !before.in_sync.contains(member)) {
            assert!(is_intact(member), "{member} joins and is not who is registered");
        }
        if let Some(leader) = after.leader.filter(|_| after.epoch > before.epoch) {
            let found = registration(leader.node);
            let is_registered =
                found.is_some_and(|found| found.run() == leader.run && found.record.storage == leader.storage);
            assert!(is_registered, "{} is elected and is not who is registered", leader.node);
        }
    }

    /// A group begins another history only if nobody is left who has all of the one before.
    fn check_beginning(&mut self, group: GroupId, before: &GroupRecord, after: &GroupRecord) {
        assert_eq!(after.in_sync.len(), 1, "nobody but who was chosen has the history of {group}");
        self.counts.histories_begun += 1;
        let went_back = self.went_back_in(group, before.lineage);
        let has_all = |member: &&Member| self.machines.values().any(|machine| machine.keeps_promises_of(**member));
        let whole: Vec<&Member> = before.in_sync.iter().filter(has_all).collect();
        assert!(went_back || whole.is_empty(), "{group} begins another history although {whole:?} has all of this one");
        let chosen = after.leader.and_then(|leader| self.machines.get(&leader.node)?.hosted(group));
        let Some(oracle) = self.oracles.get_mut(&group) else { return };
        oracle.begins_in = after.epoch;
        oracle.loses_nothing = went_back;
        if went_back {
            // Everybody is whole, and so is whoever has the longest log. Whoever was chosen may have ended since.
            let has_all = chosen.is_none_or(|hosted| oracle.is_held_by(&hosted.shadow));
            assert!(has_all, "{group} begins another history with less than all of this one");
            self.counts.histories_kept_whole += 1;
        } else {
            self.history.judged_until.entry(group).or_insert(self.now);
        }
    }

    /// Whoever may answer linearizable reads right now has everything committed: applied, or at least known to be on its way.
    fn check_leases(&mut self, id: NodeId, group: GroupId) {
        let is_honest = self.has_honest_clocks();
        let (Some(machine), Some(oracle)) = (self.machines.get(&id), self.oracles.get_mut(&group)) else { return };
        let Some(hosted) = machine.hosted(group).filter(|_| machine.paused_until <= self.now) else { return };
        let now = machine.clocks.tick(self.now);
        if hosted.group.replica().serving().role == Role::Leader {
            let status = hosted.group.replica().status();
            if status.gate_open {
                oracle.greatest_open = oracle.greatest_open.max(status.epoch);
            }
        }
        let Some(begun) = hosted.published.serving.begin(now) else { return };
        self.counts.leases_checked += 1;
        let serving = hosted.group.replica().serving();
        let (applied, committed, open) =
            (hosted.group.engine().applied(), oracle.committed_end(), oracle.greatest_open);
        let outlived = match begun.leads() {
            _ if serving.lineage < oracle.lineage => {
                oracle.is_past(serving.lineage).then(|| format!("{id} may read {group} as it was in another history"))
            }
            true if applied < committed => Some(format!("{id} may read {group} at {applied} of {committed} committed")),
            true if serving.epoch < open => {
                Some(format!("{id} holds the lease of {} beside the gate of {open}", serving.epoch))
            }
            false if !oracle.is_held_by(&hosted.shadow) => {
                Some(format!("{id} may read {group} and lacks what is committed"))
            }
            _ => None,
        };
        match outlived {
            Some(what) if is_honest => panic!("{what}"),
            // With other clocks only what reads of `quorum` return is judged.
            Some(_) => self.counts.leases_outlived += 1,
            None => (),
        }
    }

    /// An answer is what the committed log says about the key at the place it claims, and that place is where its policy wants it.
    /// `began`: when the node began with it.
    pub(super) fn check_answer(&mut self, id: NodeId, request: &Request, answer: &Answer, began: Nanos) {
        let is_honest = self.has_honest_clocks();
        let (Some(oracle), [at]) = (self.oracles.get_mut(&request.group), answer.seen.as_slice()) else { return };
        let key = request.action.key();
        let is_told = !matches!(answer.reply, Reply::Error(_));
        let is_strict = is_told && (!request.action.is_read() || request.policy.is_linearizable());
        if let Some(seen) = request.seen.filter(|seen| is_told && seen.end > Lsn::ZERO) {
            assert_eq!(at.lineage, seen.lineage, "{id} answers {key} in a session that saw another history");
            assert!(at.end >= seen.end, "{id} answers {key} at {} in a session that has seen {}", at.end, seen.end);
        }
        if at.lineage < oracle.lineage {
            // With other clocks only what a quorum confirmed is judged.
            let is_judged = is_honest || !request.action.is_read() || request.policy == ReadPolicy::Quorum;
            let is_past = is_judged && oracle.is_past(at.lineage);
            assert!(
                !is_strict || !is_past,
                "{id} answers {key} out of lineage {} while {} goes on",
                at.lineage,
                oracle.lineage
            );
            return;
        }
        if is_strict {
            oracle.truth.tell(at.end, self.now);
        }
        let truth = &oracle.truth;
        assert!(at.end <= oracle.committed_end(), "{id} answers {key} at {}, which is not committed", at.end);
        check_content(id, truth, request, answer, began < self.now);
        // Whether the clients' history shows it or not: nobody reads less than somebody was told before the request came.
        let is_bound = is_honest && request.policy.is_linearizable() || request.policy == ReadPolicy::Quorum;
        if request.action.is_read() && is_bound {
            let told = truth.told_before(began);
            let missed = truth.changed(key, at.end, told);
            assert!(!missed, "{id} answers {key} at {}, which another was at {told}, as somebody was told", at.end);
        }
        if let ReadPolicy::Bounded { max_lag } = request.policy
            && request.action.is_read()
            && is_honest
        {
            // The node's clock may run slower than the world's.
            let max_lag = u64::try_from(max_lag.as_nanos()).expect("short") / 100 * 102;
            let needed = truth.committed_at(began.saturating_sub(max_lag));
            // Under a lease a follower answers what nothing on its way will change.
            let missed = truth.changed(key, at.end, needed);
            assert!(!missed, "{id} answers {key} at {}, which another was at {needed} {max_lag} ns ago", at.end);
        }
    }

    /// Whether clocks are what the protocol assumes of them.
    pub(crate) fn has_honest_clocks(&self) -> bool {
        self.settings.ppm <= u64::from(self.settings.timing.drift_ppm)
    }

    /// Whether all replicas of a group are in sync and hold and have applied the same.
    pub(crate) fn has_converged(&self, group: GroupId) -> bool {
        let (record, _) = self.store.group(group);
        let ends: Vec<(Lsn, Lsn)> = self
            .machines
            .values()
            .filter_map(|machine| {
                let engine = machine.hosted(group)?.group.engine();
                Some((engine.log_end(), engine.applied()))
            })
            .collect();
        record.in_sync.len() == self.machines.len()
            && record.fence.is_empty()
            && ends.len() == self.machines.len()
            && ends.iter().all(|(end, applied)| end == applied && Some(&(*end, *applied)) == ends.first())
    }

    /// Replicas that have applied the same hold the same.
    pub(crate) fn check_same(&self, group: GroupId) {
        let shadows: Vec<&Shadow> =
            self.machines.values().filter_map(|machine| Some(&machine.hosted(group)?.shadow)).collect();
        let totals = |machine: &Machine| machine.hosted(group).map(|hosted| hosted.reader.totals());
        let all: Vec<_> = self.machines.values().filter_map(totals).collect();
        assert!(all.windows(2).all(|pair| matches!(pair, [a, b] if a == b)), "replicas of {group} differ: {all:?}");
        let ends: Vec<_> = shadows.iter().map(|shadow| (shadow.end(), shadow.ending(shadow.end()))).collect();
        assert!(ends.windows(2).all(|pair| matches!(pair, [a, b] if a == b)), "logs of {group} differ: {ends:?}");
    }

    /// Whether the group can still be asked for everything it has acknowledged: some intact in-sync copy is left.
    pub(crate) fn is_recoverable(&self, group: GroupId) -> bool {
        self.intact_members(group).next().is_some()
    }

    /// In-sync replicas whose disks have lost nothing. Before a group is founded everybody is.
    pub(crate) fn intact_members(&self, group: GroupId) -> impl Iterator<Item = NodeId> {
        let (record, _) = self.store.group(group);
        let intact =
            |member: &Member| self.machines.get(&member.node).is_some_and(|machine| machine.keeps_promises_of(*member));
        let founded = record.epoch > Epoch::ZERO;
        let members: Vec<NodeId> = match founded {
            true => record.in_sync.iter().filter(|member| intact(member)).map(|member| member.node).collect(),
            false => record.replicas,
        };
        members.into_iter()
    }

    /// What a message says is true by the time it is sent.
    pub(super) fn check_message(&self, id: NodeId, envelope: &Envelope) {
        let Some(hosted) = self.machines.get(&id).and_then(|machine| machine.hosted(envelope.group)) else { return };
        if let Message::Append(append) = &envelope.message {
            let (said, applied) = (append.high_watermark, hosted.group.engine().applied());
            assert!(said <= applied, "{id} tells of {said} committed, but has applied {applied}");
            assert!(!hosted.group.is_stalled(), "{id} keeps others from taking over although its disk hangs");
        }
    }
}

/// What is told about a key is there. `waited`: whether it was read some time before it was answered.
fn check_content(id: NodeId, truth: &Truth, request: &Request, answer: &Answer, waited: bool) {
    let [at] = answer.seen.as_slice() else { return };
    let key = request.action.key();
    match (&request.action, &answer.reply) {
        (Action::Get { .. }, Reply::Bulk(_) | Reply::Null) => {
            let told = match &answer.reply {
                Reply::Bulk(value) => Some(value.as_ref()),
                _ => None,
            };
            // What waited was read before, at an earlier time of the group.
            let is_there = |time| truth.value(key, at.end, time) == told;
            let found = is_there(answer.time) || waited && is_there(GroupTime::ZERO);
            assert!(found, "{id} answers {key} at {} with what is not there: {told:?}", at.end);
        }
        (Action::Set { value, .. } | Action::GetSet { value, .. }, reply) if !matches!(reply, Reply::Error(_)) => {
            let written = truth.written(key, value.to_string().as_bytes());
            assert!(written.is_some_and(|lsn| lsn < at.end), "{id} wrote {key} at {written:?} and says {}", at.end);
        }
        _ => (),
    }
}
