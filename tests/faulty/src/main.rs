//! `simplekv-faulty-server`: a node like `simplekv-server`, whose clock may run at a wrong rate and whose disk may be slow.
//!
//! For tests only, and a program of its own so that no configuration, flag or variable of the real one leads here.

mod slow_disk;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use simplekv_engine::fs::RealFs;
use simplekv_meta::{EtcdOptions, EtcdStore};
use simplekv_server::config::Config;
use simplekv_server::{Node, clock, logging};
use tokio::signal::unix::{SignalKind, signal};

use crate::slow_disk::{SlowFs, Slowness};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One node of a simplekv cluster, with something wrong with it.
#[derive(Debug, Parser)]
#[command(name = "simplekv-faulty-server", version)]
struct Args {
    /// Configuration file, as of simplekv-server
    #[arg(long)]
    config: PathBuf,
    /// What the clock shows of a million nanoseconds
    #[arg(long, value_name = "N", env = "FAULTY_CLOCK_RATE", default_value_t = 1_000_000)]
    clock_rate: u32,
    /// A file with the milliseconds by which every flush to the disk is late; looked at before each of them. A missing file means 0.
    /// How many were late is written beside it, with the ending `count`
    #[arg(long, value_name = "FILE")]
    slow_disk: Option<PathBuf>,
}

#[expect(clippy::print_stderr, reason = "the way a program speaks to whoever started it")]
fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simplekv-faulty-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    clock::falsify_rate(args.clock_rate);
    let config = Config::load(Some(&args.config), std::env::vars_os(), &[]).map_err(anyhow::Error::msg)?;
    logging::start(&config.log).map_err(anyhow::Error::msg)?;
    tracing::info!(clock_rate = args.clock_rate, slow_disk = ?args.slow_disk, "a faulty server");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(live(config, args.slow_disk));
    runtime.shutdown_background();
    outcome
}

async fn live(config: Config, slow_disk: Option<PathBuf>) -> anyhow::Result<()> {
    let store = EtcdStore::new(EtcdOptions::new(config.etcd.endpoints.clone()))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let fs = SlowFs::new(Arc::new(RealFs), Slowness::told_by(slow_disk));
    let node = Node::start_on(Arc::new(fs), config, Arc::new(store)).await?;
    tokio::select! {
        reason = node.failed() => {
            node.stop().await;
            anyhow::bail!(reason)
        }
        _ = terminate.recv() => (),
    }
    tracing::info!("stopping");
    node.stop().await;
    Ok(())
}
