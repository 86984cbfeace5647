//! Truncation drops what never committed, for good, by appending only.

use std::panic::{AssertUnwindSafe, catch_unwind};

use simplekv_engine::Verdict;
use simplekv_engine::fs::MemFs;
use simplekv_types::{Batch, Epoch, Lsn, Slot};

use crate::support::{append, apply_all, batch, get, next, open, options, put, whole_log, write};

/// One committed batch and five that are not, over several segments.
fn log(fs: &MemFs) -> simplekv_engine::Engine {
    let (mut engine, _) = open(fs);
    write(&mut engine, &[put("committed", "1")]);
    for i in 0..5 {
        append(&mut engine, &[put("key", &format!("{i}").repeat(5000)), put("other", "x")]);
    }
    engine
}

/// G10: truncation keeps what it shall keep.
#[test]
fn truncated_records_are_gone_and_others_take_their_place() {
    let fs = MemFs::new();
    let mut engine = log(&fs);
    let slot = Slot::of_key(b"key");
    engine.truncate_to(Lsn(5)).unwrap();
    assert_eq!(engine.log_end(), Lsn(5));
    assert_eq!(engine.pending(slot, b"key").unwrap().lsn(), Lsn(3));
    let other = Batch { epoch: Epoch(2), ..batch(next(&engine), &[put("key", "new")]) };
    engine.append(&[other]).unwrap();
    assert_eq!(engine.epoch_history(), [(Epoch(1), Lsn(0)), (Epoch(2), Lsn(5))]);
    assert_eq!((engine.epoch_before(Lsn(5)), engine.epoch_before(Lsn(6))), (Some(Epoch(1)), Some(Epoch(2))));
    let expected = whole_log(&engine);
    fs.crash_process();
    drop(engine);
    let (mut engine, recovery) = open(&fs);
    assert_eq!((recovery.verdict, recovery.log_end), (Verdict::Clean, Lsn(6)));
    assert_eq!(whole_log(&engine), expected);
    apply_all(&mut engine);
    assert_eq!(get(&engine, "key").as_deref(), Some("new"));
}

/// G10: over several segments, to any place.
#[test]
fn every_pending_boundary_can_be_truncated_to() {
    for lsn in [1, 3, 5, 7, 9, 11] {
        let fs = MemFs::new();
        let mut engine = log(&fs);
        let kept: Vec<Batch> = whole_log(&engine).into_iter().filter(|batch| batch.end() <= Lsn(lsn)).collect();
        engine.truncate_to(Lsn(lsn)).unwrap();
        assert_eq!(whole_log(&engine), kept);
        fs.lose_power(lsn);
        let (engine, recovery) = open(&fs);
        assert!(recovery.log_end <= Lsn(lsn), "{recovery:?}");
        let read = whole_log(&engine);
        assert_eq!(read, kept[..read.len()]);
    }
}

#[test]
fn an_old_tail_cannot_reappear_after_a_loss_of_power() {
    for seed in 0..300 {
        let fs = MemFs::new();
        let mut engine = log(&fs);
        if seed % 2 == 0 {
            engine.flusher().flush().unwrap();
        }
        engine.truncate_to(Lsn(3)).unwrap();
        // The same bytes as before at the same place, so that nothing but the chain tells an old successor from a new one.
        let again = batch(next(&engine), &[put("key", &"1".repeat(5000)), put("other", "x")]);
        engine.append(&[again]).unwrap();
        let expected = whole_log(&engine);
        fs.lose_power(seed);
        let (engine, recovery) = open(&fs);
        assert!(recovery.log_end <= Lsn(5), "seed {seed}: {recovery:?}");
        let read = whole_log(&engine);
        assert_eq!(read, expected[..read.len()], "seed {seed}");
        if seed % 2 == 0 {
            assert!(recovery.log_end >= Lsn(3), "seed {seed}: what was flushed and kept is there");
        }
    }
}

#[test]
fn what_takes_the_place_of_flushed_records_does_not_pass_for_flushed() {
    let fs = MemFs::new();
    let mut engine = log(&fs);
    engine.flusher().flush().unwrap();
    assert_eq!(engine.flushed_end(), Lsn(11));
    engine.truncate_to(Lsn(3)).unwrap();
    assert_eq!(engine.flushed_end(), Lsn(3));
    append(&mut engine, &[put("key", "new")]);
    assert_eq!(engine.flushed_end(), Lsn(3));
    assert_eq!(engine.flusher().flush().unwrap(), Lsn(4));
}

/// G10: only segments wholly behind the cut go.
#[test]
fn segments_that_are_cut_off_are_removed() {
    let fs = MemFs::new();
    let mut engine = log(&fs);
    let before = engine.segment_stats().len();
    assert!(before >= 2);
    engine.truncate_to(Lsn(1)).unwrap();
    assert_eq!(engine.segment_stats().len(), 2);
    let logs = simplekv_engine::fs::Fs::list(&fs, std::path::Path::new(crate::support::DIR)).unwrap();
    assert_eq!(logs.iter().filter(|name| name.ends_with(".log")).count(), 2, "{logs:?}");
    append(&mut engine, &[put("key", &"n".repeat(usize::try_from(options().segment_bytes).unwrap()))]);
    apply_all(&mut engine);
    assert_eq!(get(&engine, "committed").as_deref(), Some("1"));
}

#[test]
fn a_committed_record_is_never_truncated() {
    let fs = MemFs::new();
    let mut engine = log(&fs);
    apply_all(&mut engine);
    append(&mut engine, &[put("a", "1"), put("b", "2")]);
    for lsn in [0, 10, 12, 14] {
        let refused = catch_unwind(AssertUnwindSafe(|| engine.truncate_to(Lsn(lsn))));
        assert!(refused.is_err(), "{lsn}: below applied, within a batch, or beyond the end");
    }
    engine.truncate_to(Lsn(11)).unwrap();
}
