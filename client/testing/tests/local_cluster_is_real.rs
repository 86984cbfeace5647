//! The cluster in the test's own process: reached as any other, and gone without a trace.
#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected should fail there")]

use std::io::{Read, Write};
use std::net::TcpStream;

use simplekv_testing::LocalCluster;

/// Also where one thread runs both the test and its end.
#[tokio::test]
async fn it_is_reached_through_every_door_and_leaves_nothing_behind() {
    let cluster = LocalCluster::start().await.unwrap();
    let kv = cluster.client().await.unwrap();
    kv.mset((0..100).map(|i| (format!("user:{i}"), i.to_string()))).await.unwrap();
    assert_eq!(kv.topology().borrow().groups().len(), 2);
    let (redis, dir) = (cluster.redis_address(), cluster.dir().to_owned());
    let asked = tokio::task::spawn_blocking(move || ask(redis)).await.unwrap();
    assert_eq!(asked, b"$2\r\n42\r\n");
    assert!(dir.exists());

    drop(cluster);
    assert!(!dir.exists());
    assert!(TcpStream::connect(redis).is_err());
}

fn ask(redis: std::net::SocketAddr) -> Vec<u8> {
    let mut stream = TcpStream::connect(redis).unwrap();
    stream.write_all(b"GET user:42\r\n").unwrap();
    let mut answer = vec![0; 8];
    stream.read_exact(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_them_know_nothing_of_each_other() {
    let (one, other) = tokio::join!(LocalCluster::start(), LocalCluster::start());
    let (one, other) = (one.unwrap(), other.unwrap());
    let (here, there) = (one.client().await.unwrap(), other.client().await.unwrap());
    here.set("k", "here").await.unwrap();
    there.set("k", "there").await.unwrap();
    assert_eq!(here.get("k").await.unwrap().unwrap(), "here");
    drop(one);
    assert_eq!(there.get("k").await.unwrap().unwrap(), "there");
}
