//! Connections of one router: listed, ended, unblocked and put off by each other; what of theirs took long; and what only nodes know.

mod harness;

use harness::mock_cluster::{MockCluster, Verdict, key_of_group};
use harness::{Redis, router};

async fn id_of(redis: &mut Redis) -> String {
    redis.ask("CLIENT ID").await
}

/// Asks until the answer is as wanted.
async fn until(redis: &mut Redis, line: &str, is_wanted: impl Fn(&str) -> bool) -> String {
    let asked = async {
        loop {
            let answer = redis.ask(line).await;
            if is_wanted(&answer) {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), asked).await.expect("it never was")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_ended_by_another() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let (mut one, mut other) = (Redis::connect(&router).await, Redis::connect(&router).await);
    let (mine, id) = (id_of(&mut one).await, id_of(&mut other).await);
    let line = one.ask(&format!("CLIENT LIST ID {id}")).await;
    assert!(line.contains(" flags=N ") && line.contains(" cmd=client|id "), "{line}");
    assert_eq!(one.ask(&format!("CLIENT KILL ID {id}")).await, "1");
    assert!(other.next().await.is_none(), "it has been ended");
    until(&mut one, "CLIENT LIST", |list| list.lines().count() == 1).await;
    assert_eq!(one.ask("CLIENT KILL TYPE normal").await, "0", "it would not end itself");
    assert_eq!(one.ask(&format!("CLIENT KILL ID {mine} SKIPME no")).await, "1", "it is answered");
    assert!(one.next().await.is_none(), "and then ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_waits_is_unblocked_and_goes_on() {
    let cluster = MockCluster::start(1, &[&[1]]);
    cluster.script(|seen| match seen.name() {
        "BLPOP" => Verdict::Answer(simplekv_client::Reply::NullArray),
        _ => Verdict::Serve,
    });
    let router = router(&cluster).await;
    let (mut one, mut other) = (Redis::connect(&router).await, Redis::connect(&router).await);
    let id = id_of(&mut other).await;
    assert_eq!(one.ask(&format!("CLIENT UNBLOCK {id}")).await, "0", "it does not wait");
    for (how, told) in
        [("", "(nil)"), (" TIMEOUT", "(nil)"), (" ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK")]
    {
        other.send(&["BLPOP list 0", "PING"]).await;
        until(&mut one, &format!("CLIENT LIST ID {id}"), |line| line.contains(" flags=b ")).await;
        assert_eq!(one.ask(&format!("CLIENT UNBLOCK {id}{how}")).await, "1");
        assert_eq!(harness::show(&other.next().await.expect("an answer")), told);
        assert_eq!(harness::show(&other.next().await.expect("an answer")), "+PONG");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_put_off_while_reads_go_on() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let (mut one, mut other) = (Redis::connect(&router).await, Redis::connect(&router).await);
    assert_eq!(one.ask("CLIENT PAUSE 600000 WRITE").await, "+OK");
    other.send(&["SET key value"]).await;
    assert_eq!(one.ask("GET key").await, "(nil)");
    assert_eq!(one.ask("CLIENT UNPAUSE").await, "+OK");
    assert_eq!(harness::show(&other.next().await.expect("an answer")), "+OK");
    assert_eq!(one.ask("GET key").await, "value");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_took_long_is_remembered() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let mut redis = Redis::connect(&router).await;
    assert_eq!(redis.ask("CONFIG GET slowlog-log-slower-than").await, "[slowlog-log-slower-than 10000]");
    assert_eq!(redis.ask("CONFIG SET slowlog-log-slower-than -1").await, "+OK");
    redis.ask_all(&["SET a 1", "SLOWLOG RESET", "CONFIG SET slowlog-log-slower-than 0", "CLIENT SETNAME me"]).await;
    assert_eq!(redis.ask("SLOWLOG LEN").await, "0");
    redis.ask("GET a").await;
    redis.ask_all(&["MULTI", "INCR a", "EXEC"]).await;
    let entries = redis.ask("SLOWLOG GET").await;
    assert!(entries.contains("[GET a] ") && entries.contains(" me]"), "{entries}");
    assert!(entries.contains("[ATOMIC 0 3 INCRBY a 1] "), "{entries}");
    assert_eq!(redis.ask_all(&["SLOWLOG LEN", "SLOWLOG RESET", "SLOWLOG GET -1"]).await, ["2", "+OK", "[]"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_asked_for_what_only_they_know() {
    let cluster = MockCluster::start(3, &[&[1, 2], &[2, 1], &[3]]);
    let router = router(&cluster).await;
    let mut redis = Redis::connect(&router).await;
    assert_eq!(redis.ask("PUBSUB CHANNELS").await, "[all of-1 of-2 of-3]");
    assert_eq!(redis.ask("PUBSUB NUMSUB of-1 all").await, "[of-1 6 all 6]");
    assert_eq!(redis.ask("PUBSUB NUMPAT").await, "6");
    assert_eq!(redis.ask("WAIT 1 0").await, "1", "of all groups, the one that has fewest");
    assert_eq!(redis.ask("WAITAOF 1 1 100").await, "[1 1]");
    let at = |group: u32, end: u64| format!("s1-g{group}.1.0.1.{end}").parse::<simplekv_client::SessionToken>();
    let position = at(3, 7).expect("a token").positions()[0];
    cluster.script(move |_| Verdict::ServeAt(position));
    assert_eq!(redis.ask(&format!("SET {} v", key_of_group(3, 3, 0))).await, "+OK");
    assert_eq!(redis.ask("WAIT 3 0").await, "3", "of the group that was written");
    let inside = redis.ask_all(&["MULTI", "WAITAOF 1 1 0", "EXEC"]).await;
    assert!(inside[1].starts_with("-ERR ") && inside[2].starts_with("-EXECABORT "), "{inside:?}");
}
