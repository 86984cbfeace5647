//! One node, and one group of three, against redis-server: the same load generator, one after the other, as ratios.

use std::time::Duration;

use anyhow::{Context, Result};
use simplekv_tests::{Cluster, Process, Shape};
use simplekv_types::GroupId;

use crate::args::Compare;
use crate::redis::{self, Run};
use crate::{cpu, machine, resp};

const PIPELINES: [u32; 3] = [1, 16, 64];
const COMMANDS: [&str; 2] = ["set", "get"];
/// One for each type, and what clients send in batches.
const OTHERS: [&str; 6] = ["incr", "mset", "lpush", "hset", "sadd", "zadd"];
const OTHERS_PIPELINE: u32 = 16;
const VALUE_BYTES: usize = 100;
/// With `--pin`.
const SERVER_CORE: u32 = 0;
const LOAD_CORE: u32 = 1;

/// Something that speaks the Redis protocol, and the processes whose CPU time it costs.
struct Side {
    address: String,
    pids: Vec<u32>,
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
struct Figure {
    ops_per_second: f64,
    cpu_micros_per_op: f64,
}

/// All measurements of one load, pair by pair.
struct Row {
    command: &'static str,
    pipeline: u32,
    redis: Vec<Figure>,
    simplekv: Vec<Figure>,
}

pub(crate) async fn run(compare: &Compare) -> Result<()> {
    let dir = tempfile::TempDir::with_prefix("simplekv-bench-")?;
    let (redis, address) = redis::start(dir.path()).await?;
    let peer = side(address, &[&redis], compare)?;
    resp::prefill(&peer.address, compare.keys, VALUE_BYTES).await.context("filling redis-server")?;

    println!("{}\n", machine::description().await?);
    println!(
        "{} keys, {VALUE_BYTES}-byte values, 50 clients, median of {} pairs{}",
        compare.keys,
        compare.pairs,
        pinned(compare)
    );
    let loads: Vec<Load> =
        COMMANDS.into_iter().flat_map(|command| PIPELINES.map(|pipeline| (command, pipeline))).collect();
    let others: Vec<Load> = OTHERS.map(|command| (command, OTHERS_PIPELINE)).into();
    let one = [loads.clone(), others].concat();
    measure("one node, one group, one replica", &Shape::one_node(), &peer, &one, compare).await?;
    if !compare.one_node_only {
        measure("three nodes, one group of three replicas", &Shape::three_nodes(), &peer, &loads, compare).await?;
    }
    Ok(())
}

/// A command, and how many of it are sent at once.
type Load = (&'static str, u32);

/// Starts the cluster, fills it and prints its table.
async fn measure(title: &str, shape: &Shape, peer: &Side, loads: &[Load], compare: &Compare) -> Result<()> {
    let shape = shape
        .clone()
        .with("storage", "flush", "replicated")
        .with("storage", "flush_interval_ms", 1000)
        // As redis-server has it. With two cores a second thread would only take turns with the load generator.
        .with("runtime", "threads", 1);
    let mut cluster = Cluster::start(&shape).await?;
    let leader = cluster.leader(GroupId(1)).await?.context("g1 has no leader")?;
    let address = cluster.node(leader).resp.clone();
    let processes: Vec<&Process> = cluster.nodes.iter().map(|node| &node.process).collect();
    let own = side(address, &processes, compare)?;
    resp::prefill(&own.address, compare.keys, VALUE_BYTES).await.context("filling simplekv")?;

    let mut rows = Vec::new();
    for &(command, pipeline) in loads {
        rows.push(row(command, pipeline, peer, &own, compare).await?);
    }
    println!(
        "\n{title}: one worker thread a node, flush `replicated` every second against appendfsync everysec\n\n{}",
        table(&rows)
    );
    Ok(())
}

/// Measures one load on both sides in turns.
async fn row(command: &'static str, pipeline: u32, peer: &Side, own: &Side, compare: &Compare) -> Result<Row> {
    let core = compare.pin.then_some(LOAD_CORE);
    let warm_up = Run { command, pipeline, keys: compare.keys, requests: 20_000 * u64::from(pipeline.min(8)), core };
    let [peer_run, own_run] = [calibrated(warm_up, peer, compare).await?, calibrated(warm_up, own, compare).await?];
    let mut row = Row { command, pipeline, redis: Vec::new(), simplekv: Vec::new() };
    for pair in 0..compare.pairs {
        // Who goes first changes, so that what one leaves behind in caches and disk queues falls to both.
        if pair % 2 == 0 {
            row.redis.push(figure(peer_run, peer).await?);
            row.simplekv.push(figure(own_run, own).await?);
        } else {
            row.simplekv.push(figure(own_run, own).await?);
            row.redis.push(figure(peer_run, peer).await?);
        }
    }
    Ok(row)
}

/// The run with as many requests as take the wanted time.
async fn calibrated(warm_up: Run, side: &Side, compare: &Compare) -> Result<Run> {
    let rate = warm_up.against(&side.address).await?;
    let requests = rate * Duration::from_secs(compare.seconds).as_secs_f64();
    Ok(Run { requests: (requests as u64).max(warm_up.requests), ..warm_up })
}

async fn figure(run: Run, side: &Side) -> Result<Figure> {
    let before = cpu::used_by_all(&side.pids)?;
    let ops_per_second = run.against(&side.address).await?;
    let spent = cpu::used_by_all(&side.pids)?.saturating_sub(before);
    Ok(Figure { ops_per_second, cpu_micros_per_op: spent.as_secs_f64() * 1e6 / run.requests as f64 })
}

fn side(address: String, processes: &[&Process], compare: &Compare) -> Result<Side> {
    let pids = processes.iter().map(|process| process.pid().context("it was started")).collect::<Result<Vec<_>>>()?;
    if compare.pin {
        pids.iter().try_for_each(|&pid| cpu::pin(pid, SERVER_CORE))?;
    }
    Ok(Side { address, pids })
}

fn pinned(compare: &Compare) -> String {
    match compare.pin {
        true => format!(", servers on core {SERVER_CORE}, load on core {LOAD_CORE}"),
        false => String::new(),
    }
}

fn table(rows: &[Row]) -> String {
    let mut lines = vec![
        "| load | redis-server kops/s | simplekv kops/s | ratio | redis-server CPU us/op | simplekv CPU us/op | ratio |".to_owned(),
        "|---|---|---|---|---|---|---|".to_owned(),
    ];
    for row in rows {
        let rate = |figures: &[Figure]| median(figures.iter().map(|figure| figure.ops_per_second / 1000.0));
        let cpu = |figures: &[Figure]| median(figures.iter().map(|figure| figure.cpu_micros_per_op));
        let pairs = || row.simplekv.iter().zip(&row.redis);
        lines.push(format!(
            "| {} P={} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} |",
            row.command.to_uppercase(),
            row.pipeline,
            rate(&row.redis),
            rate(&row.simplekv),
            median(pairs().map(|(own, peer)| own.ops_per_second / peer.ops_per_second)),
            cpu(&row.redis),
            cpu(&row.simplekv),
            median(pairs().map(|(own, peer)| own.cpu_micros_per_op / peer.cpu_micros_per_op)),
        ));
    }
    lines.join("\n")
}

/// The middle one; of an even number the mean of the middle two. Nothing of nothing.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    if sorted.len() % 2 == 1 {
        at(sorted.len() / 2)
    } else {
        (at(sorted.len() / 2) + at((sorted.len() / 2).wrapping_sub(1))) / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert!(median([].into_iter()).is_nan());
    }

    #[test]
    fn ratios_are_taken_within_pairs() {
        let figure = |ops_per_second: f64| Figure { ops_per_second, cpu_micros_per_op: 2.0 };
        let row = Row {
            command: "get",
            pipeline: 16,
            redis: [100_000.0, 200_000.0, 400_000.0].map(figure).to_vec(),
            simplekv: [100_000.0, 100_000.0, 800_000.0].map(figure).to_vec(),
        };
        let table = table(&[row]);
        assert_eq!(table.lines().last(), Some("| GET P=16 | 200 | 100 | 1.00 | 2.00 | 2.00 | 1.00 |"));
    }
}
