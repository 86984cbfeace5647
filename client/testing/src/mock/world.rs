//! What the nodes of a mock cluster share.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;
use simplekv_proto::v1;
use tokio::sync::watch;

use super::events::Channels;
use super::keyspace::Keyspace;
use super::readers::Readers;
use super::verdict::{Seen, Verdict};

pub(super) type Script = Box<dyn FnMut(&Seen) -> Verdict + Send>;

/// What all nodes share: for tests of the client itself, which look closer than [`MockCluster`](super::MockCluster) shows.
pub struct World {
    /// Where slots, groups and nodes are, as nodes tell it.
    pub topology: watch::Sender<v1::TopologyUpdate>,
    /// The data.
    pub keys: Mutex<Keyspace>,
    /// What was asked so far.
    pub seen: Mutex<Vec<Seen>>,
    /// How many operations each frame had that came so far.
    pub frames: Mutex<Vec<usize>>,
    /// While false, no node answers anything.
    pub answers: watch::Sender<bool>,
    /// How often the topology was asked for.
    pub topology_requests: Mutex<u32>,
    /// Whether nodes push the topology.
    pub push: Mutex<bool>,
    /// Nodes that do nothing.
    pub(super) hung: watch::Sender<BTreeSet<u32>>,
    /// Counts what may have given a key elements.
    pub(super) changes: watch::Sender<u64>,
    pub(super) channels: Channels,
    pub(super) readers: Readers,
    script: Mutex<Script>,
    /// What is done once, with the first request that has the name, or with any.
    plans: Mutex<VecDeque<(Option<String>, Verdict)>>,
    latency: Mutex<Duration>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("topology", &*self.topology.borrow()).finish_non_exhaustive()
    }
}

impl World {
    pub(super) fn new(topology: v1::TopologyUpdate) -> Self {
        Self {
            topology: watch::Sender::new(topology),
            keys: Mutex::default(),
            seen: Mutex::default(),
            frames: Mutex::default(),
            answers: watch::Sender::new(true),
            topology_requests: Mutex::default(),
            push: Mutex::new(true),
            hung: watch::Sender::default(),
            changes: watch::Sender::default(),
            channels: Channels::new(),
            readers: Readers::default(),
            script: Mutex::new(Box::new(|_| Verdict::Serve)),
            plans: Mutex::default(),
            latency: Mutex::default(),
        }
    }

    pub(super) fn set_script(&self, script: Script) {
        *self.script.lock() = script;
    }

    pub(super) fn plan(&self, name: Option<String>, verdict: Verdict) {
        self.plans.lock().push_back((name, verdict));
    }

    pub(super) fn set_latency(&self, latency: Duration) {
        *self.latency.lock() = latency;
    }

    pub(super) fn latency(&self) -> Duration {
        *self.latency.lock()
    }

    /// Takes down what is asked and says what to do with it.
    pub(super) fn verdict(&self, op: &Seen) -> Verdict {
        self.seen.lock().push(op.clone());
        let mut plans = self.plans.lock();
        let fits = |(name, _): &(Option<String>, Verdict)| name.as_ref().is_none_or(|name| name == op.name());
        let planned = plans.iter().position(fits).and_then(|at| plans.remove(at));
        drop(plans);
        planned.map_or_else(|| (self.script.lock())(op), |(_, verdict)| verdict)
    }

    /// Wakes whoever waits for a key to have elements.
    pub(super) fn tell_of_change(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Waits while a node hangs.
    pub(super) async fn is_awake(&self, node: u32) {
        // An error means that the cluster is gone, and this node with it.
        let _ = self.hung.subscribe().wait_for(|hung| !hung.contains(&node)).await;
    }

    /// Whether a node leads the group that a key belongs to.
    pub(super) fn leads(&self, node: u32, key: &[u8]) -> bool {
        let topology = self.topology.borrow();
        let owner = super::layout::owner(&topology, simplekv_client::Slot::of_key(key));
        owner.is_some_and(|group| group.leader == node)
    }
}
