//! Answers are lost in every way an answer can be lost.

mod mock_cluster;

use std::time::Duration;

use mock_cluster::{MockCluster, Verdict, key_of_group, until};
use simplekv_client::{Error, Failure};
use simplekv_types::{GroupTime, Seq};

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_asked_for_again_under_the_same_identity() {
    for lose in [|| Verdict::ServeSilently, || Verdict::ServeAndHangUp] {
        let cluster = MockCluster::start(1, &[&[1]]);
        let kv = cluster.client().await;
        cluster.script(move |op| if op.attempt() < 3 { lose() } else { Verdict::Serve });
        assert_eq!(kv.incr("n").await.unwrap(), 1);
        let attempts = cluster.seen_named("INCRBY");
        assert_eq!(attempts.iter().map(|op| op.attempt()).collect::<Vec<_>>(), [1, 2, 3]);
        let first = attempts[0].dedupe.unwrap();
        assert!(attempts.iter().all(|op| {
            let dedupe = op.dedupe.unwrap();
            (dedupe.seq, dedupe.deadline, &op.client) == (first.seq, first.deadline, &attempts[0].client)
        }));
        let a_minute_on = GroupTime(1_060_000)..GroupTime(1_120_000);
        assert!(a_minute_on.contains(&first.deadline), "a minute after the group's time: {}", first.deadline);
        assert_eq!(cluster.world.keys.lock().executed_writes, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_waits_for_the_time_of_its_group_and_keeps_its_deadline() {
    let cluster = MockCluster::start(1, &[&[1]]);
    cluster.change(|update| update.groups[0].group_time = 0);
    let kv = cluster.client().await;
    assert_eq!(kv.request_id("n"), None);
    cluster.script(|op| if op.attempt() == 1 { Verdict::ServeAndHangUp } else { Verdict::Serve });
    let error = kv.incr("n").timeout(Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { attempts: 0, .. }), "{error}");
    let pending = tokio::spawn({
        let kv = kv.clone();
        async move { kv.incr("n").timeout(Duration::from_secs(300)).await }
    });
    until("the request waits", || kv.stats().requests == 2).await;
    cluster.change(|update| update.groups[0].group_time = 1_000_000);
    assert_eq!(pending.await.unwrap().unwrap(), 1);
    let deadlines: Vec<u64> = cluster.seen().iter().map(|op| op.dedupe.unwrap().deadline.0).collect();
    let [first, second] = deadlines[..] else { panic!("{deadlines:?}") };
    assert!(first > 1_300_000, "not before the request itself is over");
    assert_eq!(first, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn answered_writes_are_declared_answered() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    for _ in 0..10 {
        kv.incr("n").await.unwrap();
    }
    let last = cluster.seen().last().unwrap().dedupe.unwrap();
    assert_eq!((last.seq, last.ack_below), (Seq(10), Seq(10)));
    assert_eq!(cluster.world.keys.lock().rows(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_nobody_answers_ends_in_doubt_and_its_identity_resolves_it() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    cluster.script(|_| Verdict::ServeSilently);
    let error = kv.incr("n").timeout(Duration::from_millis(500)).await.unwrap_err();
    let Error::OutcomeUnknown { id: Some(id), .. } = error else { panic!("{error}") };
    assert!(error.may_have_applied() && error.is_retryable());
    cluster.script(|_| Verdict::Serve);
    assert_eq!(kv.incr("n").request_id(id).await.unwrap(), 1, "the answer to the first");
    assert_eq!(kv.incr("n").await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_made_beforehand_is_done_once_across_clients() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let id = {
        let kv = cluster.client().await;
        let id = kv.request_id("n").unwrap();
        kv.incr("n").request_id(id).await.unwrap();
        id.to_string()
    };
    let kv = cluster.client().await;
    assert_eq!(kv.incr("n").request_id(id.parse().unwrap()).await.unwrap(), 1);
    assert!(cluster.seen().iter().all(|op| op.attempt() >= 2), "somebody may have tried before");
    assert_eq!(cluster.world.keys.lock().executed_writes, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_must_not_be_retried_carries_no_identity_and_says_when_it_is_in_doubt() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    cluster.script(|_| Verdict::ServeAndHangUp);
    let error = kv.incr("n").no_retry().await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { id: None, .. }), "{error}");
    assert!(!error.is_retryable());
    cluster.script(|_| Verdict::Refuse(Failure::Busy { what: "queue" }));
    let error = kv.incr("n").no_retry().await.unwrap_err();
    assert!(matches!(error, Error::Overloaded { .. }), "{error}");
    assert!(cluster.seen().iter().all(|op| op.dedupe.is_none()));
    assert_eq!(cluster.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_write_has_one_identity_and_each_part_is_done_once() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    let id = kv.request_id("a").unwrap();
    let pairs = [("a", "1"), ("b", "2"), ("c", "3")];
    kv.mset(pairs).request_id(id).await.unwrap();
    kv.set("b", "later").await.unwrap();
    kv.mset(pairs).request_id(id).await.unwrap();
    assert_eq!(cluster.world.keys.lock().executed_writes, 4);
    assert_eq!(kv.get("b").await.unwrap().as_deref(), Some(&b"later"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_write_that_fails_in_part_says_so() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    let (good, bad) = (key_of_group(1, 1, 0), key_of_group(1, 1, 1));
    let refused = bad.clone();
    cluster.script(move |op| match op.args.contains(&refused) {
        true => Verdict::Refuse(Failure::Busy { what: "queue" }),
        false => Verdict::Serve,
    });
    let error = kv.mset([(&good, "1"), (&bad, "2")]).await.unwrap_err();
    assert!(matches!(error, Error::Partial { parts: 2, failed: 1, .. }), "{error}");
    assert!(error.may_have_applied());
    let error = kv.mset([(&bad, "2")]).await.unwrap_err();
    assert!(matches!(error, Error::Overloaded { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_an_earlier_attempt_is_nobodys() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    cluster.script(|op| if op.attempt() == 1 { Verdict::AnswerAsAttempt(9) } else { Verdict::Serve });
    assert_eq!(kv.incr("n").await.unwrap(), 1);
    assert_eq!(cluster.seen().len(), 2);
}
