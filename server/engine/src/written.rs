//! What the records of a batch under construction make of the keys they touch.
//!
//! Filled only when somebody asks: a run of blind writes pays nothing for it.

use bytes::Bytes;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use simplekv_types::{Lsn, Slot, SlotRange};

use crate::key_hash::KeyHasher;
use crate::pending::Pending;
use crate::record::{Layout, Record};

#[derive(Debug)]
pub(crate) struct Written {
    hasher: KeyHasher,
    /// How many bytes of the batch are in the tables.
    indexed: usize,
    newest: HashTable<Newest>,
    /// Slots cleared by a record of the batch, in order.
    clears: Vec<(Lsn, Vec<SlotRange>)>,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    hash: u64,
    offset: usize,
}

impl Default for Written {
    fn default() -> Self {
        // Nobody outside gets to see how long a lookup in one batch takes, so the seed need not be secret.
        Self { hasher: KeyHasher::new(0), indexed: 0, newest: HashTable::new(), clears: Vec::new() }
    }
}

impl Written {
    pub(crate) fn clear(&mut self) {
        if self.indexed > 0 {
            self.indexed = 0;
            self.newest.clear();
            self.clears.clear();
        }
    }

    /// The batch has lost everything from `bytes` on.
    pub(crate) fn roll_back(&mut self, bytes: usize) {
        if bytes < self.indexed {
            self.clear();
        }
    }

    pub(crate) fn get(&mut self, records: &[u8], slot: Slot, key: &[u8]) -> Option<Pending> {
        self.catch_up(records);
        let hash = self.hasher.hash(key);
        let newest =
            self.newest.find(hash, |newest| newest.hash == hash && key_at(records, newest.offset) == Some((slot, key)));
        let layout = newest.and_then(|newest| layout_at(records, newest.offset));
        let cleared = self.clears.iter().rev().find(|(_, slots)| slots.iter().any(|range| range.contains(slot)));
        match (layout, cleared) {
            (Some(layout), Some((lsn, _))) if layout.lsn < *lsn => Some(Pending::Deleted { lsn: *lsn }),
            (Some(layout), _) => Pending::of(&layout, Bytes::copy_from_slice),
            (None, cleared) => cleared.map(|(lsn, _)| Pending::Deleted { lsn: *lsn }),
        }
    }

    fn catch_up(&mut self, records: &[u8]) {
        while let Some(layout) = layout_at(records, self.indexed) {
            if layout.changes_key() {
                self.note(records, &layout);
            } else if let Ok(Record::Slots(change)) = layout.record()
                && change.kind.clears()
            {
                self.clears.push((layout.lsn, change.slots.iter().collect()));
            }
            self.indexed += layout.length;
        }
    }

    fn note(&mut self, records: &[u8], layout: &Layout<'_>) {
        let newest = Newest { hash: self.hasher.hash(layout.key), offset: self.indexed };
        let same = |other: &Newest| {
            other.hash == newest.hash && layout_at(records, other.offset).is_some_and(|other| other.is_same_key(layout))
        };
        match self.newest.entry(newest.hash, same, |other| other.hash) {
            Entry::Occupied(mut entry) => *entry.get_mut() = newest,
            Entry::Vacant(entry) => {
                entry.insert(newest);
            }
        }
    }
}

fn layout_at(records: &[u8], offset: usize) -> Option<Layout<'_>> {
    records.get(offset..).and_then(|bytes| Layout::parse(bytes).ok())
}

fn key_at(records: &[u8], offset: usize) -> Option<(Slot, &[u8])> {
    let layout = layout_at(records, offset)?;
    Some((layout.slot().ok()?, layout.key))
}
