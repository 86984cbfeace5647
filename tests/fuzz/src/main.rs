//! `simplekv-fuzz`: requests of every kind, valid and damaged, however they are cut, for the codec and the parser of the Redis protocol.
//!
//! One seed is one connection's bytes, and the same ones for ever. Whatever they are, nothing may panic, what they mean may not depend on
//! how they arrive, a request that is understood has its keys where the command table says and survives the way back to words, and memory
//! may grow by no more than a small multiple of what arrived. What a server answers is decoded, too, damaged in the same ways.

mod bytes;
mod judge;
mod memory;
mod rng;
mod words;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;

use crate::judge::{Judge, Tally};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// How much more memory may be in use after many executions than before: what is made once and kept.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// How often that, and the time, are looked at.
const LOOK: u64 = 1 << 16;

/// Tries the bytes of many connections.
#[derive(Debug, Parser)]
#[command(name = "simplekv-fuzz")]
struct Args {
    /// Tries this one seed and shows its bytes.
    #[arg(long)]
    seed: Option<u64>,
    /// First of the seeds.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 1_000_000)]
    executions: u64,
    /// Ends after so many seconds, whatever is left.
    #[arg(long)]
    seconds: Option<u64>,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the way a program speaks to whoever started it")]
fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(seed) = args.seed {
        println!("{}", Judge::new().input(seed).0.escape_ascii());
        Judge::new().execute(seed, &mut Tally::default());
        println!("seed {seed}: nothing wrong");
        return ExitCode::SUCCESS;
    }
    let limit = args.seconds.map_or(Duration::MAX, Duration::from_secs);
    match run(args.first, args.executions, limit) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(seed) => {
            eprintln!("seed {seed} went wrong; `simplekv-fuzz --seed {seed}` does it again");
            ExitCode::FAILURE
        }
    }
}

/// Tries seeds until there are enough, or the time is up. Tells what there was, or the seed that went wrong.
fn run(first: u64, executions: u64, limit: Duration) -> Result<String, u64> {
    let start = Instant::now();
    let judge = Judge::new();
    let mut tally = Tally::default();
    let (kept, mut done) = (memory::now(), 0);
    while done < executions && (done % LOOK != 0 || start.elapsed() < limit) {
        let seed = first + done;
        catch_unwind(AssertUnwindSafe(|| judge.execute(seed, &mut tally))).map_err(|_told| seed)?;
        done += 1;
        if done % LOOK == 0 && memory::now() > kept + KEPT_BYTES_MAX {
            return Err(seed);
        }
    }
    let Tally { requests, understood, refused, broken, most } = tally;
    let (last, seconds) = (first + done.saturating_sub(1), start.elapsed().as_secs_f64());
    Ok(format!(
        "{done} executions, seeds {first} to {last}, in {seconds:.0} s: {requests} requests, {understood} of them understood and \
         {refused} refused, {broken} connections broken; most memory of one: {most} bytes"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many as there is time for; `make fuzz` tries more.
    #[test]
    fn nothing_that_arrives_does_any_harm() {
        let report = run(1, 60_000, Duration::MAX);
        println!("{}", report.unwrap_or_else(|seed| panic!("simplekv-fuzz --seed {seed}")));
    }

    #[test]
    fn memory_is_counted() {
        let (kept, needed) = memory::needed_by(|| {
            drop(vec![0_u8; 100_000]);
            vec![0_u8; 1000]
        });
        assert!((100_000..110_000).contains(&needed), "{needed}");
        drop(kept);
    }

    #[test]
    fn most_requests_are_understood() {
        let judge = Judge::new();
        let mut tally = Tally::default();
        (1..=5000).for_each(|seed| judge.execute(seed, &mut tally));
        let Tally { requests, understood, refused, broken, .. } = tally;
        assert!(requests > 5000 && understood > requests / 3 && refused > requests / 20 && broken > 100, "{tally:?}");
    }
}
