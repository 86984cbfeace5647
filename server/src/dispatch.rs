//! From any door to the right group: what to read here and now, what to hand to a group's writer, and what to refuse.
//!
//! Operations that arrive together are executed together: per group the writes are one submission to its writer, the reads one pass
//! under one lease check. A read that stands behind a write to the same group goes with the writes, so that whoever pipelines SET
//! and GET sees what it set.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use simplekv_resp::{Command, several_groups};
use simplekv_types::{
    ClientId, Dedupe, Failure, GroupId, GroupTime, Lsn, NodeId, Position, ReadPolicy, Reply, SessionToken, Slot,
};
use smallvec::SmallVec;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::group::{Answer, GroupRequest, Submission};
use crate::history::Standing;
use crate::hosted::{Hosted, Order};
use crate::routing::Routing;
use crate::shared::{InFlight, Shared};
use crate::{keyspace, read};

/// How long a follower waits for what is on its way before it sends the reader to the leader.
const DIRTY_PATIENCE: Duration = Duration::from_millis(20);
/// How long a session may wait at most if it does not say how long it waits for anything.
const SESSION_PATIENCE_MAX: Duration = Duration::from_secs(1);

/// Which rules apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// Redis Cluster's: the keys of one command share a slot, and keyspace-wide commands mean what this node leads.
    Resp,
    /// The smart client's: the keys of one command share a group.
    Lane,
}

/// One command as any door hands it in.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) command: Command,
    /// Ignored by writes.
    pub(crate) policy: ReadPolicy,
    /// What the reader has seen before.
    pub(crate) session: Option<Seen>,
    pub(crate) dedupe: Option<(ClientId, Dedupe)>,
    /// How long the caller waits; `None` for the node's own limit.
    pub(crate) timeout: Option<Duration>,
    /// The group meant by a keyspace-wide command; `None` for every group led here.
    pub(crate) group: Option<GroupId>,
    /// The connection that asks, if it does not want to hear of what it changes itself.
    pub(crate) origin: Option<u64>,
}

impl Operation {
    pub(crate) fn plain(command: Command) -> Self {
        let policy = ReadPolicy::default();
        Self { command, policy, session: None, dedupe: None, timeout: None, group: None, origin: None }
    }
}

/// What a session has seen, as far as it was sent along.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// Of the group that the sender takes for the owner of the keys.
    Of(Position),
    /// Of all groups.
    All(Arc<SessionToken>),
}

impl Seen {
    /// What was seen of a group; `None` if that was not sent along.
    fn of(&self, group: GroupId) -> Option<Position> {
        match self {
            Self::Of(position) => (position.group == group).then_some(*position),
            Self::All(token) => Some(token.position(group)),
        }
    }
}

/// Operations under way.
#[derive(Debug)]
pub(crate) struct Execution {
    /// In the order of the operations; `None` while a group still works on it.
    answers: Vec<Option<Answer>>,
    outstanding: Vec<Outstanding>,
    behind: Vec<Behind>,
    _in_flight: Option<InFlight>,
}

/// Reads of sessions that have seen more than was applied here.
#[derive(Debug)]
struct Behind {
    group: Arc<Hosted>,
    reads: Vec<Read>,
    /// Tells when it is applied.
    applied: oneshot::Receiver<Vec<Answer>>,
    deadline: Instant,
}

#[derive(Debug)]
struct Outstanding {
    /// Which operations, in the order of the submission, and whether each may have changed something.
    places: Vec<(usize, bool)>,
    answers: oneshot::Receiver<Vec<Answer>>,
    deadline: Instant,
    /// What a follower answers when what it waits for does not come in time: ask the leader.
    else_ask: Option<Failure>,
}

impl Execution {
    /// Whether nothing has to be waited for.
    pub(crate) fn is_done(&self) -> bool {
        self.outstanding.is_empty() && self.behind.is_empty()
    }

    /// The answers, in the order of the operations.
    pub(crate) async fn finish(mut self, shared: &Shared) -> Vec<Answer> {
        for Behind { group, reads, applied, deadline } in std::mem::take(&mut self.behind) {
            // Whether it came in time or not: what is applied now decides.
            let _ = tokio::time::timeout_at(deadline, applied).await;
            let routing = shared.routing();
            let later = read::execute(shared, &routing, &group, reads, &mut self.answers);
            name_leader(&routing, shared.node(), group.id(), &later.behind, &mut self.answers);
            for read in later.changing {
                if let Some(answer) = self.answers.get_mut(read.place) {
                    *answer = Some(Failure::TryAgain { slot: read.slot }.into());
                }
            }
        }
        for outstanding in std::mem::take(&mut self.outstanding) {
            let outcome = tokio::time::timeout_at(outstanding.deadline, outstanding.answers).await;
            let in_time = outcome.is_ok();
            let else_ask = outstanding.else_ask;
            let failure = |wrote: bool| match (in_time, wrote) {
                _ if else_ask.is_some() => else_ask.clone().expect("just seen"),
                (false, true) => Failure::Uncertain { reason: Cow::Borrowed("it was not committed in time") },
                (false, false) => Failure::Timeout { what: Cow::Borrowed("the group did not answer") },
                (true, true) => Failure::Uncertain { reason: Cow::Borrowed("the node is stopping") },
                (true, false) => Failure::NotServing { reason: Cow::Borrowed("the node is stopping") },
            };
            let mut answered = outcome.ok().and_then(Result::ok).unwrap_or_default().into_iter();
            for (place, wrote) in outstanding.places {
                let answer = match answered.next() {
                    // The lease under which a follower waited has ended: the leader knows.
                    Some(Answer { reply: Reply::Error(Failure::NoLeader { .. }), .. }) if else_ask.is_some() => {
                        failure(wrote).into()
                    }
                    Some(answer) => answer,
                    None => failure(wrote).into(),
                };
                match self.answers.get_mut(place) {
                    // Of a command that went to several groups, a failure is the answer.
                    Some(Some(Answer { reply: Reply::Error(_), .. })) | None => (),
                    Some(known) => {
                        let seen = known.take().map(|answer| answer.seen).unwrap_or_default();
                        known.insert(answer).seen.extend(seen);
                    }
                }
            }
        }
        let lost = || Failure::NotServing { reason: Cow::Borrowed("the operation was lost") }.into();
        let known = self.answers.into_iter().map(|answer| answer.unwrap_or_else(lost));
        known.map(|answer| with_address(shared, answer)).collect()
    }
}

/// A group knows which other group has its slots, and not where that is.
fn with_address(shared: &Shared, answer: Answer) -> Answer {
    match answer.reply {
        Reply::Error(Failure::Moved { slot, node: None, .. }) => shared.routing().moved(slot).into(),
        _ => answer,
    }
}

/// A read to be answered here.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) place: usize,
    /// Its first key's.
    pub(crate) slot: Slot,
    /// What its session has seen of the group.
    pub(crate) seen: Option<Position>,
    pub(crate) operation: Operation,
}

/// Operations of one group, sorted by who executes them.
struct Share {
    group: Arc<Hosted>,
    reads: Vec<Read>,
    submitted: Vec<GroupRequest>,
    places: Vec<(usize, bool)>,
    timeout: Duration,
}

impl Shared {
    /// Begins to execute operations; those that were not even understood are answered with why.
    pub(crate) fn execute(&self, door: Door, operations: Vec<Result<Operation, Failure>>) -> Execution {
        let count = operations.len();
        let mut answers: Vec<Option<Answer>> = Vec::new();
        answers.resize_with(count, || None);
        let Some(in_flight) = self.take_in_flight(count) else {
            let busy = || Some(Failure::Busy { what: "too many requests in flight" }.into());
            answers.iter_mut().for_each(|answer| *answer = busy());
            return Execution { answers, outstanding: Vec::new(), behind: Vec::new(), _in_flight: None };
        };
        let routing = self.routing();
        let mut shares: Vec<Share> = Vec::with_capacity(1);
        for (place, operation) in operations.into_iter().enumerate() {
            let placed = operation.and_then(|operation| self.place(&routing, door, &mut shares, place, operation));
            if let Some(answer) = answers.get_mut(place) {
                *answer = placed.unwrap_or_else(|failure| Some(failure.into()));
            }
        }
        // Reads first: one that stands before a write of the same batch must not see it.
        let (mut outstanding, mut behind) = (Vec::new(), Vec::new());
        for share in &mut shares {
            if !share.reads.is_empty() {
                let reads = std::mem::take(&mut share.reads);
                let later = read::execute(self, &routing, &share.group, reads, &mut answers);
                outstanding.extend(wait_for(&routing, self.node(), share, later.dirty, &mut answers));
                // Whoever writes holds them until it is known whose they are.
                later.changing.into_iter().for_each(|read| self.submit_to(share, read.place, false, read.operation));
                if share.submitted.is_empty() {
                    behind.extend(catch_up(share, later.behind, later.end));
                    continue;
                }
                // While they waited the writes behind them might be done.
                name_leader(&routing, self.node(), share.group.id(), &later.behind, &mut answers);
            }
        }
        outstanding.extend(shares.iter_mut().filter_map(|share| submit(share, &mut answers)));
        Execution { answers, outstanding, behind, _in_flight: Some(in_flight) }
    }

    fn place(
        &self,
        routing: &Routing,
        door: Door,
        shares: &mut Vec<Share>,
        place: usize,
        operation: Operation,
    ) -> Result<Option<Answer>, Failure> {
        self.check_size(&operation.command)?;
        if operation.command.is_keyspace_wide() {
            return self.place_keyspace(routing, shares, place, operation);
        }
        let (slot, owner) = target(routing, door, &operation.command)?;
        let is_known = shares.iter().any(|share| share.group.id() == owner);
        let group = if is_known { owner } else { self.holder(slot, owner) };
        let wrote = operation.command.is_write();
        let anyone = operation.policy == ReadPolicy::Any && !wrote;
        if (wrote || operation.policy.is_leaders()) && routing.led_elsewhere(group, self.node()) {
            return Err(routing.not_leader(slot, group, self.node()));
        }
        let Some(share) = self.share(shares, group) else { return Err(routing.moved(slot)) };
        self.load().note(&operation.command, slot);
        // A client says what its session has seen only where that counts.
        let is_floor = |session: &&Seen| matches!(session, Seen::Of(_)) || !operation.policy.is_linearizable();
        let session = operation.session.as_ref().filter(|_| !wrote && !anyone).filter(is_floor);
        let seen = session.map(|session| session.of(group).ok_or_else(|| routing.moved(slot))).transpose()?;
        let barrier = operation.policy == ReadPolicy::Quorum && !wrote;
        if !wrote && !barrier && (share.submitted.is_empty() || anyone) {
            share.reads.push(Read { place, slot, seen, operation });
            return Ok(None);
        }
        // A read that goes with writes is linearizable: nothing is missing unless it is lost.
        if let Some(seen) = seen
            && share.group.judge(&seen) == Standing::Contradicts
        {
            return Err(Failure::TokenLost { group });
        }
        self.submit_to(share, place, barrier, operation);
        Ok(None)
    }

    /// Reads of all keys are answered at once; FLUSHALL goes to every group meant.
    fn place_keyspace(
        &self,
        routing: &Routing,
        shares: &mut Vec<Share>,
        place: usize,
        operation: Operation,
    ) -> Result<Option<Answer>, Failure> {
        if !operation.command.is_write() {
            return Ok(Some(keyspace::read(self, &operation.command, operation.group)));
        }
        let groups: Vec<GroupId> = match operation.group {
            Some(group) => vec![group],
            // Also those that cannot write at this moment: they refuse, and nobody is told that everything is gone.
            None => routing.led_by(self.node()).collect(),
        };
        for &group in &groups {
            let Some(share) = self.share(shares, group) else { return Err(Failure::NoLeader { group }) };
            self.submit_to(share, place, false, operation.clone());
        }
        Ok(groups.is_empty().then_some(Answer { reply: Reply::Ok, time: GroupTime::ZERO, seen: SmallVec::new() }))
    }

    fn submit_to(&self, share: &mut Share, place: usize, barrier: bool, operation: Operation) {
        share.timeout = share.timeout.max(operation.timeout.unwrap_or(self.limits().request_timeout));
        share.places.push((place, operation.command.is_write()));
        let Operation { command, dedupe, origin, .. } = operation;
        share.submitted.push(GroupRequest { command, dedupe, barrier, origin });
    }

    /// The share of a group hosted here. A node hosts few groups and a batch touches fewer: a list beats a map.
    fn share<'a>(&self, shares: &'a mut Vec<Share>, group: GroupId) -> Option<&'a mut Share> {
        let known = match shares.iter().position(|share| share.group.id() == group) {
            Some(known) => known,
            None => {
                shares.push(Share::new(self.hosted(group)?));
                shares.len() - 1
            }
        };
        shares.get_mut(known)
    }
}

impl Share {
    fn new(group: Arc<Hosted>) -> Self {
        Self { group, reads: Vec::new(), submitted: Vec::new(), places: Vec::new(), timeout: Duration::ZERO }
    }
}

/// The slot that decides, and the group that has to answer.
fn target(routing: &Routing, door: Door, command: &Command) -> Result<(Slot, GroupId), Failure> {
    let mut keys = command.keys();
    let first = keys.next();
    let slot = first.map_or(Slot::MIN, |key| Slot::of_key(key));
    let group = routing.owner(slot).ok_or(Failure::SlotUnserved { slot })?;
    for key in keys {
        let other = Slot::of_key(key);
        let together = match (door, command) {
            (Door::Resp, command) if !matches!(command, Command::Atomic(_)) => other == slot,
            _ => other == slot || routing.owner(other) == Some(group),
        };
        match command {
            _ if together => (),
            Command::Atomic(_) => return Err(several_groups(first.map_or(&[], |key| key), key)),
            _ => return Err(Failure::CrossSlot),
        }
    }
    Ok((slot, group))
}

/// Hands a share's writes to the group's writer.
fn submit(share: &mut Share, answers: &mut [Option<Answer>]) -> Option<Outstanding> {
    if share.submitted.is_empty() {
        return None;
    }
    let (respond, receiver) = oneshot::channel();
    let requests = std::mem::take(&mut share.submitted);
    let places = std::mem::take(&mut share.places);
    let deadline = Instant::now() + share.timeout;
    if let Err(failure) = share.group.submit(Submission { requests, respond }) {
        for (place, _) in places {
            if let Some(answer) = answers.get_mut(place) {
                *answer = Some(failure.clone().into());
            }
        }
        return None;
    }
    Some(Outstanding { places, answers: receiver, deadline, else_ask: None })
}

/// Has a replica say when it has applied what sessions have seen, if they are willing to wait.
fn catch_up(share: &Share, reads: Vec<Read>, end: Lsn) -> Option<Behind> {
    let patience = reads.iter().map(patience).max()?;
    let (respond, applied) = oneshot::channel();
    if !patience.is_zero() {
        share.group.tell(Order::WhenApplied { end, done: respond });
    }
    Some(Behind { group: Arc::clone(&share.group), reads, applied, deadline: Instant::now() + patience })
}

/// Sends readers whose sessions have seen more than is applied here to the leader.
fn name_leader(routing: &Routing, node: NodeId, group: GroupId, reads: &[Read], answers: &mut [Option<Answer>]) {
    for Read { place, slot, .. } in reads {
        if let Some(answer) = answers.get_mut(*place) {
            *answer = Some(routing.not_leader(*slot, group, node).into());
        }
    }
}

/// How long a read's session is willing to wait for a replica that is behind it.
fn patience(read: &Read) -> Duration {
    let wait = match read.operation.policy {
        ReadPolicy::Session { wait } => wait,
        _ => DIRTY_PATIENCE,
    };
    read.operation.timeout.map_or(wait.min(SESSION_PATIENCE_MAX), |timeout| wait.min(timeout))
}

/// Has a follower's task answer reads of keys that something on its way may change: once it is applied, if that is soon.
fn wait_for(
    routing: &Routing,
    node: NodeId,
    share: &Share,
    dirty: Vec<Read>,
    answers: &mut [Option<Answer>],
) -> Option<Outstanding> {
    let slot = dirty.first()?.slot;
    let (respond, receiver) = oneshot::channel();
    let places = dirty.iter().map(|read| (read.place, false)).collect();
    let requests = dirty
        .into_iter()
        .map(|read| GroupRequest { command: read.operation.command, dedupe: None, barrier: false, origin: None })
        .collect();
    let mut waiting = Outstanding {
        places,
        answers: receiver,
        deadline: Instant::now() + DIRTY_PATIENCE,
        else_ask: Some(routing.not_leader(slot, share.group.id(), node)),
    };
    if share.group.submit(Submission { requests, respond }).is_err()
        && let Some(failure) = waiting.else_ask.take()
    {
        for &(place, _) in &waiting.places {
            if let Some(answer) = answers.get_mut(place) {
                *answer = Some(failure.clone().into());
            }
        }
        return None;
    }
    Some(waiting)
}
