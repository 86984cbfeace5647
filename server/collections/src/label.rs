//! Where an element of a list stands.

/// A place in a list: labels are in the order of the elements, with room between them.
///
/// New ends stand far from the old ones, so that elements can be put in between: half way, until there is no room any more. Then the
/// elements around get other labels, see `spread`. At 2^64 from one end to the next, no list comes to the end of the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label(u128);

/// From an end to the next one.
const STEP: u128 = 1 << 64;
/// Labels that are spread are at least so far from each other: as often something fits in between.
const ROOM: u128 = 1 << 32;

impl Label {
    /// The first element's.
    pub const FIRST: Self = Self(1 << 127);

    /// How it stands in records: so that the order of the bytes is that of the list.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The label in such bytes; `None` if they are none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(u128::from_be_bytes(bytes.try_into().ok()?)))
    }

    /// That of an element put before this first one.
    #[must_use]
    pub const fn before(self) -> Self {
        Self(self.0.saturating_sub(STEP))
    }

    /// That of an element put behind this last one.
    #[must_use]
    pub const fn after(self) -> Self {
        Self(self.0.saturating_add(STEP))
    }

    /// That of an element put between this one and the next; `None` if there is no room.
    #[must_use]
    pub fn between(self, next: Self) -> Option<Self> {
        let middle = self.0.midpoint(next.0);
        (middle > self.0 && middle < next.0).then_some(Self(middle))
    }
}

/// Where room is made: elements `from..to` get labels that are evenly spread between those around them. `labels` tells an element's;
/// there are `len`, and there is no room before the element `at`.
pub(crate) fn spread(at: usize, len: usize, label_of: impl Fn(usize) -> Label) -> (usize, Vec<Label>) {
    let mut reach = 1;
    loop {
        let (from, to) = (at.saturating_sub(reach), at.saturating_add(reach).min(len));
        // At an end, no further than one more element would go: all beyond is for those that are put in there.
        let low = from.checked_sub(1).map_or_else(|| label_of(0).before(), &label_of).0;
        let high = if to < len { label_of(to) } else { label_of(len - 1).after() }.0;
        let count = (to - from) as u128;
        let step = (high - low) / (count + 1);
        if step >= ROOM || to - from == len {
            return (from, (1..=count).map(|number| Label(low + step * number)).collect());
        }
        reach *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_of_bytes_is_one_of_places() {
        let labels = [Label::FIRST.before().before(), Label::FIRST.before(), Label::FIRST, Label::FIRST.after()];
        assert!(labels.is_sorted_by(|one, next| one < next && one.to_bytes() < next.to_bytes()));
        assert_eq!(Label::from_bytes(&labels[0].to_bytes()), Some(labels[0]));
        assert_eq!(Label::from_bytes(b"seventeen bytes.."), None);
    }

    #[test]
    fn there_is_room_for_a_while_and_then_room_is_made() {
        let mut labels = vec![Label::FIRST, Label::FIRST.after(), Label::FIRST.after().after()];
        let mut moved = 0;
        for _ in 0..5000 {
            let label = loop {
                if let Some(label) = labels[0].between(labels[1]) {
                    break label;
                }
                let (from, spread) = spread(1, labels.len(), |at| labels[at]);
                moved += spread.len();
                labels.splice(from..from + spread.len(), spread);
            };
            labels.insert(1, label);
            assert!(labels.is_sorted_by(|one, next| one < next));
        }
        assert!(moved < 5 * 5000, "{moved} elements were moved");
    }

    /// Whoever puts elements in next to an end must not use up the numbers that are kept for those put in beyond it.
    #[test]
    fn room_next_to_an_end_is_not_taken_from_what_comes_beyond_it() {
        let mut labels = vec![Label::FIRST, Label::FIRST.after()];
        for round in 0..30_000 {
            let at = if round % 2 == 0 { 1 } else { labels.len() - 1 };
            while labels[at - 1].between(labels[at]).is_none() {
                let (from, spread) = spread(at, labels.len(), |at| labels[at]);
                labels.splice(from..from + spread.len(), spread);
            }
            let label = labels[at - 1].between(labels[at]).unwrap();
            labels.insert(at, label);
        }
        let (first, last) = (labels[0], labels[labels.len() - 1]);
        assert!(first.0 > 1 << 126 && last.0 < u128::MAX - (1 << 126), "{first:?}, {last:?}");
    }
}
