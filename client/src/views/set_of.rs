//! Sets.

use bytes::Bytes;

use super::{View, Walk};
use crate::request::{Operation, Read, Request, Write, read_options, sendable, shape};
use crate::{Client, Key, Kind, Options, Value};

/// See [`Client::set_of`]. A set that is not there is an empty one, and an empty one is not there.
///
/// What is made of several sets takes keys of one slot: [`Error::CrossSlot`](crate::Error::CrossSlot) otherwise.
#[derive(Clone, Debug)]
pub struct SetOf<'a>(pub(super) View<'a>);

impl<'a> SetOf<'a> {
    /// Puts members in; at least one. How many are new.
    pub fn add(&self, members: impl IntoIterator<Item = impl Into<Value>>) -> Write<'a, u64> {
        self.0.write("SADD", shape::count).values(members)
    }

    /// Takes members out; at least one. How many were there.
    pub fn remove(&self, members: impl IntoIterator<Item = impl Into<Value>>) -> Write<'a, u64> {
        self.0.write("SREM", shape::count).values(members)
    }

    /// Takes one of the members out, drawn.
    pub fn pop(&self) -> Write<'a, Option<Bytes>> {
        self.0.write("SPOP", shape::value)
    }

    /// Takes up to `count` members out, drawn.
    pub fn pop_many(&self, count: u64) -> Write<'a, Vec<Bytes>> {
        self.0.write("SPOP", shape::values).number(count)
    }

    /// Takes a member out and puts it into another set, as one step. `true` if it was there.
    pub fn move_to(&self, other: impl Into<Key>, member: impl Into<Value>) -> Write<'a, bool> {
        self.0.write("SMOVE", shape::truth).key(other).value(member)
    }

    /// Whether a member is there.
    pub fn contains(&self, member: impl Into<Value>) -> Read<'a, bool> {
        self.0.read("SISMEMBER", shape::truth).value(member)
    }

    /// Of each of some members, whether it is there; at least one.
    pub fn contains_each(&self, members: impl IntoIterator<Item = impl Into<Value>>) -> Read<'a, Vec<bool>> {
        self.0.read("SMISMEMBER", shape::truths).values(members)
    }

    /// How many members there are.
    pub fn len(&self) -> Read<'a, u64> {
        self.0.read("SCARD", shape::count)
    }

    /// All members, in one answer and in no order. For a large set, walk: [`SetOf::scan`].
    pub fn members(&self) -> Read<'a, Vec<Bytes>> {
        self.0.read("SMEMBERS", shape::values)
    }

    /// One of the members, drawn; it stays.
    pub fn random(&self) -> Read<'a, Option<Bytes>> {
        self.0.read("SRANDMEMBER", shape::value).drawn()
    }

    /// Some of the members, drawn; they stay. Up to `count` different ones. If it is negative, exactly as many as it says without its
    /// sign, and one may come several times.
    pub fn random_many(&self, count: i64) -> Read<'a, Vec<Bytes>> {
        self.0.read("SRANDMEMBER", shape::values).number(count).drawn()
    }

    /// The members that are in this set and in all the others.
    pub fn inter(&self, others: impl IntoIterator<Item = impl Into<Key>>) -> SetCombine<'a> {
        SetCombine::new(&self.0, ["SINTER", "SINTERSTORE"], self.0.and(others))
    }

    /// The members that are in this set or in any of the others.
    pub fn union(&self, others: impl IntoIterator<Item = impl Into<Key>>) -> SetCombine<'a> {
        SetCombine::new(&self.0, ["SUNION", "SUNIONSTORE"], self.0.and(others))
    }

    /// The members that are in this set and in none of the others.
    pub fn diff(&self, others: impl IntoIterator<Item = impl Into<Key>>) -> SetCombine<'a> {
        SetCombine::new(&self.0, ["SDIFF", "SDIFFSTORE"], self.0.and(others))
    }

    /// How many members this set and all the others have in common. Counting stops at `at_most`, 0 meaning never.
    pub fn inter_len(&self, others: impl IntoIterator<Item = impl Into<Key>>, at_most: u64) -> Read<'a, u64> {
        let operation = Operation::new(Kind::Read, "SINTERCARD", shape::count).counted_keys(&self.0.and(others));
        self.0.read_of(operation.word("LIMIT").number(at_most))
    }

    /// Walks over the members: `set.scan().prefix("user:").stream()`.
    pub fn scan(&self) -> Walk<'a, Bytes> {
        Walk::new(&self.0, "SSCAN", shape::values)
    }
}

/// See [`SetOf::inter`], [`SetOf::union`] and [`SetOf::diff`].
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct SetCombine<'a> {
    client: &'a Client,
    /// The command that tells the members, and the one that stores them.
    names: [&'static str; 2],
    keys: Vec<Key>,
    options: Options,
}

read_options!(SetCombine);
sendable!(
    SetCombine -> Vec<Bytes>,
    "As every request; [`Error::WrongType`](crate::Error::WrongType) if a key holds another type, \
     [`Error::CrossSlot`](crate::Error::CrossSlot) if the keys lie in several slots."
);

impl<'a> SetCombine<'a> {
    fn new(view: &View<'a>, names: [&'static str; 2], keys: Vec<Key>) -> Self {
        Self { client: view.client, names, keys, options: Options::default() }
    }

    /// Stores the members at a key, whatever that held, instead of telling them. How many there are.
    pub fn store_in(self, to: impl Into<Key>) -> Write<'a, u64> {
        let [_, name] = self.names;
        let operation = Operation::new(Kind::Write, name, shape::count).key(to).keys(self.keys);
        Write::of(self.client, operation).with(self.options)
    }
}

impl Request for SetCombine<'_> {
    type Output = Vec<Bytes>;

    fn into_operation(self) -> Operation<Vec<Bytes>> {
        let [name, _] = self.names;
        Operation::new(Kind::Read, name, shape::values).keys(self.keys)
    }
}
