//! Keys expire by the group time of the log, and by nothing else.

use simplekv_engine::fs::MemFs;
use simplekv_engine::record::Record;
use simplekv_engine::{Change, Engine, SlotStats};
use simplekv_types::{Batch, GroupTime, Lsn, Slot};

use crate::support::{append, apply_all, batch, delete, get, next, open, put, put_until, whole_log, write};

/// Lets group time pass.
fn tick(engine: &mut Engine, time: u64) {
    let tick = batch(simplekv_engine::BatchStart { time: GroupTime(time), ..next(engine) }, &[Record::Tick]);
    engine.append(&[tick]).unwrap();
    apply_all(engine);
}

fn keys(engine: &Engine) -> u64 {
    engine.reader().totals().keys
}

#[test]
fn a_key_vanishes_when_group_time_reaches_its_expiry() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    write(&mut engine, &[put_until("a", "1", Some(2000)), put("b", "2")]);
    assert_eq!(engine.reader().next_expiry(), Some(GroupTime(2000)));
    tick(&mut engine, 1999);
    assert_eq!(get(&engine, "a").as_deref(), Some("1"));
    tick(&mut engine, 2000);
    assert_eq!(get(&engine, "a"), None);
    assert_eq!((keys(&engine), engine.reader().next_expiry()), (1, None));
    assert_eq!(engine.reader().stats(Slot::of_key(b"a")), SlotStats::default());
}

#[test]
fn a_start_finds_keys_expired_or_not_as_they_were() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    write(&mut engine, &[put_until("a", "1", Some(2000)), put_until("b", "2", Some(3000))]);
    tick(&mut engine, 2500);
    append(&mut engine, &[put("c", "3")]);
    fs.crash_process();
    drop(engine);
    let (engine, _) = open(&fs);
    assert_eq!((get(&engine, "a"), get(&engine, "b").as_deref()), (None, Some("2")));
    assert_eq!((keys(&engine), engine.reader().next_expiry()), (1, Some(GroupTime(3000))));
    assert_eq!(engine.applied_time(), GroupTime(2500));
}

/// G6: a SET that keeps nothing clears the expiry.
#[test]
fn a_set_does_not_inherit_the_expiry_of_what_it_replaces() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    write(&mut engine, &[put_until("a", "1", Some(2000))]);
    write(&mut engine, &[put("a", "2")]);
    assert_eq!(engine.reader().next_expiry(), None);
    tick(&mut engine, 5000);
    assert_eq!(get(&engine, "a").as_deref(), Some("2"));
}

/// G6: a SET on a lapsed key is not taken away by the expiry of the value before it.
#[test]
fn a_set_after_the_expiry_has_none() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    write(&mut engine, &[put_until("a", "1", Some(2000))]);
    tick(&mut engine, 2000);
    write(&mut engine, &[put("a", "2")]);
    tick(&mut engine, 9000);
    assert_eq!(get(&engine, "a").as_deref(), Some("2"));
    assert_eq!(keys(&engine), 1);
}

/// G6: DEL and SET do not bring an old expiry back.
#[test]
fn a_deletion_takes_the_expiry_along() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    write(&mut engine, &[put_until("a", "1", Some(2000))]);
    write(&mut engine, &[delete("a"), put("a", "2")]);
    tick(&mut engine, 5000);
    assert_eq!(get(&engine, "a").as_deref(), Some("2"));
    assert_eq!(engine.reader().next_expiry(), None);
}

#[test]
fn a_value_that_is_born_expired_deletes() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    write(&mut engine, &[put("a", "1")]);
    write(&mut engine, &[put_until("a", "2", Some(1000))]);
    assert_eq!((get(&engine, "a"), keys(&engine)), (None, 0));
}

#[test]
fn a_pending_batch_that_brings_the_time_makes_the_key_dirty() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    let slot = Slot::of_key(b"a");
    write(&mut engine, &[put_until("a", "1", Some(2000)), put("b", "1")]);
    let later = batch(simplekv_engine::BatchStart { time: GroupTime(2500), ..next(&engine) }, &[put("c", "1")]);
    engine.append(&[later]).unwrap();
    assert_eq!(engine.reader().pending_lsn(slot, b"a"), Some(Lsn(2)));
    assert_eq!(engine.reader().pending_lsn(Slot::of_key(b"b"), b"b"), None);
    let even_later = batch(
        simplekv_engine::BatchStart { time: GroupTime(2600), ..next(&engine) },
        &[put_until("a", "2", Some(2650))],
    );
    engine.append(&[even_later]).unwrap();
    assert_eq!(engine.reader().pending_lsn(slot, b"a"), Some(Lsn(3)), "the newer value is the last change");
    tick_pending(&mut engine, 2700);
    assert_eq!(engine.reader().pending_lsn(slot, b"a"), Some(Lsn(4)), "it expires in its turn");
}

fn tick_pending(engine: &mut Engine, time: u64) {
    let tick = batch(simplekv_engine::BatchStart { time: GroupTime(time), ..next(engine) }, &[Record::Tick]);
    engine.append(&[tick]).unwrap();
}

#[test]
fn more_keys_than_are_removed_at_once_vanish_at_once() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    let names: Vec<String> = (0..20_000).map(|i| format!("key{i}")).collect();
    for part in names.chunks(1000) {
        let records: Vec<_> = part.iter().map(|key| put_until(key, "v", Some(2000))).collect();
        write(&mut engine, &records);
    }
    let reader = engine.reader();
    let tick: Batch = batch(simplekv_engine::BatchStart { time: GroupTime(2000), ..next(&engine) }, &[Record::Tick]);
    engine.append(&[tick]).unwrap();
    let end = engine.log_end();
    let mut expired = Vec::new();
    let mut note = |change: Change<'_>| {
        if let Change::Expired { key } = change {
            expired.push(String::from_utf8_lossy(key).into_owned());
        }
    };
    let more = engine.apply_to(end, &mut note);
    assert!(more && reader.totals().keys > 0, "removal takes several calls");
    assert!(names.iter().all(|key| !reader.guard().contains(Slot::of_key(key.as_bytes()), key.as_bytes())));
    assert_eq!(reader.next_expiry(), None);
    while engine.apply_to(end, &mut note) {}
    expired.sort_unstable();
    let mut names = names;
    names.sort_unstable();
    assert!(expired == names, "each is told once: {} of {}", expired.len(), names.len());
    assert_eq!(reader.totals(), SlotStats::default());
    assert!(engine.segment_stats().iter().all(|segment| segment.live_bytes == 0));
    assert_eq!(whole_log(&engine).last().unwrap().end(), end);
}
