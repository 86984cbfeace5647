//! Writes over HTTP that depend on what is there, and many operations in one request.

mod harness;

use harness::http::{ask, ask_with};
use harness::mock_cluster::{MockCluster, Verdict, key_of_group};
use harness::{Redis, router, router_with};
use serde_json::json;
use simplekv_client::{Failure, Reply};
use simplekv_router::{Limits, Router};

const JSON: (&str, &str) = ("Content-Type", "application/json");

async fn put(router: &Router, condition: (&str, &str), value: &str) -> u16 {
    ask_with(router, "PUT /v2/keys/k", &[condition], value.as_bytes()).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_done_only_to_what_its_client_has_seen() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    assert_eq!(put(&router, ("If-Match", "*"), "0").await, 412);
    assert_eq!(put(&router, ("If-None-Match", "*"), "1").await, 201);
    assert_eq!(put(&router, ("If-None-Match", "*"), "2").await, 412);
    assert_eq!(put(&router, ("If-Match", "*"), "1").await, 204);
    let read = ask(&router, "GET /v2/keys/k", b"").await;
    let (tag, weak) = (read.header("etag").to_owned(), format!("W/{}", read.header("etag")));
    let other = ("If-Match", "\"0123\"");
    for (condition, status) in
        [(("If-None-Match", tag.as_str()), 304), (("If-None-Match", weak.as_str()), 304), (other, 412)]
    {
        let again = ask_with(&router, "GET /v2/keys/k", &[condition], b"").await;
        assert_eq!((again.status, again.header("etag") == tag), (status, status == 304), "{condition:?}");
    }
    assert_eq!(put(&router, ("If-Match", &weak), "2").await, 412, "a weak tag is no promise");
    assert_eq!(put(&router, other, "2").await, 412);
    let wrote = ask_with(&router, "PUT /v2/keys/k?ttl=60", &[("If-Match", &tag)], b"2").await;
    assert_eq!(
        (wrote.status, cluster.seen_named("SET").pop().unwrap().args.join(" ")),
        (204, "SET k 2 IFEQ 1 PX 60000".into())
    );
    assert_eq!(put(&router, ("If-Match", wrote.header("etag")), "3").await, 204, "the next tag came with the answer");
    assert_eq!(put(&router, ("If-None-Match", wrote.header("etag")), "4").await, 204);

    for (condition, status) in
        [(("If-Match", tag.as_str()), 412), (("If-None-Match", "*"), 412), (("If-Match", "*"), 204), (other, 404)]
    {
        let deleted = ask_with(&router, "DELETE /v2/keys/k", &[condition], b"").await;
        assert_eq!(deleted.status, status, "{condition:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_faster_is_looked_at_again() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let tag = ask(&router, "PUT /v2/keys/k", b"1").await.header("etag").to_owned();
    // Somebody else changes the key between the look and the write.
    let world = std::sync::Arc::clone(&cluster.world);
    cluster.script(move |op| {
        if op.args.iter().any(|word| word == "IFEQ") {
            world.keys.lock().insert("k", "theirs");
        }
        Verdict::Serve
    });
    assert_eq!(put(&router, ("If-Match", &tag), "mine").await, 412);
    assert_eq!(put(&router, ("If-None-Match", &tag), "mine").await, 204, "theirs is not the one that was unwanted");
    // Somebody who changes it each time, and back.
    let unlucky = |op: &harness::mock_cluster::Seen| match op.args.iter().any(|word| word == "IFEQ") {
        true => Verdict::Answer(if op.name() == "SET" { Reply::Null } else { Reply::Int(0) }),
        false => Verdict::Serve,
    };
    cluster.script(unlucky);
    let tag = ask(&router, "GET /v2/keys/k", b"").await.header("etag").to_owned();
    for request in ["PUT /v2/keys/k", "DELETE /v2/keys/k"] {
        let given_up = ask_with(&router, request, &[("If-Match", &tag)], b"").await;
        assert_eq!((given_up.status, &given_up.json()["code"]), (503, &json!("busy")), "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_to_live_may_be_kept() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let mut redis = Redis::connect(&router).await;
    for (request, ttl) in [
        ("PUT /v2/keys/k?ttl=60", "60000"),
        ("PUT /v2/keys/k?ttl=keep", "60000"),
        ("PUT /v2/keys/k", "-1"),
        ("PUT /v2/keys/k?ttl=0.5", "500"),
    ] {
        assert_eq!(ask(&router, request, b"v").await.status, 204);
        assert_eq!(redis.ask("PTTL k").await, ttl, "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_goes_to_every_group_and_keeps_its_order_in_each_slot() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let router = router(&cluster).await;
    let (a, b) = (key_of_group(1, 2, 0), key_of_group(2, 2, 0));
    let mut operations = Vec::new();
    for n in 0..40 {
        operations.push(json!({"op": "increment", "key": a}));
        operations.push(json!({"op": "set", "key": b, "value": n.to_string()}));
        operations.push(json!({"op": "get", "key": b}));
    }
    let body = json!({"operations": operations}).to_string();
    let answer = ask_with(&router, "POST /v2/batch?read=any", &[JSON], body.as_bytes()).await.json();
    let results = answer["results"].as_array().unwrap();
    for n in 0..40 {
        let [number, set, got] = &results[3 * n..3 * n + 3] else { panic!("{answer}") };
        assert_eq!(
            (&number["number"], &set["status"], &got["value"]),
            (&json!(n + 1), &json!(204), &json!(n.to_string()))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_operations_failure_is_its_own() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let limits = Limits { output_bytes: 1024, ..Limits::default() };
    let router = router_with(&cluster, limits).await;
    cluster.script(|op| match op.args.get(1).map(String::as_str) {
        Some("held") => Verdict::Refuse(Failure::WrongType),
        _ => Verdict::Serve,
    });
    let large = "x".repeat(1000);
    ask(&router, "PUT /v2/keys/large", large.as_bytes()).await;
    let gets = vec![json!({"op": "get", "key": "large"}); 60];
    let more = [json!({"op": "get", "key": "held"}), json!({"op": "set", "key": "large", "value": "v"})];
    let body = json!({"operations": gets.into_iter().chain(more).collect::<Vec<_>>()}).to_string();
    let answer = ask_with(&router, "POST /v2/batch", &[JSON], body.as_bytes()).await.json();
    let statuses: Vec<u64> =
        answer["results"].as_array().unwrap().iter().map(|r| r["status"].as_u64().unwrap()).collect();
    assert_eq!((statuses[0], statuses[59], statuses[60], statuses[61]), (200, 413, 409, 204), "{statuses:?}");
    assert!(cluster.seen_named("GET").len() < 60, "what nobody will be told is not asked for");
}
