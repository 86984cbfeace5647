use std::collections::BTreeSet;

use proptest::prelude::*;
use simplekv_types::ValueType;

use super::*;
use crate::{Keyspace, Model};

const NOW: GroupTime = GroupTime(1_000);

fn request(cursor: u64, count: u64) -> Scan {
    Scan { cursor, pattern: None, count, kind: None, slots: SlotRange::ALL }
}

fn key(number: u64) -> Bytes {
    // Few slots, so that there is more than one key in each.
    Bytes::from(format!("{{{}}}{number}", number % 7))
}

fn with_keys(numbers: impl IntoIterator<Item = u64>) -> Model {
    let mut model = Model::new();
    numbers.into_iter().for_each(|number| model.put(&key(number), ValueType::String, Bytes::new(), None));
    model
}

/// The cursor and the keys of one step.
fn step(scan: &Scan, view: &Model) -> (u64, Vec<Bytes>) {
    match super::scan(scan, view, NOW).unwrap() {
        Reply::Array(parts) => match <[Reply; 2]>::try_from(parts).unwrap() {
            [Reply::Bulk(cursor), Reply::Array(keys)] => {
                let keys = keys.into_iter().map(|key| if let Reply::Bulk(key) = key { key } else { panic!("{key:?}") });
                (std::str::from_utf8(&cursor).unwrap().parse().unwrap(), keys.collect())
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn positions_never_change() {
    // A cursor may be older than the server that gets it: these values are part of the protocol.
    assert_eq!(position_of(b"user:1000"), 9_269_548_938);
}

proptest! {
    #[test]
    fn a_key_that_is_there_all_the_time_is_answered(
        stays in prop::collection::btree_set(0u64..400, 0..80),
        changes in prop::collection::vec((400u64..800, any::<bool>()), 0..60),
        count in 1u64..20,
    ) {
        let mut model = with_keys(stays.iter().copied());
        let mut changes = changes.into_iter();
        let mut seen = BTreeSet::new();
        let mut cursor = 0;
        loop {
            let (next, keys) = step(&request(cursor, count), &model);
            seen.extend(keys);
            if next == 0 {
                break;
            }
            prop_assert!(next > cursor, "a walk goes forward");
            cursor = next;
            // Other keys come and go meanwhile.
            for (number, put) in changes.by_ref().take(3) {
                let key = key(number);
                if put {
                    model.put(&key, ValueType::String, Bytes::new(), None);
                } else if model.get(&key).unwrap().is_some() {
                    model.delete(&key);
                }
            }
        }
        for number in stays {
            prop_assert!(seen.contains(&key(number)), "key {number} was missed");
        }
    }

    #[test]
    fn groups_walked_one_after_the_other_answer_every_key_once(numbers in prop::collection::btree_set(0u64..1000, 0..100), count in 1u64..9) {
        let whole = with_keys(numbers.iter().copied());
        let parts: Vec<SlotRange> = ["0-5000", "5001-5001", "5002-16383"].iter().map(|part| part.parse().unwrap()).collect();
        let mut seen = Vec::new();
        let mut cursor = 0;
        loop {
            // What a router does: ask the owner of the cursor's slot for its own part, then go on behind it.
            let slot = ScanCursor::from_number(cursor).unwrap().slot;
            let part = *parts.iter().find(|part| part.contains(slot)).unwrap();
            let group = whole.clone().serving(vec![part]);
            let (next, keys) = step(&Scan { slots: part, ..request(cursor, count) }, &group);
            seen.extend(keys);
            cursor = match (next, ScanCursor::behind(part)) {
                (0, None) => break,
                (0, Some(behind)) => behind.to_number(),
                (next, _) => next,
            };
        }
        let mut expected: Vec<Bytes> = numbers.into_iter().map(key).collect();
        expected.sort();
        seen.sort();
        prop_assert_eq!(seen, expected);
    }
}

#[test]
fn a_step_looks_at_about_as_many_keys_as_asked() {
    let model = with_keys(0..500);
    let (cursor, keys) = step(&request(0, 10), &model);
    assert!(cursor != 0 && keys.len() == 10, "{} keys", keys.len());
    let nothing = Scan { pattern: Some("nosuch?".into()), ..request(0, 10) };
    let (cursor, keys) = step(&nothing, &model);
    assert!(cursor != 0 && keys.is_empty(), "a pattern that fits nothing does not make a step longer");
}

#[test]
fn a_pattern_with_a_hash_tag_is_looked_for_in_its_slot_only() {
    let model = with_keys(0..700);
    let tagged = Scan { pattern: Some("{3}*".into()), ..request(0, 1_000) };
    let (cursor, keys) = step(&tagged, &model);
    assert_eq!((cursor, keys.len()), (0, 100));
    assert_eq!(only_slot(b"{3}*"), Some(Slot::of_key(b"{3}")));
    assert_eq!(only_slot(b"a{3}b"), Some(Slot::of_key(b"3")));
    for pattern in ["*{3}", "{*}", "{}*", "?{3}", "{3*", "*"] {
        assert_eq!(only_slot(pattern.as_bytes()), None, "{pattern}");
    }
}

#[test]
fn a_scan_of_slots_that_have_moved_away_goes_on_behind_them() {
    let model = with_keys(0..100).serving(vec!["12000-16383".parse().unwrap()]);
    let (cursor, keys) = step(&request(0, 1_000), &model);
    assert_eq!(cursor, 0);
    assert!(!keys.is_empty() && keys.iter().all(|key| Slot::of_key(key).number() >= 12_000));
}

#[test]
fn an_expensive_pattern_ends_the_step_not_the_scan() {
    let mut model = Model::new();
    let long = "a".repeat(2_000);
    for number in 0..50 {
        model.put(&Bytes::from(format!("{{t}}{long}{number}")), ValueType::String, Bytes::new(), None);
    }
    let pattern = Bytes::from(format!("{{t}}*{}b", "a".repeat(500)));
    let costly = Scan { pattern: Some(pattern.clone()), ..request(0, 1_000) };
    let mut steps = 0;
    let mut cursor = 0;
    loop {
        let (next, keys) = step(&Scan { cursor, ..costly.clone() }, &model);
        assert!(keys.is_empty());
        steps += 1;
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    assert!(steps > 5, "{steps} steps");
    let hopeless = Bytes::from(format!("*{}b", "a".repeat(30_000)));
    let mut model = Model::new();
    model.put(&Bytes::from("a".repeat(60_000)), ValueType::String, Bytes::new(), None);
    let scan = Scan { pattern: Some(hopeless.clone()), ..request(0, 10) };
    let (cursor, _) = step(&scan, &model);
    assert_eq!(
        super::scan(&Scan { cursor, ..scan }, &model, NOW),
        Err(TOO_COMPLEX),
        "no further step would get past that key"
    );
    assert_eq!(super::keys(&hopeless, &model, NOW), Err(TOO_COMPLEX));
}

#[test]
fn any_key_may_be_the_random_one() {
    let mut model = with_keys(0..10);
    let mut seen = BTreeSet::new();
    for _ in 0..150 {
        let Ok(Reply::Bulk(found)) = super::random_key(&model, NOW) else { panic!("there are keys") };
        seen.insert(found);
        model.put(&key(0), ValueType::String, Bytes::new(), None);
    }
    assert_eq!(seen.len(), 10);
    assert_eq!(super::random_key(&Model::new(), NOW), Ok(Reply::Null));
}
