//! The keyspace as a plain map: what the real one is compared with.

use std::collections::BTreeMap;

use bytes::Bytes;
use simplekv_types::{Failure, GroupTime, Lsn, Slot, SlotRange, ValueType, limits};

use crate::{Entry, Keyspace, Meta, View, position_of};

/// A keyspace in memory. It does on one page what an engine does with files, and so says what an engine must do.
#[derive(Clone, Debug)]
pub struct Model {
    /// By slot and position, the order of a scan.
    keys: BTreeMap<(Slot, u64, Bytes), Entry>,
    slots: Vec<SlotRange>,
    /// Puts and deletions so far: the version of the next entry, and the seed of RANDOMKEY.
    changes: u64,
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
            slots: vec![SlotRange::ALL],
            changes: 0,
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
}

fn place(key: &[u8]) -> (Slot, u64, Bytes) {
    (Slot::of_key(key), position_of(key), Bytes::copy_from_slice(key))
}

impl View for Model {
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, Failure> {
        Ok(self.keys.get(&place(key)).cloned())
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
        position_of(&self.changes.to_le_bytes()).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn value_bytes_max(&self) -> usize {
        self.value_bytes_max
    }
}

impl Keyspace for Model {
    fn put(&mut self, key: &Bytes, kind: ValueType, value: Bytes, expire_at: Option<GroupTime>) {
        let version = Lsn(self.changes);
        self.changes += 1;
        self.keys.insert(place(key), Entry { kind, value, expire_at, version });
    }

    fn delete(&mut self, key: &Bytes) {
        self.changes += 1;
        let removed = self.keys.remove(&place(key));
        assert!(removed.is_some(), "only what exists is deleted");
    }

    fn clear(&mut self) {
        self.changes += 1;
        self.keys.clear();
    }
}
