//! From what is asked of a sorted set back to words.

use bytes::Bytes;

use super::{AddCondition, Aggregate, Combination, Interval, Score, Selection, ZsetCommand};
use crate::command::SetOperation;
use crate::command::to_args::{number, scan_words, text};
use crate::number::format_double;
use crate::parser::Args;

pub(super) fn score_text(score: Score) -> String {
    format_double(score.get())
}

fn score_word(score: Score) -> Bytes {
    Bytes::from(score_text(score))
}

impl ZsetCommand {
    pub(in crate::command) fn to_args(&self, key: &Bytes) -> Args {
        let of = |name: &'static str, words: &[&Bytes]| named(name, key, words);
        match self {
            Self::Len => of("ZCARD", &[]),
            Self::Score { member } => of("ZSCORE", &[member]),
            Self::MScore { members } => of("ZMSCORE", &members.iter().collect::<Vec<_>>()),
            Self::Rank { member, reverse, with_score } => {
                and(of(if *reverse { "ZREVRANK" } else { "ZRANK" }, &[member]), *with_score, "WITHSCORE")
            }
            Self::Count { interval } => {
                let name = if matches!(interval, Interval::Lex { .. }) { "ZLEXCOUNT" } else { "ZCOUNT" };
                of(name, &interval.words().iter().collect::<Vec<_>>())
            }
            Self::Range { selection, with_scores } => {
                let words = selection.words();
                and(of("ZRANGE", &words.iter().collect::<Vec<_>>()), *with_scores, "WITHSCORES")
            }
            Self::RandMember { count: None, .. } => of("ZRANDMEMBER", &[]),
            Self::RandMember { count: Some(count), with_scores } => {
                and(of("ZRANDMEMBER", &[&number(*count)]), *with_scores, "WITHSCORES")
            }
            Self::Scan(scan) => of("ZSCAN", &scan_words(scan).iter().collect::<Vec<_>>()),
            Self::Combined { more, combination, with_scores } => {
                let name = operation_name(combination.operation, ["ZUNION", "ZINTER", "ZDIFF"]);
                let words = std::iter::once(text(name)).chain(counted(Some(key), more));
                and(words.chain(combination.words()).collect(), *with_scores, "WITHSCORES")
            }
            Self::InterCard { more, limit } => {
                let words = counted(Some(key), more);
                let limit = (*limit > 0).then(|| [text("LIMIT"), number(*limit)]);
                [text("ZINTERCARD")].into_iter().chain(words).chain(limit.into_iter().flatten()).collect()
            }
            write => write.write_to_args(key),
        }
    }

    fn write_to_args(&self, key: &Bytes) -> Args {
        let of = |name: &'static str, words: &[&Bytes]| named(name, key, words);
        match self {
            Self::Add { pairs, condition, counts_changed } => {
                let args = and(condition.after(of("ZADD", &[])), *counts_changed, "CH");
                let pairs = pairs.iter().flat_map(|(score, member)| [score_word(*score), member.clone()]);
                args.into_iter().chain(pairs).collect()
            }
            Self::IncrBy { member, delta, condition } => {
                let args = and(condition.after(of("ZADD", &[])), true, "INCR");
                args.into_iter().chain([score_word(*delta), member.clone()]).collect()
            }
            Self::Rem { members } => of("ZREM", &members.iter().collect::<Vec<_>>()),
            Self::RemRange { interval } => {
                let name = match interval {
                    Interval::Rank { .. } => "ZREMRANGEBYRANK",
                    Interval::Score { .. } => "ZREMRANGEBYSCORE",
                    Interval::Lex { .. } => "ZREMRANGEBYLEX",
                };
                of(name, &interval.words().iter().collect::<Vec<_>>())
            }
            Self::Pop { highest, count } => {
                let args = of(if *highest { "ZPOPMAX" } else { "ZPOPMIN" }, &[]);
                args.into_iter().chain(count.map(number)).collect()
            }
            Self::MPop { more, highest, count } => {
                let words = counted(Some(key), more);
                let end = [text(if *highest { "MAX" } else { "MIN" }), text("COUNT"), number(*count)];
                [text("ZMPOP")].into_iter().chain(words).chain(end).collect()
            }
            Self::RangeStore { from, selection } => {
                let words = from.iter().cloned().chain(selection.words());
                of("ZRANGESTORE", &[]).into_iter().chain(words).collect()
            }
            Self::Store { keys, combination } => {
                let name = operation_name(combination.operation, ["ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE"]);
                of(name, &[]).into_iter().chain(counted(None, keys)).chain(combination.words()).collect()
            }
            _ => Args::new(),
        }
    }
}

fn named(name: &'static str, key: &Bytes, words: &[&Bytes]) -> Args {
    [&text(name), key].into_iter().chain(words.iter().copied()).cloned().collect()
}

fn and(mut args: Args, set: bool, word: &'static str) -> Args {
    args.extend(set.then(|| text(word)));
    args
}

fn operation_name(operation: SetOperation, [union, inter, diff]: [&'static str; 3]) -> &'static str {
    match operation {
        SetOperation::Union => union,
        SetOperation::Inter => inter,
        SetOperation::Diff => diff,
    }
}

/// The number of keys, and the keys.
fn counted<'a>(first: Option<&'a Bytes>, more: &'a [Bytes]) -> impl Iterator<Item = Bytes> + 'a {
    let count = number(more.len() + usize::from(first.is_some()));
    std::iter::once(count).chain(first.cloned()).chain(more.iter().cloned())
}

impl AddCondition {
    fn after(self, args: Args) -> Args {
        let Self { absent, present, greater, less } = self;
        let options = [(absent, "NX"), (present, "XX"), (greater, "GT"), (less, "LT")];
        args.into_iter().chain(options.into_iter().filter(|(set, _)| *set).map(|(_, name)| text(name))).collect()
    }
}

impl Combination {
    fn words(&self) -> Vec<Bytes> {
        let mut words = Vec::new();
        if !self.weights.is_empty() {
            words.push(text("WEIGHTS"));
            words.extend(self.weights.iter().copied().map(score_word));
        }
        match self.aggregate {
            Aggregate::Sum => (),
            Aggregate::Min => words.extend([text("AGGREGATE"), text("MIN")]),
            Aggregate::Max => words.extend([text("AGGREGATE"), text("MAX")]),
        }
        words
    }
}

impl Selection {
    /// Behind the key: ZRANGE's.
    fn words(&self) -> Vec<Bytes> {
        let [low, high] = self.interval.words();
        let swapped = self.reverse && !matches!(self.interval, Interval::Rank { .. });
        let mut words = if swapped { vec![high, low] } else { vec![low, high] };
        words.extend(match self.interval {
            Interval::Rank { .. } => None,
            Interval::Score { .. } => Some(text("BYSCORE")),
            Interval::Lex { .. } => Some(text("BYLEX")),
        });
        words.extend(self.reverse.then(|| text("REV")));
        if (self.offset, self.count) != (0, -1) {
            words.extend([text("LIMIT"), number(self.offset), number(self.count)]);
        }
        words
    }
}
