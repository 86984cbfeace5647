//! What a node says of a write is true: OK means done for good, a refusal means never, and what it cannot know it does not promise.

use std::time::{Duration, Instant};

use simplekv_client::{Client, Error};
use simplekv_resp::decode::Frame;
use simplekv_tests::{Cluster, RespConnection, Shape, wait};
use simplekv_types::{GroupId, NodeId};

use crate::{client, http};

/// How long a node lets a request wait for its commit here.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(1500);

fn followers(leader: NodeId) -> impl Iterator<Item = NodeId> {
    [1, 2, 3].map(NodeId).into_iter().filter(move |node| *node != leader)
}

fn error(frame: &Frame) -> String {
    match frame {
        Frame::Error(text) => String::from_utf8_lossy(text).into_owned(),
        other => panic!("expected an error, got {other:?}"),
    }
}

/// G4: a write whose commit does not come in time is answered as uncertain, to a Redis client and to a Rust client, never as done.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_not_committed_in_time_is_uncertain() {
    let limit = i64::try_from(REQUEST_TIMEOUT.as_millis()).unwrap();
    let shape = Shape::three_nodes().with("limits", "request_timeout_ms", limit);
    let mut cluster = Cluster::start(&shape).await.unwrap();
    let kv = client(&cluster).await;
    kv.mset([("a", "old"), ("b", "old")]).await.unwrap();
    let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    let mut to_leader = RespConnection::open(&cluster.node(leader).resp).await.unwrap();
    for follower in followers(leader) {
        cluster.node(follower).process.pause().unwrap();
    }

    // Both at once, before the leader knows that it is alone.
    let sent = Instant::now();
    let by_rust = kv.set("b", "new").timeout(REQUEST_TIMEOUT * 2);
    let (by_redis, by_rust) = tokio::join!(to_leader.ask("SET a new"), by_rust.into_future());
    assert!(sent.elapsed() < REQUEST_TIMEOUT * 4, "{:?}", sent.elapsed());
    let said = error(&by_redis.unwrap());
    assert!(said.starts_with("UNCERTAIN "), "{said}");
    let doubt = by_rust.unwrap_err();
    assert!(matches!(doubt, Error::OutcomeUnknown { id: Some(_), .. }) && doubt.may_have_applied(), "{doubt}");

    // Done or not: no third thing has become of them, and the group goes on.
    for follower in followers(leader) {
        cluster.node(follower).process.resume().unwrap();
    }
    cluster.healthy().await.unwrap();
    for key in ["a", "b"] {
        let value = kv.get(key).await.unwrap().unwrap();
        assert!(value == "old" || value == "new", "{key} is {value:?}");
    }
    kv.set("a", "newer").await.unwrap();
}

/// G5: a write refused because too few replicas keep up was not done: whoever leads afterwards, it does not appear.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_write_never_appears() {
    let mut cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let kv = client(&cluster).await;
    kv.set("k", "1").await.unwrap();
    let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    let mut to_leader = RespConnection::open(&cluster.node(leader).resp).await.unwrap();
    for follower in followers(leader) {
        cluster.node(follower).process.pause().unwrap();
    }
    let admin = cluster.node(leader).admin.clone();
    let alone = async || http(&admin, "/metrics").await.1.contains(ALONE).then_some(());
    wait::until("nobody supports the leader any more", alone).await;
    for number in 0..REFUSED {
        let said = error(&to_leader.ask(&format!("SET refused{number} 1")).await.unwrap());
        assert!(said.starts_with("NOREPLICAS "), "{said}");
    }

    // First another leads, then the one again that refused.
    cluster.node(leader).process.kill().unwrap();
    for follower in followers(leader) {
        cluster.node(follower).process.resume().unwrap();
    }
    assert_only_k_is_there(&kv).await;
    cluster.node(leader).process.start().unwrap();
    cluster.healthy().await.unwrap();
    cluster.admin().unwrap().run(&format!("transfer-leader g1 --to {leader}")).await.unwrap();
    assert_only_k_is_there(&kv).await;
}

/// What a leader without a lease counts.
const ALONE: &str = "\nsimplekv_leader_lease_milliseconds{group=\"g1\"} 0\n";
const REFUSED: u32 = 10;

async fn assert_only_k_is_there(kv: &Client) {
    assert_eq!(kv.get("k").await.unwrap().unwrap(), "1");
    let values = kv.mget((0..REFUSED).map(|number| format!("refused{number}"))).await.unwrap();
    assert!(values.iter().all(Option::is_none), "{values:?}");
}

/// C47: the retry of a SET does not overwrite what another client wrote since, neither at the leader nor at the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_retry_of_a_set_does_not_undo_a_later_one() {
    let mut cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let (first, second) = (client(&cluster).await, client(&cluster).await);
    first.set("x", "0").await.unwrap();
    let id = first.request_id("x").unwrap();
    first.set("x", "1").request_id(id).await.unwrap();
    second.set("x", "2").await.unwrap();
    // As a client does that heard no answer.
    first.set("x", "1").request_id(id).await.unwrap();
    assert_eq!(second.get("x").await.unwrap().unwrap(), "2");

    let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    cluster.node(leader).process.kill().unwrap();
    first.set("x", "1").request_id(id).await.unwrap();
    assert_eq!(second.get("x").await.unwrap().unwrap(), "2");
}

/// A refusal is known at once: it does not wait for the commit of what others wrote before.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_write_is_told_at_once_although_an_earlier_one_still_waits() {
    let mut cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    let mut first = RespConnection::open(&cluster.node(leader).resp).await.unwrap();
    let mut second = RespConnection::open(&cluster.node(leader).resp).await.unwrap();
    for follower in followers(leader) {
        cluster.node(follower).process.pause().unwrap();
    }
    first.push(&[b"SET", b"waits", b"1"]);
    first.send().await.unwrap();
    let admin = cluster.node(leader).admin.clone();
    let alone = async || http(&admin, "/metrics").await.1.contains(ALONE).then_some(());
    wait::until("nobody supports the leader any more", alone).await;
    let sent = Instant::now();
    let said = error(&second.ask("SET refused 1").await.unwrap());
    assert!(said.starts_with("NOREPLICAS "), "{said}");
    assert!(sent.elapsed() < Duration::from_secs(1), "{:?}", sent.elapsed());
}
