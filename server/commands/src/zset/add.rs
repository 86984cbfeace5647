//! Giving members scores.

use std::collections::HashMap;

use bytes::Bytes;
use simplekv_collections::score_value;
use simplekv_resp::command::{AddCondition, Score};
use simplekv_types::{Failure, GroupTime, Reply, ValueType};

use crate::elements::{begun, visible_elements};
use crate::{Elements, Keyspace, check_value, int};

/// The score a member gets, if the condition lets it have that one.
fn allowed(condition: AddCondition, known: Option<f64>, score: f64) -> Option<f64> {
    let AddCondition { absent, present, greater, less } = condition;
    let is_allowed = match known {
        None => !present,
        Some(known) => !(absent || greater && score <= known || less && score >= known),
    };
    is_allowed.then_some(score)
}

fn known_score(elements: Option<&Elements>, member: &[u8]) -> Option<f64> {
    Some(elements?.collection.find(member)?.score)
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
    let elements = visible_elements(key, ValueType::Zset, keyspace, now)?;
    let (mut added, mut changed) = (0, Vec::with_capacity(pairs.len()));
    // Of this command's own, for a member may be named twice.
    let mut given: HashMap<&[u8], f64> = HashMap::new();
    for (score, member) in pairs {
        let earlier = given.get(&**member).copied();
        let known = earlier.or_else(|| known_score(elements.as_ref(), member));
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
        begun(key, ValueType::Zset, elements, keyspace);
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
    let elements = visible_elements(key, ValueType::Zset, keyspace, now)?;
    let known = known_score(elements.as_ref(), member);
    if known.is_some() && condition.absent {
        return Ok(Reply::Null);
    }
    let sum = Score::new(known.unwrap_or(0.0) + delta.get());
    let sum = sum.ok_or(Failure::command("ERR resulting score is not a number (NaN)"))?;
    let Some(sum) = allowed(condition, known, sum.get()) else { return Ok(Reply::Null) };
    if known != Some(sum) {
        begun(key, ValueType::Zset, elements, keyspace);
        keyspace.put_element(key, member, &score_value(sum));
    }
    Ok(Reply::Double(sum))
}
