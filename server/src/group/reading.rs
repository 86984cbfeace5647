//! Reads from what a replica has applied, in the steps a lease asks for: what the replica may answer is looked at before the state is,
//! and again, with a fresh reading of the clock, after all of a batch was read.

use std::time::Duration;

use simplekv_cluster::SlotStanding;
use simplekv_commands as commands;
use simplekv_engine::Reader;
use simplekv_resp::Command;
use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::{Failure, GroupId, GroupTime, Lsn, Position, ReadPolicy, Slot, SlotMap, SlotMapVersion, Tick};
use smallvec::smallvec;

use super::{Answer, Ownership, SlotSet};
use crate::history::{History, Standing};
use crate::hosted::Published;
use crate::prefetch::prefetch;
use crate::serving::Begun;
use crate::view::AppliedView;

/// What somebody wants to read.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// A read.
    pub command: &'a Command,
    /// Of its first key.
    pub slot: Slot,
    /// How old the answer may be.
    pub policy: ReadPolicy,
    /// What the reader's session has seen of the group.
    pub seen: Option<Position>,
}

/// What became of a read.
#[derive(Clone, Debug, PartialEq)]
pub enum Looked {
    /// Read; to be answered if this can be proved afterwards.
    Answer(Answer, Option<Proof>),
    /// It cannot be done.
    Refuse(Failure),
    /// Somebody else has to be asked.
    Redirect,
    /// Another group has to be asked: the slot map gives it this slot.
    Elsewhere(Slot),
    /// A leader's: a slot of the read is changing hands. Whoever writes will know soon whose it is.
    Changing,
    /// A follower's: records that may change what is read are appended and not applied; its leader may have shown them already.
    Dirty,
    /// The session has seen more than is applied here.
    Behind,
}

/// What has to be true, after something was read, for it to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
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

/// What a replica could promise when reads began.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    begun: Option<Begun>,
    fresh_as_of: Option<Tick>,
}

impl Terms {
    /// Which of the proofs hold now that everything was read. `now` must have been read from the clock after the data.
    pub fn prove(self, published: &Published, now: Tick) -> impl Fn(Proof) -> bool {
        let is_leased = self.begun.is_some_and(|begun| published.serving.confirms(begun, now));
        let age = self.fresh_as_of.map(|as_of| now.since(as_of));
        move |proof| proof.holds(is_leased, age)
    }
}

/// Holds the applied state still for a batch of reads. `now` must have been read from the clock after all of them had arrived. What is
/// read may be answered if the terms prove it afterwards.
pub fn hold_still<T>(
    published: &Published,
    reader: &Reader,
    group: GroupId,
    map: (&SlotMap, SlotMapVersion),
    now: Tick,
    reads: impl FnOnce(&Held<'_>) -> T,
) -> (Terms, T) {
    let begun = published.serving.begin(now);
    let fresh_as_of = published.serving.fresh_as_of(now);
    let guard = reader.guard();
    // While the state is held still, so that they tell of all that is in it: slots that have been dropped since would seem to be empty.
    let owned = published.owned.load();
    let history = published.history.load();
    let view = AppliedView::new(guard, group, owned.shown());
    let applied = view.applied();
    let held = Held {
        ground: Ground { group, begun, history: &history, applied },
        view: &view,
        owned: &owned,
        map,
        here: history.position(group, applied),
        is_leader: published.serving.is_leader(),
    };
    let done = reads(&held);
    (Terms { begun, fresh_as_of }, done)
}

/// A replica's applied state, held still.
pub struct Held<'a> {
    ground: Ground<'a>,
    view: &'a AppliedView<'a>,
    owned: &'a Ownership,
    /// The slot map this node knows.
    map: (&'a SlotMap, SlotMapVersion),
    /// Where everybody reads.
    here: Position,
    is_leader: bool,
}

impl Held<'_> {
    /// Whether the replica leads its group, with or without a lease.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.is_leader
    }

    /// Has the processor fetch what these commands will look at: with each the slot of its first key.
    pub fn prefetch<'c>(&self, commands: impl Iterator<Item = (Slot, &'c Command)> + Clone) {
        prefetch(self.view, commands);
    }

    /// Reads. `hour` tells how long keys still live; most reads never ask.
    #[must_use]
    pub fn look(&self, wanted: &Wanted<'_>, hour: impl Fn() -> GroupTime) -> Looked {
        let command = wanted.command;
        // Which keys those are that it does not name is known only when it is answered.
        let is_pending = || command.reads_unnamed_keys() || command.keys().any(|key| self.view.is_pending(key));
        let course = self.ground.course(wanted.policy, wanted.seen, is_pending);
        if !matches!(course, Course::Refuse(_) | Course::Redirect)
            && let Some(slot) = not_shown(command, wanted.slot, self.owned.shown())
        {
            return self.look_elsewhere(slot);
        }
        match course {
            Course::Answer(proof) => Looked::Answer(self.answer(command, hour), proof),
            Course::Refuse(failure) => Looked::Refuse(failure),
            Course::Redirect => Looked::Redirect,
            Course::Dirty => Looked::Dirty,
            Course::Behind => Looked::Behind,
        }
    }

    /// Of a read for a slot that may not be shown here.
    fn look_elsewhere(&self, slot: Slot) -> Looked {
        let (map, version) = self.map;
        match self.owned.standing(self.ground.group, map, version, slot) {
            SlotStanding::Moved(_) => Looked::Elsewhere(slot),
            SlotStanding::Unowned => Looked::Refuse(Failure::SlotUnserved { slot }),
            _ if self.is_leader => Looked::Changing,
            _ => Looked::Redirect,
        }
    }

    /// What is visible is decided by group time alone. How long a key still lives is told by the clock of the hour: group time stands
    /// still while a group is idle.
    fn answer(&self, command: &Command, hour: impl Fn() -> GroupTime) -> Answer {
        let time = if is_broken(Rule::C51) { hour() } else { self.view.time() };
        let reply = match command {
            Command::Ttl { .. } => commands::read_at_hour(command, self.view, time, time.max(hour())),
            _ => commands::read(command, self.view, time),
        };
        Answer { reply, time, seen: smallvec![self.here] }
    }
}

/// A slot of the command that this group may not show. `first` is that of its first key.
fn not_shown(command: &Command, first: Slot, shown: &SlotSet) -> Option<Slot> {
    if !shown.contains(first) {
        return Some(first);
    }
    command.keys().skip(1).map(|key| Slot::of_key(key)).find(|&slot| !shown.contains(slot))
}

/// What a replica knows of the state it reads from. Everything in it was read while that state was held still, or before.
struct Ground<'a> {
    group: GroupId,
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
            _ if seen.is_some_and(|seen| self.history.judge(&seen, self.applied) == Standing::Contradicts) => {
                return Course::Refuse(Failure::TokenLost { group: self.group });
            }
            _ if self.follows() && is_pending() => return Course::Dirty,
            _ => return Course::Answer(Some(Proof::Lease)),
        }
        let Some(seen) = seen else { return self.age_course(policy, is_pending) };
        match (self.history.judge(&seen, self.applied), policy) {
            (Standing::Contradicts, _) => Course::Refuse(Failure::TokenLost { group: self.group }),
            // Whoever has the leader's lease has everything that anybody can have seen.
            (Standing::Behind, _) if self.leads() => Course::Refuse(Failure::TokenLost { group: self.group }),
            (Standing::Behind, _) => Course::Behind,
            // The slots may have gone elsewhere and come back since: whoever has a lease surely has what was done meanwhile.
            (Standing::Covers, _) if seen.slots > self.history.slots() && !is_broken(Rule::M22) => match self.begun {
                None => Course::Redirect,
                Some(begun) if !begun.leads() && is_pending() => Course::Dirty,
                Some(_) => Course::Answer(Some(Proof::Lease)),
            },
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
        let ground = Ground { group: GROUP, begun, history: &history, applied: Lsn(15) };
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
        let leader = course(Lease::Leader, ReadPolicy::Linearizable, seen(3, 15), false);
        assert_eq!(leader, LOST, "a session's read among writes");
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

    /// M22: the group may have been given the slots by another after the session read them there.
    #[test]
    fn a_session_that_knows_a_newer_slot_map_is_answered_under_a_lease_only() {
        let newer = seen(4, 15).map(|seen| Position { slots: SlotMapVersion(6), ..seen });
        let course = |lease, is_pending| course(lease, ReadPolicy::SESSION, newer, is_pending);
        assert_eq!(course(Lease::None, false), Course::Redirect);
        assert_eq!(course(Lease::Follower, false), Course::Answer(Some(Proof::Lease)));
        assert_eq!(course(Lease::Follower, true), Course::Dirty);
        assert_eq!(course(Lease::Leader, true), Course::Answer(Some(Proof::Lease)));
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
