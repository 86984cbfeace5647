//! Smart clients: what they ask for, and where each request is on its way.
//!
//! What follows from an answer, where to go and when to give up is decided by the client library's own code.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use simplekv_client::Topology;
use simplekv_client::sans_io::{Attempts, Writes};
use simplekv_resp::Command;
use simplekv_types::{ClientId, Dedupe, GroupId, NodeId, Position, ReadPolicy, SessionToken, Slot};

use crate::clock::{Nanos, ms};
use crate::history::{Action, OpId};
use crate::rng::Rng;
use crate::world::Settings;

/// What clients do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    /// Registers, which are set and read.
    pub(crate) registers: u64,
    /// Counters, which are only counted up and read.
    pub(crate) counters: u64,
    /// Of a thousand operations, how many read.
    pub(crate) reads: u64,
    /// Operations of each client at a time.
    pub(crate) tasks: usize,
    /// Longest pause between two operations of a task.
    pub(crate) think: Nanos,
    /// Whether keys are given times to live.
    pub(crate) expiry: bool,
    /// Whether a third of the reads may be somewhat old.
    pub(crate) bounded: bool,
}

/// How long clients wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) total: Duration,
    pub(crate) attempt: Duration,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) writes: Writes,
    pub(crate) topology: Arc<Topology>,
    pub(crate) flights: BTreeMap<u64, Flight>,
    /// Reads in the air by their key and policy, with those that may not join them because they left before.
    pub(crate) shared: BTreeMap<(String, bool), Shared>,
    pub(crate) next_flight: u64,
    /// No topology reaches it until then.
    pub(crate) deaf_until: Nanos,
    /// Nodes that did not answer, and until when they are left alone.
    pub(crate) shunned: BTreeMap<NodeId, Nanos>,
    pub(crate) tasks: usize,
    /// What each task has seen.
    pub(crate) sessions: Vec<SessionToken>,
}

/// A read in the air, and those who wait for the next one.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) waiting: VecDeque<OpId>,
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) attempts: Attempts,
    pub(crate) action: Action,
    pub(crate) policy: ReadPolicy,
    pub(crate) group: GroupId,
    pub(crate) began: Nanos,
    /// The operations that it answers.
    pub(crate) operations: Vec<OpId>,
    /// Whose session goes with it, and learns of it.
    pub(crate) task: usize,
    /// Where the answer was read or written.
    pub(crate) seen: Option<Position>,
    /// The attempt on its way; replies to others are dropped.
    pub(crate) attempt: u32,
    pub(crate) asked: Option<NodeId>,
    /// The pause it is in, if it is in one.
    pub(crate) pause: Option<u32>,
    pub(crate) pauses: u32,
}

/// An attempt as a node receives it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) client: usize,
    pub(crate) flight: u64,
    pub(crate) attempt: u32,
    pub(crate) group: GroupId,
    pub(crate) action: Action,
    pub(crate) command: Command,
    pub(crate) policy: ReadPolicy,
    /// What its session has seen of the group.
    pub(crate) seen: Option<Position>,
    pub(crate) dedupe: Option<Dedupe>,
    pub(crate) timeout: Duration,
}

impl Client {
    pub(crate) fn new(number: usize, settings: &Settings, rng: &mut Rng) -> Self {
        let id = ClientId((number as u128 + 1) << 64 | u128::from(rng.next()));
        Self {
            writes: Writes::new(id),
            topology: Arc::new(Topology::new(
                0,
                crate::world::CLUSTER,
                simplekv_types::SlotMapVersion(0),
                [],
                Vec::new(),
                Vec::new(),
            )),
            flights: BTreeMap::new(),
            shared: BTreeMap::new(),
            next_flight: 1,
            deaf_until: 0,
            shunned: BTreeMap::new(),
            tasks: settings.workload.tasks,
            sessions: vec![SessionToken::new(); settings.workload.tasks],
        }
    }

    pub(crate) fn id(&self) -> ClientId {
        self.writes.client()
    }

    /// What to expect of a node.
    pub(crate) fn cost(&self, node: NodeId, now: Nanos) -> u64 {
        match self.shunned.get(&node) {
            Some(until) if *until > now => u64::MAX,
            _ => 1,
        }
    }

    pub(crate) fn shun(&mut self, node: NodeId, now: Nanos, time: Nanos) {
        self.shunned.insert(node, now + time);
    }
}

impl Workload {
    /// What somebody does next.
    pub(crate) fn draw(&self, rng: &mut Rng, value: u64) -> Action {
        let on_counter = self.counters > 0 && rng.below(self.registers + self.counters) >= self.registers;
        let key = if on_counter {
            format!("counter{}", rng.below(self.counters))
        } else {
            format!("key{}", rng.below(self.registers))
        };
        if rng.chance(self.reads) {
            return Action::Get { key };
        }
        if on_counter {
            return Action::Incr { key };
        }
        let ttl = (self.expiry && rng.chance(200)).then(|| rng.range(5, 600));
        match rng.below(10) {
            0 => Action::Del { key },
            1 => Action::SetNx { key, value },
            2 => Action::GetSet { key, value },
            _ => Action::Set { key, value, ttl },
        }
    }
}

/// The command as a node understands it.
pub(crate) fn command(action: &Action) -> Command {
    let words: Vec<String> = match action {
        Action::Get { key } => vec!["GET".into(), key.clone()],
        Action::Set { key, value, ttl: None } => vec!["SET".into(), key.clone(), value.to_string()],
        Action::Set { key, value, ttl: Some(ttl) } => {
            vec!["SET".into(), key.clone(), value.to_string(), "PX".into(), ttl.to_string()]
        }
        Action::SetNx { key, value } => vec!["SETNX".into(), key.clone(), value.to_string()],
        Action::GetSet { key, value } => vec!["SET".into(), key.clone(), value.to_string(), "GET".into()],
        Action::Del { key } => vec!["DEL".into(), key.clone()],
        Action::Incr { key } => vec!["INCR".into(), key.clone()],
    };
    let args = words.into_iter().map(Bytes::from).collect();
    match simplekv_resp::Request::parse(args).map(|request| request.body) {
        Ok(simplekv_resp::Body::Data(command)) => command,
        _ => unreachable!("every action is a data command"),
    }
}

/// The slot an action is about.
pub(crate) fn slot(action: &Action) -> Slot {
    Slot::of_key(action.key().as_bytes())
}

/// How long a node that did not answer, and one that could not, is left alone.
pub(crate) const SHUNNED: Nanos = ms(500);
pub(crate) const WITHOUT_LEASE: Nanos = ms(100);
