//! The client's decisions without its sockets, its clock and its dice, for simulations of whole clusters.
//!
//! [`Attempts`] says for one request what [`Client`](crate::Client) would do next; whoever drives it carries that out.

use std::sync::Arc;
use std::time::Duration;

use simplekv_proto::v1;
use simplekv_types::{ClientId, Dedupe, Failure, GroupTime, NodeId, ReadPolicy, Reply};

use crate::attempt::{self, Access, Action, Draw, Plan, Progress, Time};
use crate::error::{Error, TransportError};
use crate::pushed::Pushed;
use crate::sequence::{Sequence, WriteNumber};
use crate::slot_cache::SlotCache;
use crate::topology::Topology;
use crate::transport::wire;
use crate::{Backoff, RequestId, Target};

/// The numbers of one client's writes.
#[derive(Debug)]
pub struct Writes {
    sequence: Arc<Sequence>,
}

impl Writes {
    /// Of a client with this id, which no other has.
    #[must_use]
    pub fn new(client: ClientId) -> Self {
        Self { sequence: Sequence::new(client) }
    }

    /// Whose they are.
    #[must_use]
    pub fn client(&self) -> ClientId {
        self.sequence.client()
    }
}

/// One request, from before its first attempt to its result.
#[derive(Debug)]
pub struct Attempts {
    plan: Plan,
    progress: Progress,
    /// Counts as unanswered for as long as the request lives.
    number: Option<WriteNumber>,
}

/// What became of the latest attempt.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// There was none yet, or a pause has ended.
    Ready,
    /// The node answered.
    Answered(Reply),
    /// The connection ended before an answer; whether the request had been sent.
    Lost {
        /// Whether the node may have received it.
        sent: bool,
    },
    /// No answer came within the attempt's time; whether the request had been sent.
    TimedOut {
        /// Whether the node may have received it.
        sent: bool,
    },
}

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Send it, and wait for so long.
    Send {
        /// To whom.
        to: NodeId,
        /// What makes it harmless that it was sent before; `None` for a read.
        dedupe: Option<Dedupe>,
        /// From 1.
        attempt: u32,
        /// How long the answer is waited for.
        timeout: Duration,
    },
    /// Pause for at most this long, then go on with [`Outcome::Ready`]; sooner if a topology arrives that names another leader.
    Pause {
        /// Greatest pause; the client draws one evenly from zero.
        most: Duration,
    },
    /// The result.
    Finish(Result<Reply, Error>),
}

/// What a decision is made by, besides the request.
pub struct Circumstances<'a> {
    /// What is known of the cluster.
    pub topology: &'a Topology,
    /// Since the request was made.
    pub elapsed: Duration,
    /// Milliseconds of this client, as [`observe`] is told.
    pub millis: u64,
    /// A random number.
    pub dice: u32,
    /// What to expect of a node, for comparing.
    pub cost: &'a dyn Fn(NodeId) -> u64,
}

impl Attempts {
    /// A read of one key's slot, which any in-sync replica may answer if its policy says so.
    #[must_use]
    pub fn read(target: Target, policy: ReadPolicy, total: Duration, attempt: Duration) -> Self {
        Self::new(Access::Read(policy), target, total, attempt, None)
    }

    /// A write that is applied once however often it is sent.
    #[must_use]
    pub fn write(target: Target, writes: &Writes, total: Duration, attempt: Duration) -> Self {
        let number = writes.sequence.begin();
        let id = RequestId { client: writes.client(), seq: number.seq, deadline: GroupTime::ZERO };
        Self::new(Access::Write(Some(id)), target, total, attempt, Some(number))
    }

    fn new(access: Access, target: Target, total: Duration, attempt: Duration, number: Option<WriteNumber>) -> Self {
        let plan = Plan { access, target, retry: true, refusals_max: u32::MAX, total, attempt, spread: true };
        Self { plan, progress: Progress::default(), number }
    }

    /// What follows from the latest outcome.
    pub fn decide(&mut self, outcome: Outcome, by: &Circumstances<'_>) -> Step {
        let lost = || TransportError { address: "".into(), reason: "the connection was lost".into() };
        let outcome = match outcome {
            Outcome::Ready => attempt::Outcome::Ready,
            Outcome::Answered(reply) => attempt::Outcome::Answered(reply),
            Outcome::Lost { sent } => attempt::Outcome::Lost { sent, error: lost() },
            Outcome::TimedOut { sent } => attempt::Outcome::TimedOut { sent },
        };
        let mut time = Time { elapsed: by.elapsed, millis: by.millis, budget: &mut || true };
        let draw = Draw { dice: by.dice, cost: by.cost, zone: "" };
        match attempt::decide(&mut self.plan, &mut self.progress, outcome, by.topology, &mut time, draw) {
            Action::Send { to, attempt, timeout } => Step::Send { to, dedupe: self.dedupe(attempt), attempt, timeout },
            Action::Pause { step, .. } => Step::Pause { most: Backoff::default().bound(step) },
            Action::Finish(result) => Step::Finish(result),
        }
    }

    /// Whether a pause may end because of this topology.
    #[must_use]
    pub fn would_ask_another(&self, topology: &Topology) -> bool {
        attempt::leader(&self.plan, topology).is_some_and(|node| Some(node) != self.progress.asked)
    }

    fn dedupe(&self, attempt: u32) -> Option<Dedupe> {
        let id = self.plan.access.request_id()?;
        let ack_below = self.number.as_ref()?.ack_below;
        Some(Dedupe { seq: id.seq, ack_below, deadline: id.deadline, attempt })
    }
}

/// What one client knows of the topology because a node pushes it.
#[derive(Debug)]
pub struct TopologyWatch {
    pushed: Pushed,
    slots: SlotCache,
}

impl Default for TopologyWatch {
    /// Nothing is known.
    fn default() -> Self {
        Self { pushed: Pushed::default(), slots: SlotCache::new() }
    }
}

impl TopologyWatch {
    /// The version it begins a watch with.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.pushed.version()
    }

    /// A node says something. Whether that changed what requests are routed by.
    ///
    /// # Errors
    /// Why the watch is to be ended and begun anew.
    pub fn receive(&mut self, update: v1::TopologyUpdate) -> Result<bool, String> {
        let update = wire::update(update).map_err(|malformed| malformed.to_string())?;
        let changed = self.pushed.take(update).map_err(|unrelated| unrelated.to_string())?;
        Ok(changed.is_some_and(|topology| self.slots.install(topology)))
    }

    /// What requests are routed by.
    #[must_use]
    pub fn topology(&self) -> Arc<Topology> {
        Arc::clone(&self.slots.load())
    }
}

/// A group's time was heard of, when `millis` had passed of this client.
pub fn observe(topology: &Topology, target: Target, time: GroupTime, millis: u64) {
    if let Some(group) = topology.group_of(target) {
        group.clock.observe(time, millis);
    }
}

/// What a failure teaches about the cluster; `None` if that is not news.
#[must_use]
pub fn learn(topology: &Topology, failure: &Failure) -> Option<Topology> {
    topology.learning(failure)
}

/// A pushed topology, with what redirects had taught about later states.
#[must_use]
pub fn succeed(pushed: Topology, previous: &Topology) -> Topology {
    pushed.succeeding(previous)
}
