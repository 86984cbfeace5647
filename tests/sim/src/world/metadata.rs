//! The way to the metadata store and back, who is told of what happens there, and the controller's office.

use std::sync::Arc;

use simplekv_client::{Group, Node, Topology};
use simplekv_cluster::{Controller, ControllerEffect};
use simplekv_types::{NodeAddresses, Tick};

use super::*;
use crate::machine::Term;
use crate::network::Link;

/// The store tells an asker that it does not know after this long.
pub(super) const STORE_TIMEOUT: Nanos = ms(500);
/// A process looks at everything again this often: watches lose events.
const RELIST: Nanos = ms(5000);

/// What becomes of a request to the store.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Done,
    /// Executed, but the asker never learns it.
    ReplyLost,
    /// Never executed, and the asker does not know.
    RequestLost,
    /// Certainly not executed.
    Refused,
    /// The asker gives up long before it is executed.
    Late,
}

impl World {
    pub(super) fn ask(&mut self, asker: Asker, id: RequestId, ask: Ask) {
        let fate = self.fate(asker);
        let soon = self.rng.range(ms(1), ms(8));
        let unknown = Self::unknown(&ask);
        match fate {
            Fate::Done => self.schedule(soon, Happening::Execute { asker, id, ask, answer: true }),
            Fate::ReplyLost => {
                self.counts.store_unknown += 1;
                self.answer_asker(STORE_TIMEOUT, asker, id, unknown);
                self.schedule(soon, Happening::Execute { asker, id, ask, answer: false });
            }
            Fate::RequestLost => {
                self.counts.store_unknown += 1;
                self.answer_asker(STORE_TIMEOUT, asker, id, unknown);
            }
            Fate::Refused => self.answer_asker(soon, asker, id, MetadataOutcome::Failed),
            Fate::Late => {
                self.counts.store_late += 1;
                self.answer_asker(STORE_TIMEOUT, asker, id, unknown);
                let late = STORE_TIMEOUT + self.rng.below(ms(2500));
                self.schedule(late, Happening::Execute { asker, id, ask, answer: false });
            }
        }
    }

    pub(super) fn fate(&mut self, asker: Asker) -> Fate {
        let (Asker::Replica { node, .. } | Asker::Controller { node, .. }) = asker;
        let link = |from, to| self.network.link(from, to);
        let (here, store) = (Place::Node(node), Place::Store);
        if self.store_down || link(here, store) != Link::Up {
            return Fate::RequestLost;
        }
        if link(store, here) != Link::Up {
            return Fate::ReplyLost;
        }
        if self.rng.chance(self.troubles.store) {
            let fates = [Fate::ReplyLost, Fate::RequestLost, Fate::Refused, Fate::Late];
            return *self.rng.pick(&fates).expect("there are some");
        }
        Fate::Done
    }

    pub(super) fn answer_asker(&mut self, after: Nanos, asker: Asker, id: RequestId, outcome: MetadataOutcome) {
        let what = match asker {
            Asker::Replica { node, run, group } => {
                Happening::Tell { node, run, group, event: Event::Metadata { id, outcome } }
            }
            Asker::Controller { node, run } => {
                Happening::TellController { node, run, event: ControllerEvent::Metadata { id, outcome } }
            }
        };
        self.schedule(after, what);
    }

    pub(super) fn execute(&mut self, asker: Asker, id: RequestId, ask: Ask, answer: bool) {
        let (group, outcome) = match ask {
            Ask::Replica(group, MetadataRequest::ReadGroup) => {
                (group, MetadataOutcome::Read(Some(self.store.group(group))))
            }
            Ask::Replica(group, MetadataRequest::ChangeGroup(change)) => {
                (group, self.change(asker, group, *change, None))
            }
            Ask::Controller(group, change, office) => (group, self.change(asker, group, *change, Some(office))),
        };
        if matches!(outcome, MetadataOutcome::Succeeded { .. }) {
            self.check_in_sync(group);
            self.publish_group(group);
            self.publish_topology();
        }
        if answer {
            let after = self.rng.range(40_000, ms(2));
            self.answer_asker(after, asker, id, outcome);
        }
    }

    fn change(
        &mut self,
        asker: Asker,
        group: GroupId,
        change: GroupChange,
        office: Option<simplekv_meta::Office>,
    ) -> MetadataOutcome {
        let change = with_office(group, change, office);
        let before = self.store.group(group).0;
        let outcome = self.store.change_group(&change);
        self.note(|| format!("store: {asker:?} {} -> {}", describe(&change.record), name(&outcome)));
        if matches!(outcome, MetadataOutcome::Succeeded { .. }) {
            self.counts.group_changes += 1;
            self.check_change(group, &before, &change.record);
            if self.rng.chance(self.troubles.ambush) {
                let mut rng = Rng::new(self.rng.next());
                faults::ambush(self, group, &before, &change.record, &mut rng);
            }
        }
        outcome
    }

    /// Everybody's watch sees a group's record; some see it late, twice or not at all.
    pub(super) fn publish_group(&mut self, group: GroupId) {
        let (record, revision) = self.store.group(group);
        self.publish(&Seen::Group(group, record, revision));
    }

    pub(super) fn publish_nodes(&mut self) {
        let facts = self.store.facts();
        self.publish(&Seen::Nodes(facts));
        self.publish_topology();
    }

    fn publish(&mut self, seen: &Seen) {
        for (node, run) in self.running() {
            if self.store_down || !self.network.reach(Place::Store, Place::Node(node)) {
                continue;
            }
            if self.rng.chance(self.troubles.watch) {
                self.counts.watch_events_lost += 1;
                continue;
            }
            let times = if self.rng.chance(self.troubles.watch) { 2 } else { 1 };
            for _ in 0..times {
                let late = if self.rng.chance(self.troubles.watch) { ms(1500) } else { ms(3) };
                let after = self.rng.range(40_000, late);
                self.schedule(after, Happening::Seen { node, run, seen: seen.clone() });
            }
        }
    }

    pub(super) fn see(&mut self, id: NodeId, run: RunId, seen: Seen) {
        match seen {
            Seen::Group(group, record, revision) => {
                if let Some(process) = self.machines.get_mut(&id).and_then(|machine| machine.process.as_mut())
                    && process.known.get(&group).is_none_or(|(_, known)| *known < revision)
                {
                    process.known.insert(group, (record.clone(), revision));
                }
                let event = Event::RecordSeen { record: record.clone(), revision };
                self.tell(id, run, group, event);
                let event = ControllerEvent::RecordSeen { group, record: Some(record), revision };
                self.tell_controller(id, run, event);
            }
            Seen::Nodes(facts) => {
                if let Some(process) = self.machines.get_mut(&id).and_then(|machine| machine.process.as_mut()) {
                    process.nodes.clone_from(&facts);
                }
                for group in self.groups() {
                    self.tell(id, run, group, Event::NodesSeen(facts.clone()));
                }
                self.tell_controller(id, run, ControllerEvent::NodesSeen(facts));
                self.follow_registration(id, run);
            }
        }
    }

    /// A process ends when its node's registration says that its storage is not to be trusted, or that another run speaks for it.
    fn follow_registration(&mut self, id: NodeId, run: RunId) {
        let Some(found) = self.store.node(id) else { return };
        if self.machines.get(&id).and_then(Machine::run) == Some(run) && (found.record.poisoned || found.run() != run) {
            self.note(|| format!("{id}: run {run} is not trusted any more"));
            self.end(id);
        }
    }

    /// Shows a process everything, and does so again after a while.
    pub(super) fn relist(&mut self, id: NodeId, run: RunId) {
        if self.machines.get(&id).and_then(Machine::run) != Some(run) {
            return;
        }
        self.schedule(RELIST, Happening::Relist { node: id, run });
        if self.store_down || !self.network.reach(Place::Store, Place::Node(id)) {
            return;
        }
        if self.finds_old_store(id) {
            self.counts.stores_found_old += 1;
            self.note(|| format!("{id}: the metadata store has gone back"));
            return self.end(id);
        }
        let facts = self.store.facts();
        let Some(process) = self.machines.get(&id).and_then(|machine| machine.process.as_ref()) else { return };
        let knows = |group: &GroupId| {
            process.known.get(group).is_some_and(|(_, revision)| *revision == self.store.group(*group).1)
        };
        // Nobody is told of what is no news.
        if process.nodes == facts && self.oracles.keys().all(knows) {
            return;
        }
        self.see(id, run, Seen::Nodes(facts));
        for group in self.groups() {
            let (record, revision) = self.store.group(group);
            self.see(id, run, Seen::Group(group, record, revision));
        }
    }

    fn running(&self) -> Vec<(NodeId, RunId)> {
        self.machines.values().filter_map(|machine| Some((machine.id, machine.run()?))).collect()
    }

    /// Keeps a process' session alive, opens another if it has none, and stands for the controller's office.
    pub(super) fn keep_alive(&mut self, id: NodeId, run: RunId) {
        let ttl = u64::try_from(self.settings.timing.session_ttl.as_nanos()).unwrap_or(u64::MAX);
        let reachable = !self.store_down && self.network.reach(Place::Node(id), Place::Store);
        let Some(machine) = self.machines.get_mut(&id).filter(|machine| machine.run() == Some(run)) else { return };
        let Some(process) = machine.process.as_mut() else { return };
        self.queue.push(self.now + ttl / 4, Happening::KeepAlive { node: id, run });
        // A leader whose disk hangs must not look alive.
        if !reachable || process.groups.values().any(|hosted| hosted.group.is_stalled()) {
            return;
        }
        let session = process.session.filter(|session| self.store.has_session(*session));
        let due = self.now + ttl + self.rng.below(ttl / 4);
        if let Some(session) = session {
            self.sessions.insert(session, due);
        } else {
            process.term = None;
            process.session = self.store.announce(id, run, process.registration);
            let Some(session) = process.session else { return self.follow_registration(id, run) };
            self.sessions.insert(session, due);
            self.queue.push(due, Happening::SessionDue { session });
            self.publish_nodes();
        }
        self.stand(id, run);
    }

    pub(super) fn session_due(&mut self, session: SessionId) {
        match self.sessions.get(&session) {
            Some(&due) if due > self.now => self.queue.push(due, Happening::SessionDue { session }),
            Some(_) => self.end_session(session),
            None => (),
        }
    }

    /// A session ends, whether its time is up or not.
    pub(crate) fn end_session(&mut self, session: SessionId) {
        self.sessions.remove(&session);
        if self.store.has_session(session) {
            self.store.end_session(session);
            self.counts.sessions_ended += 1;
            self.publish_nodes();
        }
    }

    pub(crate) fn open_sessions(&self) -> Vec<SessionId> {
        self.sessions.keys().copied().collect()
    }

    fn stand(&mut self, id: NodeId, run: RunId) {
        let Some(process) = self.machines.get_mut(&id).and_then(|machine| machine.process.as_mut()) else { return };
        if let Some(term) = &process.term {
            if self.store.controller().is_some_and(|(_, office)| office.created > term.office.created) {
                process.term = None;
            }
            return;
        }
        let Some(session) = process.session else { return };
        let Some(office) = self.store.campaign(session, id, run) else { return };
        let controller = Controller::new(self.settings.timing.clone());
        process.term = Some(Term { controller, office, wakes_at: None });
        self.counts.offices += 1;
        self.note(|| format!("{id} is the controller"));
        self.tell_controller(id, run, ControllerEvent::TookOffice);
        let facts = self.store.facts();
        self.tell_controller(id, run, ControllerEvent::NodesSeen(facts));
        for group in self.groups() {
            let (record, revision) = self.store.group(group);
            self.tell_controller(id, run, ControllerEvent::RecordSeen { group, record: Some(record), revision });
        }
    }

    pub(super) fn tell_controller(&mut self, id: NodeId, run: RunId, event: ControllerEvent) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&id).filter(|machine| machine.run() == Some(run)) else { return };
        let clocks = machine.clocks;
        let Some(term) = machine.process.as_mut().and_then(|process| process.term.as_mut()) else { return };
        if term.wakes_at.is_some_and(|at| at <= now) {
            term.wakes_at = None;
        }
        let tick: Tick = clocks.tick(now);
        term.controller.step(tick, event);
        let effects: Vec<ControllerEffect> = std::iter::from_fn(|| term.controller.next_effect()).collect();
        let office = term.office;
        if let Some(deadline) = term.controller.next_deadline() {
            let at = clocks.real(deadline).max(now + 1);
            if term.wakes_at.is_none_or(|planned| at < planned) {
                term.wakes_at = Some(at);
                self.queue.push(at, Happening::TellController { node: id, run, event: ControllerEvent::Tick });
            }
        }
        for effect in effects {
            match effect {
                ControllerEffect::ChangeGroup { id: request, group, change } => {
                    if change.record.lineage > self.store.group(group).0.lineage {
                        self.counts.recoveries_by_controllers += 1;
                        let change = with_office(group, GroupChange::clone(&change), Some(office));
                        let reaches = |other| other == id || self.network.reach(Place::Node(id), Place::Node(other));
                        self.check_choice(group, &change, reaches, false);
                    }
                    let ask = Ask::Controller(group, change, office);
                    self.ask(Asker::Controller { node: id, run }, request, ask);
                }
                ControllerEffect::Inspect { group } => self.inspect(id, run, group),
                // Whoever is told in production is nobody here: leaders are asked.
                ControllerEffect::TransferEnded { .. } => (),
            }
        }
    }

    /// Clients are told of the topology; some late, some not at all.
    pub(super) fn publish_topology(&mut self) {
        let topology = Arc::new(self.topology());
        let version = self.store.revision();
        self.topologies.push(topology);
        for client in 0..self.clients.len() {
            if self.rng.chance(self.troubles.watch) {
                continue;
            }
            let after = self.rng.range(100_000, ms(5));
            self.schedule(after, Happening::Topology { client, version });
        }
    }

    fn topology(&self) -> Topology {
        let facts = self.store.facts();
        let (slots, slot_map_version) = self.store.slots();
        let nodes = facts.iter().map(|facts| {
            let mut node = Node::new(facts.node, NodeAddresses::default());
            node.live = facts.is_live();
            node
        });
        let groups: Vec<Group> = self
            .groups()
            .into_iter()
            .map(|id| {
                let (record, _) = self.store.group(id);
                let mut group = Group::new(id, record.epoch, record.leader.map(|leader| leader.node), record.replicas);
                group.in_sync = record.in_sync.iter().map(|member| member.node).collect();
                group
            })
            .collect();
        let ranges: Vec<_> =
            self.groups().into_iter().flat_map(|id| slots.ranges_of(id).map(move |range| (range, id))).collect();
        Topology::new(self.store.revision().0, CLUSTER, slot_map_version, ranges, groups, nodes.collect())
    }

    /// The newest topology shown so far that is not newer than a version; the newest of all if everything after it is newer.
    pub(super) fn topology_at(&self, version: Revision) -> Option<Arc<Topology>> {
        self.topologies
            .iter()
            .rev()
            .find(|topology| topology.version() <= version.0)
            .or(self.topologies.last())
            .cloned()
    }
}

/// A change as the metadata store takes it.
pub(super) fn with_office(
    group: GroupId,
    change: GroupChange,
    office: Option<simplekv_meta::Office>,
) -> simplekv_meta::GroupChange {
    let GroupChange { expected, registrations, silent, record } = change;
    simplekv_meta::GroupChange { group, expected, record, registrations, silent, office }
}

fn describe(record: &GroupRecord) -> String {
    let members = |members: &[Member]| members.iter().map(Member::to_string).collect::<Vec<_>>().join(",");
    let leader = record.leader.map_or("nobody".to_owned(), |leader| leader.node.to_string());
    format!(
        "epoch={} leader={leader} in_sync=({}) fence=({})",
        record.epoch,
        members(&record.in_sync),
        members(&record.fence)
    )
}

fn name(outcome: &MetadataOutcome) -> &'static str {
    match outcome {
        MetadataOutcome::Succeeded { .. } => "done",
        MetadataOutcome::Lost { .. } => "lost",
        _ => "failed",
    }
}
