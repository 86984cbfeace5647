//! A key with many elements, and a leader that dies while they are written.

use std::collections::BTreeMap;

use simplekv_resp::decode::Frame;
use simplekv_tests::{Cluster, RespConnection, Shape};
use simplekv_types::{GroupId, Slot};

const FIELDS: usize = 2000;

async fn ask(connection: &mut RespConnection, words: &[&[u8]]) -> Frame {
    connection.push(words);
    connection.send().await.unwrap();
    connection.receive().await.unwrap().expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_survives_its_leader_field_by_field() {
    let mut cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let router = cluster.router().await.unwrap();
    let mut connection = RespConnection::open(&router.resp).await.unwrap();
    let mut written = BTreeMap::new();
    for number in 0..FIELDS {
        // Half of them are written by the leader that is killed in between.
        if number == FIELDS / 2 {
            let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
            cluster.node(leader).process.kill().unwrap();
        }
        let (field, value) = (format!("f{}", number % 700), number.to_string());
        let reply = ask(&mut connection, &[b"HSET", b"h", field.as_bytes(), value.as_bytes()]).await;
        assert_eq!(reply, Frame::Int(i64::from(number < 700)), "{field} is new once");
        written.insert(field, value);
    }
    assert_eq!(ask(&mut connection, &[b"HDEL", b"h", b"f0", b"f699"]).await, Frame::Int(2));
    written.remove("f0");
    written.remove("f699");
    let Frame::Array(all) = ask(&mut connection, &[b"HGETALL", b"h"]).await else { panic!("no array") };
    let text = |frame: &Frame| String::from_utf8_lossy(frame.as_bytes().unwrap()).into_owned();
    let found: BTreeMap<String, String> = all.chunks(2).map(|pair| (text(&pair[0]), text(&pair[1]))).collect();
    assert_eq!(found, written, "slot {}", Slot::of_key(b"h"));
}
