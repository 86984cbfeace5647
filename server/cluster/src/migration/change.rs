//! What is read of moves in the metadata store, and how it is changed there: each change as one compare-and-set over the move's record
//! and, where slots begin to move, change hands or come to rest, the slot map.

use std::collections::BTreeMap;

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::{
    GroupId, Lineage, MigrationId, MigrationRecord, MigrationState, Revision, Side, SlotMap, SlotMapVersion, SlotRange,
};

/// What the metadata store says of moves, read linearizably and at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MoveRecords {
    /// The move that was asked for; `None`: all of them.
    pub asked: Option<MigrationId>,
    /// Records with the revisions of their last change. A move that was asked for and is not here does not exist.
    pub migrations: BTreeMap<MigrationId, (MigrationRecord, Revision)>,
    /// The slot map.
    pub slots: SlotMap,
    /// The slot map's version.
    pub version: SlotMapVersion,
    /// The histories of groups with the revisions of their records: of those that take part in the moves found, at least.
    pub groups: BTreeMap<GroupId, (Lineage, Revision)>,
    /// The store's revision all this was read at.
    pub revision: Revision,
}

/// A compare-and-set of what the metadata store says of a move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveChange {
    /// The move.
    pub migration: MigrationId,
    /// The revision of its record, which is compared; 0: there is none.
    pub expected: Option<Revision>,
    /// Its new record; `None`: it is removed.
    pub record: Option<MigrationRecord>,
    /// The version of the slot map, which is compared, and the new slot map.
    pub slots: Option<(SlotMapVersion, SlotMap)>,
    /// Revisions of groups' records, which are compared.
    pub groups: Vec<(GroupId, Revision)>,
}

/// Something to be done in the metadata store. Must not be retried below this interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveRequest {
    /// Read one move, the slot map, and its groups, linearizably and at one revision.
    Read(MigrationId),
    /// Read all moves, the slot map, and all groups, linearizably and at one revision.
    ReadAll,
    /// Change something.
    Change(Box<MoveChange>),
}

/// What became of a [`MoveRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveOutcome {
    /// What was read.
    Read(Box<MoveRecords>),
    /// The change was made.
    Succeeded {
        /// Its revision.
        revision: Revision,
    },
    /// The change was refused, because something compared was different.
    Lost,
    /// Certainly without effect, now and later. Also a failed read.
    Failed,
    /// It may have been executed, or be executed later. Nothing is lost by that: whatever it compares can change only once.
    Unknown,
}

impl MoveRecords {
    /// A move's record with its revision.
    #[must_use]
    pub fn migration(&self, migration: MigrationId) -> Option<&(MigrationRecord, Revision)> {
        self.migrations.get(&migration)
    }

    /// Whether both groups of the move are in the histories it began with.
    #[must_use]
    pub fn histories_stand(&self, record: &MigrationRecord) -> bool {
        let lineage = |group| self.groups.get(&group).map(|(lineage, _)| *lineage);
        lineage(record.source) == Some(record.source_lineage) && lineage(record.target) == Some(record.target_lineage)
    }

    /// PREPARE: the change that begins a move. `None` unless the source owns all the slots, none of them is on the move, and both groups
    /// exist.
    #[must_use]
    pub fn prepare(&self, slots: &[SlotRange], source: GroupId, target: GroupId) -> Option<MoveChange> {
        let migration = MigrationId::from(self.version);
        if source == target {
            return None;
        }
        let next = self.slots.with_migration(migration, slots, source)?;
        let (source_lineage, source_revision) = *self.groups.get(&source)?;
        let (target_lineage, target_revision) = *self.groups.get(&target)?;
        let record = MigrationRecord {
            slots: slots.to_vec(),
            source,
            target,
            state: MigrationState::Copy,
            source_lineage,
            target_lineage,
            source_closed: false,
            target_closed: false,
        };
        Some(MoveChange {
            migration,
            expected: Some(Revision(0)),
            record: Some(record),
            slots: Some((self.version, next)),
            groups: vec![(source, source_revision), (target, target_revision)],
        })
    }

    /// CUTOVER: the change that hands the slots over. `None` if they cannot be any more.
    #[must_use]
    pub fn cutover(&self, migration: MigrationId) -> Option<MoveChange> {
        let (record, revision) = self.migration(migration)?;
        let is_open = record.state == MigrationState::Copy || is_broken(Rule::M12);
        if !is_open || !(self.histories_stand(record) || is_broken(Rule::M16)) {
            return None;
        }
        let next = self.slots.handed_over(&record.slots, record.source, record.target)?;
        let groups = [record.source, record.target].into_iter();
        let groups = groups.filter_map(|group| Some((group, self.groups.get(&group)?.1))).collect();
        Some(MoveChange {
            migration,
            expected: (!is_broken(Rule::M12)).then_some(*revision),
            record: Some(MigrationRecord { state: MigrationState::Done, ..record.clone() }),
            slots: Some((self.version, next)),
            groups: if is_broken(Rule::M16) { Vec::new() } else { groups },
        })
    }

    /// ABORT: the change that leaves the slots where they are. `None` if the move has ended.
    #[must_use]
    pub fn abort(&self, migration: MigrationId) -> Option<MoveChange> {
        let (record, revision) = self.migration(migration)?;
        Some(MoveChange::of_record(migration, *revision, record.aborted()?))
    }

    /// The change that says that a side has nothing left of the move. `None` if it was said, or there is no such move.
    #[must_use]
    pub fn close(&self, migration: MigrationId, side: Side) -> Option<MoveChange> {
        let (record, revision) = self.migration(migration)?;
        (!record.is_closed(side)).then(|| MoveChange::of_record(migration, *revision, record.closed(side)))
    }

    /// The change that forgets a move that is over, and lets its slots move again. `None` if it is not.
    #[must_use]
    pub fn forget(&self, migration: MigrationId) -> Option<MoveChange> {
        let (record, revision) = self.migration(migration)?;
        let is_over = record.is_over() || (is_broken(Rule::M32) && record.state != MigrationState::Copy);
        is_over.then(|| MoveChange {
            migration,
            expected: Some(*revision),
            record: None,
            slots: Some((self.version, self.slots.without_migration(migration))),
            groups: Vec::new(),
        })
    }
}

impl MoveChange {
    fn of_record(migration: MigrationId, expected: Revision, record: MigrationRecord) -> Self {
        Self { migration, expected: Some(expected), record: Some(record), slots: None, groups: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: GroupId = GroupId(1);
    const B: GroupId = GroupId(2);

    fn records() -> MoveRecords {
        MoveRecords {
            slots: SlotMap::spread(&[A, B]),
            version: SlotMapVersion(10),
            groups: [(A, (Lineage(0), Revision(3))), (B, (Lineage(2), Revision(4)))].into(),
            revision: Revision(10),
            ..MoveRecords::default()
        }
    }

    fn slots() -> Vec<SlotRange> {
        vec!["5-7".parse().unwrap()]
    }

    /// What the store holds after the change.
    fn made(mut records: MoveRecords, change: &MoveChange) -> MoveRecords {
        records.revision = Revision(records.revision.0 + 1);
        match &change.record {
            Some(record) => {
                records.migrations.insert(change.migration, (record.clone(), records.revision));
            }
            None => {
                records.migrations.remove(&change.migration);
            }
        }
        if let Some((_, slots)) = &change.slots {
            records.slots = slots.clone();
            records.version = SlotMapVersion(records.revision.0);
        }
        records
    }

    #[test]
    fn a_move_is_numbered_by_the_map_it_replaces() {
        let change = records().prepare(&slots(), A, B).unwrap();
        assert_eq!((change.migration, change.expected), (MigrationId(10), Some(Revision(0))));
        assert_eq!(change.groups, [(A, Revision(3)), (B, Revision(4))]);
        let begun = made(records(), &change);
        assert_eq!(begun.prepare(&slots(), A, B), None, "a slot is part of one move");
        assert_eq!(records().prepare(&slots(), B, A), None, "whoever gives slots away owns them");
        assert_eq!(records().prepare(&slots(), A, A), None);
        assert_eq!(records().prepare(&slots(), A, GroupId(9)), None, "no such group");
    }

    #[test]
    fn a_move_is_handed_over_or_aborted_and_then_forgotten() {
        let begun = made(records(), &records().prepare(&slots(), A, B).unwrap());
        let id = MigrationId(10);
        assert_eq!(begun.forget(id), None);
        let aborted = made(begun.clone(), &begun.abort(id).unwrap());
        assert_eq!((aborted.cutover(id), aborted.abort(id)), (None, None));
        let done = made(begun.clone(), &begun.cutover(id).unwrap());
        assert!(done.slots.belong_to(&slots(), B));
        assert_eq!((done.cutover(id), done.abort(id)), (None, None));
        let owned = made(done.clone(), &done.close(id, Side::Target).unwrap());
        assert_eq!((owned.close(id, Side::Target), owned.forget(id)), (None, None));
        let over = made(owned.clone(), &owned.close(id, Side::Source).unwrap());
        let forgotten = made(over.clone(), &over.forget(id).unwrap());
        assert_eq!((forgotten.migrations.len(), forgotten.slots.migrating().len()), (0, 0));
    }

    #[test]
    fn nothing_is_handed_over_between_other_histories() {
        let mut begun = made(records(), &records().prepare(&slots(), A, B).unwrap());
        begun.groups.insert(B, (Lineage(3), Revision(11)));
        assert_eq!(begun.cutover(MigrationId(10)), None);
    }
}
