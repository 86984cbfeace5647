//! Wrong bytes, wrong files, wrong starts: each is told, and nothing else is disturbed.

use std::time::Duration;

use simplekv_resp::decode::Frame;
use simplekv_tests::{Admin, Cluster, Node, Process, RespConnection, Shape, program, wait};
use simplekv_types::NodeId;
use tokio::io::AsyncReadExt;
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
    let said = error(&node.ask(&format!("SET word {long}")).await.unwrap());
    assert_eq!(said, "ERR value of 1001 bytes exceeds the limit of 1000");
    let long = "k".repeat(70_000);
    let said = error(&node.ask(&format!("SET {long} v")).await.unwrap());
    assert_eq!(said, "ERR key of 70000 bytes exceeds the limit of 65535");
    assert_eq!(node.ask("GET word").await.unwrap(), Frame::Bulk("abc".into()));
}

/// Half a request is waited for, but not for ever. A connection that is silent between two requests stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_arrive_whole_is_given_up() {
    const PATIENCE: Duration = Duration::from_millis(400);
    let limit = i64::try_from(PATIENCE.as_millis()).unwrap();
    let shape = Shape::one_node().with("limits", "partial_request_timeout_ms", limit);
    let cluster = Cluster::start(&shape).await.unwrap();
    let address = &cluster.nodes[0].resp;
    let mut silent = RespConnection::open(address).await.unwrap();
    assert_eq!(silent.ask("SET k 1").await.unwrap(), Frame::Status("OK".into()));
    let mut half = RespConnection::open(address).await.unwrap();
    assert_eq!(half.ask("GET k").await.unwrap(), Frame::Bulk("1".into()));
    let sent = std::time::Instant::now();
    half.send_raw(b"*2\r\n$3\r\nGET\r\n$10\r\nab").await.unwrap();
    let mut end = TcpStream::connect(address).await.unwrap();
    // Without a word, or with one: what counts is the end.
    while let Ok(Some(_)) = half.receive().await {}
    let took = sent.elapsed();
    assert!(took >= PATIENCE && took < PATIENCE * 20, "it was closed after {took:?}");
    assert_eq!(silent.ask("GET k").await.unwrap(), Frame::Bulk("1".into()), "silent for {took:?}");
    // Nor is one closed that has never said anything.
    let read = tokio::time::timeout(Duration::from_millis(50), end.read_u8()).await;
    assert!(read.is_err(), "{read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_directory_is_refused() {
    let mut cluster = Cluster::start(&Shape::one_node()).await.unwrap();
    let kv = client(&cluster).await;
    kv.set("k", "1").await.unwrap();
    let disk = cluster.node(NodeId(1)).disk().display().to_string();
    let reason = format!("{disk} is in use by another process: a data directory belongs to one node");
    refused(&cluster, 1, &[("storage", "dir", disk.into())], &reason);
    assert_eq!(kv.get("k").await.unwrap().unwrap(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_of_another_node_is_refused() {
    let mut cluster = Cluster::start(&Shape::one_node()).await.unwrap();
    let kv = client(&cluster).await;
    kv.set("k", "1").await.unwrap();
    cluster.node(NodeId(1)).stop().unwrap();
    let disk = cluster.node(NodeId(1)).disk().display().to_string();
    let reason = format!("{disk} belongs to node n1, this is node n2: check `node.id` and `storage.dir`");
    refused(&cluster, 2, &[("storage", "dir", disk.into())], &reason);
    cluster.node(NodeId(1)).process.start().unwrap();
    cluster.healthy().await.unwrap();
    assert_eq!(kv.get("k").await.unwrap().unwrap(), "1");
}

/// Two clusters share an etcd under two prefixes; a node of one is pointed at the other.
#[tokio::test(flavor = "multi_thread")]
async fn the_directory_of_another_cluster_is_refused() {
    const PREFIX: (&str, &str, &str) = ("etcd", "prefix", "/other");
    let mut cluster = Cluster::start(&Shape::one_node()).await.unwrap();
    let kv = client(&cluster).await;
    kv.set("k", "1").await.unwrap();
    let ours = cluster_id(&cluster.admin().unwrap()).await.unwrap();
    cluster.node(NodeId(1)).stop().unwrap();
    let disk = cluster.node(NodeId(1)).disk().display().to_string();

    let dir = tempfile::tempdir().unwrap();
    let prefix = (PREFIX.0, PREFIX.1, toml::Value::from(PREFIX.2));
    let mut other = Node::new(dir.path(), NodeId(1), cluster.etcd.endpoints(), &vec![prefix.clone()]).unwrap();
    other.process.start().unwrap();
    let admin = Admin::at(&other.admin).unwrap();
    let created = async || admin.run("init --if-needed --group g1=n1").await.ok();
    wait::until("the other cluster is created", created).await;
    let theirs = wait::until("it knows itself", async || cluster_id(&admin).await).await;
    other.stop().unwrap();

    let reason = format!(
        "{disk} belongs to cluster {ours}, the metadata store holds cluster {theirs}: check `storage.dir` and `etcd`"
    );
    refused(&cluster, 1, &[prefix, ("storage", "dir", disk.into())], &reason);
    cluster.node(NodeId(1)).process.start().unwrap();
    cluster.healthy().await.unwrap();
    assert_eq!(kv.get("k").await.unwrap().unwrap(), "1");
}

async fn cluster_id(admin: &Admin) -> Option<String> {
    admin.json("status").await.ok()?["cluster"].as_str().map(str::to_owned)
}

/// Starts a node with these settings and expects it to end with this reason.
#[track_caller]
fn refused(cluster: &Cluster, id: u32, settings: &[(&'static str, &'static str, toml::Value)], reason: &str) {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(dir.path(), NodeId(id), cluster.etcd.endpoints(), &settings.to_vec()).unwrap();
    node.process.start().unwrap();
    let status = node.process.ended(LIMIT).unwrap();
    let log = node.process.log();
    assert!(!status.success(), "it was accepted");
    let last_word = log.lines().last().unwrap_or_default();
    assert!(last_word.starts_with("simplekv-server: ") && last_word.contains(reason), "expected `{reason}` in:\n{log}");
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

#[test]
fn an_unknown_configuration_key_of_a_router_is_refused_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("router.toml");
    std::fs::write(&file, "[cluster]\nseed = [\"127.0.0.1:1\"]\n").unwrap();
    let args = ["--config".into(), file];
    let mut router = Process::new("router", program("simplekv-router").unwrap(), args, &dir.path().join("log"));
    router.start().unwrap();
    assert_eq!(router.ended(LIMIT).unwrap().code(), Some(2));
    let log = router.log();
    assert!(log.contains("cluster.seed") && log.contains("`cluster.seeds`"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_reach_etcd_says_so_waits_and_serves_when_it_does() {
    let mut cluster = Cluster::start(&Shape::one_node()).await.unwrap();
    let kv = client(&cluster).await;
    kv.set("k", "1").await.unwrap();
    cluster.node(NodeId(1)).stop().unwrap();
    cluster.etcd.kill_all();
    let [endpoint] = &cluster.etcd.endpoints()[..] else { panic!("there is one etcd") };
    let endpoint = endpoint.clone();
    let node = cluster.node(NodeId(1));
    let said_before = node.process.log().len();
    node.process.start().unwrap();
    let told = async || {
        let log = node.process.log().split_off(said_before);
        (log.contains("the metadata store cannot be reached, trying on") && log.contains(&endpoint)).then_some(())
    };
    wait::until("the missing etcd is named", told).await;
    assert!(node.process.is_running(), "etcd may come up later");
    assert!(!node.process.log().contains("panicked"));

    cluster.etcd.restart_all().await.unwrap();
    cluster.healthy().await.unwrap();
    assert_eq!(kv.get("k").await.unwrap().unwrap(), "1");
}
