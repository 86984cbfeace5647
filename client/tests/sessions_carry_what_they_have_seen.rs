//! A session tells nodes what it has seen, and takes down what they say.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected should fail there")]

mod mock_cluster;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mock_cluster::{MockCluster, Seen, Verdict, key_of_group, until};
use simplekv_client::{Error, Failure, GroupId, Kind, NodeId, Options, Position, ReadPolicy, Slot};
use simplekv_types::{Epoch, Lineage, Lsn, SlotMapVersion};

fn at(group: u32, end: u64) -> Position {
    let (group, slots, lineage) = (GroupId(group), SlotMapVersion(1), Lineage(0));
    Position { group, slots, lineage, epoch: Epoch(1), end: Lsn(end) }
}

/// Every operation is one record of its group's log, of which the group owning the key has written this many.
fn count_records(cluster: &MockCluster) {
    let ends = [AtomicU64::new(10), AtomicU64::new(500)];
    cluster.script(move |op| {
        let group = if Slot::of_key(op.args[1].as_bytes()).number() < 8192 { 1 } else { 2 };
        let end = ends[group - 1].fetch_add(1, Ordering::Relaxed) + 1;
        Verdict::ServeAt(at(group.try_into().unwrap(), end))
    });
}

fn floors(ops: &[Seen]) -> Vec<Option<(u32, u64)>> {
    ops.iter().map(|op| op.floor.map(|floor| (floor.group.0, floor.end.0))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_carries_what_its_session_has_seen_of_the_group() {
    let cluster = MockCluster::start(2, &[&[1, 2], &[2, 1]]);
    count_records(&cluster);
    let kv = cluster.client().await;
    let session = kv.session();
    let (first, second) = (key_of_group(1, 2, 0), key_of_group(2, 2, 0));
    session.set(&first, "v").await.unwrap();
    session.get(&first).await.unwrap();
    session.get(&second).await.unwrap();
    session.get(&first).await.unwrap();
    let reads = cluster.seen_named("GET");
    assert_eq!(floors(&reads), [Some((1, 11)), Some((2, 0)), Some((1, 12))], "of another group nothing was seen yet");
    assert!(reads.iter().all(|op| op.policy == ReadPolicy::SESSION));
    assert_eq!(session.token().to_string(), "s1-g1.1.0.1.13-g2.1.0.1.501");

    let resumed = kv.resume("s1-g1.1.0.1.99".parse().unwrap());
    resumed.get(&first).await.unwrap();
    assert_eq!(floors(&cluster.seen_named("GET"))[3], Some((1, 99)));
    assert_eq!(resumed.token().position(GroupId(1)).end, Lsn(99), "it does not go back");

    kv.get(&first).await.unwrap();
    let plain = cluster.seen_named("GET").pop().unwrap();
    assert_eq!((plain.policy, plain.floor), (ReadPolicy::Linearizable, None), "outside of sessions nothing is asked");
    resumed.get(&first).read(ReadPolicy::Leader).await.unwrap();
    let strong = cluster.seen_named("GET").pop().unwrap();
    assert_eq!((strong.policy, strong.floor), (ReadPolicy::Leader, None), "which is never older anyway");
    let max_lag = Duration::from_secs(1);
    resumed.get(&first).read(ReadPolicy::Bounded { max_lag }).await.unwrap();
    let bounded = cluster.seen_named("GET").pop().unwrap();
    assert_eq!(bounded.policy, ReadPolicy::Bounded { max_lag });
    assert!(bounded.floor.is_some(), "both promises are kept");
}

/// A follower that cannot answer in time costs the session a detour, not an error.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_answered_by_the_leader_if_a_replica_is_behind() {
    let cluster = MockCluster::start(2, &[&[1, 2]]);
    let kv = cluster.client().await;
    let session = kv.session();
    session.set("k", "v").await.unwrap();
    cluster.script(|op| match op.node {
        1 => Verdict::Serve,
        _ => Verdict::Refuse(Failure::NotLeader {
            slot: Slot::of_key(b"k"),
            group: GroupId(1),
            leader: Some(NodeId(1)),
            address: String::new(),
            epoch: Epoch(1),
        }),
    });
    while cluster.seen_named("GET").iter().all(|op| op.node == 1) {
        assert!(session.get("k").await.unwrap().is_some());
    }
    assert_eq!(kv.stats().failures, 0);
}

/// Readers of one session share what covers them; one whose token was lost does not take the others along.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_share_flights_and_not_their_losses() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    kv.set("hot", "v").await.unwrap();
    cluster.script(|op| match op.floor {
        Some(floor) if floor.end > Lsn(100) => Verdict::Refuse(Failure::TokenLost { group: GroupId(1) }),
        _ => Verdict::Serve,
    });
    cluster.world.answers.send_replace(false);
    let ask = |token: &str| {
        let session = kv.resume(token.parse().unwrap());
        tokio::spawn(async move { session.get("hot").await })
    };
    let first = ask("s1-g1.1.0.1.5");
    until("the first is sent", || cluster.seen_named("GET").len() == 1).await;
    let others: Vec<_> = (0..100).map(|n| ask(&format!("s1-g1.1.0.1.{n}"))).collect();
    let lost = ask("s1-g1.1.0.1.1000");
    until("all wait for the next flight", || kv.stats().shared_reads_joined + kv.stats().shared_reads_led == 102).await;
    cluster.world.answers.send_replace(true);
    assert!(first.await.unwrap().unwrap().is_some());
    for other in others {
        assert!(other.await.unwrap().unwrap().is_some(), "what is lost is lost to another session");
    }
    assert!(matches!(lost.await.unwrap(), Err(Error::TokenLost { group: GroupId(1) })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_readers_of_a_session_cost_two_flights() {
    let cluster = MockCluster::start(1, &[&[1]]);
    let kv = cluster.client().await;
    kv.set("hot", "v").await.unwrap();
    let before = cluster.seen_named("GET").len();
    cluster.world.answers.send_replace(false);
    let session = kv.resume("s1-g1.1.0.1.5".parse().unwrap());
    let readers: Vec<_> = (0..1000)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { session.get("hot").await })
        })
        .collect();
    until("all wait", || kv.stats().shared_reads_joined + kv.stats().shared_reads_led == 1000).await;
    until("one of them is sent", || cluster.seen_named("GET").len() > before).await;
    cluster.world.answers.send_replace(true);
    for reader in readers {
        reader.await.unwrap().unwrap();
    }
    assert_eq!(cluster.seen_named("GET").len() - before, 2);
}

/// What stands in a row with a write goes where the write goes, and sees it; reads alone may be answered by anybody, together.
#[tokio::test(flavor = "multi_thread")]
async fn reads_in_a_row_with_a_write_go_with_it() {
    let cluster = MockCluster::start(2, &[&[1, 2]]);
    let kv = cluster.client().await;
    kv.set("k", "v").await.unwrap();
    let words = |line: &str| -> Arc<[bytes::Bytes]> {
        line.split(' ').map(|word| bytes::Bytes::copy_from_slice(word.as_bytes())).collect()
    };
    let slot = Slot::of_key(b"k");
    for policy in [ReadPolicy::Any, ReadPolicy::SESSION, ReadPolicy::Linearizable] {
        let row = vec![(words("GET k"), Kind::Read), (words("SET k w"), Kind::Write), (words("GET k"), Kind::Read)];
        let results = kv.execute_in_order(slot, row, Options::default().read(policy)).await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        let ops = cluster.seen();
        let [before, write, after] = &ops[ops.len() - 3..] else { panic!("three were sent") };
        assert_eq!([before.node, write.node, after.node], [1; 3]);
        assert!([before, after].iter().all(|op| op.policy == ReadPolicy::Linearizable), "{policy}: it sees the write");
    }
    let session = kv.resume("s1-g1.1.0.1.99".parse().unwrap());
    let row = vec![(words("SET k w"), Kind::Write), (words("GET k"), Kind::Read)];
    session.execute_in_order(slot, row, Options::default()).await.into_iter().for_each(|result| drop(result.unwrap()));
    assert_eq!(floors(&cluster.seen_named("GET")).last(), Some(&Some((1, 99))), "nor may what was seen be lost");
    let mut asked = [0; 2];
    while asked.contains(&0) {
        let row = vec![(words("GET k"), Kind::Read), (words("GET k"), Kind::Read)];
        kv.execute_in_order(slot, row, Options::default()).await.into_iter().for_each(|result| drop(result.unwrap()));
        let ops = cluster.seen();
        let [one, other] = &ops[ops.len() - 2..] else { panic!("two were sent") };
        assert_eq!(one.node, other.node, "from one replica, one after the other");
        asked[one.node as usize - 1] += 1;
    }
}

/// One replica is nearby and does not answer: it is left alone after one attempt, and asked again later.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_nearby_that_hangs_is_left_and_tried_again_later() {
    let cluster = MockCluster::start(3, &[&[1, 2, 3]]);
    cluster.change(|update| update.nodes[2].zone = "here".into());
    let kv = cluster.builder().zone("here").build().await.unwrap();
    let session = kv.session();
    session.set("k", "v").await.unwrap();
    session.get("k").await.unwrap();
    assert_eq!(cluster.seen_named("GET")[0].node, 3, "the one nearby");

    cluster.script(|op| if op.node == 3 { Verdict::Ignore } else { Verdict::Serve });
    let nearby = || cluster.seen_named("GET").iter().filter(|op| op.node == 3).count();
    let before = nearby();
    for _ in 0..20 {
        assert!(session.get("k").await.unwrap().is_some());
    }
    assert!(nearby() - before < 5, "{} of 20 reads were sent to it", nearby() - before);

    cluster.script(|_| Verdict::Serve);
    let before = nearby();
    while nearby() < before + 20 {
        session.get("k").await.unwrap();
    }
}
