//! Lists.

use std::time::Duration;

use bytes::Bytes;

use super::View;
use crate::request::{Operation, Read, Request, Waiting, Write, read_options, sendable, shape, write_options};
use crate::{Client, Key, Kind, Options, Value};

/// See [`Client::list`]. A list that is not there is an empty one, and an empty one is not there.
///
/// An index counts from 0, a negative one from the end: -1 is the last element.
#[derive(Clone, Debug)]
pub struct List<'a>(pub(super) View<'a>);

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where the first element is.
    Left,
    /// Where the last element is.
    Right,
}

impl End {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Left => "LEFT",
            Self::Right => "RIGHT",
        }
    }
}

impl<'a> List<'a> {
    /// Puts elements in at the left, one after the other: the last of them is then the first of the list. At least one. The list's new
    /// length.
    pub fn lpush(&self, elements: impl IntoIterator<Item = impl Into<Value>>) -> ListPush<'a> {
        ListPush::new(&self.0, End::Left, elements)
    }

    /// Puts elements in at the right, one after the other. At least one. The list's new length.
    pub fn rpush(&self, elements: impl IntoIterator<Item = impl Into<Value>>) -> ListPush<'a> {
        ListPush::new(&self.0, End::Right, elements)
    }

    /// Takes the first element out.
    pub fn lpop(&self) -> Write<'a, Option<Bytes>> {
        self.0.write("LPOP", shape::value)
    }

    /// Takes the last element out.
    pub fn rpop(&self) -> Write<'a, Option<Bytes>> {
        self.0.write("RPOP", shape::value)
    }

    /// Takes up to `count` elements out at the left, the first of the list first.
    pub fn lpop_many(&self, count: u64) -> Write<'a, Vec<Bytes>> {
        self.0.write("LPOP", shape::values).number(count)
    }

    /// Takes up to `count` elements out at the right, the last of the list first.
    pub fn rpop_many(&self, count: u64) -> Write<'a, Vec<Bytes>> {
        self.0.write("RPOP", shape::values).number(count)
    }

    /// Takes the first element out as soon as there is one, and gives up after `wait`; [`Duration::MAX`] is for ever.
    pub fn wait_lpop(&self, wait: Duration) -> Waiting<'a, Bytes> {
        self.wait("LPOP", wait)
    }

    /// Takes the last element out as soon as there is one, and gives up after `wait`; [`Duration::MAX`] is for ever.
    pub fn wait_rpop(&self, wait: Duration) -> Waiting<'a, Bytes> {
        self.wait("RPOP", wait)
    }

    fn wait(&self, name: &'static str, wait: Duration) -> Waiting<'a, Bytes> {
        let attempt = self.0.write(name, shape::value).into_operation();
        Waiting::new(self.0.client, vec![attempt], std::slice::from_ref(&self.0.key), wait)
    }

    /// Takes an element out at one end and puts it in at an end of another list, or of the same, as one step. The element; `None` if
    /// there was none.
    ///
    /// Both keys must lie in one slot: [`Error::CrossSlot`](crate::Error::CrossSlot) otherwise.
    pub fn move_to(&self, other: impl Into<Key>, from: End, to: End) -> Write<'a, Option<Bytes>> {
        self.0.write("LMOVE", shape::value).key(other).word(from.word()).word(to.word())
    }

    /// Like [`List::move_to`], as soon as there is an element; gives up after `wait`. [`Duration::MAX`] is for ever.
    pub fn wait_move_to(&self, other: impl Into<Key>, from: End, to: End, wait: Duration) -> Waiting<'a, Bytes> {
        let attempt = self.move_to(other, from, to).into_operation();
        Waiting::new(self.0.client, vec![attempt], std::slice::from_ref(&self.0.key), wait)
    }

    /// How many elements there are.
    pub fn len(&self) -> Read<'a, u64> {
        self.0.read("LLEN", shape::count)
    }

    /// The elements from one index to another, both included.
    pub fn range(&self, first: i64, last: i64) -> Read<'a, Vec<Bytes>> {
        self.0.read("LRANGE", shape::values).number(first).number(last)
    }

    /// The element at an index.
    pub fn get(&self, index: i64) -> Read<'a, Option<Bytes>> {
        self.0.read("LINDEX", shape::value).number(index)
    }

    /// The index of the first element that is equal to this, or of another one, see [`ListPosition`].
    pub fn position(&self, element: impl Into<Value>) -> ListPosition<'a, Option<u64>> {
        ListPosition::new(&self.0, element.into())
    }

    /// Replaces the element at an index.
    ///
    /// Fails with [`Error::Server`](crate::Error::Server) if there is none.
    pub fn set(&self, index: i64, element: impl Into<Value>) -> Write<'a, ()> {
        self.0.write("LSET", shape::done).number(index).value(element)
    }

    /// Puts an element in before the first one that is equal to `pivot`. The list's new length; `None` if there is no such element.
    pub fn insert_before(&self, pivot: impl Into<Value>, element: impl Into<Value>) -> Write<'a, Option<u64>> {
        self.0.write("LINSERT", shape::length_if_done).word("BEFORE").value(pivot).value(element)
    }

    /// Puts an element in behind the first one that is equal to `pivot`. The list's new length; `None` if there is no such element.
    pub fn insert_after(&self, pivot: impl Into<Value>, element: impl Into<Value>) -> Write<'a, Option<u64>> {
        self.0.write("LINSERT", shape::length_if_done).word("AFTER").value(pivot).value(element)
    }

    /// Takes out all elements that are equal to this, or some of them, see [`ListRemove`]. How many.
    pub fn remove(&self, element: impl Into<Value>) -> ListRemove<'a> {
        let View { client, key } = self.0.clone();
        ListRemove { client, key, element: element.into(), count: 0, options: Options::default() }
    }

    /// Takes out all elements but those from one index to another, both included.
    pub fn trim(&self, first: i64, last: i64) -> Write<'a, ()> {
        self.0.write("LTRIM", shape::done).number(first).number(last)
    }
}

/// See [`List::lpush`] and [`List::rpush`].
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct ListPush<'a> {
    client: &'a Client,
    key: Key,
    end: End,
    elements: Vec<Value>,
    if_present: bool,
    options: Options,
}

write_options!(ListPush);
sendable!(ListPush -> u64, "As every write; [`Error::WrongType`](crate::Error::WrongType) if the key holds another type.");

impl<'a> ListPush<'a> {
    fn new(view: &View<'a>, end: End, elements: impl IntoIterator<Item = impl Into<Value>>) -> Self {
        let View { client, key } = view.clone();
        let elements = elements.into_iter().map(Into::into).collect();
        Self { client, key, end, elements, if_present: false, options: Options::default() }
    }

    /// Puts them in only if the list is there already; 0 if it is not.
    pub fn if_present(mut self) -> Self {
        self.if_present = true;
        self
    }
}

impl Request for ListPush<'_> {
    type Output = u64;

    fn into_operation(self) -> Operation<u64> {
        let name = match (self.end, self.if_present) {
            (End::Left, false) => "LPUSH",
            (End::Right, false) => "RPUSH",
            (End::Left, true) => "LPUSHX",
            (End::Right, true) => "RPUSHX",
        };
        Operation::new(Kind::Write, name, shape::count).key(self.key).values(self.elements)
    }
}

/// See [`List::remove`].
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct ListRemove<'a> {
    client: &'a Client,
    key: Key,
    element: Value,
    count: i64,
    options: Options,
}

write_options!(ListRemove);
sendable!(ListRemove -> u64, "As every write; [`Error::WrongType`](crate::Error::WrongType) if the key holds another type.");

impl ListRemove<'_> {
    /// Only the first `count` of them; 0 means all.
    pub fn first(mut self, count: u32) -> Self {
        self.count = i64::from(count);
        self
    }

    /// Only the last `count` of them; 0 means all.
    pub fn last(mut self, count: u32) -> Self {
        self.count = -i64::from(count);
        self
    }
}

impl Request for ListRemove<'_> {
    type Output = u64;

    fn into_operation(self) -> Operation<u64> {
        Operation::new(Kind::Write, "LREM", shape::count).key(self.key).number(self.count).value(self.element)
    }
}

/// See [`List::position`].
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct ListPosition<'a, T> {
    client: &'a Client,
    key: Key,
    element: Value,
    rank: i64,
    count: Option<u64>,
    len_max: u64,
    shape: shape::Shape<T>,
    options: Options,
}

read_options!(ListPosition<T>);
sendable!(
    ListPosition<T> -> T,
    "As every request; [`Error::WrongType`](crate::Error::WrongType) if the key holds another type, \
     [`Error::Server`](crate::Error::Server) if the rank is 0."
);

impl<'a> ListPosition<'a, Option<u64>> {
    fn new(view: &View<'a>, element: Value) -> Self {
        let View { client, key } = view.clone();
        let options = Options::default();
        Self { client, key, element, rank: 1, count: None, len_max: 0, shape: shape::place, options }
    }

    /// The indices of several such elements: of up to `count`, 0 meaning all.
    pub fn many(self, count: u64) -> ListPosition<'a, Vec<u64>> {
        let Self { client, key, element, rank, len_max, options, .. } = self;
        ListPosition { client, key, element, rank, count: Some(count), len_max, shape: shape::counts, options }
    }
}

impl<T> ListPosition<'_, T> {
    /// With which of the equal elements to begin: 1 is the first, -1 the last, which are then looked at from the end. Never 0.
    pub fn rank(mut self, rank: i64) -> Self {
        self.rank = rank;
        self
    }

    /// Looks at so many elements only, 0 meaning all.
    pub fn looking_at(mut self, elements: u64) -> Self {
        self.len_max = elements;
        self
    }
}

impl<T> Request for ListPosition<'_, T> {
    type Output = T;

    fn into_operation(self) -> Operation<T> {
        let operation = Operation::new(Kind::Read, "LPOS", self.shape).key(self.key).value(self.element);
        let operation = operation.word("RANK").number(self.rank).word("MAXLEN").number(self.len_max);
        self.count.into_iter().fold(operation, |operation, count| operation.word("COUNT").number(count))
    }
}
