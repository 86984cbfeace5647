//! Keys with elements: each element is a record of its own.

use std::collections::BTreeMap;

use simplekv_engine::fs::MemFs;
use simplekv_engine::record::{Element, Put, Record, SlotChangeKind, ValueType};
use simplekv_engine::{AppendError, Engine};
use simplekv_types::{GroupTime, Lsn, Slot};

use crate::slots::change;
use crate::support::{append, apply_all, batch, delete, get, next, open, put, write};

fn slot_of(key: &str) -> Slot {
    Slot::of_key(key.as_bytes())
}

fn life<'a>(key: &'a str, kind: ValueType, incarnation: &'a [u8; 8], expire_at: Option<u64>) -> Record<'a> {
    let (slot, expire_at) = (slot_of(key), expire_at.map(GroupTime));
    Record::Put(Put { slot, key: key.as_bytes(), value: incarnation, value_type: kind, expire_at, origin: None })
}

fn element<'a>(key: &'a str, incarnation: u64, name: &'a str) -> Element<'a> {
    Element { slot: slot_of(key), key: key.as_bytes(), incarnation, name: name.as_bytes(), origin: None }
}

fn field<'a>(key: &'a str, incarnation: u64, name: &'a str, value: &'a str) -> Record<'a> {
    let value = value.as_bytes();
    Record::ElementPut { element: element(key, incarnation, name), value, value_type: ValueType::Hash, expire_at: None }
}

fn gone<'a>(key: &'a str, incarnation: u64, name: &'a str) -> Record<'a> {
    Record::ElementDelete(element(key, incarnation, name))
}

const ONE: [u8; 8] = 1_u64.to_le_bytes();
const TWO: [u8; 8] = 2_u64.to_le_bytes();

/// What a key holds; `None` if it holds no elements.
fn hash(engine: &Engine, key: &str) -> Option<BTreeMap<String, String>> {
    let reader = engine.reader();
    let guard = reader.guard();
    let found = guard.elements(slot_of(key), key.as_bytes())?;
    let mut fields = BTreeMap::new();
    for number in 0..found.collection.len() {
        let element = found.collection.get(number).unwrap();
        let simplekv_collections::At::Log(place) = element.at else { panic!("it is in the log") };
        let value = guard.element_value(slot_of(key), place).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        fields.insert(text(&element.name), text(&value));
    }
    Some(fields)
}

fn fields(pairs: &[(&str, &str)]) -> Option<BTreeMap<String, String>> {
    Some(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

fn live_bytes(engine: &Engine) -> u64 {
    engine.segment_stats().iter().map(|stats| stats.live_bytes).sum()
}

#[test]
fn elements_are_put_replaced_and_taken_out_and_are_there_after_a_restart() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    let records = [life("h", ValueType::Hash, &ONE, None), field("h", 1, "a", "1"), field("h", 1, "b", "2")];
    write(&mut engine, &records);
    write(&mut engine, &[field("h", 1, "a", "one"), gone("h", 1, "b"), field("h", 1, "c", "3")]);
    assert_eq!(hash(&engine, "h"), fields(&[("a", "one"), ("c", "3")]));
    let (stats, live) = (engine.reader().stats(slot_of("h")), live_bytes(&engine));
    assert_eq!((stats.keys, stats.bytes), (1, live), "what is live is what the key takes up");
    drop(engine);
    let (mut engine, _) = open(&fs);
    apply_all(&mut engine);
    assert_eq!(hash(&engine, "h"), fields(&[("a", "one"), ("c", "3")]));
    assert_eq!((engine.reader().stats(slot_of("h")).bytes, live_bytes(&engine)), (live, live));
}

#[test]
fn elements_of_another_life_are_dead() {
    let (mut engine, _) = open(&MemFs::new());
    write(&mut engine, &[life("h", ValueType::Hash, &ONE, None), field("h", 1, "a", "1")]);
    // Its expiry changes: the same life.
    write(&mut engine, &[life("h", ValueType::Hash, &ONE, Some(5000))]);
    assert_eq!(hash(&engine, "h"), fields(&[("a", "1")]));
    write(&mut engine, &[life("h", ValueType::Hash, &TWO, None), field("h", 2, "b", "2"), field("h", 1, "c", "3")]);
    assert_eq!(hash(&engine, "h"), fields(&[("b", "2")]));
    assert_eq!(engine.reader().next_expiry(), None, "that was the other's");
    write(&mut engine, &[delete("h"), field("h", 2, "d", "4")]);
    assert_eq!((hash(&engine, "h"), live_bytes(&engine)), (None, 0));
    assert_eq!(engine.reader().guard().incarnation(slot_of("h")), 2, "numbers are not given again");
    write(&mut engine, &[put("h", "a string"), field("h", 2, "e", "5")]);
    assert_eq!((hash(&engine, "h"), get(&engine, "h").as_deref()), (None, Some("a string")));
}

#[test]
fn a_long_collection_goes_at_once_and_is_taken_apart_later() {
    let (mut engine, _) = open(&MemFs::new());
    write(&mut engine, &[life("h", ValueType::Hash, &ONE, None), put("other", "v")]);
    let names: Vec<String> = (0..40_000).map(|number| format!("f{number}")).collect();
    for part in names.chunks(5000) {
        let records: Vec<Record<'_>> = part.iter().map(|name| field("h", 1, name, "v")).collect();
        write(&mut engine, &records);
    }
    let kept = engine.reader().guard().elements(slot_of("h"), b"h").unwrap().collection.clone();
    append(&mut engine, &[delete("h")]);
    assert!(engine.apply_to(engine.log_end(), &mut |_| ()), "there is more to take apart than is done at a time");
    assert_eq!((hash(&engine, "h"), engine.reader().totals().keys), (None, 1));
    let mut rounds = 0;
    while engine.apply_to(engine.log_end(), &mut |_| ()) {
        rounds += 1;
        assert!(rounds < 50, "there is an end");
    }
    assert_eq!(live_bytes(&engine), engine.reader().totals().bytes, "only the other key is left");
    assert_eq!(kept.len(), 40_000, "whoever reads it still has all of it");
}

#[test]
fn collections_go_with_their_slot_and_when_their_time_has_come() {
    let (mut engine, _) = open(&MemFs::new());
    write(&mut engine, &[life("h", ValueType::Hash, &ONE, None), field("h", 1, "a", "1")]);
    write(&mut engine, &[change(SlotChangeKind::Clear, &[slot_of("h").into()])]);
    assert_eq!((hash(&engine, "h"), live_bytes(&engine)), (None, 0));
    write(&mut engine, &[life("h", ValueType::Hash, &TWO, Some(2000)), field("h", 2, "a", "1")]);
    assert_eq!(hash(&engine, "h"), fields(&[("a", "1")]));
    let start = simplekv_engine::BatchStart { time: GroupTime(2000), ..next(&engine) };
    engine.append(&[batch(start, &[Record::Tick])]).unwrap();
    apply_all(&mut engine);
    assert_eq!((hash(&engine, "h"), live_bytes(&engine)), (None, 0));
}

/// A follower asks before it answers.
#[test]
fn a_change_of_an_element_is_pending_for_its_key() {
    let (mut engine, _) = open(&MemFs::new());
    write(&mut engine, &[life("h", ValueType::Hash, &ONE, None), field("h", 1, "a", "1")]);
    let pending = |engine: &Engine, key: &str| engine.reader().pending_lsn(slot_of(key), key.as_bytes());
    assert_eq!(pending(&engine, "h"), None);
    append(&mut engine, &[field("h", 1, "a", "2"), gone("h", 1, "b"), put("k", "v")]);
    assert_eq!((pending(&engine, "h"), engine.pending_element(slot_of("h"), b"h")), (Some(Lsn(3)), Some(Lsn(3))));
    let mut shown = Vec::new();
    engine.pending_records(slot_of("h"), b"h", &mut |lsn, _| shown.push(lsn));
    assert_eq!(shown, [Lsn(2), Lsn(3)]);
    engine.truncate_to(Lsn(2)).unwrap();
    assert_eq!((pending(&engine, "h"), hash(&engine, "h")), (None, fields(&[("a", "1")])));
}

#[test]
fn what_no_index_could_hold_is_refused() {
    let (mut engine, _) = open(&MemFs::new());
    let with = |value_type, name, value| Record::ElementPut {
        element: element("k", 1, name),
        value,
        value_type,
        expire_at: None,
    };
    for (record, why) in [
        (with(ValueType::Zset, "m", b"short"), "score"),
        (with(ValueType::Zset, "m", &f64::NAN.to_le_bytes()), "score"),
        (with(ValueType::List, "no label", b"v"), "label"),
        (with(ValueType::String, "m", b"v"), "value type"),
        (Record::Put(Put { value: b"short", ..put_of("k") }), "incarnation"),
    ] {
        let error = engine.append(&[batch(next(&engine), &[record])]).unwrap_err();
        assert!(matches!(&error, AppendError::BadRecord { .. }) && error.to_string().contains(why), "{error}");
    }
}

fn put_of(key: &str) -> Put<'_> {
    Put {
        slot: slot_of(key),
        key: key.as_bytes(),
        value: &ONE,
        value_type: ValueType::Set,
        expire_at: None,
        origin: None,
    }
}

#[test]
fn random_changes_and_restarts_leave_what_a_map_would_hold() {
    for seed in 0..20_u64 {
        let fs = MemFs::new();
        let (mut engine, _) = open(&fs);
        let (mut state, mut model, mut lives) = (seed, BTreeMap::<String, (u64, BTreeMap<String, String>)>::new(), 0);
        let mut below = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        for step in 0..300 {
            let (key, name) = (format!("{{t}}{}", below(3)), format!("f{}", below(30)));
            let value = step.to_string();
            match (below(20), model.get_mut(&key)) {
                (0, Some(_)) => {
                    write(&mut engine, &[delete(&key)]);
                    model.remove(&key);
                }
                (1, _) => {
                    drop(engine);
                    engine = open(&fs).0;
                    apply_all(&mut engine);
                }
                (2..7, Some((incarnation, known))) => {
                    write(&mut engine, &[gone(&key, *incarnation, &name)]);
                    known.remove(&name);
                }
                (_, Some((incarnation, known))) => {
                    write(&mut engine, &[field(&key, *incarnation, &name, &value)]);
                    known.insert(name, value);
                }
                (_, None) => {
                    lives += 1;
                    let bytes = u64::to_le_bytes(lives);
                    write(&mut engine, &[life(&key, ValueType::Hash, &bytes, None), field(&key, lives, &name, &value)]);
                    model.insert(key, (lives, BTreeMap::from([(name, value)])));
                }
            }
            for number in 0..3 {
                let key = format!("{{t}}{number}");
                assert_eq!(
                    hash(&engine, &key),
                    model.get(&key).map(|(_, fields)| fields.clone()),
                    "seed {seed}, {step}"
                );
            }
            assert_eq!(live_bytes(&engine), engine.reader().totals().bytes, "seed {seed}, step {step}");
        }
    }
}
