//! CLIENT TRACKING through a router: what is told, and that it is told behind the answer it is about.

mod harness;

use std::time::Duration;

use harness::mock_cluster::MockCluster;
use harness::{Redis, router};
use simplekv_client::Stale;
use simplekv_router::Router;
use tokio::sync::mpsc;

/// Tells when the router has heard of changes, after its own connections have been told.
fn heard_by(router: &Router) -> mpsc::UnboundedReceiver<bool> {
    let (sender, heard) = mpsc::unbounded_channel();
    router.client().track(move |stale| {
        let _ = sender.send(matches!(stale, Stale::Everything));
    });
    heard
}

async fn tracking(router: &Router, options: &str) -> Redis {
    let mut redis = Redis::connect(router).await;
    redis.ask("HELLO 3").await;
    // The first that tracks is told of everything that was before.
    assert_eq!(redis.ask(&format!("CLIENT TRACKING ON{options}")).await, "+OK");
    redis
}

/// One that tracks while all nodes are heard already.
async fn tracking_later(router: &Router, options: &str) -> Redis {
    let mut first = tracking(router, "").await;
    let ready = router.client().track(|_| ());
    tokio::time::timeout(Duration::from_secs(60), ready.ready()).await.expect("the nodes are heard");
    first.ask("CLIENT TRACKING OFF").await;
    drop(first);
    tracking(router, options).await
}

async fn next(redis: &mut Redis) -> String {
    redis.next().await.map_or_else(|| "closed".to_owned(), |frame| harness::show(&frame))
}

async fn wait_until(is_so: impl Fn() -> bool) {
    let until = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), until).await.expect("it never came");
}

#[tokio::test]
async fn a_key_that_was_read_is_told_once_when_it_changes() {
    let cluster = MockCluster::start(2, &[&[1, 2], &[2, 1]]);
    let router = router(&cluster).await;
    let mut reader = tracking_later(&router, "").await;
    let mut writer = Redis::connect(&router).await;
    assert_eq!(reader.ask("MGET foo bar").await, "[(nil) (nil)]");
    writer.ask("SET foo 1").await;
    assert_eq!(next(&mut reader).await, "[invalidate [foo]]");
    writer.ask("SET foo 2").await;
    assert_eq!(reader.ask("GET foo").await, "2", "nothing more was told");
    writer.ask("SET bar 1").await;
    assert_eq!(next(&mut reader).await, "[invalidate [bar]]");
    writer.ask("FLUSHALL").await;
    assert_eq!(next(&mut reader).await, "[invalidate (nil)]");
}

/// The client would throw away a copy it does not have yet, and keep the one that comes.
#[tokio::test]
async fn what_changes_while_an_answer_is_on_its_way_is_told_behind_it() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let mut reader = tracking_later(&router, "").await;
    let mut heard = heard_by(&router);
    cluster.world.answers.send_replace(false);
    reader.send(&["GET k"]).await;
    wait_until(|| cluster.is_tracked("k")).await;
    cluster.change_key("k", "2");
    tokio::time::timeout(Duration::from_secs(60), heard.recv()).await.expect("it is heard");
    cluster.world.answers.send_replace(true);
    assert_eq!(next(&mut reader).await, "(nil)");
    assert_eq!(next(&mut reader).await, "[invalidate [k]]");
}

#[tokio::test]
async fn while_a_node_is_not_heard_what_it_answers_is_stale_at_once() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let mut reader = tracking_later(&router, "").await;
    reader.ask("GET k").await;
    cluster.stop_telling(1, true);
    assert_eq!(next(&mut reader).await, "[invalidate (nil)]", "whatever it keeps");
    for _ in 0..2 {
        assert_eq!(reader.ask("GET k").await, "(nil)");
        assert_eq!(next(&mut reader).await, "[invalidate [k]]");
    }
    cluster.stop_telling(1, false);
    assert_eq!(next(&mut reader).await, "[invalidate (nil)]", "the node is heard again");
    assert_eq!(reader.ask("GET k").await, "(nil)");
    cluster.change_key("k", "1");
    assert_eq!(next(&mut reader).await, "[invalidate [k]]");
}

#[tokio::test]
async fn prefixes_are_told_whoever_reads() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let mut broad = tracking_later(&router, " BCAST PREFIX user: PREFIX item:").await;
    for key in ["other", "item:1"] {
        cluster.change_key(key, "1");
    }
    assert_eq!(next(&mut broad).await, "[invalidate [item:1]]");
    assert_eq!(broad.ask("CLIENT TRACKING ON BCAST PREFIX o").await, "+OK");
    cluster.change_key("other", "2");
    assert_eq!(next(&mut broad).await, "[invalidate [other]]");
    assert_eq!(broad.ask("RESET").await, "+RESET");
    cluster.change_key("other", "3");
    assert_eq!(broad.ask("PING").await, "+PONG");
}

#[tokio::test]
async fn one_connection_listens_for_another() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let mut ear = tracking_later(&router, "").await;
    assert_eq!(ear.ask("RESET").await, "+RESET");
    let id = ear.ask("CLIENT ID").await;
    ear.ask("SUBSCRIBE __redis__:invalidate").await;
    let mut reader = Redis::connect(&router).await;
    assert_eq!(reader.ask(&format!("CLIENT TRACKING ON REDIRECT {id}")).await, "+OK");
    reader.ask("GET k").await;
    cluster.change_key("k", "1");
    assert_eq!(next(&mut ear).await, "[message __redis__:invalidate [k]]");
    assert_eq!(reader.ask("PING").await, "+PONG", "it is not told itself");
}

#[tokio::test]
async fn only_what_is_asked_for_is_tracked() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let mut reader = tracking_later(&router, " OPTIN").await;
    let replies = reader.ask_all(&["GET a", "CLIENT CACHING YES", "GET b", "GET c"]).await;
    assert_eq!(replies, ["(nil)", "+OK", "(nil)", "(nil)"]);
    assert_eq!(["a", "b", "c"].map(|key| cluster.is_tracked(key)), [false, true, false]);
}

/// A transaction that is tried again answers what it read at first.
#[tokio::test]
async fn what_a_transaction_reads_is_not_kept() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let mut reader = tracking_later(&router, "").await;
    let replies = reader.ask_all(&["MULTI", "GET k", "SET l 1", "EXEC"]).await;
    assert_eq!(replies, ["+OK", "+QUEUED", "+QUEUED", "[(nil) +OK]"]);
    assert_eq!(next(&mut reader).await, "[invalidate [k]]");
}
