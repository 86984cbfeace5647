//! Wrong bytes, wrong files, wrong starts: each is told, and nothing else is disturbed.

use std::time::Duration;

use simplekv_resp::decode::Frame;
use simplekv_tests::{Cluster, Node, RespConnection, Shape, free_ports, wait};
use simplekv_types::NodeId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client;

const LIMIT: Duration = Duration::from_secs(30);

fn error(frame: &Frame) -> String {
    match frame {
        Frame::Error(text) => String::from_utf8_lossy(text).into_owned(),
        other => panic!("expected an error, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_cannot_be_done_are_refused_and_the_connection_lives_on() {
    let cluster = Cluster::start(&Shape::one_node().with("limits", "value_bytes", 1000)).await.unwrap();
    let mut node = RespConnection::open(&cluster.nodes[0].resp).await.unwrap();
    assert_eq!(node.ask("SET word abc").await.unwrap(), Frame::Status("OK".into()));
    for (line, expected) in [
        ("NOSUCH a b", "ERR unknown command"),
        ("GET", "ERR wrong number of arguments for 'get' command"),
        ("SET a b c d", "ERR syntax error"),
        ("INCR word", "ERR value is not an integer or out of range"),
        ("EXPIRE word soon", "ERR value is not an integer or out of range"),
    ] {
        let said = error(&node.ask(line).await.unwrap());
        assert!(said.starts_with(expected), "{line}: {said}");
    }
    let long = "x".repeat(1001);
    error(&node.ask(&format!("SET word {long}")).await.unwrap());
    let long = "k".repeat(70_000);
    error(&node.ask(&format!("SET {long} v")).await.unwrap());
    assert_eq!(node.ask("GET word").await.unwrap(), Frame::Bulk("abc".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_every_port_disturbs_nobody() {
    let mut cluster = Cluster::start(&Shape::one_node()).await.unwrap();
    let kv = client(&cluster).await;
    let node = cluster.node(NodeId(1));
    let ports = [node.grpc.clone(), node.resp.clone(), node.admin.clone()];
    let garbage: [&[u8]; 5] = [
        b"\0\xff\xfe\x80garbage\r\n\r\n",
        b"*1\r\n$-5\r\n",
        b"*99999999999\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n",
    ];
    let mut halves = Vec::new();
    for port in &ports {
        for bytes in garbage {
            let mut socket = TcpStream::connect(port).await.unwrap();
            socket.write_all(bytes).await.unwrap();
            socket.shutdown().await.unwrap();
            let mut answer = Vec::new();
            // A reset is an answer as well; what counts is that there is an end.
            let _ = tokio::time::timeout(LIMIT, socket.read_to_end(&mut answer)).await.unwrap();
        }
        let mut half = TcpStream::connect(port).await.unwrap();
        half.write_all(b"*2\r\n$3\r\nGET\r\n$10\r\nab").await.unwrap();
        halves.push(half);
    }
    kv.set("k", "1").await.unwrap();
    assert_eq!(kv.get("k").await.unwrap().unwrap(), "1");
    assert!(cluster.node(NodeId(1)).process.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_directory_is_refused() {
    let mut cluster = Cluster::start(&Shape::one_node()).await.unwrap();
    let kv = client(&cluster).await;
    kv.set("k", "1").await.unwrap();
    let disk = cluster.node(NodeId(1)).disk().display().to_string();
    refused(&cluster, 1, disk, &["lock", "use", "another process"]);
    assert_eq!(kv.get("k").await.unwrap().unwrap(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_of_another_node_is_refused() {
    let mut cluster = Cluster::start(&Shape::one_node()).await.unwrap();
    cluster.node(NodeId(1)).stop().unwrap();
    let disk = cluster.node(NodeId(1)).disk().display().to_string();
    refused(&cluster, 2, disk, &["n1", "node 1"]);
    cluster.node(NodeId(1)).process.start().unwrap();
    cluster.healthy().await.unwrap();
}

/// Starts a node on this directory and expects it to end with an error that has one of these words.
#[track_caller]
fn refused(cluster: &Cluster, id: u32, disk: String, words: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let settings = vec![("storage", "dir", disk.into())];
    let mut node = Node::new(dir.path(), NodeId(id), cluster.etcd.endpoints(), &settings).unwrap();
    node.process.start().unwrap();
    let status = node.process.ended(LIMIT).unwrap();
    assert!(!status.success(), "it was accepted");
    let log = node.process.log();
    assert!(words.iter().any(|word| log.contains(word)), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_configuration_key_names_the_nearest_one() {
    let dir = tempfile::tempdir().unwrap();
    let settings = vec![("storage", "flush_intervall_ms", 5.into())];
    let mut node = Node::new(dir.path(), NodeId(1), vec!["127.0.0.1:1".to_owned()], &settings).unwrap();
    node.process.start().unwrap();
    assert_eq!(node.process.ended(LIMIT).unwrap().code(), Some(2));
    let log = node.process.log();
    assert!(log.contains("flush_intervall_ms") && log.contains("flush_interval_ms"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_reach_etcd_says_so_and_waits() {
    let dir = tempfile::tempdir().unwrap();
    let [nobody] = free_ports();
    let endpoint = format!("127.0.0.1:{nobody}");
    let mut node = Node::new(dir.path(), NodeId(1), vec![endpoint.clone()], &Vec::new()).unwrap();
    node.process.start().unwrap();
    let told = async || node.process.log().contains(&endpoint).then_some(());
    wait::until("the missing etcd is named", told).await;
    assert!(node.process.is_running(), "etcd may come up later");
    assert!(!node.process.log().contains("panicked"));
}
