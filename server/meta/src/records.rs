//! What the cluster does with its records, each as one transaction.
//!
//! Nothing is retried here. An operation whose outcome is unknown is resolved by its caller, by reading: only the caller knows by
//! what it would recognise its own write (a registration by its nonce, a group record by its leader's run).

use std::sync::Arc;

use serde::de::DeserializeOwned;
use simplekv_types::{
    ClusterRecord, GroupId, GroupRecord, NodeId, NodeRecord, Registration, Revision, RunId, SlotMap, SlotMapVersion,
};

use crate::record::encode;
use crate::{
    Change, ClusterView, Compare, Entry, Freshness, Key, Keys, LiveRecord, Lost, MetaStore, Office, RecordError,
    SessionId, Txn, TxnOutcome, Versioned, decode,
};

/// The records of one cluster.
#[derive(Clone, Debug)]
pub struct Records {
    store: Arc<dyn MetaStore>,
    keys: Keys,
}

/// What became of a compare-and-set that was certainly executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cas<C> {
    /// The change was made.
    Done {
        /// Its revision: the records' new one.
        revision: Revision,
    },
    /// Something was not as expected; nothing was changed.
    Lost(C),
}

/// A change of a group's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupChange {
    /// The group.
    pub group: GroupId,
    /// The revision of the record it replaces.
    pub expected: Revision,
    /// The new record.
    pub record: GroupRecord,
    /// Registrations that must still be of these revisions: of a replica that joins or is elected, or whose incarnation counts.
    pub registrations: Vec<(NodeId, Revision)>,
    /// Nodes that must show no sign of life: what is changed rests on their silence.
    pub silent: Vec<NodeId>,
    /// The controller's office, which must still be held, if it is the controller that acts.
    pub office: Option<Office>,
}

/// Why a change of a group's record was lost: what holds instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConflict {
    /// The group's record; `None` if the group is gone.
    pub group: Option<Versioned<GroupRecord>>,
    /// Of the compared registrations those that are not as expected; `None` if the node is not registered.
    pub registrations: Vec<(NodeId, Option<Registration>)>,
    /// Of the nodes that had to be silent those that show a sign of life.
    pub alive: Vec<NodeId>,
    /// Whether the office was named and is not held any more.
    pub office_lost: bool,
    /// The store's revision all this was read at.
    pub revision: Revision,
}

impl Records {
    /// The records under `keys` in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn MetaStore>, keys: Keys) -> Self {
        Self { store, keys }
    }

    /// The store, for transactions that no operation here covers.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn MetaStore> {
        &self.store
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// A key's text.
    #[must_use]
    pub fn key(&self, key: &Key) -> String {
        self.keys.text(key)
    }

    /// Everything, read once at one revision.
    ///
    /// # Errors
    /// [`RecordError::Store`]. Corrupt records are listed in the view.
    pub async fn load(&self) -> Result<ClusterView, RecordError> {
        let listing = self.store.list(&self.keys.all()).await?;
        let mut view =
            ClusterView { revision: listing.revision, freshness: Freshness::Current, ..ClusterView::default() };
        for entry in listing.entries {
            view.apply(&self.keys, &Change::Put(entry));
        }
        Ok(view)
    }

    /// The cluster's record, `None` before `init`.
    ///
    /// # Errors
    /// [`RecordError::Store`] or [`RecordError::Corrupt`].
    pub async fn cluster(&self) -> Result<Option<Versioned<ClusterRecord>>, RecordError> {
        self.read(&Key::Cluster).await
    }

    /// A group's record.
    ///
    /// # Errors
    /// [`RecordError::Store`] or [`RecordError::Corrupt`].
    pub async fn group(&self, group: GroupId) -> Result<Option<Versioned<GroupRecord>>, RecordError> {
        self.read(&Key::Group(group)).await
    }

    /// A node's registration.
    ///
    /// # Errors
    /// [`RecordError::Store`] or [`RecordError::Corrupt`].
    pub async fn node(&self, node: NodeId) -> Result<Option<Registration>, RecordError> {
        self.store.get(&self.key(&Key::Node(node))).await?.as_ref().map(registration).transpose()
    }

    /// The slot map. Its `modified` revision is its [`SlotMapVersion`].
    ///
    /// # Errors
    /// [`RecordError::Store`] or [`RecordError::Corrupt`].
    pub async fn slots(&self) -> Result<Option<Versioned<SlotMap>>, RecordError> {
        self.read(&Key::Slots).await
    }

    /// Creates the cluster: its record, its groups (at most 126 at once) and its slot map. Lost, with the keys in the way, if any
    /// of them exists.
    ///
    /// # Errors
    /// [`RecordError::Store`]. If the outcome is unknown, the cluster's record tells: its id was drawn for this call.
    pub async fn init(
        &self,
        cluster: &ClusterRecord,
        groups: &[(GroupId, GroupRecord)],
        slots: &SlotMap,
    ) -> Result<Cas<Vec<String>>, RecordError> {
        let mut records = vec![(self.key(&Key::Cluster), encode(cluster)), (self.key(&Key::Slots), encode(slots))];
        records.extend(groups.iter().map(|(group, record)| (self.key(&Key::Group(*group)), encode(record))));
        let mut txn = Txn::new();
        for (key, value) in records {
            txn = txn.when(Compare::missing(&key)).put(key, value);
        }
        self.execute(txn, |lost| Ok(lost.current.into_iter().map(|entry| entry.key).collect())).await
    }

    /// Adds a group to an initialised cluster. It owns no slots yet. Lost with the group's record if it exists, with `None` if
    /// there is no cluster.
    ///
    /// # Errors
    /// [`RecordError::Store`], or [`RecordError::Corrupt`] if the group exists and its record is.
    pub async fn add_group(
        &self,
        group: GroupId,
        record: &GroupRecord,
    ) -> Result<Cas<Option<Versioned<GroupRecord>>>, RecordError> {
        let key = self.key(&Key::Group(group));
        let txn = Txn::new()
            .when(Compare::exists(self.key(&Key::Cluster)))
            .when(Compare::missing(&key))
            .put(&key, encode(record));
        self.execute(txn, |lost| lost.entry(&key).map(Versioned::decode).transpose()).await
    }

    /// Removes a group that the caller has seen to own no slot in the slot map of this version. Lost if either has changed.
    ///
    /// # Errors
    /// [`RecordError::Store`].
    pub async fn remove_group(
        &self,
        group: GroupId,
        expected: Revision,
        slots: SlotMapVersion,
    ) -> Result<Cas<()>, RecordError> {
        let key = self.key(&Key::Group(group));
        let txn = Txn::new()
            .when(Compare::modified(&key, expected))
            .when(Compare::modified(self.key(&Key::Slots), Revision(slots.0)))
            .delete(key);
        self.execute(txn, |_| Ok(())).await
    }

    /// Changes a group's record.
    ///
    /// # Errors
    /// [`RecordError::Store`], or [`RecordError::Corrupt`] if the change was lost to a record that cannot be read.
    pub async fn change_group(&self, change: &GroupChange) -> Result<Cas<GroupConflict>, RecordError> {
        self.change_group_with(change, Txn::new()).await
    }

    /// Changes a group's record together with something else.
    pub(crate) async fn change_group_with(
        &self,
        change: &GroupChange,
        also: Txn,
    ) -> Result<Cas<GroupConflict>, RecordError> {
        let key = self.key(&Key::Group(change.group));
        let registrations = change
            .registrations
            .iter()
            .map(|(node, revision)| Compare::modified(self.key(&Key::Node(*node)), *revision));
        let silent = change.silent.iter().map(|node| Compare::missing(self.key(&Key::Live(*node))));
        let txn = also
            .when(Compare::modified(&key, change.expected))
            .when_all(registrations)
            .when_all(silent)
            .when_all(change.office.iter().map(|office| self.holds(office)))
            .put(key, encode(&change.record));
        self.execute(txn, |lost| self.group_conflict(change, &lost)).await
    }

    /// Registers a run of a node, or rewrites its registration. `expected` is the revision of the registration it replaces, 0 for
    /// a new node. The revision of a registration that names no run is the new run's id. Lost with the registration found.
    ///
    /// # Errors
    /// [`RecordError::Store`], or [`RecordError::Corrupt`] if it was lost to a record that cannot be read. If the outcome is
    /// unknown, the record's `nonce` tells.
    pub async fn register(
        &self,
        node: NodeId,
        expected: Revision,
        record: &NodeRecord,
    ) -> Result<Cas<Option<Registration>>, RecordError> {
        let key = self.key(&Key::Node(node));
        let txn = Txn::new().when(Compare::modified(&key, expected)).put(&key, encode(record));
        self.execute(txn, |lost| lost.entry(&key).map(registration).transpose()).await
    }

    /// Shows a run of a node as alive for as long as the session is. `registration` is the registration's current revision, so
    /// that a run that was replaced cannot speak for the node. Lost with the registration found.
    ///
    /// # Errors
    /// [`RecordError::Store`], or [`RecordError::Corrupt`] if it was lost to a record that cannot be read.
    pub async fn announce(
        &self,
        node: NodeId,
        run: RunId,
        registration: Revision,
        session: SessionId,
    ) -> Result<Cas<Option<Registration>>, RecordError> {
        let key = self.key(&Key::Node(node));
        let txn = Txn::new().when(Compare::modified(&key, registration)).put_in(
            session,
            self.key(&Key::Live(node)),
            encode(&LiveRecord { run }),
        );
        self.execute(txn, |lost| lost.entry(&key).map(self::registration).transpose()).await
    }

    /// Replaces the slot map of version `expected`, provided that `also` holds. Lost with the slot map found, which may be of the
    /// version expected if it was something else that did not hold.
    ///
    /// # Errors
    /// [`RecordError::Store`], or [`RecordError::Corrupt`] if it was lost to a map that cannot be read.
    pub async fn change_slots(
        &self,
        expected: SlotMapVersion,
        slots: &SlotMap,
        also: Vec<Compare>,
    ) -> Result<Cas<Option<Versioned<SlotMap>>>, RecordError> {
        let key = self.key(&Key::Slots);
        let txn =
            Txn::new().when(Compare::modified(&key, Revision(expected.0))).when_all(also).put(&key, encode(slots));
        self.execute(txn, |lost| lost.entry(&key).map(Versioned::decode).transpose()).await
    }

    pub(crate) async fn read<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<Versioned<T>>, RecordError> {
        self.store.get(&self.key(key)).await?.as_ref().map(Versioned::decode).transpose()
    }

    async fn execute<C>(
        &self,
        txn: Txn,
        conflict: impl FnOnce(Lost) -> Result<C, RecordError>,
    ) -> Result<Cas<C>, RecordError> {
        match self.store.txn(txn).await? {
            TxnOutcome::Succeeded { revision } => Ok(Cas::Done { revision }),
            TxnOutcome::Lost(lost) => conflict(lost).map(Cas::Lost),
        }
    }

    fn group_conflict(&self, change: &GroupChange, lost: &Lost) -> Result<GroupConflict, RecordError> {
        let group = lost.entry(&self.key(&Key::Group(change.group))).map(Versioned::decode).transpose()?;
        let mut registrations = Vec::new();
        for (node, expected) in &change.registrations {
            let entry = lost.entry(&self.key(&Key::Node(*node)));
            if entry.map_or(Revision(0), |entry| entry.modified) != *expected {
                registrations.push((*node, entry.map(registration).transpose()?));
            }
        }
        let is_alive = |node: &&NodeId| lost.entry(&self.key(&Key::Live(**node))).is_some();
        let alive = change.silent.iter().filter(is_alive).copied().collect();
        let office_lost = change.office.as_ref().is_some_and(|office| {
            let compare = self.holds(office);
            !compare.holds(lost.entry(compare.key()))
        });
        Ok(GroupConflict { group, registrations, alive, office_lost, revision: lost.revision })
    }
}

fn registration(entry: &Entry) -> Result<Registration, RecordError> {
    Ok(Registration { record: decode(entry)?, revision: entry.modified })
}
