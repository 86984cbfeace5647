use std::path::Path;

use super::*;
use crate::fs::{Fs, MemFs};

fn keydir() -> Keydir {
    let mut keydir = Keydir::new(KeyHasher::new(1), 0);
    keydir.add_segment(1, MemFs::new().create_new(Path::new("/1")).unwrap());
    keydir
}

fn entry(key: &[u8], lsn: u64, expire_at: Option<u64>) -> NewEntry<'_> {
    NewEntry {
        slot: Slot::MIN,
        hash: KeyHasher::new(1).hash(key),
        key,
        lsn: Lsn(lsn),
        expire_at: expire_at.map(GroupTime),
        value_type: ValueType::String,
        incarnation: None,
        location: Location { segment: 1, offset: u32::try_from(lsn).unwrap(), length: 10 },
    }
}

fn lsn_of(keydir: &Keydir, key: &[u8]) -> Option<u64> {
    keydir.find_visible(Slot::MIN, KeyHasher::new(1).hash(key), key).map(|entry| entry.lsn.0)
}

#[test]
fn the_greatest_lsn_wins_in_whatever_order_records_come() {
    let mut keydir = keydir();
    keydir.put(&entry(b"k", 5, None));
    keydir.put(&entry(b"k", 3, None));
    assert_eq!(lsn_of(&keydir, b"k"), Some(5));
    keydir.delete(Slot::MIN, KeyHasher::new(1).hash(b"k"), b"k", Lsn(4));
    assert_eq!(lsn_of(&keydir, b"k"), Some(5));
    keydir.put(&entry(b"k", 7, None));
    assert_eq!((lsn_of(&keydir, b"k"), keydir.keys(), keydir.live_bytes(1)), (Some(7), 1, 10));
    keydir.delete(Slot::MIN, KeyHasher::new(1).hash(b"k"), b"k", Lsn(8));
    assert_eq!((lsn_of(&keydir, b"k"), keydir.keys(), keydir.live_bytes(1)), (None, 0, 0));
}

#[test]
fn keys_that_share_a_hash_are_different_keys_and_expire_each() {
    let mut keydir = keydir();
    let same = |key, lsn| NewEntry { hash: 77, ..entry(key, lsn, Some(50)) };
    keydir.put(&same(b"a", 1));
    keydir.put(&same(b"b", 2));
    let found = |keydir: &Keydir, key: &[u8]| keydir.find(Slot::MIN, 77, key).map(|entry| entry.lsn.0);
    assert_eq!((found(&keydir, b"a"), found(&keydir, b"b")), (Some(1), Some(2)));
    keydir.delete(Slot::MIN, 77, b"a", Lsn(3));
    assert_eq!((found(&keydir, b"a"), found(&keydir, b"b")), (None, Some(2)));
    assert_eq!(keydir.next_expiry(), Some(GroupTime(50)), "the other key still expires");
    keydir.put(&same(b"a", 4));
    keydir.advance_time(GroupTime(50));
    assert!(!keydir.reap(10, &mut |_| ()));
    assert_eq!((found(&keydir, b"a"), found(&keydir, b"b"), keydir.keys(), keydir.bytes()), (None, None, 0, 0));
}

#[test]
fn a_key_written_again_into_a_cleared_slot_is_not_taken_apart_with_it() {
    let mut keydir = keydir();
    keydir.put(&entry(b"k", 1, Some(50)));
    keydir.clear(Slot::MIN);
    assert_eq!((lsn_of(&keydir, b"k"), keydir.keys()), (None, 0));
    keydir.put(&entry(b"k", 2, Some(50)));
    assert!(!keydir.reap(10, &mut |_| ()));
    assert_eq!((lsn_of(&keydir, b"k"), keydir.live_bytes(1)), (Some(2), 10));
    assert_eq!(keydir.next_expiry(), Some(GroupTime(50)));
    keydir.advance_time(GroupTime(50));
    keydir.reap(10, &mut |_| ());
    assert_eq!((keydir.keys(), keydir.live_bytes(1), keydir.next_expiry()), (0, 0, None));
}

#[test]
fn an_expiry_that_comes_before_a_cleared_table_is_taken_apart_does_no_harm() {
    let mut keydir = keydir();
    keydir.put(&entry(b"k", 1, Some(50)));
    keydir.clear(Slot::MIN);
    keydir.advance_time(GroupTime(60));
    keydir.put(&entry(b"k", 2, Some(70)));
    assert!(!keydir.reap(10, &mut |_| ()));
    assert_eq!((lsn_of(&keydir, b"k"), keydir.live_bytes(1), keydir.next_expiry()), (Some(2), 10, Some(GroupTime(70))));
}

#[test]
fn long_keys_and_the_empty_key_are_found() {
    let mut keydir = keydir();
    let keys: Vec<Vec<u8>> = [0, 1, 22, 23, 24, 255, 256, 65_535].iter().map(|length| vec![b'k'; *length]).collect();
    for (lsn, key) in (1..).zip(&keys) {
        keydir.put(&entry(key, lsn, None));
    }
    for (lsn, key) in (1..).zip(&keys) {
        assert_eq!(lsn_of(&keydir, key), Some(lsn), "{} bytes", key.len());
    }
}
