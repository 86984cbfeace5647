//! Clusters of real processes, and what happens to them.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a panic with something to read above it is how a test fails"
)]

mod acknowledgements_are_honest;
mod admin_cli;
mod bad_input;
mod blocking_commands;
mod channels;
mod chaos;
mod cli_in_a_terminal;
mod clients;
mod copies_are_told_when_stale;
mod damaged_segment_is_replaced;
mod etcd_may_be_away;
mod failover_keeps_acknowledged_writes;
mod followers_answer_reads;
mod garbage_disturbs_nobody;
mod graceful_stop_hands_over;
mod groups_recover_from_losing_everybody;
mod hashes;
mod hot_key;
mod http_in_both_manners;
mod identities_are_kept_or_given_up;
mod limits_of_requests;
mod load;
mod local_cluster;
mod metadata_restored_from_a_backup;
mod node_answers;
mod nodes_speak_redis_cluster;
mod paused_leader_answers_nothing_old;
mod readme_session;
mod redis_rs;
mod router_speaks_redis;
mod sessions_see_what_they_did;
mod slots_move;
mod transactions;
mod typed_views;
mod wiped_disk_rejoins;

use std::time::Duration;

use simplekv_client::Client;
use simplekv_tests::Cluster;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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

/// What redis-benchmark does if it is not told what to do: a little of everything it knows.
async fn default_load(address: &str, flags: &str) {
    let said = redis("redis-benchmark", address, &format!("{flags} -n 300 -c 10 -q")).await;
    let tests = "PING_INLINE PING_MBULK SET GET INCR LPUSH RPUSH LPOP RPOP SADD HSET SPOP ZADD ZPOPMIN LRANGE_100 LRANGE_600 MSET";
    for test in tests.split(' ') {
        assert!(said.contains(&format!("\r{test}: ")) || said.contains(&format!("\r{test} (")), "{test}: {said}");
    }
    let said = said.to_lowercase();
    assert!(!said.contains("error") && !said.contains("warning"), "{said}");
}

/// Asks for a page with the simplest of requests; its status and what it says.
async fn http(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("{head}")), body.to_owned())
}
