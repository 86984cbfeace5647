//! Breaks the protocol's rules one at a time. A rule that can be broken without being noticed is a hole in the simulator.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use simplekv_types::mutants::{Rule, break_rule};

use crate::schedule::Schedule;
use crate::{Args, median, words};

/// Rules whose breaking nobody can notice, with the reason: something else implies them.
const IMPLIED: [(Rule, &str); 1] = [(
    Rule::C15,
    "leases are granted only after activation and only to confirmed members: each of them has acknowledged the start of the epoch, \
     and what an incarnation has acknowledged it keeps over a restart, as pending until it is verified again",
)];

/// What became of one mutant.
#[derive(Debug)]
struct Trial {
    rule: Rule,
    /// After how many schedules it was noticed, by which seed, and by what.
    killed: Option<(u64, u64, String)>,
}

/// Breaks the rule that was named, for a run of schedules.
pub(crate) fn break_only(args: &Args) {
    break_rule(args.only.as_deref().and_then(Rule::named));
}

/// Runs schedules against each mutant until one of them notices; whom none noticed the stories of the protocol are told.
pub(crate) fn run(args: &Args) -> ExitCode {
    std::panic::set_hook(Box::new(|_| ()));
    let rules: Vec<Rule> = match &args.only {
        None => Rule::ALL.to_vec(),
        Some(names) => names.split(',').filter_map(Rule::named).collect(),
    };
    let next = AtomicUsize::new(0);
    let trials = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| {
                while let Some(&rule) = rules.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let trial = try_rule(rule, args);
                    trial.tell(args);
                    trials.lock().push(trial);
                }
            });
        }
    });
    report(&trials.into_inner())
}

#[expect(clippy::print_stdout, reason = "the way a program speaks to whoever started it")]
fn report(trials: &[Trial]) -> ExitCode {
    let mut needed: Vec<u64> =
        trials.iter().filter_map(|trial| trial.killed.as_ref().map(|(schedules, ..)| *schedules)).collect();
    let (mut by_stories, mut implied, mut survivors) = (Vec::new(), Vec::new(), Vec::new());
    for rule in trials.iter().filter(|trial| trial.killed.is_none()).map(|trial| trial.rule) {
        let known = IMPLIED.iter().find(|(known, _)| *known == rule);
        match stories_notice(rule) {
            Some(by) => {
                println!("{:<4} killed by a story: {by}", rule.name());
                by_stories.push(rule.name());
            }
            None if known.is_some() => implied.push(rule.name()),
            None => survivors.push(rule.name()),
        }
    }
    for (rule, reason) in IMPLIED.iter().filter(|(rule, _)| implied.contains(&rule.name())) {
        println!("{:<4} is implied: {reason}", rule.name());
    }
    let most = needed.iter().max().copied().unwrap_or(0);
    let killed = needed.len() + by_stories.len();
    println!("killed {killed} of {}: {} by schedules, {} by stories", trials.len(), needed.len(), by_stories.len());
    println!("schedules_to_kill_median={} max={most}", median(&mut needed));
    println!("by_stories={by_stories:?} implied={implied:?} survivors={survivors:?}");
    if survivors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Trial {
    #[expect(clippy::print_stdout, reason = "the way a program speaks to whoever started it")]
    fn tell(&self, args: &Args) {
        let name = self.rule.name();
        match &self.killed {
            Some((schedules, seed, by)) => {
                let by = by.lines().next().unwrap_or_default();
                println!("{name:<4} killed after {schedules} by seed {seed}: {by}");
            }
            None => println!("{name:<4} survived {} schedules: {}", args.schedules, self.rule.sentence()),
        }
    }
}

fn try_rule(rule: Rule, args: &Args) -> Trial {
    break_rule(Some(rule));
    let seeds = args.first..args.first + args.schedules;
    let noticed = |seed: u64| {
        let result = catch_unwind(AssertUnwindSafe(|| Schedule::new(seed, args.clocks, false).run()));
        result.err().map(|panic| (seed - args.first + 1, seed, words(&*panic)))
    };
    let killed = seeds.into_iter().find_map(noticed);
    break_rule(None);
    Trial { rule, killed }
}

/// Tells the stories of the protocol with the rule broken. Returns the first that goes another way.
fn stories_notice(rule: Rule) -> Option<String> {
    let told = Command::new("cargo")
        .args(["test", "--profile", "sim", "--target-dir", "target/mutants", "-p", "simplekv-cluster"])
        .args(["--test", "protocol", "--no-fail-fast"])
        .env("RUSTFLAGS", "--cfg mutants")
        .env("SIMPLEKV_BREAK", rule.name())
        .output()
        .expect("cargo runs: start this from the top of the source tree");
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    let failed = text.lines().find(|line| line.starts_with("test ") && line.ends_with("FAILED"));
    failed.map(|line| line.trim_start_matches("test ").trim_end_matches(" ... FAILED").to_owned())
}
