//! What a leader knows of the metadata store: only what it has read itself, and when it asked.
//!
//! Watches and lists may be old; they say where to look, and nothing else. Two reads may be answered in the wrong order, so whatever
//! is older than what is known changes nothing.

use std::collections::BTreeMap;

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::{MigrationId, MigrationRecord, Revision, SlotMapVersion, Tick};

use super::change::{MoveChange, MoveRecords};

/// What was read last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Knowledge {
    /// As of the latest revision read: other moves than the one asked for may be older.
    records: MoveRecords,
    looks: BTreeMap<MigrationId, Look>,
    complete: bool,
}

/// The latest look at a move.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// The store's revision it was seen at.
    seen: Revision,
    /// When it was asked for: what it shows was true then or later.
    pub(crate) asked_at: Tick,
}

impl Knowledge {
    /// An answer to a read that was asked for at `asked_at`.
    pub(crate) fn learn(&mut self, asked_at: Tick, answered_at: Tick, read: MoveRecords) {
        let asked_at = if is_broken(Rule::M33) { answered_at } else { asked_at };
        let MoveRecords { asked, migrations, slots, version, groups, revision } = read;
        let concerned: Vec<MigrationId> = match asked {
            Some(migration) => vec![migration],
            None => {
                self.complete = true;
                migrations.keys().chain(self.records.migrations.keys()).copied().collect()
            }
        };
        for migration in concerned {
            // Of a move that was never looked at, or was forgotten, an answer overtaken by another one is no news either.
            let known = self.looks.get(&migration).copied();
            if revision < known.map_or(self.records.revision, |look| look.seen) {
                continue;
            }
            let asked_at = known.map_or(asked_at, |look| asked_at.max(look.asked_at));
            self.looks.insert(migration, Look { seen: revision, asked_at });
            match migrations.get(&migration) {
                Some(found) => self.records.migrations.insert(migration, found.clone()),
                None => self.records.migrations.remove(&migration),
            };
        }
        if revision >= self.records.revision {
            self.records.groups.extend(groups);
            self.records.slots = slots;
            self.records.version = version;
            self.records.revision = revision;
        }
    }

    /// A change asked for at `asked_at` was made.
    pub(crate) fn learn_change(&mut self, asked_at: Tick, change: MoveChange, revision: Revision) {
        let look = self.looks.entry(change.migration).or_insert(Look { seen: Revision(0), asked_at });
        if revision > look.seen {
            *look = Look { seen: revision, asked_at };
            match change.record {
                Some(record) => self.records.migrations.insert(change.migration, (record, revision)),
                None => self.records.migrations.remove(&change.migration),
            };
        }
        if revision > self.records.revision
            && let Some((_, slots)) = change.slots
        {
            self.records.slots = slots;
            self.records.version = SlotMapVersion(revision.0);
            self.records.revision = revision;
        }
    }

    /// Everything that was read.
    pub(crate) fn records(&self) -> &MoveRecords {
        &self.records
    }

    /// A move's record.
    pub(crate) fn record(&self, migration: MigrationId) -> Option<&MigrationRecord> {
        self.records.migration(migration).map(|(record, _)| record)
    }

    /// The latest look at a move; `None` if it was never looked at. One that is not there any more was looked at all the same.
    pub(crate) fn look(&self, migration: MigrationId) -> Option<Look> {
        self.looks.get(&migration).copied()
    }

    /// Whether something was changed since the latest look at a move, if the store shows its record with this revision.
    pub(crate) fn is_news(&self, migration: MigrationId, revision: Revision) -> bool {
        self.look(migration).is_none_or(|look| revision > look.seen)
    }

    /// Whether all moves have been read once.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Moves that are neither in the store nor in the log are forgotten here, too.
    pub(crate) fn forget(&mut self, mut is_needed: impl FnMut(MigrationId) -> bool) {
        let Self { records, looks, .. } = self;
        looks.retain(|migration, _| records.migrations.contains_key(migration) || is_needed(*migration));
    }
}
