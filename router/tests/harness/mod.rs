//! A router in front of the client's mock cluster, and a client that speaks the Redis protocol byte by byte.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected should fail there")]

pub use simplekv_testing as mock_cluster;

pub mod grpc;
pub mod http;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use mock_cluster::MockCluster;
use simplekv_resp::decode::{Decoder, Frame};
use simplekv_router::{Limits, Router, RouterConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub async fn router(cluster: &MockCluster) -> Router {
    router_with(cluster, Limits::default()).await
}

pub async fn router_with(cluster: &MockCluster, limits: Limits) -> Router {
    Router::start(RouterConfig { limits, ..config(cluster) }).await.unwrap()
}

/// With all ports, any free ones.
pub fn config(cluster: &MockCluster) -> RouterConfig {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = RouterConfig::new(vec![cluster.address(1).to_string()], any, any);
    RouterConfig { grpc_listen: Some(any), ..config }
}

/// A connection to the Redis protocol port.
pub struct Redis {
    stream: TcpStream,
    input: BytesMut,
    decoder: Decoder,
}

impl Redis {
    pub async fn connect(router: &Router) -> Self {
        let stream = TcpStream::connect(router.resp_address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, input: BytesMut::new(), decoder: Decoder::new() }
    }

    /// Sends requests without waiting; each line's words are separated by blanks.
    pub async fn send(&mut self, lines: &[&str]) {
        let mut out = BytesMut::new();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            simplekv_resp::encode::request(&words, &mut out);
        }
        self.stream.write_all(&out).await.unwrap();
    }

    pub async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next reply; `None` when the router has closed the connection.
    pub async fn next(&mut self) -> Option<Frame> {
        let read = async {
            loop {
                if let Some(frame) = self.decoder.next(&mut self.input).unwrap() {
                    return Some(frame);
                }
                match self.stream.read_buf(&mut self.input).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => (),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("no reply within 20 s")
    }

    /// Sends requests together and returns the replies as text.
    pub async fn ask_all(&mut self, lines: &[&str]) -> Vec<String> {
        self.send(lines).await;
        let mut replies = Vec::new();
        for _ in lines {
            replies.push(self.next().await.map_or_else(|| "closed".to_owned(), |frame| show(&frame)));
        }
        replies
    }

    pub async fn ask(&mut self, line: &str) -> String {
        self.ask_all(&[line]).await.remove(0)
    }

    pub async fn close_write(&mut self) {
        self.stream.shutdown().await.unwrap();
    }
}

/// A reply on one line.
pub fn show(frame: &Frame) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match frame {
        Frame::Status(line) => format!("+{}", text(line)),
        Frame::Error(line) => format!("-{}", text(line)),
        Frame::Int(number) => number.to_string(),
        Frame::Bulk(bytes) | Frame::Text(bytes) | Frame::BigNumber(bytes) => text(bytes),
        Frame::Null => "(nil)".to_owned(),
        Frame::Double(number) => number.to_string(),
        Frame::Bool(truth) => truth.to_string(),
        Frame::Array(items) | Frame::Set(items) | Frame::Push(items) => {
            format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" "))
        }
        Frame::Map(pairs) => {
            let pairs: Vec<String> = pairs.iter().map(|(k, v)| format!("{}={}", show(k), show(v))).collect();
            format!("{{{}}}", pairs.join(" "))
        }
    }
}
