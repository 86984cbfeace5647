//! The typed requests, against nodes that answer as nodes do.

mod mock_cluster;

use std::time::Duration;

use mock_cluster::{MockCluster, key_of_group};
use simplekv_client::{Error, Expiry, ReadPolicy, Reply};

#[tokio::test(flavor = "multi_thread")]
async fn values_are_set_read_expired_and_deleted() {
    let cluster = MockCluster::start(3, &[&[1, 2], &[2, 3], &[3, 1]]);
    let kv = cluster.client().await;
    for i in 0..20 {
        let key = format!("user:{i}");
        assert_eq!(kv.get(&key).await.unwrap(), None);
        assert!(kv.set(&key, i.to_string()).await.unwrap());
        assert_eq!(kv.get(&key).await.unwrap().as_deref(), Some(i.to_string().as_bytes()));
        assert_eq!(kv.ttl(&key).await.unwrap(), Expiry::Never);
        assert!(kv.expire(&key, Duration::from_secs(60)).await.unwrap());
        assert_eq!(kv.ttl(&key).await.unwrap(), Expiry::In(Duration::from_secs(60)));
        assert!(kv.persist(&key).await.unwrap());
        assert!(!kv.persist(&key).await.unwrap());
        assert!(kv.exists(&key).await.unwrap());
        assert!(kv.del(&key).await.unwrap());
        assert!(!kv.del(&key).await.unwrap());
        assert_eq!(kv.ttl(&key).await.unwrap(), Expiry::Missing);
        assert!(!kv.expire(&key, Duration::from_secs(1)).await.unwrap());
    }
    let nodes: std::collections::BTreeSet<u32> = cluster.seen().iter().map(|op| op.node).collect();
    assert_eq!(nodes, [1, 2, 3].into(), "every node led some of the keys");
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_and_times_to_live_travel_with_a_set() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    assert!(!kv.set("k", "1").if_present().await.unwrap());
    assert!(kv.set("k", "1").if_absent().ttl(Duration::from_millis(1500)).await.unwrap());
    assert!(!kv.set("k", "2").if_absent().await.unwrap());
    assert_eq!(kv.ttl("k").await.unwrap(), Expiry::In(Duration::from_millis(1500)));
    assert!(kv.set("k", "3").keep_ttl().await.unwrap());
    assert_eq!(kv.ttl("k").await.unwrap(), Expiry::In(Duration::from_millis(1500)));
    assert!(kv.set("k", "4").await.unwrap());
    assert_eq!(kv.ttl("k").await.unwrap(), Expiry::Never);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_come_back_in_their_order() {
    let cluster = MockCluster::start(3, &[&[1], &[2], &[3]]);
    let kv = cluster.client().await;
    let keys: Vec<String> = (0..50).map(|i| format!("k{i}")).collect();
    kv.mset(keys.iter().map(|key| (key, key.to_uppercase()))).await.unwrap();
    let asked: Vec<String> = keys.iter().rev().cloned().chain(["missing".into(), "k7".into()]).collect();
    let values = kv.mget(&asked).await.unwrap();
    let expected: Vec<Option<bytes::Bytes>> =
        asked.iter().map(|key| keys.contains(key).then(|| key.to_uppercase().into())).collect();
    assert_eq!(values, expected);
    assert!(kv.mget(Vec::<String>::new()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn any_command_can_be_made_and_its_error_is_an_error() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    assert_eq!(kv.cmd("APPEND").key("k").arg("abc").await.unwrap(), Reply::Int(3));
    assert_eq!(kv.cmd("STRLEN").key("k").read(ReadPolicy::Leader).await.unwrap(), Reply::Int(3));
    assert_eq!(kv.incr("n").await.unwrap(), 1);
    assert_eq!(kv.incr("n").by(-5).await.unwrap(), -4);
    let error = kv.incr("k").await.unwrap_err();
    assert!(error.to_string().contains("not an integer"), "{error}");
    assert!(!error.is_retryable() && !error.may_have_applied());
    let error = kv.cmd("MGET").key("a").key("b").await.unwrap_err();
    assert!(matches!(error, Error::CrossSlot { .. }), "{error}");
    assert!(matches!(kv.cmd("PING").await, Err(Error::Config { field: "cmd", .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_without_keys_runs_on_every_group() {
    let cluster = MockCluster::start(2, &[&[1, 2], &[2, 1], &[1, 2]]);
    let kv = cluster.client().await;
    for group in 1..=3 {
        for number in 0..group {
            kv.set(key_of_group(group, 3, number), "v").await.unwrap();
        }
    }
    let args = vec![bytes::Bytes::from_static(b"DBSIZE")];
    let sizes = kv.execute_on_every_group(args, simplekv_client::Kind::Read, Default::default()).await;
    let sizes: Vec<(u32, Reply)> = sizes.into_iter().map(|(group, reply)| (group.0, reply.unwrap())).collect();
    assert_eq!(sizes, [(1, Reply::Int(1)), (2, Reply::Int(2)), (3, Reply::Int(3))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_in_sync_replica_answers_a_read_unless_the_leader_is_asked_for() {
    let cluster = MockCluster::start(3, &[&[1, 2, 3]]);
    let kv = cluster.client().await;
    kv.set("k", "v").await.unwrap();
    for policy in [ReadPolicy::Any, ReadPolicy::Linearizable] {
        // One that was slow once is left alone for a while, so this may take more than a few reads.
        let mut nodes = std::collections::BTreeSet::new();
        while nodes != [1, 2, 3].into() {
            assert!(kv.get("k").read(policy).await.unwrap().is_some());
            nodes.extend(cluster.seen_named("GET").last().map(|op| op.node));
        }
    }
    kv.get("k").read(ReadPolicy::Leader).await.unwrap();
    assert_eq!(cluster.seen_named("GET").last().unwrap().node, 1, "it asks the leader");
}
