//! `simplekv-admin` against a real cluster: its answers, its refusals, its exit codes.

use simplekv_tests::{Admin, Cluster, Shape, free_ports, wait};
use simplekv_types::{GroupId, NodeId};

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_session() {
    let mut cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let admin = cluster.admin().unwrap();

    let status = admin.json("status").await.unwrap();
    assert_eq!((status["health"].as_str(), status["slots_served"].as_u64()), (Some("healthy"), Some(16384)));
    assert_eq!(admin.call("health").await.unwrap().code, 0);
    assert!(admin.run("status").await.unwrap().contains("16384 of 16384 served"));

    let groups = admin.json("list-groups").await.unwrap();
    assert_eq!(groups["groups"][0]["id"], "g1");
    assert_eq!(groups["groups"][0]["in_sync"].as_array().unwrap().len(), 3);
    assert_eq!(admin.json("list-nodes").await.unwrap()["nodes"].as_array().unwrap().len(), 3);
    assert_eq!(admin.json("slots").await.unwrap()["slots"][0]["last"], 16383);
    let found = admin.json("find-slot foo").await.unwrap();
    assert_eq!((found["slot"].as_u64(), found["group"].as_str()), (Some(12182), Some("g1")));
    for subject in ["group g1", "node n2", "slot 0", "slot 16383"] {
        assert!(!admin.json(&format!("explain {subject}")).await.unwrap()["lines"].as_array().unwrap().is_empty());
    }

    let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    let next = [1, 2, 3].map(NodeId).into_iter().find(|node| *node != leader).unwrap();
    let moved = admin.json(&format!("transfer-leader g1 --to {next}")).await.unwrap();
    assert_eq!(moved["leader"], next.to_string().as_str());
    assert_eq!(cluster.leader(GroupId(1)).await.unwrap(), Some(next));

    // A missing follower is told, with what to do; the exit code is for scripts.
    let follower = [1, 2, 3].map(NodeId).into_iter().find(|node| *node != next && *node != NodeId(1)).unwrap();
    cluster.node(follower).process.kill().unwrap();
    let admin = Admin::at(&cluster.node(next).admin).unwrap();
    let told = wait::until("the missing node is noticed", async || {
        let outcome = admin.call("health").await.unwrap();
        (outcome.code == 3).then_some(outcome.stdout)
    })
    .await;
    assert!(told.contains("degraded"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_is_true_and_what_to_do() {
    let cluster = Cluster::start(&Shape::one_node()).await.unwrap();
    let admin = cluster.admin().unwrap();
    for (line, code) in [
        ("init --groups 1 --nodes n1", 4),
        ("add-group g1 --replicas n1", 4),
        ("transfer-leader g1 --to n9", 1),
        ("transfer-leader g7", 1),
        ("slots --group g7", 1),
        ("explain group g7", 1),
        ("frobnicate", 2),
    ] {
        let outcome = admin.call(line).await.unwrap();
        assert_ne!(outcome.code, 0, "{line}");
        assert!(outcome.stdout.is_empty(), "{line}: {}", outcome.stdout);
        if code != 2 {
            assert!(outcome.stderr.contains("now:") && outcome.stderr.contains("next:"), "{line}: {}", outcome.stderr);
            assert!([1, 2, 4].contains(&outcome.code), "{line} ended with {}: {}", outcome.code, outcome.stderr);
        }
    }
    assert_eq!(admin.call("init --groups 1 --nodes n1").await.unwrap().code, 4);
    assert_eq!(admin.json("init --groups 1 --nodes n1 --if-needed").await.unwrap()["created"], false);

    let [nobody] = free_ports();
    assert_eq!(Admin::at(&format!("127.0.0.1:{nobody}")).unwrap().call("status").await.unwrap().code, 7);
}
