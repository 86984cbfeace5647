//! Redis' own programs against the nodes' ports, as a Redis Cluster.

use simplekv_resp::decode::Frame;
use simplekv_tests::{Cluster, RespConnection, Shape};
use simplekv_types::{GroupId, NodeId};

use crate::{client, default_load, redis};

#[tokio::test(flavor = "multi_thread")]
async fn redis_cli_and_redis_benchmark_follow_redirects() {
    let cluster = Cluster::start(&Shape::six_nodes()).await.unwrap();
    // Slots 12182, 0 and 16383: both groups, the very first and the very last.
    for (key, value) in [("foo", "1"), ("{06S}", "2"), ("{apX}", "3")] {
        for node in &cluster.nodes {
            assert_eq!(redis("redis-cli", &node.resp, &format!("-c SET {key} {value}")).await.trim(), "OK");
            assert_eq!(redis("redis-cli", &node.resp, &format!("-c GET {key}")).await.trim(), value);
        }
    }
    let first = &cluster.nodes[0].resp;
    let said = redis("redis-benchmark", first, "--cluster -t set,get -n 20000 -c 20 -r 10000 -q").await;
    assert!(said.contains("SET:") && said.contains("GET:") && !said.to_lowercase().contains("error"), "{said}");
    default_load(first, "--cluster").await;
    let checked = redis("redis-cli", first, "CLUSTER INFO").await;
    assert!(checked.contains("cluster_state:ok") && checked.contains("cluster_slots_assigned:16384"), "{checked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_names_the_leader_of_a_slot_it_does_not_lead() {
    let mut cluster = Cluster::start(&Shape::six_nodes()).await.unwrap();
    let leader = cluster.leader(GroupId(2)).await.unwrap().unwrap();
    let expected = format!("MOVED 12182 {}", cluster.node(leader).resp);
    let mut elsewhere = RespConnection::open(&cluster.node(NodeId(1)).resp).await.unwrap();
    assert_eq!(elsewhere.ask("SET foo 1").await.unwrap(), Frame::Error(expected.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_and_the_last_slot_are_slots_like_any_other() {
    let mut cluster = Cluster::start(&Shape::six_nodes()).await.unwrap();
    let router = cluster.router().await.unwrap();
    let kv = client(&cluster).await;
    let admin = cluster.admin().unwrap();
    for (tag, slot, group) in [("{06S}", 0, GroupId(1)), ("{apX}", 16383, GroupId(2))] {
        let found = admin.json(&format!("find-slot {tag}")).await.unwrap();
        assert_eq!((found["slot"].as_u64(), found["group"].as_str()), (Some(slot), Some(&*group.to_string())));
        let leader = cluster.leader(group).await.unwrap().unwrap();
        let mut node = RespConnection::open(&cluster.node(leader).resp).await.unwrap();
        let mut router = RespConnection::open(&router.resp).await.unwrap();
        let keyslot = node.ask(&format!("CLUSTER KEYSLOT {tag}")).await.unwrap();
        assert_eq!(keyslot, Frame::Int(i64::try_from(slot).unwrap()));

        // Each writes one key, and all read all.
        let ok = Frame::Status("OK".into());
        assert_eq!(node.ask(&format!("SET {tag}node 1")).await.unwrap(), ok);
        assert_eq!(router.ask(&format!("SET {tag}router 2")).await.unwrap(), ok);
        kv.set(format!("{tag}client"), "3").await.unwrap();
        for (key, value) in [("node", "1"), ("router", "2"), ("client", "3")] {
            let key = format!("{tag}{key}");
            assert_eq!(node.ask(&format!("GET {key}")).await.unwrap(), Frame::Bulk(value.into()), "{key}");
            assert_eq!(router.ask(&format!("GET {key}")).await.unwrap(), Frame::Bulk(value.into()), "{key}");
            assert_eq!(kv.get(&*key).await.unwrap().unwrap(), value, "{key}");
        }
        assert_eq!(node.ask(&format!("CLUSTER COUNTKEYSINSLOT {slot}")).await.unwrap(), Frame::Int(3));
    }
}
