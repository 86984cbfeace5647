//! Places in a walk over all keys, as SCAN's cursors name them.
//!
//! A walk goes through the slots in order, and through each slot in the order of its keys' positions. Both orders are the same on
//! every node and for ever, so a cursor is nothing but a place: no server remembers a scan, and none can be lost.

use simplekv_types::{Slot, SlotRange};

/// How many bits a key's position in its slot has. With the slot's 14 bits in front a cursor stays below 2^53, which clients that
/// keep numbers as floats still tell from its neighbours.
pub const SCAN_POSITION_BITS: u32 = 39;

const POSITION_MASK: u64 = (1 << SCAN_POSITION_BITS) - 1;

/// A place in a walk over all keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScanCursor {
    /// The slot to go on in.
    pub slot: Slot,
    /// The position to go on at, below 2^[`SCAN_POSITION_BITS`].
    pub position: u64,
}

impl ScanCursor {
    /// The place a client's cursor names; `None` if it lies behind all keys.
    #[must_use]
    pub fn from_number(cursor: u64) -> Option<Self> {
        let slot = u16::try_from(cursor >> SCAN_POSITION_BITS).ok().and_then(Slot::new)?;
        Some(Self { slot, position: cursor & POSITION_MASK })
    }

    /// The cursor a client is given. 0 means the beginning, and the end.
    #[must_use]
    pub fn to_number(self) -> u64 {
        debug_assert!(self.position <= POSITION_MASK, "a position has {SCAN_POSITION_BITS} bits");
        u64::from(self.slot.number()) << SCAN_POSITION_BITS | self.position
    }

    /// The beginning of the slot behind these, `None` behind the last one. A router goes on there when one group's part is done.
    #[must_use]
    pub fn behind(slots: SlotRange) -> Option<Self> {
        Some(Self { slot: Slot::new(slots.last().number() + 1)?, position: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_they_are_written() {
        let largest = ScanCursor { slot: Slot::MAX, position: POSITION_MASK };
        assert!(largest.to_number() < 1 << 53);
        assert_eq!(ScanCursor::from_number(largest.to_number()), Some(largest));
        assert_eq!(ScanCursor::from_number(largest.to_number() + 1), None);
        assert_eq!(ScanCursor::from_number(u64::MAX), None);
        assert_eq!(ScanCursor::from_number(0), Some(ScanCursor { slot: Slot::MIN, position: 0 }));
        assert_eq!(ScanCursor::behind(SlotRange::ALL), None);
    }
}
