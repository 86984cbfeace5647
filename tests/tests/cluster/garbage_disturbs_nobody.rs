//! Bytes that are no request, on every port of every program: whoever sends them is hung up on, and nobody else notices.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use simplekv_client::Client;
use simplekv_resp::decode::Frame;
use simplekv_tests::{Cluster, RespConnection, Shape};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{client, http};

const LIMIT: Duration = Duration::from_secs(30);
/// Random messages to each port.
const MESSAGES: usize = 40;
const LONGEST: usize = 4000;
/// Repeats a run: the number a failed one has printed.
const SEED: &str = "SIMPLEKV_TEST_SEED";

/// What looks like something at first.
const ALMOST: [&[u8]; 8] = [
    b"\0\xff\xfe\x80garbage\r\n\r\n",
    b"*1\r\n$-5\r\n",
    b"*99999999999\r\n",
    b"*2\r\n$3\r\nGET\r\n$99999999999\r\n",
    b"*1\r\n*1\r\n$4\r\nPING\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"PRI * HTTP/2.0\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\xff\xff\x09\xff\x7f\xff\xff\xff",
];

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_every_port_disturbs_nobody() {
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| rand::rng().random());
    println!("{SEED}={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let mut cluster = Cluster::start(&Shape::one_node()).await.unwrap();
    let mut router = cluster.router().await.unwrap();
    let node = &cluster.nodes[0];
    let (node_admin, router_http) = (node.admin.clone(), router.http.clone());
    let mut bystanders = Bystanders {
        kv: client(&cluster).await,
        resp: [RespConnection::open(&node.resp).await.unwrap(), RespConnection::open(&router.resp).await.unwrap()],
        turns: 0,
    };
    let ports = [&node.grpc, &node.resp, &node.admin, &router.resp, &router.http].map(String::clone);
    let mut halves = Vec::new();
    for port in &ports {
        let random_messages = std::iter::repeat_with(|| message(&mut random)).take(MESSAGES);
        let messages: Vec<Vec<u8>> = ALMOST.iter().map(|bytes| bytes.to_vec()).chain(random_messages).collect();
        for bytes in messages {
            send(port, &bytes).await;
            bystanders.take_turns().await;
        }
        // Half a request that stays half while the others are at it.
        let mut half = TcpStream::connect(port).await.unwrap();
        half.write_all(b"*2\r\n$3\r\nGET\r\n$10\r\nab").await.unwrap();
        halves.push(half);
    }
    bystanders.take_turns().await;
    for (address, path) in [(&node_admin, "/livez"), (&node_admin, "/readyz"), (&router_http, "/readyz")] {
        assert_eq!(http(address, path).await.0, 200, "{path} of {address}");
    }
    for process in [&mut cluster.nodes[0].process, &mut router.process] {
        assert!(process.is_running(), "{} has ended", process.name());
        assert!(!process.log().contains("panicked"), "{}", process.name());
    }
}

/// Random bytes, or random bytes behind a beginning that is right.
fn message(random: &mut SmallRng) -> Vec<u8> {
    let mut bytes = vec![0; random.random_range(1..LONGEST)];
    random.fill(&mut bytes[..]);
    if random.random_bool(0.5) {
        let beginning = ALMOST[random.random_range(0..ALMOST.len())];
        bytes.splice(0..0, beginning[..random.random_range(0..beginning.len())].iter().copied());
    }
    bytes
}

/// Sends the bytes and waits for the end of the connection.
async fn send(port: &str, bytes: &[u8]) {
    let mut socket = TcpStream::connect(port).await.unwrap();
    let conversation = async {
        // A reset is an answer as well, whenever it comes; what counts is that there is an end.
        let _ = socket.write_all(bytes).await;
        let _ = socket.shutdown().await;
        let _ = socket.read_to_end(&mut Vec::new()).await;
    };
    tokio::time::timeout(LIMIT, conversation).await.unwrap_or_else(|_| panic!("{port} does not hang up"));
}

/// Who must not notice anything.
struct Bystanders {
    kv: Client,
    /// Connections to the node and to the router.
    resp: [RespConnection; 2],
    turns: u64,
}

impl Bystanders {
    /// Everybody writes and reads what the others wrote.
    async fn take_turns(&mut self) {
        self.turns += 1;
        let value = self.turns.to_string();
        self.kv.set("k", value.clone()).await.unwrap();
        for connection in &mut self.resp {
            assert_eq!(connection.ask("GET k").await.unwrap(), Frame::Bulk(value.clone().into()));
            assert_eq!(connection.ask(&format!("SET r {value}")).await.unwrap(), Frame::Status("OK".into()));
        }
        assert_eq!(self.kv.get("r").await.unwrap().unwrap(), value);
    }
}
