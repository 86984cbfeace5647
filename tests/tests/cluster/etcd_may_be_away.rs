//! Healthy groups need no metadata store.

use std::time::{Duration, Instant};

use simplekv_tests::{Cluster, Shape};

use crate::client;

/// Much longer than sessions, leases and any cached answer.
const OUTAGE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn reads_and_writes_go_on_while_etcd_is_down() {
    let mut cluster = Cluster::start(&Shape::six_nodes()).await.unwrap();
    let kv = client(&cluster).await;
    cluster.etcd.kill_all();
    let down = Instant::now();
    let mut writes = 0_u32;
    while down.elapsed() < OUTAGE {
        let key = format!("k{}", writes % 100);
        let value = writes.to_string();
        let sent = Instant::now();
        kv.set(&*key, value.clone()).await.unwrap();
        assert_eq!(kv.get(&*key).await.unwrap().unwrap(), value.as_bytes());
        assert!(sent.elapsed() < Duration::from_secs(1), "write {writes} took {:?}", sent.elapsed());
        writes += 1;
    }
    let status = cluster.admin().unwrap().json("status").await.unwrap();
    assert_eq!(status["metadata_reachable"], false);
    assert_ne!(status["health"], "healthy");

    cluster.etcd.restart_all().await.unwrap();
    cluster.healthy().await.unwrap();
    kv.set("after", "1").await.unwrap();
}
