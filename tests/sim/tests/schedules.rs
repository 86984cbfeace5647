//! The simulator as `make test` runs it: schedules that were run before, and some that never were.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::process::{Command, Output};

fn simulate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_simplekv-sim")).args(args).output().expect("the simulator starts")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_known_schedules_break_no_promise() {
    let output = simulate(&["--first", "1", "--schedules", "250", "--jobs", "1"]);
    assert!(output.status.success(), "{}", told(&output));
}

/// Seeds that nobody has tried: what they find is found for good, as each line of the report can be replayed.
#[test]
fn fresh_schedules_break_no_promise() {
    // Far from the known ones, and from the end of the numbers.
    let first = (1 << 40 | RandomState::new().build_hasher().finish() >> 24).to_string();
    println!("first seed {first}");
    let output = simulate(&["--first", &first, "--schedules", "250", "--jobs", "1"]);
    assert!(output.status.success(), "{}", told(&output));
}

/// Clocks that are wrong by more than leases allow for: `quorum` reads are still true, and nothing is lost.
#[test]
fn wild_clocks_take_nothing_but_the_leases() {
    let output = simulate(&["--clocks", "wild", "--first", "1", "--schedules", "100", "--jobs", "1"]);
    assert!(output.status.success(), "{}", told(&output));
    assert!(!told(&output).contains("leases_outlived=0\n"), "the clocks were wild");
}

/// Whatever a seed shows, it shows again, or nothing it shows could be understood.
#[test]
fn a_schedule_is_the_same_each_time_it_is_run() {
    for seed in ["7", "8", "9"] {
        let (once, again) = (simulate(&["--seed", seed]), simulate(&["--seed", seed]));
        assert_eq!(told(&once), told(&again), "seed {seed}");
        assert!(told(&once).lines().count() > 20, "it went through something");
    }
}
