//! What the control plane of a large cluster costs: the metadata of one that no test machine could run, told and followed by the code of
//! nodes and clients, and multiplied; and how long a change takes to reach every client, simulated.
//!
//! docs/scale.md says what follows from the figures.

mod cluster;
mod cost;
mod counting;
mod reach;
#[cfg(test)]
mod tests;

use std::time::Duration;

use anyhow::Result;
use prost::Message;
use simplekv_cluster::Timing;
use simplekv_meta::{ClusterView, Key, Keys, LiveRecord, MirrorOptions, encode, pace};
use simplekv_proto::v1;
use simplekv_server::Picture;

use self::cluster::{Cluster, Event, Layout};
use self::cost::Told;
use self::reach::{Change, Links, Reached, Steps, spread};
use crate::args::Scale;
use crate::machine;

/// While so long all sessions of a zone's nodes end: they were kept alive at any moment of the time between two keep-alives.
const ZONE_ENDS_WITHIN: Duration = Duration::from_secs(1);

/// Prints what docs/scale.md explains.
pub(crate) async fn run(scale: Scale) -> Result<()> {
    println!("{}", machine::of_this_call()?);
    // On a thread of its own: processor time is counted by thread.
    tokio::task::spawn_blocking(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(report(&scale))
    })
    .await?
}

async fn report(scale: &Scale) -> Result<()> {
    let layout = Layout { groups: scale.groups, replicas: scale.replicas, scattered: false };
    println!(
        "{} groups of {} replicas on {} nodes, {} clients, seed {}\n",
        layout.groups,
        layout.replicas,
        layout.nodes(),
        scale.clients,
        scale.seed
    );
    let view = Cluster::found(layout).await?.view().await?;
    sizes(layout, &view).await?;
    at_rest(layout, scale.clients, &view);
    let (mirror, each) = cost::of_mirror(layout).await?;
    let mut all = Vec::new();
    for event in Event::ALL {
        all.push(cost::of_event(layout, event).await?);
    }
    told(&all);
    println!(
        "A node follows one change of the metadata in {} us; each one more that came with it takes {} us.",
        us(mirror),
        us(each)
    );
    let (office, change) = cost::of_controller(&view);
    println!(
        "The controller looks through everything in {} us when it takes office, and at each change in {} us.\n",
        us(office),
        us(change)
    );
    reached(scale, layout, &all, (mirror, each));
    Ok(())
}

/// How large the metadata is, and the topology.
async fn sizes(layout: Layout, view: &ClusterView) -> Result<()> {
    let scattered = Cluster::found(Layout { scattered: true, ..layout }).await?.view().await?;
    println!("| bytes of | slots in {} ranges | in {} |", view.slots.ranges().len(), scattered.slots.ranges().len());
    println!("|---|---|---|");
    let row =
        |what: &str, of: &dyn Fn(&ClusterView) -> usize| println!("| {what} | {} | {} |", of(view), of(&scattered));
    row("the slot map in the metadata store", &|view| encode(view.slots.as_ref()).len());
    row("all records there", &stored_bytes);
    let whole = |view: &ClusterView| Picture::of(view).whole(0);
    row("the topology, whole", &|view| whole(view).encoded_len());
    row("its slots", &|view| v1::TopologyUpdate { slots: whole(view).slots, ..Default::default() }.encoded_len());
    row("its groups", &|view| v1::TopologyUpdate { groups: whole(view).groups, ..Default::default() }.encoded_len());
    row("its nodes", &|view| v1::TopologyUpdate { nodes: whole(view).nodes, ..Default::default() }.encoded_len());
    println!();
    Ok(())
}

/// Keys and values, as a listing has them.
fn stored_bytes(view: &ClusterView) -> usize {
    let keys = Keys::default();
    let key = |key| keys.text(&key).len();
    let nodes = view.nodes.iter().map(|(&node, found)| key(Key::Node(node)) + encode(&found.record).len());
    let live = view.live.iter().map(|(&node, &run)| key(Key::Live(node)) + encode(&LiveRecord { run }).len());
    let groups = view.groups.iter().map(|(&id, found)| key(Key::Group(id)) + encode(&found.record).len());
    let slots = key(Key::Slots) + encode(view.slots.as_ref()).len();
    nodes.chain(live).chain(groups).sum::<usize>()
        + slots
        + view.cluster.as_ref().map_or(0, |cluster| encode(cluster).len())
}

/// What each node asks of the metadata store while nothing happens, by the intervals of the code.
#[derive(Clone, Copy, Debug)]
struct Rest {
    keep_alive: Duration,
    probe: Duration,
    relist: Duration,
}

impl Rest {
    fn of(layout: Layout, stored_bytes: usize) -> Self {
        let least = MirrorOptions::default().relist_interval;
        Self {
            keep_alive: pace::keep_alive_interval(Timing::default().session_ttl),
            probe: pace::PROBE_INTERVAL,
            relist: pace::relist_interval(least, layout.nodes() as usize, stored_bytes),
        }
    }
}

fn at_rest(layout: Layout, clients: u32, view: &ClusterView) {
    let (nodes, stored) = (f64::from(layout.nodes()), stored_bytes(view));
    let rest = Rest::of(layout, stored);
    let row = |what: &str, every: Duration, bytes: usize, askers: f64| {
        let rate = askers / every.as_secs_f64();
        println!("| {what} | {} s | {rate:.1} | {:.2} |", every.as_secs_f64(), rate * bytes as f64 / 1e6);
    };
    println!("| while nothing happens | of each every | requests a second | megabytes a second |");
    println!("|---|---|---|---|");
    row("etcd: leases are kept alive", rest.keep_alive, 0, nodes);
    row("etcd: watched members are asked whether they are there", rest.probe, 0, nodes);
    row("etcd: everything is listed", rest.relist, stored, nodes);
    let unchanged = v1::TopologyUpdate { version: view.revision.0, unchanged: true, ..Default::default() };
    row("nodes: signs of life to clients", Picture::SIGN_OF_LIFE, unchanged.encoded_len(), f64::from(clients));
    println!("| each node, of that | | {:.1} | |\n", f64::from(clients) / nodes / Picture::SIGN_OF_LIFE.as_secs_f64());
}

fn told(all: &[Told]) {
    println!(
        "| event | etcd transactions | changes | bytes of them to each node | to a client: whole, bytes | difference, bytes | node: picture us | \
         whole, make + encode us | difference, make + encode us | client: whole us | difference us |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for told in all {
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} + {} | {} + {} | {} | {} |",
            told.event.name(),
            told.transactions,
            told.changes.len(),
            told.changes.iter().sum::<usize>(),
            told.whole.bytes,
            told.difference.bytes,
            us(told.picture),
            us(told.whole.make),
            us(told.whole.encode),
            us(told.difference.make),
            us(told.difference.encode),
            us(told.whole.apply),
            us(told.difference.apply),
        );
    }
    println!();
}

/// How the changes of each event reach the clients: told as differences, and as it would be if everything were told each time.
fn reached(scale: &Scale, layout: Layout, all: &[Told], mirror: (Duration, Duration)) {
    let links = Links::default();
    println!("Assumed of the network: {links:?}\n");
    println!(
        "| event | told | half of the clients have it after ms | 99 % | 99.9 % | all | messages | megabytes to clients | of each node | \
         megabytes from etcd |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for told in all {
        let changes = committed(told);
        for (way, steps) in [("differences", differences(told, mirror)), ("everything", everything(told, mirror))] {
            let reached = spread(layout.nodes(), scale.clients, &changes, &steps, &links, scale.seed);
            row(told.event.name(), way, layout, &reached);
        }
    }
}

fn row(event: &str, way: &str, layout: Layout, reached: &Reached) {
    let ms = |share| format!("{:.1}", reached.per_mille(share).as_secs_f64() * 1e3);
    println!(
        "| {event} | {way} | {} | {} | {} | {} | {} | {:.1} | {:.3} | {:.1} |",
        ms(500),
        ms(990),
        ms(999),
        ms(1000),
        reached.messages,
        reached.bytes / 1e6,
        reached.bytes / 1e6 / f64::from(layout.nodes()),
        reached.store_bytes / 1e6,
    );
}

/// When the changes of an event are committed: one after the other, evenly if there are many.
fn committed(told: &Told) -> Vec<Change> {
    let count = u32::try_from(told.changes.len()).unwrap_or(u32::MAX).max(1);
    let apart = if told.event == Event::Zone { ZONE_ENDS_WITHIN / count } else { Links::default().commit };
    let at = |index: usize| apart * u32::try_from(index).unwrap_or(u32::MAX);
    told.changes.iter().enumerate().map(|(index, &bytes)| Change { at: at(index), bytes }).collect()
}

/// What one message costs that tells a part of the event is not more than what all of it in one costs.
fn differences(told: &Told, (mirror, each): (Duration, Duration)) -> Steps {
    let changes = told.changes.len().max(1) as f64;
    Steps {
        take: (mirror + told.picture + told.difference.make, each),
        tell: told.difference.encode,
        apply: told.difference.apply,
        bytes: (0.0, told.difference.bytes as f64 / changes),
    }
}

fn everything(told: &Told, (mirror, each): (Duration, Duration)) -> Steps {
    Steps {
        take: (mirror + told.picture, each),
        tell: told.whole.make + told.whole.encode,
        apply: told.whole.apply,
        bytes: (told.whole.bytes as f64, 0.0),
    }
}

fn us(time: Duration) -> u128 {
    time.as_micros()
}
