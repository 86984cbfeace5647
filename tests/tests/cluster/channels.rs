//! What is said in a channel is heard by all who listen, wherever they do.

use simplekv_client::{Client, Naming};
use simplekv_resp::decode::Frame;
use simplekv_tests::{Cluster, RespConnection, Shape, wait};
use simplekv_types::{GroupId, Slot};

async fn ask(connection: &mut RespConnection, line: &str) -> Frame {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    connection.push(&words);
    connection.send().await.unwrap();
    next(connection).await
}

async fn next(connection: &mut RespConnection) -> Frame {
    connection.receive().await.unwrap().expect("the connection is open")
}

fn texts(frame: &Frame) -> Vec<String> {
    let Frame::Array(parts) = frame else { panic!("{frame:?}") };
    let text = |part: &Frame| match part {
        Frame::Int(number) => number.to_string(),
        part => String::from_utf8_lossy(part.as_bytes().unwrap_or(&bytes::Bytes::new())).into_owned(),
    };
    parts.iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_of_the_whole_cluster_is_heard_at_every_door() {
    let mut cluster = Cluster::start(&Shape::six_nodes()).await.unwrap();
    let router = cluster.router().await.unwrap();
    let first = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    let second = cluster.leader(GroupId(2)).await.unwrap().unwrap();
    let doors = [router.resp.clone(), cluster.node(first).resp.clone(), cluster.node(second).resp.clone()];
    let mut listeners = Vec::new();
    for door in &doors {
        let mut listener = RespConnection::open(door).await.unwrap();
        assert_eq!(texts(&ask(&mut listener, "SUBSCRIBE news").await), ["subscribe", "news", "1"], "{door}");
        assert_eq!(texts(&ask(&mut listener, "PSUBSCRIBE n?ws").await), ["psubscribe", "n?ws", "2"], "{door}");
        listeners.push(listener);
    }
    let client = Client::builder().seed(&cluster.seeds()[0]).build().await.unwrap();
    let mut subscription = client.subscribe(Naming::Channel, "news");
    subscription.ready().await;
    for (number, door) in doors.iter().enumerate() {
        let mut speaker = RespConnection::open(door).await.unwrap();
        let said = format!("from {number}");
        speaker.push(&[b"PUBLISH", b"news", said.as_bytes()]);
        speaker.send().await.unwrap();
        assert!(matches!(next(&mut speaker).await, Frame::Int(heard) if heard >= 1), "somebody heard it at that node");
        for listener in &mut listeners {
            let mut heard = [texts(&next(listener).await), texts(&next(listener).await)];
            heard.sort();
            assert_eq!(heard[0], ["message", "news", &said]);
            assert_eq!(heard[1], ["pmessage", "n?ws", "news", &said]);
        }
        let message = subscription.next().await.unwrap();
        assert_eq!((&*message.channel, &*message.message), (&b"news"[..], said.as_bytes()));
    }
    let listener = &mut listeners[0];
    let refused = ask(listener, "GET news").await;
    assert!(String::from_utf8_lossy(refused.as_bytes().unwrap()).contains("only (P|S)SUBSCRIBE"), "{refused:?}");
    assert_eq!(texts(&ask(listener, "PING").await), ["pong", ""]);
    assert_eq!(texts(&ask(listener, "UNSUBSCRIBE").await), ["unsubscribe", "news", "1"]);
    assert_eq!(texts(&ask(listener, "PUNSUBSCRIBE n?ws").await), ["punsubscribe", "n?ws", "0"]);
    assert_eq!(ask(listener, "GET nothing").await, Frame::Null, "it is a connection like any other again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sharded_channel_moves_with_its_leader() {
    let mut cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let router = cluster.router().await.unwrap();
    let mut listener = RespConnection::open(&router.resp).await.unwrap();
    assert_eq!(texts(&ask(&mut listener, "SSUBSCRIBE shard").await), ["ssubscribe", "shard", "1"]);
    let mut speaker = RespConnection::open(&router.resp).await.unwrap();
    assert_eq!(ask(&mut speaker, "SPUBLISH shard one").await, Frame::Int(1));
    assert_eq!(texts(&next(&mut listener).await), ["smessage", "shard", "one"]);

    let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    let node = cluster.node(leader).resp.clone();
    let mut direct = RespConnection::open(&node).await.unwrap();
    assert_eq!(texts(&ask(&mut direct, "SSUBSCRIBE shard").await), ["ssubscribe", "shard", "1"]);
    let heir = [1, 2, 3].map(simplekv_types::NodeId).into_iter().find(|node| *node != leader).unwrap();
    cluster.admin().unwrap().run(&format!("transfer-leader g1 --to {heir}")).await.unwrap();
    assert_eq!(texts(&next(&mut direct).await), ["sunsubscribe", "shard", "0"], "it has to go to the new leader");
    let moved = ask(&mut direct, "SPUBLISH shard lost").await;
    let moved = String::from_utf8_lossy(moved.as_bytes().unwrap()).into_owned();
    assert!(moved.starts_with(&format!("MOVED {}", Slot::of_key(b"shard"))), "{moved}");
    // The router's subscription follows by itself; what is said before it does is lost, which is what is promised.
    wait::until("the subscription has moved", async || {
        (ask(&mut speaker, "SPUBLISH shard two").await == Frame::Int(1)).then_some(())
    })
    .await;
    assert_eq!(texts(&next(&mut listener).await), ["smessage", "shard", "two"]);
}
