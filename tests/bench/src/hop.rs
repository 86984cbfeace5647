//! What a router adds: the CPU time its process takes for an operation, and what the node behind it takes for one that comes by way of a
//! router beside one that comes directly.

use std::time::Duration;

use anyhow::{Context, Result};
use simplekv_tests::{Cluster, Router, Settings, Shape};

use crate::args::Hop;
use crate::compare::median;
use crate::redis::Run;
use crate::{cpu, machine, resp};

const VALUE_BYTES: usize = 100;
const COMMANDS: [&str; 2] = ["get", "set"];
const PIPELINES: [u32; 3] = [1, 16, 64];

/// The processes on the way.
struct Way<'a> {
    router: &'a str,
    router_pid: u32,
    node: &'a str,
    node_pid: u32,
}

/// One measurement.
#[derive(Clone, Copy, Debug, Default)]
struct Figure {
    kops_per_second: f64,
    /// CPU time of an operation, in microseconds.
    router: f64,
    node: f64,
}

pub(crate) async fn run(hop: &Hop) -> Result<()> {
    println!("{}\n", machine::description().await?);
    let shape = Shape::one_node()
        .with("storage", "flush", "replicated")
        .with("storage", "flush_interval_ms", 1000)
        .with("runtime", "threads", 1);
    let cluster = Cluster::start(&shape).await?;
    let settings: Settings = vec![("runtime", "threads", 1.into())];
    let router: Router = cluster.router_with(&settings).await?;
    let node = cluster.nodes.first().context("there is one node")?;
    let way = Way {
        router: &router.resp,
        router_pid: router.process.pid().context("it runs")?,
        node: &node.resp,
        node_pid: node.process.pid().context("it runs")?,
    };
    resp::prefill(way.node, hop.keys, VALUE_BYTES).await?;
    println!(
        "{} keys, {VALUE_BYTES}-byte values, 50 clients, one worker thread each for router and node, median of {} pairs\n",
        hop.keys, hop.rounds
    );
    println!(
        "| load | router CPU us/op | node CPU us/op behind it | node CPU us/op directly | kops/s | directly |\n\
         |---|---|---|---|---|---|"
    );
    for command in COMMANDS {
        for pipeline in PIPELINES {
            print_row(command, pipeline, &way, hop).await?;
        }
    }
    Ok(())
}

async fn print_row(command: &'static str, pipeline: u32, way: &Way<'_>, hop: &Hop) -> Result<()> {
    let warm_up = Run { command, pipeline, keys: hop.keys, requests: 20_000 * u64::from(pipeline.min(8)), core: None };
    let rate = warm_up.against(way.router).await?;
    let seconds = Duration::from_secs(hop.seconds).as_secs_f64();
    let run = Run { requests: ((rate * seconds) as u64).max(warm_up.requests), ..warm_up };
    let (mut through, mut directly) = (Vec::new(), Vec::new());
    for _ in 0..hop.rounds {
        through.push(measure(run, way.router, way).await?);
        directly.push(measure(run, way.node, way).await?);
    }
    let of = |figures: &[Figure], figure: fn(&Figure) -> f64| median(figures.iter().map(figure));
    println!(
        "| {} P={pipeline} | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} |",
        command.to_uppercase(),
        of(&through, |figure| figure.router),
        of(&through, |figure| figure.node),
        of(&directly, |figure| figure.node),
        of(&through, |figure| figure.kops_per_second),
        of(&directly, |figure| figure.kops_per_second),
    );
    Ok(())
}

async fn measure(run: Run, address: &str, way: &Way<'_>) -> Result<Figure> {
    let (router, node) = (cpu::used(way.router_pid)?, cpu::used(way.node_pid)?);
    let kops_per_second = run.against(address).await? / 1000.0;
    let each = |spent: Duration| spent.as_secs_f64() * 1e6 / run.requests as f64;
    Ok(Figure {
        kops_per_second,
        router: each(cpu::used(way.router_pid)?.saturating_sub(router)),
        node: each(cpu::used(way.node_pid)?.saturating_sub(node)),
    })
}
