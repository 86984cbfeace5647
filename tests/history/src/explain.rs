//! Why there is no order: as few operations as show it.
//!
//! An operation is taken out by pretending not to know what became of it. That only ever makes orders possible, so if there is still
//! none, the operation had nothing to do with it; leaving it out altogether might blame a read of what it wrote.

use std::fmt::Write as _;

use crate::operation::{Action, Answer, Operation, Outcome, Text};
use crate::plan::{Plan, Role};
use crate::search::{Finding, Search};

/// How many operations are doubted together; a few at a time, and then one by one.
const TOGETHER: [usize; 4] = [64, 16, 4, 1];
/// Looks at most: beyond, an explanation is long, but comes.
const LOOKS_MAX: usize = 1000;
/// Steps for each look, at most.
const STEPS_MAX: u64 = 50_000;

/// The operations that cannot be put in order.
pub(crate) struct Explanation {
    /// By their start.
    pub(crate) places: Vec<u32>,
    pub(crate) reason: String,
}

/// Operations of one key that have no order, with those that can be doubted doubted.
struct Doubting<'a> {
    history: &'a [Operation],
    places: Vec<(u32, Role)>,
    steps_max: u64,
}

/// The smallest part of the operations of one key that has no order.
pub(crate) fn smallest(history: &[Operation], places: &[u32], steps_max: u64) -> Explanation {
    let told = places.iter().map(|&place| (place, Role::AsTold)).collect();
    let mut doubting = Doubting { history, places: told, steps_max: steps_max.min(STEPS_MAX) };
    doubting.forget_what_came_later();
    doubting.forget_what_came_before();
    doubting.forget_a_few_at_a_time();
    doubting.explanation()
}

/// The operations, one a line, by their start.
pub(crate) fn listing(history: &[Operation], places: &[u32]) -> String {
    let mut lines = String::new();
    for place in by_start(history, places.iter().copied()) {
        if let Some(operation) = history.get(place as usize) {
            // Writing to a string cannot fail.
            let _ = write!(lines, "\n  #{place} {operation}");
        }
    }
    lines
}

impl Doubting<'_> {
    fn find(&self) -> Finding {
        let Some(plan) = Plan::new(self.history, self.places.iter().copied()) else { return Finding::Undecided };
        Search::new(&plan).run(self.steps_max).0
    }

    /// Doubts these as well if there is still no order.
    fn doubt(&mut self, doubted: impl Fn(u32, &Operation) -> bool) -> bool {
        let before = self.places.clone();
        for (place, role) in &mut self.places {
            if self.history.get(*place as usize).is_some_and(|operation| doubted(*place, operation)) {
                *role = Role::Doubted;
            }
        }
        let is_still_wrong = matches!(self.find(), Finding::NoOrder(_));
        if !is_still_wrong {
            self.places = before;
        }
        is_still_wrong
    }

    fn ends(&self) -> Vec<u64> {
        let mut ends: Vec<u64> = self.told().map(|(_, operation)| operation.end).collect();
        ends.sort_unstable();
        ends.dedup();
        ends
    }

    /// What is not doubted yet.
    fn told(&self) -> impl Iterator<Item = (u32, &Operation)> {
        let told = self.places.iter().filter(|(_, role)| *role == Role::AsTold);
        told.filter_map(|&(place, _)| Some((place, self.history.get(place as usize)?)))
            .filter(|(_, operation)| matches!(operation.outcome, Outcome::Ok(_)))
    }

    /// Finds the first answer with which there is no order any more, and doubts all that came later.
    fn forget_what_came_later(&mut self) {
        let ends = self.ends();
        // Too few answers are right, all of them are wrong.
        let (mut right, mut wrong) = (0, ends.len());
        while right + 1 < wrong {
            let middle = right.midpoint(wrong);
            let Some(&last) = ends.get(middle - 1) else { return };
            if self.doubt(|_, operation| operation.end > last) { wrong = middle } else { right = middle }
        }
    }

    /// Doubts as much of the beginning as is not needed.
    fn forget_what_came_before(&mut self) {
        let ends = self.ends();
        let (mut needless, mut needed) = (0, ends.len());
        while needless + 1 < needed {
            let middle = needless.midpoint(needed);
            let Some(&first) = ends.get(middle) else { return };
            if self.doubt(|_, operation| operation.end < first) { needless = middle } else { needed = middle }
        }
    }

    fn forget_a_few_at_a_time(&mut self) {
        let mut looks = 0;
        for together in TOGETHER {
            let told: Vec<u32> = self.told().map(|(place, _)| place).collect();
            for some in told.chunks(together).take(LOOKS_MAX - looks) {
                looks += 1;
                self.doubt(|place, _| some.contains(&place));
            }
        }
    }

    fn explanation(&self) -> Explanation {
        let beginning = match self.find() {
            Finding::NoOrder(beginning) => beginning,
            Finding::Order(_) | Finding::Undecided => Vec::new(),
        };
        let places: Vec<u32> = by_start(self.history, self.told().map(|(place, _)| place));
        let mut reason = format!("no order of these explains every answer:{}", listing(self.history, &places));
        let context = self.context(&places);
        if !context.is_empty() {
            let _ = write!(reason, "\n  whatever became of:{}", listing(self.history, &context));
        }
        let value = beginning.iter().filter_map(|&place| self.history.get(place as usize)).fold(None, after);
        let left: Vec<String> =
            places.iter().filter(|place| !beginning.contains(place)).map(|p| format!("#{p}")).collect();
        let order: Vec<String> = beginning.iter().map(|place| format!("#{place}")).collect();
        let order = if order.is_empty() { "nothing".to_owned() } else { order.join(", ") };
        let value = Answer::Value(value);
        let _ =
            write!(reason, "\n  at best: after {order} the value is {value}, and {} cannot follow", left.join(", "));
        Explanation { places, reason }
    }

    /// Writes of what was seen, of which the explanation does not need to know more.
    fn context(&self, shown: &[u32]) -> Vec<u32> {
        let seen: Vec<&Text> = shown.iter().filter_map(|&place| self.history.get(place as usize)?.seen()).collect();
        let writes_it = |place: &u32| {
            let operation = self.history.get(*place as usize);
            operation.is_some_and(|operation| {
                operation.outcome != Outcome::Failed && operation.written().is_some_and(|value| seen.contains(&value))
            })
        };
        let others = self.places.iter().map(|(place, _)| *place).filter(|place| !shown.contains(place));
        others.filter(writes_it).collect()
    }
}

fn by_start(history: &[Operation], places: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut places: Vec<u32> = places.collect();
    places.sort_by_key(|&place| history.get(place as usize).map(|operation| (operation.start, operation.end)));
    places
}

/// What is there after the operation, if it was done.
fn after(value: Option<Text>, operation: &Operation) -> Option<Text> {
    match (&operation.action, &operation.outcome) {
        (_, Outcome::Ok(Answer::Number(0))) if !matches!(operation.action, Action::Increment(_)) => value,
        (Action::Get, _) => value,
        (Action::Delete | Action::DeleteIf(_) | Action::GetDelete, _) => None,
        (Action::Increment(_), Outcome::Ok(Answer::Number(sum))) => Some(sum.to_string().into()),
        (Action::Increment(by), _) => {
            let number: i64 = value.as_deref().unwrap_or("0").parse().ok()?;
            Some(number.saturating_add(*by).to_string().into())
        }
        _ => operation.written().cloned(),
    }
}
