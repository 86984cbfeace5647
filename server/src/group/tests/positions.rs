//! Where an answer stands in the history, and how old the state is that it was read from.

use super::*;
use crate::history::Standing;

/// By when everything committed is applied here, for readers that begin now.
fn fresh_as_of(replay: &Replay) -> Option<Tick> {
    replay.group.published.serving.fresh_as_of(replay.clocks.now())
}

/// What the replica is to a session that has seen this.
fn judge(replay: &Replay, seen: &Position) -> Standing {
    replay.group.published.history.load().judge(seen, replay.group.engine.applied())
}

/// An append of node 2, which leads: `batches` behind `prev_end`, of which everything below `high_watermark` is committed.
fn append_from_leader(
    replay: &mut Replay,
    epoch: u64,
    prev: (u64, Lsn),
    batches: Vec<Batch>,
    high_watermark: Lsn,
    fresh: Option<Tick>,
) {
    let append = Append {
        prev_end: prev.1,
        prev_epoch: Epoch(prev.0),
        batches,
        high_watermark,
        time: replay.clocks.wall(),
        sent_at: Tick(1),
        grant: None,
        fresh,
    };
    replay.step(heard_from(2, epoch, Message::Append(append)));
}

#[test]
fn an_answer_says_where_it_was_read_or_written() {
    let mut g1 = Replay::alone();
    let seen = |heard: &Heard| heard.seen.borrow().first().copied().expect("it has a position");
    let written = seen(&g1.do_one(&["SET", "k", "v"]));
    let applied = g1.group.engine.applied();
    assert_eq!((written.group, written.epoch, written.end), (GROUP, Epoch(1), applied));
    assert_eq!(written.slots, KEYS, "by this slot map the group owns its slots");
    assert_eq!(seen(&g1.do_one(&["GET", "k"])), written);
    let refused = g1.do_one(&["INCR", "k"]);
    assert_eq!(seen(&refused), written, "a refusal is something seen, too");
    g1.do_one(&["SET", "k", "w"]);
    assert_eq!(judge(&g1, &written), Standing::Covers);
    assert_eq!(judge(&g1, &Position { end: written.end + 5, ..written }), Standing::Behind);
    assert_eq!(judge(&g1, &Position { epoch: Epoch(9), ..written }), Standing::Contradicts);
}

/// A session that waits is told when it is applied here, not when it is heard of.
#[test]
fn whoever_waits_for_a_position_is_told_when_it_is_applied() {
    let mut g1 = Replay::new(&[1, 2, 3]);
    let batches = batches_of_epoch(1, Lsn(0), 4);
    let (now, waiting, patient) = (Heard::default(), Heard::default(), Heard::default());
    g1.group.when_applied(Lsn(0), now.clone());
    g1.group.when_applied(Lsn(3), waiting.clone());
    g1.group.when_applied(Lsn(u64::MAX), patient.clone());
    assert_eq!(*now.replies.borrow(), Some(Vec::new()));
    append_from_leader(&mut g1, 1, (0, Lsn(0)), batches, Lsn(2), None);
    assert_eq!((g1.group.engine.log_end(), g1.group.engine.applied()), (Lsn(4), Lsn(2)));
    assert_eq!(*waiting.replies.borrow(), None, "appended is not applied");
    append_from_leader(&mut g1, 1, (1, Lsn(4)), Vec::new(), Lsn(4), None);
    assert_eq!(*waiting.replies.borrow(), Some(Vec::new()));
    assert_eq!(*patient.replies.borrow(), None);
    patient.gone.set(true);
    g1.group.when_applied(Lsn(u64::MAX), Heard::default());
    assert_eq!(g1.group.awaiting.len(), 1, "who has given up is forgotten");
}

/// C53, C59: what a follower has heard of is not what it shows, and only its leader's lease says that nothing is missing.
#[test]
fn a_follower_is_as_fresh_as_what_it_has_applied() {
    let mut g1 = Replay::new(&[1, 2, 3]);
    g1.wait(Duration::from_millis(20));
    let first = g1.clocks.now();
    append_from_leader(&mut g1, 1, (0, Lsn(0)), batches_of_epoch(1, Lsn(0), 2), Lsn(0), None);
    assert_eq!(fresh_as_of(&g1), None, "a heartbeat without a lease behind it proves nothing");
    g1.wait(Duration::from_millis(20));
    // The leader had committed four when it held its lease; two of them are still on their way.
    append_from_leader(&mut g1, 1, (1, Lsn(2)), Vec::new(), Lsn(4), Some(first));
    assert_eq!((g1.group.engine.applied(), fresh_as_of(&g1)), (Lsn(2), None));
    append_from_leader(&mut g1, 1, (1, Lsn(2)), batches_of_epoch(1, Lsn(2), 2), Lsn(4), None);
    assert_eq!((g1.group.engine.applied(), fresh_as_of(&g1)), (Lsn(4), Some(first)));
    g1.wait(Duration::from_millis(300));
    assert_eq!(fresh_as_of(&g1), Some(first), "cut off, it only grows older");

    // Another leader: what was committed by then still is, and more is not known yet.
    g1.step(heard_from(3, 2, Message::EpochProbe));
    assert_eq!(fresh_as_of(&g1), Some(first));
}

/// A leader that was deposed has not seen what was committed since.
#[test]
fn a_leader_is_fresh_by_now_until_it_is_deposed() {
    let mut g1 = Replay::alone();
    assert_eq!(fresh_as_of(&g1), Some(g1.clocks.now()));
    g1.wait(Duration::from_millis(50));
    assert_eq!(fresh_as_of(&g1), Some(g1.clocks.now()), "the time goes on, and so does it");
    let deposed = g1.clocks.now();
    g1.step(heard_from(2, 3, Message::EpochProbe));
    g1.wait(Duration::from_millis(50));
    assert_eq!(fresh_as_of(&g1), Some(deposed));
}

/// The lease of a leader that nobody answers ends, and with it what it knows to be current.
#[test]
fn a_leader_without_its_followers_is_as_fresh_as_its_lease() {
    let mut g1 = Replay::alone();
    g1.step(Event::NodesSeen(facts(&[1, 2, 3])));
    g1.show(&record(2, 1, &[1, 2, 3]), 8);
    for _ in 0..20 {
        g1.wait(Duration::from_millis(60));
        g1.acknowledge(2);
        g1.acknowledge(3);
    }
    assert_eq!(fresh_as_of(&g1), Some(g1.clocks.now()));
    let cut_off = g1.clocks.now();
    g1.wait(Duration::from_secs(3));
    let as_of = fresh_as_of(&g1).expect("it was current once");
    assert!(as_of < cut_off + Duration::from_secs(1), "{as_of:?} is later than any lease given until {cut_off:?}");
}

/// A position is taken from a history: in another one the same number is another record.
#[test]
fn what_another_leader_wrote_in_the_same_place_is_told_from_what_a_session_saw() {
    let mut g1 = Replay::new(&[1, 2, 3]);
    append_from_leader(&mut g1, 1, (0, Lsn(0)), batches_of_epoch(1, Lsn(0), 3), Lsn(2), None);
    let committed = g1.group.published.history.load().position(GROUP, Lsn(2));
    // The third was never committed: epoch 2 replaces it.
    append_from_leader(&mut g1, 2, (1, Lsn(2)), batches_of_epoch(2, Lsn(2), 3), Lsn(5), None);
    assert_eq!(g1.group.engine.applied(), Lsn(5));
    assert_eq!(judge(&g1, &committed), Standing::Covers);
    assert_eq!(judge(&g1, &Position { end: Lsn(3), ..committed }), Standing::Contradicts);
    assert_eq!(judge(&g1, &Position { epoch: Epoch(2), end: Lsn(5), ..committed }), Standing::Covers);
}
