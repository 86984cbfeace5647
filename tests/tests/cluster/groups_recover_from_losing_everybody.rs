//! Groups whose in-sync replicas have all lost data: they wait, say what was lost, and go on when somebody decides.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use simplekv_client::Client;
use simplekv_tests::{Admin, Cluster, Outcome, Shape, wait};
use simplekv_types::{GroupId, NodeId};

use crate::client;

const KEYS: u32 = 500;
const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

/// Three replicas that acknowledge what only their page caches hold.
fn relaxed() -> Shape {
    Shape::three_nodes().with("storage", "flush", "replicated")
}

async fn fill(kv: &Client) {
    kv.mset((0..KEYS).map(|n| (format!("k{n}"), n.to_string()))).await.unwrap();
}

async fn assert_full(kv: &Client) {
    let values = kv.mget((0..KEYS).map(|n| format!("k{n}"))).await.unwrap();
    for (n, value) in (0..KEYS).zip(values) {
        assert_eq!(value.as_deref(), Some(n.to_string().as_bytes()), "k{n}");
    }
}

/// To the next start this machine has had another boot since the node was killed, as after a loss of power. What the disk holds is
/// what had reached it.
fn lose_power(cluster: &mut Cluster, node: NodeId) {
    let file = cluster.node(node).disk().join("node.json");
    let mut identity: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    identity["boot"] = "before the loss of power".into();
    fs::write(&file, identity.to_string()).unwrap();
}

/// Takes away the second half of what was written to the replica's log.
fn cut_log(cluster: &mut Cluster, node: NodeId) {
    let files = fs::read_dir(cluster.node(node).disk().join("g1")).unwrap().map(|entry| entry.unwrap().path());
    let largest: PathBuf = files.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    // Room is reserved ahead: what follows the last byte that is not zero was never written.
    let written = fs::read(&largest).unwrap().iter().rposition(|byte| *byte != 0).unwrap() as u64;
    fs::File::options().write(true).open(&largest).unwrap().set_len(written / 2).unwrap();
}

fn start_all(cluster: &mut Cluster) {
    NODES.into_iter().for_each(|node| cluster.node(node).process.start().unwrap());
}

/// Waits until a node says this of the group.
async fn told(admin: &Admin, what: &str) -> Value {
    wait::until(what, async || {
        let status: Value = admin.json("status").await.ok()?;
        let findings = status["findings"].as_array()?.clone();
        findings.into_iter().find(|found| found["subject"] == "g1" && found["message"].as_str().unwrap().contains(what))
    })
    .await
}

/// Waits until the controller has written down that the group waits.
async fn waits(admin: &Admin) {
    let said = async || (admin.json("list-groups").await.ok()?["groups"][0]["recovering"] == true).then_some(());
    wait::until("the group's record says that it waits for a decision", said).await;
}

async fn refused(admin: &Admin, line: &str, because: &str) -> Outcome {
    wait::until(&format!("{line} is refused: {because}"), async || {
        let outcome = admin.call(line).await.unwrap();
        assert_ne!(outcome.code, 0, "{line}: {}", outcome.stdout);
        (outcome.code == 4 && outcome.stderr.contains(because)).then_some(outcome)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_lets_a_group_go_on_with_what_is_left() {
    let mut cluster = Cluster::start(&relaxed()).await.unwrap();
    let kv = client(&cluster).await;
    fill(&kv).await;
    cluster.kill_all_nodes().unwrap();
    lose_power(&mut cluster, NodeId(1));
    lose_power(&mut cluster, NodeId(2));
    cut_log(&mut cluster, NodeId(2));
    cluster.node(NodeId(3)).wipe_disk().unwrap();
    start_all(&mut cluster);

    let admin = cluster.admin().unwrap();
    let finding = told(&admin, "every in-sync replica has lost what it had acknowledged").await;
    assert_eq!(finding["advice"], "simplekv-admin recover-group g1 --dry-run");
    waits(&admin).await;
    assert!(admin.run("explain group g1").await.unwrap().contains("recover-group g1 --dry-run"));
    // The new disk of n3 proves nothing about the old one.
    let outcome = refused(&admin, "recover-group g1 --dry-run", "n3 came back with a directory").await;
    assert!(outcome.stderr.contains("simplekv-admin recover-group g1 --lost n3"), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("lost data, accounted for"), "{}", outcome.stdout);

    let plan = wait::until("the longest log is proposed", async || {
        admin.json("recover-group g1 --lost n3 --dry-run").await.ok().filter(|plan| plan["chosen"] == "n1")
    })
    .await;
    assert_eq!((&plan["done"], plan["new_lineage"].as_u64()), (&Value::Bool(false), Some(1)));
    let log_end = |node: usize| plan["replicas"][node]["log_end"].as_u64();
    assert!(log_end(0) > log_end(1) && log_end(2) == Some(0), "{plan}");
    assert!(plan["losses"].to_string().contains("what n3 had acknowledged and nobody else holds is lost"), "{plan}");
    assert_eq!(cluster.leader(GroupId(1)).await.unwrap(), None, "a look changes nothing");
    assert_eq!(admin.call("recover-group g1 --lost n3").await.unwrap().code, 2, "nobody has accepted that");

    let done = admin.json("recover-group g1 --lost n3 --accept-data-loss").await.unwrap();
    assert_eq!((&done["done"], &done["chosen"]), (&Value::Bool(true), &plan["chosen"]));
    assert_eq!(done["digest"], plan["digest"], "it was done by what was shown");
    cluster.healthy().await.unwrap();
    assert_full(&kv).await;
    let group = &admin.json("list-groups").await.unwrap()["groups"][0];
    assert_eq!((group["lineage"].as_u64(), &group["recovering"]), (Some(1), &Value::Bool(false)));

    // The others hold it all, and not what they held before.
    kv.set("after", "1").await.unwrap();
    for node in [NodeId(2), NodeId(3)] {
        admin.run(&format!("transfer-leader g1 --to {node}")).await.unwrap();
        assert_full(&kv).await;
    }
    assert!(cluster.node(NodeId(2)).disk().join("g1.before-lineage-1-1").is_dir(), "it is kept for whoever misses it");
    // And they are whom they have become.
    cluster.kill_all_nodes().unwrap();
    start_all(&mut cluster);
    cluster.healthy().await.unwrap();
    assert_full(&kv).await;
    assert_eq!(kv.get("after").await.unwrap().unwrap(), "1");
    let outcome = admin.call("recover-group g1 --lost n1,n2,n3 --accept-data-loss").await.unwrap();
    assert_eq!(outcome.code, 4, "{}", outcome.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_with_a_whole_replica_left_is_not_recovered() {
    let mut cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let kv = client(&cluster).await;
    fill(&kv).await;
    cluster.kill_all_nodes().unwrap();
    for node in [NodeId(2), NodeId(3)] {
        cluster.node(node).wipe_disk().unwrap();
        cluster.node(node).process.start().unwrap();
    }

    let admin = Admin::at(&cluster.node(NodeId(2)).admin).unwrap();
    let finding = told(&admin, "the replicas that hold everything acknowledged are down: n1").await;
    assert!(finding["advice"].as_str().unwrap().starts_with("start n1; "), "{finding}");
    let line = "recover-group g1 --lost n2,n3 --accept-data-loss";
    refused(&admin, line, "n1 is registered and does not answer").await;

    cluster.node(NodeId(1)).process.start().unwrap();
    cluster.healthy().await.unwrap();
    refused(&admin, "recover-group g1 --lost n1,n2,n3 --accept-data-loss", "g1 goes on by itself").await;
    assert_full(&kv).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_whose_disks_are_all_gone_begins_empty() {
    let mut cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let kv = client(&cluster).await;
    fill(&kv).await;
    cluster.kill_all_nodes().unwrap();
    NODES.into_iter().for_each(|node| cluster.node(node).wipe_disk().unwrap());
    start_all(&mut cluster);

    let admin = cluster.admin().unwrap();
    told(&admin, "every in-sync replica has lost what it had acknowledged").await;
    waits(&admin).await;
    let plan = wait::until("everybody tells that nothing is left", async || {
        admin.json("recover-group g1 --lost n1,n2,n3 --dry-run").await.ok()
    })
    .await;
    assert!(plan["losses"].to_string().contains("the group begins empty"), "{plan}");
    admin.run("recover-group g1 --lost n1,n2,n3 --yes").await.unwrap();
    cluster.healthy().await.unwrap();
    assert_eq!(kv.get("k0").await.unwrap(), None);
    fill(&kv).await;
    assert_full(&kv).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_may_recovers_by_itself() {
    let mut cluster = Cluster::start(&relaxed()).await.unwrap();
    let kv = client(&cluster).await;
    cluster.admin().unwrap().run("set-recovery g1 longest").await.unwrap();
    fill(&kv).await;
    cluster.kill_all_nodes().unwrap();
    for node in NODES {
        lose_power(&mut cluster, node);
    }
    cut_log(&mut cluster, NodeId(1));
    cut_log(&mut cluster, NodeId(3));
    start_all(&mut cluster);
    cluster.healthy().await.unwrap();
    assert_full(&kv).await;
    let group = &cluster.admin().unwrap().json("list-groups").await.unwrap()["groups"][0];
    assert_eq!((group["lineage"].as_u64(), group["recovery"].as_str()), (Some(1), Some("longest")));
}
