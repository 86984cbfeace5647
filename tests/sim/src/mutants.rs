//! Breaks the protocol's rules one at a time. A rule that can be broken without being noticed is a hole in the simulator.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use simplekv_types::mutants::{Rule, break_rule};

use crate::schedule::Schedule;
use crate::{Args, median, words};

/// What became of one mutant.
#[derive(Debug)]
struct Trial {
    rule: Rule,
    /// After how many schedules it was noticed, by which seed, and by what.
    killed: Option<(u64, u64, String)>,
}

/// Breaks the rule that was named, for a run of schedules.
pub(crate) fn break_only(args: &Args) {
    break_rule(args.only.as_deref().and_then(named));
}

fn named(name: &str) -> Option<Rule> {
    Rule::ALL.iter().copied().find(|rule| rule.name().eq_ignore_ascii_case(name))
}

/// Runs schedules against each mutant until one of them notices.
#[expect(clippy::print_stdout, reason = "the way a program speaks to whoever started it")]
pub(crate) fn run(args: &Args) -> ExitCode {
    std::panic::set_hook(Box::new(|_| ()));
    let rules: Vec<Rule> = match &args.only {
        None => Rule::ALL.to_vec(),
        Some(names) => names.split(',').filter_map(named).collect(),
    };
    let next = AtomicUsize::new(0);
    let trials = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| {
                while let Some(&rule) = rules.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let trial = try_rule(rule, args);
                    match &trial.killed {
                        Some((schedules, seed, by)) => {
                            let by = by.lines().next().unwrap_or_default();
                            println!("{:<4} killed after {schedules} by seed {seed}: {by}", rule.name());
                        }
                        None => {
                            println!("{:<4} SURVIVED {} schedules: {}", rule.name(), args.schedules, rule.sentence())
                        }
                    }
                    trials.lock().push(trial);
                }
            });
        }
    });
    let trials = trials.into_inner();
    let mut needed: Vec<u64> =
        trials.iter().filter_map(|trial| trial.killed.as_ref().map(|(schedules, ..)| *schedules)).collect();
    let survivors: Vec<&str> =
        trials.iter().filter(|trial| trial.killed.is_none()).map(|trial| trial.rule.name()).collect();
    let most = needed.iter().max().copied().unwrap_or(0);
    println!("killed {} of {}", needed.len(), trials.len());
    println!("schedules_to_kill_median={} max={most} survivors={survivors:?}", median(&mut needed));
    if survivors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn try_rule(rule: Rule, args: &Args) -> Trial {
    break_rule(Some(rule));
    let seeds = args.first..args.first + args.schedules;
    let noticed = |seed: u64| {
        let result = catch_unwind(AssertUnwindSafe(|| Schedule::new(seed, false).run()));
        result.err().map(|panic| (seed - args.first + 1, seed, words(&*panic)))
    };
    let killed = seeds.into_iter().find_map(noticed);
    break_rule(None);
    Trial { rule, killed }
}
