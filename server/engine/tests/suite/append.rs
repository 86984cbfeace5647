//! What is appended is pending; what is applied is read; both are still there after a crash of the process.

use simplekv_engine::fs::MemFs;
use simplekv_engine::{Pending, Verdict};
use simplekv_types::{Batch, Lsn, Slot};

use crate::support::{append, apply_all, get, next, open, put, whole_log, write};

#[test]
fn an_applied_value_is_read_back() {
    let fs = MemFs::new();
    let (mut engine, recovery) = open(&fs);
    assert_eq!(recovery.verdict, Verdict::Fresh);
    append(&mut engine, &[put("a", "1"), put("b", "2")]);
    assert_eq!(get(&engine, "a"), None, "not applied yet");
    apply_all(&mut engine);
    assert_eq!(get(&engine, "a").as_deref(), Some("1"));
    assert_eq!(get(&engine, "b").as_deref(), Some("2"));
    assert_eq!(get(&engine, "c"), None);
    assert_eq!((engine.applied(), engine.log_end()), (Lsn(2), Lsn(2)));
}

/// G12: what is not committed is not read.
#[test]
fn a_pending_value_is_seen_by_evaluation_only() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    let slot = Slot::of_key(b"a");
    write(&mut engine, &[put("a", "1")]);
    assert_eq!(engine.pending(slot, b"a"), None);
    append(&mut engine, &[put("a", "2")]);
    append(&mut engine, &[put("a", "3")]);
    let pending = engine.pending(slot, b"a").and_then(Pending::into_found).unwrap();
    assert_eq!((&pending.value[..], pending.lsn), (b"3".as_slice(), Lsn(2)));
    assert_eq!(engine.reader().pending_lsn(slot, b"a"), Some(Lsn(2)));
    assert_eq!(get(&engine, "a").as_deref(), Some("1"));
    engine.apply_to(Lsn(2), &mut |_| ());
    assert_eq!(get(&engine, "a").as_deref(), Some("2"));
    assert_eq!(engine.reader().pending_lsn(slot, b"a"), Some(Lsn(2)));
    apply_all(&mut engine);
    assert_eq!(engine.pending(slot, b"a"), None);
    assert_eq!(engine.reader().pending_lsn(slot, b"a"), None);
}

#[test]
fn a_process_crash_loses_nothing_and_applies_what_is_known_to_be_committed() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    write(&mut engine, &[put("a", "1")]);
    append(&mut engine, &[put("a", "2")]);
    let before = whole_log(&engine);
    fs.crash_process();
    drop(engine);
    let (mut engine, recovery) = open(&fs);
    assert_eq!(recovery.verdict, Verdict::Clean);
    assert_eq!((recovery.records, recovery.applied, recovery.log_end), (2, Lsn(1), Lsn(2)));
    assert_eq!(whole_log(&engine), before);
    assert_eq!(get(&engine, "a").as_deref(), Some("1"));
    assert_eq!(engine.reader().pending_lsn(Slot::of_key(b"a"), b"a"), Some(Lsn(1)));
    apply_all(&mut engine);
    assert_eq!(get(&engine, "a").as_deref(), Some("2"));
}

#[test]
fn a_batch_that_does_not_follow_is_refused_and_nothing_is_written() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    write(&mut engine, &[put("a", "1")]);
    let good = crate::support::batch(next(&engine), &[put("a", "2")]);
    let refused = [
        Batch { base: Lsn(5), ..good.clone() },
        Batch { epoch: simplekv_types::Epoch(0), ..good.clone() },
        Batch { time: simplekv_types::GroupTime(1), ..good.clone() },
        Batch { high_watermark: Lsn(2), ..good.clone() },
        Batch { count: 2, ..good.clone() },
        Batch { count: 0, ..good.clone() },
        Batch { records: good.records.slice(..good.records.len() - 1), ..good.clone() },
    ];
    let mutations = fs.mutations();
    for batch in refused {
        assert!(engine.append(&[good.clone(), batch.clone()]).is_err(), "{batch:?}");
        assert!(engine.append(std::slice::from_ref(&batch)).is_err(), "{batch:?}");
    }
    assert_eq!((fs.mutations(), engine.log_end()), (mutations, Lsn(1)));
    engine.append(&[good]).unwrap();
    assert_eq!(engine.log_end(), Lsn(2));
}

#[test]
fn the_log_is_read_back_from_memory_and_from_segments() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    let value = "v".repeat(700);
    for i in 0..100 {
        let key = format!("key{i}");
        write(&mut engine, &[put(&key, &value), put("counter", &key)]);
    }
    let log = whole_log(&engine);
    assert_eq!(log.len(), 100);
    assert!(engine.segment_stats().len() > 3, "several segments");
    for (i, batch) in log.iter().enumerate() {
        assert_eq!(batch.base, Lsn(2 * i as u64));
        let within = engine.read_log(batch.base + 1, 1).unwrap();
        assert_eq!(within, std::slice::from_ref(batch), "the batch that contains the record");
    }
    assert_eq!(engine.read_log(engine.log_end(), 1000).unwrap(), []);
}
