//! What was flushed and is no longer intact is corruption: reported, never cut.

use simplekv_engine::fs::MemFs;
use simplekv_engine::{DirectoryError, OpenError, ReadError, ReadLogError, Verdict};
use simplekv_types::{Lsn, Slot};

use crate::support::{append, open, path, put, try_open, write};

/// Batches of which all but the last are flushed, and the log says so. Returns where each begins.
fn log() -> (MemFs, Vec<u64>) {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    let mut begins = Vec::new();
    for i in 0..4 {
        begins.push(engine.segment_stats()[0].bytes);
        write(&mut engine, &[put(&format!("key{i}"), "value")]);
        engine.flusher().flush().unwrap();
    }
    begins.push(engine.segment_stats()[0].bytes);
    append(&mut engine, &[put("last", "value")]);
    fs.crash_process();
    (fs, begins)
}

#[test]
fn a_flipped_bit_in_what_was_flushed_is_corruption_and_changes_nothing() {
    let (fs, begins) = log();
    let first = usize::try_from(begins[0]).unwrap();
    let flushed = usize::try_from(*begins.last().unwrap()).unwrap();
    let whole = fs.content(&path("000001.log")).unwrap();
    for offset in first..flushed {
        let fs = fs.fork();
        let mut damaged = whole.clone();
        damaged[offset] ^= 1 << (offset % 8);
        fs.set_content(&path("000001.log"), &damaged);
        let mutations = fs.mutations();
        match try_open(&fs) {
            Err(OpenError::Corrupt { segment: 1, offset: found, lsn, flushed, .. }) => {
                assert!(found <= offset as u64 && lsn < flushed, "{offset}: {found}, record {lsn}");
                assert_eq!(fs.mutations(), mutations, "{offset}");
            }
            // Padding between frames carries nothing.
            Ok((_, recovery)) => assert_eq!(recovery.verdict, Verdict::Clean, "{offset}: {recovery:?}"),
            Err(error) => panic!("{offset}: {error}"),
        }
        assert_eq!(fs.content(&path("000001.log")).unwrap(), damaged, "{offset}");
    }
}

#[test]
fn a_segment_cut_short_of_what_was_flushed_is_corruption_if_a_later_segment_says_so() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    let value = "v".repeat(1000);
    while engine.segment_stats().len() < 3 {
        write(&mut engine, &[put("key", &value)]);
        engine.flusher().flush().unwrap();
    }
    fs.crash_process();
    let whole = fs.content(&path("000001.log")).unwrap();
    fs.set_content(&path("000001.log"), &whole[..whole.len() - 500]);
    match try_open(&fs) {
        Err(OpenError::Corrupt { segment: 1, lsn, flushed, .. }) => assert!(lsn < flushed),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_segment_whose_header_or_link_is_damaged_is_reported() {
    let (fs, _) = log();
    for offset in 0..192 {
        let fs = fs.fork();
        assert!(fs.flip_bit(&path("000001.log"), offset, 3));
        let refused = matches!(
            try_open(&fs),
            Err(OpenError::Directory(DirectoryError::Damaged { .. } | DirectoryError::Format { .. }))
        );
        assert!(refused, "offset {offset}");
    }
}

#[test]
fn a_missing_segment_or_state_file_is_reported() {
    let (fs, _) = log();
    for name in ["000001.log", "MANIFEST", "META"] {
        let fs = fs.fork();
        simplekv_engine::fs::Fs::remove(&fs, &path(name)).unwrap();
        match try_open(&fs) {
            Err(OpenError::Directory(DirectoryError::Missing { path: missing })) => assert_eq!(missing, path(name)),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_state_file_with_any_bit_flipped_is_refused() {
    let (fs, _) = log();
    for name in ["MANIFEST", "META"] {
        for bit in 0..fs.content(&path(name)).unwrap().len() * 8 {
            let fs = fs.fork();
            assert!(fs.flip_bit(&path(name), bit as u64 / 8, (bit % 8) as u8));
            let refused = matches!(try_open(&fs), Err(OpenError::Directory(DirectoryError::Damaged { .. })));
            assert!(refused, "bit {bit} of {name}");
        }
    }
}

#[test]
fn a_damaged_record_is_never_returned() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    write(&mut engine, &[put("key", "value")]);
    let reader = engine.reader();
    let slot = Slot::of_key(b"key");
    let end = engine.segment_stats()[0].bytes;
    let record = end - 8 - 24 - 8;
    for offset in record..end {
        assert!(fs.flip_bit(&path("000001.log"), offset, 0));
        match reader.guard().get(slot, b"key") {
            Ok(Some(found)) => assert_eq!(&found.value[..], b"value", "padding was damaged"),
            Err(ReadError::Corrupt { segment: 1, slot: found, lsn: Lsn(0), .. }) => assert_eq!(found, slot),
            other => panic!("{offset}: {other:?}"),
        }
        assert!(fs.flip_bit(&path("000001.log"), offset, 0));
    }
}

#[test]
fn a_damaged_frame_is_never_replicated() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    let value = "v".repeat(3000);
    for _ in 0..4 {
        write(&mut engine, &[put("key", &value)]);
    }
    assert!(fs.flip_bit(&path("000001.log"), 300, 0));
    match engine.read_log(Lsn(0), 1) {
        Err(ReadLogError::Corrupt { segment: 1, offset: 192, .. }) => (),
        other => panic!("{other:?}"),
    }
    assert_eq!(engine.read_log(Lsn(3), 1).unwrap().len(), 1, "the tail is in memory");
}

#[test]
fn a_segment_swapped_for_another_of_the_same_name_is_noticed() {
    let created = MemFs::new();
    drop(open(&created));
    let filled = |letter: &str| {
        let fs = created.fork();
        let (mut engine, _) = open(&fs);
        while engine.segment_stats().len() < 2 {
            write(&mut engine, &[put("key", &letter.repeat(1000))]);
        }
        fs.crash_process();
        fs
    };
    let (fs, other) = (filled("a"), filled("b"));
    fs.set_content(&path("000001.log"), &other.content(&path("000001.log")).unwrap());
    match try_open(&fs) {
        Err(OpenError::Corrupt { segment: 2, reason, .. }) => {
            assert_eq!(reason.to_string(), "the frame does not continue the one before it")
        }
        other => panic!("{other:?}"),
    }
}
