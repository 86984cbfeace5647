//! Which of several replicas a read is sent to.
//!
//! Of two drawn at random, the first, unless the second is expected to answer clearly sooner: as long as its answers take, times what
//! waits for them already (the power of two choices, Mitzenmacher 2001). One draw would flood a slow replica; taking the best of all
//! would send every client to the one that was idle a moment ago, and comparing hair by hair would leave the slowest of equals alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use simplekv_types::NodeId;

/// A replica that did not answer, or could not, is asked only if nobody else is there, for this long.
const SHUNNED: Duration = Duration::from_millis(500);
/// Of a latency, half is forgotten each time so many milliseconds pass without an answer.
const FORGOTTEN_MS: u64 = 250;
/// A replica without a lease gets one within a heartbeat or two of becoming able to.
const WITHOUT_LEASE: Duration = Duration::from_millis(100);

/// What this client knows of how fast nodes answer.
#[derive(Debug)]
pub(crate) struct Balance {
    nodes: DashMap<NodeId, Load>,
    began: Instant,
}

#[derive(Debug, Default)]
struct Load {
    in_flight: AtomicU64,
    /// What answers to reads take, in microseconds, averaged over the last few; 0 before the second: the first waits for a connection.
    latency: AtomicU64,
    /// Milliseconds since the balance began at the last answer to a read; 0 before the first.
    answered_at: AtomicU64,
    /// Milliseconds since the balance began.
    shunned_until: AtomicU64,
}

/// Requests on their way to a node; counted until dropped.
pub(crate) struct Underway {
    balance: Arc<Balance>,
    node: NodeId,
    count: u64,
    sent: Instant,
}

impl Balance {
    pub(crate) fn new() -> Self {
        Self { nodes: DashMap::new(), began: Instant::now() }
    }

    /// About how long an answer from the node would take, for comparing; the greatest there is if it is shunned.
    pub(crate) fn cost(&self, node: NodeId) -> u64 {
        let Some(load) = self.nodes.get(&node) else { return 0 };
        let now = self.millis(Instant::now());
        if load.shunned_until.load(Ordering::Relaxed) > now {
            return u64::MAX;
        }
        let waiting = load.in_flight.load(Ordering::Relaxed) + 1;
        // What was slow long ago is worth another try.
        let age = now.saturating_sub(load.answered_at.load(Ordering::Relaxed)) / FORGOTTEN_MS;
        let latency = load.latency.load(Ordering::Relaxed) >> age.min(63);
        latency.max(1).saturating_mul(waiting)
    }

    /// Requests are sent to the node now.
    pub(crate) fn begin(self: &Arc<Self>, node: NodeId, count: usize) -> Underway {
        let count = count as u64;
        self.nodes.entry(node).or_default().in_flight.fetch_add(count, Ordering::Relaxed);
        Underway { balance: Arc::clone(self), node, count, sent: Instant::now() }
    }

    /// The node could not answer a read, since it holds no lease.
    pub(crate) fn found_without_lease(&self, node: NodeId) {
        self.shun(node, WITHOUT_LEASE);
    }

    /// The node did not answer.
    pub(crate) fn lost(&self, node: NodeId) {
        self.shun(node, SHUNNED);
    }

    fn shun(&self, node: NodeId, time: Duration) {
        let until = self.millis(Instant::now() + time);
        self.nodes.entry(node).or_default().shunned_until.fetch_max(until, Ordering::Relaxed);
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Underway {
    /// A read among them was answered just now.
    pub(crate) fn answered(&self) {
        let took = u64::try_from(self.sent.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
        let load = self.balance.nodes.entry(self.node).or_default();
        let now = self.balance.millis(Instant::now()).max(1);
        if load.answered_at.swap(now, Ordering::Relaxed) == 0 {
            return;
        }
        let known = load.latency.load(Ordering::Relaxed);
        // Two at a time may lose one of their samples: it is an average.
        let next = if known == 0 { took } else { known - known / 8 + took / 8 };
        load.latency.store(next.max(1), Ordering::Relaxed);
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if let Some(load) = self.balance.nodes.get(&self.node) {
            load.in_flight.fetch_sub(self.count, Ordering::Relaxed);
        }
    }
}

/// Two of `candidates`, drawn by `dice`, and of these the first unless the other costs less than two thirds. `None` if there are none.
pub(crate) fn choose(candidates: &[NodeId], dice: u32, cost: &dyn Fn(NodeId) -> u64) -> Option<NodeId> {
    let count = u32::try_from(candidates.len()).ok().filter(|count| *count > 0)?;
    let at = |index: u32| candidates.get(index as usize).copied();
    let one = dice % count;
    if count == 1 {
        return at(one);
    }
    // Any of the others.
    let other = (one + 1 + dice / count % (count - 1)) % count;
    let (one, other) = (at(one)?, at(other)?);
    let clearly_less = cost(other).saturating_mul(3) < cost(one).saturating_mul(2);
    Some(if clearly_less { other } else { one })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

    fn shares(cost: &dyn Fn(NodeId) -> u64) -> [u32; 3] {
        let mut counts = [0; 3];
        for dice in 0..600 {
            let node = choose(&NODES, dice, cost).unwrap();
            counts[node.0 as usize - 1] += 1;
        }
        counts
    }

    #[test]
    fn equal_replicas_share_alike() {
        assert_eq!(shares(&|_| 7), [200; 3]);
    }

    #[test]
    fn a_slow_replica_is_left_to_itself() {
        let slow = |node: NodeId| if node == NodeId(2) { 9 } else { 1 };
        let [first, second, third] = shares(&slow);
        assert_eq!(second, 0, "one of the two drawn is always faster");
        assert!(first >= 200 && third >= 200, "{first} {third}");
    }

    #[test]
    fn nearly_equal_replicas_share_alike() {
        assert_eq!(shares(&|node| 100 + 10 * u64::from(node.0)), [200; 3]);
    }

    #[test]
    fn one_replica_is_chosen_and_none_is_not() {
        assert_eq!(choose(&[NodeId(4)], 17, &|_| 0), Some(NodeId(4)));
        assert_eq!(choose(&[], 17, &|_| 0), None);
    }

    #[test]
    fn what_waits_and_what_was_lost_counts() {
        let balance = Arc::new(Balance::new());
        assert_eq!(balance.cost(NodeId(1)), 0, "unknown: worth a try");
        let underway = balance.begin(NodeId(1), 3);
        assert_eq!(balance.cost(NodeId(1)), 4);
        underway.answered();
        drop(underway);
        assert!(balance.cost(NodeId(1)) >= 1);
        balance.lost(NodeId(1));
        assert_eq!(balance.cost(NodeId(1)), u64::MAX);
    }
}
