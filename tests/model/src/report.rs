//! What is told of a scope.
#![expect(clippy::print_stdout, reason = "the way a program speaks to whoever started it")]

use std::time::Duration;

use stateright::{Checker, Expectation, Path};

use crate::bounds::Scope;
use crate::model::{Action, Protocol};
use crate::state::State;

/// Tells what was explored and what came of each property. Returns whether all is as it must be.
pub(crate) fn tell(scope: &Scope, checker: &impl Checker<Protocol>, took: Duration) -> bool {
    println!("{}: {:?}", scope.name, scope.bounds);
    println!(
        "  states={} unique={} max_depth={} seconds={:.1}",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        took.as_secs_f64()
    );
    let found = checker.discoveries();
    let mut holds = true;
    for property in stateright::Model::properties(checker.model()) {
        let path = found.get(property.name);
        let (as_it_must_be, outcome) = match (&property.expectation, path) {
            (Expectation::Sometimes, Some(_)) => (true, "reached"),
            (Expectation::Sometimes, None) => (false, "NEVER"),
            (_, None) => (true, "holds"),
            (_, Some(_)) => (false, "BROKEN"),
        };
        println!("  {outcome}: {}", property.name);
        if let Some(path) = path.filter(|_| !as_it_must_be) {
            tell_path(path);
        }
        holds &= as_it_must_be;
    }
    holds
}

/// Tells how a broken rule was noticed. Returns whether it was.
#[cfg(mutants)]
pub(crate) fn tell_counterexample(rule: &str, scope: &Scope, checker: &impl Checker<Protocol>) -> bool {
    let found = checker.discoveries();
    let broken = stateright::Model::properties(checker.model())
        .into_iter()
        .find(|property| !matches!(property.expectation, Expectation::Sometimes) && found.contains_key(property.name));
    let Some((property, path)) = broken.and_then(|property| Some((property.name, found.get(property.name)?))) else {
        return false;
    };
    let unique = checker.unique_state_count();
    println!("{rule} noticed in {} after {unique} states, this does not hold: {property}", scope.name);
    tell_path(path);
    true
}

#[cfg(mutants)]
pub(crate) fn tell_survivor(rule: &str) {
    println!("{rule} SURVIVED");
}

fn tell_path(path: &Path<State, Action>) {
    for (state, action) in path.clone().into_vec() {
        match action {
            Some(Action::Deliver { from, to, place }) => {
                let message = state.network.look(from, to, place).map(|envelope| &envelope.message);
                println!("    at {}: {from} to {to}: {message:?}", state.now);
            }
            Some(action) => println!("    at {}: {action:?}", state.now),
            None => {
                if let Some(breach) = &state.history.breach {
                    println!("    {breach}");
                }
                println!("    committed: {:?}", state.history.committed);
            }
        }
    }
}
