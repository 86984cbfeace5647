//! Slots move between groups while clients go on.

use std::time::Duration;

use serde_json::Value;
use simplekv_tests::wait::{at_most, until};
use simplekv_tests::{Admin, Cluster, RespConnection, Shape};
use simplekv_types::{GroupId, NodeId};

use super::load::Load;

/// Who owns these slots.
async fn owners<const N: usize>(admin: &Admin, slots: [u64; N]) -> [String; N] {
    let map = admin.json("slots").await.unwrap();
    let of = |slot: u64| {
        let bound = |range: &Value, name: &str| range[name].as_u64().unwrap();
        let mut ranges = map["slots"].as_array().unwrap().iter();
        let found = ranges.find(|range| (bound(range, "first")..=bound(range, "last")).contains(&slot));
        found.unwrap()["group"].as_str().unwrap().to_owned()
    };
    slots.map(of)
}

/// Waits until a job has ended, and checks that it is done.
async fn done(cluster: &Cluster, job: &str) {
    let ended = async || {
        let report = cluster.admin().ok()?.json(&format!("migrations show {job}")).await.ok()?;
        (!report["ended_ms"].is_null()).then_some(report)
    };
    let report = at_most(Duration::from_secs(180), "the job has ended", ended).await.unwrap();
    assert_eq!(report["state"], "done", "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_slots_change_hands() {
    let cluster = Cluster::start(&Shape::six_nodes()).await.unwrap();
    let (client, admin) = (super::client(&cluster).await, cluster.admin().unwrap());
    let load = Load::start(&client, 4);
    load.at_work().await;
    // All of the first group's slots go to the second, and half of everything comes back.
    let report = admin.json("migrate-slot 0-8191 --to g2").await.unwrap();
    assert_eq!((&report["state"], &report["slots_done"]), (&"done".into(), &8192.into()), "{report}");
    let report = admin.json("migrate-slot 0-4095,12288-16383 --to g1").await.unwrap();
    assert_eq!(report["state"], "done", "{report}");
    load.finish(&client).await.assert_perfect();
    let owned = owners(&admin, [0, 4095, 4096, 8191, 12287, 12288, 16383]).await;
    assert_eq!(owned, ["g1", "g1", "g2", "g2", "g2", "g1", "g1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_goes_on_whoever_dies() {
    let mut cluster = Cluster::start(&Shape::six_nodes()).await.unwrap();
    let client = super::client(&cluster).await;
    let load = Load::start(&client, 4);
    load.at_work().await;
    let report = cluster.admin().unwrap().json("migrate-slot 0-8191 --to g2 --detach").await.unwrap();
    let job = report["job"].as_str().unwrap().to_owned();
    for victim in ["source", "target", "controller"] {
        let node = match victim {
            "source" => cluster.leader(GroupId(1)).await.unwrap(),
            "target" => cluster.leader(GroupId(2)).await.unwrap(),
            _ => cluster.controller().await.unwrap(),
        };
        let node: NodeId = node.unwrap();
        cluster.node(node).process.kill().unwrap();
        load.at_work().await;
        cluster.node(node).process.start().unwrap();
        cluster.healthy().await.unwrap();
    }
    done(&cluster, &job).await;
    load.finish(&client).await.assert_perfect();
    assert_eq!(owners(&cluster.admin().unwrap(), [0, 8191, 8192]).await, ["g2", "g2", "g2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_comes_and_goes_under_load() {
    let cluster = Cluster::start(&Shape::six_nodes()).await.unwrap();
    let (client, admin) = (super::client(&cluster).await, cluster.admin().unwrap());
    let load = Load::start(&client, 2);
    load.at_work().await;
    admin.run("add-group g3 --replicas n1,n4,n5").await.unwrap();
    cluster.healthy().await.unwrap();
    let report = admin.json("rebalance").await.unwrap();
    assert_eq!((&report["state"], &report["slots_total"]), (&"done".into(), &5461.into()), "{report}");
    assert!(admin.run("rebalance --dry-run").await.unwrap().contains("nothing has to be moved"));
    let report = admin.json("remove-group g3").await.unwrap();
    assert_eq!(report["state"], "done", "{report}");
    load.finish(&client).await.assert_perfect();
    let groups = admin.json("list-groups").await.unwrap();
    let slots: Vec<_> = groups["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| (group["id"].as_str().unwrap(), group["slots"].as_u64().unwrap()))
        .collect();
    assert_eq!(slots, [("g1", 8192), ("g2", 8192)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_about_a_key_moves_with_it() {
    let cluster = Cluster::start(&Shape::six_nodes()).await.unwrap();
    let admin = cluster.admin().unwrap();
    let router = cluster.router().await.unwrap();
    let mut kv = RespConnection::open(&router.resp).await.unwrap();
    let mut ask = async |line: &str| kv.ask(line).await.unwrap();
    // Slot 12182 is the second group's.
    for line in [
        "SET {foo}string text PX 3600000",
        "SET {foo}gone text",
        "RPUSH {foo}list a b c",
        "HSET {foo}hash one 1 two 2",
        "SADD {foo}set x y z",
        "ZADD {foo}zset 1 low 2.5 high",
        "EXPIRE {foo}hash 3600",
        "DEL {foo}gone",
        "LPOP {foo}list",
    ] {
        ask(line).await;
    }
    let elements: Vec<String> = (0..20_000).map(|i| format!("member-{i:05}")).collect();
    for part in elements.chunks(1000) {
        ask(&format!("SADD {{foo}}many {}", part.join(" "))).await;
    }
    let questions = [
        "GET {foo}string",
        "EXISTS {foo}gone",
        "LRANGE {foo}list 0 -1",
        "HMGET {foo}hash one two three",
        "SMISMEMBER {foo}set x y z w",
        "ZRANGE {foo}zset 0 -1 WITHSCORES",
        "SCARD {foo}many",
        "SMISMEMBER {foo}many member-00000 member-19999 member-20000",
        "PEXPIRETIME {foo}string",
        "EXPIRETIME {foo}hash",
        "DBSIZE",
    ];
    let mut before = Vec::new();
    for question in questions {
        before.push(ask(question).await);
    }
    for target in ["g1", "g2"] {
        let report = admin.json(&format!("migrate-slot 12182 --to {target}")).await.unwrap();
        assert_eq!(report["state"], "done", "{report}");
        for (question, before) in questions.iter().zip(&before) {
            assert_eq!(ask(question).await, *before, "{question}");
        }
        // It is changed there, and what was changed comes back.
        ask("HSET {foo}hash three 3").await;
        ask("HDEL {foo}hash three").await;
        ask("DEL {foo}list").await;
        ask("RPUSH {foo}list b c").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_waits_for_etcd_and_a_cancelled_one_leaves_everything_where_it_was() {
    let mut cluster = Cluster::start(&Shape::six_nodes()).await.unwrap();
    let client = super::client(&cluster).await;
    let load = Load::start(&client, 2);
    load.at_work().await;
    let admin = cluster.admin().unwrap();
    let report = admin.json("migrate-slot 0-2047 --to g2 --detach").await.unwrap();
    cluster.etcd.kill_all();
    load.at_work().await;
    cluster.etcd.restart_all().await.unwrap();
    done(&cluster, report["job"].as_str().unwrap()).await;

    let report = admin.json("migrate-slot 0-2047 --to g1 --detach").await.unwrap();
    let job = report["job"].as_str().unwrap();
    admin.run(&format!("migrations pause {job}")).await.unwrap();
    admin.run("add-group g3 --replicas n1,n4,n5").await.unwrap();
    let refused = admin.call("migrate-slot 100 --to g3").await.unwrap();
    assert!(refused.code != 0 && refused.stderr.contains(&format!("job {job} ")), "{refused:?}");
    admin.run(&format!("migrations cancel {job}")).await.unwrap();
    let ended = async || {
        let report = admin.json(&format!("migrations show {job}")).await.ok()?;
        (!report["ended_ms"].is_null()).then_some(report)
    };
    let report = until("the cancelled job has ended", ended).await;
    load.finish(&client).await.assert_perfect();
    assert!(report["state"] == "not done" || report["state"] == "done", "{report}");
    // A group that was given nothing leaves as well.
    let report = admin.json("remove-group g3").await.unwrap();
    assert_eq!(report["state"], "done", "{report}");
    cluster.healthy().await.unwrap();
}
