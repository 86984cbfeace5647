//! What people build: without etcd's client, and with nothing that looks for protoc.

use std::collections::BTreeSet;
use std::process::Command;

use crate::tree::root;

/// `make run`, and what a Rust program depends on.
const RUST_ALONE: [&str; 2] = ["simplekv-local", "simplekv-client"];

/// Our contracts are read by protox; `prost-build` is linked for what it writes. Any other crate that builds with it wants protoc.
const MAY_GENERATE: [&str; 3] = ["prost-build", "tonic-prost-build", "simplekv-proto"];

#[test]
fn the_cluster_of_make_run_and_the_client_need_rust_alone() {
    let mut violations = Vec::new();
    for package in RUST_ALONE {
        let everything = packages(package, &[]);
        assert!(everything.contains("simplekv-proto"), "{everything:?}");
        let unwanted = ["etcd-client", "protobuf-src", "protoc-bin-vendored", "cmake", "bindgen", "openssl-sys"];
        let found = everything.iter().filter(|name| unwanted.contains(&name.as_str()));
        violations.extend(found.map(|name| format!("{package} depends on {name}")));
        // Who builds with it, and those who build with these.
        let generators = packages(package, &["--invert", "prost-build", "--depth", "2"]);
        let found = generators.iter().filter(|name| !MAY_GENERATE.contains(&name.as_str()));
        violations.extend(found.map(|name| format!("{package}: {name} compiles contracts while it is built")));
    }
    crate::assert_none("`make run` works with Rust and nothing else", &violations);
}

/// Names of what the package is built from on this machine, with its default features, and without a network.
fn packages(package: &str, flags: &[&str]) -> BTreeSet<String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(["tree", "--offline", "--locked", "--edges", "normal,build", "--prefix", "none"]);
    let output = cargo.args(["--package", package]).args(flags).output().unwrap();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree: {complained}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}
