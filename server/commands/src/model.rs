//! The keyspace as a plain map: what the real one is compared with.

use std::cell::Cell;
use std::collections::BTreeMap;

use bytes::Bytes;
use simplekv_collections::{At, Collection, Element, score_in};
use simplekv_types::{Failure, GroupId, GroupTime, Lsn, Slot, SlotRange, ValueType, limits};

use crate::{Elements, Entry, Keyspace, Meta, View, position_of};

/// A keyspace in memory. It does on one page what an engine does with files, and so says what an engine must do.
#[derive(Clone, Debug)]
pub struct Model {
    /// By slot and position, the order of a scan.
    keys: BTreeMap<(Slot, u64, Bytes), Entry>,
    /// Of the keys that hold elements.
    elements: BTreeMap<Bytes, Collection>,
    slots: Vec<SlotRange>,
    /// Puts and deletions so far: the version of the next entry, and the seed of RANDOMKEY.
    changes: u64,
    /// Random numbers given away so far.
    draws: Cell<u64>,
    value_bytes_max: usize,
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// An empty keyspace that serves every slot.
    #[must_use]
    pub fn new() -> Self {
        Self {
            keys: BTreeMap::new(),
            elements: BTreeMap::new(),
            slots: vec![SlotRange::ALL],
            changes: 0,
            draws: Cell::new(0),
            value_bytes_max: limits::VALUE_BYTES_DEFAULT,
        }
    }

    /// Serves only these slots, given in order.
    #[must_use]
    pub fn serving(mut self, slots: Vec<SlotRange>) -> Self {
        self.slots = slots;
        self
    }

    /// Refuses values longer than this many bytes.
    #[must_use]
    pub fn with_value_limit(mut self, bytes: usize) -> Self {
        self.value_bytes_max = bytes;
        self
    }

    /// How many puts and deletions there were.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// One change more; its number.
    fn change(&mut self) -> Lsn {
        let version = Lsn(self.changes);
        self.changes += 1;
        version
    }

    /// Panics if a key holds no elements where it should, which no command may leave behind.
    pub fn check(&self) {
        for (key, collection) in &self.elements {
            assert!(!collection.is_empty(), "{key:?} is there and holds nothing");
        }
    }
}

fn place(key: &[u8]) -> (Slot, u64, Bytes) {
    (Slot::of_key(key), position_of(key), Bytes::copy_from_slice(key))
}

impl View for Model {
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, Failure> {
        Ok(self.keys.get(&place(key)).cloned())
    }

    fn elements(&self, key: &[u8]) -> Result<Option<Elements>, Failure> {
        let (Some(entry), Some(collection)) = (self.keys.get(&place(key)), self.elements.get(key)) else {
            return Ok(None);
        };
        let Entry { expire_at, version, .. } = *entry;
        Ok(Some(Elements { collection: collection.clone(), expire_at, version }))
    }

    fn element_value(&self, _key: &[u8], element: &Element) -> Result<Bytes, Failure> {
        match &element.at {
            At::Here(value) => Ok(value.clone()),
            At::Log(_) => Err(Failure::command("ERR a model has no log")),
        }
    }

    fn owner(&self, _slot: Slot) -> GroupId {
        GroupId(1)
    }

    fn slots(&self) -> Vec<SlotRange> {
        self.slots.clone()
    }

    fn key_count(&self, slot: Slot) -> u64 {
        self.keys.range((slot, 0, Bytes::new())..).take_while(|((of, ..), _)| *of == slot).count() as u64
    }

    fn scan_slot(
        &self,
        slot: Slot,
        from: u64,
        limit: usize,
        visit: &mut dyn FnMut(u64, Bytes, Meta),
    ) -> Result<Option<u64>, Failure> {
        let mut last = None;
        for (visited, ((of, position, key), entry)) in self.keys.range((slot, from, Bytes::new())..).enumerate() {
            if *of != slot {
                break;
            }
            if visited >= limit && last != Some(*position) {
                return Ok(Some(*position));
            }
            visit(*position, key.clone(), Meta::from(entry));
            last = Some(*position);
        }
        Ok(None)
    }

    fn random(&self) -> u64 {
        self.draws.set(self.draws.get() + 1);
        let drawn = [self.changes.to_le_bytes(), self.draws.get().to_le_bytes()].concat();
        position_of(&drawn).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn value_bytes_max(&self) -> usize {
        self.value_bytes_max
    }
}

impl Keyspace for Model {
    fn put(&mut self, key: &Bytes, kind: ValueType, value: Bytes, expire_at: Option<GroupTime>) {
        let version = self.change();
        self.elements.remove(key);
        self.keys.insert(place(key), Entry { kind, value, expire_at, version });
    }

    fn delete(&mut self, key: &Bytes) {
        self.change();
        self.elements.remove(key);
        let removed = self.keys.remove(&place(key));
        assert!(removed.is_some(), "only what exists is deleted");
    }

    fn begin(&mut self, key: &Bytes, kind: ValueType, expire_at: Option<GroupTime>) {
        let version = self.change();
        self.elements.insert(key.clone(), Collection::new(kind, version.0));
        self.keys.insert(place(key), Entry { kind, value: Bytes::new(), expire_at, version });
    }

    fn expire(&mut self, key: &Bytes, expire_at: Option<GroupTime>) {
        let version = self.change();
        let entry = self.keys.get_mut(&place(key)).expect("only what exists expires");
        (entry.expire_at, entry.version) = (expire_at, version);
    }

    fn put_element(&mut self, key: &Bytes, name: &[u8], value: &[u8]) -> bool {
        let version = self.change();
        let collection = self.elements.get_mut(key).expect("the key was begun");
        let score = score_in(value).filter(|_| collection.kind() == ValueType::Zset).unwrap_or(0.0);
        let old = collection.insert(name, At::Here(Bytes::copy_from_slice(value)), score);
        self.keys.entry(place(key)).and_modify(|entry| entry.version = version);
        old.is_none()
    }

    fn delete_element(&mut self, key: &Bytes, name: &[u8]) {
        let version = self.change();
        let removed = self.elements.get_mut(key).and_then(|collection| collection.remove(name));
        assert!(removed.is_some(), "only what is there is taken out");
        self.keys.entry(place(key)).and_modify(|entry| entry.version = version);
    }

    fn clear(&mut self) {
        self.change();
        self.elements.clear();
        self.keys.clear();
    }
}
