//! Clusters of real processes, and what happens to them.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic with something to read above it is how a test fails"
)]

mod admin_cli;
mod bad_input;
mod damaged_segment_is_replaced;
mod etcd_may_be_away;
mod failover_keeps_acknowledged_writes;
mod local_cluster;
mod nodes_speak_redis_cluster;
mod paused_leader_answers_nothing_old;
mod router_speaks_redis;
mod wiped_disk_rejoins;

use std::time::Duration;

use simplekv_client::Client;
use simplekv_tests::Cluster;

/// A client of the whole cluster that waits out any outage a test causes.
async fn client(cluster: &Cluster) -> Client {
    let builder = cluster.seeds().iter().fold(Client::builder(), |builder, seed| builder.seed(seed));
    builder.timeout(Duration::from_secs(60)).build().await.unwrap()
}

/// Runs one of Redis' own programs and returns what it printed, both streams together.
async fn redis(program: &str, address: &str, line: &str) -> String {
    let (host, port) = address.rsplit_once(':').unwrap();
    let mut command = tokio::process::Command::new(program);
    command.args(["-h", host, "-p", port]).args(line.split_whitespace()).kill_on_drop(true);
    let output =
        command.output().await.unwrap_or_else(|error| panic!("{program}: {error}; run deploy/setup-test-machine"));
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}
