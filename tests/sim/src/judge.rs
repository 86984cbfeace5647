//! Judges what clients were told, knowing nothing of how it came about.

use simplekv_history::{self as judged, Answer, Checker, Verdict};

use simplekv_types::ReadPolicy;

use crate::clock::Nanos;
use crate::history::{Action, End, History, Operation};

/// Decisions tried per key. Most keys need a few for each operation; where many writes ended with nobody knowing how, far more.
const STEPS: u64 = 100_000_000;

/// What the clients' history comes to, of the reads only those that count.
pub(crate) fn judge(history: &History, counts: impl Fn(ReadPolicy) -> bool) -> Verdict {
    let mut operations = Vec::with_capacity(history.operations.len());
    for (number, operation) in history.operations.iter().enumerate() {
        let until = history.judged_until.get(&operation.group).copied().unwrap_or(Nanos::MAX);
        if operation.began >= until || operation.action.is_read() && !counts(operation.policy) {
            continue;
        }
        let number = u32::try_from(number).expect("a history is not that long");
        operations.extend(told(operation, number, until));
        operations.extend(expiry(operation, number));
    }
    Checker { steps_per_key: STEPS }.check(&operations)
}

/// `None` for a read that nobody was told the answer of. What was told later than `until` does not count.
fn told(operation: &Operation, number: u32, until: Nanos) -> Option<judged::Operation> {
    let Operation { client, task, action, began, ended, .. } = operation;
    // What a client asks outside its tasks it asks as somebody of its own.
    let client = match u32::try_from(*task) {
        Ok(task) => u32::try_from(*client).expect("few clients") * 64 + task,
        Err(_) => OWN + number,
    };
    let asked = judged::Operation::new(client, action.key(), asked(action), *began);
    match ended.as_ref().filter(|(at, _)| *at < until) {
        Some((at, End::Value(value))) => Some(asked.answered(Answer::Value(value.map(text)), *at)),
        Some((at, End::Number(number))) => Some(asked.answered(Answer::Number(*number), *at)),
        Some((at, End::Done)) => Some(asked.answered(Answer::Done, *at)),
        _ if action.is_read() => None,
        Some((at, End::Failed)) => Some(asked.failed(*at)),
        Some((at, End::Unknown)) => Some(asked.unknown(*at)),
        None => Some(asked),
    }
}

/// A value with a time to live is removed at some moment after it was set, by nobody in particular.
fn expiry(operation: &Operation, number: u32) -> Option<judged::Operation> {
    let Action::Set { key, value, ttl: Some(_) } = &operation.action else { return None };
    Some(judged::Operation::new(
        OWN * 2 + number,
        key.as_str(),
        judged::Action::DeleteIf(text(*value)),
        operation.began,
    ))
}

/// Clients from here on do one thing in their life.
const OWN: u32 = 1 << 30;

fn asked(action: &Action) -> judged::Action {
    match action {
        Action::Get { .. } => judged::Action::Get,
        Action::Set { value, .. } => judged::Action::Set(text(*value)),
        Action::SetNx { value, .. } => judged::Action::SetIfAbsent(text(*value)),
        Action::GetSet { value, .. } => judged::Action::GetSet(text(*value)),
        Action::Del { .. } => judged::Action::Delete,
        Action::Incr { .. } => judged::Action::Increment(1),
    }
}

fn text(value: u64) -> judged::Text {
    value.to_string().into()
}
