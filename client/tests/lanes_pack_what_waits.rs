//! Natural batching, bounds and cancellation.

mod mock_cluster;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mock_cluster::{FRAME_BYTES_MAX, MockCluster, Verdict, until};
use simplekv_client::{Error, Failure, Kind, Options, Reply, Slot};

// On one thread all requests are made before the lane gets to run.
#[tokio::test]
async fn requests_made_together_travel_together() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    kv.set("warm", "up").await.unwrap();
    let sets = (0..2000).map(|i| kv.set(format!("k{i}"), "v").into_future());
    for outcome in futures::future::join_all(sets).await {
        outcome.unwrap();
    }
    let stats = kv.stats();
    assert_eq!(stats.ops, 2001);
    let frames = cluster.world.frames.lock().clone();
    assert_eq!(frames.len() as u64, stats.frames);
    assert!(frames.iter().all(|ops| *ops <= 256));
    assert!(frames.len() < 100, "{} frames for 2000 requests", frames.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_value_travels_alone() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    let large = vec![b'x'; 300 << 10];
    let sets = (0..8).map(|i| kv.set(format!("k{i}"), large.clone()).into_future());
    for outcome in futures::future::join_all(sets).await {
        outcome.unwrap();
    }
    assert!(cluster.world.frames.lock().iter().all(|ops| *ops == 1));
    assert_eq!(kv.get("k3").await.unwrap().unwrap().len(), large.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_no_node_takes_is_refused_and_harms_nobody() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    cluster.world.answers.send_replace(false);
    let pending = tokio::spawn({
        let kv = kv.clone();
        async move { kv.set("small", "v").timeout(Duration::from_secs(10)).no_retry().await }
    });
    until("it is in flight", || cluster.seen_named("SET").len() == 1).await;
    let error = kv.set("large", vec![b'x'; FRAME_BYTES_MAX]).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { what: "request", .. }), "{error}");
    assert!(!error.may_have_applied() && !error.is_retryable());
    cluster.world.answers.send_replace(true);
    assert!(pending.await.unwrap().unwrap());
    assert_eq!((kv.stats().disconnects, cluster.seen_named("SET").len()), (0, 1));
    let room_for_the_rest = 256;
    assert!(kv.set("almost", vec![b'x'; FRAME_BYTES_MAX - room_for_the_rest]).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_into_one_frame_follows_in_the_next() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    let append = |bytes: usize| {
        let args = [Bytes::from_static(b"APPEND"), Bytes::from_static(b"k"), Bytes::from(vec![b'x'; bytes])];
        (Arc::<[Bytes]>::from(args), Kind::Write)
    };
    let mut appends: Vec<_> = (0..8).map(|_| append(300 << 10)).collect();
    appends.insert(4, append(2 * FRAME_BYTES_MAX));
    let mut results = kv.execute_in_order(Slot::of_key(b"k"), appends, Options::default()).await;
    let error = results.remove(4).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    let lens: Vec<Reply> = results.into_iter().map(|result| result.unwrap()).collect();
    let expected: Vec<Reply> = (1..=8).map(|count| Reply::Int(count * (300 << 10))).collect();
    assert_eq!(lens, expected);
    assert_eq!(*cluster.world.frames.lock(), [3, 3, 2]);
    assert!(cluster.seen().iter().all(|op| op.attempt() == 1));
    assert_eq!(kv.stats().retries, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_limit_requests_fail_at_once() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.builder().max_in_flight(10, 100).build().await.unwrap();
    cluster.script(|_| Verdict::Ignore);
    let waiting: Vec<_> = (0..10)
        .map(|i| {
            let kv = kv.clone();
            tokio::spawn(async move { kv.set(format!("k{i}"), "v").timeout(Duration::from_secs(60)).await })
        })
        .collect();
    until("ten requests in flight", || cluster.seen().len() >= 10).await;
    let error = kv.set("one too many", "v").await.unwrap_err();
    assert!(matches!(error, Error::Overloaded { .. }), "{error}");
    assert!(kv.stats().overloaded >= 1);
    for task in waiting {
        task.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_request_gives_its_place_back_and_harms_nobody() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.builder().max_in_flight(1, 1).build().await.unwrap();
    kv.set("k", "v").await.unwrap();
    cluster.world.answers.send_replace(false);
    for _ in 0..20 {
        let request = tokio::time::timeout(Duration::from_millis(2), kv.set("k", "w").into_future());
        assert!(request.await.is_err());
    }
    cluster.world.answers.send_replace(true);
    kv.set("k", "x").await.unwrap();
    assert_eq!(kv.get("k").await.unwrap().as_deref(), Some(&b"x"[..]));
    let last = cluster.seen_named("SET").last().unwrap().dedupe.unwrap();
    assert_eq!(last.ack_below, last.seq, "a cancelled write does not hold up the count of answered ones");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_client_lets_what_is_in_flight_finish_and_nothing_new_in() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    kv.set("k", "v").await.unwrap();
    cluster.world.answers.send_replace(false);
    let pending = tokio::spawn({
        let kv = kv.clone();
        async move { kv.get("k").await }
    });
    until("the request is sent", || !cluster.seen_named("GET").is_empty()).await;
    let closing = tokio::spawn({
        let kv = kv.clone();
        async move { kv.close(Duration::from_secs(5)).await }
    });
    cluster.world.answers.send_replace(true);
    assert!(pending.await.unwrap().unwrap().is_some());
    closing.await.unwrap();
    assert!(matches!(kv.get("k").await, Err(Error::Closed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_client_tries_nothing_again() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    cluster.script(|op| match op.name() {
        "SET" => Verdict::Refuse(Failure::TryAgain { slot: Slot::of_key(b"k") }),
        _ => Verdict::ServeSilently,
    });
    let set = tokio::spawn({
        let kv = kv.clone();
        async move { kv.set("k", "v").timeout(Duration::from_secs(60)).await }
    });
    let incr = tokio::spawn({
        let kv = kv.clone();
        async move { kv.incr("n").timeout(Duration::from_secs(60)).await }
    });
    until("both are tried again", || ["SET", "INCRBY"].iter().all(|name| cluster.seen_named(name).len() > 1)).await;
    kv.close(Duration::from_millis(1)).await;
    let error = set.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Closed), "{error}");
    let error = incr.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { id: Some(_), .. }), "{error}");
    let (seen, connects) = (cluster.seen().len(), kv.stats().connects);
    assert!(matches!(kv.get("k").await, Err(Error::Closed)));
    assert_eq!((cluster.seen().len(), kv.stats().connects), (seen, connects));
}
