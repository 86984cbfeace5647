//! Reads answered here and now, from what a replica has applied.

use std::sync::Arc;
use std::time::Duration;

use simplekv_commands as commands;
use simplekv_resp::Command;
use simplekv_types::{Failure, GroupId, GroupTime, Lsn, Position, ReadPolicy, Reply, Slot, SlotMapVersion, Tick};
use smallvec::smallvec;

use crate::clock;
use crate::dispatch::Read;
use crate::group::{Answer, SlotSet};
use crate::history::{History, Standing};
use crate::hosted::Hosted;
use crate::metrics::Metrics;
use crate::routing::Routing;
use crate::serving::Begun;
use crate::shared::Shared;
use crate::view::AppliedView;

/// Reads that could not be answered yet, and perhaps can soon.
#[derive(Debug, Default)]
pub(crate) struct Later {
    /// A follower's: records that may change what they read are appended and not applied.
    pub(crate) dirty: Vec<Read>,
    /// Of sessions that have seen more than is applied here.
    pub(crate) behind: Vec<Read>,
    /// What has to be applied for all of `behind`.
    pub(crate) end: Lsn,
}

/// What has to be true, after something was read, for it to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// That the lease under which it was begun still holds.
    Lease,
    /// That; or that the state is no older than this.
    LeaseOrAge(Duration),
    /// The state is no older than this.
    Age(Duration),
}

impl Proof {
    /// `age`: how old the state is at most; `None` if nobody knows.
    fn holds(self, is_leased: bool, age: Option<Duration>) -> bool {
        let is_younger = |max_lag: Duration| age.is_some_and(|age| age <= max_lag);
        match self {
            Self::Lease => is_leased,
            Self::LeaseOrAge(max_lag) => is_leased || is_younger(max_lag),
            Self::Age(max_lag) => is_younger(max_lag),
        }
    }
}

/// A read that was executed, to be confirmed.
struct Unproved {
    place: usize,
    slot: Slot,
    proof: Proof,
}

/// What a replica knows of the state it reads from. Everything in it was read while that state was held still, or before.
struct Ground<'a> {
    group: GroupId,
    /// The slot map this node knows.
    map: SlotMapVersion,
    /// The replica's lease when the reads began.
    begun: Option<Begun>,
    history: &'a History,
    applied: Lsn,
}

/// What becomes of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Course {
    /// Read, and answer if this can be proved afterwards.
    Answer(Option<Proof>),
    Refuse(Failure),
    Dirty,
    Behind,
    /// Somebody else has to be asked.
    Redirect,
}

impl Ground<'_> {
    fn follows(&self) -> bool {
        self.begun.is_some_and(|begun| !begun.leads())
    }

    fn leads(&self) -> bool {
        self.begun.is_some_and(Begun::leads)
    }

    /// `seen`: what the reader's session has seen of the group. `is_pending`: whether something on its way may change what is read.
    fn course(&self, policy: ReadPolicy, seen: Option<Position>, is_pending: impl Fn() -> bool) -> Course {
        match policy {
            ReadPolicy::Any => return Course::Answer(None),
            ReadPolicy::Session { .. } | ReadPolicy::Bounded { .. } => (),
            _ if self.begun.is_none() => return Course::Redirect,
            _ if self.follows() && is_pending() => return Course::Dirty,
            _ => return Course::Answer(Some(Proof::Lease)),
        }
        let Some(seen) = seen else { return self.age_course(policy, is_pending) };
        match (self.history.judge(&seen, self.applied), policy) {
            (Standing::Contradicts, _) => Course::Refuse(Failure::TokenLost { group: self.group }),
            // Whoever has the leader's lease has everything that anybody can have seen.
            (Standing::Behind, _) if self.leads() => Course::Refuse(Failure::TokenLost { group: self.group }),
            (Standing::Behind, _) => Course::Behind,
            // The slots may have gone elsewhere and come back since; only a leader surely has what was done meanwhile.
            (Standing::Covers, _) if !self.leads() && seen.slots > self.map.max(self.history.slots()) => {
                Course::Redirect
            }
            (Standing::Covers, policy) => self.age_course(policy, is_pending),
        }
    }

    /// Of a read whose session, if it has one, is covered.
    fn age_course(&self, policy: ReadPolicy, is_pending: impl Fn() -> bool) -> Course {
        match policy {
            ReadPolicy::Bounded { max_lag } if self.follows() && is_pending() => {
                Course::Answer(Some(Proof::Age(max_lag)))
            }
            ReadPolicy::Bounded { max_lag } => Course::Answer(Some(Proof::LeaseOrAge(max_lag))),
            _ => Course::Answer(None),
        }
    }
}

/// One pass over reads of one group.
struct Pass<'a> {
    ground: Ground<'a>,
    view: &'a AppliedView<'a>,
    owned: &'a SlotSet,
    /// Where everybody reads.
    here: Position,
    is_leader: bool,
    later: Later,
    unproved: Vec<Unproved>,
    /// Reads that were executed.
    executed: u64,
}

impl Pass<'_> {
    /// The answer to a read, which may still have to be proved; `None` if it cannot be answered yet. `redirect`: who else is to be asked.
    fn take(&mut self, read: Read, redirect: impl Fn(Slot) -> Failure) -> Option<Answer> {
        let command = &read.operation.command;
        let is_pending = || command.keys().any(|key| self.view.is_pending(key));
        let course = match self.ground.course(read.operation.policy, read.seen, is_pending) {
            course @ (Course::Answer(_) | Course::Dirty | Course::Behind) => {
                match unowned(command, read.slot, self.owned) {
                    None => course,
                    // The leader may know of a record on its way that gives it.
                    Some(_) if !self.is_leader => Course::Redirect,
                    Some(slot) => Course::Refuse(Failure::TryAgain { slot }),
                }
            }
            course => course,
        };
        match course {
            Course::Refuse(failure) => Some(failure.into()),
            Course::Redirect => Some(redirect(read.slot).into()),
            Course::Dirty => {
                self.later.dirty.push(read);
                None
            }
            Course::Behind => {
                self.later.end = self.later.end.max(read.seen.map_or(Lsn::ZERO, |seen| seen.end));
                self.later.behind.push(read);
                None
            }
            Course::Answer(proof) => {
                let (place, slot) = (read.place, read.slot);
                self.unproved.extend(proof.map(|proof| Unproved { place, slot, proof }));
                self.executed += 1;
                Some(answer(command, self.view, self.here))
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
    let now = clock::now();
    let begun = published.serving.begin(now);
    let fresh_as_of = published.serving.fresh_as_of(now);
    let owned = published.owned.load();
    let view = AppliedView::new(hosted.reader().guard(), &owned);
    // While the state is held still, so that it tells of all that is in it.
    let history = published.history.load();
    if reads.len() > 1 {
        for read in &reads {
            if let Some(key) = read.operation.command.keys().next() {
                view.prefetch(read.slot, key);
            }
        }
    }
    let (map, applied) = (routing.slot_map_version, view.applied());
    let mut pass = Pass {
        ground: Ground { group, map, begun, history: &history, applied },
        view: &view,
        owned: &owned,
        here: history.position(group, applied),
        is_leader: published.serving.is_leader(),
        later: Later::default(),
        unproved: Vec::with_capacity(reads.len()),
        executed: 0,
    };
    let redirect = |slot| routing.not_leader(slot, group, shared.node());
    for read in reads {
        let place = read.place;
        if let (Some(answer), Some(known)) = (pass.take(read, redirect), answers.get_mut(place)) {
            *known = Some(answer);
        }
    }
    let Pass { later, unproved, executed, is_leader, .. } = pass;
    drop(view);
    let failed = disprove(hosted, begun, fresh_as_of, unproved);
    if !is_leader {
        Metrics::add(&shared.metrics().follower_reads, executed - failed.len() as u64);
    }
    for Unproved { place, slot, .. } in failed {
        if let Some(known) = answers.get_mut(place) {
            *known = Some(redirect(slot).into());
        }
    }
    later
}

/// Those of the reads whose answers may be older, by now, than their policies allow.
fn disprove(
    hosted: &Hosted,
    begun: Option<Begun>,
    fresh_as_of: Option<Tick>,
    mut unproved: Vec<Unproved>,
) -> Vec<Unproved> {
    if unproved.is_empty() {
        return unproved;
    }
    let now = clock::now();
    let is_leased = begun.is_some_and(|begun| hosted.published().serving.confirms(begun, now));
    let age = fresh_as_of.map(|as_of| now.since(as_of));
    unproved.retain(|read| !read.proof.holds(is_leased, age));
    unproved
}

/// What is visible is decided by group time alone. How long a key still lives is told by the clock of the hour: group time stands
/// still while a group is idle.
fn answer(command: &Command, view: &AppliedView<'_>, here: Position) -> Answer {
    let time = view.time();
    let reply: Reply = match command {
        Command::Ttl { .. } => commands::read_at_hour(command, view, time, time.max(GroupTime(clock::wall_millis()))),
        // Every other read is spared the look at the clock.
        _ => commands::read(command, view, time),
    };
    Answer { reply, time, seen: smallvec![here] }
}

/// A slot of the command that this group does not own. `first` is that of its first key.
fn unowned(command: &Command, first: Slot, owned: &SlotSet) -> Option<Slot> {
    if !owned.contains(first) {
        return Some(first);
    }
    command.keys().skip(1).map(|key| Slot::of_key(key)).find(|&slot| !owned.contains(slot))
}

#[cfg(test)]
mod tests {
    use simplekv_types::{Epoch, Lineage};

    use super::*;
    use crate::serving::Serving;

    const GROUP: GroupId = GroupId(1);
    const LAG: Duration = Duration::from_millis(100);
    const BOUNDED: ReadPolicy = ReadPolicy::Bounded { max_lag: LAG };
    const LOST: Course = Course::Refuse(Failure::TokenLost { group: GROUP });

    #[derive(Clone, Copy)]
    enum Lease {
        None,
        Follower,
        Leader,
    }

    /// A replica that has applied 15 records, the last five of epoch 4.
    fn course(lease: Lease, policy: ReadPolicy, seen: Option<Position>, is_pending: bool) -> Course {
        let serving = Serving::default();
        if !matches!(lease, Lease::None) {
            serving.publish(1, matches!(lease, Lease::Leader), Tick(u64::MAX));
        }
        let history = History::new(Lineage(0), SlotMapVersion(5), &[(Epoch(1), Lsn(0)), (Epoch(4), Lsn(10))]);
        let begun = serving.begin(Tick::from_millis(1));
        let ground = Ground { group: GROUP, map: SlotMapVersion(5), begun, history: &history, applied: Lsn(15) };
        ground.course(policy, seen, || is_pending)
    }

    fn seen(epoch: u64, end: u64) -> Option<Position> {
        let (slots, lineage) = (SlotMapVersion(5), Lineage(0));
        Some(Position { group: GROUP, slots, lineage, epoch: Epoch(epoch), end: Lsn(end) })
    }

    #[test]
    fn linearizable_reads_need_a_lease_and_followers_wait_for_what_is_on_its_way() {
        for policy in [ReadPolicy::Linearizable, ReadPolicy::Leader, ReadPolicy::Quorum] {
            assert_eq!(course(Lease::None, policy, None, false), Course::Redirect);
            assert_eq!(course(Lease::Follower, policy, None, true), Course::Dirty);
            assert_eq!(course(Lease::Follower, policy, None, false), Course::Answer(Some(Proof::Lease)));
            assert_eq!(course(Lease::Leader, policy, None, true), Course::Answer(Some(Proof::Lease)));
        }
        assert_eq!(course(Lease::None, ReadPolicy::Any, seen(9, 99), true), Course::Answer(None));
    }

    #[test]
    fn a_session_is_answered_by_whoever_has_applied_what_it_saw_and_by_nobody_else() {
        for lease in [Lease::None, Lease::Follower, Lease::Leader] {
            assert_eq!(course(lease, ReadPolicy::SESSION, seen(4, 15), true), Course::Answer(None));
            assert_eq!(course(lease, ReadPolicy::SESSION, None, true), Course::Answer(None));
            assert_eq!(course(lease, ReadPolicy::SESSION, seen(3, 15), false), LOST, "another record is there");
        }
        for lease in [Lease::None, Lease::Follower] {
            assert_eq!(course(lease, ReadPolicy::SESSION, seen(4, 16), false), Course::Behind);
        }
        assert_eq!(course(Lease::Leader, ReadPolicy::SESSION, seen(4, 16), false), LOST, "nobody has more");
    }

    /// The group may have been given the slots by another after the session read them there.
    #[test]
    fn a_session_that_knows_a_newer_slot_map_is_answered_by_the_leader_only() {
        let newer = seen(4, 15).map(|seen| Position { slots: SlotMapVersion(6), ..seen });
        for lease in [Lease::None, Lease::Follower] {
            assert_eq!(course(lease, ReadPolicy::SESSION, newer, false), Course::Redirect);
        }
        assert_eq!(course(Lease::Leader, ReadPolicy::SESSION, newer, false), Course::Answer(None));
    }

    #[test]
    fn a_bounded_read_is_answered_by_its_age_or_under_a_lease() {
        let either = Course::Answer(Some(Proof::LeaseOrAge(LAG)));
        assert_eq!(course(Lease::None, BOUNDED, None, true), either);
        assert_eq!(course(Lease::Leader, BOUNDED, None, true), either);
        assert_eq!(course(Lease::Follower, BOUNDED, None, false), either);
        // The lease says only that what is on its way is known here.
        assert_eq!(course(Lease::Follower, BOUNDED, None, true), Course::Answer(Some(Proof::Age(LAG))));
        assert_eq!(course(Lease::Follower, BOUNDED, seen(4, 16), false), Course::Behind, "its session comes first");
        assert_eq!(course(Lease::Follower, BOUNDED, seen(3, 15), false), LOST);
    }

    #[test]
    fn what_may_be_too_old_is_not_answered() {
        let (young, old) = (Some(LAG), Some(LAG + Duration::from_nanos(1)));
        for (proof, is_leased, age, holds) in [
            (Proof::Lease, true, None, true),
            (Proof::Lease, false, young, false),
            (Proof::LeaseOrAge(LAG), true, None, true),
            (Proof::LeaseOrAge(LAG), false, young, true),
            (Proof::LeaseOrAge(LAG), false, old, false),
            (Proof::LeaseOrAge(LAG), false, None, false),
            (Proof::Age(LAG), true, old, false),
            (Proof::Age(LAG), false, young, true),
        ] {
            assert_eq!(proof.holds(is_leased, age), holds, "{proof:?} {is_leased} {age:?}");
        }
    }
}
