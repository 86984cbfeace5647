//! What is told to those who keep copies of what they read from this replica.

use simplekv_engine::record::Put;
use simplekv_resp::session::{Stale, TrackingTerms};
use simplekv_types::ValueType;

use super::*;
use crate::tracking::Tracker;

/// Connection 5, which tracks.
fn tracker(replay: &Replay) -> Tracker {
    tracker_on(replay, TrackingTerms::default())
}

fn tracker_on(replay: &Replay, terms: TrackingTerms) -> Tracker {
    let tracker = replay.group.published.tracking.tracker(5);
    tracker.set_terms(Some(terms));
    // Whatever is told of the past.
    told(&tracker);
    tracker
}

fn read(replay: &Replay, keys: &[&str]) {
    for key in keys {
        assert!(replay.group.published.tracking.read(5, &request(&["GET", key]).command));
    }
}

/// The keys that are told, or `all`; nothing if nothing is.
fn told(tracker: &Tracker) -> Vec<String> {
    match tracker.next_at_once().map_or(Stale::NOTHING, |told| told.own) {
        Stale::Everything => vec!["all".into()],
        Stale::Keys(keys) => keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect(),
    }
}

#[test]
fn whatever_changes_a_key_is_told() {
    let mut g1 = Replay::alone();
    let tracker = tracker(&g1);
    for (change, key) in [
        (&["SET", "s", "v", "PX", "60000"][..], "s"),
        (&["PERSIST", "s"], "s"),
        (&["DEL", "s"], "s"),
        (&["HSET", "h", "field", "v"], "h"),
        (&["HINCRBY", "h", "n", "1"], "h"),
        (&["HDEL", "h", "field"], "h"),
        (&["RENAME", "h", "h2"], "h"),
        (&["COPY", "h2", "h"], "h"),
    ] {
        read(&g1, &[key, "other"]);
        g1.do_one(change);
        assert_eq!(told(&tracker), [key], "{change:?}");
    }
    read(&g1, &["missing"]);
    g1.do_one(&["DEL", "missing"]);
    g1.do_one(&["GET", "other"]);
    assert_eq!(told(&tracker), [""; 0], "nothing has changed");
}

#[test]
fn a_key_whose_time_has_come_is_told_though_nobody_writes() {
    let mut g1 = Replay::alone();
    let tracker = tracker(&g1);
    g1.do_one(&["SET", "k", "v", "PX", "1000"]);
    read(&g1, &["k"]);
    g1.wait(Duration::from_millis(500));
    assert_eq!(told(&tracker), [""; 0]);
    g1.wait(Duration::from_millis(600));
    assert_eq!(told(&tracker), ["k"]);
}

#[test]
fn more_keys_than_are_removed_at_once_are_all_told() {
    let mut g1 = Replay::alone();
    let tracker = tracker_on(&g1, TrackingTerms { prefixes: Some([Bytes::new()].into()), ..TrackingTerms::default() });
    let mut names: Vec<String> = (0..10_000).map(|n| format!("k{n}")).collect();
    g1.submit(names.iter().map(|name| request(&["SET", name, "v", "PX", "1000"])).collect());
    told(&tracker);
    g1.wait(Duration::from_millis(1100));
    names.sort_unstable();
    assert!(told(&tracker) == names);
}

#[test]
fn a_flush_tells_everything() {
    let mut g1 = Replay::alone();
    let tracker = tracker(&g1);
    g1.do_one(&["FLUSHALL"]);
    assert_eq!(told(&tracker), ["all"], "whatever it has read");
}

#[test]
fn own_changes_are_told_from_those_of_others() {
    let mut g1 = Replay::alone();
    let tracker = tracker_on(&g1, TrackingTerms { no_loop: true, ..TrackingTerms::default() });
    read(&g1, &["a", "b", "c", "d"]);
    let by = |origin, words| GroupRequest { origin: Some(origin), ..request(words) };
    // In one turn, and so in one batch.
    g1.submit(vec![
        request(&["SET", "a", "1"]),
        by(5, &["MSET", "b", "1", "d", "1"]),
        by(6, &["SET", "c", "1"]),
        request(&["GET", "b"]),
    ]);
    assert_eq!(told(&tracker), ["a", "c"]);
    read(&g1, &["b"]);
    g1.do_one(&["SET", "b", "2"]);
    assert_eq!(told(&tracker), ["b"]);
}

/// One batch of one record, as node 2 writes it in epoch 1.
fn put(base: Lsn, key: &str) -> Vec<Batch> {
    let start = BatchStart {
        lineage: Lineage(0),
        epoch: Epoch(1),
        base,
        time: GroupTime(2_000_000),
        high_watermark: Lsn::ZERO,
    };
    let mut builder = BatchBuilder::new(start, 1 << 20);
    let (slot, key) = (Slot::of_key(key.as_bytes()), key.as_bytes());
    let put = Put { slot, key, value: b"v", value_type: ValueType::String, expire_at: None, origin: None };
    builder.push(&Record::Put(put)).expect("it is small");
    builder.end_command();
    vec![builder.finish().expect("it is not empty")]
}

fn append_from_leader(replay: &mut Replay, prev: (u64, Lsn), batches: Vec<Batch>, high_watermark: Lsn) {
    let (time, sent_at) = (replay.clocks.wall(), Tick(1));
    let (prev_epoch, prev_end) = (Epoch(prev.0), prev.1);
    let append = Append { prev_end, prev_epoch, batches, high_watermark, time, sent_at, grant: None, fresh: None };
    replay.step(heard_from(2, 1, Message::Append(append)));
}

#[test]
fn a_follower_tells_what_it_applies_and_when_it_does() {
    let mut g1 = Replay::new(&[1, 2, 3]);
    let first = batches_of_epoch(1, Lsn(0), 1);
    append_from_leader(&mut g1, (0, Lsn(0)), first, Lsn(0));
    let tracker = tracker(&g1);
    read(&g1, &["k"]);
    append_from_leader(&mut g1, (1, Lsn(1)), put(Lsn(1), "k"), Lsn(1));
    assert_eq!((g1.group.engine.log_end(), told(&tracker)), (Lsn(2), vec![]), "what it shows has not changed yet");
    append_from_leader(&mut g1, (1, Lsn(2)), Vec::new(), Lsn(2));
    assert_eq!((g1.group.engine.applied(), told(&tracker)), (Lsn(2), vec!["k".to_owned()]));
}

#[test]
fn the_end_of_a_lease_is_told_once_whether_it_is_taken_or_runs_out() {
    let mut g1 = Replay::alone();
    g1.step(Event::NodesSeen(facts(&[1, 2, 3])));
    g1.show(&record(2, 1, &[1, 2, 3]), 8);
    for _ in 0..20 {
        g1.wait(Duration::from_millis(60));
        g1.acknowledge(2);
        g1.acknowledge(3);
    }
    let tracker = tracker(&g1);
    assert!(g1.group.published.serving.leads(g1.clocks.now()));
    g1.wait(Duration::from_millis(1100));
    assert!(!g1.group.published.serving.leads(g1.clocks.now()), "nobody has answered for too long");
    assert_eq!(told(&tracker), ["all"], "somebody else may lead by now");
    g1.wait(Duration::from_millis(1100));
    assert_eq!(told(&tracker), [""; 0], "nothing is new");
    g1.step(heard_from(2, 3, Message::EpochProbe));
    assert_eq!(told(&tracker), ["all"], "it does not lead any more");
}

#[test]
fn the_end_of_a_replica_is_told() {
    let g1 = Replay::alone();
    let tracker = tracker(&g1);
    drop(g1);
    assert_eq!(told(&tracker), ["all"]);
}
