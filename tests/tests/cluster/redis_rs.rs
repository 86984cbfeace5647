//! redis-rs, which Rust programs speak to Redis with: before a router as before one Redis, before the nodes as before a Redis Cluster.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::{AsyncCommands, AsyncConnectionConfig, ProtocolVersion, PushInfo, PushKind, Value, pipe};
use simplekv_tests::{Cluster, Shape};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;

/// The client would rather give up after half a second, which a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What was said before somebody listened is lost: it is said again until it is heard.
const SAID_AGAIN: Duration = Duration::from_millis(100);

async fn standalone(address: &str, protocol: &str) -> MultiplexedConnection {
    let client = redis::Client::open(format!("redis://{address}/?protocol={protocol}")).unwrap();
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

/// A connection to all nodes, and what they push.
async fn of_cluster(cluster: &Cluster) -> (ClusterConnection, mpsc::UnboundedReceiver<PushInfo>) {
    let nodes = cluster.nodes.iter().map(|node| format!("redis://{}/", node.resp));
    let (pushed, pushes) = mpsc::unbounded_channel();
    let client = ClusterClient::builder(nodes).connection_timeout(PATIENCE).response_timeout(PATIENCE);
    let client = client.use_protocol(ProtocolVersion::RESP3).push_sender(pushed).build().unwrap();
    (client.get_async_connection().await.unwrap(), pushes)
}

/// What one connection can do wherever it leads, with keys of one slot.
async fn session<C: ConnectionLike + Send + Sync + Clone>(mut kv: C, tag: &str) {
    let key = |name: &str| format!("{{{tag}}}:{name}");
    let (stock, orders, scores) = (key("stock"), key("orders"), key("scores"));
    let large = vec![b'x'; 1 << 20];
    let () = kv.set(key("large"), &large).await.unwrap();
    assert_eq!(kv.get::<_, Vec<u8>>(key("large")).await.unwrap(), large);

    let (left, gone): (i64, Option<String>) =
        pipe().set(&stock, 3).ignore().decr(&stock, 1).get(key("none")).query_async(&mut kv).await.unwrap();
    assert_eq!((left, gone), (2, None));
    let () = kv.expire(&stock, 100).await.unwrap();
    assert!((1..=100).contains(&kv.ttl::<_, i64>(&stock).await.unwrap()));

    let mut order = pipe();
    order.atomic().decr(&stock, 1).rpush(&orders, "alice").zadd(&scores, "alice", 1.5).zadd(&scores, "bob", 0.5);
    let done: (i64, i64, i64, i64) = order.query_async(&mut kv).await.unwrap();
    assert_eq!(done, (1, 1, 1, 1));
    let ranked: Vec<(String, f64)> = kv.zrange_withscores(&scores, 0, -1).await.unwrap();
    assert_eq!(ranked, [("bob".to_owned(), 0.5), ("alice".to_owned(), 1.5)]);

    let () = kv.hset_multiple(key("user"), &[("name", "alice"), ("visits", "1")]).await.unwrap();
    let user: HashMap<String, String> = kv.hgetall(key("user")).await.unwrap();
    assert_eq!((user["name"].as_str(), user["visits"].as_str(), user.len()), ("alice", "1", 2));

    let refused = kv.incr::<_, _, i64>(&orders, 1).await.unwrap_err();
    assert_eq!(refused.code(), Some("WRONGTYPE"), "{refused}");
}

/// One waits, the other gives. It does not matter who comes first.
async fn blocking_pop<C: ConnectionLike + Send + Sync + Clone + 'static>(mut waiter: C, mut giver: C, tag: &str) {
    let (first, second) = (format!("{{{tag}}}:first"), format!("{{{tag}}}:second"));
    let lists = [first, second.clone()];
    let waiting = tokio::spawn(async move { waiter.blpop::<_, (String, String)>(&lists, 50.0).await });
    let _: i64 = giver.rpush(&second, "job").await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), (second, "job".to_owned()));
}

/// A transaction is not done if a key that it watches has been changed by another.
async fn watched_keys(mut kv: MultiplexedConnection, mut other: MultiplexedConnection) {
    let mut attempt = pipe();
    attempt.atomic().set("{w}:copy", "old");
    let () = kv.set("{w}:key", "old").await.unwrap();
    let () = redis::cmd("WATCH").arg("{w}:key").query_async(&mut kv).await.unwrap();
    let () = other.set("{w}:key", "new").await.unwrap();
    assert_eq!(attempt.query_async::<Value>(&mut kv).await.unwrap(), Value::Nil);
    assert_eq!(attempt.query_async::<(String,)>(&mut kv).await.unwrap(), ("OK".to_owned(),));
    assert_eq!(kv.get::<_, String>("{w}:copy").await.unwrap(), "old");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_is_one_redis_to_it() {
    let cluster = Cluster::start(&Shape::six_nodes()).await.unwrap();
    let router = cluster.router().await.unwrap();
    for protocol in ["resp2", "resp3"] {
        let mut kv = standalone(&router.resp, protocol).await;
        let other = standalone(&router.resp, protocol).await;
        session(kv.clone(), protocol).await;
        blocking_pop(other.clone(), kv.clone(), protocol).await;
        watched_keys(kv.clone(), other).await;

        // Keys of both groups in one pipeline, and all of them found again.
        let mut many = pipe();
        let names: BTreeSet<String> = (0..200).map(|i| format!("{protocol}:many:{i}")).collect();
        for name in &names {
            many.set(name, "v").ignore();
        }
        let () = many.query_async(&mut kv).await.unwrap();
        let pattern = format!("{protocol}:many:*");
        let mut walk = kv.scan_match::<_, String>(&pattern).await.unwrap();
        let mut found = BTreeSet::new();
        while let Some(name) = walk.next_item().await {
            found.insert(name.unwrap());
        }
        assert_eq!(found, names);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_reach_its_subscribers_through_a_router() {
    let cluster = Cluster::start(&Shape::six_nodes()).await.unwrap();
    let router = cluster.router().await.unwrap();
    let mut kv = standalone(&router.resp, "resp2").await;
    for protocol in ["resp2", "resp3"] {
        let client = redis::Client::open(format!("redis://{}/?protocol={protocol}", router.resp)).unwrap();
        let mut listener = client.get_async_pubsub().await.unwrap();
        listener.psubscribe("news:*").await.unwrap();
        listener.subscribe("other").await.unwrap();
        let mut messages = listener.on_message();
        let heard = async {
            loop {
                let _: i64 = kv.publish("news:sport", "a goal").await.unwrap();
                if let Ok(message) = tokio::time::timeout(SAID_AGAIN, messages.next()).await {
                    return message.unwrap();
                }
            }
        };
        let message = tokio::time::timeout(PATIENCE, heard).await.unwrap();
        assert_eq!(message.get_channel_name(), "news:sport");
        assert_eq!(message.get_pattern::<String>().unwrap(), "news:*");
        assert_eq!(message.get_payload::<String>().unwrap(), "a goal");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_a_redis_cluster_to_it() {
    let cluster = Cluster::start(&Shape::six_nodes()).await.unwrap();
    let (mut kv, mut pushes) = of_cluster(&cluster).await;
    // Tags of both groups.
    for tag in ["a", "b", "c", "d"] {
        session(kv.clone(), tag).await;
    }
    let (waiter, _) = of_cluster(&cluster).await;
    blocking_pop(waiter, kv.clone(), "e").await;

    let names: BTreeSet<String> = (0..200).map(|i| format!("many:{i}")).collect();
    for name in &names {
        let () = kv.set(name, "v").await.unwrap();
    }
    assert_eq!(walk(&mut kv, "many:*").await, names);

    kv.subscribe("news").await.unwrap();
    kv.ssubscribe("here").await.unwrap();
    assert_eq!(heard(&mut kv, &mut pushes, "PUBLISH", "news", &PushKind::Message).await, "to news");
    assert_eq!(heard(&mut kv, &mut pushes, "SPUBLISH", "here", &PushKind::SMessage).await, "to here");
}

/// All keys that match. Every master walks through its own.
async fn walk(kv: &mut ClusterConnection, pattern: &str) -> BTreeSet<String> {
    let everywhere = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
    let scan = redis::cmd("SCAN").arg(0).arg("MATCH").arg(pattern).arg("COUNT").arg(10_000).to_owned();
    let answers = kv.route_command(scan, everywhere).await.unwrap();
    let answers: HashMap<String, (u64, Vec<String>)> = redis::from_redis_value(answers).unwrap();
    assert!(answers.values().all(|(cursor, _)| *cursor == 0), "{answers:?}");
    answers.into_values().flat_map(|(_, names)| names).collect()
}

/// Says something in a channel until it is heard.
async fn heard(
    kv: &mut ClusterConnection,
    pushes: &mut mpsc::UnboundedReceiver<PushInfo>,
    command: &str,
    channel: &str,
    kind: &PushKind,
) -> String {
    let listen = async {
        loop {
            let message = format!("to {channel}");
            let _: i64 = redis::cmd(command).arg(channel).arg(message).query_async(kv).await.unwrap();
            let mut next = async || loop {
                let push = pushes.recv().await.unwrap();
                if push.kind == *kind {
                    return push;
                }
            };
            if let Ok(push) = tokio::time::timeout(SAID_AGAIN, next()).await {
                return push;
            }
        }
    };
    let push = tokio::time::timeout(PATIENCE, listen).await.unwrap();
    let (said_in, message): (String, String) = redis::from_redis_value(Value::Array(push.data)).unwrap();
    assert_eq!(said_in, channel);
    message
}
