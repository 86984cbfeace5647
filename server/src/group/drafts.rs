//! Collections as they will be when everything appended is applied.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use simplekv_collections::{At, Collection, score_in};
use simplekv_commands::Elements;
use simplekv_engine::record::Record;
use simplekv_types::{Lsn, Slot, ValueType};

/// What a leader has evaluated and not applied yet of keys with elements: a pipeline of pushes does not begin from the applied list each
/// time. Invariant: a draft has every record of its key, because only who leads makes one, and whoever ceases to lead drops them.
/// Nothing but a cache: what is not here is made again from what is applied and every record behind it.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    drafts: HashMap<Bytes, Elements>,
    /// In order: which drafts were changed by which record. A draft is of no use once that is applied.
    changes: VecDeque<(Lsn, Bytes)>,
    /// The greatest numbers given to lives of collections, also where nothing came of it.
    incarnations: HashMap<Slot, u64>,
    /// Drafts were dropped that the open batch has records of.
    incomplete: bool,
}

impl Drafts {
    pub(super) fn get(&self, key: &[u8]) -> Option<&Elements> {
        self.drafts.get(key)
    }

    /// The elements of a key of which there is a draft, changed by the record `lsn`.
    pub(super) fn change(&mut self, key: &Bytes, lsn: Lsn) -> Option<&mut Elements> {
        let draft = self.drafts.get_mut(key)?;
        draft.version = lsn;
        self.changes.push_back((lsn, key.clone()));
        Some(draft)
    }

    pub(super) fn put(&mut self, key: Bytes, elements: Elements) {
        self.changes.push_back((elements.version, key.clone()));
        self.drafts.insert(key, elements);
    }

    /// The key holds no elements any more.
    pub(super) fn forget(&mut self, key: &[u8]) {
        self.drafts.remove(key);
    }

    /// The number of a new life in a slot where `known` is the greatest that any record tells.
    pub(super) fn next_incarnation(&mut self, slot: Slot, known: u64) -> u64 {
        let given = self.incarnations.entry(slot).or_insert(0);
        *given = (*given).max(known) + 1;
        *given
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
        while let Some((lsn, key)) = self.changes.pop_front_if(|(lsn, _)| *lsn < end) {
            if self.drafts.get(&key).is_some_and(|draft| draft.version == lsn) {
                self.drafts.remove(&key);
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

/// Puts an element in whose record is not applied.
pub(super) fn insert(collection: &mut Collection, name: &[u8], value: &[u8]) {
    let score = score_in(value).filter(|_| collection.kind() == ValueType::Zset).unwrap_or(0.0);
    collection.insert(name, At::Here(Bytes::copy_from_slice(value)), score);
}
