//! The smallest scope, to its last state.

use std::process::Command;

#[test]
fn whatever_happens_in_one_failover_breaks_no_promise() {
    let mut model = Command::new(env!("CARGO_BIN_EXE_simplekv-model"));
    let output = model.args(["--scope", "failover", "--jobs", "1"]).output().expect("the model starts");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("reached: a later leader commits a write"), "{told}");
}
