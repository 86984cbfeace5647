//! The cluster as the metadata store describes it, decoded.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use simplekv_types::{
    ClusterRecord, GroupId, GroupRecord, MigrationId, NodeId, Registration, Revision, RunId, SlotMap, SlotMapVersion,
};
use tokio::time::Instant;

use crate::{Change, ControllerRecord, Entry, Key, Keys, LiveRecord, RecordError, Versioned, decode};

/// Everything the metadata store holds of one cluster, as far as this process knows. Parts may be of different revisions, each
/// record is one that was really stored, and none is ever replaced by an older one.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterView {
    /// The cluster; `None` before `init`.
    pub cluster: Option<ClusterRecord>,
    /// Registered nodes.
    pub nodes: BTreeMap<NodeId, Registration>,
    /// Nodes whose session is open, with the run that opened it. A hint.
    pub live: BTreeMap<NodeId, RunId>,
    /// Groups with the revisions their records were last changed at.
    pub groups: BTreeMap<GroupId, Versioned<GroupRecord>>,
    /// The slot map; empty before `init`.
    pub slots: Arc<SlotMap>,
    /// The slot map's version; 0 before `init`.
    pub slot_map_version: SlotMapVersion,
    /// Records of migrations, undecoded.
    pub migrations: BTreeMap<MigrationId, Versioned<Bytes>>,
    /// Orders for the controller by name, undecoded.
    pub jobs: BTreeMap<String, Versioned<Bytes>>,
    /// Who holds the controller's office. Its `created` revision is the office's fencing number.
    pub controller: Option<Versioned<ControllerRecord>>,
    /// Keys below the prefix that could not be understood, with the reason. If an earlier value could be, the view shows that.
    pub corrupt: BTreeMap<String, String>,
    /// Greatest revision of the store this view has seen.
    pub revision: Revision,
    /// Whether the view is being kept up to date.
    pub freshness: Freshness,
}

/// How current a [`ClusterView`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The store was never reached: the view is empty because nothing is known.
    Empty,
    /// Changes arrive as they happen, as far as a watch can be trusted.
    Current,
    /// The store does not answer; the view is what was known before.
    Stale {
        /// Since when.
        since: Instant,
    },
    /// The store has gone back: it was restored from an older state. The view is what was known before and follows no more; an
    /// operator must decide. Final.
    Regressed {
        /// The revision known before: of the store, or of one record.
        known: Revision,
        /// What the store showed instead.
        found: Revision,
    },
}

impl Default for ClusterView {
    /// Nothing is known.
    fn default() -> Self {
        Self {
            cluster: None,
            nodes: BTreeMap::new(),
            live: BTreeMap::new(),
            groups: BTreeMap::new(),
            slots: Arc::default(),
            slot_map_version: SlotMapVersion(0),
            migrations: BTreeMap::new(),
            jobs: BTreeMap::new(),
            controller: None,
            corrupt: BTreeMap::new(),
            revision: Revision(0),
            freshness: Freshness::Empty,
        }
    }
}

impl ClusterView {
    /// Whether the view is kept up to date.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.freshness == Freshness::Current
    }

    /// The revision of a group's record.
    #[must_use]
    pub fn group_revision(&self, group: GroupId) -> Option<Revision> {
        self.groups.get(&group).map(|versioned| versioned.modified)
    }

    /// Whether the node's registered run has its session open and its storage is not poisoned. A hint.
    #[must_use]
    pub fn is_alive(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|registration| {
            !registration.record.poisoned && self.live.get(&node) == Some(&registration.run())
        })
    }

    /// Takes a change in. A value that cannot be understood leaves the record as it was.
    pub(crate) fn apply(&mut self, keys: &Keys, change: &Change) {
        match change {
            Change::Put(entry) => match self.put(keys, entry) {
                Ok(()) => drop(self.corrupt.remove(&entry.key)),
                Err(error) => {
                    tracing::error!(key = entry.key, %error, "a record of the metadata store is ignored");
                    self.corrupt.insert(entry.key.clone(), error.to_string());
                }
            },
            Change::Delete { key } => {
                self.corrupt.remove(key);
                if let Ok(key) = keys.parse(key) {
                    self.delete(&key);
                }
            }
        }
    }

    fn put(&mut self, keys: &Keys, entry: &Entry) -> Result<(), RecordError> {
        let key = keys.parse(&entry.key)?;
        match key {
            Key::Cluster => self.cluster = Some(decode(entry)?),
            Key::Node(node) => {
                let registration = Registration { record: decode(entry)?, revision: entry.modified };
                self.nodes.insert(node, registration);
            }
            Key::Live(node) => {
                self.live.insert(node, decode::<LiveRecord>(entry)?.run);
            }
            Key::Group(group) => {
                self.groups.insert(group, Versioned::decode(entry)?);
            }
            Key::Slots => {
                self.slots = Arc::new(decode(entry)?);
                self.slot_map_version = SlotMapVersion(entry.modified.0);
            }
            Key::Migration(migration) => {
                self.migrations.insert(migration, Versioned::raw(entry));
            }
            Key::Controller => self.controller = Some(Versioned::decode(entry)?),
            Key::Job(name) => {
                self.jobs.insert(name, Versioned::raw(entry));
            }
        }
        Ok(())
    }

    fn delete(&mut self, key: &Key) {
        match key {
            Key::Cluster => self.cluster = None,
            Key::Node(node) => drop(self.nodes.remove(node)),
            Key::Live(node) => drop(self.live.remove(node)),
            Key::Group(group) => drop(self.groups.remove(group)),
            Key::Slots => {
                self.slots = Arc::default();
                self.slot_map_version = SlotMapVersion(0);
            }
            Key::Migration(migration) => drop(self.migrations.remove(migration)),
            Key::Controller => self.controller = None,
            Key::Job(name) => drop(self.jobs.remove(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use simplekv_types::{
        Epoch, FlushPolicy, Leadership, Lineage, Member, NodeAddresses, NodeRecord, RecoveryPolicy, SlotRange,
        StorageId,
    };

    use super::*;
    use crate::encode;

    fn entry(key: &Key, value: Bytes) -> Entry {
        let (created, modified) = (Revision(3), Revision(7));
        Entry { key: Keys::default().text(key), value, created, modified, session: None }
    }

    fn applied(entry: Entry) -> ClusterView {
        let mut view = ClusterView::default();
        view.apply(&Keys::default(), &Change::Put(entry));
        view
    }

    fn any_member() -> impl Strategy<Value = Member> {
        (1..u32::MAX, any::<u128>())
            .prop_map(|(node, storage)| Member { node: NodeId(node), storage: StorageId(storage) })
    }

    prop_compose! {
        fn any_group()(
            numbers in any::<[u64; 5]>(),
            leader in prop::option::of((any_member(), any::<u64>())),
            in_sync in prop::collection::vec(any_member(), 0..4),
            fence in prop::collection::vec(any_member(), 0..4),
            recovering in any::<bool>(),
            recovery in prop_oneof![Just(RecoveryPolicy::Manual), Just(RecoveryPolicy::Longest)],
        ) -> GroupRecord {
            let [epoch, lineage, lease_ms, fence_ms, min_in_sync] = numbers;
            let leader = leader.map(|(Member { node, storage }, run)| Leadership { node, storage, run: RunId(run) });
            let replicas = in_sync.iter().map(|member| member.node).collect();
            GroupRecord {
                epoch: Epoch(epoch), leader, in_sync, fence, lease_ms, fence_ms, replicas,
                min_in_sync: min_in_sync as u32, lineage: Lineage(lineage), recovering, recovery,
            }
        }
    }

    prop_compose! {
        fn any_node()(
            storage in any::<u128>(), run in prop::option::of(any::<u64>()), nonce in any::<u64>(), poisoned in any::<bool>(),
            prev in prop::collection::vec(any::<u128>(), 0..3), grpc in ".{0,12}", zone in ".{0,12}",
            flush in prop_oneof![Just(FlushPolicy::Always), Just(FlushPolicy::Replicated), Just(FlushPolicy::Os)],
        ) -> NodeRecord {
            let addresses = NodeAddresses { grpc, ..NodeAddresses::default() };
            let prev_storages = prev.into_iter().map(StorageId).collect();
            NodeRecord { storage: StorageId(storage), run: run.map(RunId), nonce, prev_storages, poisoned, addresses, zone, flush }
        }
    }

    fn any_slots() -> impl Strategy<Value = SlotMap> {
        prop::collection::vec((0..16384u16, 1..9u32), 0..40).prop_map(|slots| {
            let slots: BTreeMap<u16, u32> = slots.into_iter().collect();
            let range = |slot: u16| SlotRange::from(simplekv_types::Slot::try_from(slot).expect("a slot"));
            SlotMap::new(slots.into_iter().map(|(slot, group)| (range(slot), GroupId(group)))).expect("slots once each")
        })
    }

    proptest! {
        #[test]
        fn records_are_read_as_they_are_written(group in any_group(), node in any_node(), slots in any_slots()) {
            let view = applied(entry(&Key::Group(GroupId(4)), encode(&group)));
            prop_assert_eq!(&view.groups[&GroupId(4)].record, &group);
            prop_assert_eq!(view.group_revision(GroupId(4)), Some(Revision(7)));
            let view = applied(entry(&Key::Node(NodeId(4)), encode(&node)));
            prop_assert_eq!(&view.nodes[&NodeId(4)].record, &node);
            let view = applied(entry(&Key::Slots, encode(&slots)));
            prop_assert_eq!((view.slots.as_ref(), view.slot_map_version), (&slots, SlotMapVersion(7)));
        }

        #[test]
        fn a_damaged_record_is_understood_or_reported(
            group in any_group(), node in any_node(), cut in any::<prop::sample::Index>(), byte in any::<u8>(), truncate in any::<bool>(),
        ) {
            for (key, value) in [(Key::Group(GroupId(1)), encode(&group)), (Key::Node(NodeId(1)), encode(&node)), (Key::Slots, encode(&group))] {
                let mut value = value.to_vec();
                let at = cut.index(value.len());
                if truncate { value.truncate(at) } else { value[at] = byte }
                let view = applied(entry(&key, value.into()));
                let understood = view.groups.len() + view.nodes.len() + usize::from(view.slot_map_version.0 > 0);
                prop_assert_eq!(understood + view.corrupt.len(), 1);
            }
        }
    }
}
