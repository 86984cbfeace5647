//! HTTP byte by byte, every answer held against what the router says of itself.

use std::sync::LazyLock;

use serde_json::Value;
use simplekv_router::Router;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../src/http/openapi.json")).unwrap());

pub struct Reply {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> &str {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(known, _)| *known == name)
            .map_or("", |(_, value)| value)
    }
}

pub async fn ask(router: &Router, request: &str, body: &[u8]) -> Reply {
    ask_with(router, request, &[], body).await
}

pub async fn ask_with(router: &Router, request: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(router.http_address()).await.unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let head =
        format!("{request} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    // A server that refuses a body need not read it.
    let _ = stream.write_all(body).await;
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let reply =
        Reply { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head, body: bytes[end + 4..].to_vec() };
    check_documented(request, &reply);
    reply
}

/// Nobody is surprised by a status or a kind of body that the document does not name.
fn check_documented(request: &str, reply: &Reply) {
    let (method, target) = request.split_once(' ').unwrap();
    let path = target.split('?').next().unwrap();
    let template =
        ["/v2/keys/", "/kv-store/keys/", "/kv-store/shards/"].into_iter().find(|prefix| path.starts_with(prefix));
    let path = template.map_or(path.to_owned(), |prefix| {
        format!("{prefix}{}", if prefix.ends_with("shards/") { "{id}" } else { "{key}" })
    });
    let operation = &DOCUMENT["paths"][&path][method.to_ascii_lowercase()];
    if operation.is_null() {
        return assert!(
            [404, 405].contains(&reply.status),
            "{request}: {} though nothing is served there",
            reply.status
        );
    }
    let mut answer = &operation["responses"][reply.status.to_string()];
    assert!(!answer.is_null(), "{request}: {} is not documented", reply.status);
    if let Some(reference) = answer["$ref"].as_str() {
        answer = DOCUMENT.pointer(&reference[1..]).unwrap();
    }
    let kind = reply.header("content-type").split(';').next().unwrap();
    let kinds: Vec<&String> = answer["content"].as_object().into_iter().flat_map(|kinds| kinds.keys()).collect();
    assert!(
        kinds.iter().any(|known| *known == kind) || (kinds.is_empty() && kind.is_empty()),
        "{request}: {} {kind}",
        reply.status
    );
}
