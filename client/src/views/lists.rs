//! The first of several lists that has elements.

use std::time::Duration;

use bytes::Bytes;

use super::End;
use crate::request::{Operation, Request, Waiting, sendable, shape, write_options};
use crate::{Client, Key, Kind, Options};

/// See [`Client::lists`].
#[derive(Clone, Debug)]
pub struct Lists<'a> {
    pub(super) client: &'a Client,
    pub(super) keys: Vec<Key>,
}

/// What was taken out, and the key of the list.
type Popped = shape::Popped<Bytes>;

impl<'a> Lists<'a> {
    /// Takes elements out at the left of the first list that has any: one, unless [`ListPop::count`] says otherwise. All keys must lie
    /// in one slot.
    pub fn lpop(&self) -> ListPop<'a> {
        self.pop(End::Left)
    }

    /// Takes elements out at the right of the first list that has any: one, unless [`ListPop::count`] says otherwise. All keys must lie
    /// in one slot.
    pub fn rpop(&self) -> ListPop<'a> {
        self.pop(End::Right)
    }

    fn pop(&self, end: End) -> ListPop<'a> {
        ListPop { client: self.client, keys: self.keys.clone(), end, count: 1, options: Options::default() }
    }

    /// Takes the first element out of the first list that has any, as soon as there is one, and gives up after `wait`;
    /// [`Duration::MAX`] is for ever. The keys may lie anywhere: where they lie in several slots, the lists are looked at one after the
    /// other.
    pub fn wait_lpop(&self, wait: Duration) -> Waiting<'a, Popped> {
        self.lpop().wait(wait)
    }

    /// Like [`Lists::wait_lpop`], the last element.
    pub fn wait_rpop(&self, wait: Duration) -> Waiting<'a, Popped> {
        self.rpop().wait(wait)
    }
}

/// See [`Lists::lpop`] and [`Lists::rpop`].
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct ListPop<'a> {
    client: &'a Client,
    keys: Vec<Key>,
    end: End,
    count: u64,
    options: Options,
}

write_options!(ListPop);
sendable!(
    ListPop -> Option<Popped>,
    "As every write; [`Error::WrongType`](crate::Error::WrongType) if a key holds another type, \
     [`Error::CrossSlot`](crate::Error::CrossSlot) if the keys lie in several slots."
);

impl<'a> ListPop<'a> {
    /// How many elements are taken out at most; at least 1.
    pub fn count(mut self, count: u64) -> Self {
        self.count = count.max(1);
        self
    }

    /// Waits for elements, and gives up after `wait`; [`Duration::MAX`] is for ever. A [`ListPop::request_id`] is left behind: one
    /// that found nothing would find nothing for ever.
    pub fn wait(self, wait: Duration) -> Waiting<'a, Popped> {
        let together = self.operation(&self.keys);
        let tries = match together.slot() {
            Ok(_) => vec![together],
            Err(_) => self.keys.chunks(1).map(|key| self.operation(key)).collect(),
        };
        Waiting::new(self.client, tries, &self.keys, wait).with(self.options)
    }

    fn operation(&self, keys: &[Key]) -> Operation<Option<Popped>> {
        let operation = Operation::new(Kind::Write, "LMPOP", shape::popped).counted_keys(keys);
        operation.word(self.end.word()).word("COUNT").number(self.count)
    }
}

impl Request for ListPop<'_> {
    type Output = Option<Popped>;

    fn into_operation(self) -> Operation<Option<Popped>> {
        self.operation(&self.keys)
    }
}
