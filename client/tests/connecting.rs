//! Finding a cluster.

mod mock_cluster;

use std::time::Duration;

use bytes::Bytes;
use mock_cluster::MockCluster;
use simplekv_client::{Client, Error, Kind, NodeId, Options, Reply};

#[tokio::test(flavor = "multi_thread")]
async fn one_seed_that_answers_is_enough() {
    let mut cluster = MockCluster::start(3, &[&[3, 2]]);
    cluster.kill(1);
    let kv = Client::connect(cluster.seeds()).await.unwrap();
    kv.set("k", "v").await.unwrap();
    let topology = kv.topology().borrow().clone();
    assert_eq!(topology.groups()[0].leader, Some(NodeId(3)));
    assert_eq!(topology.nodes().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_the_error_says_what_happened_with_each() {
    let mut cluster = MockCluster::start(2, &[&[1]]);
    cluster.kill(1);
    cluster.kill(2);
    let error = Client::connect(cluster.seeds()).await.unwrap_err();
    let Error::NoSeed { tried } = &error else { panic!("{error}") };
    assert_eq!(tried.len(), 2);
    assert!(error.to_string().contains(&cluster.address(1).to_string()), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lazy_client_waits_for_its_cluster() {
    let mut cluster = MockCluster::start(1, &[&[1]]);
    cluster.kill(1);
    let kv = cluster.builder().build_lazy().unwrap();
    let error = kv.get("k").timeout(Duration::from_millis(20)).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    let pending = tokio::spawn({
        let kv = kv.clone();
        async move { kv.set("k", "v").await }
    });
    cluster.restart(1);
    assert!(pending.await.unwrap().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_for_every_group_waits_until_there_are_groups() {
    let mut cluster = MockCluster::start(1, &[&[1], &[1]]);
    cluster.kill(1);
    let kv = cluster.builder().build_lazy().unwrap();
    let everywhere = |timeout: Duration| {
        let kv = kv.clone();
        let args = vec![Bytes::from_static(b"FLUSHALL")];
        async move { kv.execute_on_every_group(args, Kind::Write, Options::default().timeout(timeout)).await }
    };
    let [(_, Err(error))] = &everywhere(Duration::from_millis(20)).await[..] else { panic!("nobody was asked") };
    assert!(matches!(error, Error::Timeout { attempts: 0, .. }), "{error}");
    let pending = tokio::spawn(everywhere(Duration::from_secs(10)));
    cluster.restart(1);
    let results = pending.await.unwrap();
    assert!(results.len() == 2 && results.iter().all(|(_, result)| *result.as_ref().unwrap() == Reply::Ok));
}

#[tokio::test]
async fn a_wrong_setting_is_named() {
    for (builder, field) in [
        (Client::builder(), "seeds"),
        (Client::builder().seed("a:b:c"), "url"),
        (Client::builder().url("redis://a"), "url"),
        (Client::builder().seed("a").lanes_per_node(0), "lanes_per_node"),
        (Client::builder().seed("a").timeout(Duration::ZERO), "timeouts.total"),
    ] {
        let error = builder.build().await.unwrap_err();
        assert!(matches!(error, Error::Config { field: named, .. } if named == field), "{field}: {error}");
    }
}
