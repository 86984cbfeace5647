//! One request, or a few that must be executed in order, from the first attempt to the result.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use simplekv_proto::Manner;
use simplekv_types::{Dedupe, GroupId, GroupTime, NodeId, Position, ReadPolicy, Reply, Seq, Slot};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::{Core, Write};
use crate::attempt::{self, Access, Action, Draw, Outcome, Plan, Progress, Sign, Time};
use crate::balance::Underway;
use crate::error::{Error, Result};
use crate::inbox::{Inbox, Returned, Verdict};
use crate::pool::Places;
use crate::session::{Answered, Floor};
use crate::topology::{Topology, process_millis};
use crate::tracking::{Stale, Trackers};
use crate::{RequestId, Target};

/// Requests for one target that are executed in this order. Almost always one.
pub(super) type Requests = SmallVec<[Request; 1]>;

/// One request under way.
pub(super) struct Request {
    plan: Plan,
    args: Arc<[Bytes]>,
    write: Option<Write>,
    floor: Floor,
    /// Its policy was weaker before it followed writes: what its session has seen must still be there.
    follows_writes: bool,
    progress: Progress,
    stage: Stage,
    /// Where the latest answer was read or written.
    seen: Option<Position>,
    tracked: Tracked,
}

/// Whether changes of what a request reads are told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tracked {
    NotWanted,
    /// As far as is known.
    Not,
    /// By the node that answered.
    Yes,
}

enum Stage {
    /// What became of the latest attempt, not yet considered.
    Back(Outcome),
    /// About to be sent.
    Leaving {
        attempt: u32,
        timeout: Duration,
    },
    /// On its way, in this place of its parcel, under this number if it has an identity.
    Away {
        place: usize,
        attempt: Option<u32>,
    },
    Done(Result<Reply>),
}

/// What was begun after the outcomes of the latest attempts.
enum Begun {
    Finished,
    Sent { to: NodeId, places: Places, inbox: Inbox, timeout: Duration },
    Full,
    Paused(Pause),
}

struct Pause {
    step: u32,
    over_budget: bool,
    asked: Option<NodeId>,
    seen: Arc<Topology>,
}

impl Request {
    pub(super) fn new(plan: Plan, args: Arc<[Bytes]>, write: Option<Write>, floor: Floor) -> Self {
        let (progress, stage) = (Progress::default(), Stage::Back(Outcome::Ready));
        Self {
            plan,
            args,
            write,
            floor,
            follows_writes: false,
            progress,
            stage,
            seen: None,
            tracked: Tracked::NotWanted,
        }
    }

    /// A request that goes where it likes: no other must see what it does, or be seen by it.
    pub(super) fn alone(mut self) -> Self {
        self.plan.spread = matches!(self.plan.target, Target::Slot(_));
        self
    }

    /// A request like this one, sent with the same attempt, of which this came back.
    pub(super) fn likewise(&self, slot: Slot, args: Arc<[Bytes]>, write: Option<Write>, verdict: Verdict) -> Self {
        let Verdict { outcome, seen, .. } = verdict;
        let (floor, progress) = (self.floor.clone(), self.progress.clone());
        let (plan, follows_writes) = (Plan { target: Target::Slot(slot), ..self.plan }, self.follows_writes);
        let (stage, tracked) = (Stage::Back(outcome), self.tracked);
        Self { plan, args, write, floor, follows_writes, progress, stage, seen, tracked }
    }

    /// The same write under another number.
    pub(super) fn numbered(mut self, seq: Seq) -> Self {
        if let Access::Write(Some(id)) = &mut self.plan.access {
            id.seq = seq;
        }
        self
    }

    /// A read in a row with this write: it goes where the write goes, and sees what was done before it.
    pub(super) fn beside(&self, plan: Plan, floor: Floor) -> Self {
        let mut read = Self { progress: self.progress.clone(), ..Self::new(plan, Arc::default(), None, floor) };
        read.follow_the_writes();
        read
    }

    /// Has those who keep copies told of changes of what it reads, or that they will not be.
    pub(super) fn track(&mut self) {
        self.tracked = Tracked::Not;
    }

    fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done(_))
    }

    /// Whether it was executed, as opposed to refused or unknown.
    fn was_executed(&self) -> bool {
        matches!(self.stage, Stage::Done(Ok(_)))
    }

    /// Whether it was executed or nobody knows. Says something about writes only.
    fn may_have_been_executed(&self) -> bool {
        match &self.stage {
            Stage::Done(Ok(_)) => true,
            Stage::Done(Err(error)) => error.may_have_applied(),
            Stage::Back(_) | Stage::Leaving { .. } | Stage::Away { .. } => self.progress.is_in_doubt(),
        }
    }

    /// Ends it, whatever would have followed.
    fn abandon(&mut self, last: Error) {
        self.stage = Stage::Done(Err(attempt::abandon(&self.plan, &self.progress, last)));
    }

    pub(super) fn request_id(&self) -> Option<RequestId> {
        self.plan.access.request_id()
    }

    pub(super) fn is_write(&self) -> bool {
        matches!(self.plan.access, Access::Write(_))
    }

    /// Has a read among writes answered by whoever they go to.
    pub(super) fn follow_the_writes(&mut self) {
        if let Access::Read(policy) = &mut self.plan.access
            && !policy.is_linearizable()
        {
            self.follows_writes = matches!(policy, ReadPolicy::Session { .. } | ReadPolicy::Bounded { .. });
            *policy = ReadPolicy::Linearizable;
        }
    }

    /// Which replicas may answer, and what the answer must not be older than; `group` is who is asked.
    fn demand(&self, group: Option<GroupId>) -> (ReadPolicy, Option<Position>) {
        let Access::Read(policy) = self.plan.access else { return (ReadPolicy::Linearizable, None) };
        if !matches!(policy, ReadPolicy::Session { .. } | ReadPolicy::Bounded { .. }) && !self.follows_writes {
            return (policy, None);
        }
        match (&self.floor, group) {
            (Floor::Session(ledger), Some(group)) => (policy, Some(ledger.position(group))),
            (Floor::Position(position), Some(group)) if position.group == group => (policy, Some(*position)),
            // The slot has gone to a group of which nothing, or not everything, was written down.
            (Floor::Position(_), _) => (ReadPolicy::Linearizable, None),
            (Floor::Nothing, _) | (Floor::Session(_), None) => (policy, None),
        }
    }

    /// How an attempt asks; `group` is who is asked.
    pub(super) fn manner(&self, group: Option<GroupId>, attempt: u32, timeout: Duration) -> Manner {
        let (read, seen) = self.demand(group);
        let dedupe = self.plan.access.request_id().zip(self.write.as_ref()).map(|(id, write)| Dedupe {
            seq: id.seq,
            ack_below: write.ack_below,
            deadline: id.deadline,
            attempt: write.attempts_before + attempt,
        });
        Manner {
            read,
            dedupe,
            timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
            group: match self.plan.target {
                Target::Slot(_) => None,
                Target::Group(group) => Some(group),
            },
            seen,
            tracker: 0,
        }
    }

    /// Whether a replica that cannot answer it is no good for most other reads either.
    fn asks_for_little(&self) -> bool {
        !matches!(self.plan.access, Access::Read(ReadPolicy::Bounded { .. }))
    }

    /// The number it carries to the node at this address. What an earlier attempt was answered says nothing about the next.
    fn tracker(&mut self, trackers: &Trackers, address: &str) -> u64 {
        if self.tracked == Tracked::NotWanted {
            return 0;
        }
        self.tracked = Tracked::Not;
        trackers.number(address)
    }

    /// Takes the outcome of the latest attempt, if it is back.
    fn outcome(&mut self) -> Option<Outcome> {
        match &mut self.stage {
            Stage::Back(outcome) => Some(std::mem::replace(outcome, Outcome::Ready)),
            Stage::Leaving { .. } | Stage::Away { .. } | Stage::Done(_) => None,
        }
    }

    /// Takes what came back of the present attempt.
    fn come_back(&mut self, returned: &mut Returned) -> Option<GroupTime> {
        let Stage::Away { place, attempt } = self.stage else { return None };
        let Verdict { outcome, time, seen, tracked } = returned.take(place, attempt);
        if time.is_some() {
            self.seen = seen;
        }
        if tracked && self.tracked != Tracked::NotWanted {
            self.tracked = Tracked::Yes;
        }
        self.stage = Stage::Back(outcome);
        time
    }
}

impl Core {
    /// Runs requests for one target to their ends.
    pub(super) async fn run(&self, requests: Requests, lane: Option<usize>) -> SmallVec<[Result<Answered>; 1]> {
        self.run_on(requests, lane, Instant::now()).await
    }

    /// Runs requests that were begun some time ago, and may have been sent, to their ends.
    pub(super) async fn run_on(
        &self,
        mut requests: Requests,
        lane: Option<usize>,
        began: Instant,
    ) -> SmallVec<[Result<Answered>; 1]> {
        loop {
            match self.begin(&mut requests, lane, began) {
                Begun::Finished => break,
                Begun::Full => {
                    let what = "too many requests in flight at the node";
                    requests.iter_mut().filter(|request| !request.is_done()).for_each(|request| {
                        request.stage = Stage::Back(Outcome::Full { what });
                    });
                }
                Begun::Sent { to, places, inbox, timeout } => {
                    let until = Instant::now() + timeout;
                    let underway = self.balance.begin(to, requests.len());
                    let mut returned = inbox.empty_at(until).await;
                    for request in &mut requests {
                        if let Some(time) = request.come_back(&mut returned) {
                            self.observe(request.plan.target, time);
                        }
                        self.judge(to, &underway, request);
                    }
                    drop(underway);
                    drop(places);
                }
                Begun::Paused(pause) => {
                    let plan = requests.first().expect("only requests pause").plan;
                    self.pause(&plan, pause, began).await;
                }
            }
        }
        for request in requests.iter().filter(|request| request.tracked == Tracked::Not) {
            self.trackers.tell(Stale::Read(&request.args));
        }
        let results = requests.into_iter().map(|Request { stage, seen, .. }| match stage {
            Stage::Done(result) => result.map(|reply| Answered { reply, seen }),
            _ => unreachable!("all are done"),
        });
        results.collect()
    }

    /// Decides about the first attempt of a request and of all like it. `None` if it cannot be made right now.
    pub(super) fn depart(&self, request: &mut Request, topology: &Topology) -> Option<(NodeId, Duration)> {
        let mut time = Time { elapsed: Duration::ZERO, millis: process_millis(), budget: &mut || self.withdraw() };
        let draw = Draw { dice: rand::random(), cost: &|node| self.balance.cost(node), zone: &self.config.zone };
        let Request { plan, progress, .. } = request;
        match attempt::decide(plan, progress, Outcome::Ready, topology, &mut time, draw) {
            Action::Send { to, timeout, .. } => Some((to, timeout)),
            Action::Pause { .. } | Action::Finish(_) => None,
        }
    }

    async fn pause(&self, plan: &Plan, pause: Pause, began: Instant) {
        let Pause { step, over_budget, asked, seen } = pause;
        let elsewhere = |next: &Topology| attempt::leader(plan, next).is_some_and(|node| Some(node) != asked);
        let until = began + plan.total;
        tokio::select! {
            () = self.config.backoff.pause(step, over_budget, until, &self.slots, &seen, elsewhere) => (),
            () = self.ended() => (),
        }
    }

    /// Decides for each request what follows, and begins it for all of them together: while one has to pause, those after it must not
    /// overtake it, and what is sent is sent as one parcel.
    fn begin(&self, requests: &mut Requests, lane: Option<usize>, began: Instant) -> Begun {
        for request in requests.iter_mut() {
            if let Stage::Back(outcome) = &request.stage {
                self.learn(outcome);
            }
        }
        let topology = self.slots.load();
        let elapsed = began.elapsed();
        let mut destination = None;
        let mut pause: Option<(u32, bool)> = None;
        for request in requests.iter_mut() {
            let Some(outcome) = request.outcome() else { continue };
            let was_answered = matches!(outcome, Outcome::Answered(_));
            let mut budget = || self.withdraw();
            let mut time = Time { elapsed, millis: process_millis(), budget: &mut budget };
            let Request { plan, progress, .. } = request;
            let draw = Draw { dice: rand::random(), cost: &|node| self.balance.cost(node), zone: &self.config.zone };
            match attempt::decide(plan, progress, outcome, &topology, &mut time, draw) {
                Action::Finish(result) => request.stage = Stage::Done(result),
                Action::Send { to, attempt, timeout } => {
                    match attempt {
                        1 => (),
                        _ if was_answered => self.stats.redirects.increment(),
                        _ => self.stats.retries.increment(),
                    }
                    destination.get_or_insert(to);
                    request.stage = Stage::Leaving { attempt, timeout };
                }
                Action::Pause { step, over_budget, refresh } => {
                    if refresh {
                        self.slots.request_refresh();
                    }
                    let (longest, any_over) = pause.unwrap_or_default();
                    pause = Some((longest.max(step), any_over || over_budget));
                }
            }
        }
        if keep_order(requests) {
            pause.get_or_insert((0, false));
        }
        if self.is_ended() {
            requests.iter_mut().filter(|request| !request.is_done()).for_each(|request| request.abandon(Error::Closed));
        }
        let Some(first) = requests.iter().find(|request| !request.is_done()) else { return Begun::Finished };
        let asked = first.progress.asked;
        match (pause, destination) {
            (Some((step, over_budget)), _) => {
                requests.iter_mut().for_each(|request| {
                    if let Stage::Leaving { .. } = request.stage {
                        request.stage = Stage::Back(Outcome::Ready);
                    }
                });
                Begun::Paused(Pause { step, over_budget, asked, seen: arc_swap::Guard::into_inner(topology) })
            }
            (None, destination) => {
                let to = destination.expect("a request that is not done pauses or leaves");
                self.send(requests, &topology, to, lane)
            }
        }
    }

    fn send(&self, requests: &mut Requests, topology: &Topology, to: NodeId, lane: Option<usize>) -> Begun {
        let node = topology.node(to).expect("attempts go to nodes of the topology");
        let mut longest = Duration::ZERO;
        let (mut packing, mut client) = (self.packing(requests.len(), 0), self.sequence.client());
        for request in requests {
            if let Stage::Leaving { attempt, timeout } = request.stage {
                // All go where the first goes, whatever was drawn for them.
                request.progress.asked = Some(to);
                longest = longest.max(timeout);
                let group = topology.group_of(request.plan.target).map(|group| group.id);
                let mut manner = request.manner(group, attempt, timeout);
                manner.tracker = request.tracker(&self.trackers, &node.addresses.grpc);
                if let Some(id) = request.plan.access.request_id() {
                    client = id.client;
                }
                let place = packing.push(&request.args, &manner);
                request.stage = Stage::Away { place, attempt: manner.dedupe.map(|dedupe| dedupe.attempt) };
            }
        }
        let (parcel, _, inbox) = packing.seal(client);
        match self.pool.submit(node, lane, parcel) {
            Some(places) => Begun::Sent { to, places, inbox, timeout: longest },
            None => Begun::Full,
        }
    }

    /// Takes from what came back of an attempt what it says about the node that was asked.
    pub(super) fn judge(&self, node: NodeId, underway: &Underway, request: &Request) {
        let Stage::Back(outcome) = &request.stage else { return };
        match outcome.sign() {
            Some(Sign::Answers) if !request.is_write() => underway.answered(),
            Some(Sign::HoldsNoLease) if request.asks_for_little() => self.balance.found_without_lease(node),
            Some(Sign::IsGone) => self.balance.lost(node),
            Some(Sign::Answers | Sign::HoldsNoLease) | None => (),
        }
    }

    /// Takes from an outcome what concerns all requests.
    fn learn(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Answered(Reply::Error(failure)) => {
                self.slots.learn(failure);
            }
            Outcome::Answered(_) => self.budget.deposit(1),
            Outcome::Full { .. } => self.stats.overloaded.increment(),
            Outcome::Ready
            | Outcome::Lost { .. }
            | Outcome::TimedOut { .. }
            | Outcome::Unreadable(_)
            | Outcome::Held
            | Outcome::TooLarge { .. } => (),
        }
    }

    fn withdraw(&self) -> bool {
        let is_covered = self.budget.withdraw();
        if !is_covered {
            self.stats.retries_over_budget.increment();
        }
        is_covered
    }
}

/// Keeps requests from being done in another order than theirs: a node may execute one although it refuses, or its answer loses, one
/// before it. Returns whether something has to be repeated.
///
/// A read behind one that is still to be done is repeated in its turn. A write cannot be taken back, so what stands before one that was
/// done, or may have been, must not be done after it: it ends with what happened to it. Two writes in doubt are the exception: both are
/// repeated in order, and each is done once.
fn keep_order(requests: &mut Requests) -> bool {
    let done = requests.iter().rposition(|request| request.is_write() && request.was_executed());
    let begun = requests.iter().rposition(|request| request.is_write() && request.may_have_been_executed());
    let (mut is_behind_open, mut repeats) = (false, false);
    for (at, request) in requests.iter_mut().enumerate() {
        let is_before = |later: Option<usize>| later.is_some_and(|later| at < later);
        let is_overtaken = is_before(done) || (is_before(begun) && !request.progress.is_in_doubt());
        if !request.is_done() && is_overtaken {
            let last =
                request.progress.last.take().unwrap_or(Error::Overloaded { what: "a later request was done first" });
            request.abandon(last);
        } else if !request.is_done() {
            is_behind_open = true;
        } else if is_behind_open && !is_overtaken && request.was_executed() && !request.is_write() {
            request.stage = Stage::Back(Outcome::Ready);
            repeats = true;
        }
    }
    repeats
}
