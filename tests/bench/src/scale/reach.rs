//! How a change reaches every client: simulated from the metadata store through the nodes, with what was measured of each step.
//!
//! Nothing flows back, so nodes are looked at one after the other. A node works through what it has to do on one core and in the order
//! of its code: it takes in all changes that are there and makes one picture of them; then it tells each of its clients what is different
//! to what it told it last. What comes meanwhile waits, and is told together.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Exp1};

/// What is assumed of the machines and the network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    /// Members of the metadata store; nodes watch them evenly.
    pub(crate) members: u32,
    /// From a commit until every member has it.
    pub(crate) commit: Duration,
    /// What it costs a member to tell one watch of one change, besides its bytes.
    pub(crate) tell: Duration,
    /// Of each member and each node, in bits per second.
    pub(crate) server_bits: f64,
    /// Of each client, in bits per second.
    pub(crate) client_bits: f64,
    /// Least time of a message on its way, and what is added on average, exponentially distributed.
    pub(crate) way: (Duration, Duration),
    /// Share of messages that are lost once, and how much later they then come.
    pub(crate) lost: (f64, Duration),
}

impl Default for Links {
    fn default() -> Self {
        Self {
            members: 3,
            commit: Duration::from_millis(5),
            tell: Duration::from_micros(20),
            server_bits: 10e9,
            client_bits: 1e9,
            way: (Duration::from_micros(250), Duration::from_micros(250)),
            lost: (0.001, Duration::from_millis(200)),
        }
    }
}

/// A change as it is committed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) at: Duration,
    /// As the store tells it.
    pub(crate) bytes: usize,
}

/// What each step takes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Steps {
    /// Of a node: to take in what has come and make a picture of it; and for each further change of the same.
    pub(crate) take: (Duration, Duration),
    /// Of a node, for each client.
    pub(crate) tell: Duration,
    /// Of a client.
    pub(crate) apply: Duration,
    /// Of a message to a client: in any case, and for each change that it tells.
    pub(crate) bytes: (f64, f64),
}

/// How it went.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reached {
    /// For each client, from the last commit until it had everything; sorted.
    pub(crate) after: Vec<Duration>,
    pub(crate) messages: u64,
    pub(crate) bytes: f64,
    /// What the store told all nodes.
    pub(crate) store_bytes: f64,
}

impl Reached {
    /// By when so many of a thousand clients had everything.
    pub(crate) fn per_mille(&self, share: usize) -> Duration {
        let last = self.after.len().saturating_sub(1);
        self.after.get(last * share / 1000).copied().unwrap_or_default()
    }
}

/// Lets changes, in order of their commits, reach `clients` of so many nodes.
pub(crate) fn spread(nodes: u32, clients: u32, changes: &[Change], steps: &Steps, links: &Links, seed: u64) -> Reached {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut reached = Reached { after: Vec::new(), messages: 0, bytes: 0.0, store_bytes: 0.0 };
    let committed = changes.last().map_or(Duration::ZERO, |change| change.at);
    let (watches, told) = told_by_store(nodes, changes, links);
    for node in 0..nodes {
        reached.store_bytes += changes.iter().map(|change| change.bytes as f64).sum::<f64>();
        let mut arrived: Vec<Duration> = told
            .iter()
            // In whichever order the member goes through its watches.
            .map(|&(begun, each)| begun + each * dice.random_range(1..=watches) + on_the_way(links, &mut dice))
            .collect();
        // A connection keeps the order.
        let mut latest = Duration::ZERO;
        arrived.iter_mut().for_each(|at| {
            latest = latest.max(*at);
            *at = latest;
        });
        let watchers = clients / nodes + u32::from(node < clients % nodes);
        let done = told_by_node(&arrived, watchers, steps, links, &mut dice, &mut reached);
        reached.after.extend(done.into_iter().map(|at| at.saturating_sub(committed)));
    }
    reached.after.sort_unstable();
    reached
}

/// How many watches a member of the store has; and for each change when it begins to tell it, and how long that takes for each. It tells
/// a change to all before it tells the next.
fn told_by_store(nodes: u32, changes: &[Change], links: &Links) -> (u32, Vec<(Duration, Duration)>) {
    let watches = nodes.div_ceil(links.members);
    let mut free = Duration::ZERO;
    let told = changes.iter().map(|change| {
        let each = links.tell.max(on_the_wire(change.bytes as f64, links.server_bits));
        let begun = free.max(change.at + links.commit);
        free = begun + each * watches;
        (begun, each)
    });
    (watches, told.collect())
}

/// When each client of one node has everything.
fn told_by_node(
    arrived: &[Duration],
    watchers: u32,
    steps: &Steps,
    links: &Links,
    dice: &mut StdRng,
    reached: &mut Reached,
) -> Vec<Duration> {
    let mut clients = vec![Duration::ZERO; watchers as usize];
    let (mut core, mut wire) = (Duration::ZERO, Duration::ZERO);
    let mut rest = arrived;
    while let Some(first) = rest.first() {
        core = core.max(*first);
        let count = rest.partition_point(|at| *at <= core);
        let changes = u32::try_from(count).unwrap_or(u32::MAX);
        core += steps.take.0 + steps.take.1 * (changes - 1);
        let bytes = steps.bytes.0 + steps.bytes.1 * f64::from(changes);
        for client in &mut clients {
            core += steps.tell;
            wire = wire.max(core) + on_the_wire(bytes, links.server_bits);
            let arrives = wire + on_the_wire(bytes, links.client_bits) + on_the_way(links, dice);
            *client = arrives.max(*client) + steps.apply;
            reached.messages += 1;
            reached.bytes += bytes;
        }
        rest = rest.get(count..).unwrap_or_default();
    }
    clients
}

fn on_the_wire(bytes: f64, bits_per_second: f64) -> Duration {
    Duration::from_secs_f64(bytes * 8.0 / bits_per_second)
}

fn on_the_way(links: &Links, dice: &mut StdRng) -> Duration {
    let more: f64 = Exp1.sample(dice);
    let late = if dice.random_bool(links.lost.0) { links.lost.1 } else { Duration::ZERO };
    links.way.0 + links.way.1.mul_f64(more) + late
}
