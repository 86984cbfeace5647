//! Whose directory it is, who has it, and which files in it may go.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use simplekv_engine::fs::{Fs, MemFs, RealFs};
use simplekv_engine::{DirectoryError, Engine, OpenError, ReplicaIdentity, Verdict, discard, identity as identity_of};
use simplekv_types::{ClusterId, GroupId, Lsn, StorageId};

use crate::support::{DIR, append, identity, open, options, path, put, try_open, whole_log, write};

#[test]
fn a_directory_in_use_is_refused_by_name() {
    let fs = MemFs::new();
    let (engine, _) = open(&fs);
    match try_open(&fs) {
        Err(OpenError::Directory(error @ DirectoryError::Locked { .. })) => {
            assert_eq!(error.to_string(), "/replica is in use by another process");
        }
        other => panic!("{other:?}"),
    }
    let reader = engine.reader();
    drop(engine);
    try_open(&fs).expect("a reader does not keep the directory");
    assert_eq!(reader.applied(), Lsn(0));
}

#[test]
fn a_real_directory_is_locked_for_a_second_engine() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a/b");
    let open = || Engine::open(Arc::new(RealFs), &dir, identity(), &options(), &mut |_| ());
    let (mut engine, recovery) = open().unwrap();
    assert_eq!(recovery.verdict, Verdict::Fresh);
    assert!(matches!(open(), Err(OpenError::Directory(DirectoryError::Locked { .. }))));
    for i in 0..100 {
        write(&mut engine, &[put("key", &format!("{i}").repeat(300))]);
    }
    engine.flusher().flush().unwrap();
    let log = whole_log(&engine);
    engine.close().unwrap();
    let (engine, recovery) = open().unwrap();
    assert_eq!((recovery.verdict, recovery.cut_bytes), (Verdict::Clean, 0));
    assert_eq!(recovery.flushed_end, Lsn(100));
    assert_eq!(whole_log(&engine), log);
}

#[test]
fn a_directory_of_another_replica_is_refused_and_both_are_named() {
    let fs = MemFs::new();
    drop(open(&fs));
    let others = [
        ReplicaIdentity { cluster: ClusterId(9), ..identity() },
        ReplicaIdentity { group: GroupId(9), ..identity() },
        ReplicaIdentity { storage: StorageId(9), ..identity() },
    ];
    for other in others {
        let opened = Engine::open(Arc::new(fs.clone()), Path::new(DIR), other, &options(), &mut |_| ());
        match opened {
            Err(OpenError::Directory(error @ DirectoryError::Foreign { .. })) => {
                let text = error.to_string();
                assert!(text.contains(&identity().to_string()) && text.contains(&other.to_string()), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(identity_of(&fs, Path::new(DIR)).unwrap(), Some(identity()));
}

#[test]
fn files_that_are_not_the_engines_are_reported_and_left_alone() {
    let fs = MemFs::new();
    drop(open(&fs));
    for name in ["notes.txt", "7.log", "000001.hint", "other.new"] {
        fs.set_content(&path(name), b"mine");
    }
    for name in ["META.new", "MANIFEST.new"] {
        fs.set_content(&path(name), b"half a file");
    }
    let (_, recovery) = open(&fs);
    assert_eq!(recovery.unknown_files, ["000001.hint", "7.log", "notes.txt", "other.new"]);
    let files = fs.list(Path::new(DIR)).unwrap();
    assert_eq!(files, ["000001.hint", "000001.log", "7.log", "MANIFEST", "META", "notes.txt", "other.new"]);
}

#[test]
fn a_segment_that_cannot_be_accounted_for_is_never_deleted() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    let manifest = fs.content(&path("MANIFEST")).unwrap();
    append(&mut engine, &[put("a", &"v".repeat(20_000))]);
    fs.crash_process();
    fs.set_content(&path("MANIFEST"), &manifest);
    match try_open(&fs) {
        Err(OpenError::Directory(DirectoryError::Unlisted { path: unlisted })) => {
            assert_eq!(unlisted, path("000002.log"))
        }
        other => panic!("{other:?}"),
    }
    assert!(fs.content(&path("000002.log")).is_some());
}

#[test]
fn a_log_without_an_identity_is_never_overwritten() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    append(&mut engine, &[put("a", "1")]);
    fs.crash_process();
    fs.remove(&path("META")).unwrap();
    fs.remove(&path("MANIFEST")).unwrap();
    assert!(matches!(try_open(&fs), Err(OpenError::Directory(DirectoryError::Missing { .. }))));
    assert!(fs.content(&path("000001.log")).is_some());
}

#[test]
fn a_discarded_replica_is_gone_however_often_that_is_interrupted() {
    let mut steps = 0;
    loop {
        let fs = MemFs::new();
        let (mut engine, _) = open(&fs);
        append(&mut engine, &[put("a", &"v".repeat(20_000))]);
        fs.crash_process();
        fs.halt_after(steps);
        let done = discard(&fs, Path::new(DIR), identity().cluster, identity().group).is_ok();
        for seed in 0..10 {
            let fs = fs.fork();
            if seed == 0 {
                fs.crash_process()
            } else {
                fs.lose_power(seed)
            }
            let (_, recovery) = try_open(&fs).unwrap_or_else(|error| panic!("step {steps}, seed {seed}: {error}"));
            assert!(!done || recovery.verdict == Verdict::Fresh, "step {steps}, seed {seed}");
            assert!([Lsn(0), Lsn(1)].contains(&recovery.log_end));
        }
        if done {
            break;
        }
        steps += 1;
    }
    assert!(steps > 4);
}

#[test]
fn a_stop_at_any_step_of_the_creation_leaves_a_directory_that_opens() {
    for steps in 0..20 {
        for seed in 0..20 {
            let fs = MemFs::new();
            fs.halt_after(steps);
            let done = try_open(&fs).is_ok();
            if seed == 0 {
                fs.crash_process()
            } else {
                fs.lose_power(seed)
            }
            let (_, recovery) = try_open(&fs).unwrap_or_else(|error| panic!("step {steps}, seed {seed}: {error}"));
            assert!(!done || recovery.verdict == Verdict::Clean, "step {steps}, seed {seed}: {recovery:?}");
        }
    }
}

#[test]
fn a_lock_file_does_no_harm_by_itself() {
    let fs = MemFs::new();
    let file = fs.create_new(&path("LOCK")).unwrap();
    file.write_at(0, &[IoSlice::new(b"left over")]).unwrap();
    open(&fs);
}
