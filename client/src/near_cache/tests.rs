use simplekv_types::{Epoch, GroupId, Lineage, Lsn, SlotMapVersion};

use super::*;

fn copies() -> Copies {
    Copies::new(NearCache::default(), Arc::default())
}

fn key(name: &'static str) -> Bytes {
    Bytes::from_static(name.as_bytes())
}

fn position(group: u32, epoch: u64, end: u64) -> Position {
    let (slots, lineage) = (SlotMapVersion(1), Lineage(0));
    Position { group: GroupId(group), slots, lineage, epoch: Epoch(epoch), end: Lsn(end) }
}

/// What is there of a key; `-` if nothing.
fn found(copies: &Copies, name: &'static str) -> String {
    match copies.get(&key(name), None) {
        Some((Reply::Bulk(value), _)) => String::from_utf8_lossy(&value).into_owned(),
        Some((reply, _)) => format!("{reply:?}"),
        None => "-".into(),
    }
}

fn keep(copies: &Copies, name: &'static str, value: &'static str) {
    let beginning = copies.begin(name.as_bytes());
    copies.put(&key(name), beginning, &Reply::fixed(value), None);
}

#[test]
fn a_copy_is_there_until_its_key_changes() {
    let copies = copies();
    assert_eq!(found(&copies, "a"), "-");
    keep(&copies, "a", "1");
    keep(&copies, "b", "2");
    copies.hear(Stale::Keys(&[key("a"), key("c")]));
    assert_eq!([found(&copies, "a"), found(&copies, "b")], ["-", "2"]);
    copies.hear(Stale::Everything);
    assert_eq!(found(&copies, "b"), "-");
    keep(&copies, "b", "3");
    assert_eq!(found(&copies, "b"), "3");
}

/// What is told while a value is on its way may be about that value.
#[test]
fn a_value_that_was_on_its_way_when_something_happened_is_not_kept() {
    type Happens = fn(&Copies);
    let happenings: [(&str, Happens); 4] = [
        ("changed", |copies| copies.hear(Stale::Keys(&[key("a")]))),
        ("not tracked", |copies| copies.hear(Stale::Read(&[key("GET"), key("a")]))),
        ("a node is lost", |copies| copies.hear(Stale::Everything)),
        ("written here", |copies| drop(copies.write(&[key("SET"), key("a"), key("2")]))),
    ];
    for (what, happens) in happenings {
        let copies = copies();
        let beginning = copies.begin(b"a");
        happens(&copies);
        copies.put(&key("a"), beginning, &Reply::fixed("1"), None);
        assert_eq!(found(&copies, "a"), "-", "{what}");
        keep(&copies, "a", "2");
        assert_eq!(found(&copies, "a"), "2", "what began after it is");
        assert_eq!(copies.stats.snapshot().near_bypasses, 1, "{what}");
    }
}

#[test]
fn what_is_read_while_it_is_written_is_not_kept() {
    let copies = copies();
    let words = [key("SET"), key("a"), key("2")];
    let writing = copies.write(&words);
    keep(&copies, "a", "1 or 2");
    let beginning = copies.begin(b"a");
    drop(writing);
    copies.put(&key("a"), beginning, &Reply::fixed("1 or 2"), None);
    assert_eq!(found(&copies, "a"), "-");
    keep(&copies, "b", "1");
    drop(copies.write(&[key("flushall")]));
    assert_eq!(found(&copies, "b"), "-", "it names no key and means all");
}

#[test]
fn that_there_is_no_value_is_kept_and_a_refusal_is_not() {
    let copies = copies();
    for (name, reply) in [("none", Reply::Null), ("error", simplekv_types::Failure::WrongType.into())] {
        copies.put(&key(name), copies.begin(name.as_bytes()), &reply, None);
    }
    assert_eq!([found(&copies, "none"), found(&copies, "error")], ["Null", "-"]);
}

#[test]
fn a_session_that_has_seen_more_is_not_answered_by_a_copy() {
    let copies = copies();
    copies.put(&key("a"), copies.begin(b"a"), &Reply::fixed("1"), Some(position(1, 4, 15)));
    for (floor, answered) in [
        (position(1, 4, 15), true),
        (position(1, 3, 9), true),
        (position(1, 4, 16), false),
        (position(1, 3, 15), false),
        (position(1, 5, 9), false),
        (position(2, 4, 1), false),
        (Position::start(GroupId(2)), true),
        (Position { lineage: Lineage(1), ..position(1, 4, 9) }, false),
    ] {
        assert_eq!(copies.get(&key("a"), Some(floor)).is_some(), answered, "{floor:?}");
    }
    let stats = copies.stats.snapshot();
    assert_eq!((stats.near_hits, stats.near_misses, stats.near_bypasses), (3, 0, 5));
}

#[test]
fn copies_take_up_no_more_than_they_may_and_not_for_longer() {
    let copies = Copies::new(NearCache::default().bytes(10_000).ttl(Duration::ZERO), Arc::default());
    keep(&copies, "a", "1");
    assert_eq!(found(&copies, "a"), "-", "its time is up");
    let copies = Copies::new(NearCache::default().bytes(10_000), Arc::default());
    for number in 0..1000_u32 {
        let name = Bytes::from(number.to_string());
        copies.put(&name, copies.begin(&name), &Reply::fixed("1"), None);
    }
    copies.cache.run_pending_tasks();
    assert!(copies.cache.weighted_size() <= 10_000);
}
