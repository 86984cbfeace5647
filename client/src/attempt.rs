//! What follows from the outcome of an attempt: the whole redirect and retry policy, without I/O, clock or randomness.
//!
//! [`decide`] is called before the first attempt and after every one. It says where to send next, whether to pause, or how the
//! request ends. Whoever calls it does what it says and decides nothing.

use std::time::Duration;

use simplekv_types::{Failure, FailureCode, GroupTime, NodeId, ReadPolicy, Reply};

use crate::balance;
use crate::error::{Error, TransportError};
use crate::topology::{Group, Topology};
use crate::{RequestId, Target};

/// How many redirects in a row are followed without a pause: nodes that disagree must not make a request spin between them.
const FREE_REDIRECTS: u32 = 8;

/// How long after its first attempt a write may still be executed, in group time.
const WRITE_WINDOW: Duration = Duration::from_secs(60);
/// By how much that is longer than the request at least, so that a retry is never refused for its age alone: a new leader's clock
/// may be ahead of the old one's.
const WRITE_WINDOW_MARGIN: Duration = Duration::from_secs(30);

/// What a request is, for all its attempts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) access: Access,
    pub(crate) target: Target,
    /// Whether to try again after a failed attempt.
    pub(crate) retry: bool,
    /// How often a group that is there may refuse before that is the answer.
    pub(crate) refusals_max: u32,
    /// Deadline over all attempts.
    pub(crate) total: Duration,
    /// How long one attempt is waited for.
    pub(crate) attempt: Duration,
    /// Whether a read may be answered by another replica than the leader, if its policy allows that. Not one among writes, which go to
    /// the leader together, and not one about all keys of a group.
    pub(crate) spread: bool,
}

/// What a request does, and what that allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read(ReadPolicy),
    /// `Some` if the write carries an identity, so that repeating it applies it once. Its deadline is zero until the first attempt is
    /// made, and the same on all of them.
    Write(Option<RequestId>),
}

impl Access {
    /// The identity of a write, if it has one.
    pub(crate) fn request_id(self) -> Option<RequestId> {
        match self {
            Self::Write(id) => id,
            Self::Read(_) => None,
        }
    }
}

/// What happened to a request so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// How many attempts were handed to a node.
    pub(crate) attempts: u32,
    /// How many pauses were made.
    pub(crate) pauses: u32,
    /// Redirects since the last pause.
    redirects: u32,
    /// Refusals by a group that is there.
    refusals: u32,
    /// Whether some attempt may have been applied. Only an answer to the write itself takes this back: a refusal of a later attempt
    /// says nothing about an earlier one that may still be on its way.
    in_doubt: bool,
    /// Who was asked last.
    pub(crate) asked: Option<NodeId>,
    /// Why the last attempt has to be followed by another.
    pub(crate) last: Option<Error>,
}

impl Progress {
    /// Whether an attempt may have been applied that nobody has answered.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }
}

/// What became of the latest attempt.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// There was none yet, or a pause has ended.
    Ready,
    /// The node answered.
    Answered(Reply),
    /// The connection ended before an answer.
    Lost { sent: bool, error: TransportError },
    /// No answer came within the attempt's time.
    TimedOut { sent: bool },
    /// The attempt was not made: too many requests are in flight here.
    Full { what: &'static str },
    /// The node answered, but nobody can read the answer.
    Unreadable(TransportError),
    /// The attempt was not made: those before it filled the frame. They are back by now.
    Held,
    /// The attempt was not made: the node takes no frame of this size.
    TooLarge { size: usize, limit: usize },
}

/// What an outcome says about the node that was asked, for whoever chooses among nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    Answers,
    /// It can answer no linearizable read at present.
    HoldsNoLease,
    IsGone,
}

impl Outcome {
    /// `None` if it says nothing.
    pub(crate) fn sign(&self) -> Option<Sign> {
        match self {
            Self::Answered(Reply::Error(Failure::NotLeader { .. } | Failure::NoLeader { .. })) => {
                Some(Sign::HoldsNoLease)
            }
            Self::Answered(_) => Some(Sign::Answers),
            Self::Lost { .. } | Self::TimedOut { .. } => Some(Sign::IsGone),
            Self::Ready | Self::Full { .. } | Self::Unreadable(_) | Self::Held | Self::TooLarge { .. } => None,
        }
    }
}

/// What to do next.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Send {
        to: NodeId,
        /// Number of the attempt, from 1.
        attempt: u32,
        timeout: Duration,
    },
    /// Pause, then decide again with [`Outcome::Ready`]. The pause may end as soon as a topology arrives that names another node.
    /// `refresh`: the present one is suspected to be old, ask for a fresh one.
    Pause {
        step: u32,
        over_budget: bool,
        refresh: bool,
    },
    Finish(Result<Reply, Error>),
}

/// What a failure asks of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    /// The command was evaluated, and this is its result.
    Result,
    /// The request itself is refused, by whomever it is asked.
    Refusal,
    /// Somebody else is to be asked; the failure may say who.
    Redirect,
    /// The group will serve again. Only the deadline ends the wait: giving up earlier would turn every failover into errors.
    Wait { refresh: bool },
    /// The group is there and refuses now. Tried again a few times.
    Recede,
    /// The attempt may have been applied. A retry under the same identity finds out.
    Resolve,
    /// The write will not be executed under this identity any more.
    Lapsed,
}

/// Whether a failure is the command's own result, so that nothing follows from it.
pub(crate) fn is_result(code: FailureCode) -> bool {
    remedy(code) == Remedy::Result
}

fn remedy(code: FailureCode) -> Remedy {
    match code {
        FailureCode::WrongType | FailureCode::Command => Remedy::Result,
        FailureCode::CrossSlot | FailureCode::TooLarge | FailureCode::Corrupt | FailureCode::TokenLost => {
            Remedy::Refusal
        }
        FailureCode::Moved | FailureCode::NotLeader => Remedy::Redirect,
        FailureCode::NoLeader | FailureCode::NotServing | FailureCode::Loading => Remedy::Wait { refresh: true },
        // A replica that lags is taken out of the in-sync set within a second: a client that gave up before would see every crash.
        FailureCode::TryAgain | FailureCode::Timeout | FailureCode::NoReplicas => Remedy::Wait { refresh: false },
        FailureCode::SlotUnserved | FailureCode::Busy => Remedy::Recede,
        FailureCode::Uncertain => Remedy::Resolve,
        FailureCode::Expired | FailureCode::StaleRetry => Remedy::Lapsed,
    }
}

/// How one of several replicas that will do is drawn.
#[derive(Clone, Copy)]
pub(crate) struct Draw<'a> {
    /// A random number.
    pub(crate) dice: u32,
    /// What to expect of a node, for comparing; the greatest there is if it is better left alone.
    pub(crate) cost: &'a dyn Fn(NodeId) -> u64,
    /// Where this client is; empty if it does not say. Replicas there come first.
    pub(crate) zone: &'a str,
}

/// The next action.
pub(crate) fn decide(
    plan: &mut Plan,
    progress: &mut Progress,
    outcome: Outcome,
    topology: &Topology,
    time: &mut Time<'_>,
    draw: Draw<'_>,
) -> Action {
    let Time { elapsed, millis, .. } = *time;
    let mut case = Case { plan, progress, topology, elapsed, millis, budget: time.budget, draw };
    match outcome {
        Outcome::Ready => case.on_ready(),
        Outcome::Answered(Reply::Error(failure)) => case.on_failure(failure),
        Outcome::Answered(reply) => Action::Finish(Ok(reply)),
        Outcome::Lost { sent, error } => case.on_lost(sent, Error::Transport(error)),
        Outcome::TimedOut { sent } => case.on_timed_out(sent),
        // The limit is ours: waiting here would only hide it from the caller, who alone can slow down.
        Outcome::Full { what } => case.refuse(Error::Overloaded { what }),
        Outcome::Unreadable(error) => case.on_unreadable(Error::Transport(error)),
        Outcome::Held => case.on_held(),
        Outcome::TooLarge { size, limit } => {
            case.refuse(Error::TooLarge { what: "request", size: size as u64, limit: limit as u64 })
        }
    }
}

/// The end of a request that must not be tried again, with what happened last.
pub(crate) fn abandon(plan: &Plan, progress: &Progress, last: Error) -> Error {
    if !progress.in_doubt {
        return last;
    }
    Error::OutcomeUnknown { id: plan.access.request_id(), source: Box::new(last) }
}

/// Who is to be asked, by the topology.
pub(crate) fn route(plan: &Plan, topology: &Topology, avoid: Option<NodeId>, draw: Draw<'_>) -> Option<NodeId> {
    let group = topology.group_of(plan.target)?;
    let leader = leader(plan, topology);
    let is_about_keys = matches!(plan.target, Target::Slot(_));
    let replicas = match plan.access {
        Access::Read(ReadPolicy::Any) if is_about_keys => Some(&*group.replicas),
        Access::Read(policy) if plan.spread => who_may_answer(policy, group),
        Access::Read(_) | Access::Write(_) => None,
    };
    let Some(replicas) = replicas else { return leader };
    let is_live = |node: NodeId| topology.node(node).is_some_and(|node| node.live);
    let candidates: Vec<NodeId> =
        replicas.iter().copied().filter(|&node| Some(node) != avoid && is_live(node)).collect();
    let is_near = |node: NodeId| topology.node(node).is_some_and(|node| node.zone == draw.zone);
    let near: Vec<NodeId> = candidates
        .iter()
        .copied()
        .filter(|&node| !draw.zone.is_empty() && is_near(node) && (draw.cost)(node) < u64::MAX)
        .collect();
    let candidates = if near.is_empty() { &candidates } else { &near };
    balance::choose(candidates, draw.dice, draw.cost).or(leader)
}

/// The replicas a read with a promise may be sent to; `None` if only to the leader.
fn who_may_answer(policy: ReadPolicy, group: &Group) -> Option<&[NodeId]> {
    match policy {
        ReadPolicy::Session { .. } | ReadPolicy::Bounded { .. } => Some(&group.in_sync),
        // Without a leader nobody's lease lasts.
        ReadPolicy::Linearizable => group.leader.map(|_| &*group.in_sync),
        _ => None,
    }
}

/// The leader of the group a request is for.
pub(crate) fn leader(plan: &Plan, topology: &Topology) -> Option<NodeId> {
    topology.group_of(plan.target)?.leader.filter(|&leader| topology.node(leader).is_some())
}

/// What limits a request besides its own counts.
pub(crate) struct Time<'a> {
    /// Since the request was made.
    pub(crate) elapsed: Duration,
    /// Milliseconds of this process, as group times are observed by.
    pub(crate) millis: u64,
    /// Takes one retry out of the client's budget; `false` if it is empty. Asked only when there is something to retry.
    pub(crate) budget: &'a mut dyn FnMut() -> bool,
}

struct Case<'a> {
    plan: &'a mut Plan,
    progress: &'a mut Progress,
    topology: &'a Topology,
    elapsed: Duration,
    millis: u64,
    budget: &'a mut dyn FnMut() -> bool,
    draw: Draw<'a>,
}

impl Case<'_> {
    fn on_ready(&mut self) -> Action {
        if self.elapsed >= self.plan.total {
            let last = self.progress.last.take().unwrap_or_else(|| self.unroutable());
            return self.give_up(last);
        }
        match route(self.plan, self.topology, self.progress.asked, self.draw) {
            Some(node) => self.send(node),
            // Nothing was sent and nothing will be before somebody is there to send it to: no retry that a budget should slow down.
            None => self.pause(self.unroutable(), true, false),
        }
    }

    fn on_held(&mut self) -> Action {
        self.progress.attempts -= 1;
        self.on_ready()
    }

    fn on_failure(&mut self, failure: Failure) -> Action {
        match remedy(failure.code()) {
            Remedy::Result => Action::Finish(Ok(Reply::Error(failure))),
            Remedy::Refusal if self.progress.in_doubt => self.unknown(failure.into()),
            Remedy::Refusal => Action::Finish(Ok(Reply::Error(failure))),
            Remedy::Redirect => self.on_redirect(failure),
            Remedy::Wait { refresh } => self.wait(failure.into(), refresh),
            Remedy::Recede => self.recede(failure),
            Remedy::Resolve => {
                self.progress.in_doubt |= self.is_write();
                self.wait(failure.into(), true)
            }
            // Without a doubt nothing was done; with one, the result can no longer be asked for.
            Remedy::Lapsed if self.progress.in_doubt || failure == Failure::StaleRetry => self.unknown(failure.into()),
            Remedy::Lapsed => self.give_up(failure.into()),
        }
    }

    /// The redirect was applied to the topology if it was news. If that names another node now, or the redirect itself does and is
    /// not older than what we know, that node is asked at once.
    fn on_redirect(&mut self, failure: Failure) -> Action {
        let told = match &failure {
            Failure::Moved { node, version, .. } => node.filter(|_| *version >= self.topology.slot_map_version()),
            Failure::NotLeader { group, leader, epoch, .. } => {
                leader.filter(|_| self.topology.group(*group).is_some_and(|known| *epoch >= known.epoch))
            }
            _ => None,
        };
        let known = told.filter(|&node| self.topology.node(node).is_some());
        let next = known.or_else(|| route(self.plan, self.topology, None, self.draw));
        let is_free = self.progress.redirects < FREE_REDIRECTS && self.elapsed < self.plan.total;
        match next {
            Some(node) if is_free && next != self.progress.asked => {
                self.progress.redirects += 1;
                self.send(node)
            }
            _ => self.wait(failure.into(), true),
        }
    }

    fn on_timed_out(&mut self, sent: bool) -> Action {
        self.on_lost(sent, Error::NoAnswer { after: self.plan.attempt })
    }

    fn on_lost(&mut self, sent: bool, error: Error) -> Action {
        self.progress.in_doubt |= sent && self.is_write();
        let is_unresolvable = self.progress.in_doubt && self.plan.access == Access::Write(None);
        if is_unresolvable {
            return self.unknown(error);
        }
        self.wait(error, true)
    }

    /// It was done or refused, only the answer is lost, and asking again would not make it readable.
    fn on_unreadable(&mut self, error: Error) -> Action {
        self.progress.in_doubt |= self.is_write();
        self.refuse(error)
    }

    fn recede(&mut self, failure: Failure) -> Action {
        self.progress.refusals += 1;
        if self.progress.refusals >= self.plan.refusals_max {
            return self.refuse(failure.into());
        }
        let refresh = failure.code() == FailureCode::SlotUnserved;
        self.wait(failure.into(), refresh)
    }

    fn send(&mut self, to: NodeId) -> Action {
        if !self.set_deadline() {
            return self.pause(self.unroutable(), true, false);
        }
        self.progress.attempts += 1;
        self.progress.asked = Some(to);
        // At least a millisecond, so that "no time left" never reads as "no limit" at the node.
        let left = self.plan.total.saturating_sub(self.elapsed).max(Duration::from_millis(1));
        Action::Send { to, attempt: self.progress.attempts, timeout: self.plan.attempt.min(left) }
    }

    /// Dates a write before its first attempt. A node would date one without a deadline itself, but anew on each attempt: a retry
    /// that comes after the first attempt's result was forgotten would be executed again. `false` if the group's time is not known:
    /// nobody who could execute anything has been heard of yet.
    fn set_deadline(&mut self) -> bool {
        let Access::Write(Some(id)) = &mut self.plan.access else { return true };
        if id.deadline > GroupTime::ZERO {
            return true;
        }
        let time =
            self.topology.group_of(self.plan.target).map_or(GroupTime::ZERO, |group| group.clock.at(self.millis));
        if time == GroupTime::ZERO {
            return false;
        }
        let window = WRITE_WINDOW.max(self.plan.total.saturating_add(WRITE_WINDOW_MARGIN));
        id.deadline = time.plus_millis(u64::try_from(window.as_millis()).unwrap_or(u64::MAX));
        true
    }

    fn wait(&mut self, error: Error, refresh: bool) -> Action {
        if self.elapsed >= self.plan.total {
            return self.give_up(error);
        }
        if !self.plan.retry && self.progress.attempts > 0 {
            return self.refuse(error);
        }
        let over_budget = !(self.budget)();
        self.pause(error, refresh, over_budget)
    }

    fn pause(&mut self, error: Error, refresh: bool, over_budget: bool) -> Action {
        self.progress.last = Some(error);
        let step = self.progress.pauses;
        self.progress.pauses += 1;
        self.progress.redirects = 0;
        Action::Pause { step, over_budget, refresh }
    }

    /// Ends with what happened last.
    fn refuse(&self, error: Error) -> Action {
        Action::Finish(Err(abandon(self.plan, self.progress, error)))
    }

    /// Ends because the time is up.
    fn give_up(&self, last: Error) -> Action {
        if self.progress.in_doubt {
            return self.unknown(last);
        }
        let (elapsed, attempts) = (self.elapsed, self.progress.attempts);
        Action::Finish(Err(Error::Timeout { elapsed, attempts, last: Box::new(last) }))
    }

    fn unknown(&self, source: Error) -> Action {
        let id = self.plan.access.request_id();
        Action::Finish(Err(Error::OutcomeUnknown { id, source: Box::new(source) }))
    }

    fn unroutable(&self) -> Error {
        match (self.topology.group_of(self.plan.target), self.plan.target) {
            (Some(group), _) => Error::NoLeader { group: group.id },
            (None, Target::Slot(slot)) => Error::SlotUnserved { slot },
            (None, Target::Group(group)) => Error::NoLeader { group },
        }
    }

    fn is_write(&self) -> bool {
        matches!(self.plan.access, Access::Write(_))
    }
}

#[cfg(test)]
mod tests;
