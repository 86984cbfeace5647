//! `/kv-store` as programs of the causal key-value store know it.

mod harness;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use harness::http::{ask, ask_with};
use harness::mock_cluster::{MockCluster, Verdict};
use harness::{Redis, router, router_with};
use serde_json::{Value, json};
use simplekv_client::{Failure, GroupId, Position, ReadPolicy};
use simplekv_router::Limits;
use simplekv_types::{Epoch, FailureCode, Lineage, Lsn, SlotMapVersion};

/// Every operation is one record of the one group's log.
fn count_records(cluster: &MockCluster) {
    let end = AtomicU64::new(0);
    cluster.script(move |_| {
        let end = Lsn(end.fetch_add(1, Ordering::Relaxed) + 1);
        let (group, slots, lineage, epoch) = (GroupId(1), SlotMapVersion(1), Lineage(0), Epoch(1));
        Verdict::ServeAt(Position { group, slots, lineage, epoch, end })
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_lives_from_its_put_to_its_delete() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let router = router(&cluster).await;
    let value = br#"{"value": "1", "causal-context": {}}"#;
    for (request, status, writes, told) in [
        ("GET", 404, 0, json!({"error": "Key does not exist", "message": "Error in GET", "doesExist": false})),
        ("PUT", 201, 1, json!({"message": "Added successfully", "replaced": false})),
        ("PUT", 200, 2, json!({"message": "Updated successfully", "replaced": true})),
        ("GET", 200, 2, json!({"message": "Retrieved successfully", "value": "1", "doesExist": true})),
        ("DELETE", 200, 3, json!({"message": "Deleted successfully", "doesExist": true})),
        ("DELETE", 404, 3, json!({"error": "Key does not exist", "message": "Error in DELETE", "doesExist": false})),
    ] {
        let answer = ask(&router, &format!("{request} /kv-store/keys/a/b%20c"), value).await;
        let mut expected = told;
        expected["address"] =
            cluster.address(if cluster.seen().last().unwrap().node == 1 { 1 } else { 2 }).to_string().into();
        expected["causal-context"] = json!({"g2": writes, "g2.epoch": 1, "g2.slots": 1});
        assert_eq!((answer.status, answer.json()), (status, expected), "{request}");
    }
    assert_eq!(cluster.seen_named("SET")[0].args, ["SET", "a/b c", "1", "GET"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_is_a_session() {
    let cluster = MockCluster::start(2, &[&[1, 2]]);
    count_records(&cluster);
    let limits = Limits { request_timeout: Duration::from_millis(500), ..Limits::default() };
    let router = router_with(&cluster, limits).await;
    let put = ask(&router, "PUT /kv-store/keys/k", br#"{"value":"v"}"#).await;
    let context = json!({"g1": 1, "g1.epoch": 1, "g1.slots": 1});
    assert_eq!((&put.json()["causal-context"], put.header("x-simplekv-session")), (&context, "s1-g1.1.0.1.1"));
    let last = || cluster.seen_named("GET").pop().unwrap();
    let get = ask(&router, "GET /kv-store/keys/k", json!({"causal-context": context}).to_string().as_bytes()).await;
    assert_eq!(get.json()["causal-context"], json!({"g1": 2, "g1.epoch": 1, "g1.slots": 1}));
    assert_eq!((last().policy, last().floor.map(|floor| floor.end)), (ReadPolicy::SESSION, Some(Lsn(1))));
    ask_with(&router, "GET /kv-store/keys/k?causal-context=s1-g1.1.0.1.2", &[], b"").await;
    assert_eq!(last().floor.map(|floor| floor.end), Some(Lsn(2)));
    ask(&router, "GET /kv-store/keys/k", b"").await;
    assert_eq!(last().policy, ReadPolicy::Linearizable, "who has seen nothing is shown the latest");
    cluster.script(|_| Verdict::Refuse(Failure::TokenLost { group: GroupId(1) }));
    let lost = ask_with(&router, "GET /kv-store/keys/k", &[("X-Causal-Context", "s1-g1.1.0.9.9")], b"").await;
    assert_eq!((lost.status, &lost.json()["error"]), (503, &json!("Unable to satisfy request")));
    assert_eq!(lost.header("retry-after"), "", "it does not come back");
    cluster.script(|_| Verdict::Refuse(Failure::NoReplicas { in_sync: 1, required: 2 }));
    let refused = ask(&router, "PUT /kv-store/keys/k", br#"{"value":"v"}"#).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_has_words_and_a_doubtful_write_its_own() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let limits = Limits { request_timeout: Duration::from_millis(300), ..Limits::default() };
    let router = router_with(&cluster, limits).await;
    for code in FailureCode::ALL {
        cluster.script(move |_| Verdict::Refuse(code.example()));
        let answer = ask(&router, "PUT /kv-store/keys/k", br#"{"value":"v"}"#).await;
        let doubtful = code.told().may_have_applied || code == FailureCode::StaleRetry;
        assert_eq!(answer.status == 504, doubtful, "{code:?}: {}", answer.text());
        assert!(answer.json()["error"].is_string() && answer.json()["message"] == "Error in PUT", "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_before_anybody_is_asked() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router_with(&cluster, Limits { request_bytes: 4096, ..Limits::default() }).await;
    router.client().topology().wait_for(|topology| !topology.is_unknown()).await.unwrap();
    let (long, large) =
        (format!("GET /kv-store/keys/{}", "%41".repeat(51)), json!({"value": "x".repeat(5000)}).to_string());
    for (request, body, status, error) in [
        ("PUT /kv-store/keys/k", r#"{"value": 1}"#, 400, "Failed to parse request body"),
        ("PUT /kv-store/keys/k", "", 400, "Value is missing"),
        ("PUT /kv-store/keys/", r#"{"value":"v"}"#, 400, "Key is missing"),
        ("PUT /kv-store/keys/k", &large, 413, "Request is too large"),
        ("GET /kv-store/keys/%4", "", 400, "Failed to parse request body"),
        (&long, "", 400, "Key is too long"),
        ("GET /kv-store/keys/k?causal-context=x", "", 400, "Failed to parse request body"),
        ("GET /kv-store/shards/0", "", 404, "Shard does not exist"),
        ("GET /kv-store/shards/+1", "", 404, "Shard does not exist"),
        ("GET /kv-store/shards/99999999999", "", 404, "Shard does not exist"),
    ] {
        let answer = ask(&router, request, body.as_bytes()).await;
        assert_eq!((answer.status, &answer.json()["error"]), (status, &json!(error)), "{request}");
        assert_eq!(answer.json()["causal-context"], Value::Null, "{request}");
    }
    let view = ask(&router, "PUT /kv-store/view-change", br#"{"view":["a:1"],"repl-factor":1}"#).await;
    assert!(view.status == 501 && view.text().contains("simplekv-admin"), "{}", view.text());
    assert!(cluster.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_are_the_groups() {
    let cluster = MockCluster::start(3, &[&[1, 2], &[2, 3]]);
    let router = router(&cluster).await;
    let mut redis = Redis::connect(&router).await;
    redis.ask("MSET a 1 b 2 c 3 d 4 e 5").await;
    let shards = ask(&router, "GET /kv-store/shards", b"").await.json();
    assert_eq!(
        (&shards["shards"], &shards["message"]),
        (&json!([1, 2]), &json!("Shard membership retrieved successfully"))
    );
    assert_eq!(ask(&router, "GET /kv-store/key-count", b"").await.json()["key-count"], 5);
    let address = |node| json!(cluster.address(node).to_string());
    let second = ask(&router, "GET /kv-store/shards/2", b"").await.json();
    assert_eq!((&second["shard-id"], &second["address"]), (&json!(2), &address(2)));
    assert_eq!(second["replicas"], json!([address(2), address(3)]));
    let first = ask(&router, "GET /kv-store/shards/1", b"").await.json();
    assert_eq!(first["key-count"].as_u64().unwrap() + second["key-count"].as_u64().unwrap(), 5);
    cluster.elect(2, 0);
    router.client().topology().wait_for(|topology| topology.version() == 2).await.unwrap();
    assert_eq!(ask(&router, "GET /kv-store/shards", b"").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_other_doors_have_put_there_is_not_mistaken_for_text() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    ask(&router, "PUT /v2/keys/k", b"\xff").await;
    let answer = ask(&router, "GET /kv-store/keys/k", b"").await;
    assert_eq!((answer.status, answer.text().contains("/v2/keys")), (406, true));
    ask(&router, "PUT /v2/keys/k", b"").await;
    assert_eq!(ask(&router, "GET /kv-store/keys/k", b"").await.json()["value"], "");
    cluster.script(|_| Verdict::Refuse(Failure::WrongType));
    assert_eq!(ask(&router, "PUT /kv-store/keys/k", br#"{"value":"v"}"#).await.status, 409);
}
