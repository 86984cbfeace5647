//! A full disk refuses appends before anything is written; the log stays whole, and takes more once there is room.

use simplekv_engine::fs::MemFs;
use simplekv_engine::{AppendError, LogError};
use simplekv_types::{Epoch, Lineage, Lsn};

use crate::support::{append, apply_all, batch, get, next, open, put, whole_log, write};

#[test]
fn without_room_for_another_segment_appends_are_refused_and_can_be_tried_again() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    write(&mut engine, &[put("a", "1")]);
    // Room for the segment there is and the small files, not for another segment.
    fs.set_capacity(Some(20_000));
    let large = batch(next(&engine), &[put("b", &"v".repeat(18_000))]);
    for _ in 0..3 {
        assert!(
            matches!(engine.append(std::slice::from_ref(&large)), Err(AppendError::NoSpace { bytes }) if bytes > 18_000)
        );
    }
    append(&mut engine, &[put("c", "fits")]);
    assert!(matches!(engine.truncate_to(Lsn(1)), Err(LogError::NoSpace { .. })));
    assert_eq!(engine.log_end(), Lsn(2), "nothing was truncated");
    fs.set_capacity(None);
    engine.truncate_to(Lsn(1)).unwrap();
    engine.append(&[large]).unwrap();
    apply_all(&mut engine);
    assert_eq!(get(&engine, "b").map(|value| value.len()), Some(18_000));
    let log = whole_log(&engine);
    fs.crash_process();
    drop(engine);
    assert_eq!(whole_log(&open(&fs).0), log);
}

#[test]
fn without_room_for_a_small_file_nothing_is_forgotten() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    engine.persist_epoch(Epoch(3), Lineage(0)).unwrap();
    fs.set_capacity(Some(16_500));
    assert!(matches!(engine.persist_epoch(Epoch(4), Lineage(0)), Err(LogError::NoSpace { .. })));
    assert_eq!(engine.persisted_epoch().0, Epoch(3));
    fs.crash_process();
    drop(engine);
    let (mut engine, _) = open(&fs);
    assert_eq!(engine.persisted_epoch().0, Epoch(3));
    fs.set_capacity(None);
    engine.persist_epoch(Epoch(4), Lineage(0)).unwrap();
}
