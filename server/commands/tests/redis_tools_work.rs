//! Redis' own tools take our nodes for a Redis Cluster.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test panics to fail")]

use std::io::Write;
use std::process::{Command, Stdio};

mod cluster;

use cluster::Cluster;

/// What a tool prints, to both of its outputs.
fn run(tool: &str, arguments: &str, port: u16, input: &str) -> String {
    let mut process = Command::new(tool)
        .args(["-h", "127.0.0.1", "-p", &port.to_string()])
        .args(arguments.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{tool}: {error}; install it with `apt-get install redis-tools`"));
    process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&printed).into_owned()
}

fn cli(arguments: &str, port: u16, input: &str) -> String {
    run("redis-cli", arguments, port, input)
}

#[test]
fn redis_cli_follows_moved() {
    let ports = Cluster::start();
    for (at, port) in ports.iter().enumerate() {
        assert_eq!(cli(&format!("-c set key:{at} value"), *port, ""), "OK\n");
    }
    for port in &ports {
        assert_eq!(cli("-c get key:2", *port, ""), "value\n");
        let all = (0..3).map(|at| cli("--scan", ports[at], "").lines().count()).sum::<usize>();
        assert_eq!(all, 3);
    }
    // foo is in slot 12182, which the third node leads and the first follows.
    assert_eq!(cli("get foo", ports[0], ""), format!("MOVED 12182 127.0.0.1:{}\n\n", ports[2]));
    assert_eq!(cli("", ports[0], "readonly\nget foo\n"), "OK\n\n");
    assert_eq!(cli("-c mset a 1 b 2", ports[0], ""), "CROSSSLOT Keys in request don't hash to the same slot\n\n");
}

#[test]
fn redis_cli_finds_the_cluster_in_order() {
    let ports = Cluster::start();
    assert_eq!(cli("-c set foo bar", ports[0], ""), "OK\n");
    for port in &ports {
        let checked = cli(&format!("--cluster check 127.0.0.1:{port}"), *port, "");
        assert!(checked.contains("[OK] All nodes agree about slots configuration."), "{checked}");
        assert!(checked.contains("[OK] All 16384 slots covered."), "{checked}");
        let info = cli(&format!("--cluster info 127.0.0.1:{port}"), *port, "");
        assert!(info.contains("[OK] 1 keys in 3 masters."), "{info}");
    }
    let info = cli("cluster info", ports[0], "");
    assert!(info.starts_with("cluster_state:ok\r\n"), "{info}");
    assert_eq!(cli("cluster countkeysinslot 12182", ports[2], ""), "1\n");
    assert_eq!(cli("cluster getkeysinslot 12182 5", ports[2], ""), "foo\n");
}

#[test]
fn redis_cli_reads_the_command_table() {
    let ports = Cluster::start();
    // With input that is not a terminal it asks for COMMAND DOCS, and then does what it is told.
    assert_eq!(cli("-3", ports[0], "set foo2 b\nget foo2\n"), "OK\nb\n");
    let docs = cli("command docs set", ports[0], "");
    assert!(docs.contains("unix-time-milliseconds"), "{docs}");
    let count: usize = cli("command count", ports[0], "").trim().parse().unwrap();
    assert!(count > 60, "{count} commands");
}

#[test]
fn redis_benchmark_spreads_its_load() {
    let ports = Cluster::start();
    let printed = run("redis-benchmark", "--cluster -t set,get,incr,mset -n 2000 -c 10 -P 8 -r 1000 -q", ports[0], "");
    assert!(printed.contains("Cluster has 3 master nodes"), "{printed}");
    for test in ["SET", "GET", "INCR", "MSET (10 keys)"] {
        assert!(printed.contains(&format!("{test}: ")) && printed.contains("requests per second"), "{printed}");
    }
    let keys: usize = ports.iter().map(|port| cli("dbsize", *port, "").trim().parse::<usize>().unwrap()).sum();
    assert!(keys > 500, "{keys} keys");
}
