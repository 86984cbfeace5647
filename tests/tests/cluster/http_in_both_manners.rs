//! The router's HTTP APIs before a real cluster: the own examples of the two stores whose programs are served, and what programs of `/v2`
//! rely on.

use std::collections::HashMap;

use serde_json::{Value, json};
use simplekv_tests::{Cluster, Shape};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The three examples of that store's README. What it leaves open stands in braces or is `???`.
const CREATE: &str = r#"PUT /kv-store/keys/x HTTP/1.1
Host: 127.0.0.1
Content-type: application/json
Content-length: 36

{"value": "1", "causal-context": {}}"#;
const DELETE: &str = r#"DELETE /kv-store/keys/x HTTP/1.1
Host: 127.0.0.1
Content-length: ???

{"causal-context": {insert-context-here}}"#;
const READ: &str = r#"GET /kv-store/keys/x HTTP/1.1
Host: 127.0.0.1
Content-length: ???

{"causal-context": {insert-context-here}}"#;

/// The examples of the README of the store with transactions: requests, and what is answered.
const EXECUTE_GET: [&str; 2] = [
    r#"{
  "commands": [
    {
      "cmd_type": "get",
      "key": "foo"
    }
  ]
}"#,
    r#"{
    "results": [
        "bar"
    ]
}"#,
];
const EXECUTE_SET: [&str; 2] = [
    r#"{
  "commands": [
    {
      "cmd_type": "set",
      "key": "foo",
      "value": "bar"
    },
    {
      "cmd_type": "set",
      "key": "foo2",
      "value": "bar2"
    }
  ]
}"#,
    r#"{
  "results": [
    "bar",
    "bar2"
  ]
}"#,
];
const EXECUTE_ERROR: [&str; 2] = [
    r#"{
  "commands": [
    {
      "cmd_type": "will_cause_error",
      "key": "any",
      "value": "literally"
    }
  ]
}"#,
    r#"{
  "error": "unknown command"
}"#,
];

struct Answer {
    status: u16,
    headers: HashMap<String, String>,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Sends a request as it is and reads the answer on the same connection, which stays open.
async fn exchange(stream: &mut TcpStream, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let headers: HashMap<String, String> = head.lines().filter_map(header).collect();
    let mut body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, headers, body: String::from_utf8(body).unwrap() }
}

async fn ask(router: &str, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut stream = TcpStream::connect(router).await.unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    exchange(&mut stream, &format!("{line} HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n{headers}\r\n{body}"))
        .await
}

/// An example with what it leaves open filled in, and the line ends HTTP wants.
fn example(text: &str, context: &Value) -> String {
    let (head, body) = text.split_once("\n\n").unwrap();
    let body = body.replace("{insert-context-here}", &context.to_string());
    format!("{}\r\n\r\n{body}", head.replace("???", &body.len().to_string()).replace('\n', "\r\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_of_the_causal_store_and_of_v2_find_what_they_expect() {
    let groups = vec![vec![1, 2, 3], vec![2, 3, 1]];
    let mut cluster = Cluster::start(&Shape { groups, ..Shape::three_nodes() }).await.unwrap();
    let router = cluster.router().await.unwrap();
    let nodes: Vec<Value> = cluster.nodes.iter().map(|node| node.grpc.clone().into()).collect();
    the_examples(&router.http, &nodes).await;
    shards_and_counts(&router.http, &nodes).await;
    refusals(&router.http).await;
    nobodys_change_is_lost(&router.http).await;
    a_batch(&router.http).await;
    transactions(&router.http).await;

    // Nobody is left who could answer.
    cluster.kill_all_nodes().unwrap();
    let answer = ask(&router.http, "GET /kv-store/keys/x", &[], "").await;
    assert_eq!((answer.status, &answer.json()["error"]), (503, &json!("Main instance is down")));
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(ask(&router.http, "GET /v2/keys/x", &[], "").await.status / 100, 5);
    let answer = ask(&router.http, "POST /v1/execute", &[], EXECUTE_GET[0]).await;
    assert_eq!(answer.status, 500);
    assert!(answer.json()["error"].as_str().unwrap().starts_with("could not execute command: "), "{}", answer.body);
}

/// Each step as that store's README has it, on one connection, with the context of the step before.
async fn the_examples(router: &str, nodes: &[Value]) {
    let mut stream = TcpStream::connect(router).await.unwrap();
    let mut context = json!({});
    let missing = |method: &str| json!({"error": "Key does not exist", "message": format!("Error in {method}"), "doesExist": false});
    for (text, status, expected) in [
        (READ, 404, missing("GET")),
        (DELETE, 404, missing("DELETE")),
        (CREATE, 201, json!({"message": "Added successfully", "replaced": false})),
        (READ, 200, json!({"message": "Retrieved successfully", "doesExist": true, "value": "1"})),
        (CREATE, 200, json!({"message": "Updated successfully", "replaced": true})),
        (DELETE, 200, json!({"message": "Deleted successfully", "doesExist": true})),
        (DELETE, 404, missing("DELETE")),
        (READ, 404, missing("GET")),
    ] {
        let answer = exchange(&mut stream, &example(text, &context)).await;
        let mut told = answer.json();
        assert!(nodes.contains(&told["address"]), "{told}");
        context = told["causal-context"].take();
        told.as_object_mut().unwrap().retain(|name, _| name != "address" && name != "causal-context");
        assert_eq!((answer.status, &told), (status, &expected), "{text}");
        let numbers = context.as_object().unwrap();
        assert!(!numbers.is_empty() && numbers.values().all(Value::is_u64), "as typed clients read it: {context}");
    }
    let text = context.to_string();
    let escaped: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for (line, headers) in [
        ("GET /kv-store/keys/x".to_owned(), vec![("X-Causal-Context", text.as_str())]),
        (format!("GET /kv-store/keys/x?causal-context={escaped}"), vec![]),
    ] {
        let answer = ask(router, &line, &headers, "").await;
        let (told, known) = (answer.json()["causal-context"].clone(), context.as_object().unwrap().clone());
        assert!(known.iter().all(|(name, number)| told[name].as_u64() >= number.as_u64()), "{told} after {text}");
    }
    let mut future = context.clone();
    let group = context.as_object().unwrap().keys().find(|name| !name.contains('.')).unwrap().clone();
    future[group] = (context.as_object().unwrap().len() as u64 + 1_000_000_000).into();
    let answer = exchange(&mut stream, &example(READ, &future)).await;
    assert_eq!((answer.status, &answer.json()["error"]), (503, &json!("Unable to satisfy request")), "{}", answer.body);
}

async fn shards_and_counts(router: &str, nodes: &[Value]) {
    for key in 0..20 {
        assert_eq!(ask(router, &format!("PUT /kv-store/keys/k{key}"), &[], r#"{"value":"v"}"#).await.status, 201);
    }
    let answer = ask(router, "GET /kv-store/key-count", &[], "").await.json();
    assert_eq!((&answer["message"], &answer["key-count"]), (&json!("Key count retrieved successfully"), &json!(20)));
    let answer = ask(router, "GET /kv-store/shards", &[], "").await.json();
    assert_eq!(
        (&answer["message"], &answer["shards"]),
        (&json!("Shard membership retrieved successfully"), &json!([1, 2]))
    );
    let mut total = 0;
    for id in [1, 2] {
        let answer = ask(router, &format!("GET /kv-store/shards/{id}"), &[], "").await.json();
        assert_eq!(
            (&answer["message"], &answer["shard-id"]),
            (&json!("Shard information retrieved successfully"), &json!(id))
        );
        let replicas = answer["replicas"].as_array().unwrap();
        assert!(replicas.len() == 3 && replicas.iter().all(|replica| nodes.contains(replica)), "{answer}");
        total += answer["key-count"].as_u64().unwrap();
    }
    assert_eq!(total, 20);
}

async fn refusals(router: &str) {
    let [put_long, get_long, delete_long] =
        ["PUT", "GET", "DELETE"].map(|method| format!("{method} /kv-store/keys/{}", "k".repeat(51)));
    for (line, body, status, error) in [
        ("PUT /kv-store/keys/x", "", 400, "Value is missing"),
        ("PUT /kv-store/keys/x", r#"{"value":""}"#, 400, "Value is missing"),
        ("PUT /kv-store/keys/x", r#"{"value":"#, 400, "Failed to parse request body"),
        ("GET /kv-store/keys/x", r#"{"causal-context":{"g1":"x"}}"#, 400, "Failed to parse request body"),
        ("PUT /kv-store/keys/", r#"{"value":"v"}"#, 400, "Key is missing"),
        ("GET /kv-store/keys/", "", 400, "Key is missing"),
        ("DELETE /kv-store/keys/", "", 400, "Key is missing"),
        (&put_long, r#"{"value":"v"}"#, 400, "Key is too long"),
        (&get_long, "", 400, "Key is too long"),
        (&delete_long, "", 400, "Key is too long"),
        ("GET /kv-store/shards/7", "", 404, "Shard does not exist"),
    ] {
        let answer = ask(router, line, &[], body).await;
        let method = line.split(' ').next().unwrap();
        let expected = json!({"error": error, "message": format!("Error in {method}"), "causal-context": null});
        assert_eq!((answer.status, answer.json()), (status, expected), "{line} {body}");
    }
    let answer = ask(router, "PUT /kv-store/view-change", &[], r#"{"view":["a:1"],"repl-factor":1}"#).await;
    assert_eq!(answer.status, 501);
    assert!(answer.json()["error"].as_str().unwrap().contains("simplekv-admin add-group"), "{}", answer.body);

    let wrong = ("Content-Type", "text/plain");
    for (line, headers, body, status, code) in [
        ("PUT /v2/keys/x", vec![("If-Match", "\"00\"")], "v", 412, "precondition_failed"),
        ("PUT /v2/keys/x", vec![("If-Match", "00")], "v", 400, "bad_condition"),
        ("PUT /v2/keys/x", vec![("Content-Encoding", "gzip")], "v", 415, "unsupported_coding"),
        ("POST /v2/batch", vec![wrong], "{}", 415, "unsupported_media_type"),
        ("PATCH /v2/keys/x", vec![], "v", 405, "method_not_allowed"),
        ("GET /v2/key/x", vec![], "", 404, "no_such_path"),
    ] {
        let answer = ask(router, line, &headers, body).await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{line} {headers:?}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.header("allow"), if status == 405 { "GET,HEAD,PUT,DELETE" } else { "" });
    }
}

/// Many clients add one to the same number, each by reading it and writing it back under `If-Match`.
async fn nobodys_change_is_lost(router: &str) {
    const CLIENTS: u32 = 8;
    const CHANGES: u32 = 20;
    let made = ask(router, "PUT /v2/keys/n", &[("If-None-Match", "*")], "0").await;
    assert_eq!((made.status, ask(router, "PUT /v2/keys/n", &[("If-None-Match", "*")], "0").await.status), (201, 412));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let router = router.to_owned();
        clients.spawn(async move {
            let (mut done, mut refused) = (0, 0);
            while done < CHANGES {
                let read = ask(&router, "GET /v2/keys/n", &[], "").await;
                let next = (read.body.parse::<u32>().unwrap() + 1).to_string();
                let wrote = ask(&router, "PUT /v2/keys/n", &[("If-Match", read.header("etag"))], &next).await;
                match wrote.status {
                    204 => done += 1,
                    412 => refused += 1,
                    _ => panic!("{} {}", wrote.status, wrote.body),
                }
            }
            refused
        });
    }
    let refused: u32 = clients.join_all().await.into_iter().sum();
    let last = ask(router, "GET /v2/keys/n", &[], "").await;
    assert_eq!(last.body, (CLIENTS * CHANGES).to_string(), "{refused} were refused");
    assert!(refused > 0, "they were in each other's way");
    assert_eq!(ask(router, "GET /v2/keys/n", &[("If-None-Match", last.header("etag"))], "").await.status, 304);
    assert_eq!(ask(router, "DELETE /v2/keys/n", &[("If-Match", made.header("etag"))], "").await.status, 412);
    assert_eq!(ask(router, "DELETE /v2/keys/n", &[("If-Match", last.header("etag"))], "").await.status, 204);
}

async fn a_batch(router: &str) {
    let operations = json!({"operations": [
        {"op": "set", "key": "b", "value": "1", "ttl": 60, "if_absent": true},
        {"op": "increment", "key": "b", "by": 4},
        {"op": "get", "key": "b"},
        {"op": "set", "key": "b", "value": "x", "keep_ttl": true, "if_absent": true},
        {"op": "get", "key": "none"},
        {"op": "set", "key": "raw", "base64": "/w=="},
        {"op": "get", "key": "raw"},
        {"op": "increment", "key": "raw"},
        {"op": "ttl", "key": "raw"},
    ]});
    let answer = ask(router, "POST /v2/batch", &[("Content-Type", "application/json")], &operations.to_string()).await;
    let results = answer.json()["results"].as_array().unwrap().clone();
    let statuses: Vec<u64> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(
        (answer.status, &statuses[..]),
        (200, &[204, 200, 200, 412, 404, 204, 200, 400, 200][..]),
        "{}",
        answer.body
    );
    assert_eq!(
        (&results[1]["number"], &results[2]["value"], &results[6]["base64"]),
        (&json!(5), &json!("5"), &json!("/w=="))
    );
    let token = answer.header("x-simplekv-session").to_owned();
    assert_eq!(ask(router, "GET /v2/keys/b", &[("X-SimpleKV-Session", &token)], "").await.body, "5");
}

async fn transactions(router: &str) {
    const EXECUTE: &str = "POST /v1/execute";
    for ([request, expected], status) in [(EXECUTE_SET, 200), (EXECUTE_GET, 200), (EXECUTE_ERROR, 400)] {
        let answer = ask(router, EXECUTE, &[("Content-Type", "application/json")], request).await;
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!((answer.status, answer.json()), (status, expected), "{request}");
        assert_eq!(answer.header("simplekv-atomic"), "per-group");
    }
    assert_eq!(ask(router, "GET /v2/keys/foo2", &[], "").await.body, "bar2", "it is there for everybody");

    // Its two keys belong to different groups: who requires more than it can have changes nothing.
    let required = [("SimpleKV-Atomic", "required")];
    let changed = EXECUTE_SET[0].replace("bar", "changed");
    let answer = ask(router, EXECUTE, &required, &changed).await;
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert_eq!(answer.status, 409, "{error}");
    assert!(error.contains("'foo' (slot 12182)") && error.contains("'foo2' (slot 1044)"), "{error}");
    assert_eq!(ask(router, EXECUTE, &[], EXECUTE_GET[0]).await.json(), json!({"results": ["bar"]}));
    let together = changed.replace("foo", "{t}foo");
    let answer = ask(router, EXECUTE, &required, &together).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"results": ["changed", "changed2"]})));
    assert_eq!(answer.header("simplekv-atomic"), "required");

    // What a transaction reads is what it wrote before, and nothing is an empty text.
    let body = json!({"commands": [
        {"cmd_type": "GET", "key": "fresh"}, {"cmd_type": "Set", "key": "fresh", "value": "1"}, {"cmd_type": "get", "key": "fresh"},
    ]});
    let answer = ask(router, EXECUTE, &[], &body.to_string()).await;
    assert_eq!(answer.json(), json!({"results": ["", "1", "1"]}));
    let token = answer.header("x-simplekv-session").to_owned();
    assert_eq!(ask(router, "GET /v2/keys/fresh", &[("X-SimpleKV-Session", &token)], "").await.body, "1");
    // What is unknown is noticed before anything is done.
    let body = json!({"commands": [{"cmd_type": "set", "key": "undone", "value": "1"}, {"cmd_type": "bogus", "key": "undone"}]});
    let answer = ask(router, EXECUTE, &[], &body.to_string()).await;
    assert_eq!((answer.status, answer.json()), (400, json!({"error": "unknown command"})));
    assert_eq!(ask(router, "GET /v2/keys/undone", &[], "").await.status, 404);
    for (body, error) in [("{}", "empty request"), ("{", "could not bind request: "), ("", "could not bind request: ")]
    {
        let answer = ask(router, EXECUTE, &[], body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.json()["error"].as_str().unwrap().starts_with(error), "{body}: {}", answer.body);
    }
}
