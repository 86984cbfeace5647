//! A node that accepts connections and requests, and then nothing happens.

mod mock_cluster;

use std::time::Duration;

use mock_cluster::{MockCluster, Verdict, key_of_group, until};
use simplekv_client::{Client, Error};

#[tokio::test(flavor = "multi_thread")]
async fn requests_given_up_do_not_use_up_the_node_s_places() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.builder().max_in_flight(16, 64).build().await.unwrap();
    cluster.script(|_| Verdict::Ignore);
    for _ in 0..5 {
        let gets = (0..16).map(|i| kv.get(format!("k{i}")).timeout(Duration::from_millis(50)).into_future());
        for outcome in futures::future::join_all(gets).await {
            assert!(matches!(outcome, Err(Error::Timeout { .. })), "{outcome:?}");
        }
    }
    cluster.script(|_| Verdict::Serve);
    assert_eq!(kv.get("k").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_never_answers_a_connection_is_waited_for_without_refusing_anybody() {
    let mut cluster = MockCluster::start(2, &[&[1], &[2]]);
    let kv = cluster.builder().max_in_flight(16, 64).build().await.unwrap();
    let (hung, alive) = (key_of_group(1, 2, 0), key_of_group(2, 2, 0));
    let silence = cluster.replace_by_silence(1);
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (kv, hung): (Client, String) = (kv.clone(), hung.clone());
            tokio::spawn(async move { kv.set(hung, "v").timeout(Duration::from_secs(8)).await })
        })
        .collect();
    for _ in 0..50 {
        kv.set(&alive, "v").await.unwrap();
    }
    until("several attempts were given up", || kv.stats().retries > 64).await;
    drop(silence);
    cluster.restart(1);
    for client in clients {
        assert!(client.await.unwrap().unwrap(), "nobody was refused");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_not_created_yet_is_waited_for() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let id = cluster.world.topology.borrow().cluster_id.clone();
    cluster.change(|update| update.cluster_id = bytes::Bytes::new());
    let error = Client::connect(cluster.seeds()).await.unwrap_err();
    assert!(error.to_string().contains("there is no cluster yet"), "{error}");
    let kv = cluster.builder().build_lazy().unwrap();
    let pending = tokio::spawn({
        let kv = kv.clone();
        async move { kv.set("k", "v").await }
    });
    until("the request waits", || kv.stats().requests == 1).await;
    cluster.change(|update| update.cluster_id = id);
    assert!(pending.await.unwrap().unwrap());
}
