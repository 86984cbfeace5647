//! Which of the 16384 hashslots a key belongs to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How many slots the keyspace is cut into. The number is Redis Cluster's, so that its clients compute the same slots.
pub const SLOT_COUNT: u16 = 16384;

/// One hashslot. Invariant: below [`SLOT_COUNT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Slot(u16);

impl Slot {
    /// The lowest slot.
    pub const MIN: Slot = Slot(0);
    /// The highest slot.
    pub const MAX: Slot = Slot(SLOT_COUNT - 1);

    /// `None` unless `number` is below [`SLOT_COUNT`].
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number < SLOT_COUNT { Some(Self(number)) } else { None }
    }

    /// The slot of a key: CRC16/XMODEM of the key, or of its hash tag, modulo 16384.
    ///
    /// The hash tag is what stands between the first `{` and the next `}`, if that is not empty; keys that share it share a slot.
    #[must_use]
    pub fn of_key(key: &[u8]) -> Self {
        Self(crc16::State::<crc16::XMODEM>::calculate(hashed_part(key)) % SLOT_COUNT)
    }

    /// The slot's number, 0 to 16383.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The slot's number as an index into a table of [`SLOT_COUNT`] rows.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// All slots, in order.
    pub fn all() -> impl DoubleEndedIterator<Item = Slot> + ExactSizeIterator {
        (0..SLOT_COUNT).map(Slot)
    }
}

fn hashed_part(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&b| b == b'{') else { return key };
    let Some(after) = key.get(open + 1..) else { return key };
    match after.iter().position(|&b| b == b'}') {
        None | Some(0) => key,
        Some(close) => after.get(..close).unwrap_or(key),
    }
}

impl TryFrom<u16> for Slot {
    type Error = String;

    fn try_from(number: u16) -> Result<Self, String> {
        Self::new(number).ok_or_else(|| format!("slot {number} is out of range, the highest is {}", Self::MAX))
    }
}

impl From<Slot> for u16 {
    fn from(slot: Slot) -> u16 {
        slot.0
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An inclusive range of slots. Invariant: `first <= last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(Slot, Slot)", into = "(Slot, Slot)")]
pub struct SlotRange {
    first: Slot,
    last: Slot,
}

impl SlotRange {
    /// Every slot.
    pub const ALL: SlotRange = SlotRange { first: Slot::MIN, last: Slot::MAX };

    /// `None` if `last` comes before `first`.
    #[must_use]
    pub fn new(first: Slot, last: Slot) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// The lowest slot of the range.
    #[must_use]
    pub const fn first(self) -> Slot {
        self.first
    }

    /// The highest slot of the range; it belongs to the range.
    #[must_use]
    pub const fn last(self) -> Slot {
        self.last
    }

    /// How many slots the range covers, at least one.
    #[must_use]
    pub const fn count(self) -> usize {
        (self.last.0 - self.first.0) as usize + 1
    }

    /// Whether the slot lies in the range.
    #[must_use]
    pub fn contains(self, slot: Slot) -> bool {
        self.first <= slot && slot <= self.last
    }

    /// Whether the two ranges share a slot.
    #[must_use]
    pub fn overlaps(self, other: SlotRange) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// What is left of the range without the slots of others, in order.
    #[must_use]
    pub fn without(self, others: &[SlotRange]) -> Vec<SlotRange> {
        let mut left = vec![self];
        for other in others {
            left = left.into_iter().flat_map(|part| part.minus(*other)).flatten().collect();
        }
        left
    }

    /// What lies before and behind another range.
    fn minus(self, other: SlotRange) -> [Option<SlotRange>; 2] {
        if !self.overlaps(other) {
            return [Some(self), None];
        }
        let before = other.first.0.checked_sub(1).and_then(|last| Self::new(self.first, Slot(last)));
        let behind = Slot::new(other.last.0 + 1).and_then(|first| Self::new(first, self.last));
        [before, behind]
    }

    /// The slots of the range, in order.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = Slot> + ExactSizeIterator {
        (self.first.0..self.last.0 + 1).map(Slot)
    }
}

impl TryFrom<(Slot, Slot)> for SlotRange {
    type Error = String;

    fn try_from((first, last): (Slot, Slot)) -> Result<Self, String> {
        Self::new(first, last).ok_or_else(|| format!("slot range {first}-{last} ends before it begins"))
    }
}

impl From<SlotRange> for (Slot, Slot) {
    fn from(range: SlotRange) -> Self {
        (range.first, range.last)
    }
}

impl From<Slot> for SlotRange {
    fn from(slot: Slot) -> Self {
        Self { first: slot, last: slot }
    }
}

impl fmt::Display for SlotRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

impl FromStr for SlotRange {
    type Err = String;

    /// Reads `7` or `0-5460`.
    fn from_str(text: &str) -> Result<Self, String> {
        let slot = |part: &str| -> Result<Slot, String> {
            let number: u16 = part.trim().parse().map_err(|_| format!("`{part}` is not a slot number"))?;
            Slot::try_from(number)
        };
        match text.split_once('-') {
            None => slot(text).map(SlotRange::from),
            Some((first, last)) => SlotRange::try_from((slot(first)?, slot(last)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis_cluster() {
        for (key, slot) in
            [("123456789", 12739), ("foo", 12182), ("foo2", 1044), ("", 0), ("{user1000}.following", 3443)]
        {
            assert_eq!(Slot::of_key(key.as_bytes()).number(), slot, "{key}");
        }
    }

    #[test]
    fn only_the_first_non_empty_hash_tag_counts() {
        assert_eq!(Slot::of_key(b"{user1000}.following"), Slot::of_key(b"{user1000}.followers"));
        assert_eq!(Slot::of_key(b"foo{bar}{zap}"), Slot::of_key(b"bar"));
        assert_eq!(Slot::of_key(b"foo{{bar}}zap"), Slot::of_key(b"{bar"));
        assert_ne!(Slot::of_key(b"foo{}{bar}"), Slot::of_key(b"bar"), "an empty tag means the whole key");
        assert_ne!(Slot::of_key(b"foo{bar"), Slot::of_key(b"bar"), "an unclosed tag means the whole key");
    }

    #[test]
    fn both_ends_of_the_keyspace_are_slots() {
        assert_eq!(Slot::new(0), Some(Slot::MIN));
        assert_eq!(Slot::new(16383), Some(Slot::MAX));
        assert_eq!(Slot::new(16384), None);
        assert_eq!(SlotRange::ALL.count(), 16384);
        assert_eq!(SlotRange::ALL.iter().next_back(), Some(Slot::MAX));
    }

    #[test]
    fn what_is_left_of_a_range() {
        let range = |text: &str| text.parse::<SlotRange>().unwrap();
        let without = |others: &[&str]| {
            let others: Vec<SlotRange> = others.iter().map(|text| range(text)).collect();
            range("10-20").without(&others).iter().map(SlotRange::to_string).collect::<Vec<_>>()
        };
        assert_eq!(without(&[]), ["10-20"]);
        assert_eq!(without(&["0-9", "21"]), ["10-20"]);
        assert_eq!(without(&["12-13", "20"]), ["10-11", "14-19"]);
        assert_eq!(without(&["0-16383"]), [""; 0]);
        assert_eq!(SlotRange::ALL.without(&[range("0"), range("16383")]), [range("1-16382")]);
    }

    #[test]
    fn ranges_are_read_as_they_are_printed() {
        for text in ["0", "16383", "0-16383", "5461-10922"] {
            assert_eq!(text.parse::<SlotRange>().unwrap().to_string(), text);
        }
        for text in ["", "16384", "7-3", "a", "1-", "-1"] {
            assert!(text.parse::<SlotRange>().is_err(), "{text}");
        }
    }
}
