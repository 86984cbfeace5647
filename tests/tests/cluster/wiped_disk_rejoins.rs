//! A node that lost its disk comes back as another replica and is filled again.

use simplekv_tests::{Cluster, Shape};
use simplekv_types::{GroupId, NodeId};

use crate::client;
use crate::load::Load;

const KEYS: u32 = 2000;

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_node_is_filled_again_and_can_lead() {
    let mut cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let kv = client(&cluster).await;
    kv.mset((0..KEYS / 2).map(|n| (format!("k{n}"), n.to_string()))).await.unwrap();

    let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    let wiped = [1, 2, 3].map(NodeId).into_iter().find(|node| *node != leader).unwrap();
    let node = cluster.node(wiped);
    node.process.kill().unwrap();
    node.wipe_disk().unwrap();
    kv.mset((KEYS / 2..KEYS).map(|n| (format!("k{n}"), n.to_string()))).await.unwrap();
    cluster.node(wiped).process.start().unwrap();
    cluster.healthy().await.unwrap();

    // What the wiped node holds shows when it alone answers.
    cluster.admin().unwrap().run(&format!("transfer-leader g1 --to {wiped}")).await.unwrap();
    assert_eq!(cluster.leader(GroupId(1)).await.unwrap(), Some(wiped));
    let values = kv.mget((0..KEYS).map(|n| format!("k{n}"))).await.unwrap();
    for (n, value) in (0..KEYS).zip(values) {
        assert_eq!(value.as_deref(), Some(n.to_string().as_bytes()), "k{n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_loses_its_disk_under_load_costs_no_acknowledged_write() {
    let mut cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let kv = client(&cluster).await;
    let load = Load::start(&kv, 8);
    load.at_work().await;
    let wiped = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    let node = cluster.node(wiped);
    node.process.kill().unwrap();
    node.wipe_disk().unwrap();
    // It is back before anybody has noticed that it was gone: nothing but its identity tells that it holds nothing.
    node.process.start().unwrap();
    load.at_work().await;
    cluster.healthy().await.unwrap();

    cluster.admin().unwrap().run(&format!("transfer-leader g1 --to {wiped}")).await.unwrap();
    load.at_work().await;
    load.finish(&kv).await.assert_perfect();
    assert_eq!(cluster.leader(GroupId(1)).await.unwrap(), Some(wiped), "it answered for everything itself");
}
