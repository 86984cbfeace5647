//! A set of slots that is asked on every request.

use simplekv_types::{SLOT_COUNT, Slot, SlotRange};

const WORDS: usize = SLOT_COUNT as usize / 64;

/// A set of slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotSet {
    words: Box<[u64; WORDS]>,
}

impl Default for SlotSet {
    fn default() -> Self {
        Self { words: Box::new([0; WORDS]) }
    }
}

impl FromIterator<SlotRange> for SlotSet {
    fn from_iter<I: IntoIterator<Item = SlotRange>>(ranges: I) -> Self {
        let mut set = Self::default();
        ranges.into_iter().for_each(|range| set.insert(range));
        set
    }
}

impl SlotSet {
    /// Whether the slot is in the set.
    #[must_use]
    pub fn contains(&self, slot: Slot) -> bool {
        self.words.get(slot.index() / 64).is_some_and(|word| word >> (slot.index() % 64) & 1 == 1)
    }

    /// Adds the slots of a range.
    pub fn insert(&mut self, range: SlotRange) {
        for slot in range.iter() {
            if let Some(word) = self.words.get_mut(slot.index() / 64) {
                *word |= 1 << (slot.index() % 64);
            }
        }
    }

    /// Takes the slots of a range out.
    pub fn remove(&mut self, range: SlotRange) {
        for slot in range.iter() {
            if let Some(word) = self.words.get_mut(slot.index() / 64) {
                *word &= !(1 << (slot.index() % 64));
            }
        }
    }

    /// How many slots are in the set.
    #[must_use]
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The set as ranges, in order.
    #[must_use]
    pub fn ranges(&self) -> Vec<SlotRange> {
        let mut ranges: Vec<SlotRange> = Vec::new();
        for slot in Slot::all().filter(|&slot| self.contains(slot)) {
            let wider = ranges
                .last()
                .filter(|last| last.last().number() + 1 == slot.number())
                .and_then(|last| SlotRange::new(last.first(), slot));
            match (wider, ranges.last_mut()) {
                (Some(wider), Some(last)) => *last = wider,
                _ => ranges.push(slot.into()),
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_and_go_and_are_told_as_ranges() {
        let range = |text: &str| text.parse::<SlotRange>().unwrap();
        let mut set: SlotSet = [range("60-70"), range("16383")].into_iter().collect();
        assert!(set.contains(Slot::MAX) && !set.contains(Slot::MIN));
        set.remove(range("64-65"));
        assert_eq!(set.ranges(), [range("60-63"), range("66-70"), range("16383")]);
        assert_eq!(set.count(), 10);
    }
}
