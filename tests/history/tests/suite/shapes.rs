//! Histories that are hard to search, and what is said about those that are wrong.

use simplekv_history::{Action, Answer, Checker, Kind, Operation, Policy, check};

fn set(client: u32, value: impl ToString, start: u64, end: u64) -> Operation {
    Operation::new(client, "k", Action::Set(value.to_string().into()), start).answered(Answer::Done, end)
}

fn get(client: u32, value: impl ToString, start: u64, end: u64) -> Operation {
    Operation::new(client, "k", Action::Get, start).answered(Answer::Value(Some(value.to_string().into())), end)
}

fn unknown(client: u32, action: Action, start: u64) -> Operation {
    Operation::new(client, "k", action, start)
}

#[test]
fn a_thousand_unknown_writes_that_nobody_sees_cost_nothing() {
    let mut history: Vec<Operation> =
        (0..1000).map(|number| unknown(number, Action::Set(format!("u{number}").into()), u64::from(number))).collect();
    for number in 0..1000 {
        history.push(set(5000, number, 2000 + number * 20, 2005 + number * 20));
        history.push(get(5001, number, 2010 + number * 20, 2015 + number * 20));
    }
    let verdict = check(&history);
    assert!(verdict.is_clean() && verdict.unknown == 1000, "{verdict}");
    assert!(verdict.steps < 5000, "{} steps", verdict.steps);
}

#[test]
fn a_thousand_writes_at_the_same_time_are_searched_once() {
    let mut history: Vec<Operation> = (0..1000).map(|number| set(number, number, 0, 10_000)).collect();
    for number in 0..100_u64 {
        history.push(get(5000, number * 7, 10 + number * 10, 15 + number * 10));
    }
    let verdict = check(&history);
    assert!(verdict.is_clean(), "{verdict}");
    assert!(verdict.steps < 5000, "{} steps", verdict.steps);
}

#[test]
fn two_hundred_unknown_increments_are_counted_as_needed() {
    let mut history: Vec<Operation> = (0..200).map(|number| unknown(number, Action::Increment(1), 0)).collect();
    for (number, sum) in (0..20).zip((5..).step_by(11)) {
        let increment = Operation::new(900, "k", Action::Increment(1), 10 + number * 20);
        history.push(increment.answered(Answer::Number(sum), 20 + number * 20));
    }
    let verdict = check(&history);
    assert!(verdict.is_clean(), "{verdict}");
    assert!(verdict.steps < 50_000, "{} steps", verdict.steps);
}

#[test]
fn a_search_that_takes_too_long_is_given_up_and_says_so() {
    // Exchanges whose chain only the last read decides: any order of pairs explains the beginning.
    let mut history: Vec<Operation> = Vec::new();
    for number in 0..40 {
        let expected = format!("{}", number % 5).into();
        let value = format!("{}", (number * 3 + 1) % 5).into();
        let action = Action::CompareAndSet { expected, value };
        history.push(Operation::new(number, "k", action, 0).answered(Answer::Number(1), 1000));
    }
    history.push(set(100, 0, 0, 1000));
    let verdict = Checker { steps_per_key: 50 }.check(&history);
    assert_eq!(verdict.undecided.len() + verdict.violations.len(), 1, "{verdict}");
    assert!(!verdict.is_clean());
    let verdict = Checker { steps_per_key: 0 }.check(&[set(1, "a", 0, 10)]);
    assert!(verdict.to_string().contains("undecided=1"), "{verdict}");
}

#[test]
fn a_violation_is_shown_with_the_few_operations_that_make_it() {
    let mut history = Vec::new();
    for number in 0..300_u64 {
        history.push(set(1, number, number * 100, number * 100 + 10));
        history.push(get(2, number, number * 100 + 20, number * 100 + 30));
        history.push(get(3, number, number * 100 + 40, number * 100 + 50));
    }
    history.insert(500, get(4, 120, 20_060, 20_070));
    let verdict = check(&history);
    let [violation] = &*verdict.violations else { panic!("{verdict}") };
    assert_eq!(violation.kind, Kind::Linearizability);
    assert!(violation.operations.contains(&500) && violation.operations.len() == 3, "{violation}");
    let text = violation.to_string();
    assert!(text.contains("#500 client 4: get -> \"120\" [20060, 20070]"), "{text}");
    assert!(text.contains("cannot follow"), "{text}");
}

#[test]
fn weak_reads_are_held_to_their_own_promise_and_to_no_more() {
    let writes = [set(1, "a", 0, 10), set(1, "b", 20, 30), set(1, "c", 40, 50)];
    let with = |reads: &[Operation]| check(&[&writes, reads].concat());
    let old = get(2, "a", 100, 110);
    assert_eq!(with(std::slice::from_ref(&old)).violations[0].kind, Kind::Linearizability);
    assert!(with(&[old.clone().policy(Policy::Any)]).is_clean());
    assert!(with(&[old.clone().policy(Policy::Session)]).is_clean());
    assert!(with(&[old.clone().policy(Policy::Bounded(90))]).is_clean());
    let verdict = with(&[old.clone().policy(Policy::Bounded(60))]);
    assert_eq!(verdict.violations[0].kind, Kind::Bounded, "{verdict}");
    let newer = get(2, "b", 60, 70).policy(Policy::Session);
    let verdict = with(&[newer, old.policy(Policy::Session)]);
    assert_eq!(verdict.violations[0].kind, Kind::Session, "{verdict}");
}

/// Five hundred operations of a schedule, ten keys, five clients: what a simulator asks a hundred thousand times.
#[test]
fn a_schedule_takes_a_step_for_each_write_that_somebody_sees() {
    let mut history = Vec::new();
    for number in 0..500_u64 {
        let (client, key, start) = ((number % 5) as u32, format!("k{}", number % 10), number * 10);
        let operation = match number % 3 {
            0 => Operation::new(client, key, Action::Set(number.to_string().into()), start)
                .answered(Answer::Done, start + 40),
            1 => Operation::new(client, key, Action::Set(number.to_string().into()), start),
            _ => Operation::new(client, key, Action::Delete, start).failed(start + 40),
        };
        history.push(operation);
    }
    let verdict = check(&history);
    assert!(verdict.is_clean() && verdict.keys == 10, "{verdict}");
    assert!(verdict.steps < 500, "{} steps", verdict.steps);
}
