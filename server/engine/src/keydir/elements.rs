//! Elements of collections: put, deleted, and given up with their keys.

use simplekv_collections::{At, Element, Place};
use simplekv_types::{Lsn, Slot};

use super::entry::Content;
use super::{BLOCK_ROWS, Keydir, Location};

/// An element's record as the keydir needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ElementChange<'a> {
    pub(crate) slot: Slot,
    pub(crate) hash: u64,
    pub(crate) key: &'a [u8],
    pub(crate) incarnation: u64,
    pub(crate) name: &'a [u8],
    pub(crate) lsn: Lsn,
    /// Where it is put, and its score if it has one; `None`: it is deleted.
    pub(crate) put: Option<(Location, f64)>,
}

impl Keydir {
    /// Applies an element's record. One of another life of its key changes nothing.
    pub(crate) fn change_element(&mut self, change: &ElementChange<'_>) {
        let Some(block) = self.blocks.get_mut(change.slot.index() / BLOCK_ROWS).and_then(Option::as_mut) else {
            return;
        };
        let Some(row) = block.get_mut(change.slot.index() % BLOCK_ROWS) else { return };
        let Some(entry) = row.find_mut(change.hash, change.key) else { return };
        let Content::Elements(elements) = &mut entry.content else { return };
        if elements.collection.incarnation() != change.incarnation {
            return;
        }
        let before = elements.collection.bytes();
        let old = match change.put {
            Some((location, score)) => {
                let Location { segment, offset, length } = location;
                let at = At::Log(Place { segment, offset, length, lsn: change.lsn });
                self.longest = self.longest.max(length);
                self.segments.add_live(location);
                elements.collection.insert(change.name, at, score)
            }
            None => elements.collection.remove(change.name),
        };
        elements.changed = change.lsn;
        let after = elements.collection.bytes();
        row.bytes_changed(before, after);
        self.bytes = self.bytes + after - before;
        if let Some(location) = old.as_ref().and_then(location_of) {
            self.segments.sub_live(location);
        }
    }

    /// The greatest incarnation that a collection in the slot has had.
    pub(crate) fn incarnation(&self, slot: Slot) -> u64 {
        self.incarnations.get(&slot).copied().unwrap_or(0)
    }

    /// What the entry held is no longer to be found: its elements are taken apart by [`Keydir::reap`].
    pub(super) fn give_up(&mut self, content: Content) {
        if let Content::Elements(elements) = content
            && !elements.collection.is_empty()
        {
            self.given_up.push(elements.collection);
        }
    }

    /// Takes elements apart that were given up, about `budget` of them.
    pub(super) fn reap_elements(&mut self, budget: usize) {
        let mut budget = budget;
        while budget > 0
            && let Some(collection) = self.given_up.last_mut()
        {
            let segments = &mut self.segments;
            let mut dropped = 0;
            let more = collection.shed(budget, |element| {
                dropped += 1;
                if let Some(location) = location_of(element) {
                    segments.sub_live(location);
                }
            });
            budget = budget.saturating_sub(dropped.max(1));
            if !more {
                self.given_up.pop();
            }
        }
    }
}

fn location_of(element: &Element) -> Option<Location> {
    match element.at {
        At::Log(Place { segment, offset, length, .. }) => Some(Location { segment, offset, length }),
        At::Here(_) => None,
    }
}
