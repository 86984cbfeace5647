//! `simplekv-local`: a whole cluster in one process, for a laptop.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use simplekv_local::{Cluster, Layout, Wanted};
use simplekv_server::config::{Log, LogFormat};
use simplekv_server::logging;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A whole simplekv cluster in one process. Data is kept in a directory and survives a restart; Ctrl-C stops cleanly.
#[derive(Debug, Parser)]
#[command(name = "simplekv-local", version)]
struct Args {
    /// Where data is kept.
    #[arg(long, default_value = "data")]
    dir: PathBuf,
    /// The router's Redis protocol port; all other ports keep their distance to it.
    #[arg(long, default_value_t = 7379)]
    port_base: u16,
    /// How many nodes. Only a new data directory asks.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=32))]
    nodes: u32,
    /// How many groups. Only a new data directory asks.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    groups: u32,
    /// Replicas of each group; at most one per node, three unless told otherwise. Only a new data directory asks.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=7))]
    replicas: Option<u32>,
    /// What becomes of transactions over several groups: `one-group` refuses them, `per-group` does each group's part by itself.
    #[arg(long, default_value = "one-group")]
    transactions: simplekv_router::Transactions,
    /// When an acknowledged write is on disk: `always`, `replicated` or `os`.
    #[arg(long, default_value = "always")]
    flush: simplekv_types::FlushPolicy,
    /// What is logged, to standard error.
    #[arg(long, default_value = "warn")]
    log: String,
}

#[expect(clippy::print_stderr, reason = "the way a program speaks to whoever started it")]
fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simplekv-local: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let log = Log { filter: args.log.clone(), format: LogFormat::Pretty };
    logging::start(&log).map_err(anyhow::Error::msg)?;
    let Args { port_base, nodes, groups, replicas, flush, transactions, .. } = *args;
    let dir = args.dir.clone();
    let layout =
        Layout::new(&Wanted { dir, port_base: Some(port_base), nodes, groups, replicas, flush, transactions })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(live(&layout));
    // What is left are connections that did not end; nothing of value is in them.
    runtime.shutdown_background();
    outcome
}

#[expect(clippy::print_stdout, reason = "the way a program speaks to whoever started it")]
async fn live(layout: &Layout) -> anyhow::Result<()> {
    let interrupted = interrupted()?;
    tokio::pin!(interrupted);
    let cluster = tokio::select! {
        cluster = Cluster::start(layout) => cluster?,
        () = &mut interrupted => return Ok(()),
    };
    let started = tokio::select! {
        serving = cluster.serves() => serving,
        reason = cluster.failed() => Err(anyhow::anyhow!(reason)),
        () = &mut interrupted => {
            cluster.stop().await;
            return Ok(());
        }
    };
    if let Err(error) = started {
        cluster.stop().await;
        return Err(error);
    }
    print!("{}", layout.greeting());
    let outcome = tokio::select! {
        reason = cluster.failed() => Err(anyhow::anyhow!(reason)),
        () = &mut interrupted => Ok(()),
    };
    println!("stopping");
    cluster.stop().await;
    outcome
}

fn interrupted() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
        }
    })
}
