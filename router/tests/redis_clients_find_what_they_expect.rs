//! Handshakes, errors and commands on the whole keyspace.

mod harness;

use std::collections::BTreeSet;

use harness::mock_cluster::{MockCluster, Verdict, key_of_group};
use harness::{Redis, router};
use simplekv_client::{Failure, Slot};
use simplekv_resp::decode::Frame;

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_are_those_of_a_single_redis() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let mut redis = Redis::connect(&router).await;
    let hello = redis.ask("HELLO 3").await;
    assert!(hello.contains("proto=3") && hello.contains("mode=standalone"), "{hello}");
    assert_eq!(redis.ask("CLIENT SETINFO LIB-NAME tests").await, "+OK");
    assert_eq!(redis.ask("CLIENT SETNAME me").await, "+OK");
    assert_eq!(redis.ask("SELECT 0").await, "+OK");
    assert_eq!(redis.ask("SELECT 1").await, "-ERR DB index is out of range");
    assert_eq!(redis.ask("CLUSTER INFO").await, "-ERR This instance has cluster support disabled");
    assert!(redis.ask("INFO").await.contains("cluster_enabled:0"));
    assert_eq!(redis.ask("AUTH secret").await.split(' ').next(), Some("-ERR"));
    assert_eq!(redis.ask("nosuch").await, "-ERR unknown command 'nosuch', with args beginning with: ");
    assert_eq!(redis.ask("GET").await, "-ERR wrong number of arguments for 'get' command");
    let mut other = Redis::connect(&router).await;
    let list = other.ask("CLIENT LIST").await;
    assert!(list.contains("name=me") && list.contains("lib-name=tests") && list.lines().count() == 2, "{list}");
    assert_eq!(redis.ask("QUIT").await, "+OK");
    assert!(redis.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_protocol_of_a_reply_is_that_of_its_request() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let mut bytes = Vec::new();
    let mut raw = tokio::net::TcpStream::connect(router.resp_address()).await.expect("the router listens");
    tokio::io::AsyncWriteExt::write_all(&mut raw, b"GET none\r\nHELLO 3\r\nGET none\r\nQUIT\r\n").await.expect("sent");
    tokio::io::AsyncReadExt::read_to_end(&mut raw, &mut bytes).await.expect("answered");
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.starts_with("$-1\r\n%"), "{text}");
    assert!(text.ends_with("_\r\n+OK\r\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_begin_again_when_asked() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let mut redis = Redis::connect(&router).await;
    let count = |info: String| {
        let line = info.lines().find_map(|line| line.strip_prefix("total_commands_processed:")).map(str::to_owned);
        line.expect("INFO counts requests").parse::<u64>().expect("a number")
    };
    redis.ask_all(&["PING"; 10]).await;
    assert!(count(redis.ask("INFO stats").await) >= 10);
    assert_eq!(redis.ask("CONFIG RESETSTAT").await, "+OK");
    assert!(count(redis.ask("INFO stats").await) < 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_that_are_not_wanted_are_not_sent() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let mut redis = Redis::connect(&router).await;
    redis
        .send(&["CLIENT REPLY SKIP", "SET a 1", "GET a", "CLIENT REPLY OFF", "GET a", "CLIENT REPLY ON", "PING"])
        .await;
    let replies = [redis.next().await, redis.next().await, redis.next().await];
    let replies: Vec<String> = replies.iter().flatten().map(harness::show).collect();
    assert_eq!(replies, ["1", "+OK", "+PONG"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_over_all_keys_finds_each_of_them() {
    let cluster = MockCluster::start(3, &[&[1], &[2], &[3]]);
    let router = router(&cluster).await;
    let mut redis = Redis::connect(&router).await;
    let keys: BTreeSet<String> = (1..=3).flat_map(|group| (0..7).map(move |n| key_of_group(group, 3, n))).collect();
    for key in &keys {
        redis.ask(&format!("SET {key} v")).await;
    }
    let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
    loop {
        redis.send(&[&format!("SCAN {cursor}")]).await;
        let Some(Frame::Array(page)) = redis.next().await else { panic!("SCAN answers a page") };
        let [next, Frame::Array(keys)] = &page[..] else { panic!("a cursor and keys: {page:?}") };
        found.extend(keys.iter().map(harness::show));
        cursor = harness::show(next);
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found.len(), keys.len());
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), keys);
    let half = redis.ask("SCAN 0 SLOTS 16384 16385").await;
    assert!(half.starts_with("-ERR"), "{half}");
    let (mut cursor, mut of_group_2) = ("0".to_owned(), Vec::new());
    loop {
        // The middle group's slots, and one slot on each side.
        redis.send(&[&format!("SCAN {cursor} SLOTS 5460 10923")]).await;
        let Some(Frame::Array(page)) = redis.next().await else { panic!("SCAN answers a page") };
        let [next, Frame::Array(keys)] = &page[..] else { panic!("a cursor and keys: {page:?}") };
        of_group_2.extend(keys.iter().map(harness::show));
        cursor = harness::show(next);
        if cursor == "0" {
            break;
        }
    }
    let in_slots = |key: &&String| (5460..=10923).contains(&Slot::of_key(key.as_bytes()).number());
    assert_eq!(of_group_2.into_iter().collect::<BTreeSet<_>>(), keys.iter().filter(in_slots).cloned().collect());
    let all = redis.ask("KEYS *").await;
    assert_eq!(all.trim_matches(['[', ']']).split(' ').count(), keys.len());
    assert!(keys.contains(&redis.ask("RANDOMKEY").await));
    assert_eq!(redis.ask("DBSIZE").await, "21");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_cut_is_refused_across_slots() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let mut redis = Redis::connect(&router).await;
    for line in ["RENAME a b", "MSETNX a 1 b 2", "COPY a b"] {
        assert_eq!(redis.ask(line).await, "-CROSSSLOT Keys in request don't hash to the same slot", "{line}");
    }
    assert!(cluster.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_keep_their_codes_and_a_doubt_is_called_uncertain() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let limits = simplekv_router::Limits {
        request_timeout: std::time::Duration::from_millis(300),
        ..simplekv_router::Limits::default()
    };
    let router = harness::router_with(&cluster, limits).await;
    let mut redis = Redis::connect(&router).await;
    for (failure, code) in [
        (Failure::WrongType, "-WRONGTYPE "),
        (Failure::NoReplicas { in_sync: 1, required: 2 }, "-NOREPLICAS "),
        (Failure::Busy { what: "queue" }, "-BUSY "),
        (Failure::NoLeader { group: simplekv_client::GroupId(1) }, "-CLUSTERDOWN "),
        (Failure::TryAgain { slot: Slot::MIN }, "-TRYAGAIN "),
        (Failure::Loading, "-LOADING "),
        (Failure::command("ERR value is not an integer or out of range"), "-ERR value is not"),
    ] {
        cluster.script(move |_| Verdict::Refuse(failure.clone()));
        let reply = redis.ask("INCR n").await;
        assert!(reply.starts_with(code), "{reply} instead of {code}");
    }
    cluster.script(|_| Verdict::ServeSilently);
    let reply = redis.ask("INCR n").await;
    assert!(reply.starts_with("-UNCERTAIN "), "{reply}");
    let reply = redis.ask("GET n").await;
    assert!(reply.starts_with("-TIMEOUT "), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_router_asks_again_under_the_writes_identity() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let mut redis = Redis::connect(&router).await;
    cluster.script(|op| if op.attempt() == 1 { Verdict::ServeAndHangUp } else { Verdict::Serve });
    assert_eq!(redis.ask_all(&["INCR n", "INCR n", "INCR m"]).await, ["1", "2", "1"]);
    assert_eq!(cluster.world.keys.lock().executed_writes, 3);
}
