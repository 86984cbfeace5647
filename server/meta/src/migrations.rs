//! Moves of slots: their records, and what changes together with them.
//!
//! A move begins, is handed over and is forgotten in one transaction over its record and the slot map, so that no two readers ever see
//! them disagree. The beginning of another history of a group ends the group's moves in the same transaction: what is handed over
//! compares the groups' records, and what was begun in between is aborted by whoever sees that its histories have passed.

use simplekv_types::{
    GroupId, GroupRecord, MigrationId, MigrationRecord, MigrationState, Revision, SlotMap, SlotMapVersion,
};

use crate::record::encode;
use crate::{
    Cas, Compare, Entry, GroupChange, GroupConflict, Key, Lost, Office, RecordError, Records, TXN_OPS_MAX, Txn,
    TxnOutcome, Versioned,
};

/// What is read of moves at one revision.
#[derive(Clone, Debug, PartialEq)]
pub struct MigrationView {
    /// The moves asked for, with their revisions.
    pub migrations: Vec<(MigrationId, Versioned<MigrationRecord>)>,
    /// The slot map; `None` before `init`.
    pub slots: Option<Versioned<SlotMap>>,
    /// Groups: those of the moves found, or all of them.
    pub groups: Vec<(GroupId, Versioned<GroupRecord>)>,
    /// The store's revision all this was read at.
    pub revision: Revision,
}

/// A change of a move, and of the slot map if it begins, is handed over or is forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationChange {
    /// The move.
    pub migration: MigrationId,
    /// The revision of the record it replaces; 0: there is none.
    pub expected: Revision,
    /// The new record; `None`: it is removed.
    pub record: Option<MigrationRecord>,
    /// The version of the slot map it replaces, and the new one.
    pub slots: Option<(SlotMapVersion, SlotMap)>,
    /// Groups whose records must still be of these revisions.
    pub groups: Vec<(GroupId, Revision)>,
    /// The controller's office, which must still be held, if it is the controller that acts.
    pub office: Option<Office>,
}

/// Why a change of a move was lost: what holds instead.
#[derive(Clone, Debug, PartialEq)]
pub struct MigrationConflict {
    /// The move's record; `None` if there is none.
    pub migration: Option<Versioned<MigrationRecord>>,
    /// The slot map, if it was compared and exists.
    pub slots: Option<Versioned<SlotMap>>,
    /// Of the compared groups those that are not as expected; `None` if the group is gone.
    pub groups: Vec<(GroupId, Option<Versioned<GroupRecord>>)>,
    /// Whether the office was named and is not held any more.
    pub office_lost: bool,
    /// The store's revision all this was read at.
    pub revision: Revision,
}

impl Records {
    /// A move's record.
    ///
    /// # Errors
    /// [`RecordError::Store`] or [`RecordError::Corrupt`].
    pub async fn migration(&self, migration: MigrationId) -> Result<Option<Versioned<MigrationRecord>>, RecordError> {
        self.read(&Key::Migration(migration)).await
    }

    /// Everything that moves rest on, at one revision: all of them, the slot map, and all groups.
    ///
    /// # Errors
    /// [`RecordError::Store`] or [`RecordError::Corrupt`].
    pub async fn all_migrations(&self) -> Result<MigrationView, RecordError> {
        let listing = self.store().list(&self.keys().all()).await?;
        let mut view =
            MigrationView { migrations: Vec::new(), slots: None, groups: Vec::new(), revision: listing.revision };
        for entry in &listing.entries {
            // A key of a later version is no move, nor anything a move rests on.
            match self.keys().parse(&entry.key) {
                Ok(Key::Migration(migration)) => view.migrations.push((migration, Versioned::decode(entry)?)),
                Ok(Key::Group(group)) => view.groups.push((group, Versioned::decode(entry)?)),
                Ok(Key::Slots) => view.slots = Some(Versioned::decode(entry)?),
                _ => (),
            }
        }
        Ok(view)
    }

    /// Changes a move.
    ///
    /// # Errors
    /// [`RecordError::Store`], or [`RecordError::Corrupt`] if the change was lost to a record that cannot be read.
    pub async fn change_migration(&self, change: &MigrationChange) -> Result<Cas<MigrationConflict>, RecordError> {
        let key = self.key(&Key::Migration(change.migration));
        let slots = self.key(&Key::Slots);
        let groups =
            change.groups.iter().map(|(group, revision)| Compare::modified(self.key(&Key::Group(*group)), *revision));
        let mut txn = Txn::new()
            .when(Compare::modified(&key, change.expected))
            .when_all(groups)
            .when_all(change.office.iter().map(|office| self.holds(office)));
        txn = match &change.record {
            Some(record) => txn.put(key, encode(record)),
            None => txn.delete(key),
        };
        if let Some((version, map)) = &change.slots {
            txn = txn.when(Compare::modified(&slots, Revision(version.0))).put(slots, encode(map));
        }
        match self.store().txn(txn).await? {
            TxnOutcome::Succeeded { revision } => Ok(Cas::Done { revision }),
            TxnOutcome::Lost(lost) => self.migration_conflict(change, &lost).map(Cas::Lost),
        }
    }

    /// Changes a group's record as [`change_group`](Self::change_group) does, to one of another history, and aborts the group's moves that
    /// are not handed over yet, in one transaction. Lost like any change of a group; also if one of the moves has changed meanwhile, and
    /// then with a conflict that names nothing: it is tried again.
    ///
    /// # Errors
    /// [`RecordError::Store`], or [`RecordError::Corrupt`] if a move cannot be read, or the change was lost to a record that cannot.
    pub async fn begin_lineage(&self, change: &GroupChange) -> Result<Cas<GroupConflict>, RecordError> {
        let listing = self.store().list(&self.keys().migrations()).await?;
        let mut aborted = Vec::new();
        for entry in &listing.entries {
            let found: Versioned<MigrationRecord> = Versioned::decode(entry)?;
            let concerned = found.record.side(change.group).is_some();
            if let Some(record) = found.record.aborted().filter(|_| concerned) {
                aborted.push((entry, encode(&record)));
            }
        }
        // Whatever finds no room is aborted before: it is safe to do so at any time.
        let room = TXN_OPS_MAX / 2;
        for (entry, record) in aborted.drain(room.min(aborted.len())..) {
            let txn = Txn::new().when(Compare::modified(&entry.key, entry.modified)).put(&entry.key, record);
            self.store().txn(txn).await?;
        }
        let also = aborted.into_iter().fold(Txn::new(), |txn, (entry, record): (&Entry, _)| {
            txn.when(Compare::modified(&entry.key, entry.modified)).put(&entry.key, record)
        });
        self.change_group_with(change, also).await
    }

    fn migration_conflict(&self, change: &MigrationChange, lost: &Lost) -> Result<MigrationConflict, RecordError> {
        let migration = lost.entry(&self.key(&Key::Migration(change.migration))).map(Versioned::decode).transpose()?;
        let slots = lost.entry(&self.key(&Key::Slots)).map(Versioned::decode).transpose()?;
        let mut groups = Vec::new();
        for (group, expected) in &change.groups {
            let entry = lost.entry(&self.key(&Key::Group(*group)));
            if entry.map_or(Revision(0), |entry| entry.modified) != *expected {
                groups.push((*group, entry.map(Versioned::decode).transpose()?));
            }
        }
        let office_lost = change.office.as_ref().is_some_and(|office| {
            let compare = self.holds(office);
            !compare.holds(lost.entry(compare.key()))
        });
        Ok(MigrationConflict { migration, slots, groups, office_lost, revision: lost.revision })
    }
}

impl MigrationView {
    /// A move's record.
    #[must_use]
    pub fn migration(&self, migration: MigrationId) -> Option<&Versioned<MigrationRecord>> {
        self.migrations.iter().find(|(other, _)| *other == migration).map(|(_, record)| record)
    }

    /// The moves that are not handed over yet.
    pub fn open(&self) -> impl Iterator<Item = (MigrationId, &Versioned<MigrationRecord>)> {
        let open = self.migrations.iter().filter(|(_, found)| found.record.state == MigrationState::Copy);
        open.map(|(migration, found)| (*migration, found))
    }
}
