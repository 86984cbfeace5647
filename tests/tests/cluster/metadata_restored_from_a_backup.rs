//! etcd goes back to an older state: nobody acts on it, everybody says so, and an operator can go on without losing anything.

use std::time::Duration;

use serde_json::Value;
use simplekv_client::Client;
use simplekv_tests::{Cluster, Shape, wait};
use simplekv_types::{GroupId, NodeId};

use crate::client;

const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

#[tokio::test(flavor = "multi_thread")]
async fn nobody_acts_on_a_store_that_went_back_until_an_operator_decides() {
    let mut cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let kv = client(&cluster).await;
    kv.set("before", "1").await.unwrap();
    let backup = cluster.etcd.save().unwrap();
    cluster.etcd.restart_all().await.unwrap();
    cluster.healthy().await.unwrap();
    // What the backup does not know of.
    let mut transfers = 0;
    while transfers < 2 {
        let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
        let next = NODES.into_iter().find(|node| *node != leader).unwrap();
        match cluster.admin().unwrap().run(&format!("transfer-leader g1 --to {next}")).await {
            Ok(_) => transfers += 1,
            // On a busy machine a leader may change by itself between the question and the order.
            Err(error) => assert!(error.to_string().contains("does not lead g1 any more"), "{error}"),
        }
    }
    kv.set("since", "2").await.unwrap();
    cluster.etcd.restore(&backup).unwrap();
    cluster.etcd.restart_all().await.unwrap();

    for node in NODES {
        let process = &mut cluster.node(node).process;
        assert!(
            !process.ended(Duration::from_secs(30)).unwrap().success(),
            "{node} does not go on as if nothing had happened"
        );
        assert!(process.log().contains("the metadata store was restored to an older state"), "{node} says why");
        process.start().unwrap();
    }
    let admin = cluster.admin().unwrap();
    let plan = wait::until("every replica has noticed", async || {
        admin.json("recover-group g1 --dry-run").await.ok().filter(|plan| {
            let replicas = plan["replicas"].as_array().unwrap();
            replicas.iter().all(|replica| replica["halted"] == "metadata_regressed")
        })
    })
    .await;
    assert!(plan["losses"][0].as_str().unwrap().contains("was restored from an older state"), "{plan}");
    let status: Value = admin.json("status").await.unwrap();
    assert_eq!(status["health"], "unhealthy");
    assert!(status["findings"].to_string().contains("the metadata store was restored from an older state"), "{status}");
    // Clients are told that it was not done.
    let seeds = cluster.seeds();
    let hasty =
        seeds.iter().fold(Client::builder(), |builder, seed| builder.seed(seed)).timeout(Duration::from_secs(1));
    let error = hasty.build().await.unwrap().set("meanwhile", "3").await.unwrap_err();
    assert!(!error.may_have_applied(), "{error}");

    admin.run("recover-group g1 --accept-data-loss").await.unwrap();
    cluster.healthy().await.unwrap();
    for (key, value) in [("before", Some("1")), ("since", Some("2")), ("meanwhile", None)] {
        assert_eq!(kv.get(key).await.unwrap().as_deref(), value.map(str::as_bytes), "{key}");
    }
}
