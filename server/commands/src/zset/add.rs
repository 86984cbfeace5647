//! Giving members scores.

use std::collections::HashMap;

use bytes::Bytes;
use simplekv_collections::score_value;
use simplekv_resp::command::{AddCondition, Score};
use simplekv_types::{Failure, GroupTime, Reply, ValueType};

use crate::elements::{begin, element_of, visible_outline};
use crate::{Keyspace, Outline, check_value, int};

/// The score a member gets, if the condition lets it have that one.
fn allowed(condition: AddCondition, known: Option<f64>, score: f64) -> Option<f64> {
    let AddCondition { absent, present, greater, less } = condition;
    let is_allowed = match known {
        None => !present,
        Some(known) => !(absent || greater && score <= known || less && score >= known),
    };
    is_allowed.then_some(score)
}

fn known_score(
    key: &[u8],
    known: Option<Outline>,
    member: &[u8],
    keyspace: &dyn Keyspace,
) -> Result<Option<f64>, Failure> {
    Ok(element_of(key, known, member, keyspace)?.map(|element| element.score))
}

pub(crate) fn add(
    key: &Bytes,
    pairs: &[(Score, Bytes)],
    condition: AddCondition,
    counts_changed: bool,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    for (_, member) in pairs {
        check_value(member, keyspace)?;
    }
    let zset = visible_outline(key, ValueType::Zset, keyspace, now)?;
    let (mut added, mut changed) = (0, Vec::with_capacity(pairs.len()));
    // Of this command's own, for a member may be named twice.
    let mut given: HashMap<&[u8], f64> = HashMap::new();
    for (score, member) in pairs {
        let known = match given.get(&**member) {
            Some(earlier) => Some(*earlier),
            None => known_score(key, zset, member, keyspace)?,
        };
        let Some(score) = allowed(condition, known, score.get()) else { continue };
        added += usize::from(known.is_none());
        if known != Some(score) {
            changed.push((member, score));
            if pairs.len() > 1 {
                given.insert(member, score);
            }
        }
    }
    if !changed.is_empty() {
        begin(key, ValueType::Zset, zset, keyspace);
        for &(member, score) in &changed {
            keyspace.put_element(key, member, &score_value(score));
        }
    }
    Ok(int(if counts_changed { changed.len() } else { added }))
}

pub(super) fn incr_by(
    key: &Bytes,
    member: &Bytes,
    delta: Score,
    condition: AddCondition,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    check_value(member, keyspace)?;
    let zset = visible_outline(key, ValueType::Zset, keyspace, now)?;
    let known = known_score(key, zset, member, keyspace)?;
    if known.is_some() && condition.absent {
        return Ok(Reply::Null);
    }
    let sum = Score::new(known.unwrap_or(0.0) + delta.get());
    let sum = sum.ok_or(Failure::command("ERR resulting score is not a number (NaN)"))?;
    let Some(sum) = allowed(condition, known, sum.get()) else { return Ok(Reply::Null) };
    if known != Some(sum) {
        begin(key, ValueType::Zset, zset, keyspace);
        keyspace.put_element(key, member, &score_value(sum));
    }
    Ok(Reply::Double(sum))
}
