//! What a mock cluster does unless it is told otherwise, and what it does when it is.
#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected should fail there")]

use std::time::Duration;

use simplekv_client::{Client, Error, Expiry, Failure, Naming, Reply, Slot, Timeouts, Topology};
use simplekv_testing::{MockCluster, Verdict, key_of_group, until};

/// Asks once, where it is counted how often.
async fn patient(cluster: &MockCluster) -> Client {
    let mut timeouts = Timeouts::default();
    (timeouts.attempt, timeouts.total) = (Duration::from_secs(60), Duration::from_secs(60));
    cluster.builder().timeouts(timeouts).build().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn verdicts_are_for_one_request_each_and_come_in_their_order() {
    let cluster = MockCluster::three_nodes();
    let kv = patient(&cluster).await;
    cluster.next_named("get", Verdict::Answer(Reply::text("first")));
    cluster.next(Verdict::Answer(Reply::text("second")));
    cluster.next(Verdict::Refuse(Failure::command("ERR third")));
    cluster.script(|_| Verdict::Answer(Reply::text("script")));
    assert_eq!(kv.cmd("ECHO").key("k").await.unwrap(), Reply::text("second"), "the first is for a GET");
    assert!(matches!(kv.exists("k").await, Err(Error::Server(_))));
    assert_eq!(kv.get("k").await.unwrap().unwrap(), "first");
    assert_eq!(kv.get("k").await.unwrap().unwrap(), "script");
    let names: Vec<String> = cluster.seen().iter().map(|op| op.name().to_owned()).collect();
    assert_eq!(names, ["ECHO", "EXISTS", "GET", "GET"]);
    cluster.forget_seen();
    assert!(cluster.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_is_lost_is_done_once() {
    let cluster = MockCluster::three_nodes();
    let kv = cluster.client().await;
    for lost in [Verdict::ServeSilently, Verdict::ServeAndHangUp, Verdict::ServeLate(Duration::from_secs(3600))] {
        cluster.forget_seen();
        cluster.next_named("RPUSH", lost);
        let before = kv.list("jobs").len().await.unwrap();
        assert_eq!(kv.list("jobs").rpush(["a"]).await.unwrap(), before + 1);
        assert_eq!(kv.list("jobs").len().await.unwrap(), before + 1);
        assert!(cluster.seen_named("RPUSH").len() > 1);
    }
    cluster.script(|_| Verdict::ServeAndHangUp);
    let error = kv.set("k", "v").no_retry().await.unwrap_err();
    assert!(error.may_have_applied(), "{error}");
    cluster.script(|_| Verdict::Serve);
    assert_eq!(kv.get("k").await.unwrap().unwrap(), "v");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hangs_goes_on_where_it_was() {
    let cluster = MockCluster::three_nodes();
    let kv = cluster.client().await;
    let (hung, alive) = (key_of_group(1, 2, 0), key_of_group(2, 2, 0));
    cluster.hang(1);
    let waiting = tokio::spawn({
        let (kv, hung) = (kv.clone(), hung.clone());
        async move { kv.incr(hung).timeout(Duration::from_secs(120)).await }
    });
    until("it was asked for and given up", || kv.stats().retries > 0).await;
    assert_eq!(kv.incr(&alive).timeout(Duration::from_secs(120)).await.unwrap(), 1, "other nodes are not disturbed");
    assert!(cluster.seen().iter().all(|op| op.node != 1));
    cluster.resume(1);
    assert_eq!(waiting.await.unwrap().unwrap(), 1);
    assert_eq!(kv.get(&hung).await.unwrap().unwrap(), "1", "however often it was asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_follow_leaders_and_slots() {
    let mut cluster = MockCluster::three_nodes();
    let kv = cluster.builder().timeout(Duration::from_secs(120)).build().await.unwrap();
    let key = key_of_group(1, 2, 0);
    assert_eq!(kv.incr(&key).await.unwrap(), 1);
    assert_eq!(cluster.seen_named("INCRBY").first().map(|op| op.node), Some(1));

    cluster.move_slot(Slot::of_key(key.as_bytes()), 2);
    assert_eq!(kv.incr(&key).await.unwrap(), 2);
    assert!(cluster.seen_named("INCRBY").iter().any(|op| op.node == 2), "who leads the other group has it");

    cluster.kill(2);
    cluster.elect(2, 3);
    assert_eq!(kv.incr(&key).await.unwrap(), 3);
    assert!(cluster.seen_named("INCRBY").iter().any(|op| op.node == 3));

    cluster.elect(2, 0);
    let mut topology = kv.topology();
    let leads = |topology: &Topology| topology.groups().last().and_then(|group| group.leader);
    topology.wait_for(|topology| leads(topology).is_none()).await.unwrap();
    let error = kv.incr(&key).timeout(Duration::from_millis(100)).await.unwrap_err();
    assert!(matches!(&error, Error::Timeout { last, .. } if matches!(**last, Error::NoLeader { .. })), "{error}");
    cluster.restart(2);
    cluster.elect(2, 2);
    assert_eq!(kv.incr(&key).await.unwrap(), 4);
    assert_eq!(cluster.world.keys.lock().executed_writes, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_expire_when_the_test_says_so() {
    let cluster = MockCluster::three_nodes();
    let kv = cluster.client().await;
    kv.set("session", "v").ttl(Duration::from_secs(60)).await.unwrap();
    kv.set("eternal", "v").await.unwrap();
    cluster.advance(Duration::from_secs(20));
    assert_eq!(kv.ttl("session").await.unwrap(), Expiry::In(Duration::from_secs(40)));
    cluster.advance(Duration::from_secs(40));
    assert_eq!(kv.ttl("session").await.unwrap(), Expiry::Missing);
    assert_eq!(kv.ttl("eternal").await.unwrap(), Expiry::Never);
    assert_eq!(cluster.world.keys.lock().names(), [b"eternal"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_woken_and_who_listens_is_told() {
    let cluster = MockCluster::three_nodes();
    let kv = cluster.client().await;
    let waiting = tokio::spawn({
        let kv = kv.clone();
        async move { kv.list("jobs").wait_lpop(Duration::MAX).await }
    });
    until("it has looked in vain", || !cluster.seen_named("LPOP").is_empty()).await;
    kv.list("jobs").rpush(["a"]).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().unwrap(), "a");

    for (naming, name, channel) in
        [(Naming::Channel, "news", "news"), (Naming::Pattern, "sp?rt", "sport"), (Naming::Shard, "here", "here")]
    {
        let mut listening = kv.subscribe(naming, name);
        listening.ready().await;
        let said_in = if naming == Naming::Shard { naming } else { Naming::Channel };
        assert_eq!(kv.publish(said_in, "other", "not this").await.unwrap(), 0);
        assert_eq!(kv.publish(said_in, channel, "a goal").await.unwrap(), 1);
        let message = listening.next().await.unwrap();
        assert_eq!((&*message.channel, &*message.message), (channel.as_bytes(), &b"a goal"[..]));
    }
}

/// Every answer says where it was read or written, as a real one does.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_takes_down_what_it_has_seen() {
    let cluster = MockCluster::three_nodes();
    let kv = cluster.client().await;
    let session = kv.session();
    let (first, second) = (key_of_group(1, 2, 0), key_of_group(2, 2, 0));
    session.set(&first, "v").await.unwrap();
    session.set(&first, "w").await.unwrap();
    session.set(&second, "v").await.unwrap();
    assert_eq!(session.token().to_string(), "s1-g1.1.0.1.2-g2.1.0.1.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_take_their_time() {
    let cluster = MockCluster::three_nodes();
    let kv = cluster.client().await;
    let latency = Duration::from_millis(20);
    cluster.set_latency(latency);
    let began = tokio::time::Instant::now();
    kv.set("k", "v").await.unwrap();
    assert!(began.elapsed() >= latency);
}
