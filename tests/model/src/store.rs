//! The metadata store: one group's record and the nodes' registrations, with revisions.

use simplekv_cluster::{
    Controller, ControllerEffect, ControllerEvent, GroupChange, MetadataOutcome, NodeFacts, Timing,
};
use simplekv_types::{Epoch, GroupId, GroupRecord, NodeId, Revision, RunId, StorageId, Tick};

/// What is in the store, and what has become of the in-sync set there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    revision: Revision,
    pub(crate) record: GroupRecord,
    pub(crate) record_revision: Revision,
    pub(crate) registrations: Vec<NodeFacts>,
    /// How often a leader has changed who is in sync.
    pub(crate) changes: u8,
    /// Whether somebody has joined.
    pub(crate) joined: bool,
}

impl Store {
    pub(crate) fn new(record: GroupRecord) -> Self {
        let revision = Revision(1);
        Self { revision, record, record_revision: revision, registrations: Vec::new(), changes: 0, joined: false }
    }

    pub(crate) fn read(&self) -> (GroupRecord, Revision) {
        (self.record.clone(), self.record_revision)
    }

    /// A node registers a new run, which is returned.
    pub(crate) fn register(&mut self, node: NodeId, storage: StorageId) -> RunId {
        self.revision = self.next_revision();
        let run = RunId(self.revision.0);
        let facts = NodeFacts { node, storage, run, revision: self.revision, poisoned: false, live: Some(run) };
        self.registrations.retain(|facts| facts.node != node);
        self.registrations.push(facts);
        self.registrations.sort_by_key(|facts| facts.node);
        run
    }

    /// Executes a change of the group's record.
    pub(crate) fn change(&mut self, change: &GroupChange) -> MetadataOutcome {
        let same = |(node, revision): &(NodeId, Revision)| {
            self.registrations.iter().any(|facts| facts.node == *node && facts.revision == *revision)
        };
        if change.expected != self.record_revision || !change.registrations.iter().all(same) {
            return MetadataOutcome::Lost { current: Some(self.read()) };
        }
        if changes_in_sync(&self.record, &change.record) {
            self.changes += 1;
            self.joined |= change.record.in_sync.iter().any(|member| !self.record.in_sync.contains(member));
        }
        self.record = change.record.clone();
        self.revision = self.next_revision();
        self.record_revision = self.revision;
        MetadataOutcome::Succeeded { revision: self.revision }
    }

    fn next_revision(&self) -> Revision {
        Revision(self.revision.0 + 1)
    }

    /// What the controller writes if `to` shall lead, while the sessions of `dead` are gone; `None` if it does nothing.
    pub(crate) fn election(&self, group: GroupId, to: NodeId, dead: Option<NodeId>) -> Option<GroupChange> {
        let timing = Timing::default();
        let in_office = Tick::ZERO + timing.session_ttl;
        let session = |facts: &NodeFacts| facts.live.filter(|_| Some(facts.node) != dead);
        let facts = self.registrations.iter().map(|facts| NodeFacts { live: session(facts), ..*facts }).collect();
        let (record, revision) = self.read();
        let mut controller = Controller::new(timing);
        controller.step(Tick::ZERO, ControllerEvent::TookOffice);
        controller.step(Tick::ZERO, ControllerEvent::RecordSeen { group, record: Some(record), revision });
        controller.step(Tick::ZERO, ControllerEvent::NodesSeen(facts));
        controller.step(in_office, ControllerEvent::Transfer { ticket: 0, group, to: Some(to) });
        std::iter::from_fn(|| controller.next_effect()).find_map(|effect| match effect {
            ControllerEffect::ChangeGroup { change, .. } => Some(*change),
            ControllerEffect::Inspect { .. } | ControllerEffect::TransferEnded { .. } => None,
        })
    }
}

/// Whether a leader takes somebody into the in-sync set, or out of it.
pub(crate) fn changes_in_sync(before: &GroupRecord, after: &GroupRecord) -> bool {
    before.epoch == after.epoch && before.in_sync != after.in_sync
}

/// A group before its first election, with all its replicas in sync.
pub(crate) fn founded(members: Vec<simplekv_types::Member>, min_in_sync: u32, lease_ms: u64) -> GroupRecord {
    GroupRecord {
        epoch: Epoch::ZERO,
        leader: None,
        replicas: members.iter().map(|member| member.node).collect(),
        in_sync: members,
        fence: Vec::new(),
        lease_ms,
        fence_ms: 0,
        min_in_sync,
        lineage: simplekv_types::Lineage(0),
        recovering: false,
        recovery: simplekv_types::RecoveryPolicy::Manual,
    }
}
