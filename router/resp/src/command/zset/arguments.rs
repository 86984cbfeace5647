//! Arguments of the commands on sorted sets.

use bytes::Bytes;
use simplekv_types::Failure;

use super::interval::By;
use super::{AddCondition, Aggregate, Combination, Interval, Score, Selection, ZsetCommand};
use crate::command::generic::{draws_of, element_scan};
use crate::command::{Body, Command, Keys, SYNTAX, SetOperation, Words};
use crate::number::{parse_i64, parse_score};

type Parsed = Result<Body, Failure>;

const NOT_A_FLOAT: Failure = Failure::command("ERR value is not a valid float");

fn ask(key: Bytes, ask: ZsetCommand) -> Parsed {
    Ok(Body::Data(Command::Zset { key, ask }))
}

fn score(word: &[u8]) -> Result<Score, Failure> {
    parse_score(word).and_then(Score::new).ok_or(NOT_A_FLOAT)
}

pub(crate) fn zcard(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, ZsetCommand::Len)
}

pub(crate) fn zscore(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, ZsetCommand::Score { member: words.word()? })
}

pub(crate) fn zmscore(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, ZsetCommand::MScore { members: words.rest() })
}

fn rank(words: &mut Words<'_>, reverse: bool) -> Parsed {
    let (key, member) = (words.word()?, words.word()?);
    let with_score = match words.option() {
        None => false,
        Some(option) if option.eq_ignore_ascii_case(b"withscore") && words.len() == 0 => true,
        Some(_) => return Err(SYNTAX),
    };
    ask(key, ZsetCommand::Rank { member, reverse, with_score })
}

pub(crate) fn zrank(words: &mut Words<'_>) -> Parsed {
    rank(words, false)
}

pub(crate) fn zrevrank(words: &mut Words<'_>) -> Parsed {
    rank(words, true)
}

pub(crate) fn zcount(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, ZsetCommand::Count { interval: Interval::next(By::Score, words)? })
}

pub(crate) fn zlexcount(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, ZsetCommand::Count { interval: Interval::next(By::Lex, words)? })
}

/// What is fixed by the name of a command that reads a range, if anything is.
#[derive(Clone, Copy, Default)]
struct Form {
    by: Option<By>,
    reverse: Option<bool>,
    /// Whether what is found is stored, which is never told with scores.
    stores: bool,
}

fn selection(words: &mut Words<'_>, form: Form) -> Result<(Selection, bool), Failure> {
    let (mut low, mut high) = (words.word()?, words.word()?);
    let (mut by, mut reverse, mut with_scores, mut offset, mut count) = (form.by, form.reverse, false, 0, -1);
    while let Some(option) = words.option() {
        match option.to_ascii_lowercase().as_slice() {
            b"withscores" if !form.stores => with_scores = true,
            b"limit" if words.len() >= 2 => (offset, count) = (words.integer()?, words.integer()?),
            b"rev" if reverse.is_none() => reverse = Some(true),
            b"byscore" if by.is_none() => by = Some(By::Score),
            b"bylex" if by.is_none() => by = Some(By::Lex),
            _ => return Err(SYNTAX),
        }
    }
    let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
    if count != -1 && by == By::Rank {
        return Err(Failure::command(
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ));
    }
    if with_scores && by == By::Lex {
        return Err(Failure::command("ERR syntax error, WITHSCORES not supported in combination with BYLEX"));
    }
    if reverse && by != By::Rank {
        std::mem::swap(&mut low, &mut high);
    }
    if by == By::Rank {
        (offset, count) = (0, -1);
    }
    let interval = Interval::parse(by, &low, &high)?;
    Ok((Selection { interval, reverse, offset, count }, with_scores))
}

fn range(words: &mut Words<'_>, form: Form) -> Parsed {
    let key = words.word()?;
    let (selection, with_scores) = selection(words, form)?;
    ask(key, ZsetCommand::Range { selection, with_scores })
}

pub(crate) fn zrange(words: &mut Words<'_>) -> Parsed {
    range(words, Form::default())
}

pub(crate) fn zrevrange(words: &mut Words<'_>) -> Parsed {
    range(words, Form { by: Some(By::Rank), reverse: Some(true), stores: false })
}

pub(crate) fn zrangebyscore(words: &mut Words<'_>) -> Parsed {
    range(words, Form { by: Some(By::Score), reverse: Some(false), stores: false })
}

pub(crate) fn zrevrangebyscore(words: &mut Words<'_>) -> Parsed {
    range(words, Form { by: Some(By::Score), reverse: Some(true), stores: false })
}

pub(crate) fn zrangebylex(words: &mut Words<'_>) -> Parsed {
    range(words, Form { by: Some(By::Lex), reverse: Some(false), stores: false })
}

pub(crate) fn zrevrangebylex(words: &mut Words<'_>) -> Parsed {
    range(words, Form { by: Some(By::Lex), reverse: Some(true), stores: false })
}

pub(crate) fn zrangestore(words: &mut Words<'_>) -> Parsed {
    let (to, from) = (words.word()?, words.word()?);
    let (selection, _) = selection(words, Form { stores: true, ..Form::default() })?;
    ask(to, ZsetCommand::RangeStore { from: [from].into_iter().collect(), selection })
}

pub(crate) fn zrandmember(words: &mut Words<'_>) -> Parsed {
    let key = words.word()?;
    let (count, with_scores) = draws_of(words, b"withscores")?;
    ask(key, ZsetCommand::RandMember { count, with_scores })
}

pub(crate) fn zscan(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, ZsetCommand::Scan(element_scan(words)?))
}

pub(crate) fn zadd(words: &mut Words<'_>) -> Parsed {
    let key = words.word()?;
    let (mut condition, mut counts_changed, mut adds) = (AddCondition::default(), false, false);
    let mut next = words.option();
    while let Some(option) = &next {
        match option.to_ascii_lowercase().as_slice() {
            b"nx" => condition.absent = true,
            b"xx" => condition.present = true,
            b"gt" => condition.greater = true,
            b"lt" => condition.less = true,
            b"ch" => counts_changed = true,
            b"incr" => adds = true,
            _ => break,
        }
        next = words.option();
    }
    let mut rest: Vec<Bytes> = next.into_iter().chain(words.rest()).collect();
    if rest.is_empty() || !rest.len().is_multiple_of(2) {
        return Err(SYNTAX);
    }
    check_add(condition)?;
    if adds && rest.len() > 2 {
        return Err(Failure::command("ERR INCR option supports a single increment-element pair"));
    }
    let mut pairs = Vec::with_capacity(rest.len() / 2);
    for pair in rest.chunks_exact_mut(2) {
        if let [number, member] = pair {
            pairs.push((score(number)?, std::mem::take(member)));
        }
    }
    match pairs.pop() {
        Some((delta, member)) if adds => ask(key, ZsetCommand::IncrBy { member, delta, condition }),
        last => {
            pairs.extend(last);
            ask(key, ZsetCommand::Add { pairs, condition, counts_changed })
        }
    }
}

fn check_add(condition: AddCondition) -> Result<(), Failure> {
    let AddCondition { absent, present, greater, less } = condition;
    if absent && present {
        return Err(Failure::command("ERR XX and NX options at the same time are not compatible"));
    }
    if absent && (greater || less) || greater && less {
        return Err(Failure::command("ERR GT, LT, and/or NX options at the same time are not compatible"));
    }
    Ok(())
}

pub(crate) fn zincrby(words: &mut Words<'_>) -> Parsed {
    let (key, delta) = (words.word()?, score(&words.word()?)?);
    ask(key, ZsetCommand::IncrBy { member: words.word()?, delta, condition: AddCondition::default() })
}

pub(crate) fn zrem(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, ZsetCommand::Rem { members: words.rest() })
}

pub(crate) fn zremrangebyrank(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, ZsetCommand::RemRange { interval: Interval::next(By::Rank, words)? })
}

pub(crate) fn zremrangebyscore(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, ZsetCommand::RemRange { interval: Interval::next(By::Score, words)? })
}

pub(crate) fn zremrangebylex(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, ZsetCommand::RemRange { interval: Interval::next(By::Lex, words)? })
}

fn pop(words: &mut Words<'_>, highest: bool) -> Parsed {
    let key = words.word()?;
    let count = match words.option() {
        _ if words.len() > 0 => return Err(SYNTAX),
        None => None,
        Some(count) => {
            let count = parse_i64(&count).and_then(|count| u64::try_from(count).ok());
            Some(count.ok_or(Failure::command("ERR value is out of range, must be positive"))?)
        }
    };
    ask(key, ZsetCommand::Pop { highest, count })
}

pub(crate) fn zpopmin(words: &mut Words<'_>) -> Parsed {
    pop(words, false)
}

pub(crate) fn zpopmax(words: &mut Words<'_>) -> Parsed {
    pop(words, true)
}

pub(crate) fn zmpop(words: &mut Words<'_>) -> Parsed {
    let (key, more) = words.counted_keys()?;
    let highest = match words.word()?.to_ascii_lowercase().as_slice() {
        b"min" => false,
        b"max" => true,
        _ => return Err(SYNTAX),
    };
    ask(key, ZsetCommand::MPop { more, highest, count: words.pop_count()? })
}

/// The keys of a union and its like, behind their number.
fn sources(words: &mut Words<'_>) -> Result<Keys, Failure> {
    let name = words.spec.name;
    let count = words.integer()?;
    if count < 1 {
        return Err(Failure::Command(format!("ERR at least 1 input key is needed for '{name}' command").into()));
    }
    words.take(count).ok_or(SYNTAX)
}

fn combination(
    words: &mut Words<'_>,
    operation: SetOperation,
    sources: usize,
    stores: bool,
) -> Result<(Combination, bool), Failure> {
    let mut combination = Combination { operation, weights: Vec::new(), aggregate: Aggregate::default() };
    let (weighs, mut with_scores) = (operation != SetOperation::Diff, false);
    while let Some(option) = words.option() {
        match option.to_ascii_lowercase().as_slice() {
            b"weights" if weighs && words.len() >= sources => {
                let weight = |word: Bytes| {
                    let weight = parse_score(&word).and_then(Score::new);
                    weight.ok_or(Failure::command("ERR weight value is not a float"))
                };
                combination.weights = (0..sources).map(|_| weight(words.word()?)).collect::<Result<_, _>>()?;
            }
            b"aggregate" if weighs && words.len() >= 1 => {
                combination.aggregate = match words.word()?.to_ascii_lowercase().as_slice() {
                    b"sum" => Aggregate::Sum,
                    b"min" => Aggregate::Min,
                    b"max" => Aggregate::Max,
                    _ => return Err(SYNTAX),
                };
            }
            b"withscores" if !stores => with_scores = true,
            _ => return Err(SYNTAX),
        }
    }
    Ok((combination, with_scores))
}

fn combined(words: &mut Words<'_>, operation: SetOperation) -> Parsed {
    let mut keys = sources(words)?;
    let (combination, with_scores) = combination(words, operation, keys.len(), false)?;
    let key = keys.remove(0);
    ask(key, ZsetCommand::Combined { more: keys, combination, with_scores })
}

pub(crate) fn zunion(words: &mut Words<'_>) -> Parsed {
    combined(words, SetOperation::Union)
}

pub(crate) fn zinter(words: &mut Words<'_>) -> Parsed {
    combined(words, SetOperation::Inter)
}

pub(crate) fn zdiff(words: &mut Words<'_>) -> Parsed {
    combined(words, SetOperation::Diff)
}

fn store(words: &mut Words<'_>, operation: SetOperation) -> Parsed {
    let (to, keys) = (words.word()?, sources(words)?);
    let (combination, _) = combination(words, operation, keys.len(), true)?;
    ask(to, ZsetCommand::Store { keys, combination })
}

pub(crate) fn zunionstore(words: &mut Words<'_>) -> Parsed {
    store(words, SetOperation::Union)
}

pub(crate) fn zinterstore(words: &mut Words<'_>) -> Parsed {
    store(words, SetOperation::Inter)
}

pub(crate) fn zdiffstore(words: &mut Words<'_>) -> Parsed {
    store(words, SetOperation::Diff)
}

pub(crate) fn zintercard(words: &mut Words<'_>) -> Parsed {
    let mut more = sources(words)?;
    let key = more.remove(0);
    let mut limit = 0;
    while let Some(option) = words.option() {
        if !option.eq_ignore_ascii_case(b"limit") || words.len() == 0 {
            return Err(SYNTAX);
        }
        let number = parse_i64(&words.word()?).and_then(|limit| u64::try_from(limit).ok());
        limit = number.ok_or(Failure::command("ERR LIMIT can't be negative"))?;
    }
    ask(key, ZsetCommand::InterCard { more, limit })
}
