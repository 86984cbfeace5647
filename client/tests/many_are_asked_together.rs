//! What a connection has to ask, handed over in one call.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected should fail there")]

mod mock_cluster;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use mock_cluster::{MockCluster, Seen, Verdict, key_of_group, until};
use simplekv_client::{
    Answers, Ask, Client, Error, Failure, GroupId, Kind, NodeId, Options, Position, ReadPolicy, Reply, Result, Slot,
    Timeouts,
};
use simplekv_types::{Epoch, Lineage, Lsn, SlotMapVersion};

fn ask(line: &str) -> Ask {
    let words: Vec<Bytes> = line.split(' ').map(|word| Bytes::from(word.to_owned())).collect();
    let kind = if line.starts_with("GET ") { Kind::Read } else { Kind::Write };
    Ask::new(Slot::of_key(&words[1]), words, kind)
}

fn together(kv: &Client, lines: &[&str]) -> Answers {
    kv.execute_together(lines.iter().map(|line| ask(line)).collect(), Options::default())
}

async fn replies(kv: &Client, lines: &[&str]) -> Vec<Reply> {
    together(kv, lines).all().await.into_iter().map(|result| result.unwrap()).collect()
}

/// A client that tries nothing again only because a busy machine took its time.
async fn patient(cluster: &MockCluster) -> Client {
    let mut timeouts = Timeouts::default();
    (timeouts.attempt, timeouts.total) = (Duration::from_secs(60), Duration::from_secs(120));
    cluster.builder().timeouts(timeouts).build().await.unwrap()
}

fn bulk(text: &str) -> Reply {
    Reply::text(text)
}

/// The operations on a key, in the order in which nodes saw them.
fn lines(ops: &[Seen], key: &str) -> Vec<String> {
    ops.iter().filter(|op| op.args[1] == key).map(|op| op.args.join(" ")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_frame_carries_all_that_goes_to_a_node() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let kv = patient(&cluster).await;
    kv.mset([("warm", "up")]).await.unwrap();
    let before = cluster.world.frames.lock().len();
    let sets: Vec<String> = (0..200).map(|i| format!("SET k{i} {i}")).collect();
    let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
    assert!(replies(&kv, &sets).await.iter().all(|reply| *reply == Reply::Ok));
    let gets: Vec<String> = (0..200).map(|i| format!("GET k{i}")).collect();
    let gets: Vec<&str> = gets.iter().map(String::as_str).collect();
    let expected: Vec<Reply> = (0..200).map(|i| bulk(&i.to_string())).collect();
    assert_eq!(replies(&kv, &gets).await, expected, "each answer stands where its request stood");
    let frames = cluster.world.frames.lock()[before..].to_vec();
    assert_eq!((frames.len(), frames.iter().sum::<usize>()), (4, 400), "one to each node, twice: {frames:?}");
    assert_eq!(kv.stats().failures, 0);
    assert!(together(&kv, &[]).next().await.is_none(), "nothing asked, nothing answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_a_key_is_done_in_order() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let kv = patient(&cluster).await;
    for round in 0..20 {
        let set = format!("SET k {round}");
        let asked = ["GET other", &set, "GET k", "INCRBY k 4", "SET other x", "GET k", "GET other", "DEL other"];
        let after = bulk(&(round + 4).to_string());
        let expected = [
            Reply::Null,
            Reply::Ok,
            bulk(&round.to_string()),
            Reply::Int(round + 4),
            Reply::Ok,
            after,
            bulk("x"),
            Reply::Int(1),
        ];
        assert_eq!(replies(&kv, &asked).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_fails_alone() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = patient(&cluster).await;
    cluster.script(|op| match op.args[1].as_str() {
        "large" => Verdict::Refuse(Failure::TooLarge { what: "value", size: 2, limit: 1 }),
        "busy" => Verdict::Refuse(Failure::Busy { what: "too many requests in flight" }),
        _ => Verdict::Serve,
    });
    let asked = ["SET k x", "SET large x", "INCRBY k 1", "SET busy x", "GET k", "GET large"];
    let results = together(&kv, &asked).all().await;
    let too_large = Reply::Error(Failure::TooLarge { what: "value", size: 2, limit: 1 });
    let not_a_number = Reply::Error(Failure::command("ERR value is not an integer or out of range"));
    assert_eq!(results[0].as_ref().unwrap(), &Reply::Ok);
    assert_eq!(results[1].as_ref().unwrap(), &too_large);
    assert_eq!(results[2].as_ref().unwrap(), &not_a_number);
    assert!(matches!(results[3], Err(Error::Overloaded { .. })), "{:?}", results[3]);
    assert_eq!(results[4].as_ref().unwrap(), &bulk("x"));
    assert_eq!(results[5].as_ref().unwrap(), &too_large);
    let attempts = |key| cluster.seen_named("SET").iter().filter(|op| op.args[1] == key).count();
    assert_eq!((attempts("k"), attempts("large"), attempts("busy")), (1, 1, 4), "only what may help is tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_refused_is_tried_again_and_the_others_do_not_wait_for_it() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = patient(&cluster).await;
    let open = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_open = std::sync::Arc::clone(&open);
    cluster.script(move |op| match op.args[1].as_str() {
        "held" if !is_open.load(std::sync::atomic::Ordering::SeqCst) => {
            Verdict::Refuse(Failure::TryAgain { slot: Slot::of_key(b"held") })
        }
        _ => Verdict::Serve,
    });
    let mut answers = together(&kv, &["SET a 1", "SET held 1", "SET b 1", "GET held"]);
    let first = [answers.next().await.unwrap().0, answers.next().await.unwrap().0];
    assert_eq!(BTreeMap::from(first.map(|at| (at, ()))).into_keys().collect::<Vec<_>>(), [0, 2]);
    open.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut rest = BTreeMap::new();
    while let Some((at, result)) = answers.next().await {
        rest.insert(at, result.unwrap());
    }
    assert_eq!(rest, BTreeMap::from([(1, Reply::Ok), (3, bulk("1"))]));
    let ops = cluster.seen();
    let numbers = |key: &str| -> Vec<(u64, u32)> {
        let writes = ops.iter().filter(|op| op.args[1] == key && !op.is_read);
        writes.map(|op| op.dedupe.unwrap()).map(|dedupe| (dedupe.seq.0, dedupe.attempt)).collect()
    };
    assert_eq!((numbers("a").len(), numbers("b").len()), (1, 1));
    let held = numbers("held");
    assert!(held.len() > 1 && held.iter().all(|(seq, _)| *seq == held[0].0), "one identity: {held:?}");
    assert_eq!(
        held.iter().map(|(_, attempt)| *attempt).collect::<Vec<_>>(),
        (1..=held.len() as u32).collect::<Vec<_>>()
    );
    let deadlines: Vec<_> =
        ops.iter().filter(|op| op.args[1] == "held").filter_map(|op| op.dedupe).map(|one| one.deadline).collect();
    assert!(deadlines.iter().all(|deadline| *deadline == deadlines[0] && deadline.0 > 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_are_asked_for_again_and_nothing_is_done_twice() {
    for lose in [|| Verdict::ServeAndHangUp, || Verdict::HangUp, || Verdict::ServeSilently] {
        let cluster = MockCluster::start(1, &[&[1]]);
        let kv = cluster.client().await;
        cluster.script(move |op| match op.attempt() {
            1 if op.args[1] == "k7" => lose(),
            _ => Verdict::Serve,
        });
        let asked: Vec<String> = (0..16).map(|i| format!("INCRBY k{i} 1")).collect();
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        assert_eq!(replies(&kv, &asked).await, vec![Reply::Int(1); 16]);
        assert_eq!(cluster.world.keys.lock().executed_writes, 16);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_which_one_is_refused_is_repeated_as_a_row() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = patient(&cluster).await;
    cluster.script(|op| match (op.name(), op.attempt()) {
        ("SET", 1) if op.args[1] == "k" => Verdict::Refuse(Failure::TryAgain { slot: Slot::of_key(b"k") }),
        _ => Verdict::Serve,
    });
    let answers = replies(&kv, &["GET k", "SET other 1", "SET k 1", "GET k"]).await;
    assert_eq!(answers, [Reply::Null, Reply::Ok, Reply::Ok, bulk("1")]);
    assert_eq!(
        lines(&cluster.seen(), "k"),
        ["GET k", "SET k 1", "GET k", "SET k 1", "GET k"],
        "the read behind it is repeated, the one before it is not"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_in_between_is_only_a_delay() {
    let mut cluster = MockCluster::start(2, &[&[1, 2], &[2, 1]]);
    let kv = patient(&cluster).await;
    let (one, other) = (key_of_group(1, 2, 0), key_of_group(2, 2, 0));
    kv.mset([(&one, "0"), (&other, "0")]).await.unwrap();
    cluster.world.answers.send_replace(false);
    let asked: Vec<String> = (0..50).flat_map(|_| [format!("INCRBY {one} 1"), format!("INCRBY {other} 1")]).collect();
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    let mut answers = together(&kv, &asked);
    until("all are sent", || cluster.seen_named("INCRBY").len() >= 100).await;
    cluster.kill(1);
    cluster.elect(1, 2);
    cluster.world.answers.send_replace(true);
    let mut numbers = BTreeMap::new();
    while let Some((at, result)) = answers.next().await {
        numbers.insert(at, result.unwrap());
    }
    let expected = (0..100).map(|at| (at, Reply::Int(at as i64 / 2 + 1)));
    assert_eq!(numbers, expected.collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_without_a_leader_holds_up_its_own_requests_only() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    let kv = patient(&cluster).await;
    cluster.elect(1, 0);
    kv.topology().wait_for(|topology| topology.version() == 2).await.unwrap();
    let (headless, led) = (key_of_group(1, 2, 0), key_of_group(2, 2, 0));
    let asked = [format!("SET {headless} 1"), format!("SET {led} 1"), format!("GET {headless}")];
    let mut answers = together(&kv, &asked.each_ref().map(String::as_str));
    assert_eq!(answers.next().await.map(|(at, result)| (at, result.unwrap())), Some((1, Reply::Ok)));
    cluster.elect(1, 1);
    let mut rest = BTreeMap::new();
    while let Some((at, result)) = answers.next().await {
        rest.insert(at, result.unwrap());
    }
    assert_eq!(rest, BTreeMap::from([(0, Reply::Ok), (2, bulk("1"))]));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_goes_away_leaves_nothing_behind() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.builder().max_in_flight(8, 8).build().await.unwrap();
    kv.set("k", "v").await.unwrap();
    cluster.world.answers.send_replace(false);
    for round in 0..20 {
        let asked: Vec<String> = (0..8).map(|i| format!("SET k{i} {round}")).collect();
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        let mut answers = together(&kv, &asked);
        assert!(tokio::time::timeout(Duration::from_millis(1), answers.next()).await.is_err());
        let more = together(&kv, &["SET more 1"]).all().await;
        assert!(matches!(more[..], [Err(Error::Overloaded { .. })]), "its places are taken: {more:?}");
        drop(answers);
    }
    cluster.world.answers.send_replace(true);
    assert_eq!(replies(&kv, &["SET k x", "GET k"]).await, [Reply::Ok, bulk("x")]);
    let last = cluster.seen_named("SET").last().unwrap().dedupe.unwrap();
    assert_eq!(last.ack_below, last.seq, "no write that was let go holds up the count of answered ones");
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_limit_all_of_them_fail_at_once() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.builder().max_in_flight(3, 100).build().await.unwrap();
    let results: Vec<Result<Reply>> = together(&kv, &["SET a 1", "SET b 1", "SET c 1", "SET d 1"]).all().await;
    assert_eq!(results.len(), 4);
    assert!(results.iter().all(|result| matches!(result, Err(Error::Overloaded { .. }))), "{results:?}");
    assert!(cluster.seen().is_empty(), "none of them was sent");
    assert_eq!(replies(&kv, &["SET a 1", "SET b 1", "SET c 1"]).await, [Reply::Ok, Reply::Ok, Reply::Ok]);
    kv.close(Duration::from_secs(5)).await;
    assert!(matches!(together(&kv, &["GET a"]).all().await[..], [Err(Error::Closed)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_into_one_frame_follows_in_the_next() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = patient(&cluster).await;
    let value = "x".repeat(300 << 10);
    let asked: Vec<String> = (0..8).map(|i| format!("SET k{i} {value}")).collect();
    let mut asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    let larger = format!("SET larger {}", "x".repeat(2 << 20));
    asked.push(&larger);
    let mut results = together(&kv, &asked).all().await;
    let refused = results.pop().unwrap().unwrap_err();
    assert!(matches!(refused, Error::TooLarge { what: "request", .. }), "{refused}");
    assert!(results.into_iter().all(|result| result.unwrap() == Reply::Ok));
    assert!(cluster.seen().iter().all(|op| op.attempt() == 1), "held back is not tried");
    assert_eq!(cluster.world.keys.lock().executed_writes, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_asked_twice_is_sent_once() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = patient(&cluster).await;
    kv.set("hot", "v").await.unwrap();
    let answers = replies(&kv, &["GET hot", "GET cold", "GET hot", "GET hot"]).await;
    assert_eq!(answers, [bulk("v"), Reply::Null, bulk("v"), bulk("v")]);
    assert_eq!(cluster.seen_named("GET").len(), 2);
    let each = ["GET hot", "GET hot"].map(|line| ask(line).share(false)).to_vec();
    assert_eq!(kv.execute_together(each, Options::default()).all().await.len(), 2);
    assert_eq!(cluster.seen_named("GET").len(), 4, "unless each wants an answer of its own");
}

/// A hundred connections ask for the same key: the first flies, the second flies as well, and all others share the next flight.
#[tokio::test(flavor = "multi_thread")]
async fn connections_share_the_flights_of_a_hot_key_whoever_of_them_goes_away() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = patient(&cluster).await;
    kv.set("hot", "v").await.unwrap();
    cluster.world.answers.send_replace(false);
    let first = together(&kv, &["GET hot", "SET mine 1"]);
    until("the first is in the air", || cluster.seen_named("GET").len() == 1).await;
    let second = together(&kv, &["GET hot"]);
    let mut second = Box::pin(second.all());
    assert!(futures::poll!(&mut second).is_pending());
    until("the second is in the air", || cluster.seen_named("GET").len() == 2).await;
    let others: Vec<_> = (0..100)
        .map(|_| {
            let kv = kv.clone();
            tokio::spawn(async move { replies(&kv, &["GET hot"]).await })
        })
        .collect();
    until("all others wait", || kv.stats().shared_reads_led + kv.stats().shared_reads_joined == 101).await;
    drop((first, second));
    cluster.world.answers.send_replace(true);
    for other in others {
        assert_eq!(other.await.unwrap(), [bulk("v")]);
    }
    let sent = cluster.seen_named("GET").len();
    assert!(sent <= 6, "{sent} flights for a hundred readers");
    assert_eq!(replies(&kv, &["GET hot"]).await, [bulk("v")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_go_where_their_promise_allows_and_a_session_learns_from_all() {
    let cluster = MockCluster::start(2, &[&[1, 2], &[2, 1]]);
    let kv = patient(&cluster).await;
    let (one, other) = (key_of_group(1, 2, 0), key_of_group(2, 2, 0));
    cluster.script(|op| {
        let group = if Slot::of_key(op.args[1].as_bytes()).number() < 8192 { 1 } else { 2 };
        let (slots, lineage, epoch) = (SlotMapVersion(1), Lineage(0), Epoch(1));
        Verdict::ServeAt(Position { group: GroupId(group), slots, lineage, epoch, end: Lsn(40 + u64::from(group)) })
    });
    let session = kv.session();
    assert_eq!(replies(&session, &[&format!("SET {one} 1"), &format!("SET {other} 2")]).await, [Reply::Ok, Reply::Ok]);
    assert_eq!(session.token().to_string(), "s1-g1.1.0.1.41-g2.1.0.1.42");
    let gets = [format!("GET {one}"), format!("GET {other}")];
    let gets = gets.each_ref().map(String::as_str);
    assert_eq!(replies(&session, &gets).await, [bulk("1"), bulk("2")]);
    for read in cluster.seen_named("GET") {
        let group = if read.args[1] == one { 1 } else { 2 };
        let floor = read.floor.map(|floor| (floor.group.0, floor.end.0));
        assert_eq!((read.policy, floor), (ReadPolicy::SESSION, Some((group, 40 + u64::from(group)))));
    }
    let mut asked = [0; 2];
    while asked.contains(&0) {
        let asks = vec![ask(gets[0]).share(false)];
        drop(session.execute_together(asks, Options::default().read(ReadPolicy::Any)).all().await);
        asked[cluster.seen_named("GET").last().unwrap().node as usize - 1] += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_moves_what_it_concerns() {
    let cluster = MockCluster::start(2, &[&[1], &[2]]);
    cluster.push(false);
    let kv = patient(&cluster).await;
    let (stays, moves) = (key_of_group(1, 2, 0), key_of_group(1, 2, 1));
    cluster.move_slot(Slot::of_key(moves.as_bytes()), 2);
    let asked = [format!("SET {stays} 1"), format!("SET {moves} 2"), format!("GET {moves}")];
    let answers = replies(&kv, &asked.each_ref().map(String::as_str)).await;
    assert_eq!(answers, [Reply::Ok, Reply::Ok, bulk("2")]);
    let nodes = |key: &String| -> Vec<NodeId> {
        cluster.seen().iter().filter(|op| op.args[1] == *key).map(|op| NodeId(op.node)).collect()
    };
    assert_eq!(nodes(&stays), [NodeId(1)]);
    assert_eq!(nodes(&moves), [1, 1, 2, 2].map(NodeId));
}
