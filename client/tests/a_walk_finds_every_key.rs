//! SCAN over all groups.
#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected should fail there")]

mod mock_cluster;

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt};
use mock_cluster::MockCluster;
use simplekv_client::{Client, Error, Key, Slot};

async fn filled(kv: &Client, names: impl Iterator<Item = String>) -> BTreeSet<String> {
    let names: BTreeSet<String> = names.collect();
    kv.mset(names.iter().map(|name| (name, "v"))).await.unwrap();
    names
}

fn name(key: &Key) -> String {
    String::from_utf8(key.as_ref().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_keys_of_all_groups_are_found_slot_after_slot() {
    let cluster = MockCluster::start(3, &[&[1, 2], &[2, 3], &[3, 1]]);
    let kv = cluster.client().await;
    assert_eq!(kv.scan().stream().count().await, 0);
    let names = filled(&kv, (0..50).map(|i| format!("user:{i}"))).await;
    let found: Vec<Key> = kv.scan().count(2).stream().try_collect().await.unwrap();
    assert!(found.is_sorted_by_key(|key| Slot::of_key(key.as_ref())));
    assert_eq!(found.len(), names.len());
    assert_eq!(found.iter().map(name).collect::<BTreeSet<_>>(), names);
    let nodes: BTreeSet<u32> = cluster.seen_named("SCAN").iter().map(|op| op.node).collect();
    assert_eq!(nodes, [1, 2, 3].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_selects_and_is_no_pattern() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let kv = cluster.client().await;
    filled(&kv, (0..10).map(|i| format!("a:{i}"))).await;
    let starred = filled(&kv, (0..10).map(|i| format!("a*{i}"))).await;
    let found: Vec<Key> = kv.scan().prefix("a*").stream().try_collect().await.unwrap();
    assert_eq!(found.iter().map(name).collect::<BTreeSet<_>>(), starred);
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_move_ahead_of_the_walk_are_found_where_they_went() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let kv = cluster.client().await;
    let names = filled(&kv, (0..40).map(|i| format!("user:{i}"))).await;
    let mut walk = kv.scan().stream();
    let mut found = BTreeSet::from([name(&walk.next().await.unwrap().unwrap())]);
    let last = names.iter().max_by_key(|name| Slot::of_key(name.as_bytes())).unwrap();
    cluster.move_slot(Slot::of_key(last.as_bytes()), 1);
    kv.topology().wait_for(|topology| topology.version() == 2).await.unwrap();
    while let Some(key) = walk.next().await {
        found.insert(name(&key.unwrap()));
    }
    assert_eq!(found, names);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_ends_the_walk() {
    let mut cluster = MockCluster::start(1, &[&[1]]);
    cluster.kill(1);
    let kv = cluster.builder().build_lazy().unwrap();
    let mut walk = kv.scan().timeout(std::time::Duration::from_millis(20)).stream();
    assert!(matches!(walk.next().await, Some(Err(Error::Timeout { .. }))));
    assert!(walk.next().await.is_none());
}
