//! What is accepted can be read back after a restart; what is too large is refused before anything is written.

use std::sync::Arc;

use simplekv_engine::fs::{MemFs, RealFs};
use simplekv_engine::record::{Put, Record, ValueType};
use simplekv_engine::{BatchBuilder, EncodeError, Engine};
use simplekv_types::Slot;
use simplekv_types::limits::{BATCH_RECORDS_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};

use crate::support::{apply_all, identity, next, open, options, put};

fn sized<'a>(key: &'a [u8], value: &'a [u8]) -> Record<'a> {
    Record::Put(Put { slot: Slot::MIN, key, value, value_type: ValueType::String, expire_at: None, origin: None })
}

/// G8: what is too large is refused before it is written.
#[test]
fn a_value_of_the_configured_limit_is_accepted_and_one_more_byte_is_not() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    let mut builder = BatchBuilder::new(next(&engine), 1000);
    let value = vec![7; 1001];
    assert_eq!(builder.push(&sized(b"k", &value)), Err(EncodeError::ValueTooLarge { size: 1001, limit: 1000 }));
    assert!(builder.is_empty());
    builder.push(&sized(b"k", &value[..1000])).unwrap();
    engine.append(&[builder.finish().unwrap()]).unwrap();
    fs.crash_process();
    drop(engine);
    let (mut engine, _) = open(&fs);
    apply_all(&mut engine);
    let found = engine.reader().guard().get(Slot::MIN, b"k").unwrap().unwrap();
    assert_eq!(&found.value[..], &value[..1000]);
}

/// G8: whatever was accepted can be read, before and after a restart.
#[test]
fn the_longest_key_and_the_longest_value_of_all_are_readable_after_a_restart() {
    let parent = tempfile::tempdir().unwrap();
    let open = || Engine::open(Arc::new(RealFs), parent.path(), identity(), &options(), &mut |_| ()).unwrap().0;
    let mut engine = open();
    let value = vec![0; VALUE_BYTES_MAX + 1];
    let key = vec![b'k'; KEY_BYTES_MAX + 1];
    let mut builder = BatchBuilder::new(next(&engine), usize::MAX);
    assert_eq!(
        builder.push(&sized(b"k", &value)),
        Err(EncodeError::ValueTooLarge { size: VALUE_BYTES_MAX + 1, limit: VALUE_BYTES_MAX })
    );
    assert_eq!(
        builder.push(&sized(&key, b"")),
        Err(EncodeError::KeyTooLarge { size: KEY_BYTES_MAX + 1, limit: KEY_BYTES_MAX })
    );
    let (key, value) = (&key[..KEY_BYTES_MAX], &value[..VALUE_BYTES_MAX]);
    builder.push(&sized(key, value)).unwrap();
    engine.append(&[builder.finish().unwrap()]).unwrap();
    drop((engine, builder));
    let mut engine = open();
    apply_all(&mut engine);
    let found = engine.reader().guard().get(Slot::MIN, key).unwrap().unwrap();
    assert!(found.value == value, "the value is as it was written");
}

#[test]
fn a_batch_holds_as_many_records_as_it_may_and_no_more() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    let mut builder = BatchBuilder::new(next(&engine), 1000);
    for _ in 0..BATCH_RECORDS_MAX {
        builder.push(&put("k", "")).unwrap();
    }
    assert_eq!(builder.push(&put("k", "")), Err(EncodeError::TooManyRecords { limit: BATCH_RECORDS_MAX }));
    engine.append(&[builder.finish().unwrap()]).unwrap();
    apply_all(&mut engine);
    assert_eq!(engine.applied().0, BATCH_RECORDS_MAX as u64);
}

#[test]
fn a_command_that_fails_half_way_leaves_nothing_in_the_batch() {
    let fs = MemFs::new();
    let (engine, _) = open(&fs);
    let mut builder = BatchBuilder::new(next(&engine), 1000);
    builder.push(&put("a", "1")).unwrap();
    builder.end_command();
    let expected = builder.bytes();
    let checkpoint = builder.checkpoint();
    builder.push(&put("a", "2")).unwrap();
    builder.push(&put("b", "2")).unwrap();
    let slot = Slot::of_key(b"a");
    assert_eq!(&builder.get(slot, b"a").unwrap().into_found().unwrap().value[..], b"2");
    builder.roll_back(checkpoint);
    assert_eq!(&builder.get(slot, b"a").unwrap().into_found().unwrap().value[..], b"1");
    assert_eq!(builder.get(Slot::of_key(b"b"), b"b"), None);
    assert_eq!((builder.count(), builder.bytes()), (1, expected));
}
