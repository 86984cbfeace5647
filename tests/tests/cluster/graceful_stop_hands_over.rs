//! A node that is told to stop hands its leaderships over; nobody waits for its session to end.

use std::time::Duration;

use simplekv_tests::{Cluster, Shape};
use simplekv_types::GroupId;

use crate::client;
use crate::load::Load;

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_leader_is_not_missed() {
    let mut cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let kv = client(&cluster).await;
    let load = Load::start(&kv, 8);
    load.at_work().await;
    let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    cluster.node(leader).stop().unwrap();
    load.at_work().await;
    let next = cluster.leader(GroupId(1)).await.unwrap();
    assert!(next.is_some_and(|next| next != leader), "{next:?} leads after {leader}");
    assert!(!cluster.node(leader).process.log().contains("panicked"));

    cluster.node(leader).process.start().unwrap();
    cluster.healthy().await.unwrap();
    load.at_work().await;
    let outcome = load.finish(&kv).await;
    outcome.assert_perfect();
    // A session lasts three seconds, and a crash costs a second or more.
    assert!(outcome.longest < Duration::from_secs(2), "somebody waited for {:?}", outcome.longest);
}
