//! What one connection sends is answered in its order, and takes effect in its order.

mod harness;

use harness::mock_cluster::{MockCluster, Verdict, key_of_group, until};
use harness::{Redis, router};
use simplekv_client::{Failure, Slot};

#[tokio::test(flavor = "multi_thread")]
async fn a_get_sees_the_set_before_it() {
    let cluster = MockCluster::start(3, &[&[1], &[2], &[3]]);
    let router = router(&cluster).await;
    let mut redis = Redis::connect(&router).await;
    for round in 0..20 {
        let lines: Vec<String> = (0..30).flat_map(|i| [format!("SET k{i} {round}"), format!("GET k{i}")]).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let replies = redis.ask_all(&lines).await;
        let expected: Vec<String> = (0..30).flat_map(|_| ["+OK".to_owned(), round.to_string()]).collect();
        assert_eq!(replies, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_slot_is_done_in_order_and_in_few_frames() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let mut redis = Redis::connect(&router).await;
    redis.ask("SET n 0").await;
    cluster.world.frames.lock().clear();
    let replies = redis.ask_all(&["INCR n"; 64]).await;
    let expected: Vec<String> = (1..=64).map(|n| n.to_string()).collect();
    assert_eq!(replies, expected);
    let frames = cluster.world.frames.lock().len();
    assert!(frames <= 8, "{frames} frames for 64 pipelined requests to one key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_over_many_slots_becomes_few_frames() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let mut redis = Redis::connect(&router).await;
    redis.ask("SET warm up").await;
    cluster.world.frames.lock().clear();
    let lines: Vec<String> = (0..256).map(|i| format!("SET k{i} v")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert!(redis.ask_all(&lines).await.iter().all(|reply| reply == "+OK"));
    let frames = cluster.world.frames.lock().len();
    assert!(frames < 64, "{frames} frames for 256 pipelined requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_slow_does_not_hold_up_the_others_work_only_their_replies() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let router = router(&cluster).await;
    let (slow, quick) = (key_of_group(1, 2, 0), key_of_group(2, 2, 0));
    let slow_key = slow.clone();
    cluster.script(move |op| match op.args.contains(&slow_key) && (1..3).contains(&op.attempt()) {
        true => Verdict::Refuse(Failure::TryAgain { slot: Slot::of_key(slow_key.as_bytes()) }),
        false => Verdict::Serve,
    });
    let mut redis = Redis::connect(&router).await;
    redis.send(&[&format!("SET {slow} 1"), &format!("SET {quick} 2"), &format!("GET {slow}")]).await;
    until("the other group's write is done", || cluster.world.keys.lock().contains(quick.as_bytes())).await;
    let replies = [redis.next().await, redis.next().await, redis.next().await];
    let replies: Vec<String> = replies.iter().flatten().map(harness::show).collect();
    assert_eq!(replies, ["+OK", "+OK", "1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_over_several_slots_see_and_are_seen() {
    let cluster = MockCluster::start(3, &[&[1], &[2], &[3]]);
    let router = router(&cluster).await;
    let mut redis = Redis::connect(&router).await;
    let replies = redis
        .ask_all(&[
            "SET a 1",
            "SET b 2",
            "MGET a b c",
            "SET a 3",
            "MSET b 4 c 5",
            "GET b",
            "DEL a b",
            "MGET a b c",
            "DBSIZE",
            "SET a 6",
            "FLUSHALL",
            "DBSIZE",
            "EXISTS a b c",
        ])
        .await;
    assert_eq!(
        replies,
        ["+OK", "+OK", "[1 2 (nil)]", "+OK", "+OK", "4", "2", "[(nil) (nil) 5]", "1", "+OK", "+OK", "0", "0"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_whose_slots_have_parted_is_done_slot_by_slot() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let router = router(&cluster).await;
    let mut redis = Redis::connect(&router).await;
    // As a node does when the keys of one request belong to several groups.
    cluster.script(|op| {
        let step = if op.name() == "MSET" { 2 } else { 1 };
        let mut slots = op.args.iter().skip(1).step_by(step).map(|key| Slot::of_key(key.as_bytes()));
        let first = slots.next();
        match slots.all(|slot| Some(slot) == first) {
            true => Verdict::Serve,
            false => Verdict::Refuse(Failure::CrossSlot),
        }
    });
    let replies = redis.ask_all(&["MSET a 1 b 2 c 3 d 4", "MGET d c b a", "DEL a b c d e"]).await;
    assert_eq!(replies, ["+OK", "[4 3 2 1]", "4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_done_in_part_says_so() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let router = router(&cluster).await;
    let mut redis = Redis::connect(&router).await;
    let (good, bad) = (key_of_group(1, 2, 0), key_of_group(2, 2, 0));
    let refused = bad.clone();
    cluster.script(move |op| match op.args.contains(&refused) {
        true => Verdict::Refuse(Failure::TooLarge { what: "value", size: 2, limit: 1 }),
        false => Verdict::Serve,
    });
    let reply = redis.ask(&format!("MSET {good} 1 {bad} 2")).await;
    assert!(reply.starts_with("-UNCERTAIN ") && reply.contains("1 of 2 parts were done, 1 failed"), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_closes_its_half_still_gets_its_answers() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let router = router(&cluster).await;
    let mut redis = Redis::connect(&router).await;
    redis.send_raw(b"SET a 1\r\nGET a\r\n").await;
    redis.close_write().await;
    assert_eq!(harness::show(&redis.next().await.unwrap()), "+OK");
    assert_eq!(harness::show(&redis.next().await.unwrap()), "1");
    assert!(redis.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_in_the_middle_of_a_pipeline_is_only_a_delay() {
    let mut cluster = MockCluster::start(2, &[&[1, 2]]);
    let router = router(&cluster).await;
    let mut redis = Redis::connect(&router).await;
    redis.ask("SET n 0").await;
    cluster.world.answers.send_replace(false);
    redis.send(&["INCR n"; 200]).await;
    until("some are sent", || !cluster.seen_named("INCR").is_empty()).await;
    cluster.kill(1);
    cluster.elect(1, 2);
    cluster.world.answers.send_replace(true);
    for n in 1..=200 {
        assert_eq!(harness::show(&redis.next().await.unwrap()), n.to_string());
    }
}
