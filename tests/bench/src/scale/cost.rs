//! What one node and one client have to do for a change, with their own code: bytes, and processor time of the thread that does it.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use prost::Message;
use simplekv_client::Topology;
use simplekv_client::sans_io::TopologyWatch;
use simplekv_cluster::{Controller, ControllerEvent, NodeFacts, Timing};
use simplekv_meta::{ClusterView, Mirror, MirrorOptions};
use simplekv_proto::v1;
use simplekv_server::Picture;
use simplekv_types::Tick;

use super::cluster::{Cluster, Event, Layout};

/// How often everything is measured; the median counts.
const ROUNDS: usize = 9;
/// Mirrors beside each other, so that what one costs stands out from what the store costs.
const MIRRORS: u32 = 8;
/// Any time of a group, as long as those of today when written down.
const GROUP_TIME: u64 = 1_790_000_000_000;

/// What an event makes of the topology, and what it costs to tell.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) event: Event,
    /// Transactions of the cluster's own.
    pub(crate) transactions: u64,
    /// Bytes of each change as the store tells it to each node.
    pub(crate) changes: Vec<usize>,
    /// The topology afterwards, whole.
    pub(crate) whole: Cost,
    /// What is different.
    pub(crate) difference: Cost,
    /// Of a node: to make a picture of the metadata, and to compare it with the one before.
    pub(crate) picture: Duration,
}

/// A message to clients, and what it costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) bytes: usize,
    /// Of a node, once.
    pub(crate) make: Duration,
    /// Of a node, for each client.
    pub(crate) encode: Duration,
    /// Of a client: to read it and to route by it.
    pub(crate) apply: Duration,
}

/// Has the event happen in a cluster of its own.
pub(crate) async fn of_event(layout: Layout, event: Event) -> Result<Told> {
    let cluster = Cluster::found(layout).await?;
    let view = cluster.view().await?;
    let counted = cluster.counts();
    cluster.make(event).await?;
    let transactions = cluster.counts().transactions - counted.transactions;
    let changes = cluster.told_since(view.revision).await?;
    let (before, view) = (Picture::of(&view), cluster.view().await?);
    let now = Picture::of(&view);
    ensure!(now.differs(&before), "clients would not be told");
    check(&before, &now)?;
    let picture = cpu(|| (), |()| Picture::of(black_box(&view)).differs(&before));
    let difference = message(&before, || now.since(&before, GROUP_TIME))?;
    let whole = message(&before, || now.whole(GROUP_TIME))?;
    Ok(Told { event, transactions, changes, whole, difference, picture })
}

/// What a client knows does not depend on whether it was told everything or the difference.
pub(crate) fn check(before: &Picture, now: &Picture) -> Result<()> {
    let (mut by_difference, mut by_whole) = (client_of(before)?, client_of(before)?);
    receive(&mut by_difference, &now.since(before, GROUP_TIME).encode_to_vec().into())?;
    receive(&mut by_whole, &now.whole(GROUP_TIME).encode_to_vec().into())?;
    let (one, other) = (by_difference.topology(), by_whole.topology());
    ensure!(content(&one) == content(&other), "told the difference a client knows something else");
    Ok(())
}

/// Everything of a topology but what its groups' clocks show.
pub(crate) fn content(topology: &Topology) -> String {
    let groups = topology.groups().iter().map(|g| (g.id, g.epoch, g.leader, &g.in_sync, &g.replicas, g.min_in_sync));
    let (groups, ranges): (Vec<_>, _) = (groups.collect(), topology.ranges());
    let versions = (topology.cluster(), topology.version(), topology.slot_map_version());
    format!("{versions:?}\n{ranges:?}\n{groups:?}\n{:?}", topology.nodes())
}

fn message(before: &Picture, make: impl Fn() -> v1::TopologyUpdate) -> Result<Cost> {
    let update = make();
    let encoded = Bytes::from(update.encode_to_vec());
    // One client for each round, and one to find out whether it works.
    let mut clients = (0..=ROUNDS).map(|_| client_of(before)).collect::<Result<Vec<_>>>()?;
    receive(&mut clients.pop().context("there is one more")?, &encoded)?;
    let apply =
        cpu(|| clients.pop(), |client| client.map(|mut client| (receive(&mut client, &encoded).is_ok(), client)));
    let encode = cpu(|| (), |()| black_box(&update).encode_to_vec());
    Ok(Cost { bytes: encoded.len(), make: cpu(|| (), |()| make()), encode, apply })
}

/// A client that knows the topology.
fn client_of(picture: &Picture) -> Result<TopologyWatch> {
    let mut client = TopologyWatch::default();
    receive(&mut client, &picture.whole(GROUP_TIME).encode_to_vec().into())?;
    Ok(client)
}

fn receive(client: &mut TopologyWatch, message: &Bytes) -> Result<()> {
    let update = v1::TopologyUpdate::decode(message.clone())?;
    ensure!(client.receive(update).map_err(anyhow::Error::msg)?, "the client takes it for old");
    Ok(())
}

/// What it takes a node to follow the metadata: to take in one change of a group and show it; and each one more that came with it.
pub(crate) async fn of_mirror(layout: Layout) -> Result<(Duration, Duration)> {
    let cluster = Cluster::found(layout).await?;
    let (alone, with_others) = (slope(&cluster, 1).await?, slope(&cluster, 1 + MIRRORS).await?);
    Ok((alone, with_others.saturating_sub(alone) / MIRRORS))
}

async fn slope(cluster: &Cluster, changes: u32) -> Result<Duration> {
    let (few, many) = (followed(cluster, 1, changes).await?, followed(cluster, 1 + MIRRORS, changes).await?);
    Ok(many.saturating_sub(few) / MIRRORS)
}

/// Processor time of the store and so many mirrors for so many changes that come together.
async fn followed(cluster: &Cluster, mirrors: u32, changes: u32) -> Result<Duration> {
    let (store, keys) = (cluster.records.store(), cluster.records.keys());
    let start = |_| Mirror::start(Arc::clone(store), keys.clone(), MirrorOptions::default());
    let mirrors: Vec<Mirror> = (0..mirrors).map(start).collect();
    for mirror in &mirrors {
        mirror.until(ClusterView::is_current).await;
    }
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let begun = thread_time();
        let mut revision = None;
        for group in 1..=changes {
            revision = Some(cluster.hand_over(group % cluster.layout.groups + 1).await?);
        }
        for mirror in &mirrors {
            mirror.seen(revision.context("there was a change")?).await;
        }
        rounds.push(thread_time().saturating_sub(begun));
    }
    Ok(median(rounds))
}

/// What it takes the controller to take office, and to look at one change.
pub(crate) fn of_controller(view: &ClusterView) -> (Duration, Duration) {
    let facts = || view.nodes.iter().map(|(&node, found)| NodeFacts::new(node, found, view.live.get(&node).copied()));
    let take_office = || {
        let mut controller = Controller::new(Timing::default());
        controller.step(Tick::ZERO, ControllerEvent::TookOffice);
        controller.step(Tick::ZERO, ControllerEvent::NodesSeen(facts().collect()));
        for (&group, found) in &view.groups {
            let (record, revision) = (Some(found.record.clone()), found.modified);
            controller.step(Tick::ZERO, ControllerEvent::RecordSeen { group, record, revision });
        }
        controller
    };
    let mut controller = take_office();
    let change = cpu(
        || (),
        |()| {
            controller.step(Tick::ZERO, ControllerEvent::NodesSeen(facts().collect()));
            if let Some((&group, found)) = view.groups.first_key_value() {
                let (record, revision) = (Some(found.record.clone()), found.modified);
                controller.step(Tick::ZERO, ControllerEvent::RecordSeen { group, record, revision });
            }
        },
    );
    (cpu(|| (), |()| take_office()), change)
}

/// Processor time of one call, the median of some. What `prepare` does and what a result takes to be dropped is not counted.
fn cpu<P, R>(mut prepare: impl FnMut() -> P, mut work: impl FnMut(P) -> R) -> Duration {
    let rounds = (0..ROUNDS).map(|_| {
        let prepared = prepare();
        let begun = thread_time();
        let result = work(prepared);
        let took = thread_time().saturating_sub(begun);
        drop(black_box(result));
        took
    });
    median(rounds.collect())
}

fn median(mut rounds: Vec<Duration>) -> Duration {
    rounds.sort_unstable();
    rounds.get(rounds.len() / 2).copied().unwrap_or_default()
}

/// What this thread has used of its processor: others that run on it do not count.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
