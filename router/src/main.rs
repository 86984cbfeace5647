//! `simplekv-router`: one address for clients that know nothing of slots.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use simplekv_conf::Problems;
use simplekv_router::Router;
use simplekv_router::settings::{LogFormat, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A router to a simplekv cluster: Redis protocol and HTTP.
#[derive(Debug, Parser)]
#[command(name = "simplekv-router", version)]
struct Args {
    /// Configuration file; conf/router.toml explains every key.
    #[arg(long, short)]
    config: Option<PathBuf>,
    /// Sets one key, as in `--set listen.resp=0.0.0.0:7379`. May be repeated.
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
    let environment = match simplekv_router::environment::translated(std::env::vars_os().collect()) {
        Ok(environment) => environment,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    let settings = match configure(&args, environment) {
        Ok(_) if args.check_config => {
            println!("the configuration is valid");
            return ExitCode::SUCCESS;
        }
        Ok((_, description)) if args.print_config => {
            print!("{description}");
            return ExitCode::SUCCESS;
        }
        Ok((settings, _)) => settings,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(2);
        }
    };
    match run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simplekv-router: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn configure(args: &Args, environment: Vec<(OsString, OsString)>) -> Result<(Settings, String), Problems> {
    let (settings, loaded) =
        simplekv_conf::load_checked(args.config.as_deref(), environment, &args.settings, Settings::check)?;
    Ok((settings, loaded.describe()))
}

fn run(settings: Settings) -> anyhow::Result<()> {
    start_logging(&settings)?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if settings.threads > 0 {
        runtime.worker_threads(settings.threads);
    }
    let runtime = runtime.enable_all().build()?;
    let outcome = runtime.block_on(live(settings));
    runtime.shutdown_background();
    outcome
}

async fn live(settings: Settings) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let router = Router::start(settings.router).await?;
    tokio::select! {
        _ = interrupt.recv() => (),
        _ = terminate.recv() => (),
    }
    tracing::info!("stopping");
    router.shutdown().await;
    Ok(())
}

fn start_logging(settings: &Settings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.log_filter)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let json = match settings.log_format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    if json {
        lines.json().flatten_event(true).init()
    } else {
        lines.with_target(false).init()
    }
    Ok(())
}
