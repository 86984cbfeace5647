//! Requests for slots that are changing hands: held until it is known whose they are, for a while.

use std::collections::VecDeque;
use std::time::Duration;

use simplekv_cluster::SlotStanding;
use simplekv_cluster::migration::{SlotState, Slots};
use simplekv_resp::Command;
use simplekv_types::{Failure, NodeId, Slot, Tick};

use super::waiting::Outcome;
use super::{Clock, Group, GroupRequest, Respond};

/// A request is held this long at most. A handover takes milliseconds; one that takes longer waits for something that has failed.
const HOLD: Duration = Duration::from_secs(1);
/// Requests held at most; what comes beyond is refused.
const HELD_MAX: usize = 16_384;

/// What is held. Invariant: in the order of arrival, and what is held longest is due first.
#[derive(Debug)]
pub(super) struct Holding<R> {
    queue: VecDeque<Held<R>>,
    requests: usize,
    /// Whether something has changed since they were looked at.
    look: bool,
}

/// A submission of which something is held.
#[derive(Debug)]
struct Held<R> {
    requests: Vec<GroupRequest>,
    /// Of each request; [`Outcome::Held`] is still to come.
    outcomes: Vec<Outcome>,
    respond: R,
    until: Tick,
}

/// What is to be done with a command.
enum Course {
    Execute,
    Hold(Slot),
    Refuse(Failure),
}

impl<R> Default for Holding<R> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), requests: 0, look: false }
    }
}

impl<R> Holding<R> {
    pub(super) fn next_deadline(&self) -> Option<Tick> {
        self.queue.front().map(|held| held.until)
    }

    /// What is held may be somebody's now.
    pub(super) fn look_again(&mut self) {
        self.look = true;
    }

    /// Lets go of everything.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (Vec<Outcome>, R)> + use<R> {
        self.requests = 0;
        std::mem::take(&mut self.queue).into_iter().map(|held| (held.outcomes, held.respond))
    }
}

impl<R: Respond> Group<R> {
    /// Whether a request may be executed: `None` if it may, otherwise what becomes of it.
    pub(super) fn hold_up(&self, command: &Command) -> Option<Outcome> {
        match self.course(command) {
            Course::Execute => None,
            // Only a leader sees to it that the slot is somebody's again.
            Course::Hold(_) if !self.published.serving.is_leader() => {
                Some(Outcome::Refused(Failure::NoLeader { group: self.id }))
            }
            Course::Hold(slot) if self.holding.requests >= HELD_MAX => {
                Some(Outcome::Refused(Failure::TryAgain { slot }))
            }
            Course::Hold(_) => Some(Outcome::Held),
            Course::Refuse(failure) => Some(Outcome::Refused(failure)),
        }
    }

    fn course(&self, command: &Command) -> Course {
        let is_open = |slot: &Slot| self.slots.writable().contains(*slot) && self.is_reconciled();
        let mut slots = command.keys().map(|key| Slot::of_key(key));
        match slots.find(|slot| !is_open(slot)) {
            Some(slot) => self.course_of(slot),
            // What it is to clear may be this group's in a moment, or another's.
            None if *command == Command::FlushAll => self
                .slots
                .table()
                .changing()
                .map(|range| range.first())
                .next()
                .or_else(|| closed(self.slots.table().applied()))
                .map_or(Course::Execute, Course::Hold),
            None => Course::Execute,
        }
    }

    fn course_of(&self, slot: Slot) -> Course {
        let (map, version) = &self.map;
        match self.ownership.standing(self.id, map, *version, slot) {
            SlotStanding::Serve | SlotStanding::Hold | SlotStanding::ReadMap(_) => Course::Hold(slot),
            // Where its leader is the node knows.
            SlotStanding::Moved(group) => {
                let (node, address, version) = (None::<NodeId>, String::new(), *version);
                Course::Refuse(Failure::Moved { slot, group, node, address, version })
            }
            SlotStanding::Unowned => Course::Refuse(Failure::SlotUnserved { slot }),
        }
    }

    /// Whether what the log says of slots has been compared with the slot map since the group's history began.
    fn is_reconciled(&self) -> bool {
        self.slots.table().applied().lineage() >= self.replica.serving().lineage
    }

    /// Keeps a submission of which something is held.
    pub(super) fn hold(&mut self, clock: &impl Clock, requests: Vec<GroupRequest>, outcomes: Vec<Outcome>, respond: R) {
        self.holding.requests += requests.len();
        let until = clock.now() + HOLD;
        self.holding.queue.push_back(Held { requests, outcomes, respond, until });
    }

    /// Executes what is held and may be executed by now, and refuses what has been held for too long.
    pub(super) fn look_after_held(&mut self, clock: &impl Clock) {
        let now = clock.now();
        let is_due = self.holding.next_deadline().is_some_and(|due| due <= now);
        if self.holding.queue.is_empty() || !(is_due || std::mem::take(&mut self.holding.look)) {
            return;
        }
        let queue = std::mem::take(&mut self.holding.queue);
        self.holding.requests = 0;
        for Held { requests, mut outcomes, respond, until } in queue {
            for (request, outcome) in requests.iter().zip(&mut outcomes) {
                if matches!(outcome, Outcome::Held) {
                    *outcome = match self.execute(clock, request) {
                        Outcome::Held if until <= now => Outcome::Refused(too_late(&request.command)),
                        tried => tried,
                    };
                }
            }
            if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Held)) {
                self.holding.requests += requests.len();
                self.holding.queue.push_back(Held { requests, outcomes, respond, until });
            } else {
                self.answer_when_committed(clock, outcomes, respond);
            }
        }
        self.close_batch(clock);
    }
}

fn too_late(command: &Command) -> Failure {
    Failure::TryAgain { slot: command.keys().next().map_or(Slot::MIN, |key| Slot::of_key(key)) }
}

/// A slot that is closed: nobody knows for the moment whose it is.
fn closed(slots: &Slots) -> Option<Slot> {
    let closed = |state| matches!(state, SlotState::Fenced(_) | SlotState::Ready(_));
    slots.ranges(closed).next().map(|range| range.first())
}
