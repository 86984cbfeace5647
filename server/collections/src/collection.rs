//! The index of one key's elements.

use std::cmp::Ordering;
use std::ops::ControlFlow;
use std::sync::Arc;

use simplekv_types::ValueType;
use smallvec::SmallVec;

use crate::element::position_in;
use crate::label::spread;
use crate::tree::Tree;
use crate::{At, Element, Label};

/// A shorter collection is in the processor's caches as soon as it is used.
const WORTH_FETCHING: usize = 4096;

/// What a key with elements holds.
///
/// Invariant: the second order of a sorted set holds what the first one holds.
#[derive(Clone, Debug)]
pub struct Collection {
    kind: ValueType,
    incarnation: u64,
    elements: Tree<Element>,
    /// By score and member. Empty unless it is a sorted set.
    scores: Tree<Scored>,
    /// Of all elements: names and records in the log, or values here.
    bytes: u64,
}

/// A member of a sorted set with its score.
#[derive(Clone, Debug)]
pub struct Scored {
    /// The score. Never NaN.
    pub score: f64,
    /// The member.
    pub member: Arc<[u8]>,
}

impl Scored {
    fn compare(&self, score: f64, member: &[u8]) -> Ordering {
        compare_scores(self.score, score).then_with(|| (*self.member).cmp(member))
    }
}

/// Redis' order: the two zeros are one.
fn compare_scores(one: f64, other: f64) -> Ordering {
    one.partial_cmp(&other).unwrap_or(Ordering::Equal)
}

impl Collection {
    /// One without elements. `incarnation`: which life of its key it is.
    #[must_use]
    pub fn new(kind: ValueType, incarnation: u64) -> Self {
        Self { kind, incarnation, elements: Tree::default(), scores: Tree::default(), bytes: 0 }
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> ValueType {
        self.kind
    }

    /// Which life of its key it is.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// Bytes of all elements: of their records in the log, or of their values.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The element of this name.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<&Element> {
        self.find_at(position_in(self.kind, name), name)
    }

    /// The element of this name, whose position is known: [`position_of`](crate::position_of) it, unless this is a list.
    #[must_use]
    pub fn find_at(&self, position: u64, name: &[u8]) -> Option<&Element> {
        self.elements.find(|element| element.compare(position, name))
    }

    /// Has the processor fetch what finding elements of these names will look at; `ranks`: and asking for their ranks.
    pub fn prefetch(&self, names: &[&[u8]], ranks: bool) {
        if self.len() < WORTH_FETCHING {
            return;
        }
        let sought: SmallVec<[(u64, &[u8]); 32]> =
            names.iter().map(|name| (position_in(self.kind, name), *name)).collect();
        self.elements.touch(&sought, |(position, name), element| element.compare(*position, name));
        if ranks {
            let find = |(position, name): &(u64, &[u8])| self.elements.find(|other| other.compare(*position, name));
            let scored: SmallVec<[&Element; 32]> = sought.iter().filter_map(find).collect();
            self.scores.touch(&scored, |sought, other| other.compare(sought.score, &sought.name));
        }
    }

    /// The element with this number in the order of scans, or of a list.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<&Element> {
        self.elements.get(number)
    }

    /// Shows elements in order, from the one with this number on.
    pub fn walk<'a>(&'a self, from: usize, show: impl FnMut(&'a Element) -> ControlFlow<()>) {
        self.elements.walk(from, show);
    }

    /// Shows the elements before the one with this number, the last of them first.
    pub fn walk_back<'a>(&'a self, before: usize, show: impl FnMut(&'a Element) -> ControlFlow<()>) {
        self.elements.walk_back(before, show);
    }

    /// Shows at least `limit` elements from a position on, if there are as many, and all that share a position; returns the position
    /// of the next one.
    pub fn scan<'a>(&'a self, from: u64, limit: usize, mut show: impl FnMut(&'a Element)) -> Option<u64> {
        let (before, _) = self.elements.rank(|element| element.position.cmp(&from).then(Ordering::Greater));
        let (mut shown, mut last, mut next) = (0, None, None);
        self.walk(before, |element| {
            if shown >= limit && last != Some(element.position) {
                next = Some(element.position);
                return ControlFlow::Break(());
            }
            show(element);
            shown += 1;
            last = Some(element.position);
            ControlFlow::Continue(())
        });
        next
    }

    /// Puts an element in, in the place of the one with its name, which is returned. `score`: of a sorted set's element, zero else.
    pub fn insert(&mut self, name: &[u8], at: At, score: f64) -> Option<Element> {
        debug_assert!(!score.is_nan(), "what has no order is in no order");
        let position = position_in(self.kind, name);
        let (mut shared, mut put) = (None, 0);
        let make = |known: Option<&Element>| {
            // The old name is kept: a set whose members come again and again would copy them each time.
            let name = known.map_or_else(|| Arc::from(name), |element| Arc::clone(&element.name));
            shared = Some(Arc::clone(&name));
            let element = Element { name, at, score, position };
            put = element.bytes();
            element
        };
        let old = self.elements.insert(make, |other| other.compare(position, name));
        self.bytes = self.bytes + put - old.as_ref().map_or(0, Element::bytes);
        if self.kind == ValueType::Zset
            && let Some(member) = shared
            && old.as_ref().is_none_or(|old| old.score.to_bits() != score.to_bits())
        {
            if let Some(old) = &old {
                self.scores.remove(|other| other.compare(old.score, name));
            }
            self.scores.insert(|_| Scored { score, member }, |other| other.compare(score, name));
        }
        old
    }

    /// Takes the element of this name out.
    pub fn remove(&mut self, name: &[u8]) -> Option<Element> {
        let position = position_in(self.kind, name);
        let old = self.elements.remove(|element| element.compare(position, name))?;
        self.bytes -= old.bytes();
        if self.kind == ValueType::Zset {
            self.scores.remove(|other| other.compare(old.score, name));
        }
        Some(old)
    }

    /// Gives up about `budget` elements, shown to `drop`, so that a long collection need not be dropped at once. True if there are
    /// more.
    pub fn shed(&mut self, budget: usize, drop: impl FnMut(&Element)) -> bool {
        let more = self.scores.shed(budget, |_| ());
        self.elements.shed(budget, drop) || more
    }

    /// How many members have lower scores, or the same score and stand before `member`.
    #[must_use]
    pub fn rank_of(&self, score: f64, member: &[u8]) -> usize {
        self.scores.rank(|other| other.compare(score, member)).0
    }

    /// How many members have a lower score; or, `and_equal`, one that is not higher.
    #[must_use]
    pub fn count_below(&self, score: f64, and_equal: bool) -> usize {
        let ties = if and_equal { Ordering::Less } else { Ordering::Greater };
        self.scores.rank(|other| compare_scores(other.score, score).then(ties)).0
    }

    /// As [`Collection::count_below`], by member. Means something if all scores are the same.
    #[must_use]
    pub fn count_before(&self, member: &[u8], and_equal: bool) -> usize {
        let ties = if and_equal { Ordering::Less } else { Ordering::Greater };
        self.scores.rank(|other| (*other.member).cmp(member).then(ties)).0
    }

    /// The member with this number in the order of scores.
    #[must_use]
    pub fn scored(&self, number: usize) -> Option<&Scored> {
        self.scores.get(number)
    }

    /// Shows members in the order of scores, from the one with this number on.
    pub fn walk_scores<'a>(&'a self, from: usize, show: impl FnMut(&'a Scored) -> ControlFlow<()>) {
        self.scores.walk(from, show);
    }

    /// Shows the members before the one with this number in the order of scores, the last of them first.
    pub fn walk_scores_back<'a>(&'a self, before: usize, show: impl FnMut(&'a Scored) -> ControlFlow<()>) {
        self.scores.walk_back(before, show);
    }

    /// The label of a list's element.
    ///
    /// # Panics
    /// If it is no list, or has no such element.
    #[must_use]
    pub fn label(&self, number: usize) -> Label {
        let name = &self.get(number).expect("the list has such an element").name;
        Label::from_bytes(name).expect("the elements of a list have labels for names")
    }

    /// The labels of a list's first and last element, if it has any.
    #[must_use]
    pub fn ends(&self) -> Option<(Label, Label)> {
        let last = self.len().checked_sub(1)?;
        Some((self.label(0), self.label(last)))
    }

    /// The label for an element to be put before the one with this number, or at the end; `None` if room must be made first.
    #[must_use]
    pub fn label_before(&self, number: usize) -> Option<Label> {
        match (number.checked_sub(1), number < self.len()) {
            (None, false) => Some(Label::FIRST),
            (None, true) => Some(self.label(0).before()),
            (Some(last), false) => Some(self.label(last).after()),
            (Some(before), true) => self.label(before).between(self.label(number)),
        }
    }

    /// The labels that elements of a list must get so that there is room before the one with this number: those of the elements from
    /// the returned number on.
    #[must_use]
    pub fn spread(&self, number: usize) -> (usize, Vec<Label>) {
        spread(number, self.len(), |at| self.label(at))
    }
}

#[cfg(test)]
mod tests;
