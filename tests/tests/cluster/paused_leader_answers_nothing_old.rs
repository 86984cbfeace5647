//! A leader that slept through its own replacement must notice before it answers.

use std::time::Duration;

use simplekv_resp::decode::Frame;
use simplekv_tests::{Cluster, RespConnection, Shape};
use simplekv_types::GroupId;

use crate::client;

/// Longer than every lease.
const PAUSE: Duration = Duration::from_secs(5);

/// G11: leadership is not a remembered word: a leader that was replaced while it stood still answers nothing old.
#[tokio::test(flavor = "multi_thread")]
async fn no_read_is_older_than_a_write_acknowledged_before_it() {
    let mut cluster = Cluster::start(&Shape::three_nodes()).await.unwrap();
    let kv = client(&cluster).await;
    kv.set("k", "0").await.unwrap();
    let leader = cluster.leader(GroupId(1)).await.unwrap().unwrap();
    let mut to_leader = RespConnection::open(&cluster.node(leader).resp).await.unwrap();
    assert_eq!(to_leader.ask("GET k").await.unwrap(), Frame::Bulk("0".into()));

    cluster.node(leader).process.pause().unwrap();
    let paused = std::time::Instant::now();
    // The successor acknowledges newer values; only then is the sleeper asked.
    let mut acknowledged = 0;
    while paused.elapsed() < PAUSE {
        acknowledged += 1;
        kv.set("k", acknowledged.to_string()).await.unwrap();
    }
    for _ in 0..10 {
        to_leader.push(&[b"GET", b"k"]);
    }
    to_leader.send().await.unwrap();
    cluster.node(leader).process.resume().unwrap();

    for _ in 0..10 {
        match to_leader.receive().await.unwrap() {
            // Refused, or sent to the new leader.
            Some(Frame::Error(_)) | None => (),
            Some(answer) => assert_eq!(answer, Frame::Bulk(acknowledged.to_string().into())),
        }
    }
    cluster.healthy().await.unwrap();
    assert_eq!(kv.get("k").await.unwrap().unwrap(), acknowledged.to_string().as_bytes());
}
