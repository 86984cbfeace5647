//! Sizes: reported for files, held by a ratchet for functions.

use std::collections::BTreeMap;

use crate::modules::is_test_file;
use crate::tokens::{Function, Source};
use crate::tree::sources;

/// Longest function that needs no entry below.
const FUNCTION_LINES_MAX: usize = 70;
/// A file beyond this is worth the question which second noun lives in it.
const FILE_LINES: usize = 400;

/// The functions beyond the limit, each with the length it may have. Some are one idea and want to be long; none grows, and the
/// next one is split or argued for here.
const LONG_FUNCTIONS: [(&str, &str, usize); 1] = [
    // One line per key, in the order of the file.
    ("server/src/config.rs", "check", 75),
];

#[test]
fn functions_stay_short_and_long_ones_do_not_grow() {
    let allowed: BTreeMap<(&str, &str), usize> =
        LONG_FUNCTIONS.iter().map(|&(path, name, lines)| ((path, name), lines)).collect();
    let mut violations = Vec::new();
    for (source, function) in functions() {
        let limit = allowed.get(&(source.path.as_str(), function.name.as_str())).copied().unwrap_or(FUNCTION_LINES_MAX);
        if function.n_lines > limit {
            let Function { name, line, n_lines, .. } = function;
            violations.push(format!("{}:{line}: `{name}` has {n_lines} lines, {limit} are allowed", source.path));
        }
    }
    for (path, name, lines) in LONG_FUNCTIONS {
        let longest = functions()
            .filter(|(source, function)| source.path == path && function.name == name)
            .map(|(_, f)| f.n_lines)
            .max();
        if longest.is_none_or(|longest| longest < lines) {
            violations.push(format!("{path}: `{name}` has become shorter than {lines} lines: lower its entry here"));
        }
    }
    crate::assert_none("long functions", &violations);
}

/// Never fails: `cargo test -p simplekv-tests --test tidy report -- --nocapture`.
#[test]
fn report_large_files() {
    let mut large: Vec<&Source> = sources().iter().filter(|source| source.n_lines > FILE_LINES).collect();
    large.sort_by_key(|source| std::cmp::Reverse(source.n_lines));
    println!("{} Rust files, {} of them over {FILE_LINES} lines", sources().len(), large.len());
    for source in large {
        println!("{:6} {}", source.n_lines, source.path);
    }
}

fn functions() -> impl Iterator<Item = (&'static Source, &'static Function)> {
    let production = sources().iter().filter(|source| !is_test_file(&source.path));
    production.flat_map(|source| {
        source.functions.iter().filter(|function| !function.is_test).map(move |function| (source, function))
    })
}
