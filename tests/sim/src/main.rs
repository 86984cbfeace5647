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
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use parking_lot::Mutex;

use crate::report::Counts;
use crate::schedule::Schedule;

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
    /// Breaks each rule of the protocol in turn, and says after how many schedules that was noticed.
    #[cfg(mutants)]
    #[arg(long)]
    mutants: bool,
    /// Of the rules only this one.
    #[cfg(mutants)]
    #[arg(long)]
    only: Option<String>,
}

/// What all schedules came to.
#[derive(Debug, Default)]
struct Total {
    counts: Counts,
    events: Vec<u64>,
    operations: Vec<u64>,
    with_leader_lost: u64,
    checked: u64,
    keys: u64,
    steps: u64,
    undecided: u64,
    violations: Vec<(u64, String)>,
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
        Some(seed) => replay(seed, args.history),
        None => run(&args),
    }
}

#[expect(clippy::print_stdout, reason = "the way a program speaks to whoever started it")]
fn replay(seed: u64, history: bool) -> ExitCode {
    let mut schedule = Schedule::new(seed, true);
    println!("{:?}", schedule.world().settings);
    let result = catch_unwind(AssertUnwindSafe(|| schedule.run()));
    if history {
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

#[expect(clippy::print_stdout, reason = "the way a program speaks to whoever started it")]
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
                    let result = catch_unwind(AssertUnwindSafe(|| Schedule::new(seed, false).run()));
                    let mut total = total.lock();
                    match result {
                        Ok(outcome) => {
                            total.events.push(outcome.counts.events);
                            total.operations.push(outcome.counts.operations);
                            total.with_leader_lost += u64::from(outcome.counts.leaders_lost > 0);
                            total.counts.add(&outcome.counts);
                            total.checked += outcome.verdict.operations as u64;
                            total.keys += outcome.verdict.keys as u64;
                            total.steps += outcome.verdict.steps;
                            total.undecided += outcome.verdict.undecided.len() as u64;
                        }
                        Err(panic) => total.violations.push((seed, words(&*panic))),
                    }
                }
            });
        }
    });
    let mut total = total.into_inner();
    for (name, count) in total.counts.rows() {
        println!("{name}={count}");
    }
    let last = args.first + args.schedules - 1;
    println!("seeds={}..{last} schedules={}", args.first, args.schedules);
    println!("events_median={} operations_median={}", median(&mut total.events), median(&mut total.operations));
    println!("leader_lost_schedules={}", total.with_leader_lost);
    total.violations.sort();
    for (seed, what) in total.violations.iter().take(20) {
        println!("seed {seed}: {what}");
    }
    println!("checked={} keys={} steps={}", total.checked, total.keys, total.steps);
    println!("undecided={} violations={}", total.undecided, total.violations.len());
    if total.violations.is_empty() && total.undecided == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
