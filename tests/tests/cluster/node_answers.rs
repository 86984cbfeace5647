//! What a node says beside the data lane: pages, gRPC services, Redis' questions about slots and replication, group time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use simplekv_proto::v1;
use simplekv_proto::v1::kv_client::KvClient;
use simplekv_resp::decode::Frame;
use simplekv_tests::{Cluster, RespConnection, Shape, wait};
use simplekv_types::{GroupId, NodeId};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb;

use crate::http;

/// One cluster answers all: starting one costs more than any of the questions.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_answers_for_itself() {
    let mut cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    let follower = [1, 2, 3].map(NodeId).into_iter().find(|node| *node != leader).unwrap();
    pages(&cluster.node(leader).admin).await;
    let grpc = cluster.node(leader).grpc.clone();
    services(&grpc, &["simplekv.v1.Kv", "simplekv.v1.Data", "grpc.health.v1.Health"]).await;
    services(&cluster.node(leader).admin, &["simplekv.v1.Admin"]).await;
    unary(&grpc, &cluster.node(follower).grpc).await;
    redis_questions(&mut cluster, leader, follower).await;
    groups(&cluster).await;
    group_time(&mut cluster).await;
}

async fn pages(admin: &str) {
    assert_eq!(http(admin, "/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(http(admin, "/readyz").await, (200, "ready\n".to_owned()));
    let (status, metrics) = http(admin, "/metrics").await;
    assert_eq!(status, 200);
    for line in
        ["simplekv_group_leader{group=\"g1\"} 1", "simplekv_slots{group=\"g1\"} 16384", "simplekv_metadata_current 1"]
    {
        assert!(metrics.lines().any(|found| found == line), "{line} is missing in:\n{metrics}");
    }
    for name in ["simplekv_resp_commands_total", "simplekv_lane_commands_total", "simplekv_replica_lag_records"] {
        assert!(metrics.contains(&format!("\n{name}")), "{name} is missing in:\n{metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
}

async fn channel(address: &str) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// The services a port names when it is asked, in either version of reflection.
macro_rules! listed {
    ($version:ident, $channel:expr) => {{
        use pb::$version::server_reflection_client::ServerReflectionClient;
        use pb::$version::server_reflection_request::MessageRequest;
        use pb::$version::server_reflection_response::MessageResponse;
        let message_request = Some(MessageRequest::ListServices(String::new()));
        let question = pb::$version::ServerReflectionRequest { host: String::new(), message_request };
        let asked = ServerReflectionClient::new($channel).server_reflection_info(tokio_stream::once(question)).await;
        let answer = asked.unwrap().into_inner().message().await.unwrap().unwrap();
        let Some(MessageResponse::ListServicesResponse(listed)) = answer.message_response else { panic!("{answer:?}") };
        listed.service.into_iter().map(|service| service.name).collect::<Vec<String>>()
    }};
}

/// What the port says it serves, and its health where it tells that.
async fn services(address: &str, expected: &[&str]) {
    let channel = channel(address).await;
    for listed in [listed!(v1, channel.clone()), listed!(v1alpha, channel.clone())] {
        for service in expected {
            assert!(listed.iter().any(|found| found == service), "{service} is not among {listed:?}");
        }
    }
    if !expected.contains(&"grpc.health.v1.Health") {
        return;
    }
    for service in ["", "simplekv.v1.Kv", "simplekv.v1.Data"] {
        let question = HealthCheckRequest { service: service.to_owned() };
        let answer = HealthClient::new(channel.clone()).check(question).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{service}");
    }
}

async fn unary(leader: &str, follower: &str) {
    let mut kv = KvClient::new(channel(leader).await);
    let key = Bytes::from_static(b"unary");
    let set = v1::SetRequest { key: key.clone(), value: Bytes::from_static(b"1"), ttl_ms: 0, session: String::new() };
    kv.set(set.clone()).await.unwrap();
    let get = v1::GetRequest { key: key.clone(), read: None, session: String::new() };
    let found = kv.get(get.clone()).await.unwrap().into_inner();
    assert_eq!((found.found, &*found.value), (true, &b"1"[..]));
    let args = ["INCR", "unary"].map(|word| Bytes::from_static(word.as_bytes())).to_vec();
    let execute = v1::ExecuteRequest { args, ..v1::ExecuteRequest::default() };
    let answer = kv.execute(execute).await.unwrap().into_inner().value.unwrap();
    assert_eq!(answer.kind, Some(v1::value::Kind::Int(2)));
    let delete = v1::DeleteRequest { key, session: String::new() };
    assert!(kv.delete(delete.clone()).await.unwrap().into_inner().deleted);
    assert!(!kv.delete(delete).await.unwrap().into_inner().deleted);
    assert!(!kv.get(get).await.unwrap().into_inner().found);

    let refused = KvClient::new(channel(follower).await).set(set).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused}");
}

async fn redis_questions(cluster: &mut Cluster, leader: NodeId, follower: NodeId) {
    let mut redis = RespConnection::open(&cluster.node(leader).resp).await.unwrap();
    for key in ["{06S}a", "{06S}b", "{apX}c"] {
        assert_eq!(redis.ask(&format!("SET {key} 1")).await.unwrap(), Frame::Status("OK".into()));
    }
    for (slot, count) in [(0, 2), (16383, 1), (7, 0)] {
        assert_eq!(redis.ask(&format!("CLUSTER COUNTKEYSINSLOT {slot}")).await.unwrap(), Frame::Int(count));
    }
    let Frame::Array(mut keys) = redis.ask("CLUSTER GETKEYSINSLOT 0 10").await.unwrap() else { panic!("no array") };
    keys.sort_by_key(|key| format!("{key:?}"));
    assert_eq!(keys, ["{06S}a", "{06S}b"].map(|key| Frame::Bulk(key.into())));
    let stats = format!("{:?}", redis.ask("CLUSTER SLOT-STATS SLOTSRANGE 16383 16383").await.unwrap());
    assert!(stats.contains("key-count") && stats.contains("Int(16383)") && stats.contains("Int(1)"), "{stats}");
    let most = format!("{:?}", redis.ask("CLUSTER SLOT-STATS ORDERBY KEY-COUNT LIMIT 1").await.unwrap());
    assert!(most.contains("Int(0)") && most.contains("Int(2)"), "{most}");
    assert_eq!(redis.ask("WAIT 2 1000").await.unwrap(), Frame::Int(2), "both followers are in sync");

    let Frame::Array(role) = redis.ask("ROLE").await.unwrap() else { panic!("no array") };
    assert_eq!(role[0], Frame::Bulk("master".into()));
    let mut redis = RespConnection::open(&cluster.node(follower).resp).await.unwrap();
    let Frame::Array(role) = redis.ask("ROLE").await.unwrap() else { panic!("no array") };
    assert_eq!(role[0], Frame::Bulk("slave".into()));
}

/// Groups are added and led by whom the cluster chooses.
async fn groups(cluster: &Cluster) {
    let admin = cluster.admin().unwrap();
    let added = admin.json("add-group --replicas n1,n2").await.unwrap();
    assert_eq!(added["group"]["id"], "g2");
    let found = wait::until("the new group has a leader", async || {
        let groups = admin.json("list-groups").await.ok()?;
        groups["groups"].as_array()?.iter().find(|group| group["id"] == "g2" && group["leader"].is_string()).cloned()
    })
    .await;
    assert_eq!((found["slots"].as_u64(), found["replicas"].as_array().map(Vec::len)), (Some(0), Some(2)));
    cluster.healthy().await.unwrap();

    let before = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    let moved = admin.json("transfer-leader g1").await.unwrap();
    let after = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    assert_ne!(before, after);
    assert_eq!((moved["group"].as_str(), moved["leader"].as_str()), (Some("g1"), Some(&*after.to_string())));
    cluster.healthy().await.unwrap();
}

/// Keys expire by the group's time, whoever leads: not before they should, and soon after.
async fn group_time(cluster: &mut Cluster) {
    const SOON: Duration = Duration::from_millis(500);
    const LATER: Duration = Duration::from_secs(4);
    let kv = crate::client(cluster).await;
    let (soon, later) = (Instant::now(), Instant::now());
    kv.set("soon", "1").ttl(SOON).await.unwrap();
    kv.set("later", "1").ttl(LATER).await.unwrap();
    kv.set("much later", "1").ttl(Duration::from_secs(1000)).await.unwrap();
    wait::until("the first key has expired", async || kv.get("soon").await.unwrap().is_none().then_some(())).await;
    assert!(soon.elapsed() >= SOON, "it has expired after {:?}", soon.elapsed());
    assert!(kv.get("later").await.unwrap().is_some());

    let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    cluster.node(leader).process.kill().unwrap();
    let left = kv.ttl("much later").await.unwrap();
    println!("after the failover, {:?} after the SET: {left:?}", later.elapsed());
    wait::until("the second key has expired", async || kv.get("later").await.unwrap().is_none().then_some(())).await;
    assert!(later.elapsed() >= LATER, "it has expired after {:?}", later.elapsed());
    assert!(later.elapsed() < LATER * 2, "it has expired after {:?} only", later.elapsed());
    assert!(kv.get("much later").await.unwrap().is_some());
    assert!(!kv.exists("later").await.unwrap());
    assert!(kv.set("later", "2").if_absent().await.unwrap());
}

/// A key set to live shortly after one that lives long vanishes in time, although nobody writes meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_short_life_begun_after_a_long_one_ends_in_time() {
    let cluster = Cluster::start(&Shape::one_node()).await.unwrap();
    let kv = crate::client(&cluster).await;
    kv.set("long", "1").ttl(Duration::from_secs(1000)).await.unwrap();
    kv.set("short", "1").ttl(Duration::from_millis(300)).await.unwrap();
    let gone = async || kv.get("short").await.unwrap().is_none().then_some(());
    wait::at_most(Duration::from_secs(5), "the short-lived key has expired", gone).await.unwrap();
}
