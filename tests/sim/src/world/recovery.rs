//! Groups that have lost everything they acknowledged, and those who decide how they go on.

use std::collections::BTreeSet;

use simplekv_cluster::{HaltCause, Recovery, Remains, Traces, Wish, recover};

use super::starting::{Opened, remove_all};
use super::*;
use crate::machine::{NodeFile, directory};

/// What the metadata store says of a group's nodes.
type Registered = Vec<(NodeFacts, Vec<StorageId>)>;

/// A backup of the metadata store, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Backup {
    snapshot: Option<simplekv_meta::Model>,
    /// The runs of when it was put back, which have not noticed yet.
    unaware: BTreeSet<RunId>,
    /// Groups whose records went back by epochs, and in which of their histories.
    went_back: BTreeMap<GroupId, Lineage>,
}

/// So many elections are forgotten at least. Those that are held before everybody has noticed must not use a forgotten one's number.
const EPOCHS: u64 = 4;

impl World {
    /// Keeps a copy of the metadata store, if it is going to be put back.
    pub(crate) fn back_up_store(&mut self) {
        self.backup.snapshot = self.settings.restores.then(|| self.store.snapshot());
    }

    /// Puts the copy back, if that forgets either nothing of a group or so much that all its replicas notice. More is not promised.
    pub(crate) fn restore_store(&mut self) {
        let Some(snapshot) = self.backup.snapshot.clone() else { return };
        let before: BTreeMap<GroupId, GroupRecord> =
            self.groups().into_iter().map(|group| (group, self.store.group(group).0)).collect();
        let current = self.store.snapshot();
        self.store.restore(snapshot);
        let old: BTreeMap<GroupId, GroupRecord> =
            before.keys().map(|group| (*group, self.store.group(*group).0)).collect();
        let is_noticed = |group: &GroupId| old.get(group) == before.get(group) || self.is_noticed(*group);
        if self.store_down || !before.keys().all(is_noticed) || !before.keys().all(|group| self.is_recoverable(*group))
        {
            self.store.put_back(current);
            return;
        }
        self.backup.snapshot = None;
        self.counts.stores_restored += 1;
        self.note(|| "--- the metadata store is put back".to_owned());
        for (group, record) in &before {
            if old.get(group) != Some(record) {
                self.backup.went_back.insert(*group, record.lineage);
            }
        }
        self.sessions.clear();
        // What was on its way to the store's processes ended with them.
        let mut unanswered = Vec::new();
        self.queue.retain(|what| match what {
            Happening::RegisterLate { .. } => false,
            Happening::Execute { asker, id, ask, answer } => {
                unanswered.extend(answer.then(|| (*asker, *id, Self::unknown(ask))));
                false
            }
            _ => true,
        });
        for (asker, id, outcome) in unanswered {
            self.answer_asker(ms(1), asker, id, outcome);
        }
        self.backup.unaware = self.machines.values().filter_map(Machine::run).collect();
        // Whoever is connected lists everything anew before long.
        let nodes: Vec<(NodeId, RunId)> =
            self.machines.values().filter_map(|machine| Some((machine.id, machine.run()?))).collect();
        for (node, run) in nodes {
            let after = self.rng.below(ms(1500));
            self.schedule(after, Happening::Relist { node, run });
        }
    }

    /// Whether every replica that the record lists in sync has taken part in much later epochs, and runs.
    fn is_noticed(&self, group: GroupId) -> bool {
        let (record, _) = self.store.group(group);
        let knows = |member: &Member| {
            let hosted = self.machines.get(&member.node).and_then(|machine| machine.hosted(group));
            hosted.is_some_and(|hosted| hosted.group.engine().persisted_epoch().0.0 >= record.epoch.0 + EPOCHS)
        };
        record.in_sync.iter().all(knows)
    }

    /// Whether a group's record is older than what its replicas know, and nobody has done anything about it yet.
    pub(crate) fn has_old_record(&self, group: GroupId) -> bool {
        self.went_back_in(group, self.store.group(group).0.lineage)
    }

    /// Whether that was so while the group had this history.
    pub(super) fn went_back_in(&self, group: GroupId, lineage: Lineage) -> bool {
        self.backup.went_back.get(&group).is_some_and(|old| lineage <= *old)
    }

    /// Whether what a process knows is newer than what the store says.
    pub(super) fn finds_old_store(&self, id: NodeId) -> bool {
        let Some(process) = self.machines.get(&id).and_then(|machine| machine.process.as_ref()) else { return false };
        let registered = self.store.node(id).map_or(Revision(0), |found| found.revision);
        let is_old = |(group, (_, known)): (&GroupId, &(GroupRecord, Revision))| *known > self.store.group(*group).1;
        registered < process.registration || process.known.iter().any(is_old)
    }

    /// Whether nobody has to decide anything about a group.
    pub(crate) fn can_go_on(&self, group: GroupId) -> bool {
        self.is_recoverable(group) && !self.has_old_record(group)
    }

    /// Ends a replica that has no part in its group's history any more.
    pub(super) fn put_away(&mut self, id: NodeId, group: GroupId, lineage: Lineage) {
        self.counts.rebuilds += 1;
        self.note(|| format!("{id}: the replica of {group} is put away for {lineage}"));
        let Some(machine) = self.machines.get_mut(&id) else { return };
        let (Some(run), Some(process)) = (machine.run(), machine.process.as_mut()) else { return };
        process.groups.remove(&group);
        if let Some(file) = machine.file.as_mut() {
            file.hosted.remove(&group);
        }
        self.queue.retain(|what| !what.lose_with(id, group));
        let after = self.rng.below(ms(30));
        self.schedule(after, Happening::Rebuild { node: id, run, group, lineage });
    }

    /// The replica that comes after one that was put away.
    pub(super) fn rebuild(&mut self, id: NodeId, run: RunId, group: GroupId, lineage: Lineage) {
        let Some(machine) = self.machines.get_mut(&id).filter(|machine| machine.run() == Some(run)) else { return };
        let (Some(process), Some(file)) = (machine.process.as_ref(), machine.file.clone()) else { return };
        // Whoever dies before this finds the old files again, and hears again that they are to go.
        remove_all(&machine.fs, &directory(group));
        let (sender, nodes) = (process.sender, process.nodes.clone());
        let known = process.known.get(&group).cloned();
        let shown = known.as_ref().map_or(lineage, |(record, _)| record.lineage.max(lineage));
        let hosting = NodeFile { hosted: self.groups().into_iter().collect(), ..file };
        // Its disk may fail now as at any other time.
        let Opened::Whole(opened) = self.open(id, Some(&hosting), group) else { return self.end(id) };
        let hosted = self.replica(id, sender, group, shown, *opened);
        let machine = self.machines.get_mut(&id).expect("it runs");
        machine.file.as_mut().expect("it has one").hosted.insert(group);
        machine.process.as_mut().expect("it runs").groups.insert(group, hosted);
        self.settle(id, group);
        self.tell(id, run, group, Event::NodesSeen(nodes));
        if let Some((record, revision)) = known {
            self.tell(id, run, group, Event::RecordSeen { record, revision });
        }
    }

    /// The controller wants to know what is left of a group. It asks again if it is told nothing.
    pub(super) fn inspect(&mut self, node: NodeId, run: RunId, group: GroupId) {
        if self.store_down || !self.network.reach(Place::Node(node), Place::Store) {
            return;
        }
        let found = self.registered(group);
        // What the nodes tell is of later than what the store has told.
        let after = self.rng.range(ms(1), ms(40));
        self.schedule(after, Happening::Inspect { node, run, group, found });
    }

    pub(super) fn inspected(&mut self, node: NodeId, run: RunId, group: GroupId, found: Registered) {
        let remains = self
            .remains(group, found, |other| other == node || self.network.reach(Place::Node(node), Place::Node(other)));
        self.tell_controller(node, run, ControllerEvent::Inspected { group, remains });
    }

    /// An operator looks after a group that nobody leads, maybe too early, and thinks about what is shown.
    pub(crate) fn recover(&mut self, group: GroupId) {
        if self.store_down || self.is_serving(group) {
            return;
        }
        let node = *self.rng.pick(&self.store.group(group).0.replicas).expect("there are some");
        // Where nothing is lost nobody would take less than the most.
        let to = (self.rng.chance(200) && !self.has_old_record(group)).then_some(node);
        if let Some((recovery, _)) = self.look(group, to) {
            let after = self.rng.range(ms(1), ms(1500));
            self.schedule(after, Happening::Decide { group, to, shown: recovery.digest });
        }
    }

    /// The operator has decided. What is done is what was shown, or nothing.
    pub(super) fn decide_recovery(&mut self, group: GroupId, to: Option<NodeId>, shown: &str) {
        if self.store_down {
            return;
        }
        match self.look(group, to) {
            Some((recovery, change)) if recovery.digest == shown => {
                self.check_choice(group, &change, |_| true, to.is_some());
                let after = self.rng.range(ms(1), ms(40));
                self.schedule(after, Happening::Recover { change });
            }
            _ => self.counts.recoveries_outdated += 1,
        }
    }

    pub(super) fn execute_recovery(&mut self, change: &simplekv_meta::GroupChange) {
        if self.change_by_force(change) {
            self.counts.recoveries_by_operators += 1;
        } else {
            self.counts.recoveries_outdated += 1;
        }
    }

    /// What an operator is shown, who declares lost what is.
    fn look(&mut self, group: GroupId, to: Option<NodeId>) -> Option<(Recovery, simplekv_meta::GroupChange)> {
        let (record, expected) = self.store.group(group);
        let is_up = |machine: &Machine| machine.process.is_some() && machine.paused_until <= self.now;
        // Whoever goes on in an epoch that the record forgot, because it has not noticed yet.
        let is_unaware = |machine: &Machine| {
            let traces = machine.hosted(group).map(|hosted| hosted.group.replica().traces());
            let goes_on = traces.is_some_and(|traces| traces.halted.is_none() && traces.epoch > record.epoch);
            goes_on && machine.run().is_some_and(|run| self.backup.unaware.contains(&run))
        };
        if self.has_old_record(group) && self.machines.values().any(|m| !is_up(m) || is_unaware(m)) {
            return None;
        }
        let remains = self.remains(group, self.registered(group), |_| true);
        let lost: BTreeSet<NodeId> =
            record.in_sync.iter().filter(|member| self.is_gone(**member)).map(|member| member.node).collect();
        match recover(&record, expected, &remains, &Wish { to, lost, min_in_sync: None }) {
            Ok(recovery) => {
                self.note(|| format!("operator: {} is what is left of {group}", recovery.chosen));
                let change = metadata::with_office(group, recovery.change.clone(), None);
                Some((recovery, change))
            }
            Err(obstacle) => {
                self.counts.recoveries_refused += 1;
                self.note(|| format!("operator: {group} cannot be recovered yet: {obstacle:?}"));
                None
            }
        }
    }

    /// Whoever is chosen has the longest log of all that could be asked, of the history that is left.
    pub(super) fn check_choice(
        &self,
        group: GroupId,
        change: &simplekv_meta::GroupChange,
        reaches: impl Fn(NodeId) -> bool,
        is_named: bool,
    ) {
        let may_act = |traces: &Traces| {
            matches!(traces.halted, None | Some(HaltCause::MetadataRegressed | HaltCause::LineageEnded))
        };
        let told = |machine: &Machine| {
            let found = self.store.node(machine.id)?;
            let is_asked = machine.paused_until <= self.now && reaches(machine.id) && !found.record.poisoned;
            let is_registered = machine.run() == Some(found.run());
            let traces = machine.hosted(group)?.group.replica().traces();
            (is_asked && is_registered && may_act(&traces)).then_some(traces)
        };
        let told: Vec<Traces> = self.machines.values().filter_map(told).collect();
        let held = told.iter().filter(|traces| traces.log_end > Lsn::ZERO).map(|traces| traces.lineage).max();
        let position = |traces: &Traces| (traces.last_epoch, traces.log_end);
        let chosen = change.record.leader.expect("somebody is chosen").node;
        let own = told.iter().find(|traces| traces.identity.node == chosen).expect("who is chosen has told");
        let longest = told.iter().filter(|traces| Some(traces.lineage) == held).map(position).max();
        let is_longest = longest.is_none_or(|longest| position(own) == longest);
        assert!(is_named || is_longest, "{chosen} lacks what is left of {group}");
        if change.office.is_some() {
            let is_named_by_successor = |member: &Member| {
                let found = self.store.node(member.node);
                found.is_some_and(|found| found.record.prev_storages.contains(&member.storage))
            };
            let (before, revision) = self.store.group(group);
            // What the controller knows may be older than the record; then the change is refused.
            let accounted = revision != change.expected || before.in_sync.iter().all(is_named_by_successor);
            assert!(accounted, "the controller gives somebody up in {group} for whom nobody accounts");
            assert!(own.log_end > Lsn::ZERO, "the controller begins {group} with nothing");
        }
    }

    /// A group whose controller has waited for long must have a reason: an in-sync replica that nobody can account for, or nothing left.
    pub(crate) fn check_waits(&self, group: GroupId) {
        let (record, _) = self.store.group(group);
        let names = |member: &Member| {
            let found = self.store.node(member.node);
            found.is_some_and(|found| found.record.prev_storages.contains(&member.storage))
        };
        let has_ended = record.in_sync.iter().all(|member| {
            let file = self.machines.get(&member.node).and_then(|machine| machine.file.as_ref());
            file.is_some_and(|file| file.previous.contains(&member.storage)) && names(member)
        });
        let mut logs = self.machines.values().filter_map(|machine| machine.hosted(group));
        let has_any = logs.any(|hosted| hosted.shadow.end() > Lsn::ZERO);
        let is_stuck = has_ended && has_any && !self.is_recoverable(group);
        assert!(!is_stuck, "{group} waits although everybody in sync has ended and was looked at");
    }

    /// Whether the disk of an incarnation is another's by now.
    fn is_gone(&self, member: Member) -> bool {
        let file = self.machines.get(&member.node).and_then(|machine| machine.file.as_ref());
        file.is_none_or(|file| file.identity.storage != member.storage)
    }

    fn registered(&self, group: GroupId) -> Registered {
        let (record, _) = self.store.group(group);
        let concerned =
            |facts: &NodeFacts| record.is_assigned(facts.node) || record.in_sync.iter().any(|m| m.node == facts.node);
        let with_previous = |facts: NodeFacts| {
            let previous = self.store.node(facts.node).map(|found| found.record.prev_storages);
            (facts, previous.unwrap_or_default())
        };
        self.store.facts().into_iter().filter(concerned).map(with_previous).collect()
    }

    fn remains(
        &self,
        group: GroupId,
        found: Registered,
        reaches: impl Fn(NodeId) -> bool,
    ) -> BTreeMap<NodeId, Remains> {
        let of = |(facts, previous): (NodeFacts, Vec<StorageId>)| {
            let answers = |machine: &&Machine| machine.paused_until <= self.now && reaches(machine.id);
            let hosted = self.machines.get(&facts.node).filter(answers).and_then(|machine| machine.hosted(group));
            let replica = hosted.map(|hosted| hosted.group.replica().traces());
            (facts.node, Remains { facts, previous, replica })
        };
        found.into_iter().map(of).collect()
    }
}
