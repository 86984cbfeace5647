//! Healthy groups need no metadata store.

use std::time::{Duration, Instant};

use simplekv_resp::decode::Frame;
use simplekv_tests::{Cluster, RespConnection, Shape};
use simplekv_types::GroupId;

use crate::client;
use crate::load::Load;

/// Much longer than sessions, leases and any cached answer.
const OUTAGE: Duration = Duration::from_secs(60);
const TASKS: u32 = 8;
/// A key of slot 0.
const KEY: &str = "{06S}";

#[tokio::test(flavor = "multi_thread")]
async fn reads_and_writes_go_on_while_etcd_is_down() {
    let mut cluster = Cluster::start(&Shape::six_nodes()).await.unwrap();
    let kv = client(&cluster).await;
    let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    let mut node = RespConnection::open(&cluster.node(leader).resp).await.unwrap();
    let load = Load::start(&kv, TASKS);
    load.at_work().await;

    cluster.etcd.kill_all();
    let down = Instant::now();
    let mut writes = 0_u32;
    let mut longest = Duration::ZERO;
    while down.elapsed() < OUTAGE {
        let sent = Instant::now();
        assert_eq!(node.ask(&format!("SET {KEY} {writes}")).await.unwrap(), Frame::Status("OK".into()));
        assert_eq!(node.ask(&format!("GET {KEY}")).await.unwrap(), Frame::Bulk(writes.to_string().into()));
        longest = longest.max(sent.elapsed());
        writes += 1;
    }
    load.at_work().await;
    let status = cluster.admin().unwrap().json("status").await.unwrap();
    assert_eq!(status["metadata_reachable"], false);
    assert_ne!(status["health"], "healthy");
    let outcome = load.finish(&kv).await;
    outcome.assert_perfect();
    println!("{writes} writes on the node's connection, the longest with its read took {longest:?}");
    assert!(outcome.longest.max(longest) < Duration::from_secs(1), "somebody waited for {:?}", outcome.longest);

    cluster.etcd.restart_all().await.unwrap();
    cluster.healthy().await.unwrap();
    kv.set("after", "1").await.unwrap();
    assert_eq!(node.ask(&format!("GET {KEY}")).await.unwrap(), Frame::Bulk((writes - 1).to_string().into()));
}
