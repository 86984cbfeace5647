//! The metadata store: one group's record and the nodes' registrations, with revisions.

use std::collections::BTreeMap;

use simplekv_cluster::{GroupChange, MetadataOutcome, NodeFacts};
use simplekv_types::{
    Epoch, FlushPolicy, GroupRecord, Leadership, Member, NodeAddresses, NodeId, NodeRecord, Registration, Revision,
    RunId, StorageId,
};

#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    revision: Revision,
    pub(crate) record: GroupRecord,
    pub(crate) record_revision: Revision,
    pub(crate) registrations: BTreeMap<NodeId, Registration>,
    /// Sessions.
    pub(crate) live: BTreeMap<NodeId, RunId>,
}

impl Metadata {
    pub(crate) fn new(record: GroupRecord) -> Self {
        let revision = Revision(1);
        Self { revision, record, record_revision: revision, registrations: BTreeMap::new(), live: BTreeMap::new() }
    }

    pub(crate) fn read(&self) -> (GroupRecord, Revision) {
        (self.record.clone(), self.record_revision)
    }

    /// Executes a change of the group's record.
    pub(crate) fn change(&mut self, change: &GroupChange) -> MetadataOutcome {
        let same = |(node, revision): &(NodeId, Revision)| {
            self.registrations.get(node).map_or(Revision(0), |registration| registration.revision) == *revision
        };
        let silent = change.silent.iter().all(|node| !self.live.contains_key(node));
        if change.expected != self.record_revision || !change.registrations.iter().all(same) || !silent {
            return MetadataOutcome::Lost { current: Some(self.read()) };
        }
        self.record = change.record.clone();
        self.touch_record();
        MetadataOutcome::Succeeded { revision: self.revision }
    }

    /// A node registers a new run, which it returns.
    pub(crate) fn register(
        &mut self,
        node: NodeId,
        storage: StorageId,
        prev_storages: Vec<StorageId>,
        nonce: u64,
        flush: FlushPolicy,
    ) -> RunId {
        self.revision = Revision(self.revision.0 + 1);
        let record = NodeRecord {
            storage,
            run: None,
            nonce,
            prev_storages,
            poisoned: false,
            addresses: NodeAddresses::default(),
            zone: String::new(),
            flush,
        };
        let registration = Registration { record, revision: self.revision };
        let run = registration.run();
        self.registrations.insert(node, registration);
        self.live.insert(node, run);
        run
    }

    /// Elects a node as the controller would, keeping everybody in sync.
    pub(crate) fn elect(&mut self, node: NodeId) {
        let registration = &self.registrations[&node];
        let leader = Leadership { node, storage: registration.record.storage, run: registration.run() };
        let record = &mut self.record;
        record.epoch = record.epoch.next();
        record.leader = Some(leader);
        let fenced: Vec<Member> =
            record.in_sync.iter().copied().filter(|member| !record.fence.contains(member)).collect();
        record.fence.extend(fenced);
        record.fence_ms = record.fence_ms.max(record.lease_ms);
        self.touch_record();
    }

    /// Goes back to before the last election, at a later revision, as a restored backup does.
    pub(crate) fn regress(&mut self) {
        self.record.epoch = Epoch(self.record.epoch.0 - 1);
        self.touch_record();
    }

    fn touch_record(&mut self) {
        self.revision = Revision(self.revision.0 + 1);
        self.record_revision = self.revision;
    }

    pub(crate) fn facts(&self) -> Vec<NodeFacts> {
        let each = self.registrations.iter();
        each.map(|(node, registration)| NodeFacts::new(*node, registration, self.live.get(node).copied())).collect()
    }

    /// Whether the listed member is what is registered, undamaged.
    pub(crate) fn is_intact(&self, member: Member) -> bool {
        self.registrations
            .get(&member.node)
            .is_some_and(|registration| registration.record.storage == member.storage && !registration.record.poisoned)
    }
}
