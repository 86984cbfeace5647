//! `simplekv-model`: everything that can happen to a small group, within bounds, to the last state.
//!
//! The replicas are values of `simplekv-cluster`, the same as in the server; elections are those of its controller. Around them is a
//! network that loses, delays and reorders, a metadata store with compare-and-set, clients that write, processes that end, and time
//! that passes when it likes. Each scope bounds how often some of these happen and is explored until nothing is left of it.

mod bounds;
mod disk;
mod history;
mod model;
mod network;
mod node;
mod properties;
mod report;
mod shared;
mod state;
mod store;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use stateright::{Checker, HasDiscoveries, Model};

use crate::bounds::{SCOPES, Scope};
use crate::model::Protocol;

/// Explores every scope to its end.
#[derive(Debug, Parser)]
#[command(name = "simplekv-model")]
struct Args {
    /// Only this scope.
    #[arg(long)]
    scope: Option<String>,
    /// How many threads explore.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Breaks these rules, one after the other, and looks for the shortest way to notice it.
    #[cfg(mutants)]
    #[arg(long = "break", value_delimiter = ',')]
    rules: Vec<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    // What the core asserts is a property here; its words are in the report.
    std::panic::set_hook(Box::new(|_| ()));
    let scopes: Vec<&Scope> =
        SCOPES.iter().filter(|scope| args.scope.as_deref().is_none_or(|name| scope.name == name)).collect();
    #[cfg(mutants)]
    if !args.rules.is_empty() {
        return break_rules(&args, &scopes);
    }
    let holds = |scope: &&Scope| {
        let started = Instant::now();
        let checker = protocol(scope).checker().threads(args.jobs).finish_when(HasDiscoveries::AnyFailures);
        report::tell(scope, &checker.spawn_dfs().join(), started.elapsed())
    };
    // Every scope is told about, also after one that failed.
    let failed = scopes.iter().filter(|scope| !holds(scope)).count();
    if failed == 0 && !scopes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn protocol(scope: &Scope) -> Protocol {
    Protocol {
        bounds: scope.bounds,
        reaches: scope.reaches,
        #[cfg(mutants)]
        broken: None,
    }
}

/// Succeeds if every one of the rules is missed by some scope.
#[cfg(mutants)]
fn break_rules(args: &Args, scopes: &[&Scope]) -> ExitCode {
    use simplekv_types::mutants::Rule;

    let mut survivors = 0;
    for name in &args.rules {
        let broken = Rule::ALL.iter().copied().find(|rule| rule.name().eq_ignore_ascii_case(name));
        let is_noticed = |scope: &&Scope| {
            let checker = Protocol { broken, ..protocol(scope) }.checker();
            let checker = checker.threads(args.jobs).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
            report::tell_counterexample(name, scope, &checker)
        };
        if broken.is_none() || !scopes.iter().any(is_noticed) {
            report::tell_survivor(name);
            survivors += 1;
        }
    }
    if survivors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
