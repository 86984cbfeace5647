//! A leader dies under load; requests wait for the next one.

mod mock_cluster;

use std::time::Duration;

use mock_cluster::{MockCluster, key_of_group, until};
use simplekv_client::{Error, ReadPolicy};

#[tokio::test(flavor = "multi_thread")]
async fn writes_survive_the_death_of_the_leader_and_are_done_once() {
    let mut cluster = MockCluster::start(3, &[&[1, 2, 3]]);
    let kv = cluster.client().await;
    kv.incr("n").await.unwrap();
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let kv = kv.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    kv.incr("n").await?;
                }
                Ok::<_, Error>(())
            })
        })
        .collect();
    until("some load", || cluster.seen_named("INCRBY").len() > 50).await;
    cluster.kill(1);
    cluster.elect(1, 2);
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    assert_eq!(kv.incr("n").by(0).await.unwrap(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_without_leader_is_waited_for_and_then_the_push_ends_the_wait() {
    let cluster = MockCluster::start(2, &[&[1, 2]]);
    let kv = cluster.client().await;
    cluster.elect(1, 0);
    kv.topology().wait_for(|topology| topology.version() == 2).await.unwrap();
    let pending = tokio::spawn({
        let kv = kv.clone();
        async move { kv.set("k", "v").await }
    });
    until("the request waits", || kv.stats().requests == 1).await;
    cluster.elect(1, 2);
    assert!(pending.await.unwrap().unwrap());
    assert_eq!(cluster.seen_named("SET")[0].node, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_ends_the_wait() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    cluster.elect(1, 0);
    kv.topology().wait_for(|topology| topology.version() == 2).await.unwrap();
    let error = kv.set("k", "v").timeout(Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { attempts: 0, .. }), "{error}");
    assert!(error.is_retryable() && !error.may_have_applied());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_dead_node_does_not_disturb_requests_to_others() {
    let mut cluster = MockCluster::start(2, &[&[1], &[2]]);
    let kv = cluster.client().await;
    let (dead, alive) = (key_of_group(1, 2, 0), key_of_group(2, 2, 0));
    kv.set(&dead, "v").await.unwrap();
    cluster.kill(1);
    let stuck = tokio::spawn({
        let kv = kv.clone();
        async move { kv.get(&dead).timeout(Duration::from_secs(2)).await }
    });
    for _ in 0..100 {
        kv.set(&alive, "v").await.unwrap();
    }
    assert!(!stuck.is_finished());
    assert!(cluster.seen_named("SET").iter().all(|op| op.attempt() == 1));
    cluster.restart(1);
    assert!(stuck.await.unwrap().unwrap().is_some(), "and it is found again when it comes back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_without_promise_turns_to_another_replica() {
    let mut cluster = MockCluster::start(2, &[&[1, 2]]);
    let kv = cluster.client().await;
    kv.set("k", "v").await.unwrap();
    cluster.kill(1);
    for _ in 0..20 {
        assert!(kv.get("k").read(ReadPolicy::Any).await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topology_is_watched_at_another_node_when_the_watched_one_dies() {
    let mut cluster = MockCluster::start(3, &[&[3, 1, 2]]);
    let kv = cluster.client().await;
    let mut topology = kv.topology();
    for (version, leader) in [(2, 1), (3, 2)] {
        cluster.kill(leader);
        cluster.elect(1, if leader == 1 { 2 } else { 3 });
        topology.wait_for(|topology| topology.version() == version).await.unwrap();
    }
    assert!(kv.set("k", "v").await.unwrap());
}
