//! One sorted set made of several.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use simplekv_collections::{Collection, Element};
use simplekv_resp::command::{Aggregate, Combination, SetOperation};
use simplekv_types::{Failure, GroupTime, Reply, ValueType};

use super::Member;
use crate::elements::{visible_of, walk};
use crate::{View, int};

/// A set, and what its scores are multiplied with.
struct Source {
    /// `None`: there is no such key.
    members: Option<Collection>,
    weight: f64,
}

impl Source {
    fn len(&self) -> usize {
        self.members.as_ref().map_or(0, Collection::len)
    }

    /// What an element counts for; members of a plain set count for one. Infinitely much of nothing is no number.
    fn score(&self, element: &Element) -> f64 {
        let is_scored = self.members.as_ref().is_some_and(|members| members.kind() == ValueType::Zset);
        self.weight * if is_scored { element.score } else { 1.0 }
    }

    fn find(&self, name: &[u8]) -> Option<&Element> {
        self.members.as_ref()?.find(name)
    }

    fn each(&self, mut show: impl FnMut(&Element)) -> Result<(), Failure> {
        self.members.as_ref().map_or(Ok(()), |members| {
            walk(members, 0, |element| {
                show(element);
                Ok(())
            })
        })
    }
}

fn number_or_zero(number: f64) -> f64 {
    if number.is_nan() { 0.0 } else { number }
}

fn aggregated(aggregate: Aggregate, one: f64, other: f64) -> f64 {
    match aggregate {
        Aggregate::Sum => number_or_zero(one + other),
        Aggregate::Min => one.min(other),
        Aggregate::Max => one.max(other),
    }
}

fn sources<'a>(
    keys: impl Iterator<Item = &'a Bytes>,
    weights: &[f64],
    view: &dyn View,
    now: GroupTime,
) -> Result<Vec<Source>, Failure> {
    let weights = weights.iter().copied().chain(std::iter::repeat(1.0));
    let source = |(key, weight): (&Bytes, f64)| {
        let elements = visible_of(key, &[ValueType::Zset, ValueType::Set], view, now)?;
        Ok(Source { members: elements.map(|elements| elements.collection), weight })
    };
    keys.zip(weights).map(source).collect()
}

/// The members of the combined set, in the order of their scores.
pub(super) fn members<'a>(
    keys: impl Iterator<Item = &'a Bytes>,
    combination: &Combination,
    view: &dyn View,
    now: GroupTime,
) -> Result<Vec<Member>, Failure> {
    let Combination { operation, weights, aggregate } = combination;
    let weights: Vec<f64> = weights.iter().map(|weight| weight.get()).collect();
    let mut sources = sources(keys, &weights, view, now)?;
    // Sums of floats depend on the order in which they are made: Redis begins with the smallest set.
    if *operation != SetOperation::Diff {
        sources.sort_by_key(Source::len);
    }
    let mut members = match operation {
        SetOperation::Union => union(&sources, *aggregate)?,
        SetOperation::Inter => inter(&sources, *aggregate)?,
        SetOperation::Diff => diff(&sources)?,
    };
    for (_, score) in &mut members {
        // One zero only.
        *score += 0.0;
    }
    members.sort_unstable_by(|(name, score), (other_name, other)| {
        score.total_cmp(other).then_with(|| name.cmp(other_name))
    });
    Ok(members)
}

fn union(sources: &[Source], aggregate: Aggregate) -> Result<Vec<Member>, Failure> {
    let mut scores: HashMap<Arc<[u8]>, f64> = HashMap::new();
    for source in sources {
        source.each(|element| {
            let score = number_or_zero(source.score(element));
            scores
                .entry(Arc::clone(&element.name))
                .and_modify(|known| *known = aggregated(aggregate, *known, score))
                .or_insert(score);
        })?;
    }
    Ok(scores.into_iter().collect())
}

fn inter(sources: &[Source], aggregate: Aggregate) -> Result<Vec<Member>, Failure> {
    let Some((smallest, others)) = sources.split_first() else { return Ok(Vec::new()) };
    let mut members = Vec::new();
    smallest.each(|element| {
        let mut score = number_or_zero(smallest.score(element));
        for other in others {
            let Some(found) = other.find(&element.name) else { return };
            // No number makes a sum zero here, and leaves it alone in a union: that is how Redis does it.
            score = aggregated(aggregate, score, other.score(found));
        }
        members.push((Arc::clone(&element.name), score));
    })?;
    Ok(members)
}

fn diff(sources: &[Source]) -> Result<Vec<Member>, Failure> {
    let Some((first, others)) = sources.split_first() else { return Ok(Vec::new()) };
    let mut members = Vec::new();
    first.each(|element| {
        if !others.iter().any(|other| other.find(&element.name).is_some()) {
            members.push((Arc::clone(&element.name), number_or_zero(first.score(element))));
        }
    })?;
    Ok(members)
}

/// How many members all sets have; `limit` is enough, zero is none.
pub(super) fn inter_card<'a>(
    keys: impl Iterator<Item = &'a Bytes>,
    limit: u64,
    view: &dyn View,
    now: GroupTime,
) -> Result<Reply, Failure> {
    let mut sources = sources(keys, &[], view, now)?;
    sources.sort_by_key(Source::len);
    let Some((smallest, others)) = sources.split_first() else { return Ok(Reply::Int(0)) };
    let limit = if limit == 0 { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) };
    let mut count = 0;
    if let Some(members) = &smallest.members {
        members.walk(0, |element| {
            count += usize::from(others.iter().all(|other| other.find(&element.name).is_some()));
            if count < limit { std::ops::ControlFlow::Continue(()) } else { std::ops::ControlFlow::Break(()) }
        });
    }
    Ok(int(count))
}
