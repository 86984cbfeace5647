//! A slot is copied while it changes, and what arrives does not expire before it is owned.

use std::collections::BTreeMap;

use bytes::BytesMut;
use simplekv_collections::At;
use simplekv_engine::fs::MemFs;
use simplekv_engine::record::{Element, Put, Record, Records, SlotChangeKind, ValueType};
use simplekv_engine::{BatchStart, CopyCursor, Engine};
use simplekv_types::{GroupTime, Lsn, Slot};

use crate::slots::change;
use crate::support::{apply_all, batch, get, next, open, put, put_until, write};

/// All keys of these tests are in one slot.
fn moving() -> Slot {
    Slot::of_key(b"m")
}

/// Numbers as if drawn, the same in every run.
struct Drawn(u64);

impl Drawn {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Every key of the slot: a string's value, or what its elements are.
fn contents(engine: &Engine) -> BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>> {
    let reader = engine.reader();
    let guard = reader.guard();
    let mut keys = Vec::new();
    guard.keys(moving(), &mut |key| keys.push(key.to_vec()));
    let mut all = BTreeMap::new();
    for key in keys {
        let mut held = BTreeMap::new();
        if let Some(found) = guard.elements(moving(), &key) {
            for number in 0..found.collection.len() {
                let element = found.collection.get(number).unwrap();
                let At::Log(place) = element.at else { panic!("it is applied") };
                held.insert(element.name.to_vec(), guard.element_value(moving(), place).unwrap().to_vec());
            }
        } else {
            held.insert(Vec::new(), guard.get(moving(), &key).unwrap().unwrap().value.to_vec());
        }
        all.insert(key, held);
    }
    all
}

/// One change of the slot, as a leader would write it.
fn write_something(engine: &mut Engine, drawn: &mut Drawn, lives: &mut BTreeMap<String, u64>) {
    let (string, hash) = (format!("{{m}}s{}", drawn.below(300)), format!("{{m}}h{}", drawn.below(5)));
    let value = format!("{}{}", engine.log_end(), "v".repeat(usize::try_from(drawn.below(30)).unwrap()));
    let name = format!("f{}", drawn.below(200));
    let life = lives.get(&hash).copied();
    match (drawn.below(100), life) {
        (0..40, _) => write(engine, &[put(&string, &value)]),
        (40..50, _) => write(engine, &[Record::Delete { slot: moving(), key: string.as_bytes(), origin: None }]),
        (50..52, _) => {
            write(engine, &[Record::Delete { slot: moving(), key: hash.as_bytes(), origin: None }]);
            lives.remove(&hash);
        }
        (_, None) => {
            let incarnation = engine.reader().guard().incarnation(moving()) + 1;
            let bytes = incarnation.to_le_bytes();
            let (key, value_type) = (hash.as_bytes(), ValueType::Hash);
            let put = Put { slot: moving(), key, value: &bytes, value_type, expire_at: None, origin: None };
            write(engine, &[Record::Put(put)]);
            lives.insert(hash, incarnation);
        }
        (number, Some(incarnation)) => {
            let (key, name) = (hash.as_bytes(), name.as_bytes());
            let element = Element { slot: moving(), key, incarnation, name, origin: None };
            let value = value.as_bytes();
            let put = Record::ElementPut { element, value, value_type: ValueType::Hash, expire_at: None };
            write(engine, &[if number < 90 { put } else { Record::ElementDelete(element) }]);
        }
    }
}

/// Appends and applies records of another log, in their order.
fn stage<'a>(target: &mut Engine, records: impl IntoIterator<Item = &'a [u8]>) {
    for bytes in records {
        let records: Vec<Record<'_>> = Records::new(bytes).map(|decoded| decoded.unwrap().record).collect();
        if !records.is_empty() {
            let next = next(target);
            target.append(&[batch(next, &records)]).unwrap();
            let end = target.log_end();
            while target.apply_to(end, &mut |_| ()) {}
        }
    }
}

#[test]
fn pieces_and_what_the_log_holds_behind_each_are_the_whole_slot() {
    for seed in 0..20 {
        let mut drawn = Drawn(seed);
        let (mut source, _) = open(&MemFs::new());
        let (mut target, _) = open(&MemFs::new());
        let mut lives = BTreeMap::new();
        (0..2000).for_each(|_| write_something(&mut source, &mut drawn, &mut lives));
        write(&mut target, &[put("{m}left over", "v"), change(SlotChangeKind::ImportBegin, &[moving().into()])]);
        let (mut cursor, mut sent, mut pieces) = (Some(CopyCursor::default()), source.applied(), 0);
        while let Some(from) = cursor {
            let mut bytes = BytesMut::new();
            let piece = source.reader().guard().copy(moving(), &from, 700);
            piece.read(&mut bytes).unwrap();
            assert_eq!((piece.bytes(), piece.applied), (bytes.len(), source.applied()), "seed {seed}");
            stage(&mut target, [&*bytes]);
            (0..drawn.below(20)).for_each(|_| write_something(&mut source, &mut drawn, &mut lives));
            let tail = source.read_log(sent, 1 << 20).unwrap();
            sent = tail.last().map_or(sent, |last| last.end());
            stage(&mut target, tail.iter().map(|batch| &*batch.records));
            (cursor, pieces) = (piece.next, pieces + 1);
        }
        assert!(pieces > 10, "seed {seed}: the slot came in {pieces} pieces");
        write(&mut target, &[change(SlotChangeKind::Own, &[moving().into()])]);
        assert_eq!(contents(&target), contents(&source), "seed {seed}");
    }
}

#[test]
fn a_slot_without_keys_is_one_empty_piece() {
    let (mut engine, _) = open(&MemFs::new());
    write(&mut engine, &[put("another", "v")]);
    let piece = engine.reader().guard().copy(moving(), &CopyCursor::default(), 1000);
    assert_eq!((piece.is_empty(), piece.len(), piece.next.is_none(), piece.applied), (true, 0, true, Lsn(1)));
}

#[test]
fn damage_is_told_and_not_sent() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    write(&mut engine, &[put("m", "the value of a key")]);
    let piece = engine.reader().guard().copy(moving(), &CopyCursor::default(), 1000);
    let path = crate::support::path("000001.log");
    let place = fs.content(&path).unwrap().windows(3).position(|bytes| bytes == b"the").unwrap();
    assert!(fs.flip_bit(&path, place as u64, 1));
    assert!(piece.read(&mut BytesMut::new()).is_err());
}

fn at(engine: &mut Engine, time: u64, records: &[Record<'_>]) {
    let start = BatchStart { time: GroupTime(time), ..next(engine) };
    let batch = batch(start, records);
    engine.append(&[batch]).unwrap();
    apply_all(engine);
}

#[test]
fn nothing_expires_before_it_is_owned() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    let range = [moving().into()];
    write(&mut engine, &[change(SlotChangeKind::ImportBegin, &range)]);
    write(&mut engine, &[put_until("{m}stays", "v", Some(2000)), put_until("{m}goes", "v", Some(2000))]);
    at(&mut engine, 3000, &[put_until("{m}late", "v", Some(2500)), put_until("{m}told", "v", Some(2600))]);
    let keys = |engine: &Engine| engine.reader().stats(moving()).keys;
    assert_eq!(keys(&engine), 4, "their time has come here, but perhaps not where they come from");
    // Told to stay where they come from, in time.
    write(&mut engine, &[put("{m}stays", "v"), put_until("{m}told", "v", Some(9000))]);
    drop(engine);
    let (mut engine, _) = open(&fs);
    apply_all(&mut engine);
    assert_eq!(keys(&engine), 4, "a start makes the same of it");
    write(&mut engine, &[change(SlotChangeKind::Own, &range)]);
    assert_eq!(keys(&engine), 2);
    assert_eq!((get(&engine, "{m}stays").as_deref(), get(&engine, "{m}told").as_deref()), (Some("v"), Some("v")));
    at(&mut engine, 9000, &[Record::Tick]);
    assert_eq!(keys(&engine), 1);
}

#[test]
fn what_is_given_up_is_gone_and_later_keys_expire_as_ever() {
    for kind in [SlotChangeKind::ImportAbort, SlotChangeKind::Drop, SlotChangeKind::Reconcile] {
        let (mut engine, _) = open(&MemFs::new());
        let range = [moving().into()];
        write(&mut engine, &[change(SlotChangeKind::ImportBegin, &range), put_until("m", "v", Some(2000))]);
        at(&mut engine, 3000, &[Record::Tick]);
        write(&mut engine, &[change(kind, &range)]);
        assert_eq!(engine.reader().totals().keys, 0);
        write(&mut engine, &[put_until("m", "v", Some(4000))]);
        at(&mut engine, 4000, &[Record::Tick]);
        assert_eq!(engine.reader().totals().keys, 0, "{kind:?}");
        let live: u64 = engine.segment_stats().iter().map(|stats| stats.live_bytes).sum();
        assert_eq!(live, 0, "{kind:?}");
    }
}
