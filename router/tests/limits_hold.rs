//! Clients that send too much, too slowly, or do not read.

mod harness;

use std::time::Duration;

use harness::mock_cluster::{MockCluster, Verdict, until};
use harness::{Redis, router_with};
use simplekv_router::Limits;
use tokio::io::AsyncWriteExt;

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_told_so() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router_with(&cluster, Limits { connections: 2, ..Limits::default() }).await;
    let mut first = Redis::connect(&router).await;
    let mut second = Redis::connect(&router).await;
    assert_eq!([first.ask("PING").await, second.ask("PING").await], ["+PONG", "+PONG"]);
    let mut third = Redis::connect(&router).await;
    assert_eq!(harness::show(&third.next().await.unwrap()), "-ERR max number of clients reached");
    assert!(third.next().await.is_none());
    assert_eq!(first.ask("CONFIG GET maxclients").await, "[maxclients 2]");
    drop(first);
    let served_again = async { while Redis::connect(&router).await.ask("PING").await != "+PONG" {} };
    tokio::time::timeout(Duration::from_secs(10), served_again).await.expect("a place was given back");
    assert_eq!(second.ask("PING").await, "+PONG");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_a_request_ends_its_connection() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router_with(&cluster, Limits { request_bytes: 4096, ..Limits::default() }).await;
    let mut redis = Redis::connect(&router).await;
    let large = "x".repeat(5000);
    let reply = redis.ask(&format!("SET k {large}")).await;
    assert!(reply.starts_with("-ERR Protocol error"), "{reply}");
    assert!(redis.next().await.is_none());
    assert!(cluster.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_protocol_is_answered_and_closed_after_what_came_before() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router_with(&cluster, Limits::default()).await;
    let mut redis = Redis::connect(&router).await;
    redis.send_raw(b"SET a 1\r\n*1\r\n!x\r\nSET a 2\r\n").await;
    assert_eq!(harness::show(&redis.next().await.unwrap()), "+OK");
    assert_eq!(harness::show(&redis.next().await.unwrap()), "-ERR Protocol error: expected '$', got '!'");
    assert!(redis.next().await.is_none());
    assert_eq!(cluster.seen_named("SET").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_request_is_waited_for_only_so_long() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let limits = Limits { partial_request_timeout: Duration::from_millis(200), ..Limits::default() };
    let router = router_with(&cluster, limits).await;
    let mut dripping = Redis::connect(&router).await;
    let mut idle = Redis::connect(&router).await;
    assert_eq!(idle.ask("PING").await, "+PONG");
    dripping.send_raw(b"*1\r\n$4\r\nPI").await;
    assert!(dripping.next().await.is_none());
    assert_eq!(idle.ask("PING").await, "+PONG", "a connection may be silent between requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_closed_if_so_wished() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let limits = Limits { idle_timeout: Some(Duration::from_millis(100)), ..Limits::default() };
    let router = router_with(&cluster, limits).await;
    let mut redis = Redis::connect(&router).await;
    assert_eq!(redis.ask("PING").await, "+PONG");
    assert!(redis.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_cut_off_and_harms_nobody() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let limits = Limits { partial_request_timeout: Duration::from_millis(500), in_flight: 64, ..Limits::default() };
    let router = router_with(&cluster, limits).await;
    let mut other = Redis::connect(&router).await;
    other.ask(&format!("SET k {}", "x".repeat(100_000))).await;
    let mut deaf = tokio::net::TcpStream::connect(router.resp_address()).await.unwrap();
    let flood = "GET k\r\n".repeat(1000);
    // The router stops reading at some point, then closes.
    let flooding = async { while deaf.write_all(flood.as_bytes()).await.is_ok() {} };
    tokio::pin!(flooding);
    tokio::select! {
        () = &mut flooding => (),
        () = async {
            for _ in 0..50 {
                assert_eq!(other.ask("EXISTS k").await, "1");
            }
        } => flooding.await,
    }
    assert_eq!(other.ask("EXISTS k").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_limit_wait_and_none_is_lost() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router_with(&cluster, Limits { in_flight: 4, pipeline: 8, ..Limits::default() }).await;
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let address = router.resp_address();
            tokio::spawn(async move {
                let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
                let requests: String = (0..200).map(|i| format!("INCR c{client}-{}\r\n", i % 10)).collect();
                stream.write_all(requests.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
                let mut replies = String::new();
                tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut replies).await.unwrap();
                let expected: String = (0..200).map(|i| format!(":{}\r\n", i / 10 + 1)).collect();
                assert_eq!(replies, expected);
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrived_before_the_end_is_done_though_nobody_hears_of_it() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router_with(&cluster, Limits { pipeline: 8, ..Limits::default() }).await;
    let mut stream = tokio::net::TcpStream::connect(router.resp_address()).await.unwrap();
    let sets: String = (0..5000).map(|i| format!("SET k{i} v\r\n")).collect();
    stream.write_all(format!("CLIENT REPLY OFF\r\n{sets}").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut replies = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut replies).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&replies), "");
    assert_eq!(cluster.world.keys.lock().names().len(), 5000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrived_before_the_end_is_answered() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router_with(&cluster, Limits { pipeline: 8, ..Limits::default() }).await;
    let mut stream = tokio::net::TcpStream::connect(router.resp_address()).await.unwrap();
    let value = "x".repeat(20_000);
    let gets = "GET k\r\n".repeat(100);
    stream.write_all(format!("SET k {value}\r\n{gets}SET last v\r\n").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut replies = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut replies).await.unwrap();
    assert!(replies.ends_with(b"\r\n+OK\r\n"));
    assert!(cluster.world.keys.lock().contains(b"last"));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_values_are_not_all_asked_for_at_once() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let limits =
        Limits { output_bytes: 4 << 20, partial_request_timeout: Duration::from_millis(400), ..Limits::default() };
    let router = router_with(&cluster, limits).await;
    let mut other = Redis::connect(&router).await;
    other.ask(&format!("SET k {}", "x".repeat(1 << 20))).await;
    // Reads that no other may answer for, each with a value of its own.
    let reads: String = (0..200).map(|i| format!("GETRANGE k{i} 0 -1\r\n")).collect();
    cluster.script(|op| match op.name() {
        "GETRANGE" => Verdict::Answer(simplekv_client::Reply::Bulk(vec![b'x'; 1 << 20].into())),
        _ => Verdict::Serve,
    });
    let mut deaf = tokio::net::TcpStream::connect(router.resp_address()).await.unwrap();
    deaf.write_all(reads.as_bytes()).await.unwrap();
    until("it is asked for", || !cluster.seen_named("GETRANGE").is_empty()).await;
    let cut_off = async { while other.ask("CLIENT LIST").await.lines().count() > 1 {} };
    tokio::time::timeout(Duration::from_secs(10), cut_off).await.expect("who takes nothing is cut off");
    let asked = cluster.seen_named("GETRANGE").len();
    assert!(asked < 50, "{asked} of 200 values were asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_its_replies_may_get_more_than_the_limit() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let limits =
        Limits { output_bytes: 64 << 10, partial_request_timeout: Duration::from_secs(2), ..Limits::default() };
    let router = router_with(&cluster, limits).await;
    let value = "x".repeat(1 << 19);
    assert_eq!(Redis::connect(&router).await.ask(&format!("SET k {value}")).await, "+OK");
    let mut stream = tokio::net::TcpStream::connect(router.resp_address()).await.unwrap();
    let request = format!("MGET{}\r\n", " k".repeat(32));
    stream.write_all(request.repeat(2).as_bytes()).await.unwrap();
    // A steady reader, and slow enough for the router to look at it several times.
    let mut pace = tokio::time::interval(Duration::from_millis(1));
    let (mut taken, mut bytes) = (0, vec![0; 32 << 10]);
    while taken < 32 << 20 {
        pace.tick().await;
        match tokio::io::AsyncReadExt::read(&mut stream, &mut bytes).await.unwrap() {
            0 => panic!("it was cut off after {taken} bytes"),
            count => taken += count,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_words_leaves_nothing_unfinished() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let limits = Limits { partial_request_timeout: Duration::from_millis(40), ..Limits::default() };
    let router = router_with(&cluster, limits).await;
    let mut redis = Redis::connect(&router).await;
    redis.send_raw(b"PING\r\n*0").await;
    assert_eq!(harness::show(&redis.next().await.unwrap()), "+PONG");
    redis.send_raw(b"\r\n").await;
    let mut other = Redis::connect(&router).await;
    other.send_raw(b"*1").await;
    assert!(other.next().await.is_none(), "by then the time is up for both");
    assert_eq!(redis.ask("PING").await, "+PONG");
}

#[tokio::test(flavor = "multi_thread")]
async fn wide_requests_of_one_client_leave_room_for_all_others() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let router = router_with(&cluster, Limits { in_flight: 4, ..Limits::default() }).await;
    let mut greedy = Redis::connect(&router).await;
    let mut modest = Redis::connect(&router).await;
    let keys: Vec<String> = (0..3000).map(|i| format!("k{i}")).collect();
    let mget = format!("MGET {}", keys.join(" "));
    greedy.send(&[mget.as_str(); 5]).await;
    for _ in 0..50 {
        assert_eq!(modest.ask("GET k1").await, "(nil)");
    }
    for _ in 0..5 {
        let reply = harness::show(&greedy.next().await.unwrap());
        assert_eq!(reply.matches("(nil)").count(), 3000, "{reply:.80}");
    }
    let sent = cluster.seen_named("MGET");
    assert!(sent.len() <= 5 * (3000 / 64 + 4), "{} parts", sent.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_router_answers_what_was_asked() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router_with(&cluster, Limits::default()).await;
    let mut redis = Redis::connect(&router).await;
    redis.ask("SET k v").await;
    cluster.world.answers.send_replace(false);
    redis.send(&["GET k"]).await;
    until("it is sent", || !cluster.seen_named("GET").is_empty()).await;
    let stopping = tokio::spawn(router.shutdown());
    cluster.world.answers.send_replace(true);
    assert_eq!(harness::show(&redis.next().await.unwrap()), "v");
    assert!(redis.next().await.is_none());
    stopping.await.unwrap();
}
