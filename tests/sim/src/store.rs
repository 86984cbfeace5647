//! The metadata store: etcd's model behind the cluster's own record operations, executed in an instant.
//!
//! Faults are around it, not in it: who asks decides when, whether and how often a request arrives here, and whether the answer
//! comes back.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use simplekv_cluster::migration::{MoveOutcome, MoveRequest};
use simplekv_cluster::{MetadataOutcome, NodeFacts};
use simplekv_meta::{
    Cas, ControllerRecord, Entry, GroupChange, Key, Keys, Listing, MetaError, MetaStore, Model, Office, Records,
    Session, SessionId, Txn, TxnOutcome, Versioned, Watch, encode,
};
use simplekv_types::{
    ClusterRecord, GroupId, GroupRecord, NodeId, NodeRecord, Registration, Revision, RunId, SlotMap, SlotMapVersion,
};

/// The store of one cluster.
#[derive(Debug)]
pub(crate) struct Store {
    shelf: Arc<Shelf>,
    records: Records,
}

#[derive(Debug, Default)]
struct Shelf {
    model: Mutex<Model>,
}

impl MetaStore for Shelf {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, MetaError>> {
        futures::future::ready(Ok(self.model.lock().get(key))).boxed()
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Listing, MetaError>> {
        futures::future::ready(Ok(self.model.lock().list(prefix))).boxed()
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome, MetaError>> {
        futures::future::ready(self.model.lock().txn(&txn).map(|(outcome, _)| outcome)).boxed()
    }

    fn watch(&self, _prefix: &str, _after: Revision) -> Watch {
        unreachable!("the world tells who is told what")
    }

    fn open_session(&self, _ttl: Duration) -> BoxFuture<'_, Result<Session, MetaError>> {
        unreachable!("the world keeps the sessions")
    }
}

fn at_once<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the store answers in an instant")
}

impl Store {
    pub(crate) fn new(cluster: &ClusterRecord, groups: &[(GroupId, GroupRecord)], slots: &SlotMap) -> Self {
        let shelf = Arc::<Shelf>::default();
        let keys = Keys::new("/skv").expect("a prefix");
        let records = Records::new(Arc::clone(&shelf) as Arc<dyn MetaStore>, keys);
        let begun = at_once(records.init(cluster, groups, slots)).expect("the store answers");
        assert!(matches!(begun, Cas::Done { .. }), "an empty store takes a cluster");
        Self { shelf, records }
    }

    /// A backup.
    pub(crate) fn snapshot(&self) -> Model {
        self.shelf.model.lock().clone()
    }

    /// Puts a backup in the place of everything, as operators are told to: revisions do not come twice. Names of sessions do not
    /// either; those that were open are gone.
    pub(crate) fn restore(&self, mut snapshot: Model) {
        let mut model = self.shelf.model.lock();
        let (revision, last) = (model.revision(), model.open_session());
        for session in snapshot.sessions() {
            snapshot.end_session(session);
        }
        while snapshot.revision() <= revision {
            snapshot.txn(&Txn::new().put("/restored", "")).expect("a key can be written");
        }
        while snapshot.open_session() < last {}
        for session in snapshot.sessions() {
            snapshot.end_session(session);
        }
        *model = snapshot;
    }

    /// Undoes that.
    pub(crate) fn put_back(&self, model: Model) {
        *self.shelf.model.lock() = model;
    }

    pub(crate) fn revision(&self) -> Revision {
        self.shelf.model.lock().revision()
    }

    pub(crate) fn group(&self, group: GroupId) -> (GroupRecord, Revision) {
        let found = at_once(self.records.group(group)).expect("it can be read").expect("it exists");
        (found.record, found.modified)
    }

    pub(crate) fn change_group(&self, change: &GroupChange) -> MetadataOutcome {
        match at_once(self.records.change_group(change)) {
            Ok(Cas::Done { revision }) => MetadataOutcome::Succeeded { revision },
            Ok(Cas::Lost(conflict)) => MetadataOutcome::Lost { current: conflict.group.map(versioned) },
            Err(error) => unreachable!("the store itself does not fail: {error}"),
        }
    }

    /// Reads or changes moves of slots.
    pub(crate) fn ask_move(&self, request: MoveRequest) -> MoveOutcome {
        at_once(simplekv_server::moves::ask(&self.records, request, None))
    }

    pub(crate) fn slots(&self) -> (SlotMap, SlotMapVersion) {
        let found = at_once(self.records.slots()).expect("it can be read").expect("it exists");
        (found.record, SlotMapVersion(found.modified.0))
    }

    pub(crate) fn node(&self, node: NodeId) -> Option<Registration> {
        at_once(self.records.node(node)).expect("it can be read")
    }

    pub(crate) fn register(&self, node: NodeId, expected: Revision, record: &NodeRecord) -> Cas<Option<Registration>> {
        at_once(self.records.register(node, expected, record)).expect("the store answers")
    }

    /// Opens a session and shows the run as alive in it; `None` if the run was replaced.
    pub(crate) fn announce(&self, node: NodeId, run: RunId, registration: Revision) -> Option<SessionId> {
        let session = self.shelf.model.lock().open_session();
        let announced = at_once(self.records.announce(node, run, registration, session)).expect("the store answers");
        matches!(announced, Cas::Done { .. }).then_some(session)
    }

    pub(crate) fn has_session(&self, session: SessionId) -> bool {
        self.shelf.model.lock().has_session(session)
    }

    pub(crate) fn end_session(&self, session: SessionId) {
        self.shelf.model.lock().end_session(session);
    }

    /// Takes the controller's office if it is vacant.
    pub(crate) fn campaign(&self, session: SessionId, node: NodeId, run: RunId) -> Option<Office> {
        let key = self.records.key(&Key::Controller);
        let candidate = encode(&ControllerRecord { node, run });
        let txn = Txn::new().when(simplekv_meta::Compare::missing(&key)).put_in(session, &key, candidate);
        match self.shelf.model.lock().txn(&txn) {
            Ok((TxnOutcome::Succeeded { revision }, _)) => Some(Office { created: revision }),
            _ => None,
        }
    }

    pub(crate) fn controller(&self) -> Option<(NodeId, Office)> {
        let found = at_once(self.records.controller()).expect("it can be read")?;
        Some((found.record.node, Office { created: found.created }))
    }

    /// What is known of the nodes.
    pub(crate) fn facts(&self) -> Vec<NodeFacts> {
        let view = at_once(self.records.load()).expect("it can be read");
        let of = |(&node, registration)| NodeFacts::new(node, registration, view.live.get(&node).copied());
        view.nodes.iter().map(of).collect()
    }

    /// Says in a node's registration that its storage is not to be trusted.
    pub(crate) fn mark_poisoned(&self, node: NodeId) -> bool {
        let Some(found) = self.node(node).filter(|found| !found.record.poisoned) else { return false };
        let record = NodeRecord { poisoned: true, run: Some(found.run()), ..found.record };
        matches!(self.register(node, found.revision, &record), Cas::Done { .. })
    }
}

fn versioned(found: Versioned<GroupRecord>) -> (GroupRecord, Revision) {
    (found.record, found.modified)
}
