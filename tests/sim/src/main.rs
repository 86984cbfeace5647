//! `simplekv-sim`: whole clusters in one thread, deterministic from a seed, with everything failing that can fail.
//!
//! The replicas are the server's own [`simplekv_server::group::Group`] on the engine's file system in memory, the controller and the
//! decisions of the clients are the production code; network, clocks, disks, the metadata store and the operators around them are
//! simulated. Nothing acknowledged may be lost, no read may be old, nothing may be done twice, and when everything works again the
//! cluster must, too.

mod client;
mod clock;
mod faults;
mod history;
mod judge;
mod machine;
#[cfg(mutants)]
mod mutants;
mod network;
mod oracle;
mod queue;
mod report;
mod rng;
mod schedule;
mod store;
mod truth;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use parking_lot::Mutex;

use crate::report::Total;
use crate::schedule::{ClockKind, Schedule};

/// Runs simulated schedules.
#[derive(Debug, Parser)]
#[command(name = "simplekv-sim")]
struct Args {
    /// Runs this one schedule and prints what happened.
    #[arg(long)]
    seed: Option<u64>,
    /// With `--seed`: also what clients asked for and were told.
    #[arg(long)]
    history: bool,
    /// First of the seeds.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// How many schedules.
    #[arg(long, default_value_t = 1000)]
    schedules: u64,
    /// How many run at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// How right the nodes' clocks are.
    #[arg(long, value_enum, default_value_t = ClockKind::Honest)]
    clocks: ClockKind,
    /// Breaks each rule of the protocol in turn, and says after how many schedules that was noticed.
    #[cfg(mutants)]
    #[arg(long)]
    mutants: bool,
    /// Of the rules only this one.
    #[cfg(mutants)]
    #[arg(long)]
    only: Option<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    #[cfg(mutants)]
    if args.mutants {
        return mutants::run(&args);
    }
    #[cfg(mutants)]
    mutants::break_only(&args);
    match args.seed {
        Some(seed) => replay(seed, &args),
        None => run(&args),
    }
}

#[expect(clippy::print_stdout, reason = "the way a program speaks to whoever started it")]
fn replay(seed: u64, args: &Args) -> ExitCode {
    let mut schedule = Schedule::new(seed, args.clocks, true);
    println!("{:?}", schedule.world().settings);
    let result = catch_unwind(AssertUnwindSafe(|| schedule.run()));
    if args.history {
        for (number, operation) in schedule.world().history.operations.iter().enumerate() {
            println!("#{number} {operation:?}");
        }
    }
    match result {
        Ok(outcome) => {
            println!("{}", outcome.trace.join("\n"));
            println!("{:?}", outcome.counts);
            ExitCode::SUCCESS
        }
        Err(panic) => {
            println!("{}", schedule.trace().join("\n"));
            for machine in schedule.world().machines.values() {
                println!("{}: {:#?}", machine.id, machine.process);
            }
            println!("violation: {}", words(&*panic));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> ExitCode {
    std::panic::set_hook(Box::new(|_| ()));
    let next = AtomicU64::new(args.first);
    let total = Mutex::new(Total::default());
    std::thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= args.first + args.schedules {
                        return;
                    }
                    let result = catch_unwind(AssertUnwindSafe(|| Schedule::new(seed, args.clocks, false).run()));
                    total.lock().add(seed, result.map_err(|panic| words(&*panic)));
                }
            });
        }
    });
    let is_good = total.into_inner().report(args);
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn median(numbers: &mut [u64]) -> u64 {
    numbers.sort_unstable();
    numbers.get(numbers.len() / 2).copied().unwrap_or(0)
}

/// What a panic said.
fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}
