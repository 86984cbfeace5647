//! The metadata store, as a value: everything at one revision.

use simplekv_cluster::migration::{MoveChange, MoveOutcome, MoveRecords, MoveRequest};
use simplekv_types::{GroupId, Lineage, MigrationState, Revision, SlotMap, SlotMapVersion};

#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) records: MoveRecords,
}

impl Store {
    pub(crate) fn new(groups: &[GroupId], slots: SlotMap) -> Self {
        let groups = groups.iter().map(|group| (*group, (Lineage(0), Revision(1)))).collect();
        let (version, revision) = (SlotMapVersion(1), Revision(1));
        Self { records: MoveRecords { slots, version, groups, revision, ..MoveRecords::default() } }
    }

    pub(crate) fn execute(&mut self, request: &MoveRequest) -> MoveOutcome {
        match request {
            MoveRequest::ReadAll => MoveOutcome::Read(Box::new(self.records.clone())),
            MoveRequest::Read(migration) => {
                let mut records = self.records.clone();
                records.asked = Some(*migration);
                records.migrations.retain(|other, _| other == migration);
                MoveOutcome::Read(Box::new(records))
            }
            MoveRequest::Change(change) => self.change(change),
        }
    }

    fn change(&mut self, change: &MoveChange) -> MoveOutcome {
        let MoveChange { migration, expected, record, slots, groups } = change;
        let records = &mut self.records;
        let found = records.migrations.get(migration).map_or(Revision(0), |(_, revision)| *revision);
        let version = slots.as_ref().is_none_or(|(version, _)| *version == records.version || version.0 == u64::MAX);
        let group =
            |(group, revision): &(GroupId, Revision)| records.groups.get(group).map(|(_, r)| *r) == Some(*revision);
        if expected.is_some_and(|expected| expected != found) || !version || !groups.iter().all(group) {
            return MoveOutcome::Lost;
        }
        let revision = Revision(records.revision.0 + 1);
        records.revision = revision;
        match record {
            Some(record) => drop(records.migrations.insert(*migration, (record.clone(), revision))),
            None => drop(records.migrations.remove(migration)),
        }
        if let Some((_, slots)) = slots {
            records.slots = slots.clone();
            records.version = SlotMapVersion(revision.0);
        }
        MoveOutcome::Succeeded { revision }
    }

    /// A group's record changes: an election, a change of its in-sync set.
    pub(crate) fn touch(&mut self, group: GroupId) {
        self.records.revision = Revision(self.records.revision.0 + 1);
        self.records.groups.get_mut(&group).unwrap().1 = self.records.revision;
    }

    /// A group begins another history, which ends its moves that can still be ended, in one transaction.
    pub(crate) fn begin_history(&mut self, group: GroupId) {
        self.touch(group);
        let revision = self.records.revision;
        self.records.groups.get_mut(&group).unwrap().0 = self.records.groups[&group].0.next();
        for (record, changed) in self.records.migrations.values_mut() {
            if record.side(group).is_some() && record.state == MigrationState::Copy {
                record.state = MigrationState::Aborted;
                *changed = revision;
            }
        }
    }
}
