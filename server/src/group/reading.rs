//! A read from what a replica has applied, in the steps a lease asks for: the lease is looked at before, and again, with a fresh
//! reading of the clock, after all of a batch was read.

use simplekv_commands as commands;
use simplekv_engine::Reader;
use simplekv_resp::Command;
use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::{GroupTime, Slot, Tick};
use smallvec::SmallVec;

use super::{Answer, SlotSet};
use crate::hosted::Published;
use crate::serving::Begun;
use crate::view::AppliedView;

/// What became of a read, provided that the lease still holds after it.
#[derive(Clone, Debug, PartialEq)]
pub enum Looked {
    /// Read.
    Answer(Answer),
    /// This group does not own the slot, as far as is applied.
    Unowned(Slot),
    /// A record is appended, not applied, and may change the answer: a follower's leader may have shown it already.
    Pending,
}

/// Reads one command under a lease that was found to hold at `now`; `None` without a lease. What is returned may be used if
/// [`Serving::confirms`](crate::Serving::confirms) says so afterwards. `hour` tells how long keys still live.
#[must_use]
pub fn look(
    published: &Published,
    reader: &Reader,
    command: &Command,
    now: Tick,
    hour: GroupTime,
) -> Option<(Begun, Looked)> {
    let begun = published.serving.begin(now)?;
    let owned = published.owned.load();
    let view = AppliedView::new(reader.guard(), &owned);
    Some((begun, look_at(&view, &owned, begun, command, hour)))
}

fn look_at(view: &AppliedView<'_>, owned: &SlotSet, begun: Begun, command: &Command, hour: GroupTime) -> Looked {
    if let Some(slot) = command.keys().map(|key| Slot::of_key(key)).find(|&slot| !owned.contains(slot)) {
        return Looked::Unowned(slot);
    }
    if !begun.leads() && command.keys().any(|key| view.is_pending(key)) {
        return Looked::Pending;
    }
    let time = if is_broken(Rule::C51) { hour } else { view.time() };
    let reply = commands::read_at_hour(command, view, time, time.max(hour));
    Looked::Answer(Answer { reply, time, seen: SmallVec::new() })
}
