//! gRPC over HTTP/2 with a client of its own, and gRPC-Web byte by byte.

use std::time::Duration;

use bytes::{Buf, Bytes};
use prost::Message;
use simplekv_proto::v1;
use simplekv_proto::v1::kv_client::KvClient;
use simplekv_router::Router;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};

pub async fn channel(router: &Router) -> Channel {
    let address = router.grpc_address().unwrap();
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

pub async fn kv(router: &Router) -> KvClient<Channel> {
    KvClient::new(channel(router).await).max_decoding_message_size(usize::MAX)
}

pub fn get(key: &str) -> v1::GetRequest {
    v1::GetRequest { key: Bytes::copy_from_slice(key.as_bytes()), ..v1::GetRequest::default() }
}

pub fn set(key: &str, value: impl Into<Bytes>) -> v1::SetRequest {
    v1::SetRequest { key: Bytes::copy_from_slice(key.as_bytes()), value: value.into(), ..v1::SetRequest::default() }
}

/// A command, its words separated by blanks.
pub fn execute(line: &str) -> v1::ExecuteRequest {
    let args = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    v1::ExecuteRequest { args, ..v1::ExecuteRequest::default() }
}

/// What a page in a browser gets.
#[derive(Debug)]
pub struct WebReply {
    /// The HTTP status.
    pub http: u16,
    /// In lower case.
    pub head: String,
    /// The status of the call, wherever it stands; `None` if there is none.
    pub status: Option<i32>,
    pub message: Option<Bytes>,
}

impl WebReply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(known, _)| *known == name).map(|(_, value)| value).next()
    }
}

/// Calls a method of the service over HTTP/1.1, as the libraries of browsers do.
pub async fn web(router: &Router, method: &str, headers: &[(&str, &str)], message: &impl Message) -> WebReply {
    let kind = [("content-type", "application/grpc-web+proto"), ("x-grpc-web", "1")];
    let mut body = vec![0];
    body.extend(u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
    body.extend(message.encode_to_vec());
    http1(router, "POST", method, &[&kind, headers].concat(), &body).await
}

pub async fn http1(router: &Router, verb: &str, method: &str, headers: &[(&str, &str)], body: &[u8]) -> WebReply {
    let mut stream = TcpStream::connect(router.grpc_address().unwrap()).await.unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let path = format!("/simplekv.v1.Kv/{method}");
    let head =
        format!("{verb} {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut bytes)).await;
    read.expect("an answer within 60 s").unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let body = Bytes::copy_from_slice(&bytes[end + 4..]);
    let body = if head.contains("transfer-encoding: chunked") { without_chunks(body) } else { body };
    reply(head, body)
}

fn without_chunks(mut body: Bytes) -> Bytes {
    let mut whole = Vec::new();
    loop {
        let end = body.windows(2).position(|window| window == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        body.advance(end + 2);
        if size == 0 {
            return whole.into();
        }
        whole.extend_from_slice(&body.split_to(size));
        body.advance(2);
    }
}

fn reply(head: String, mut body: Bytes) -> WebReply {
    let http = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut reply = WebReply { http, head, status: None, message: None };
    reply.status = reply.header("grpc-status").map(|status| status.parse().unwrap());
    while body.len() >= 5 {
        let is_trailer = body.get_u8() & 0x80 != 0;
        let size = body.get_u32() as usize;
        let frame = body.split_to(size);
        if !is_trailer {
            reply.message = Some(frame);
            continue;
        }
        let text = String::from_utf8_lossy(&frame).into_owned();
        let status = text.lines().find_map(|line| line.strip_prefix("grpc-status:"));
        reply.status = status.map(|status| status.trim().parse().unwrap());
    }
    reply
}
