//! What a start that comes to nothing may not change, and what a node may not come back as.

use serde_json::Value;
use simplekv_tests::{Cluster, Shape, wait};
use simplekv_types::{GroupId, NodeId};

use crate::client;

/// What a node's directory says about itself.
fn identity(cluster: &mut Cluster, node: NodeId) -> Value {
    let file = cluster.node(node).disk().join("node.json");
    serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap()
}

/// Starts the node while the metadata store is away, lets it say so, and stops it.
async fn start_in_vain(cluster: &mut Cluster, node: NodeId) {
    let said = |cluster: &mut Cluster| cluster.node(node).process.log().matches("cannot be reached").count();
    let before = said(cluster);
    cluster.node(node).process.start().unwrap();
    let told = async || (said(cluster) > before).then_some(());
    wait::until("the missing etcd is named", told).await;
    cluster.node(node).stop().unwrap();
}

/// Only a run that was registered knows how it ended. One that never was says nothing, neither about itself nor about the one before.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_comes_to_nothing_says_nothing_about_how_the_run_before_it_ended() {
    let mut cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let kv = client(&cluster).await;
    kv.set("k", "v").await.unwrap();
    let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    let node = [1, 2, 3].map(NodeId).into_iter().find(|node| *node != leader).unwrap();

    cluster.node(node).stop().unwrap();
    let stopped = identity(&mut cluster, node);
    assert_eq!(stopped["clean"]["run"], stopped["run"], "it ended cleanly, and says so");
    cluster.etcd.kill_all();
    start_in_vain(&mut cluster, node).await;
    assert_eq!(identity(&mut cluster, node), stopped);

    cluster.etcd.restart_all().await.unwrap();
    cluster.node(node).process.start().unwrap();
    cluster.healthy().await.unwrap();
    let running = identity(&mut cluster, node);
    assert_eq!((&running["clean"], &running["storage"]), (&Value::Null, &stopped["storage"]));
    cluster.node(node).process.kill().unwrap();
    cluster.etcd.kill_all();
    start_in_vain(&mut cluster, node).await;
    assert_eq!(identity(&mut cluster, node), running, "it was killed, and nobody says otherwise");
}

/// A replica whose directory is gone has lost what it acknowledged, although everything else is in place.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_its_replicas_directory_is_another_replica() {
    let mut cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let kv = client(&cluster).await;
    kv.set("k", "v").await.unwrap();
    let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    let node = [1, 2, 3].map(NodeId).into_iter().find(|node| *node != leader).unwrap();
    cluster.node(node).process.kill().unwrap();
    let before = identity(&mut cluster, node);
    std::fs::remove_dir_all(cluster.node(node).disk().join("g1")).unwrap();

    cluster.node(node).process.start().unwrap();
    cluster.healthy().await.unwrap();
    let after = identity(&mut cluster, node);
    assert_ne!(before["storage"], after["storage"]);
    assert_eq!(after["poisoned"], Value::Bool(false), "it was made over as a whole");
    cluster.admin().unwrap().run(&format!("transfer-leader g1 --to {node}")).await.unwrap();
    assert_eq!(kv.get("k").await.unwrap().unwrap(), "v");
}
