//! Redis' own programs against the nodes' ports, as a Redis Cluster.

use simplekv_resp::decode::Frame;
use simplekv_tests::{Cluster, RespConnection, Shape};
use simplekv_types::{GroupId, NodeId};

use crate::redis;

#[tokio::test(flavor = "multi_thread")]
async fn redis_cli_and_redis_benchmark_follow_redirects() {
    let cluster = Cluster::start(&Shape::six_nodes()).await.unwrap();
    // Slots 12182 and 0: one in each group, and the very first.
    for (key, value) in [("foo", "1"), ("{06S}", "2")] {
        for node in &cluster.nodes {
            assert_eq!(redis("redis-cli", &node.resp, &format!("-c SET {key} {value}")).await.trim(), "OK");
            assert_eq!(redis("redis-cli", &node.resp, &format!("-c GET {key}")).await.trim(), value);
        }
    }
    let first = &cluster.nodes[0].resp;
    let said = redis("redis-benchmark", first, "--cluster -t set,get -n 20000 -c 20 -r 10000 -q").await;
    assert!(said.contains("SET:") && said.contains("GET:") && !said.to_lowercase().contains("error"), "{said}");
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
