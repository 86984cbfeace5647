//! The group and everything around it, at a moment.

use simplekv_cluster::{Event, GroupChange, MetadataOutcome, RequestId};
use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::{Member, NodeId, Revision, RunId, StorageId};

use crate::bounds::Bounds;
use crate::disk::Disk;
use crate::history::History;
use crate::network::Network;
use crate::node::{GROUP, LEASE_MS, Node};
use crate::shared::Shared;
use crate::store::{Store, founded};

/// A state of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// Milliseconds since the beginning.
    pub(crate) now: u8,
    pub(crate) nodes: Vec<Shared<Node>>,
    pub(crate) network: Network,
    pub(crate) store: Shared<Store>,
    /// Changes of the record on their way to the store.
    pub(crate) requests: Vec<Request>,
    pub(crate) history: Shared<History>,
    pub(crate) used: Used,
}

/// How much of the bounds is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Used {
    pub(crate) writes: u8,
    pub(crate) ticks: u8,
    pub(crate) restarts: u8,
    pub(crate) wipes: u8,
    pub(crate) unknowns: u8,
}

/// A change on its way to the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Request {
    pub(crate) node: NodeId,
    pub(crate) run: RunId,
    pub(crate) id: RequestId,
    pub(crate) change: GroupChange,
    /// Whether the asker still waits for the outcome.
    pub(crate) awaited: bool,
}

/// What a node's driver reaches.
pub(crate) struct Surroundings<'a> {
    pub(crate) now: u8,
    pub(crate) bounds: &'a Bounds,
    pub(crate) network: &'a mut Network,
    pub(crate) store: &'a Store,
    pub(crate) requests: &'a mut Vec<Request>,
    pub(crate) history: &'a mut History,
}

impl State {
    /// Nodes that have just started, in a group that has had no leader.
    pub(crate) fn new(bounds: &Bounds) -> Self {
        let members: Vec<Member> = (1..=bounds.replicas).map(|node| member(node, 0)).collect();
        let mut store = Store::new(founded(members.clone(), bounds.min_in_sync, LEASE_MS));
        let mut nodes = Vec::new();
        for Member { node, storage } in members {
            let run = store.register(node, storage);
            nodes.push(Shared::new(Node::start(node, run, Disk::new(storage), 0, bounds)));
        }
        Self {
            now: 0,
            nodes,
            network: Network::new(),
            store: Shared::new(store),
            requests: Vec::new(),
            history: Shared::new(History::default()),
            used: Used::default(),
        }
    }

    pub(crate) fn node(&self, id: NodeId) -> &Shared<Node> {
        self.nodes.iter().find(|node| node.id == id).expect("nodes never leave")
    }

    /// A node does something, and whatever follows from it at once.
    pub(crate) fn act<T>(
        &mut self,
        bounds: &Bounds,
        id: NodeId,
        act: impl FnOnce(&mut Node, &mut Surroundings<'_>) -> T,
    ) -> T {
        let slot = self.nodes.iter_mut().find(|node| node.id == id).expect("nodes never leave");
        let mut node = (**slot).clone();
        let mut history = (*self.history).clone();
        let mut around = Surroundings {
            now: self.now,
            bounds,
            network: &mut self.network,
            store: &self.store,
            requests: &mut self.requests,
            history: &mut history,
        };
        let result = act(&mut node, &mut around);
        if node.status.gate_open {
            history.open = history.open.max(node.status.epoch);
        }
        if node.status.epoch > slot.status.epoch && !is_broken(Rule::C26) {
            self.network.forget_answers(id, node.status.epoch);
        }
        *slot = Shared::new(node);
        if history != *self.history {
            self.history = Shared::new(history);
        }
        result
    }

    pub(crate) fn step(&mut self, bounds: &Bounds, id: NodeId, event: Event) {
        self.act(bounds, id, |node, around| node.step(around, event));
    }

    /// The revisions of the newest news for nodes.
    pub(crate) fn news(&self) -> (Revision, Revision) {
        let newest = self.store.registrations.iter().map(|facts| facts.revision).max();
        (self.store.record_revision, newest.unwrap_or(Revision(0)))
    }

    /// A node sees the record and the registrations as they are.
    pub(crate) fn watch(&mut self, bounds: &Bounds, id: NodeId) {
        let (facts, (record, revision), news) = (self.store.registrations.clone(), self.store.read(), self.news());
        self.act(bounds, id, |node, around| {
            let seen = std::mem::replace(&mut node.seen, news);
            if seen.1 < news.1 {
                node.step(around, Event::NodesSeen(facts));
            }
            if seen.0 < news.0 {
                node.step(around, Event::RecordSeen { record, revision });
            }
        });
    }

    /// A node's process ends, and another begins on its disk, or on an empty one.
    pub(crate) fn restart(&mut self, bounds: &Bounds, id: NodeId, wiped: bool) {
        self.used.restarts += 1;
        self.used.wipes += u8::from(wiped);
        let slot = self.nodes.iter_mut().find(|node| node.id == id).expect("nodes never leave");
        let disk = if wiped { Disk::new(member(id.0, self.used.wipes).storage) } else { slot.disk.clone() };
        let mut store = (*self.store).clone();
        let run = store.register(id, disk.storage);
        self.store = Shared::new(store);
        *slot = Shared::new(Node::start(id, run, disk, self.now, bounds));
        self.watch(bounds, id);
    }

    /// Elects a node as the controller does, if it would. Returns whether it did.
    pub(crate) fn elect(&mut self, to: NodeId, dead: Option<NodeId>) -> bool {
        let Some(change) = self.store.election(GROUP, to, dead) else { return false };
        let mut store = (*self.store).clone();
        let outcome = store.change(&change);
        self.store = Shared::new(store);
        matches!(outcome, MetadataOutcome::Succeeded { .. })
    }

    /// The store executes a request, and its asker is told what came of it if it waits for that.
    pub(crate) fn execute(&mut self, bounds: &Bounds, request: &Request) {
        let mut store = (*self.store).clone();
        let outcome = store.change(&request.change);
        self.store = Shared::new(store);
        let seen = self.store.record_revision;
        if request.awaited && self.node(request.node).run == request.run {
            self.act(bounds, request.node, |node, around| {
                node.seen.0 = seen;
                node.step(around, Event::Metadata { id: request.id, outcome });
            });
        }
    }
}

/// The incarnation of a node's disk after it was replaced so often.
fn member(node: u32, wipes: u8) -> Member {
    Member { node: NodeId(node), storage: StorageId(u128::from(node) << 96 | u128::from(wipes)) }
}
