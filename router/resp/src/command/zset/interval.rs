//! Which members of a sorted set are meant.

use bytes::Bytes;
use simplekv_types::Failure;

use super::Score;
use crate::command::to_args::number;
use crate::command::{NOT_AN_INTEGER, Words};
use crate::number::{parse_f64, parse_i64};

/// Members next to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interval {
    /// By their numbers; negative ones count from the end.
    Rank {
        /// The first.
        first: i64,
        /// The last.
        last: i64,
    },
    /// By their scores.
    Score {
        /// The lower end.
        low: ScoreBound,
        /// The higher end.
        high: ScoreBound,
    },
    /// By themselves, which means something if all scores are the same.
    Lex {
        /// The lower end.
        low: MemberBound,
        /// The higher end.
        high: MemberBound,
    },
}

/// An end of an interval of scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScoreBound {
    /// The score.
    pub score: Score,
    /// Whether it is not in the interval itself.
    pub excluded: bool,
}

/// An end of an interval of members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberBound {
    /// Before all members.
    Least,
    /// At a member.
    At {
        /// The member.
        member: Bytes,
        /// Whether it is not in the interval itself.
        excluded: bool,
    },
    /// Behind all members.
    Greatest,
}

/// Members of an interval, in an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The interval.
    pub interval: Interval,
    /// Whether the last of it comes first. Numbers count from the highest score, too.
    pub reverse: bool,
    /// How many of the first are left out; negative: all.
    pub offset: i64,
    /// How many are meant then; negative: all.
    pub count: i64,
}

/// What an interval's ends are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Rank,
    Score,
    Lex,
}

impl Interval {
    /// The interval from one word to another.
    pub(super) fn parse(by: By, low: &Bytes, high: &Bytes) -> Result<Self, Failure> {
        match by {
            By::Rank => {
                let number = |word: &Bytes| parse_i64(word).ok_or(NOT_AN_INTEGER);
                Ok(Self::Rank { first: number(low)?, last: number(high)? })
            }
            By::Score => match (score_bound(low), score_bound(high)) {
                (Some(low), Some(high)) => Ok(Self::Score { low, high }),
                _ => Err(Failure::command("ERR min or max is not a float")),
            },
            By::Lex => match (member_bound(low), member_bound(high)) {
                (Some(low), Some(high)) => Ok(Self::Lex { low, high }),
                _ => Err(Failure::command("ERR min or max not valid string range item")),
            },
        }
    }

    /// The next two words.
    pub(super) fn next(by: By, words: &mut Words<'_>) -> Result<Self, Failure> {
        let (low, high) = (words.word()?, words.word()?);
        Self::parse(by, &low, &high)
    }

    /// The words it is parsed from.
    pub(super) fn words(&self) -> [Bytes; 2] {
        match self {
            Self::Rank { first, last } => [number(*first), number(*last)],
            Self::Score { low, high } => [low, high].map(ScoreBound::word),
            Self::Lex { low, high } => [low, high].map(MemberBound::word),
        }
    }
}

impl ScoreBound {
    fn word(&self) -> Bytes {
        let text = super::words::score_text(self.score);
        Bytes::from(if self.excluded { format!("({text}") } else { text })
    }
}

impl MemberBound {
    fn word(&self) -> Bytes {
        match self {
            Self::Least => Bytes::from_static(b"-"),
            Self::Greatest => Bytes::from_static(b"+"),
            Self::At { member, excluded } => [if *excluded { b"(" } else { b"[" }, &**member].concat().into(),
        }
    }
}

fn score_bound(word: &[u8]) -> Option<ScoreBound> {
    let (text, excluded) = match word {
        [b'(', text @ ..] => (text, true),
        text => (text, false),
    };
    // Redis reads these as C does: spaces before a number are skipped, a zero byte ends it, and nothing at all is zero.
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    let digits = text.trim_ascii_start();
    let number = if text.is_empty() { Some(0.0) } else { parse_f64(digits) };
    Some(ScoreBound { score: Score::new(number?)?, excluded })
}

fn member_bound(word: &Bytes) -> Option<MemberBound> {
    match &**word {
        b"-" => Some(MemberBound::Least),
        b"+" => Some(MemberBound::Greatest),
        [sign @ (b'(' | b'['), ..] => Some(MemberBound::At { member: word.slice(1..), excluded: *sign == b'(' }),
        _ => None,
    }
}
