//! What will happen, in the order in which it does.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::Nanos;

/// Happenings by time; those of one moment in the order in which they were scheduled.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<Slot<T>>>,
    scheduled: u64,
}

#[derive(Debug)]
struct Slot<T> {
    at: Nanos,
    number: u64,
    what: T,
}

impl<T> PartialEq for Slot<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl<T> Eq for Slot<T> {}

impl<T> PartialOrd for Slot<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Slot<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), scheduled: 0 }
    }

    pub(crate) fn push(&mut self, at: Nanos, what: T) {
        self.heap.push(Reverse(Slot { at, number: self.scheduled, what }));
        self.scheduled += 1;
    }

    /// Keeps, and maybe changes, what is still to come.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        let mut slots = std::mem::take(&mut self.heap).into_vec();
        slots.retain_mut(|Reverse(slot)| keep(&mut slot.what));
        self.heap = slots.into();
    }

    /// The next happening, if it is not after `until`.
    pub(crate) fn pop(&mut self, until: Nanos) -> Option<(Nanos, T)> {
        if self.heap.peek()?.0.at > until {
            return None;
        }
        self.heap.pop().map(|Reverse(slot)| (slot.at, slot.what))
    }
}
