//! A value for every slot, kept as ranges of equal values.

use simplekv_types::{Slot, SlotRange};

/// Invariant: ranges are sorted, do not overlap, neighbours of the same value are joined, and none has the default value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct SlotValues<T> {
    ranges: Vec<(SlotRange, T)>,
}

impl<T: Copy + Default + PartialEq> SlotValues<T> {
    /// The value of a slot.
    pub(crate) fn get(&self, slot: Slot) -> T {
        let after = self.ranges.partition_point(|(range, _)| range.first() <= slot);
        let found = after.checked_sub(1).and_then(|at| self.ranges.get(at));
        found.filter(|(range, _)| range.contains(slot)).map_or_else(T::default, |(_, value)| *value)
    }

    /// The ranges that have another value than the default, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SlotRange, T)> {
        self.ranges.iter().copied()
    }

    /// The parts of a range with their values, in order.
    pub(crate) fn within(&self, range: SlotRange) -> Vec<(SlotRange, T)> {
        let mut parts: Vec<(SlotRange, T)> = Vec::new();
        let mut covered: Vec<SlotRange> = Vec::new();
        for (other, value) in self.ranges.iter().filter(|(other, _)| other.overlaps(range)) {
            let first = other.first().max(range.first());
            if let Some(part) = SlotRange::new(first, other.last().min(range.last())) {
                parts.push((part, *value));
                covered.push(part);
            }
        }
        parts.extend(range.without(&covered).into_iter().map(|part| (part, T::default())));
        parts.sort_unstable_by_key(|(part, _)| *part);
        parts
    }

    /// Changes the value of every slot in a range.
    pub(crate) fn update(&mut self, range: SlotRange, change: impl Fn(T) -> T) {
        let changed: Vec<(SlotRange, T)> =
            self.within(range).into_iter().map(|(part, value)| (part, change(value))).collect();
        let kept =
            self.ranges.iter().flat_map(|(other, value)| other.without(&[range]).into_iter().map(|p| (p, *value)));
        let mut all: Vec<(SlotRange, T)> = kept.chain(changed).filter(|(_, value)| *value != T::default()).collect();
        all.sort_unstable_by_key(|(range, _)| *range);
        self.ranges.clear();
        for (range, value) in all {
            match self.ranges.last_mut() {
                Some((last, of)) if *of == value && last.last().number() + 1 == range.first().number() => {
                    *last = SlotRange::new(last.first(), range.last()).unwrap_or(*last);
                }
                _ => self.ranges.push((range, value)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_neighbours_are_one_range() {
        let range = |text: &str| text.parse::<SlotRange>().unwrap();
        let mut values = SlotValues::default();
        values.update(range("10-19"), |_| 1);
        values.update(range("13-25"), |value| value + 1);
        let ranges = |values: &SlotValues<u8>| {
            values.iter().map(|(range, value)| format!("{range}:{value}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(ranges(&values), "10-12:1 13-19:2 20-25:1");
        values.update(range("13-19"), |_| 1);
        assert_eq!(ranges(&values), "10-25:1");
        values.update(range("12"), |_| 0);
        assert_eq!(ranges(&values), "10-11:1 13-25:1");
        assert_eq!(values.within(range("11-13")).len(), 3);
        assert_eq!((values.get(Slot::new(12).unwrap()), values.get(Slot::new(13).unwrap())), (0, 1));
        values.update(SlotRange::ALL, |_| 0);
        assert_eq!(values, SlotValues::default());
    }
}
