//! The judgement of a whole history, key by key.

use std::collections::HashMap;

use crate::explain;
use crate::operation::{Operation, Outcome, Policy, Text};
use crate::plan::{Plan, Role};
use crate::search::{Finding, Search};
use crate::verdict::{Kind, Verdict, Violation};
use crate::{count, provenance};

/// Judges histories within a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checker {
    /// Decisions tried per key before it is left undecided. A step takes about as long as a few comparisons for each operation that
    /// overlaps.
    pub steps_per_key: u64,
}

impl Default for Checker {
    fn default() -> Self {
        Self { steps_per_key: 2_000_000 }
    }
}

/// Judges a history with the default budget. Operations may stand in any order.
#[must_use]
pub fn check(history: &[Operation]) -> Verdict {
    Checker::default().check(history)
}

impl Checker {
    /// Judges a history. Operations may stand in any order.
    ///
    /// # Panics
    /// If there are 2³¹ operations or more.
    #[must_use]
    pub fn check(&self, history: &[Operation]) -> Verdict {
        assert!(history.len() < 1 << 31, "{} operations are too many", history.len());
        let mut verdict = Verdict { operations: history.len(), ..Verdict::default() };
        for operation in history {
            verdict.failed += usize::from(operation.outcome == Outcome::Failed);
            verdict.unknown += usize::from(operation.outcome == Outcome::Unknown);
        }
        for places in by_key(history) {
            verdict.keys += 1;
            self.judge(history, &places, &mut verdict);
        }
        verdict
    }

    /// Judges the operations of one key.
    fn judge(&self, history: &[Operation], places: &[u32], verdict: &mut Verdict) {
        let Some(key) = places.first().and_then(|&place| Some(history.get(place as usize)?.key.clone())) else {
            return;
        };
        if let Some(violation) = plainly_wrong(history, places, &key) {
            verdict.violations.push(violation);
            return;
        }
        match self.order(history, places, &mut verdict.steps) {
            Finding::Order(_) => (),
            Finding::Undecided => verdict.undecided.push(key),
            Finding::NoOrder(_) => {
                let is_strict = |&place: &u32| history.get(place as usize).is_some_and(Operation::is_strict);
                let strict: Vec<u32> = places.iter().copied().filter(is_strict).collect();
                let is_weak = strict.len() < places.len()
                    && matches!(self.order(history, &strict, &mut verdict.steps), Finding::Order(_));
                let blamed = if is_weak { places } else { &strict };
                let explanation = explain::smallest(history, blamed, self.steps_per_key);
                let kind = if is_weak { weakest(history, &explanation.places) } else { Kind::Linearizability };
                verdict.violations.push(Violation {
                    kind,
                    key,
                    operations: explanation.places.iter().map(|&place| place as usize).collect(),
                    reason: explanation.reason,
                });
            }
        }
    }

    fn order(&self, history: &[Operation], places: &[u32], steps: &mut u64) -> Finding {
        let told = places.iter().map(|&place| (place, Role::AsTold));
        let Some(plan) = Plan::new(history, told) else { return Finding::Undecided };
        let (finding, took) = Search::new(&plan).run(self.steps_per_key);
        *steps += took;
        finding
    }
}

/// What a look at single answers shows.
fn plainly_wrong(history: &[Operation], places: &[u32], key: &Text) -> Option<Violation> {
    let (kind, shown, reason) = provenance::impossible(history, places)
        .map(|(kind, places)| (kind, places, provenance_reason(kind).to_owned()))
        .or_else(|| count::impossible(history, places))?;
    let reason = format!("{reason}{}", explain::listing(history, &shown));
    Some(Violation { kind, key: key.clone(), operations: shown.iter().map(|&place| place as usize).collect(), reason })
}

fn provenance_reason(kind: Kind) -> &'static str {
    match kind {
        Kind::FromFailedWrite => "a value was seen whose write had failed",
        Kind::FromFuture => "a value was seen before its write began",
        _ => "a value was seen that nobody has written",
    }
}

/// The promise that is broken when strict operations alone are in order: that of the last weaker read.
fn weakest(history: &[Operation], places: &[u32]) -> Kind {
    let reads =
        places.iter().filter_map(|&place| history.get(place as usize)).filter(|operation| !operation.is_strict());
    match reads.max_by_key(|operation| operation.end).map(|operation| operation.policy) {
        Some(Policy::Session) => Kind::Session,
        Some(Policy::Bounded(_)) => Kind::Bounded,
        Some(Policy::Any) => Kind::Uncommitted,
        Some(Policy::Linearizable) | None => Kind::Linearizability,
    }
}

/// Places of the operations of each key, keys in the order of their first operation.
fn by_key(history: &[Operation]) -> Vec<Vec<u32>> {
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut keys: Vec<Vec<u32>> = Vec::new();
    for (place, operation) in (0..).zip(history) {
        let number = *numbers.entry(&operation.key).or_insert(keys.len());
        match keys.get_mut(number) {
            Some(places) => places.push(place),
            None => keys.push(vec![place]),
        }
    }
    keys
}
