//! The commands on sorted sets.

use bytes::Bytes;

use super::{ElementScan, Keys, SetOperation};
use crate::parser::Args;

mod arguments;
mod interval;
mod words;

pub(crate) use arguments::*;
pub use interval::{Interval, MemberBound, ScoreBound, Selection};

/// A score, or what one is multiplied with. Never NaN, and one zero only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score(f64);

/// What is never NaN is equal to itself.
impl Eq for Score {}

impl Score {
    /// What counts for one.
    pub const ONE: Self = Self(1.0);

    /// `None` if the number is none.
    #[must_use]
    pub fn new(number: f64) -> Option<Self> {
        // The sum turns the negative zero into the other one.
        (!number.is_nan()).then_some(Self(number + 0.0))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// What is asked of a sorted set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZsetCommand {
    /// ZCARD: how many members there are.
    Len,
    /// ZSCORE: the score of a member.
    Score {
        /// The member.
        member: Bytes,
    },
    /// ZMSCORE: the scores of several members.
    MScore {
        /// The members; at least one.
        members: Args,
    },
    /// ZRANK, ZREVRANK: how many members stand before one.
    Rank {
        /// The member.
        member: Bytes,
        /// Whether the highest score is the first.
        reverse: bool,
        /// Whether its score is told, too.
        with_score: bool,
    },
    /// ZCOUNT, ZLEXCOUNT: how many members are in an interval.
    Count {
        /// The interval.
        interval: Interval,
    },
    /// ZRANGE and its older forms: the members of an interval.
    Range {
        /// Which of them.
        selection: Selection,
        /// Whether their scores are told, too.
        with_scores: bool,
    },
    /// ZRANDMEMBER: some of the members.
    RandMember {
        /// How many; negative: and one may come twice. None: one, not in an array.
        count: Option<i64>,
        /// Whether their scores are told, too.
        with_scores: bool,
    },
    /// ZSCAN.
    Scan(ElementScan),
    /// ZUNION, ZINTER, ZDIFF: members of several sets.
    Combined {
        /// The keys behind the first.
        more: Keys,
        /// What is made of them.
        combination: Combination,
        /// Whether their scores are told, too.
        with_scores: bool,
    },
    /// ZINTERCARD: how many members several sets have in common.
    InterCard {
        /// The keys behind the first.
        more: Keys,
        /// Where counting ends; 0 for never.
        limit: u64,
    },
    /// ZADD: gives members scores.
    Add {
        /// Scores and members; at least one pair.
        pairs: Vec<(Score, Bytes)>,
        /// Which of them.
        condition: AddCondition,
        /// CH: whether changed members are counted as well as new ones.
        counts_changed: bool,
    },
    /// ZINCRBY, ZADD INCR: adds to a score.
    IncrBy {
        /// The member.
        member: Bytes,
        /// What is added.
        delta: Score,
        /// Whether it is.
        condition: AddCondition,
    },
    /// ZREM: takes members out.
    Rem {
        /// The members; at least one.
        members: Args,
    },
    /// ZREMRANGEBYRANK, ZREMRANGEBYSCORE, ZREMRANGEBYLEX: takes the members of an interval out.
    RemRange {
        /// The interval.
        interval: Interval,
    },
    /// ZPOPMIN, ZPOPMAX: takes members from one end out.
    Pop {
        /// Whether those with the highest scores.
        highest: bool,
        /// How many; `None` for one, which is then not in an array of its own.
        count: Option<u64>,
    },
    /// ZMPOP: takes members out of the first set that has any.
    MPop {
        /// The keys behind the first.
        more: Keys,
        /// Whether those with the highest scores.
        highest: bool,
        /// How many. At least 1.
        count: u64,
    },
    /// ZRANGESTORE: stores members of another set.
    RangeStore {
        /// The other set; one key.
        from: Keys,
        /// Which of its members.
        selection: Selection,
    },
    /// ZUNIONSTORE, ZINTERSTORE, ZDIFFSTORE: stores members of several sets.
    Store {
        /// The sets; at least one.
        keys: Keys,
        /// What is made of them.
        combination: Combination,
    },
}

/// Which members get a score. None of the fields: all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddCondition {
    /// NX: only new ones.
    pub absent: bool,
    /// XX: none but those that are there.
    pub present: bool,
    /// GT: of those that are there, only those whose score grows.
    pub greater: bool,
    /// LT: of those that are there, only those whose score falls.
    pub less: bool,
}

/// What several sets are made into one by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Combination {
    /// Which members.
    pub operation: SetOperation,
    /// What each set's scores are multiplied with, in the order of the sets. Empty: nothing.
    pub weights: Vec<Score>,
    /// What becomes of the scores of a member that several of them have.
    pub aggregate: Aggregate,
}

/// What becomes of several scores.
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

impl ZsetCommand {
    /// The keys behind the first.
    pub(super) fn more_keys(&self) -> &[Bytes] {
        match self {
            Self::Combined { more: keys, .. }
            | Self::InterCard { more: keys, .. }
            | Self::MPop { more: keys, .. }
            | Self::RangeStore { from: keys, .. }
            | Self::Store { keys, .. } => keys,
            _ => &[],
        }
    }

    /// Whether it may change data.
    pub(super) fn is_write(&self) -> bool {
        match self {
            Self::Add { .. }
            | Self::IncrBy { .. }
            | Self::Rem { .. }
            | Self::RemRange { .. }
            | Self::Pop { .. }
            | Self::MPop { .. }
            | Self::RangeStore { .. }
            | Self::Store { .. } => true,
            Self::Len
            | Self::Score { .. }
            | Self::MScore { .. }
            | Self::Rank { .. }
            | Self::Count { .. }
            | Self::Range { .. }
            | Self::RandMember { .. }
            | Self::Scan(_)
            | Self::Combined { .. }
            | Self::InterCard { .. } => false,
        }
    }
}
