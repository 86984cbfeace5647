//! `simplekv-bench`: makes load, and says what it did to a cluster.
//!
//! `resp` and `client` load something that runs already. The others start what they measure themselves, from the programs beside
//! this one, on free ports in a temporary directory, and remove it afterwards.

#![expect(clippy::print_stdout, reason = "figures are what this program is for")]

mod args;
mod blackout;
mod chaos;
mod check;
mod client;
mod collections;
mod compare;
mod cpu;
mod failover;
mod gaps;
mod hop;
mod lane;
mod machine;
mod meter;
mod moves;
mod redis;
mod resp;
mod scale;
mod spread;
mod workload;
mod writers;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    // To judge is all that `check` does: that it has found something is no lesser end than that it could not.
    let (is_wrong, has_failed) = if matches!(args.command, Command::Check(_)) { (1, 2) } else { (3, 1) };
    match run(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(is_wrong),
        Err(error) => {
            report(&error);
            ExitCode::from(has_failed)
        }
    }
}

/// Whether what was measured is as promised.
fn run(args: Args) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let work = async {
            match args.command {
                Command::Resp(load) => resp::run(&load).await.map(|()| true),
                Command::Client(load) => client::run(&load).await.map(|()| true),
                Command::Compare(compare) => compare::run(&compare).await.map(|()| true),
                Command::Collections(collections) => collections::run(&collections).await.map(|()| true),
                Command::Lane(lane) => lane::run(&lane).await.map(|()| true),
                Command::Hop(hop) => hop::run(&hop).await.map(|()| true),
                Command::Spread(spread) => spread::run(&spread).await,
                Command::Failover(failover) => failover::run(&failover).await,
                Command::Blackout(blackout) => blackout::run(&blackout).await,
                Command::Moves(moves) => moves::run(&moves).await,
                Command::Chaos(chaos) => chaos::run(&chaos).await,
                Command::Check(check) => check::run(&check),
                Command::Scale(scale) => scale::run(scale).await.map(|()| true),
            }
        };
        tokio::select! {
            outcome = work => outcome,
            // The work is dropped, and with it the processes it started.
            _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        }
    })
}

#[expect(clippy::print_stderr, reason = "the program's last word")]
fn report(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
