//! Where values come from: a read may answer only what some write has written by then.
//!
//! The search would find the same, at greater cost and with less to say.

use std::collections::HashMap;

use crate::operation::{Action, Operation, Outcome};
use crate::values::Content;
use crate::verdict::Kind;

/// Who wrote a value.
#[derive(Clone, Copy, Default)]
struct Origin {
    /// The first write of it that was or may have been done: its start and its place.
    first: Option<(u64, u32)>,
    /// A write of it that was refused.
    failed: Option<u32>,
}

/// The first operation of a key that saw a value it cannot have seen: what is wrong, and the places that show it.
pub(crate) fn impossible(history: &[Operation], places: &[u32]) -> Option<(Kind, Vec<u32>)> {
    let operations = || places.iter().filter_map(|&place| Some((place, history.get(place as usize)?)));
    if operations().all(|(_, operation)| operation.seen().is_none()) {
        return None;
    }
    let counts = operations().any(|(_, operation)| matches!(operation.action, Action::Increment(_)));
    let mut origins: HashMap<&str, Origin> = HashMap::new();
    for (place, operation) in operations() {
        let Some(value) = operation.written() else { continue };
        let origin = origins.entry(value).or_default();
        match operation.outcome {
            Outcome::Failed => origin.failed = origin.failed.or(Some(place)),
            // A condition that did not hold wrote nothing.
            Outcome::Ok(crate::Answer::Number(0)) => (),
            _ => {
                let start = (operation.start, place);
                origin.first = Some(origin.first.map_or(start, |first| first.min(start)));
            }
        }
    }
    for (place, operation) in operations() {
        let Some(value) = operation.seen() else { continue };
        let is_sum = counts && matches!(Content::of(value), Content::Number(_));
        if is_sum || matches!(operation.outcome, Outcome::Failed | Outcome::Unknown) {
            continue;
        }
        match origins.get(&**value).copied().unwrap_or_default() {
            Origin { first: Some((start, write)), .. } if start > operation.end => {
                return Some((Kind::FromFuture, vec![place, write]));
            }
            Origin { first: Some(_), .. } => (),
            Origin { failed: Some(write), .. } => return Some((Kind::FromFailedWrite, vec![write, place])),
            Origin { .. } => return Some((Kind::NeverWritten, vec![place])),
        }
    }
    None
}
