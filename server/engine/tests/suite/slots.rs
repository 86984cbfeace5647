//! What a slot holds is known exactly, and is dropped at once.

use std::collections::BTreeMap;

use simplekv_engine::fs::MemFs;
use simplekv_engine::record::{Put, Record, SlotChange, SlotChangeKind, SlotRanges, ValueType};
use simplekv_engine::{Applied, Change, Engine, Pending, SlotStats};
use simplekv_types::{Lsn, MigrationId, Slot, SlotRange};

use crate::support::{append, apply_all, batch, delete, get, next, open, put, slot, write};

pub(crate) fn change(kind: SlotChangeKind, ranges: &[SlotRange]) -> Record<'_> {
    Record::Slots(SlotChange {
        kind,
        migration: MigrationId(0),
        source: Lsn(0),
        revision: 0,
        slots: SlotRanges::Given(ranges),
        details: b"",
        origin: None,
    })
}

fn put_in(slot: Slot, key: &str) -> Record<'_> {
    let (key, value) = (key.as_bytes(), b"value".as_slice());
    Record::Put(Put { slot, key, value, value_type: ValueType::String, expire_at: None, origin: None })
}

fn restart(fs: &MemFs, engine: Engine) -> Engine {
    fs.crash_process();
    drop(engine);
    let (mut engine, _) = open(fs);
    apply_all(&mut engine);
    engine
}

#[test]
fn both_ends_of_the_keyspace_hold_keys() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    write(&mut engine, &[put_in(Slot::MIN, "low"), put_in(Slot::MAX, "high"), put_in(Slot::MAX, "")]);
    let mut engine = restart(&fs, engine);
    let reader = engine.reader();
    assert!(reader.guard().contains(Slot::MIN, b"low") && reader.guard().contains(Slot::MAX, b"high"));
    assert!(reader.guard().contains(Slot::MAX, b""), "the empty key is a key");
    assert!(!reader.guard().contains(Slot::MIN, b"high") && !reader.guard().contains(slot(1), b"low"));
    assert_eq!((reader.stats(Slot::MIN).keys, reader.stats(Slot::MAX).keys), (1, 2));
    write(&mut engine, &[change(SlotChangeKind::Clear, &[SlotRange::ALL])]);
    assert_eq!(reader.totals(), SlotStats::default());
}

#[test]
fn statistics_are_exact_after_any_history() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    let mut expected: BTreeMap<String, usize> = BTreeMap::new();
    for i in 0..3000_usize {
        let key = format!("key{}", i * 7919 % 500);
        if i % 5 == 0 {
            write(&mut engine, &[delete(&key)]);
            expected.remove(&key);
        } else {
            write(&mut engine, &[put(&key, &"v".repeat(i % 50))]);
            expected.insert(key.clone(), 24 + key.len() + i % 50);
        }
    }
    for engine in [&restart(&fs, engine)] {
        let mut slots: BTreeMap<Slot, SlotStats> = BTreeMap::new();
        for (key, bytes) in &expected {
            let stats = slots.entry(Slot::of_key(key.as_bytes())).or_default();
            stats.keys += 1;
            stats.bytes += *bytes as u64;
        }
        let reader = engine.reader();
        for slot in Slot::all() {
            assert_eq!(reader.stats(slot), slots.get(&slot).copied().unwrap_or_default(), "slot {slot}");
        }
        let bytes: u64 = expected.values().map(|bytes| *bytes as u64).sum();
        assert_eq!(reader.totals(), SlotStats { keys: expected.len() as u64, bytes });
        assert_eq!(engine.segment_stats().iter().map(|segment| segment.live_bytes).sum::<u64>(), bytes);
    }
}

#[test]
fn a_cleared_slot_is_empty_and_later_records_stand() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    let cleared = Slot::of_key(b"a");
    write(&mut engine, &[put("a", "1"), put("b", "1")]);
    let kinds = [SlotChangeKind::Clear, SlotChangeKind::ImportBegin, SlotChangeKind::ImportAbort, SlotChangeKind::Drop];
    for kind in kinds {
        write(&mut engine, &[put("a", "1"), put("{a}2", "1")]);
        write(&mut engine, &[change(kind, &[cleared.into()]), put("a", "2")]);
        assert_eq!((get(&engine, "a").as_deref(), get(&engine, "{a}2")), (Some("2"), None), "{kind:?}");
        assert_eq!(engine.reader().stats(cleared).keys, 1);
    }
    let engine = restart(&fs, engine);
    assert_eq!((get(&engine, "a").as_deref(), get(&engine, "{a}2")), (Some("2"), None));
    assert_eq!(get(&engine, "b").as_deref(), Some("1"));
    let totals = engine.reader().totals();
    assert_eq!(engine.segment_stats().iter().map(|segment| segment.live_bytes).sum::<u64>(), totals.bytes);
}

#[test]
fn a_pending_change_of_the_slot_touches_every_key_of_it() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    let (a, b) = (Slot::of_key(b"a"), Slot::of_key(b"b"));
    write(&mut engine, &[put("a", "1"), put("b", "1")]);
    append(&mut engine, &[put("a", "2"), change(SlotChangeKind::Clear, &[a.into()]), put("{a}2", "3")]);
    assert_eq!(engine.pending(a, b"a"), Some(Pending::Deleted { lsn: Lsn(3) }));
    assert_eq!(engine.pending(a, b"never seen"), Some(Pending::Deleted { lsn: Lsn(3) }));
    assert_eq!(engine.pending(a, b"{a}2").unwrap().lsn(), Lsn(4));
    assert_eq!(engine.pending(b, b"b"), None);
    append(&mut engine, &[change(SlotChangeKind::Fence, &[b.into()])]);
    assert_eq!(engine.pending(b, b"b"), None, "a fence changes no value");
    assert_eq!(engine.reader().pending_lsn(b, b"b"), Some(Lsn(5)), "but holds reads");
    assert_eq!(engine.reader().pending_lsn(a, b"a"), Some(Lsn(3)));
    apply_all(&mut engine);
    assert_eq!(engine.reader().pending_lsn(b, b"b"), None);
}

#[test]
fn a_start_shows_what_is_more_than_a_key_and_committed() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    let ranges = [SlotRange::ALL];
    let epoch = simplekv_types::Epoch(1);
    write(&mut engine, &[Record::EpochStart { epoch }, put("a", "1"), change(SlotChangeKind::Own, &ranges)]);
    append(&mut engine, &[change(SlotChangeKind::Fence, &ranges)]);
    fs.crash_process();
    drop(engine);
    let mut shown: Vec<(Lsn, u8)> = Vec::new();
    let mut replay = |applied: Applied<'_>| shown.push((applied.lsn, applied.record.kind()));
    let fs: std::sync::Arc<dyn simplekv_engine::fs::Fs> = std::sync::Arc::new(fs);
    let dir = std::path::Path::new(crate::support::DIR);
    let (mut engine, _) =
        Engine::open(fs, dir, crate::support::identity(), &crate::support::options(), &mut replay).unwrap();
    assert_eq!(shown, [(Lsn(0), 5), (Lsn(2), 23)]);
    let mut applied = Vec::new();
    engine.apply_to(Lsn(4), &mut |change| match change {
        Change::Applied(record) => applied.push((record.lsn, record.record.kind())),
        Change::Expired { .. } => panic!("nothing expires"),
    });
    assert_eq!(applied, [(Lsn(3), 21)]);
}

#[test]
fn a_record_of_a_kind_without_meaning_yet_is_refused() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    let intent = batch(next(&engine), &[Record::Intent { slot: slot(0), key: b"k", body: b"" }]);
    assert!(matches!(engine.append(&[intent]), Err(simplekv_engine::AppendError::Unsupported { kind: 32, .. })));
}
