//! Connections of the Redis protocol at a node: listed, ended, unblocked and put off by each other; what of theirs took long; and how
//! far what they wrote has spread.

#![expect(clippy::unwrap_used, reason = "a test panics to fail")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use simplekv_meta::{Cas, EmbeddedOptions, EmbeddedStore, Keys, MetaStore, Records};
use simplekv_resp::decode::{Decoder, Frame};
use simplekv_server::Node;
use simplekv_server::config::Config;
use simplekv_types::{
    ClusterId, ClusterRecord, Epoch, FlushPolicy, GroupId, GroupRecord, Lineage, NodeId, RecoveryPolicy, SlotMap,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than anything takes, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Long enough that a leader on a busy machine stays one.
const LEASE_MS: u64 = 3000;

/// Nodes that hold one group, in this process.
struct Cluster {
    nodes: Vec<Node>,
    _dir: tempfile::TempDir,
}

impl Cluster {
    async fn start(count: u32, flush: FlushPolicy) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(&dir.path().join("metadata.json"), EmbeddedOptions::default()).unwrap();
        let store: Arc<dyn MetaStore> = Arc::new(store);
        let ids: Vec<NodeId> = (1..=count).map(NodeId).collect();
        let group = GroupRecord {
            epoch: Epoch::ZERO,
            leader: None,
            in_sync: Vec::new(),
            fence: Vec::new(),
            lease_ms: LEASE_MS,
            fence_ms: LEASE_MS,
            replicas: ids.clone(),
            min_in_sync: 1,
            lineage: Lineage(0),
            recovering: false,
            recovery: RecoveryPolicy::default(),
        };
        let cluster = ClusterRecord { cluster: ClusterId(7), format: ClusterRecord::FORMAT };
        let records = Records::new(Arc::clone(&store), Keys::new(Keys::DEFAULT_PREFIX).unwrap());
        let made = records.init(&cluster, &[(GroupId(1), group)], &SlotMap::spread(&[GroupId(1)])).await.unwrap();
        assert!(matches!(made, Cas::Done { .. }));
        let mut nodes = Vec::new();
        for id in ids {
            nodes.push(Node::start(config(id, flush, dir.path()), Arc::clone(&store)).await.unwrap());
        }
        Self { nodes, _dir: dir }
    }

    /// A connection to the node that leads, once one does.
    async fn connect(&self) -> Redis {
        let connected = async {
            loop {
                for node in &self.nodes {
                    let mut redis = Redis::connect(&node.addresses().resp).await;
                    if redis.ask("SET probe 1").await == "+OK" {
                        return redis;
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, connected).await.expect("a node leads")
    }

    async fn stop(self) {
        for node in self.nodes {
            node.stop().await;
        }
    }
}

fn config(node: NodeId, flush: FlushPolicy, dir: &Path) -> Config {
    let any = |key: &str| (key.to_owned(), "127.0.0.1:0".to_owned());
    let flags = ["listen.grpc", "listen.resp", "listen.admin"].map(any);
    let config = Config::load(None, [], &flags).unwrap();
    Config { node, flush, data_dir: dir.join(node.to_string()), ..config }
}

struct Redis {
    stream: TcpStream,
    input: BytesMut,
    decoder: Decoder,
}

impl Redis {
    async fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, input: BytesMut::new(), decoder: Decoder::new() }
    }

    /// Another connection to the same node.
    async fn beside(&self) -> Self {
        Self::connect(&self.stream.peer_addr().unwrap().to_string()).await
    }

    async fn send(&mut self, lines: &[&str]) {
        let mut out = BytesMut::new();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            simplekv_resp::encode::request(&words, &mut out);
        }
        self.stream.write_all(&out).await.unwrap();
    }

    /// The next reply on one line; `closed` when the node has closed the connection.
    async fn next(&mut self) -> String {
        let read = async {
            loop {
                if let Some(frame) = self.decoder.next(&mut self.input).unwrap() {
                    return show(&frame);
                }
                match self.stream.read_buf(&mut self.input).await {
                    Ok(0) | Err(_) => return "closed".to_owned(),
                    Ok(_) => (),
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("a reply")
    }

    async fn ask(&mut self, line: &str) -> String {
        self.send(&[line]).await;
        self.next().await
    }

    /// Asks until the answer is as wanted.
    async fn until(&mut self, line: &str, is_wanted: impl Fn(&str) -> bool) {
        let asked = async { while !is_wanted(&self.ask(line).await) {} };
        tokio::time::timeout(PATIENCE, asked).await.expect("it never was");
    }
}

fn show(frame: &Frame) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match frame {
        Frame::Status(line) => format!("+{}", text(line)),
        Frame::Error(line) => format!("-{}", text(line)),
        Frame::Int(number) => number.to_string(),
        Frame::Null => "(nil)".to_owned(),
        Frame::Array(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" ")),
        other => text(other.as_bytes().map_or(&[], |bytes| bytes)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_end_unblock_and_put_off_each_other() {
    let cluster = Cluster::start(1, FlushPolicy::Always).await;
    let mut one = cluster.connect().await;
    let mut other = one.beside().await;
    let id = other.ask("CLIENT ID").await;
    let listed = one.ask(&format!("CLIENT LIST ID {id}")).await;
    assert!(listed.contains(" flags=N ") && listed.contains(" cmd=client|id "), "{listed}");

    for (how, told) in [("", "(nil)"), (" ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK")] {
        other.send(&["BLPOP list 0", "PING"]).await;
        one.until(&format!("CLIENT LIST ID {id}"), |line| line.contains(" flags=b ")).await;
        assert_eq!(one.ask(&format!("CLIENT UNBLOCK {id}{how}")).await, "1");
        assert_eq!([other.next().await, other.next().await], [told, "+PONG"]);
        assert_eq!(one.ask(&format!("CLIENT UNBLOCK {id}")).await, "0", "it does not wait any more");
    }

    assert_eq!(one.ask("CLIENT PAUSE 600000 WRITE").await, "+OK");
    other.send(&["SET key value"]).await;
    assert_eq!(one.ask("GET key").await, "(nil)", "reads go on");
    assert_eq!(one.ask("CLIENT UNPAUSE").await, "+OK");
    assert_eq!(other.next().await, "+OK");

    assert_eq!(one.ask(&format!("CLIENT KILL ID {id}")).await, "1");
    assert_eq!(other.next().await, "closed");
    one.until("CLIENT LIST", |list| !list.contains(&format!("id={id} "))).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_took_long_is_remembered() {
    let cluster = Cluster::start(1, FlushPolicy::Always).await;
    let mut redis = cluster.connect().await;
    assert_eq!(redis.ask("CONFIG GET slowlog-log-slower-than").await, "[slowlog-log-slower-than 10000]");
    assert_eq!(redis.ask("CONFIG SET slowlog-log-slower-than -1").await, "+OK");
    for line in ["SET a 1", "SLOWLOG RESET", "CONFIG SET slowlog-log-slower-than 0", "AUTH secret too many"] {
        redis.ask(line).await;
    }
    assert_eq!(redis.ask("SLOWLOG LEN").await, "0", "what is not understood is not kept");
    redis.send(&["GET a", "SET a 2", "GET a"]).await;
    assert_eq!([redis.next().await, redis.next().await, redis.next().await], ["1", "+OK", "2"]);
    for line in ["MULTI", "INCR a", "EXEC"] {
        redis.ask(line).await;
    }
    let entries = redis.ask("SLOWLOG GET").await;
    for words in ["[GET a]", "[SET a 2]", "[ATOMIC 0 3 INCRBY a 1]"] {
        assert!(entries.contains(words), "{words} in {entries}");
    }
    assert_eq!(redis.ask("SLOWLOG LEN").await, "4");
    assert_eq!(redis.ask("SLOWLOG RESET").await, "+OK");
    assert_eq!(redis.ask("SLOWLOG LEN").await, "0");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_waited_for() {
    let cluster = Cluster::start(2, FlushPolicy::Always).await;
    let mut redis = cluster.connect().await;
    assert_eq!(redis.ask("WAIT 1 0").await, "1", "however long it takes");
    assert_eq!(redis.ask("WAITAOF 1 1 0").await, "[1 1]", "a follower acknowledges what it has on disk");
    assert_eq!(redis.ask("WAIT 2 20").await, "1", "there is no other: the time is up");
    let mut silent = redis.beside().await;
    assert_eq!(silent.ask("WAIT 1 0").await, "1", "whoever has written nothing asks who is there");
    for line in ["MULTI", "WAIT 0 0"] {
        silent.ask(line).await;
    }
    assert!(silent.ask("WAITAOF 1 0 0").await.starts_with("-ERR "), "nothing of it is written yet");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_followers_do_not_tell_is_not_waited_for() {
    let cluster = Cluster::start(1, FlushPolicy::Os).await;
    let mut redis = cluster.connect().await;
    let refused = redis.ask("WAITAOF 0 1 0").await;
    assert!(refused.starts_with("-ERR WAITAOF cannot be used with followers here"), "{refused}");
    cluster.stop().await;
}
