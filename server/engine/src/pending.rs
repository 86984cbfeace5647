//! What is appended but not applied yet.
//!
//! Command evaluation must see it (a pipelined INCR does not wait for the commit of the one before), and a follower's reader must
//! know that a key is about to change. Neither may ever be answered from it: until it is applied, all of it may vanish.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use simplekv_types::{Batch, GroupTime, Lsn, Slot, SlotRange};

use crate::reader::Found;
use crate::record::{Layout, Record, ValueType, kind};

/// What appended but unapplied records make of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pending {
    /// It gets this value. Whether it is expired is for the caller to say.
    Put(Found),
    /// It is gone.
    Deleted {
        /// The record that deletes it.
        lsn: Lsn,
    },
}

impl Pending {
    /// The record that brings this about.
    #[must_use]
    pub const fn lsn(&self) -> Lsn {
        match self {
            Self::Put(found) => found.lsn,
            Self::Deleted { lsn } => *lsn,
        }
    }

    /// The value the key gets, if it gets one.
    #[must_use]
    pub fn into_found(self) -> Option<Found> {
        match self {
            Self::Put(found) => Some(found),
            Self::Deleted { .. } => None,
        }
    }

    /// What a record of one key brings about; `take` makes the value's bytes one's own.
    pub(crate) fn of(layout: &Layout<'_>, take: impl FnOnce(&[u8]) -> Bytes) -> Option<Self> {
        Some(match layout.kind {
            kind::PUT => Self::Put(Found {
                value: take(layout.body),
                value_type: ValueType::from_code(layout.value_type)?,
                expire_at: layout.expire_at,
                lsn: layout.lsn,
            }),
            _ => Self::Deleted { lsn: layout.lsn },
        })
    }
}

/// One record of a batch, as far as it is needed until the batch is applied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    /// Hash of its key; 0 if it has none.
    pub(crate) hash: u64,
    /// Where it begins within the batch's records.
    pub(crate) offset: u32,
    pub(crate) kind: u8,
    pub(crate) continues: bool,
    /// Whether it says which life of its key a collection is.
    pub(crate) begins_life: bool,
}

impl Item {
    pub(crate) fn changes_key(&self) -> bool {
        matches!(self.kind, kind::PUT | kind::DELETE)
    }

    pub(crate) fn changes_element(&self) -> bool {
        matches!(self.kind, kind::ELEMENT_PUT | kind::ELEMENT_DELETE)
    }
}

/// The newest pending record of every key and of its elements, and the pending changes of whole slots.
///
/// Batches are taken apart only when somebody asks: where they are applied as soon as they are appended, and while all that happens is
/// blind writes, nobody does.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    batches: VecDeque<OverlayBatch>,
    /// The number of the first of `batches`; they are numbered as they come.
    first: u64,
    /// The number of the first batch that is not in the tables. Invariant: before those that are not there all are.
    indexed: u64,
    /// Of each key as a whole.
    newest: HashTable<Newest>,
    /// Of each key's elements, whichever it is.
    elements: HashTable<Newest>,
    changes: VecDeque<Change>,
    /// By slot, the greatest number that a life of a collection has had in any record that was ever pending.
    incarnations: HashMap<Slot, u64>,
}

#[derive(Debug)]
struct OverlayBatch {
    base: Lsn,
    end: Lsn,
    time: GroupTime,
    records: Bytes,
    items: Arc<[Item]>,
    /// How many of them are applied.
    applied: usize,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    hash: u64,
    lsn: Lsn,
    batch: u64,
    offset: u32,
}

#[derive(Debug)]
struct Change {
    lsn: Lsn,
    clears: bool,
    holds_reads: bool,
    slots: Vec<SlotRange>,
}

impl Change {
    fn covers(&self, slot: Slot) -> bool {
        self.slots.iter().any(|range| range.contains(slot))
    }
}

impl Overlay {
    /// Takes up a batch that was appended. `items` are its records in order, of which `applied` are applied.
    pub(crate) fn push(&mut self, batch: &Batch, items: Arc<[Item]>, applied: usize) {
        assert!(self.batches.back().is_none_or(|last| last.end == batch.base), "pending batches are contiguous");
        for item in items.iter().filter(|item| item.begins_life) {
            self.note_life(batch.records.get(item.offset as usize..).unwrap_or_default());
        }
        let (base, end, time, records) = (batch.base, batch.end(), batch.time, batch.records.clone());
        self.batches.push_back(OverlayBatch { base, end, time, records, items, applied });
    }

    /// Whether every batch is in the tables, so that questions may be asked.
    pub(crate) fn is_indexed(&self) -> bool {
        self.indexed == self.first + self.batches.len() as u64
    }

    /// Puts every batch into the tables.
    pub(crate) fn index(&mut self) {
        while let Some(batch) = batch_in(&self.batches, self.first, self.indexed) {
            let (base, records, items) = (batch.base, batch.records.clone(), Arc::clone(&batch.items));
            for (rank, item) in (0..).zip(items.iter()).skip(batch.applied) {
                let lsn = base + rank;
                if item.changes_key() || item.changes_element() {
                    self.note(Newest { hash: item.hash, lsn, batch: self.indexed, offset: item.offset });
                } else {
                    self.note_change(lsn, records.get(item.offset as usize..).unwrap_or_default());
                }
            }
            self.indexed += 1;
        }
    }

    /// The records `base..base + items.len()` are applied: readers find them in the keydir already.
    pub(crate) fn applied(&mut self, base: Lsn, items: &[Item]) {
        if self.first < self.indexed {
            self.forget(base, items);
        }
        let applied = base + items.len() as u64;
        if self.batches.pop_front_if(|batch| batch.end <= applied).is_some() {
            self.first += 1;
            self.indexed = self.indexed.max(self.first);
        } else if let Some(batch) = self.batches.front_mut() {
            batch.applied += items.len();
        }
    }

    /// Takes records out of the tables.
    fn forget(&mut self, base: Lsn, items: &[Item]) {
        for (rank, item) in (0..).zip(items) {
            let lsn = base + rank;
            let table = match item {
                _ if item.changes_key() => &mut self.newest,
                _ if item.changes_element() => &mut self.elements,
                _ => {
                    self.changes.pop_front_if(|change| change.lsn == lsn);
                    continue;
                }
            };
            if let Ok(entry) = table.find_entry(item.hash, |newest| newest.lsn == lsn) {
                entry.remove();
            }
        }
    }

    /// Forgets everything; [`Overlay::push`] brings back what is still pending. Truncation is rare enough for that.
    pub(crate) fn clear(&mut self) {
        self.first += self.batches.len() as u64;
        self.indexed = self.first;
        self.batches.clear();
        self.newest.clear();
        self.elements.clear();
        self.changes.clear();
    }

    /// The newest pending state of a key.
    pub(crate) fn get(&self, slot: Slot, hash: u64, key: &[u8]) -> Option<Pending> {
        let newest = self.find(&self.newest, slot, hash, key);
        let cleared =
            self.changes.iter().rev().find(|change| change.clears && change.covers(slot)).map(|change| change.lsn);
        match (newest, cleared) {
            (Some(newest), Some(lsn)) if newest.lsn < lsn => Some(Pending::Deleted { lsn }),
            (Some(newest), _) => {
                let records = &self.batch(newest.batch)?.records;
                Pending::of(&self.layout(newest)?, |value| records.slice_ref(value))
            }
            (None, lsn) => lsn.map(|lsn| Pending::Deleted { lsn }),
        }
    }

    /// The last pending record after which a read of the key may answer something else. `applied_expiry` is when the key as it is
    /// applied expires.
    pub(crate) fn last_change(
        &self,
        slot: Slot,
        hash: u64,
        key: &[u8],
        applied_expiry: Option<GroupTime>,
    ) -> Option<Lsn> {
        let change =
            self.changes.iter().rev().find(|change| change.holds_reads && change.covers(slot)).map(|change| change.lsn);
        let newest = self.find(&self.newest, slot, hash, key);
        let element = self.find(&self.elements, slot, hash, key);
        let expiry = match newest {
            Some(newest) => self.layout(newest).and_then(|layout| layout.expire_at),
            None => applied_expiry,
        };
        let expired = expiry.and_then(|time| self.first_at(time));
        change.max(newest.map(|newest| newest.lsn)).max(element.map(|element| element.lsn)).max(expired)
    }

    /// The last pending record of one of the key's elements.
    pub(crate) fn last_element(&self, slot: Slot, hash: u64, key: &[u8]) -> Option<Lsn> {
        self.find(&self.elements, slot, hash, key).map(|element| element.lsn)
    }

    /// The greatest number that a life of a collection in the slot has had in a record that was pending.
    pub(crate) fn incarnation(&self, slot: Slot) -> u64 {
        self.incarnations.get(&slot).copied().unwrap_or(0)
    }

    /// The first pending record that brings group time to `time` or beyond.
    fn first_at(&self, time: GroupTime) -> Option<Lsn> {
        let later = self.batches.partition_point(|batch| batch.time < time);
        self.batches.get(later).map(|batch| batch.base)
    }

    fn note(&mut self, newest: Newest) {
        let Self { batches, first, newest: keys, elements, .. } = self;
        let Some(layout) = layout_in(batches, *first, &newest) else { return };
        let table = if layout.changes_element() { elements } else { keys };
        let same = |other: &Newest| {
            other.hash == newest.hash
                && layout_in(batches, *first, other).is_some_and(|other| other.is_same_key(&layout))
        };
        match table.entry(newest.hash, same, |other| other.hash) {
            Entry::Occupied(mut entry) => *entry.get_mut() = newest,
            Entry::Vacant(entry) => {
                entry.insert(newest);
            }
        }
    }

    fn note_life(&mut self, record: &[u8]) {
        if let Ok(layout) = Layout::parse(record)
            && let (Some(incarnation), Ok(slot)) = (layout.incarnation(), layout.slot())
        {
            let known = self.incarnations.entry(slot).or_insert(0);
            *known = incarnation.max(*known);
        }
    }

    fn note_change(&mut self, lsn: Lsn, record: &[u8]) {
        if let Ok(Record::Slots(change)) = Layout::parse(record).and_then(|layout| layout.record()) {
            let slots = change.slots.iter().collect();
            self.changes.push_back(Change {
                lsn,
                clears: change.kind.clears(),
                holds_reads: change.kind.holds_reads(),
                slots,
            });
        }
    }

    fn find<'a>(&self, table: &'a HashTable<Newest>, slot: Slot, hash: u64, key: &[u8]) -> Option<&'a Newest> {
        table.find(hash, |newest| {
            newest.hash == hash
                && self.layout(newest).is_some_and(|layout| layout.key == key && layout.slot == slot.number())
        })
    }

    fn batch(&self, number: u64) -> Option<&OverlayBatch> {
        batch_in(&self.batches, self.first, number)
    }

    fn layout(&self, newest: &Newest) -> Option<Layout<'_>> {
        layout_in(&self.batches, self.first, newest)
    }
}

fn batch_in(batches: &VecDeque<OverlayBatch>, first: u64, number: u64) -> Option<&OverlayBatch> {
    batches.get(usize::try_from(number.checked_sub(first)?).ok()?)
}

fn layout_in<'a>(batches: &'a VecDeque<OverlayBatch>, first: u64, newest: &Newest) -> Option<Layout<'a>> {
    let bytes = batch_in(batches, first, newest.batch)?.records.get(newest.offset as usize..)?;
    Layout::parse(bytes).ok()
}
