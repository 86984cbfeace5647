//! Collections as they will be when everything appended is applied.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use foldhash::quality::RandomState;
use simplekv_collections::Collection;
use simplekv_commands::Elements;
use simplekv_engine::record::Record;
use simplekv_types::{GroupTime, Lsn, Slot, ValueType};

pub(super) use self::draft::Draft;
use self::draft::insert;

mod draft;

/// What a leader has evaluated and not applied yet of keys with elements: a pipeline of pushes does not begin from the applied list each
/// time. Invariant: a draft has every record of its key, because only who leads makes one, and whoever ceases to lead drops them.
/// Nothing but a cache: what is not here is made again from what is applied and every record behind it.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    drafts: HashMap<Bytes, Draft, RandomState>,
    /// In order: which drafts were changed by which record. A draft is of no use once the last of its records is applied.
    changes: VecDeque<Changed>,
    /// The greatest numbers given to lives of collections, also where nothing came of it.
    incarnations: HashMap<Slot, u64>,
    /// Drafts were dropped that the open batch has records of.
    incomplete: bool,
}

/// What a record has changed.
#[derive(Debug)]
struct Changed {
    lsn: Lsn,
    key: Bytes,
    /// Where the element stands; anything if it was the key as a whole.
    position: u64,
}

impl Drafts {
    pub(super) fn get(&self, key: &[u8]) -> Option<&Draft> {
        self.drafts.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &[u8]) -> Option<&mut Draft> {
        self.drafts.get_mut(key)
    }

    /// Makes a draft known, the record that made it one, too.
    pub(super) fn put(&mut self, key: Bytes, draft: Draft) {
        self.changes.push_back(Changed { lsn: draft.version, key: key.clone(), position: 0 });
        self.drafts.insert(key, draft);
    }

    /// Puts another draft of the same elements in the place of the one there is.
    pub(super) fn replace(&mut self, key: &[u8], draft: Draft) {
        if let Some(known) = self.drafts.get_mut(key) {
            *known = draft;
        }
    }

    /// Puts an element into a key of which there is a draft; true if it was not there. `applied` shows what is applied of the key.
    pub(super) fn put_element<'a>(
        &mut self,
        key: &Bytes,
        name: &[u8],
        value: &[u8],
        lsn: Lsn,
        applied: impl FnOnce() -> Option<&'a Collection>,
    ) -> bool {
        let Some(draft) = self.drafts.get_mut(key) else { return false };
        let (is_new, position) = draft.put(name, value, lsn, applied);
        self.changes.push_back(Changed { lsn, key: key.clone(), position });
        is_new
    }

    /// Takes an element out of a key of which there is a draft.
    pub(super) fn delete_element<'a>(
        &mut self,
        key: &Bytes,
        name: &[u8],
        lsn: Lsn,
        applied: impl FnOnce() -> Option<&'a Collection>,
    ) {
        if let Some(draft) = self.drafts.get_mut(key) {
            let position = draft.remove(name, lsn, applied);
            self.changes.push_back(Changed { lsn, key: key.clone(), position });
        }
    }

    /// The record `lsn` says when a key expires of which there is a draft.
    pub(super) fn expire(&mut self, key: &Bytes, lsn: Lsn, expire_at: Option<GroupTime>) {
        self.changes.push_back(Changed { lsn, key: key.clone(), position: 0 });
        if let Some(draft) = self.drafts.get_mut(key) {
            draft.outline.expire_at = expire_at;
            draft.version = lsn;
        }
    }

    /// The key holds no elements any more.
    pub(super) fn forget(&mut self, key: &[u8]) {
        if !self.drafts.is_empty() {
            self.drafts.remove(key);
        }
    }

    /// The number of a new life in a slot where `known` is the greatest that any record tells.
    pub(super) fn next_incarnation(&mut self, slot: Slot, known: u64) -> u64 {
        let given = self.incarnations.entry(slot).or_insert(0);
        *given = (*given).max(known) + 1;
        *given
    }

    /// The greatest number given here to a life of a collection in the slot; 0 if none was.
    pub(super) fn incarnation(&self, slot: Slot) -> u64 {
        self.incarnations.get(&slot).copied().unwrap_or(0)
    }

    /// Whether the open batch may hold records of keys of which there is no draft.
    pub(super) fn are_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Records were taken back: no draft can be relied on.
    pub(super) fn taken_back(&mut self) {
        self.clear();
        self.incomplete = true;
    }

    /// The open batch is closed.
    pub(super) fn batch_closed(&mut self) {
        self.incomplete = false;
    }

    /// Everything below `end` is applied.
    pub(super) fn applied(&mut self, end: Lsn) {
        while let Some(Changed { lsn, key, position }) = self.changes.pop_front_if(|changed| changed.lsn < end) {
            match self.drafts.get_mut(&key) {
                // Whatever else of it is in the queue is applied as well.
                Some(draft) if draft.version < end => drop(self.drafts.remove(&key)),
                Some(draft) => draft.applied(lsn, position),
                None => (),
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.drafts.clear();
        self.changes.clear();
    }
}

/// What a record makes of a key's elements; it is one that changes the key, an element, or the whole slot.
pub(super) fn replay(elements: &mut Option<Elements>, lsn: Lsn, record: &Record<'_>) {
    match record {
        Record::Put(put) if put.value_type != ValueType::String => {
            let incarnation = put.value.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
            let kept = elements.take().map(|known| known.collection);
            let kept = kept.filter(|collection| collection.incarnation() == incarnation);
            let collection = kept.unwrap_or_else(|| Collection::new(put.value_type, incarnation));
            *elements = Some(Elements { collection, expire_at: put.expire_at, version: lsn });
        }
        Record::ElementPut { element, value, .. } => {
            if let Some(known) = elements.as_mut().filter(|known| known.collection.incarnation() == element.incarnation)
            {
                insert(&mut known.collection, element.name, value);
                known.version = lsn;
            }
        }
        Record::ElementDelete(element) => {
            if let Some(known) = elements.as_mut().filter(|known| known.collection.incarnation() == element.incarnation)
            {
                known.collection.remove(element.name);
                known.version = lsn;
            }
        }
        _ => *elements = None,
    }
}
