//! Requests about sorted sets that have settings of their own.

use bytes::Bytes;

use super::View;
use crate::request::{Operation, Request, Write, read_options, sendable, shape, write_options};
use crate::{Client, Key, Kind, Options, Value};

/// See [`Zset::add`](crate::Zset::add).
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct ZsetAdd<'a> {
    client: &'a Client,
    key: Key,
    members: Vec<(Value, f64)>,
    /// NX or XX.
    presence: Option<&'static str>,
    /// GT or LT.
    direction: Option<&'static str>,
    counts_changed: bool,
    options: Options,
}

write_options!(ZsetAdd);
sendable!(
    ZsetAdd -> u64,
    "As every write; [`Error::WrongType`](crate::Error::WrongType) if the key holds another type, \
     [`Error::Server`](crate::Error::Server) if a score is NaN or the conditions contradict each other."
);

impl<'a> ZsetAdd<'a> {
    pub(super) fn new(view: &View<'a>, members: Vec<(Value, f64)>) -> Self {
        let View { client, key } = view.clone();
        let options = Options::default();
        Self { client, key, members, presence: None, direction: None, counts_changed: false, options }
    }

    /// Only members that are not there. Not together with a condition on scores.
    pub fn if_absent(mut self) -> Self {
        self.presence = Some("NX");
        self
    }

    /// Only members that are there.
    pub fn if_present(mut self) -> Self {
        self.presence = Some("XX");
        self
    }

    /// Of those that are there, only members whose score grows.
    pub fn if_greater(mut self) -> Self {
        self.direction = Some("GT");
        self
    }

    /// Of those that are there, only members whose score falls.
    pub fn if_less(mut self) -> Self {
        self.direction = Some("LT");
        self
    }

    /// Counts members whose score has changed as well as new ones.
    pub fn counting_changed(mut self) -> Self {
        self.counts_changed = true;
        self
    }
}

impl Request for ZsetAdd<'_> {
    type Output = u64;

    fn into_operation(self) -> Operation<u64> {
        let operation = Operation::new(Kind::Write, "ZADD", shape::count).key(self.key);
        let conditions = self.presence.into_iter().chain(self.direction);
        let operation = conditions.fold(operation, Operation::word).word_if(self.counts_changed, "CH");
        self.members.into_iter().fold(operation, |operation, (member, score)| operation.number(score).value(member))
    }
}

/// See [`Zset::range`](crate::Zset::range) and its like.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct ZsetRange<'a, T> {
    client: &'a Client,
    key: Key,
    /// What the bounds are; ranks if nothing is said.
    by: Option<&'static str>,
    /// The lower first.
    bounds: [Value; 2],
    is_reverse: bool,
    limit: Option<(u64, u64)>,
    shape: shape::Shape<Vec<T>>,
    with_scores: bool,
    options: Options,
}

read_options!(ZsetRange<T>);
sendable!(
    ZsetRange<T> -> Vec<T>,
    "As every request; [`Error::WrongType`](crate::Error::WrongType) if the key holds another type, \
     [`Error::Server`](crate::Error::Server) if a bound is NaN or a setting does not go with this kind of range."
);

impl<'a> ZsetRange<'a, Bytes> {
    pub(super) fn new(view: &View<'a>, by: Option<&'static str>, bounds: [Value; 2]) -> Self {
        let View { client, key } = view.clone();
        let (shape, options) = (shape::values as shape::Shape<_>, Options::default());
        Self { client, key, by, bounds, is_reverse: false, limit: None, shape, with_scores: false, options }
    }

    /// Tells the members' scores, too. Not of a range by members.
    pub fn with_scores(self) -> ZsetRange<'a, (Bytes, f64)> {
        let Self { client, key, by, bounds, is_reverse, limit, options, .. } = self;
        ZsetRange { client, key, by, bounds, is_reverse, limit, shape: shape::scored, with_scores: true, options }
    }

    /// Stores the members with their scores at a key, whatever that held, instead of telling them. How many there are. Both keys must
    /// lie in one slot.
    pub fn store_in(self, to: impl Into<Key>) -> Write<'a, u64> {
        let operation = Operation::new(Kind::Write, "ZRANGESTORE", shape::count).key(to);
        Write::of(self.client, self.selection(operation)).with(self.options)
    }
}

impl<T> ZsetRange<'_, T> {
    /// The last of them first; ranks count from the highest score then.
    pub fn rev(mut self) -> Self {
        self.is_reverse = true;
        self
    }

    /// Leaves the first `skip` of them out, and tells `count` at most. Not of a range by ranks.
    pub fn limit(mut self, skip: u64, count: u64) -> Self {
        self.limit = Some((skip, count));
        self
    }

    fn selection<U>(&self, operation: Operation<U>) -> Operation<U> {
        let mut bounds = self.bounds.clone();
        // Redis wants the one first that is met first; its ranks are those of the order that was asked for.
        if self.is_reverse && self.by.is_some() {
            bounds.reverse();
        }
        let operation = operation.key(self.key.clone()).values(bounds);
        let operation = self.by.into_iter().fold(operation, Operation::word).word_if(self.is_reverse, "REV");
        self.limit.into_iter().fold(operation, |operation, (skip, count)| {
            // More than there can be; Redis reads these numbers with a sign.
            let count = count.min(i64::MAX as u64);
            operation.word("LIMIT").number(skip).number(count)
        })
    }
}

impl<T> Request for ZsetRange<'_, T> {
    type Output = Vec<T>;

    fn into_operation(self) -> Operation<Vec<T>> {
        let operation = self.selection(Operation::new(Kind::Read, "ZRANGE", self.shape));
        operation.word_if(self.with_scores, "WITHSCORES")
    }
}

/// What becomes of the scores of a member that is in several sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregate {
    /// Their sum.
    #[default]
    Sum,
    /// The lowest of them.
    Min,
    /// The highest of them.
    Max,
}

/// See [`Zset::inter`](crate::Zset::inter), [`Zset::union`](crate::Zset::union) and [`Zset::diff`](crate::Zset::diff).
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct ZsetCombine<'a, T> {
    client: &'a Client,
    /// The command that tells the members, and the one that stores them.
    names: [&'static str; 2],
    keys: Vec<Key>,
    weights: Vec<f64>,
    aggregate: Aggregate,
    shape: shape::Shape<Vec<T>>,
    with_scores: bool,
    options: Options,
}

read_options!(ZsetCombine<T>);
sendable!(
    ZsetCombine<T> -> Vec<T>,
    "As every request; [`Error::WrongType`](crate::Error::WrongType) if a key holds another type, \
     [`Error::CrossSlot`](crate::Error::CrossSlot) if the keys lie in several slots, [`Error::Server`](crate::Error::Server) if there \
     are not as many weights as sets."
);

impl<'a> ZsetCombine<'a, Bytes> {
    pub(super) fn new(view: &View<'a>, names: [&'static str; 2], keys: Vec<Key>) -> Self {
        let (weights, aggregate, options) = (Vec::new(), Aggregate::Sum, Options::default());
        Self { client: view.client, names, keys, weights, aggregate, shape: shape::values, with_scores: false, options }
    }

    /// Tells the members' scores, too.
    pub fn with_scores(self) -> ZsetCombine<'a, (Bytes, f64)> {
        let Self { client, names, keys, weights, aggregate, options, .. } = self;
        ZsetCombine { client, names, keys, weights, aggregate, shape: shape::scored, with_scores: true, options }
    }

    /// Stores the members with their scores at a key, whatever that held, instead of telling them. How many there are.
    pub fn store_in(self, to: impl Into<Key>) -> Write<'a, u64> {
        let [_, name] = self.names;
        let operation = self.combination(Operation::new(Kind::Write, name, shape::count).key(to));
        Write::of(self.client, operation).with(self.options)
    }
}

impl<T> ZsetCombine<'_, T> {
    /// What each set's scores are multiplied with, beginning with the set of the view.
    pub fn weights(mut self, weights: impl IntoIterator<Item = f64>) -> Self {
        self.weights = weights.into_iter().collect();
        self
    }

    /// What becomes of the scores of a member that several sets have. Default: their sum.
    pub fn aggregate(mut self, aggregate: Aggregate) -> Self {
        self.aggregate = aggregate;
        self
    }

    fn combination<U>(&self, operation: Operation<U>) -> Operation<U> {
        let mut operation = operation.counted_keys(&self.keys);
        if !self.weights.is_empty() {
            operation = self.weights.iter().fold(operation.word("WEIGHTS"), Operation::number);
        }
        match self.aggregate {
            Aggregate::Sum => operation,
            Aggregate::Min => operation.word("AGGREGATE").word("MIN"),
            Aggregate::Max => operation.word("AGGREGATE").word("MAX"),
        }
    }
}

impl<T> Request for ZsetCombine<'_, T> {
    type Output = Vec<T>;

    fn into_operation(self) -> Operation<Vec<T>> {
        let [name, _] = self.names;
        let operation = self.combination(Operation::new(Kind::Read, name, self.shape));
        operation.word_if(self.with_scores, "WITHSCORES")
    }
}
