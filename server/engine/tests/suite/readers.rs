//! Readers see whole commands, in the order of the log, and are not kept waiting by large batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use simplekv_engine::fs::{MemFs, RealFs};
use simplekv_engine::{BatchBuilder, Engine, Options};
use simplekv_types::limits::VALUE_BYTES_MAX;
use simplekv_types::{Lsn, Slot};

use crate::support::{append, apply_all, delete, get, identity, next, open, options, put, write};

/// G12: readers beside the writer, without a lock over everything.
#[test]
fn no_reader_ever_sees_half_a_command() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    let reader = engine.reader();
    let done = AtomicBool::new(false);
    let names: Vec<String> = (0..20).map(|i| format!("key{i}")).collect();
    std::thread::scope(|threads| {
        let watchers: Vec<_> = (0..2)
            .map(|_| {
                threads.spawn(|| {
                    let mut last = 0;
                    while !done.load(Ordering::Relaxed) {
                        let guard = reader.guard();
                        let value = |key: &String| {
                            guard.get(Slot::of_key(key.as_bytes()), key.as_bytes()).unwrap().map(|found| found.value)
                        };
                        let first = value(&names[0]);
                        assert!(names.iter().all(|key| value(key) == first), "all keys of a command change together");
                        let round =
                            first.map_or(0, |value| std::str::from_utf8(&value).unwrap().parse::<u64>().unwrap());
                        assert!(last <= round, "time does not go back");
                        last = round;
                    }
                })
            })
            .collect();
        let mut builder = BatchBuilder::new(next(&engine), VALUE_BYTES_MAX);
        for part in 0..60_u64 {
            // Many commands to a batch: more than are applied in one go.
            builder.start(next(&engine));
            for round in part * 50..(part + 1) * 50 {
                let value = round.to_string();
                names.iter().for_each(|key| assert!(builder.push(&put(key, &value)).is_ok()));
                builder.end_command();
            }
            engine.append(&[builder.finish().unwrap()]).unwrap();
            apply_all(&mut engine);
        }
        done.store(true, Ordering::Relaxed);
        watchers.into_iter().for_each(|watcher| watcher.join().unwrap());
    });
    assert_eq!(get(&engine, "key7").as_deref(), Some("2999"));
}

#[test]
fn what_was_located_stays_readable_after_it_was_replaced() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    write(&mut engine, &[put("a", "1")]);
    let located = engine.reader().guard().locate(Slot::of_key(b"a"), b"a").unwrap();
    write(&mut engine, &[delete("a")]);
    write(&mut engine, &[put("b", &"v".repeat(40_000))]);
    let found = located.read().unwrap();
    assert_eq!((&found.value[..], found.lsn), (b"1".as_slice(), Lsn(0)));
}

#[test]
fn values_are_the_same_through_mappings_and_through_calls() {
    let parent = tempfile::tempdir().unwrap();
    // Room for two segments and a half: the older ones lose their mappings while they are read.
    let options = Options { mapped_bytes: 40 << 10, ..options() };
    let open = || Engine::open(Arc::new(RealFs), parent.path(), identity(), &options, &mut |_| ()).unwrap().0;
    let mut engine = open();
    let value = |i: usize| format!("{i}").repeat(i % 700);
    let first = {
        write(&mut engine, &[put("first", "1")]);
        engine.reader().guard().locate(Slot::of_key(b"first"), b"first").unwrap()
    };
    for i in 0..300 {
        write(&mut engine, &[put(&format!("key{i}"), &value(i))]);
        append(&mut engine, &[put("cut off", &value(i))]);
        engine.truncate_to(engine.applied()).unwrap();
        assert_eq!(get(&engine, &format!("key{}", i / 2)), Some(value(i / 2)));
    }
    assert!(engine.segment_stats().len() > 10);
    assert_eq!(&first.read().unwrap().value[..], b"1");
    drop(engine);
    let mut engine = open();
    apply_all(&mut engine);
    assert!((0..300).all(|i| get(&engine, &format!("key{i}")) == Some(value(i))));
}

#[test]
fn a_scan_shows_every_key_that_stays_exactly_once_while_the_slot_grows_and_shrinks() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    let slot = Slot::of_key(b"{t}");
    let staying: Vec<String> = (0..3000).map(|i| format!("{{t}}stays{i}")).collect();
    let passing: Vec<String> = (0..12_000).map(|i| format!("{{t}}passes{i}")).collect();
    let (early, late) = passing.split_at(2000);
    write_all(&mut engine, &staying, false);
    write_all(&mut engine, early, false);
    let mut late = late.chunks(500);
    let mut early = early.chunks(100);
    let mut seen: Vec<String> = Vec::new();
    let mut cursor = Some(0);
    let mut pages = 0;
    while let Some(from) = cursor {
        let mut page = 0;
        cursor = engine.reader().guard().scan(slot, from, 100, &mut |key, _| {
            page += 1;
            seen.push(String::from_utf8(key.to_vec()).unwrap());
        });
        assert!(page <= 110, "{page} keys in a page of 100");
        pages += 1;
        if let Some(part) = late.next() {
            write_all(&mut engine, part, false);
        }
        if let Some(part) = early.next() {
            write_all(&mut engine, part, true);
        }
    }
    assert!(pages > 30, "{pages} pages");
    seen.retain(|key| key.contains("stays"));
    seen.sort_unstable();
    let mut expected = staying;
    expected.sort_unstable();
    assert_eq!(seen, expected);
    let mut keys = 0;
    engine.reader().guard().keys(slot, &mut |_| keys += 1);
    assert_eq!(keys, engine.reader().stats(slot).keys);
}

fn write_all(engine: &mut simplekv_engine::Engine, keys: &[String], deletes: bool) {
    let records: Vec<_> = keys.iter().map(|key| if deletes { delete(key) } else { put(key, "v") }).collect();
    append(engine, &records);
    apply_all(engine);
}

#[test]
fn an_empty_slot_is_scanned_in_one_step() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    assert_eq!(engine.reader().guard().scan(Slot::MIN, 0, 10, &mut |_, _| panic!("there is no key")), None);
    write(&mut engine, &[put("a", "1")]);
    let mut shown = 0;
    assert_eq!(engine.reader().guard().scan(Slot::of_key(b"a"), 0, 1, &mut |_, _| shown += 1), None);
    assert_eq!(shown, 1);
}
