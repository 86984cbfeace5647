//! Sorted sets.

use std::ops::{Bound, RangeBounds};
use std::time::Duration;

use bytes::Bytes;

use super::{View, Walk, ZsetAdd, ZsetCombine, ZsetRange, Zsets};
use crate::request::{Operation, Read, Waiting, Write, shape};
use crate::{Key, Kind, Value};

/// See [`Client::zset`](crate::Client::zset). A sorted set that is not there is an empty one, and an empty one is not there.
///
/// Its members stand in the order of their scores, those of one score in the order of their bytes. The rank of the first is 0; a
/// negative one counts from the end: -1 is the last member. A score is any `f64` but NaN, infinities included.
///
/// What is made of several sets takes keys of one slot: [`Error::CrossSlot`](crate::Error::CrossSlot) otherwise.
#[derive(Clone, Debug)]
pub struct Zset<'a>(pub(super) View<'a>);

impl<'a> Zset<'a> {
    /// Gives members scores, those that are there and new ones, or only some, see [`ZsetAdd`]; at least one. How many are new.
    pub fn add<M: Into<Value>>(&self, members: impl IntoIterator<Item = (M, f64)>) -> ZsetAdd<'a> {
        ZsetAdd::new(&self.0, members.into_iter().map(|(member, score)| (member.into(), score)).collect())
    }

    /// Adds to a member's score; one that is not there is put in, as if its score were 0. The new score.
    ///
    /// Fails with [`Error::Server`](crate::Error::Server) if the sum is no number, as that of two opposite infinities.
    pub fn incr(&self, member: impl Into<Value>, by: f64) -> Write<'a, f64> {
        self.0.write("ZINCRBY", shape::float).number(by).value(member)
    }

    /// Takes members out; at least one. How many were there.
    pub fn remove(&self, members: impl IntoIterator<Item = impl Into<Value>>) -> Write<'a, u64> {
        self.0.write("ZREM", shape::count).values(members)
    }

    /// Takes the members from one rank to another out, both included. How many.
    pub fn remove_range(&self, first: i64, last: i64) -> Write<'a, u64> {
        self.0.write("ZREMRANGEBYRANK", shape::count).number(first).number(last)
    }

    /// Takes the members with these scores out. How many.
    pub fn remove_by_score(&self, scores: impl RangeBounds<f64>) -> Write<'a, u64> {
        self.0.write("ZREMRANGEBYSCORE", shape::count).values(score_bounds(&scores))
    }

    /// Takes a range of members out, as [`Zset::range_by_member`] finds them. How many.
    pub fn remove_by_member<M: AsRef<[u8]>>(&self, members: impl RangeBounds<M>) -> Write<'a, u64> {
        self.0.write("ZREMRANGEBYLEX", shape::count).values(member_bounds(&members))
    }

    /// Takes the member with the lowest score out, and tells that.
    pub fn pop_min(&self) -> Write<'a, Option<(Bytes, f64)>> {
        self.0.write("ZPOPMIN", shape::first_scored)
    }

    /// Takes the member with the highest score out, and tells that.
    pub fn pop_max(&self) -> Write<'a, Option<(Bytes, f64)>> {
        self.0.write("ZPOPMAX", shape::first_scored)
    }

    /// Takes up to `count` members out with their scores, the lowest first.
    pub fn pop_min_many(&self, count: u64) -> Write<'a, Vec<(Bytes, f64)>> {
        self.0.write("ZPOPMIN", shape::scored).number(count)
    }

    /// Takes up to `count` members out with their scores, the highest first.
    pub fn pop_max_many(&self, count: u64) -> Write<'a, Vec<(Bytes, f64)>> {
        self.0.write("ZPOPMAX", shape::scored).number(count)
    }

    /// Takes the member with the lowest score out as soon as there is one, and gives up after `wait`; [`Duration::MAX`] is for ever.
    pub fn wait_pop_min(&self, wait: Duration) -> Waiting<'a, (Bytes, f64)> {
        self.alone().pop_min().wait_for_one(wait)
    }

    /// Takes the member with the highest score out as soon as there is one, and gives up after `wait`; [`Duration::MAX`] is for ever.
    pub fn wait_pop_max(&self, wait: Duration) -> Waiting<'a, (Bytes, f64)> {
        self.alone().pop_max().wait_for_one(wait)
    }

    fn alone(&self) -> Zsets<'a> {
        Zsets { client: self.0.client, keys: vec![self.0.key.clone()] }
    }

    /// How many members there are.
    pub fn len(&self) -> Read<'a, u64> {
        self.0.read("ZCARD", shape::count)
    }

    /// How many members have these scores: `zset.count_by_score(1.0..=5.0)`.
    pub fn count_by_score(&self, scores: impl RangeBounds<f64>) -> Read<'a, u64> {
        self.0.read("ZCOUNT", shape::count).values(score_bounds(&scores))
    }

    /// How many members [`Zset::range_by_member`] finds.
    pub fn count_by_member<M: AsRef<[u8]>>(&self, members: impl RangeBounds<M>) -> Read<'a, u64> {
        self.0.read("ZLEXCOUNT", shape::count).values(member_bounds(&members))
    }

    /// The score of a member.
    pub fn score(&self, member: impl Into<Value>) -> Read<'a, Option<f64>> {
        self.0.read("ZSCORE", shape::score).value(member)
    }

    /// The scores of members, in their order; at least one.
    pub fn scores(&self, members: impl IntoIterator<Item = impl Into<Value>>) -> Read<'a, Vec<Option<f64>>> {
        self.0.read("ZMSCORE", shape::scores).values(members)
    }

    /// How many members stand before this one.
    pub fn rank(&self, member: impl Into<Value>) -> Read<'a, Option<u64>> {
        self.0.read("ZRANK", shape::place).value(member)
    }

    /// How many members stand behind this one.
    pub fn rev_rank(&self, member: impl Into<Value>) -> Read<'a, Option<u64>> {
        self.0.read("ZREVRANK", shape::place).value(member)
    }

    /// Like [`Zset::rank`], with the member's score.
    pub fn rank_with_score(&self, member: impl Into<Value>) -> Read<'a, Option<(u64, f64)>> {
        self.0.read("ZRANK", shape::rank_and_score).value(member).word("WITHSCORE")
    }

    /// Like [`Zset::rev_rank`], with the member's score.
    pub fn rev_rank_with_score(&self, member: impl Into<Value>) -> Read<'a, Option<(u64, f64)>> {
        self.0.read("ZREVRANK", shape::rank_and_score).value(member).word("WITHSCORE")
    }

    /// The members from one rank to another, both included.
    pub fn range(&self, first: i64, last: i64) -> ZsetRange<'a, Bytes> {
        ZsetRange::new(&self.0, None, [first.to_string().into(), last.to_string().into()])
    }

    /// The members with these scores: `zset.range_by_score(1.0..=5.0)`; `..` is all of them.
    pub fn range_by_score(&self, scores: impl RangeBounds<f64>) -> ZsetRange<'a, Bytes> {
        ZsetRange::new(&self.0, Some("BYSCORE"), score_bounds(&scores))
    }

    /// The members from one to another, `zset.range_by_member("a".."c")`. It means something only where all scores are the same.
    pub fn range_by_member<M: AsRef<[u8]>>(&self, members: impl RangeBounds<M>) -> ZsetRange<'a, Bytes> {
        ZsetRange::new(&self.0, Some("BYLEX"), member_bounds(&members))
    }

    /// One of the members, drawn; it stays.
    pub fn random(&self) -> Read<'a, Option<Bytes>> {
        self.0.read("ZRANDMEMBER", shape::value).drawn()
    }

    /// Some of the members, drawn; they stay. Up to `count` different ones. If it is negative, exactly as many as it says without its
    /// sign, and one may come several times.
    pub fn random_many(&self, count: i64) -> Read<'a, Vec<Bytes>> {
        self.0.read("ZRANDMEMBER", shape::values).number(count).drawn()
    }

    /// Like [`Zset::random_many`], with the members' scores.
    pub fn random_with_scores(&self, count: i64) -> Read<'a, Vec<(Bytes, f64)>> {
        self.0.read("ZRANDMEMBER", shape::scored).number(count).word("WITHSCORES").drawn()
    }

    /// The members that are in this set and in all the others, with the sum of their scores unless
    /// [`ZsetCombine::aggregate`] says otherwise.
    pub fn inter(&self, others: impl IntoIterator<Item = impl Into<Key>>) -> ZsetCombine<'a, Bytes> {
        ZsetCombine::new(&self.0, ["ZINTER", "ZINTERSTORE"], self.0.and(others))
    }

    /// The members that are in this set or in any of the others, with the sum of their scores unless
    /// [`ZsetCombine::aggregate`] says otherwise.
    pub fn union(&self, others: impl IntoIterator<Item = impl Into<Key>>) -> ZsetCombine<'a, Bytes> {
        ZsetCombine::new(&self.0, ["ZUNION", "ZUNIONSTORE"], self.0.and(others))
    }

    /// The members that are in this set and in none of the others, with their scores here. It has neither weights nor an aggregate.
    pub fn diff(&self, others: impl IntoIterator<Item = impl Into<Key>>) -> ZsetCombine<'a, Bytes> {
        ZsetCombine::new(&self.0, ["ZDIFF", "ZDIFFSTORE"], self.0.and(others))
    }

    /// How many members this set and all the others have in common. Counting stops at `at_most`, 0 meaning never.
    pub fn inter_len(&self, others: impl IntoIterator<Item = impl Into<Key>>, at_most: u64) -> Read<'a, u64> {
        let operation = Operation::new(Kind::Read, "ZINTERCARD", shape::count).counted_keys(&self.0.and(others));
        self.0.read_of(operation.word("LIMIT").number(at_most))
    }

    /// Walks over the members with their scores: `zset.scan().prefix("user:").stream()`.
    pub fn scan(&self) -> Walk<'a, (Bytes, f64)> {
        Walk::new(&self.0, "ZSCAN", shape::scored)
    }
}

/// The ends of a range of scores, the lower first.
fn score_bounds(scores: &impl RangeBounds<f64>) -> [Value; 2] {
    let word = |bound: Bound<&f64>, open: &'static str| match bound {
        Bound::Included(score) => Value::from(score.to_string()),
        Bound::Excluded(score) => Value::from(format!("({score}")),
        Bound::Unbounded => Value::from(open),
    };
    [word(scores.start_bound(), "-inf"), word(scores.end_bound(), "+inf")]
}

/// The ends of a range of members, the lower first.
fn member_bounds<M: AsRef<[u8]>>(members: &impl RangeBounds<M>) -> [Value; 2] {
    let word = |bound: Bound<&M>, open: &'static str| match bound {
        Bound::Included(member) => Value::from([b"[", member.as_ref()].concat()),
        Bound::Excluded(member) => Value::from([b"(", member.as_ref()].concat()),
        Bound::Unbounded => Value::from(open),
    };
    [word(members.start_bound(), "-"), word(members.end_bound(), "+")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(bounds: [Value; 2]) -> [String; 2] {
        bounds.map(|bound| String::from_utf8(bound.into_bytes().to_vec()).unwrap())
    }

    #[test]
    fn ends_of_ranges_are_written_as_redis_reads_them() {
        assert_eq!(texts(score_bounds(&(1.0..=2.5))), ["1", "2.5"]);
        assert_eq!(texts(score_bounds(&(-0.5..3.0))), ["-0.5", "(3"]);
        assert_eq!(texts(score_bounds(&(Bound::Excluded(1.0), Bound::Unbounded))), ["(1", "+inf"]);
        assert_eq!(texts(score_bounds(&..)), ["-inf", "+inf"]);
        assert_eq!(texts(score_bounds(&(f64::NEG_INFINITY..=f64::INFINITY))), ["-inf", "inf"]);
        assert_eq!(texts(member_bounds(&("a"..="c"))), ["[a", "[c"]);
        assert_eq!(texts(member_bounds(&(.."c"))), ["-", "(c"]);
        assert_eq!(texts(member_bounds::<&str>(&..)), ["-", "+"]);
    }
}
