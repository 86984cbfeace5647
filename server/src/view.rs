//! A replica's applied state, as commands see it.

use bytes::Bytes;
use simplekv_collections::{At, Element, Label};
use simplekv_commands::{self as commands, Outline, View, position_of};
use simplekv_engine::{Found, FoundElements, ReadError, ReadGuard};
use simplekv_types::{Failure, GroupId, GroupTime, Lsn, Slot, SlotRange};

use crate::group::SlotSet;

/// The applied state, held still for as long as this lives.
pub(crate) struct AppliedView<'a> {
    guard: ReadGuard<'a>,
    group: GroupId,
    slots: &'a SlotSet,
}

impl<'a> AppliedView<'a> {
    pub(crate) fn new(guard: ReadGuard<'a>, group: GroupId, slots: &'a SlotSet) -> Self {
        Self { guard, group, slots }
    }

    /// Has the processor fetch what a lookup of the key will look at.
    pub(crate) fn prefetch(&self, slot: Slot, key: &[u8]) {
        self.guard.prefetch(slot, key);
    }

    /// Has the processor fetch a key's string.
    pub(crate) fn prefetch_value(&self, slot: Slot, key: &[u8]) {
        self.guard.prefetch_value(slot, key);
    }

    /// The elements of a key, without anything copied.
    pub(crate) fn found(&self, key: &[u8]) -> Option<FoundElements<'_>> {
        self.guard.elements(Slot::of_key(key), key)
    }

    /// Whether a record that may change what a read of this key answers is appended and not applied.
    pub(crate) fn is_pending(&self, key: &[u8]) -> bool {
        self.guard.pending_lsn(Slot::of_key(key), key).is_some()
    }

    /// The greatest number that a life of a collection in the slot has had.
    pub(crate) fn incarnation(&self, slot: Slot) -> u64 {
        self.guard.incarnation(slot)
    }

    /// Everything below is in the state, and nothing else.
    pub(crate) fn applied(&self) -> Lsn {
        self.guard.applied()
    }

    /// Group time of the state.
    pub(crate) fn time(&self) -> GroupTime {
        self.guard.applied_time()
    }
}

/// What was found, in the words of commands.
pub(crate) fn entry(found: Found) -> commands::Entry {
    let Found { value, value_type, expire_at, lsn } = found;
    commands::Entry { kind: value_type, value, expire_at, version: lsn }
}

fn unreadable(error: &ReadError) -> Failure {
    tracing::error!(%error, "a record cannot be read");
    Failure::Corrupt { what: error.to_string() }
}

impl View for AppliedView<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<commands::Entry>, Failure> {
        match self.guard.get(Slot::of_key(key), key) {
            Ok(found) => Ok(found.map(entry)),
            Err(error) => Err(unreadable(&error)),
        }
    }

    fn meta(&self, key: &[u8]) -> Result<Option<commands::Meta>, Failure> {
        let located = self.guard.locate(Slot::of_key(key), key);
        Ok(located.map(|located| commands::Meta {
            kind: located.value_type,
            value_bytes: located.record_bytes(),
            expire_at: located.expire_at,
            version: located.changed,
        }))
    }

    fn elements(&self, key: &[u8]) -> Result<Option<commands::Elements>, Failure> {
        let found = self.found(key);
        Ok(found.map(|FoundElements { collection, expire_at, changed }| commands::Elements {
            collection: collection.clone(),
            expire_at,
            version: changed,
        }))
    }

    fn outline(&self, key: &[u8]) -> Result<Option<Outline>, Failure> {
        let found = self.found(key);
        Ok(found.map(|FoundElements { collection, expire_at, .. }| Outline {
            kind: collection.kind(),
            len: collection.len(),
            expire_at,
        }))
    }

    fn element(&self, key: &[u8], name: &[u8]) -> Result<Option<Element>, Failure> {
        Ok(self.found(key).and_then(|found| found.collection.find(name).cloned()))
    }

    fn ends(&self, key: &[u8]) -> Result<Option<(Label, Label)>, Failure> {
        Ok(self.found(key).and_then(|found| found.collection.ends()))
    }

    fn element_value(&self, key: &[u8], element: &Element) -> Result<Bytes, Failure> {
        match &element.at {
            At::Here(value) => Ok(value.clone()),
            At::Log(place) => self.guard.element_value(Slot::of_key(key), *place).map_err(|error| unreadable(&error)),
        }
    }

    fn owner(&self, _slot: Slot) -> GroupId {
        self.group
    }

    fn slots(&self) -> Vec<SlotRange> {
        self.slots.ranges()
    }

    fn key_count(&self, slot: Slot) -> u64 {
        self.guard.stats(slot).keys
    }

    fn scan_slot(
        &self,
        slot: Slot,
        from: u64,
        limit: usize,
        visit: &mut dyn FnMut(u64, Bytes, commands::Meta),
    ) -> Result<Option<u64>, Failure> {
        // The keydir keeps no order that would survive a restart, and a slot is small: its keys are sorted for each call.
        let mut keys: Vec<(u64, Bytes)> = Vec::new();
        self.guard.keys(slot, &mut |key| {
            let position = position_of(key);
            if position >= from {
                keys.push((position, Bytes::copy_from_slice(key)));
            }
        });
        keys.sort_unstable();
        let mut last = None;
        for (seen, (position, key)) in keys.into_iter().enumerate() {
            if seen >= limit && last != Some(position) {
                return Ok(Some(position));
            }
            last = Some(position);
            if let Some(meta) = self.meta(&key)? {
                visit(position, key, meta);
            }
        }
        Ok(None)
    }

    fn random(&self) -> u64 {
        rand::random()
    }
}
