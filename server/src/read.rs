//! Reads answered here and now, from what a replica has applied.

use std::sync::Arc;

use simplekv_commands as commands;
use simplekv_resp::Command;
use simplekv_types::{Failure, GroupTime, ReadPolicy, Reply, Slot};

use crate::clock;
use crate::dispatch::Read;
use crate::group::{Answer, SlotSet};
use crate::hosted::Hosted;
use crate::metrics::Metrics;
use crate::routing::Routing;
use crate::shared::Shared;
use crate::view::AppliedView;

/// Executes reads of one group under one lease check: the clock is read once before and once after all of them. Returns those that
/// a follower may not answer yet: records that may change what they read are appended and not applied.
pub(crate) fn execute(
    shared: &Shared,
    routing: &Routing,
    group: &Arc<Hosted>,
    reads: Vec<Read>,
    answers: &mut [Option<Answer>],
) -> Vec<Read> {
    let node = shared.node();
    let published = group.published();
    let begun = published.serving.begin(clock::now());
    let owned = published.owned.load();
    let view = AppliedView::new(group.reader().guard(), &owned);
    if reads.len() > 1 {
        for read in &reads {
            if let Some(key) = read.operation.command.keys().next() {
                view.prefetch(read.slot, key);
            }
        }
    }
    let follows = begun.is_some_and(|begun| !begun.leads());
    let mut leased = Vec::with_capacity(reads.len());
    let mut dirty = Vec::new();
    for Read { place, slot, operation } in reads {
        let needs_lease = operation.policy != ReadPolicy::Any;
        let answer = if needs_lease && begun.is_none() {
            routing.not_leader(slot, group.id(), node).into()
        } else if let Some(unowned) = unowned(&operation.command, slot, &owned) {
            match follows {
                // The leader may know of a record on its way that gives it.
                true => routing.not_leader(slot, group.id(), node).into(),
                false => Failure::TryAgain { slot: unowned }.into(),
            }
        } else if needs_lease && follows && operation.command.keys().any(|key| view.is_pending(key)) {
            dirty.push(Read { place, slot, operation });
            continue;
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
        if follows {
            Metrics::add(&shared.metrics().follower_reads, leased.len() as u64);
        }
        return dirty;
    }
    // The lease ended while we read: what was read may be old by now.
    for (place, slot) in leased {
        if let Some(known) = answers.get_mut(place) {
            *known = Some(routing.not_leader(slot, group.id(), node).into());
        }
    }
    dirty
}

/// What is visible is decided by group time alone. How long a key still lives is told by the clock of the hour: group time stands
/// still while a group is idle.
fn answer(command: &Command, view: &AppliedView<'_>) -> Reply {
    let time = view.time();
    match command {
        Command::Ttl { .. } => commands::read_at_hour(command, view, time, time.max(GroupTime(clock::wall_millis()))),
        // Every other read is spared the look at the clock.
        _ => commands::read(command, view, time),
    }
}

/// A slot of the command that this group does not own. `first` is that of its first key.
fn unowned(command: &Command, first: Slot, owned: &SlotSet) -> Option<Slot> {
    if !owned.contains(first) {
        return Some(first);
    }
    command.keys().skip(1).map(|key| Slot::of_key(key)).find(|&slot| !owned.contains(slot))
}
