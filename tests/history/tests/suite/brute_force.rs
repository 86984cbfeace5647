//! The definition, tried out: every order of every choice of the unknown. For histories of a few operations.

use simplekv_history::{Action, Answer, Operation, Outcome, Policy, Text};

/// Whether there is an order that explains every answer, for strict operations on one key.
pub(crate) fn has_order(history: &[Operation]) -> bool {
    let mut left: Vec<Placed<'_>> =
        history.iter().enumerate().filter(|(_, operation)| operation.outcome != Outcome::Failed).collect();
    assert!(left.iter().all(|(_, operation)| operation.policy == Policy::Linearizable));
    goes_on(&mut left, &None)
}

/// An operation with its place in the history.
type Placed<'a> = (usize, &'a Operation);

fn goes_on(left: &mut Vec<Placed<'_>>, value: &Option<Text>) -> bool {
    if left.iter().all(|(_, operation)| operation.outcome == Outcome::Unknown) {
        return true;
    }
    for number in 0..left.len() {
        let operation = left[number];
        let must_wait = left.iter().any(|other| precedes(*other, operation));
        let Some(after) = done(operation.1, value).filter(|_| !must_wait) else { continue };
        left.swap_remove(number);
        let goes_on = goes_on(left, &after);
        left.push(operation);
        let last = left.len() - 1;
        left.swap(number, last);
        if goes_on {
            return true;
        }
    }
    false
}

fn precedes((first_place, first): Placed<'_>, (second_place, second): Placed<'_>) -> bool {
    let is_next = first.client == second.client && first.end == second.start;
    // Two of one client within one instant are in the order in which they stand.
    let is_same = first.start == second.start && first.end == second.end;
    let is_in_turn = is_next && (!is_same || first_place < second_place);
    first.outcome != Outcome::Unknown && (first.end < second.start || is_in_turn)
}

/// What is there afterwards; `None` if the answer cannot be.
fn done(operation: &Operation, value: &Option<Text>) -> Option<Option<Text>> {
    let (answer, after) = run(&operation.action, value)?;
    match &operation.outcome {
        Outcome::Ok(told) => (*told == answer).then_some(after),
        _ => Some(after),
    }
}

/// What the store itself would do.
pub(crate) fn run(action: &Action, value: &Option<Text>) -> Option<(Answer, Option<Text>)> {
    let set_if = |holds: bool, new: &Option<Text>| {
        (Answer::Number(i64::from(holds)), if holds { new.clone() } else { value.clone() })
    };
    Some(match action {
        Action::Get => (Answer::Value(value.clone()), value.clone()),
        Action::Set(new) => (Answer::Done, Some(new.clone())),
        Action::SetIfAbsent(new) => set_if(value.is_none(), &Some(new.clone())),
        Action::SetIfPresent(new) => set_if(value.is_some(), &Some(new.clone())),
        Action::GetSet(new) => (Answer::Value(value.clone()), Some(new.clone())),
        Action::CompareAndSet { expected, value: new } => set_if(value.as_ref() == Some(expected), &Some(new.clone())),
        Action::Delete => set_if(value.is_some(), &None),
        Action::DeleteIf(expected) => set_if(value.as_ref() == Some(expected), &None),
        Action::GetDelete => (Answer::Value(value.clone()), None),
        Action::Increment(by) => {
            let sum = value.as_deref().unwrap_or("0").parse::<i64>().ok()?.checked_add(*by)?;
            (Answer::Number(sum), Some(sum.to_string().into()))
        }
    })
}
