//! Reads answered here and now, from what a replica has applied.

use std::sync::Arc;

use simplekv_types::{Failure, GroupTime, Lsn, Slot};

use crate::clock;
use crate::dispatch::Read;
use crate::group::{Answer, Held, Looked, Proof, Wanted, hold_still};
use crate::hosted::Hosted;
use crate::metrics::Metrics;
use crate::routing::Routing;
use crate::shared::Shared;

/// Reads that could not be answered yet, and perhaps can soon.
#[derive(Debug, Default)]
pub(crate) struct Later {
    /// A follower's: records that may change what they read are appended and not applied.
    pub(crate) dirty: Vec<Read>,
    /// A leader's, of slots that are changing hands.
    pub(crate) changing: Vec<Read>,
    /// Of sessions that have seen more than is applied here.
    pub(crate) behind: Vec<Read>,
    /// What has to be applied for all of `behind`.
    pub(crate) end: Lsn,
}

/// A read that was executed, to be proved.
struct Unproved {
    place: usize,
    slot: Slot,
    proof: Proof,
}

/// One pass over reads of one group.
#[derive(Default)]
struct Pass {
    later: Later,
    unproved: Vec<Unproved>,
    /// Reads that were executed.
    executed: u64,
}

impl Pass {
    /// The answer to a read, which may still have to be proved; `None` if it cannot be answered yet. `redirect`: which
    /// other replica is to be asked, `moved`: which other group.
    fn take(
        &mut self,
        held: &Held<'_>,
        read: Read,
        redirect: impl Fn(Slot) -> Failure,
        moved: impl Fn(Slot) -> Failure,
    ) -> Option<Answer> {
        let (place, slot, operation) = (read.place, read.slot, &read.operation);
        let wanted = Wanted { command: &operation.command, slot, policy: operation.policy, seen: read.seen };
        match held.look(&wanted, || GroupTime(clock::wall_millis())) {
            Looked::Refuse(failure) => Some(failure.into()),
            Looked::Redirect => Some(redirect(slot).into()),
            Looked::Elsewhere(slot) => Some(moved(slot).into()),
            Looked::Changing => {
                self.later.changing.push(read);
                None
            }
            Looked::Dirty => {
                self.later.dirty.push(read);
                None
            }
            Looked::Behind => {
                self.later.end = self.later.end.max(read.seen.map_or(Lsn::ZERO, |seen| seen.end));
                self.later.behind.push(read);
                None
            }
            Looked::Answer(answer, proof) => {
                self.unproved.extend(proof.map(|proof| Unproved { place, slot, proof }));
                self.executed += 1;
                Some(answer)
            }
        }
    }
}

/// Executes reads of one group under one lease check: the clock is read once before and once after all of them. Returns those that
/// cannot be answered yet.
pub(crate) fn execute(
    shared: &Shared,
    routing: &Routing,
    hosted: &Arc<Hosted>,
    reads: Vec<Read>,
    answers: &mut [Option<Answer>],
) -> Later {
    let (group, published) = (hosted.id(), hosted.published());
    let redirect = |slot| routing.not_leader(slot, group, shared.node());
    let mut pass = Pass { unproved: Vec::with_capacity(reads.len()), ..Pass::default() };
    let (map, now) = ((&*routing.slots, routing.slot_map_version), clock::now());
    let (terms, is_leader) = hold_still(published, hosted.reader(), group, map, now, |held| {
        if reads.len() > 1 {
            held.prefetch(reads.iter().map(|read| (read.slot, &read.operation.command)));
        }
        for read in reads {
            let place = read.place;
            if let (Some(answer), Some(known)) =
                (pass.take(held, read, redirect, |slot| routing.moved(slot)), answers.get_mut(place))
            {
                *known = Some(answer);
            }
        }
        held.is_leader()
    });
    let Pass { later, mut unproved, executed } = pass;
    if !unproved.is_empty() {
        let holds = terms.prove(published, clock::now());
        unproved.retain(|read| !holds(read.proof));
    }
    if !is_leader {
        Metrics::add(&shared.metrics().follower_reads, executed - unproved.len() as u64);
    }
    for Unproved { place, slot, .. } in unproved {
        if let Some(known) = answers.get_mut(place) {
            *known = Some(redirect(slot).into());
        }
    }
    later
}
