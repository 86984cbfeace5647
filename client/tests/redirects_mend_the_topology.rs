//! A misrouted request is told where to go, and the next one goes there by itself.

mod mock_cluster;

use mock_cluster::{MockCluster, key_of_group, until};
use simplekv_client::Slot;

#[tokio::test(flavor = "multi_thread")]
async fn moved_is_followed_once_and_remembered() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    cluster.push(false);
    let kv = cluster.client().await;
    let key = key_of_group(1, 2, 0);
    kv.set(&key, "v").await.unwrap();
    cluster.move_slot(Slot::of_key(key.as_bytes()), 2);
    assert!(kv.get(&key).await.unwrap().is_some());
    assert_eq!(kv.stats().redirects, 1);
    let nodes: Vec<u32> = cluster.seen_named("GET").iter().map(|op| op.node).collect();
    assert_eq!(nodes, [1, 2]);
    kv.get(&key).await.unwrap();
    assert_eq!(cluster.seen_named("GET").last().unwrap().node, 2);
    assert_eq!(kv.stats().redirects, 1, "the owner is known now");
    assert_eq!(kv.stats().retries, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn not_leader_is_followed_and_remembered_for_the_whole_group() {
    let cluster = MockCluster::start(2, &[&[1, 2]]);
    cluster.push(false);
    let kv = cluster.client().await;
    kv.set("a", "1").await.unwrap();
    cluster.elect(1, 2);
    kv.set("b", "2").await.unwrap();
    kv.set("c", "3").await.unwrap();
    let nodes: Vec<u32> = cluster.seen_named("SET").iter().map(|op| op.node).collect();
    assert_eq!(nodes, [1, 1, 2, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_topology_spares_the_redirect() {
    let cluster = MockCluster::start(2, &[&[1, 2]]);
    let kv = cluster.client().await;
    kv.set("a", "1").await.unwrap();
    cluster.elect(1, 2);
    let mut topology = kv.topology();
    topology.wait_for(|topology| topology.version() == 2).await.unwrap();
    kv.set("b", "2").await.unwrap();
    assert_eq!(kv.stats().redirects, 0);
    assert_eq!(cluster.seen_named("SET").last().unwrap().node, 2);
    assert_eq!(cluster.seen_named("SET").last().unwrap().map_version, 1, "the slot map itself did not change");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_misrouted_requests_refresh_once() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    cluster.push(false);
    let kv = cluster.client().await;
    let asked_at_first = *cluster.world.topology_requests.lock();
    let keys: Vec<String> = (0..100).map(|number| key_of_group(1, 2, number)).collect();
    for key in &keys {
        cluster.move_slot(Slot::of_key(key.as_bytes()), 2);
    }
    let sets = keys.iter().map(|key| kv.set(key, "v").into_future());
    for outcome in futures::future::join_all(sets).await {
        outcome.unwrap();
    }
    // The reply frames name a newer topology, which is asked for once; a second time if that came in between.
    until("a refresh", || kv.stats().topology_refreshes > 0).await;
    assert!(*cluster.world.topology_requests.lock() - asked_at_first <= 2);
}
