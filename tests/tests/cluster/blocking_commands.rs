//! Who waits for an element gets one, and nobody gets one twice.

use std::collections::BTreeSet;

use simplekv_resp::decode::Frame;
use simplekv_tests::{Cluster, RespConnection, Shape, wait};
use simplekv_types::GroupId;

async fn ask(connection: &mut RespConnection, line: &str) -> Frame {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    connection.push(&words);
    connection.send().await.unwrap();
    connection.receive().await.unwrap().unwrap_or_else(|| panic!("no answer to {line}"))
}

fn texts(frame: &Frame) -> Vec<String> {
    match frame {
        Frame::Array(parts) => parts.iter().flat_map(texts).collect(),
        frame => vec![String::from_utf8_lossy(frame.as_bytes().unwrap_or_else(|| panic!("{frame:?}"))).into_owned()],
    }
}

/// Waits on a connection of its own.
fn waiter(address: &str, line: &'static str) -> tokio::task::JoinHandle<Vec<String>> {
    let address = address.to_owned();
    tokio::spawn(async move {
        let mut connection = RespConnection::open(&address).await.unwrap();
        texts(&ask(&mut connection, line).await)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn elements_find_those_who_wait_for_them() {
    let cluster = Cluster::start(&Shape::six_nodes()).await.unwrap();
    let router = cluster.router().await.unwrap();
    let mut connection = RespConnection::open(&router.resp).await.unwrap();

    // Keys of several groups at once, which a client of one server takes for granted.
    let lists = waiter(&router.resp, "BLPOP jobs:1 jobs:2 jobs:3 jobs:4 30");
    assert_eq!(ask(&mut connection, "RPUSH jobs:3 first").await, Frame::Int(1));
    assert_eq!(lists.await.unwrap(), ["jobs:3", "first"]);
    let scores = waiter(&router.resp, "BZPOPMAX scores 30");
    assert_eq!(ask(&mut connection, "ZADD scores 1 low 2 high").await, Frame::Int(2));
    assert_eq!(scores.await.unwrap(), ["scores", "high", "2"]);
    let moved = waiter(&router.resp, "BLMOVE {q}from {q}to LEFT RIGHT 30");
    assert_eq!(ask(&mut connection, "RPUSH {q}from a").await, Frame::Int(1));
    assert_eq!(moved.await.unwrap(), ["a"]);
    assert_eq!(texts(&ask(&mut connection, "LRANGE {q}to 0 -1").await), ["a"]);
    let many = waiter(&router.resp, "BLMPOP 30 1 batch LEFT COUNT 2");
    assert_eq!(ask(&mut connection, "RPUSH batch a b c").await, Frame::Int(3));
    assert_eq!(many.await.unwrap(), ["batch", "a", "b"]);

    assert_eq!(ask(&mut connection, "BRPOP nothing 0.05").await, Frame::Null, "the time is up");
    assert_eq!(texts(&ask(&mut connection, "SET text v").await), ["OK"]);
    assert!(texts(&ask(&mut connection, "BLPOP text 30").await)[0].starts_with("WRONGTYPE"));
    for line in ["MULTI", "BLPOP nothing 0", "EXEC"] {
        let answer = ask(&mut connection, line).await;
        assert!(line != "EXEC" || answer == Frame::Array(vec![Frame::Null]), "nobody waits in a transaction");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_waiter_gets_one_element_though_the_leader_dies() {
    const WAITERS: usize = 24;
    let mut cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let router = cluster.router().await.unwrap();
    let mut waiters: Vec<_> = (0..WAITERS).map(|_| waiter(&router.resp, "BLPOP jobs 0")).collect();
    let mut connection = RespConnection::open(&router.resp).await.unwrap();
    for job in 0..WAITERS / 2 {
        ask(&mut connection, &format!("RPUSH jobs {job}")).await;
    }
    let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    cluster.node(leader).process.kill().unwrap();
    for job in WAITERS / 2..WAITERS {
        ask(&mut connection, &format!("RPUSH jobs {job}")).await;
    }
    let mut done = BTreeSet::new();
    for waiter in waiters.drain(..) {
        let got = waiter.await.unwrap();
        assert!(got[0] == "jobs" && done.insert(got[1].clone()), "{got:?} was done before");
    }
    assert_eq!(done.len(), WAITERS);
    assert_eq!(ask(&mut connection, "EXISTS jobs").await, Frame::Int(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_went_away_takes_nothing() {
    let cluster = Cluster::start(&Shape::one_node()).await.unwrap();
    let router = cluster.router().await.unwrap();
    let mut connection = RespConnection::open(&router.resp).await.unwrap();
    let mut gone = RespConnection::open(&router.resp).await.unwrap();
    gone.push(&[b"BLPOP", b"jobs", b"0"]);
    gone.push(&[b"GET", b"what it will not see"]);
    gone.send().await.unwrap();
    drop(gone);
    wait::until("the connection is closed", async || {
        let listed = texts(&ask(&mut connection, "CLIENT LIST").await);
        (listed[0].lines().count() == 1).then_some(())
    })
    .await;
    ask(&mut connection, "RPUSH jobs a").await;
    assert_eq!(texts(&ask(&mut connection, "BLPOP jobs 30").await), ["jobs", "a"]);
}

/// Where an element is moved to is no place to wait for one: whoever did would be woken in the place of somebody who waits there.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_moved_to_has_other_waiters() {
    let mut cluster = Cluster::start(&Shape::one_node()).await.unwrap();
    let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    let node = cluster.node(leader).resp.clone();
    let router = cluster.router().await.unwrap();
    for address in [&node, &router.resp] {
        let mut connection = RespConnection::open(address).await.unwrap();
        let mover = waiter(address, "BLMOVE {q}from {q}to LEFT LEFT 30");
        let popper = waiter(address, "BLPOP {q}to 30");
        ask(&mut connection, "RPUSH {q}to a").await;
        assert_eq!(popper.await.unwrap(), ["{q}to", "a"], "{address}");
        ask(&mut connection, "RPUSH {q}from b").await;
        assert_eq!(mover.await.unwrap(), ["b"], "{address}");
        ask(&mut connection, "DEL {q}to").await;

        // What stands before and behind one that waits is answered in its order.
        connection.push(&[b"SET", b"a", b"1"]);
        connection.push(&[b"BLPOP", b"nothing", b"0.05"]);
        connection.push(&[b"QUIT"]);
        let replies = connection.exchange(3).await.unwrap();
        assert_eq!(replies, [Frame::Status("OK".into()), Frame::Null, Frame::Status("OK".into())], "{address}");
    }
}
