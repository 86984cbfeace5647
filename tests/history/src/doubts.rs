//! Which operations whose outcome is unknown make an answer right.

use std::collections::VecDeque;

use crate::plan::{Class, Plan};
use crate::values::{Change, Need, Value};

/// Every row of classes that leads from `value` to where `need` holds, shorter ones first. Rows are minimal: without the last of its
/// operations, `need` would not hold.
///
/// Found from the end: what must hold before the last one, before the one before it, and so on. `left` says how many operations of
/// each class there are. Gives up beyond `steps_max`.
pub(crate) fn ways(
    plan: &Plan<'_>,
    need: Need<Value>,
    value: Value,
    left: &[usize],
    steps_max: u64,
    steps: &mut u64,
) -> Vec<Vec<u32>> {
    let mut found = Vec::new();
    let mut open = VecDeque::from([(need, Vec::<(u32, Need<Value>)>::new())]);
    while let Some((need, later)) = open.pop_front() {
        if need.holds(value) && !later.is_empty() {
            found.push(later.iter().rev().map(|(class, _)| *class).collect());
            continue;
        }
        for ((number, class), &left) in (0..).zip(&plan.classes).zip(left) {
            *steps += 1;
            if *steps > steps_max {
                return found;
            }
            let used = later.iter().filter(|(other, _)| *other == number).count();
            let Some(before) = before(plan, class, need).filter(|_| used < left) else { continue };
            // What leads back to where one has been leads nowhere.
            if before.implies(need) || later.iter().any(|(_, seen)| *seen == before) {
                continue;
            }
            let mut row = later.clone();
            row.push((number, need));
            open.push_back((before, row));
        }
    }
    found
}

/// What must hold so that `need` holds after an operation of the class.
fn before(plan: &Plan<'_>, class: &Class, need: Need<Value>) -> Option<Need<Value>> {
    match (class.change, need) {
        (Change::Becomes(value), _) => need.holds(value).then_some(class.need),
        (Change::Adds(by), Need::Is(value) | Need::IsOrAbsent(value)) => plan.values.before_adding(value, by),
        (Change::Adds(_), Need::Present) => Some(Need::Is(Value::ABSENT)),
        (Change::Adds(by), Need::Differs(value)) if by != 0 => plan.values.number(value).map(|_| Need::Is(value)),
        (Change::Adds(_), Need::Any | Need::Differs(_) | Need::Never) => None,
    }
}
