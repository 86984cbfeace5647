//! Requests that are too deep, too long, too many or too slow meet their limit, at a node and at a router alike, and cost nothing.

use std::time::{Duration, Instant};

use simplekv_resp::decode::Frame;
use simplekv_tests::{Cluster, Process, RespConnection, Shape};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a request may take to arrive.
const PATIENCE: Duration = Duration::from_millis(400);
/// How much a process may grow while nothing is kept. Its threads and buffers have their ups and downs.
const GROWTH_MAX: u64 = 48 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_a_limit_are_refused_before_they_cost_anything() {
    let cluster = Cluster::start(&Shape::one_node()).await.unwrap();
    let router = cluster.router().await.unwrap();
    let node = &cluster.nodes[0];
    for (address, process) in [(&node.resp, &node.process), (&router.resp, &router.process)] {
        let mut other = RespConnection::open(address).await.unwrap();
        assert_eq!(other.ask("SET k 1").await.unwrap(), Frame::Status("OK".into()));
        let before = memory(process);
        for (bytes, expected) in [
            ("*1\r\n".repeat(100_000), "expected '$', got '*'"),
            ("*2\r\n$3\r\nGET\r\n*1\r\n$1\r\nk\r\n".to_owned(), "expected '$', got '*'"),
            ("*-1\r\n*-7\r\n*0\r\n*1\r\n$-1\r\n".to_owned(), "invalid bulk length"),
            ("*1\r\n$-5\r\n".to_owned(), "invalid bulk length"),
            ("*2\r\n$3\r\nGET\r\n$536870912\r\n".to_owned(), "invalid bulk length"),
            ("*2\r\n$3\r\nGET\r\n$99999999999999999999\r\n".to_owned(), "invalid bulk length"),
            ("*1048577\r\n".to_owned(), "invalid multibulk length"),
            ("*99999999999999999999\r\n".to_owned(), "invalid multibulk length"),
            ("x".repeat(70_000), "too big inline request"),
            ("GET \"k\r\n".to_owned(), "unbalanced quotes in request"),
        ] {
            assert_eq!(refused(address, &bytes).await, format!("ERR Protocol error: {expected}"), "{bytes:.60}");
        }
        assert_eq!(other.ask("GET k").await.unwrap(), Frame::Bulk("1".into()));

        // As much as one may announce, and nothing of it.
        let mut announced = Vec::new();
        for _ in 0..200 {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(b"*1048576\r\n$3\r\nSET\r\n$1\r\nk\r\n$16777216\r\nx").await.unwrap();
            announced.push(socket);
        }
        assert_eq!(other.ask("GET k").await.unwrap(), Frame::Bulk("1".into()));
        let grown = memory(process).saturating_sub(before);
        assert!(grown < GROWTH_MAX, "{} grew by {grown} bytes", process.name());
    }
}

/// Whoever sends a byte now and then is no better than who sends none.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_sender_is_given_up_and_keeps_nobody_waiting() {
    let millis = i64::try_from(PATIENCE.as_millis()).unwrap();
    let shape = Shape::one_node().with("limits", "partial_request_timeout_ms", millis);
    let cluster = Cluster::start(&shape).await.unwrap();
    // To a body HTTP gives as long as both together.
    let limits = ["partial_request_timeout_ms", "request_timeout_ms"];
    let settings = limits.map(|limit| ("limits", limit, millis.into())).to_vec();
    let router = cluster.router_with(&settings).await.unwrap();
    let set = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\n";
    let put = "PUT /v2/keys/k HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n";
    let headers = "GET /v2/keys/k HTTP/1.1\r\nHost: h\r\nX-Slow: ";
    for (address, beginning) in
        [(&cluster.nodes[0].resp, set), (&router.resp, set), (&router.http, put), (&router.http, headers)]
    {
        let mut node = RespConnection::open(&cluster.nodes[0].resp).await.unwrap();
        let mut through_router = RespConnection::open(&router.resp).await.unwrap();
        let began = Instant::now();
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(beginning.as_bytes()).await.unwrap();
        let mut pace = tokio::time::interval(PATIENCE / 10);
        // Until the connection ends, with a word or without.
        while slow.write_all(b"x").await.is_ok() && !has_ended(&slow) {
            pace.tick().await;
            let took = began.elapsed();
            assert!(took < PATIENCE * 30, "{address} still listens after {took:?}: {beginning:?}");
            for other in [&mut node, &mut through_router] {
                assert_eq!(other.ask("GET none").await.unwrap(), Frame::Null);
            }
        }
        assert!(began.elapsed() >= PATIENCE, "{address} has no patience: {beginning:?}");
    }
}

/// Whether the server has closed its side, whatever it said before.
fn has_ended(socket: &TcpStream) -> bool {
    let mut said = [0; 1024];
    loop {
        match socket.try_read(&mut said) {
            Ok(0) => return true,
            Ok(_) => (),
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

/// What a connection is told that sends this, before it is closed.
async fn refused(address: &str, bytes: &str) -> String {
    let socket = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = socket.into_split();
    let mut said = Vec::new();
    let conversation = async {
        // It may hang up before it has read everything.
        let sent = async { writer.write_all(bytes.as_bytes()).await };
        let heard = async { reader.read_to_end(&mut said).await };
        let _hung_up = tokio::join!(sent, heard);
    };
    tokio::time::timeout(Duration::from_secs(30), conversation).await.expect("it is closed");
    let said = String::from_utf8_lossy(&said);
    said.strip_prefix('-').and_then(|said| said.strip_suffix("\r\n")).unwrap_or_else(|| panic!("{said:?}")).to_owned()
}

/// Bytes of memory a process has.
fn memory(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}
