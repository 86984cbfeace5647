//! Counters: every acknowledged increment counts once, every other at most once.
//!
//! For keys that are only ever incremented, by positive numbers, and read. The search would find the same; this finds it in a history of
//! any length, and says what it is.

use std::collections::HashMap;

use crate::operation::{Action, Answer, Operation, Outcome};
use crate::verdict::Kind;

/// A number that an operation answered.
struct Seen<'a> {
    place: u32,
    operation: &'a Operation,
    number: i64,
}

/// Increments by the moment from or by which they count.
#[derive(Default)]
struct Sums(Vec<(u64, i64)>);

/// The first answer of a counter that cannot be: what is wrong, the places that show it, and the sums.
pub(crate) fn impossible(history: &[Operation], places: &[u32]) -> Option<(Kind, Vec<u32>, String)> {
    let operations = || places.iter().filter_map(|&place| Some((place, history.get(place as usize)?)));
    let is_counter = |operation: &Operation| match operation.action {
        Action::Increment(by) => by > 0,
        Action::Get => true,
        _ => operation.outcome == Outcome::Failed,
    };
    if !operations().all(|(_, operation)| is_counter(operation)) {
        return None;
    }
    let (mut begun, mut acknowledged, mut seen) = (Sums::default(), Sums::default(), Vec::new());
    let mut answered: HashMap<i64, u32> = HashMap::new();
    for (place, operation) in operations().filter(|(_, operation)| operation.outcome != Outcome::Failed) {
        if let Action::Increment(by) = operation.action {
            begun.0.push((operation.start, by));
            if let Outcome::Ok(Answer::Number(number)) = operation.outcome {
                acknowledged.0.push((operation.end, by));
                if let Some(other) = answered.insert(number, place) {
                    let reason = format!("two increments made it {number}");
                    return Some((Kind::Uncounted, vec![other, place], reason));
                }
            }
        }
        seen.extend(number(operation).map(|number| Seen { place, operation, number }));
    }
    if answered.is_empty() && begun.0.is_empty() {
        return None;
    }
    begun.sum_up();
    acknowledged.sum_up();
    seen.iter().find_map(|seen| wrong(seen, &begun, &acknowledged))
}

fn number(operation: &Operation) -> Option<i64> {
    match &operation.outcome {
        Outcome::Ok(Answer::Number(number)) => Some(*number),
        Outcome::Ok(Answer::Value(None)) => Some(0),
        Outcome::Ok(Answer::Value(Some(text))) => text.parse().ok(),
        _ => None,
    }
}

fn wrong(seen: &Seen<'_>, begun: &Sums, acknowledged: &Sums) -> Option<(Kind, Vec<u32>, String)> {
    let Seen { place, operation, number } = *seen;
    let most = begun.until(operation.end);
    if number > most {
        let reason = format!("{number} was answered when increments of at most {most} had begun");
        return Some((Kind::CountedTwice, vec![place], reason));
    }
    let own = match operation.action {
        Action::Increment(by) => by,
        _ => 0,
    };
    let least = operation.start.checked_sub(1).map_or(0, |before| acknowledged.until(before)) + own;
    let is_current = operation.is_strict();
    (is_current && number < least).then(|| {
        let reason = format!("{number} was answered when increments of at least {least} had been acknowledged");
        (Kind::Uncounted, vec![place], reason)
    })
}

impl Sums {
    fn sum_up(&mut self) {
        self.0.sort_unstable();
        let mut sum = 0_i64;
        for (_, by) in &mut self.0 {
            sum = sum.saturating_add(*by);
            *by = sum;
        }
    }

    /// The sum of those up to and with this moment.
    fn until(&self, moment: u64) -> i64 {
        let count = self.0.partition_point(|(at, _)| *at <= moment);
        count.checked_sub(1).and_then(|last| self.0.get(last)).map_or(0, |(_, sum)| *sum)
    }
}
