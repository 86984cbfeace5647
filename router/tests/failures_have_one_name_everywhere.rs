//! What a node refuses is told to every kind of client in its own words, and none is left in doubt about whether it was done.
#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected should fail there")]

mod harness;

use std::time::Duration;

use harness::mock_cluster::{MockCluster, Verdict};
use harness::{Redis, grpc, router_with};
use simplekv_client::Error;
use simplekv_proto::convert::failure_in_details;
use simplekv_router::{Limits, Router};
use simplekv_types::FailureCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Long enough for an answer, short enough for those that are waited for in vain.
const PATIENCE: Duration = Duration::from_secs(1);

/// A node that refuses a write to each key with the failure of that name.
fn refusing() -> MockCluster {
    let cluster = MockCluster::start(1, &[&[1]]);
    cluster.script(|op| {
        let meant = FailureCode::ALL.into_iter().find(|code| op.args.iter().any(|arg| arg == code.as_str()));
        meant.map_or(Verdict::Serve, |code| Verdict::Refuse(code.example()))
    });
    cluster
}

/// What a failure of a node becomes behind a client that retries and a router that knows no other address.
fn seen_as(code: FailureCode) -> FailureCode {
    match code {
        FailureCode::Moved => FailureCode::TryAgain,
        FailureCode::NotLeader => FailureCode::NoLeader,
        // The write this is a retry of was answered, and nobody knows with what.
        FailureCode::StaleRetry => FailureCode::Uncertain,
        code => code,
    }
}

async fn put(router: &Router, key: &str) -> (u16, serde_json::Value) {
    let mut stream = TcpStream::connect(router.http_address()).await.unwrap();
    let request = format!("PUT /v2/keys/{key} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 1\r\n\r\nv");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_is_told_at_every_door() {
    let cluster = refusing();
    let router = router_with(&cluster, Limits { request_timeout: PATIENCE, ..Limits::default() }).await;
    let mut redis = Redis::connect(&router).await;
    let mut kv = grpc::kv(&router).await;
    for code in FailureCode::ALL {
        let told = seen_as(code).told();
        // At the same time: those that are waited for in vain take their whole time at each door.
        let words = format!("SET {} v", code.as_str());
        let (error, (status, problem), called) =
            tokio::join!(redis.ask(&words), put(&router, code.as_str()), kv.set(grpc::set(code.as_str(), "v")));
        let word = error.strip_prefix('-').unwrap().split(' ').next().unwrap();
        assert!(word == told.redis || (told.redis.is_empty() && word == "ERR"), "{code:?}: {error}");
        assert_eq!((status, problem["code"].as_str()), (told.http, Some(told.name)), "{code:?}: {problem}");
        let status = called.unwrap_err();
        assert_eq!(status.code() as i32, told.grpc, "{code:?}: {status}");
        assert_eq!(failure_in_details(status.details()).map(|failure| failure.code()), Some(seen_as(code)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_is_in_doubt_exactly_where_the_failure_is() {
    let cluster = refusing();
    let client = cluster.builder().timeout(PATIENCE).build().await.unwrap();
    for code in FailureCode::ALL {
        let error = client.set(code.as_str(), "v").await.unwrap_err();
        assert_eq!(error.may_have_applied(), seen_as(code).told().may_have_applied, "{code:?}: {error}");
        if error.may_have_applied() {
            assert!(matches!(error, Error::OutcomeUnknown { id: Some(_), .. }), "{error:?}");
        }
    }
}
