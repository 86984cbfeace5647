//! The HTTP port, spoken to byte by byte.

mod harness;

use std::time::Duration;

use harness::http::ask;
use harness::mock_cluster::{MockCluster, Verdict};
use harness::{Redis, router, router_with};
use simplekv_client::Failure;
use simplekv_router::Limits;

#[tokio::test(flavor = "multi_thread")]
async fn values_are_put_got_and_deleted_as_they_are() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let router = router(&cluster).await;
    let value = b"\0\xff any bytes \r\n";
    assert_eq!(ask(&router, "GET /v2/keys/a%2Fb", b"").await.status, 404);
    assert_eq!(ask(&router, "PUT /v2/keys/a%2Fb?ttl=60", value).await.status, 204);
    let got = ask(&router, "GET /v2/keys/a/b", b"").await;
    assert_eq!((got.status, &got.body[..]), (200, &value[..]));
    assert!(got.head.contains("content-type: application/octet-stream"));
    let mut redis = Redis::connect(&router).await;
    assert_eq!(redis.ask("PTTL a/b").await, "60000");
    assert_eq!(ask(&router, "GET /v2/keys/a/b?read=any", b"").await.status, 200);
    assert_eq!(ask(&router, "DELETE /v2/keys/a/b", b"").await.status, 204);
    let missing = ask(&router, "DELETE /v2/keys/a/b", b"").await;
    assert_eq!(missing.status, 404);
    assert!(missing.head.contains("content-type: application/problem+json"));
    let problem: serde_json::Value = serde_json::from_slice(&missing.body).unwrap();
    assert_eq!((&problem["status"], &problem["code"]), (&404.into(), &"not_found".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_a_problem_of_the_request() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router_with(&cluster, Limits { request_bytes: 4096, ..Limits::default() }).await;
    for (request, body, status, code) in [
        ("PUT /v2/keys/k?ttl=soon", 1, 400, "bad_query"),
        ("PUT /v2/keys/k?ttl=0", 1, 400, "bad_query"),
        ("GET /v2/keys/k?read=maybe", 0, 400, "bad_query"),
        ("GET /v2/keys/k?nosuch=1", 0, 400, "bad_query"),
        ("GET /v2/keys/%zz", 0, 400, "bad_key"),
        ("PUT /v2/keys/k", 5000, 413, "too_large"),
        ("POST /v2/keys/k", 1, 405, "method_not_allowed"),
        ("GET /v2/nosuch", 0, 404, "no_such_path"),
    ] {
        let reply = ask(&router, request, &vec![b'x'; body]).await;
        assert_eq!(reply.status, status, "{request}: {}", reply.text());
        assert!(reply.text().contains(code), "{request}: {}", reply.text());
    }
    assert!(cluster.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cluster_cannot_do_is_a_problem_of_ours() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let limits = Limits { request_timeout: Duration::from_millis(300), ..Limits::default() };
    let router = router_with(&cluster, limits).await;
    cluster.script(|_| Verdict::Refuse(Failure::NoReplicas { in_sync: 1, required: 2 }));
    let reply = ask(&router, "PUT /v2/keys/k", b"v").await;
    assert_eq!(reply.status, 503);
    assert!(reply.head.contains("retry-after: 1") && reply.text().contains("no_replicas"), "{}", reply.text());
    cluster.script(|_| Verdict::ServeSilently);
    let reply = ask(&router, "PUT /v2/keys/k", b"v").await;
    assert_eq!(reply.status, 504);
    assert!(reply.text().contains("uncertain"), "{}", reply.text());
    cluster.script(|_| Verdict::Refuse(Failure::WrongType));
    assert_eq!(ask(&router, "GET /v2/keys/k", b"").await.status, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_router_is_ready_once_every_slot_has_an_owner() {
    let mut cluster = MockCluster::start(1, &[&[1]]);
    cluster.kill(1);
    let router = router(&cluster).await;
    assert_eq!(ask(&router, "GET /livez", b"").await.status, 200);
    assert_eq!(ask(&router, "GET /readyz", b"").await.status, 503);
    let page = ask(&router, "GET /", b"").await;
    assert!(page.text().contains("No node has told the topology yet"), "{}", page.text());
    cluster.restart(1);
    router.client().topology().wait_for(|topology| !topology.is_unknown()).await.unwrap();
    assert_eq!(ask(&router, "GET /readyz", b"").await.text(), "ready\n");
    cluster.elect(1, 0);
    router.client().topology().wait_for(|topology| topology.version() == 2).await.unwrap();
    let ready = ask(&router, "GET /readyz", b"").await;
    assert_eq!((ready.status, ready.text().as_str()), (200, "ready\ndegraded: g1 has no leader\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_and_the_metrics_tell_what_goes_on() {
    let cluster = MockCluster::start(3, &[&[1, 2, 3], &[2, 3, 1]]);
    let router = router(&cluster).await;
    let mut redis = Redis::connect(&router).await;
    redis.ask_all(&["SET a 1", "GET a", "INCR a", "INCR b c", "PING", "DBSIZE"]).await;
    let page = ask(&router, "GET /", b"").await;
    assert!(page.head.contains("content-type: text/html"));
    for text in ["Every slot is served", "n1, n2, n3", "0-8191", &cluster.address(2).to_string()] {
        assert!(page.text().contains(text), "{text} in {}", page.text());
    }
    let metrics = ask(&router, "GET /metrics", b"").await.text();
    for line in [
        "simplekv_router_requests_total{class=\"read\",outcome=\"ok\"} 1",
        "simplekv_router_requests_total{class=\"write\",outcome=\"ok\"} 2",
        "simplekv_router_requests_total{class=\"wide\",outcome=\"ok\"} 1",
        "simplekv_router_requests_total{class=\"control\",outcome=\"ok\"} 1",
        "simplekv_router_requests_total{class=\"invalid\",outcome=\"error\"} 1",
        "simplekv_router_slots_owned 16384",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}
