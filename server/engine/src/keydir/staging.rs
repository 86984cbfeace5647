//! Slots that are being imported: what they hold is nobody's yet.
//!
//! Their keys are indexed like others, and who owns the slot decides that nobody sees them. But they do not expire: group time here may
//! be ahead of the source's, where the key may yet be told to stay.

use simplekv_types::Slot;

use super::{Expiry, Keydir};

impl Keydir {
    /// An import of the slot begins; whatever it held is dropped.
    pub(crate) fn begin_import(&mut self, slot: Slot) {
        self.clear(slot);
        self.staged.insert(slot, Vec::new());
    }

    /// The import of the slot is over, if there was one, and its keys expire like others.
    pub(crate) fn end_import(&mut self, slot: Slot) {
        for (expiry, keys) in self.staged.remove(&slot).unwrap_or_default() {
            *self.expiries.entry(expiry).or_insert(0) += keys;
        }
    }

    /// Puts what is due in a slot that is being imported aside until that is over; false if it is no such slot. Some of it may not hold
    /// any more by then: what is removed is only what still expires at that time.
    pub(super) fn put_aside(&mut self, expiry: Expiry, keys: u32) -> bool {
        let due = self.staged.get_mut(&expiry.slot);
        due.map(|due| due.push((expiry, keys))).is_some()
    }
}
