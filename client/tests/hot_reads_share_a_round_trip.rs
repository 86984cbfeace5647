//! A thousand tasks read one key.
#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected should fail there")]

mod mock_cluster;

use std::time::Duration;

use mock_cluster::{MockCluster, until};
use simplekv_client::{ReadPolicy, Timeouts};

async fn read_a_thousand_times(cluster: &MockCluster, policy: ReadPolicy) -> usize {
    // Answers are held back until all readers wait: on a busy machine longer than an attempt usually takes.
    let mut timeouts = Timeouts::default();
    timeouts.attempt = Duration::from_secs(60);
    let builder = cluster.builder().timeouts(timeouts).timeout(Duration::from_secs(60));
    let kv = builder.read_policy(policy).build().await.unwrap();
    kv.set("hot", "v").await.unwrap();
    let before = cluster.seen_named("GET").len();
    cluster.world.answers.send_replace(false);
    let readers: Vec<_> = (0..1000)
        .map(|_| {
            let kv = kv.clone();
            tokio::spawn(async move { kv.get("hot").await })
        })
        .collect();
    let shared = || kv.stats().shared_reads_led + kv.stats().shared_reads_joined;
    until("all readers wait", || shared() == 1000).await;
    until("one of them is sent", || cluster.seen_named("GET").len() > before).await;
    cluster.world.answers.send_replace(true);
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap().as_deref(), Some(&b"v"[..]));
    }
    cluster.seen_named("GET").len() - before
}

#[tokio::test(flavor = "multi_thread")]
async fn linearizable_readers_share_the_next_flight() {
    let cluster = MockCluster::start(1, &[&[1]]);
    assert_eq!(read_a_thousand_times(&cluster, ReadPolicy::Linearizable).await, 2);
    assert_eq!(read_a_thousand_times(&cluster, ReadPolicy::Leader).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_without_promise_share_the_one_in_the_air() {
    let cluster = MockCluster::start(1, &[&[1]]);
    assert_eq!(read_a_thousand_times(&cluster, ReadPolicy::Any).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sharing_can_be_switched_off() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.builder().share_reads(false).build().await.unwrap();
    let reads = (0..10).map(|_| kv.get("hot").into_future());
    futures::future::join_all(reads).await;
    assert_eq!(cluster.seen_named("GET").len(), 10);
}
