//! Commands on sorted sets.

use std::sync::Arc;

use bytes::Bytes;
use simplekv_collections::{Collection, Element, Scored, score_value};
use simplekv_resp::command::ZsetCommand;
use simplekv_resp::number::format_double;
use simplekv_types::{Failure, GroupTime, Reply, ValueType};

use crate::elements::{self, delete_all, element_of, name_of, take_out, visible_elements, visible_outline};
use crate::{Elements, Keyspace, Outline, View, int, visible_meta};

mod add;
mod combine;
mod range;

pub(crate) use add::add;

/// A member and its score.
pub(crate) type Member = (Arc<[u8]>, f64);

pub(crate) fn read(key: &Bytes, ask: &ZsetCommand, view: &dyn View, now: GroupTime) -> Result<Reply, Failure> {
    match ask {
        ZsetCommand::Combined { more, combination, with_scores } => {
            let members = combine::members(std::iter::once(key).chain(more), combination, view, now)?;
            return Ok(range::told(members, *with_scores));
        }
        ZsetCommand::InterCard { more, limit } => {
            return combine::inter_card(std::iter::once(key).chain(more), *limit, view, now);
        }
        ZsetCommand::Len => {
            return Ok(int(visible_outline(key, ValueType::Zset, view, now)?.map_or(0, |known| known.len)));
        }
        ZsetCommand::Score { member } => {
            let known = visible_outline(key, ValueType::Zset, view, now)?;
            return score_of(key, known, member, view);
        }
        ZsetCommand::MScore { members } => {
            let known = visible_outline(key, ValueType::Zset, view, now)?;
            let scores = members.iter().map(|member| score_of(key, known, member, view));
            return Ok(Reply::Array(scores.collect::<Result<_, Failure>>()?));
        }
        _ => (),
    }
    let elements = visible_elements(key, ValueType::Zset, view, now)?;
    let zset = elements.as_ref().map(|elements| &elements.collection);
    match ask {
        ZsetCommand::Rank { member, reverse, with_score } => Ok(rank(zset, member, *reverse, *with_score)),
        ZsetCommand::Count { interval } => Ok(int(zset.map_or(0, |zset| range::span(zset, interval, false).len()))),
        ZsetCommand::Range { selection, with_scores } => {
            let members = zset.map_or_else(Vec::new, |zset| range::selected(zset, selection));
            Ok(range::told(members, *with_scores))
        }
        ZsetCommand::RandMember { count, with_scores } => random_members(zset, *count, *with_scores, view),
        ZsetCommand::Scan(scan) => elements::scan(elements, scan, |element, found| {
            found.extend([name_of(element), Reply::text(score_text(element.score))]);
            Ok(())
        }),
        _ => Err(Failure::command("ERR a write was sent where only reads are answered")),
    }
}

pub(crate) fn write(
    key: &Bytes,
    ask: &ZsetCommand,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    match ask {
        ZsetCommand::Add { pairs, condition, counts_changed } => {
            add(key, pairs, *condition, *counts_changed, keyspace, now)
        }
        ZsetCommand::IncrBy { member, delta, condition } => {
            add::incr_by(key, member, *delta, *condition, keyspace, now)
        }
        ZsetCommand::Rem { members } => Ok(int(delete_all(key, members, ValueType::Zset, keyspace, now)?)),
        ZsetCommand::RemRange { interval } => {
            let Some(Elements { collection, .. }) = visible_elements(key, ValueType::Zset, keyspace, now)? else {
                return Ok(Reply::Int(0));
            };
            let members = range::within(&collection, range::span(&collection, interval, false), false);
            Ok(int(take(key, collection, members, keyspace).len()))
        }
        ZsetCommand::Pop { highest, count } => pop(key, *highest, *count, keyspace, now),
        ZsetCommand::MPop { more, highest, count } => {
            pop_first(std::iter::once(key).chain(more), *highest, *count, keyspace, now)
        }
        ZsetCommand::RangeStore { from, selection } => {
            let mut members = Vec::new();
            for from in from {
                let found = visible_elements(from, ValueType::Zset, keyspace, now)?;
                members = found.map_or_else(Vec::new, |found| range::selected(&found.collection, selection));
            }
            store(key, &members, keyspace, now)
        }
        ZsetCommand::Store { keys, combination } => {
            let members = combine::members(keys.iter(), combination, keyspace, now)?;
            store(key, &members, keyspace, now)
        }
        _ => read(key, ask, keyspace, now),
    }
}

fn score_of(key: &[u8], known: Option<Outline>, member: &[u8], view: &dyn View) -> Result<Reply, Failure> {
    Ok(element_of(key, known, member, view)?.map_or(Reply::Null, |element| Reply::Double(element.score)))
}

fn rank(zset: Option<&Collection>, member: &[u8], reverse: bool, with_score: bool) -> Reply {
    let found = zset.and_then(|zset| Some((zset, zset.find(member)?.score)));
    let Some((zset, score)) = found else {
        return if with_score { Reply::NullArray } else { Reply::Null };
    };
    let before = zset.rank_of(score, member);
    let rank = int(if reverse { zset.len() - 1 - before } else { before });
    if with_score { Reply::Array(vec![rank, Reply::Double(score)]) } else { rank }
}

fn random_members(
    zset: Option<&Collection>,
    count: Option<i64>,
    with_scores: bool,
    view: &dyn View,
) -> Result<Reply, Failure> {
    let Some(zset) = zset else {
        return Ok(if count.is_some() { Reply::Array(Vec::new()) } else { Reply::Null });
    };
    let drawn = elements::draw(zset.len(), count.unwrap_or(-1), view)?;
    let mut drawn = drawn.into_iter().filter_map(|number| zset.get(number));
    if count.is_none() {
        return Ok(drawn.next().map_or(Reply::Null, name_of));
    }
    let member = |element: &Element| (Arc::clone(&element.name), element.score);
    Ok(range::told(drawn.map(member).collect(), with_scores))
}

/// How ZSCAN tells a score: whole numbers with all their digits.
fn score_text(score: f64) -> String {
    // Both are floats, and all between them have an integer.
    const WHOLE: std::ops::Range<f64> = -9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0;
    if score.fract() == 0.0 && WHOLE.contains(&score) { (score as i64).to_string() } else { format_double(score) }
}

/// Takes members out that are there, and returns them.
fn take(key: &Bytes, zset: Collection, members: Vec<Member>, keyspace: &mut dyn Keyspace) -> Vec<Member> {
    if members.is_empty() {
        return members;
    }
    let len = zset.len();
    // Whoever keeps a clone makes the original copy what it changes.
    drop(zset);
    take_out(key, len, members.iter().map(|(name, _)| &**name), keyspace);
    members
}

/// The members at one end.
fn end(zset: &Collection, highest: bool, count: u64) -> Vec<Member> {
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(zset.len());
    let span = if highest { zset.len() - count..zset.len() } else { 0..count };
    range::within(zset, span, highest)
}

fn pop(
    key: &Bytes,
    highest: bool,
    count: Option<u64>,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    let Some(Elements { collection, .. }) = visible_elements(key, ValueType::Zset, keyspace, now)? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let members = end(&collection, highest, count.unwrap_or(1));
    let members = take(key, collection, members, keyspace);
    if count.is_some() {
        return Ok(range::told(members, true));
    }
    let flat = members.into_iter().flat_map(|(name, score)| [bulk(&name), Reply::Double(score)]);
    Ok(Reply::Array(flat.collect()))
}

fn pop_first<'a>(
    keys: impl Iterator<Item = &'a Bytes>,
    highest: bool,
    count: u64,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    for key in keys {
        let Some(Elements { collection, .. }) = visible_elements(key, ValueType::Zset, keyspace, now)? else {
            continue;
        };
        let members = end(&collection, highest, count);
        let members = take(key, collection, members, keyspace);
        let pair = |(name, score): Member| Reply::Array(vec![bulk(&name), Reply::Double(score)]);
        let members = members.into_iter().map(pair).collect();
        return Ok(Reply::Array(vec![Reply::Bulk(key.clone()), Reply::Array(members)]));
    }
    Ok(Reply::NullArray)
}

/// Makes a key hold these members, whatever it held.
pub(crate) fn store(
    key: &Bytes,
    members: &[Member],
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    let exists = visible_meta(key, keyspace, now)?.is_some();
    match members {
        [] if exists => keyspace.delete(key),
        [] => (),
        members => {
            keyspace.begin(key, ValueType::Zset, None);
            for (name, score) in members {
                keyspace.put_element(key, name, &score_value(*score));
            }
        }
    }
    Ok(int(members.len()))
}

fn bulk(name: &[u8]) -> Reply {
    Reply::Bulk(Bytes::copy_from_slice(name))
}

fn member_of(scored: &Scored) -> Member {
    (Arc::clone(&scored.member), scored.score)
}
