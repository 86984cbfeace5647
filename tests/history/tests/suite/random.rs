//! Histories made by a register that is atomic by construction, and what becomes of them when answers are falsified.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use simplekv_history::{Action, Answer, Kind, Operation, Outcome, Policy, Text, check};

use crate::brute_force::{has_order, run};

/// What the clients do.
#[derive(Clone, Copy)]
struct Shape {
    clients: u32,
    /// Operations of each.
    each: u32,
    values: u32,
    /// Share of operations of which nothing is heard.
    unknown: f64,
    /// Longest time until a request arrives, and until its answer does.
    delay: u64,
}

/// Clients that each do one thing at a time, requests and answers that take their time, and a register that does one thing at a time.
/// A client of which nothing is heard goes on under another number; its request arrives at any time, or never.
fn history(random: &mut SmallRng, shape: Shape) -> Vec<Operation> {
    // When each request arrives, and the operation.
    let mut requests: Vec<(u64, Operation)> = Vec::new();
    for client in 0..shape.clients {
        let mut now = random.random_range(0..=shape.delay);
        for number in 0..shape.each {
            let is_unknown = random.random_bool(shape.unknown);
            let name = client + if is_unknown { 1000 * (number + 1) } else { 0 };
            let operation = Operation::new(name, "k", action(random, shape.values), now);
            let slack = if is_unknown { 20 * shape.delay } else { shape.delay };
            let arrives = now + random.random_range(0..=slack);
            let end = arrives + random.random_range(0..=shape.delay);
            now = end + random.random_range(0..=shape.delay);
            let operation = if is_unknown { operation.unknown(end) } else { operation.answered(Answer::Done, end) };
            requests.push((arrives, operation));
        }
    }
    // Those that arrive in the same instant are served in the order in which each client sent them.
    requests.sort_by_key(|(arrives, operation)| (*arrives, operation.start, operation.end));
    let mut value = None;
    let served = requests.into_iter().map(|(_, operation)| {
        let never_arrives = operation.outcome == Outcome::Unknown && random.random_bool(0.3);
        let Some((answer, after)) = run(&operation.action, &value).filter(|_| !never_arrives) else {
            let end = operation.end;
            return if operation.outcome == Outcome::Unknown { operation } else { operation.failed(end) };
        };
        value = after;
        match operation.outcome {
            Outcome::Unknown => operation,
            _ => Operation { outcome: Outcome::Ok(answer), ..operation },
        }
    });
    served.collect()
}

fn action(random: &mut SmallRng, values: u32) -> Action {
    let mut value = || Text::from(random.random_range(0..values).to_string());
    let (first, second) = (value(), value());
    match random.random_range(0..20) {
        0..7 => Action::Get,
        7..11 => Action::Set(first),
        11 => Action::SetIfAbsent(first),
        12 => Action::SetIfPresent(first),
        13 => Action::GetSet(first),
        14 => Action::CompareAndSet { expected: first, value: second },
        15 | 16 => Action::Delete,
        17 => Action::DeleteIf(first),
        18 => Action::GetDelete,
        _ => Action::Increment(random.random_range(-1..3)),
    }
}

/// Changes one answer to another that the operation can give.
fn falsify(random: &mut SmallRng, history: &mut [Operation], values: u32) {
    let number = random.random_range(0..history.len());
    if let Outcome::Ok(answer) = &mut history[number].outcome {
        match answer {
            Answer::Done => (),
            Answer::Value(value) => {
                *value = random.random_bool(0.8).then(|| random.random_range(0..values).to_string().into());
            }
            Answer::Number(number) if (0..2).contains(number) => *number = 1 - *number,
            Answer::Number(number) => *number += random.random_range(-1..2),
        }
    }
}

#[test]
fn what_an_atomic_register_answers_is_always_right() {
    for seed in 0..400 {
        let mut random = SmallRng::seed_from_u64(seed);
        let shape = Shape { clients: 8, each: 40, values: 50, unknown: 0.05, delay: 10 };
        let history = history(&mut random, shape);
        let verdict = check(&history);
        assert!(verdict.is_clean(), "seed {seed}: {verdict}");
    }
}

#[test]
fn the_search_says_what_the_definition_says() {
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..60_000 {
        let mut random = SmallRng::seed_from_u64(seed);
        let values = random.random_range(1..4);
        let shape = Shape {
            clients: random.random_range(1..5),
            each: random.random_range(1..3),
            values,
            unknown: [0.0, 0.3, 0.6][random.random_range(0..3)],
            delay: random.random_range(0..6),
        };
        let mut history = history(&mut random, shape);
        for _ in 0..random.random_range(0..3) {
            falsify(&mut random, &mut history, values);
        }
        let expected = has_order(&history);
        let verdict = check(&history);
        assert!(verdict.undecided.is_empty(), "seed {seed}");
        assert_eq!(verdict.is_clean(), expected, "seed {seed}: {verdict}\n{history:#?}");
        if expected { right += 1 } else { wrong += 1 }
    }
    assert!(right > 10_000 && wrong > 10_000, "{right} right, {wrong} wrong");
}

/// A session that follows a copy of the register at its own pace, and never goes back, is within its promise. One answer that is newer
/// than a later one is not.
#[test]
fn a_session_that_follows_is_right_and_one_that_goes_back_is_not() {
    let mut falsified = 0;
    for seed in 0..2_000 {
        let mut random = SmallRng::seed_from_u64(seed);
        let (mut history, mut reads) = (Vec::new(), Vec::new());
        let (mut now, mut at) = (0, 0);
        for write in 0..20_u32 {
            let value = write.to_string().into();
            history.push(Operation::new(1, "k", Action::Set(value), now).answered(Answer::Done, now + 5));
            now += 10;
            for _ in 0..random.random_range(0..3) {
                at = random.random_range(at..=write);
                reads.push((history.len(), at, write));
                history.push(session_read(at, now));
                now += 10;
            }
        }
        let verdict = check(&history);
        assert!(verdict.is_clean(), "seed {seed}: {verdict}");
        let goes_back = reads.windows(2).find(|pair| pair[0].2 > pair[1].1);
        if let Some(&[(place, _, newest), _]) = goes_back {
            history[place] = session_read(newest, history[place].start);
            let verdict = check(&history);
            assert_eq!(verdict.violations.len(), 1, "seed {seed}: {verdict}");
            assert_eq!(verdict.violations[0].kind, Kind::Session, "seed {seed}: {verdict}");
            falsified += 1;
        }
    }
    assert!(falsified > 1_000, "{falsified}");
}

fn session_read(value: u32, now: u64) -> Operation {
    let read = Operation::new(2, "k", Action::Get, now).policy(Policy::Session);
    read.answered(Answer::Value(Some(value.to_string().into())), now + 5)
}
