//! The first of several sorted sets that has members.

use std::time::Duration;

use bytes::Bytes;

use crate::request::{Operation, Request, Waiting, sendable, shape, write_options};
use crate::{Client, Key, Kind, Options};

/// See [`Client::zsets`].
#[derive(Clone, Debug)]
pub struct Zsets<'a> {
    pub(super) client: &'a Client,
    pub(super) keys: Vec<Key>,
}

/// What was taken out with the scores, and the key of the set.
type Popped = shape::Popped<(Bytes, f64)>;

impl<'a> Zsets<'a> {
    /// Takes the members with the lowest scores out of the first set that has any: one, unless [`ZsetPop::count`] says otherwise. All
    /// keys must lie in one slot.
    pub fn pop_min(&self) -> ZsetPop<'a> {
        self.pop("MIN")
    }

    /// Takes the members with the highest scores out of the first set that has any: one, unless [`ZsetPop::count`] says otherwise. All
    /// keys must lie in one slot.
    pub fn pop_max(&self) -> ZsetPop<'a> {
        self.pop("MAX")
    }

    fn pop(&self, end: &'static str) -> ZsetPop<'a> {
        ZsetPop { client: self.client, keys: self.keys.clone(), end, count: 1, options: Options::default() }
    }

    /// Takes the member with the lowest score out of the first set that has any, as soon as there is one, and gives up after `wait`;
    /// [`Duration::MAX`] is for ever. The keys may lie anywhere: where they lie in several slots, the sets are looked at one after the
    /// other.
    pub fn wait_pop_min(&self, wait: Duration) -> Waiting<'a, Popped> {
        self.pop_min().wait(wait)
    }

    /// Like [`Zsets::wait_pop_min`], the member with the highest score.
    pub fn wait_pop_max(&self, wait: Duration) -> Waiting<'a, Popped> {
        self.pop_max().wait(wait)
    }
}

/// See [`Zsets::pop_min`] and [`Zsets::pop_max`].
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct ZsetPop<'a> {
    client: &'a Client,
    keys: Vec<Key>,
    /// MIN or MAX.
    end: &'static str,
    count: u64,
    options: Options,
}

write_options!(ZsetPop);
sendable!(
    ZsetPop -> Option<Popped>,
    "As every write; [`Error::WrongType`](crate::Error::WrongType) if a key holds another type, \
     [`Error::CrossSlot`](crate::Error::CrossSlot) if the keys lie in several slots."
);

impl<'a> ZsetPop<'a> {
    /// How many members are taken out at most; at least 1.
    pub fn count(mut self, count: u64) -> Self {
        self.count = count.max(1);
        self
    }

    /// Waits for members, and gives up after `wait`; [`Duration::MAX`] is for ever. A [`ZsetPop::request_id`] is left behind: one that
    /// found nothing would find nothing for ever.
    pub fn wait(self, wait: Duration) -> Waiting<'a, Popped> {
        Waiting::new(self.client, self.tries(shape::popped_scored), &self.keys, wait).with(self.options)
    }

    pub(super) fn wait_for_one(self, wait: Duration) -> Waiting<'a, (Bytes, f64)> {
        Waiting::new(self.client, self.tries(shape::one_popped_scored), &self.keys, wait).with(self.options)
    }

    /// What to try one after the other: one command if the keys lie in one slot.
    fn tries<T>(&self, shape: shape::Shape<T>) -> Vec<Operation<T>> {
        let together = self.operation(&self.keys, shape);
        match together.slot() {
            Ok(_) => vec![together],
            Err(_) => self.keys.chunks(1).map(|key| self.operation(key, shape)).collect(),
        }
    }

    fn operation<T>(&self, keys: &[Key], shape: shape::Shape<T>) -> Operation<T> {
        let operation = Operation::new(Kind::Write, "ZMPOP", shape).counted_keys(keys);
        operation.word(self.end).word("COUNT").number(self.count)
    }
}

impl Request for ZsetPop<'_> {
    type Output = Option<Popped>;

    fn into_operation(self) -> Operation<Option<Popped>> {
        self.operation(&self.keys, shape::popped_scored)
    }
}
