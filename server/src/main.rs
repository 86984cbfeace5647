//! `simplekv-server`: one node against etcd.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use simplekv_conf::Problems;
use simplekv_meta::{EtcdOptions, EtcdStore};
use simplekv_server::config::Config;
use simplekv_server::{Node, logging};
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One node of a simplekv cluster.
#[derive(Debug, Parser)]
#[command(name = "simplekv-server", version)]
struct Args {
    /// Configuration file; conf/simplekv.toml explains every key.
    #[arg(long, short)]
    config: Option<PathBuf>,
    /// Sets one key, as in `--set storage.flush=replicated`. May be repeated.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", value_parser = key_value)]
    settings: Vec<(String, String)>,
    /// Reports every problem of the configuration and exits: 0 if there is none, else 2.
    #[arg(long)]
    check_config: bool,
    /// Prints the effective configuration, each value with its origin, and exits.
    #[arg(long)]
    print_config: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected SECTION.KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the way a program speaks to whoever started it")]
fn main() -> ExitCode {
    let args = Args::parse();
    let config = match configure(&args) {
        Ok((config, _)) if args.check_config => {
            println!("the configuration of node {} is valid", config.node);
            return ExitCode::SUCCESS;
        }
        Ok((_, description)) if args.print_config => {
            print!("{description}");
            return ExitCode::SUCCESS;
        }
        Ok((config, _)) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(2);
        }
    };
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simplekv-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn configure(args: &Args) -> Result<(Config, String), Problems> {
    let environment = std::env::vars_os();
    let (config, loaded) =
        simplekv_conf::load_checked(args.config.as_deref(), environment, &args.settings, Config::check)?;
    Ok((config, loaded.describe()))
}

fn run(config: Config) -> anyhow::Result<()> {
    logging::start(&config.log).map_err(anyhow::Error::msg)?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if config.threads > 0 {
        runtime.worker_threads(config.threads);
    }
    let runtime = runtime.enable_all().build()?;
    let outcome = runtime.block_on(live(config));
    // What is left are connections that did not end; nothing of value is in them.
    runtime.shutdown_background();
    outcome
}

async fn live(config: Config) -> anyhow::Result<()> {
    let store = EtcdStore::new(EtcdOptions::new(config.etcd.endpoints.clone()))?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let node = Node::start(config, Arc::new(store)).await?;
    tokio::select! {
        reason = node.failed() => {
            node.stop().await;
            anyhow::bail!(reason)
        }
        _ = interrupt.recv() => (),
        _ = terminate.recv() => (),
    }
    tracing::info!("stopping");
    node.stop().await;
    Ok(())
}
