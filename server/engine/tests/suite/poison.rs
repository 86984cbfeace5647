//! After a failed write or flush nothing is accepted any more; reads go on.

use std::io::ErrorKind;

use simplekv_engine::fs::{FaultKind, MemFs};
use simplekv_engine::{AppendError, DirectoryError, Engine, FlushError, LogError, OpenError};
use simplekv_types::{Epoch, Lineage, Lsn, StorageId};

use crate::support::{append, apply_all, batch, get, identity, next, open, put, try_open, write};

fn assert_poisoned(engine: &mut Engine) {
    assert!(engine.is_poisoned());
    let batch = batch(next(engine), &[put("b", "2")]);
    assert!(matches!(engine.append(&[batch]), Err(AppendError::Poisoned)));
    assert!(matches!(engine.truncate_to(engine.log_end()), Err(LogError::Poisoned)));
    assert!(matches!(engine.persist_epoch(Epoch(9), Lineage(0)), Err(LogError::Poisoned)));
    assert!(matches!(engine.flusher().flush(), Err(FlushError::Poisoned)));
    assert!(matches!(engine.record_flush(), Err(LogError::Poisoned)));
    assert_eq!(get(engine, "a").as_deref(), Some("1"));
}

fn replica() -> (MemFs, Engine) {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    write(&mut engine, &[put("a", "1")]);
    (fs, engine)
}

#[test]
fn a_failed_flush_poisons() {
    let (fs, mut engine) = replica();
    append(&mut engine, &[put("b", "1")]);
    fs.fail(FaultKind::Sync, 0, ErrorKind::Other);
    assert!(matches!(engine.flusher().flush(), Err(FlushError::Io { segment: 1, .. })));
    assert_eq!(engine.flushed_end(), Lsn(0), "a failed flush has flushed nothing");
    assert_poisoned(&mut engine);
    apply_all(&mut engine);
    assert_eq!(get(&engine, "b").as_deref(), Some("1"), "what is committed elsewhere is applied and read");
}

#[test]
fn a_failed_write_poisons_and_leaves_a_note() {
    for error in [ErrorKind::Other, ErrorKind::StorageFull] {
        let (fs, mut engine) = replica();
        fs.fail(FaultKind::Write, 0, error);
        let lost = batch(next(&engine), &[put("a", "lost")]);
        assert!(matches!(engine.append(&[lost]), Err(AppendError::Io(_))));
        assert_eq!(engine.log_end(), Lsn(1));
        assert_poisoned(&mut engine);
        fs.crash_process();
        drop(engine);
        match try_open(&fs) {
            Err(OpenError::Directory(DirectoryError::Poisoned { reason, .. })) => {
                assert!(reason.contains("writing the log"), "{reason}")
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_failed_roll_or_state_file_poisons() {
    for (kind, skip) in [
        (FaultKind::Sync, 0),
        (FaultKind::Sync, 1),
        (FaultKind::SyncDir, 0),
        (FaultKind::SyncDir, 1),
        (FaultKind::Rename, 0),
    ] {
        let (fs, mut engine) = replica();
        fs.fail(kind, skip, ErrorKind::Other);
        let large = batch(next(&engine), &[put("b", &"v".repeat(20_000))]);
        assert!(matches!(engine.append(&[large]), Err(AppendError::Io(_))), "{kind:?} {skip}");
        assert_poisoned(&mut engine);
    }
    let (fs, mut engine) = replica();
    fs.fail(FaultKind::Sync, 0, ErrorKind::Other);
    assert!(matches!(engine.persist_epoch(Epoch(5), Lineage(0)), Err(LogError::Io(_))));
    assert_eq!(engine.persisted_epoch().0, Epoch(0));
    assert_poisoned(&mut engine);
}

#[test]
fn only_another_storage_incarnation_lifts_a_poisoning() {
    let (fs, mut engine) = replica();
    assert!(engine.poison("the disk was pulled out"), "the note is durable");
    fs.crash_process();
    drop(engine);
    assert!(try_open(&fs).is_err());
    let (id, dir) = (identity(), std::path::Path::new(crate::support::DIR));
    simplekv_engine::assign_storage(&fs, dir, id.cluster, id.group, StorageId(77)).unwrap();
    let reopened = simplekv_engine::ReplicaIdentity { storage: StorageId(77), ..id };
    let fs_again: std::sync::Arc<dyn simplekv_engine::fs::Fs> = std::sync::Arc::new(fs.clone());
    let (mut engine, recovery) =
        Engine::open(fs_again, dir, reopened, &crate::support::options(), &mut |_| ()).unwrap();
    assert_eq!(recovery.log_end, Lsn(1), "the log is still a source to catch up from");
    apply_all(&mut engine);
    assert_eq!(get(&engine, "a").as_deref(), Some("1"));
}

#[test]
fn what_is_found_at_a_start_is_flushed_or_the_start_fails() {
    let (fs, engine) = replica();
    assert_eq!(engine.flushed_end(), Lsn(0));
    fs.crash_process();
    drop(engine);
    let failing = fs.fork();
    failing.fail(FaultKind::Sync, 0, ErrorKind::Other);
    assert!(matches!(try_open(&failing), Err(OpenError::Directory(DirectoryError::Flush { .. }))));
    assert!(matches!(try_open(&failing), Err(OpenError::Directory(DirectoryError::Poisoned { .. }))));
    let (engine, recovery) = open(&fs);
    assert_eq!((recovery.flushed_end, engine.flushed_end()), (Lsn(0), Lsn(1)));
}
