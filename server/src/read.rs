//! Reads answered here and now, from what a replica has applied.

use std::sync::Arc;

use simplekv_commands as commands;
use simplekv_resp::Command;
use simplekv_types::{Failure, GroupTime, NodeId, ReadPolicy, Reply, Slot};

use crate::clock;
use crate::dispatch::Operation;
use crate::group::Answer;
use crate::hosted::Hosted;
use crate::routing::Routing;
use crate::view::AppliedView;

/// Executes reads of one group under one lease check: the clock is read once before and once after all of them.
pub(crate) fn execute(
    node: NodeId,
    routing: &Routing,
    group: &Arc<Hosted>,
    reads: Vec<(usize, Operation)>,
    answers: &mut [Option<Answer>],
) {
    let published = group.published();
    let begun = published.serving.begin(clock::now());
    let owned = published.owned.load();
    let view = AppliedView::new(group.reader().guard(), &owned);
    let mut leased = Vec::with_capacity(reads.len());
    for (place, operation) in reads {
        let slot = first_slot(&operation.command);
        let needs_lease = operation.policy != ReadPolicy::Any;
        let answer = if needs_lease && begun.is_none() {
            routing.not_leader(slot, group.id(), node).into()
        } else if let Some(slot) =
            operation.command.keys().map(|key| Slot::of_key(key)).find(|&slot| !owned.contains(slot))
        {
            Failure::TryAgain { slot }.into()
        } else {
            if needs_lease {
                leased.push((place, slot));
            }
            Answer { reply: answer(&operation.command, &view), time: view.time() }
        };
        if let Some(known) = answers.get_mut(place) {
            *known = Some(answer);
        }
    }
    drop(view);
    if begun.is_some_and(|begun| published.serving.confirms(begun, clock::now())) {
        return;
    }
    // The lease ended while we read: what was read may be old by now.
    for (place, slot) in leased {
        if let Some(known) = answers.get_mut(place) {
            *known = Some(routing.not_leader(slot, group.id(), node).into());
        }
    }
}

/// What is visible is decided by group time alone. How long a key still lives is told by the clock of the hour: group time stands
/// still while a group is idle.
fn answer(command: &Command, view: &AppliedView<'_>) -> Reply {
    let time = view.time();
    match command {
        Command::Ttl { .. } => commands::read_at_hour(command, view, time, time.max(GroupTime(clock::wall_millis()))),
        _ => commands::read(command, view, time),
    }
}

fn first_slot(command: &Command) -> Slot {
    command.keys().next().map_or(Slot::MIN, |key| Slot::of_key(key))
}
