//! A crash tears the last writes: they are cut, whatever is left of them, and everything flushed stays.

use simplekv_engine::Verdict;
use simplekv_engine::fs::MemFs;
use simplekv_types::Lsn;

use crate::support::{append, open, path, put, try_open, whole_log, write};

/// A log of three batches of which one is flushed, and where in the segment the second begins.
fn log() -> (MemFs, usize) {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    write(&mut engine, &[put("flushed", "1")]);
    engine.flusher().flush().unwrap();
    let begins = usize::try_from(engine.segment_stats()[0].bytes).unwrap();
    append(&mut engine, &[put("second", "2"), put("second", "3")]);
    append(&mut engine, &[put("third", "4")]);
    fs.crash_process();
    (fs, begins)
}

fn segment(fs: &MemFs) -> Vec<u8> {
    fs.content(&path("000001.log")).unwrap()
}

fn end_of_data(segment: &[u8]) -> usize {
    segment.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

/// Opens what is left and checks that the log is a prefix with the flushed batch in it, and that it can be written and read on.
fn check(fs: &MemFs, what: &str) {
    let (mut engine, recovery) = open(fs);
    assert!([1, 3, 4].contains(&recovery.log_end.0), "{what}: {recovery:?}");
    assert_eq!(
        whole_log(&engine).len() as u64,
        [0, 1, 0, 2, 3][usize::try_from(recovery.log_end.0).unwrap()],
        "{what}"
    );
    append(&mut engine, &[put("after", "5")]);
    let expected = whole_log(&engine);
    fs.crash_process();
    drop(engine);
    let (engine, again) = open(fs);
    assert_eq!(again.verdict, Verdict::Clean, "{what}");
    assert_eq!(whole_log(&engine), expected, "{what}");
}

#[test]
fn a_log_cut_at_any_byte_is_opened_up_to_the_last_whole_batch() {
    let (fs, begins) = log();
    let whole = segment(&fs);
    for length in begins..=end_of_data(&whole) {
        let fs = fs.fork();
        fs.set_content(&path("000001.log"), &whole[..length]);
        check(&fs, &format!("cut to {length} bytes"));
    }
}

#[test]
fn a_log_zeroed_from_any_byte_is_opened_up_to_the_last_whole_batch() {
    let (fs, begins) = log();
    let whole = segment(&fs);
    for from in begins..=end_of_data(&whole) {
        let fs = fs.fork();
        let mut torn = whole.clone();
        torn[from..].fill(0);
        fs.set_content(&path("000001.log"), &torn);
        check(&fs, &format!("zeros from {from}"));
    }
}

#[test]
fn a_missing_sector_before_intact_ones_is_a_torn_tail_if_nothing_there_was_flushed() {
    let (fs, begins) = log();
    let whole = segment(&fs);
    // The SYNC frame of the second write is the first thing behind the flushed part; it says nothing about what follows it.
    for from in (begins..end_of_data(&whole) - 8).step_by(8) {
        let fs = fs.fork();
        let mut torn = whole.clone();
        torn[from..from + 8].fill(0);
        fs.set_content(&path("000001.log"), &torn);
        let (_, recovery) = open(&fs);
        assert!(
            matches!(recovery.verdict, Verdict::TornTail { segment: 1, .. } | Verdict::Clean),
            "{from}: {recovery:?}"
        );
        assert!(recovery.log_end >= Lsn(1), "{from}: {recovery:?}");
        if recovery.log_end < Lsn(3) {
            let followed = matches!(recovery.verdict, Verdict::TornTail { followed: true, .. });
            assert!(followed, "{from}: the last batch is whole, no crash of a process leaves that: {recovery:?}");
        }
    }
}

#[test]
fn the_report_says_where_the_log_was_cut_and_how_much_is_gone() {
    let (fs, _) = log();
    let mut torn = segment(&fs);
    let end = end_of_data(&torn);
    torn[end - 1] ^= 1;
    fs.set_content(&path("000001.log"), &torn);
    let (_, recovery) = open(&fs);
    let Verdict::TornTail { segment: 1, offset, lsn: Lsn(3), followed: false } = recovery.verdict else {
        panic!("{recovery:?}")
    };
    assert_eq!(recovery.cut_bytes, end as u64 - offset);
    assert_eq!((recovery.records, recovery.log_end, recovery.flushed_end), (3, Lsn(3), Lsn(1)));
}

#[test]
fn garbage_of_any_kind_behind_the_log_does_not_stop_it_from_opening() {
    let (fs, _) = log();
    let whole = segment(&fs);
    let end = end_of_data(&whole).next_multiple_of(8);
    for fill in [0xff, b'k', 1] {
        for length in [1, 7, 8, 100] {
            let fs = fs.fork();
            let mut longer = whole.clone();
            longer[end..end + length].fill(fill);
            fs.set_content(&path("000001.log"), &longer);
            let (_, recovery) = try_open(&fs).unwrap();
            assert_eq!(recovery.log_end, Lsn(4));
            assert!(matches!(recovery.verdict, Verdict::TornTail { lsn: Lsn(4), .. }), "{recovery:?}");
        }
    }
}

#[test]
fn after_a_loss_of_power_everything_flushed_is_there_and_nothing_is_made_up() {
    for seed in 0..400 {
        let fs = MemFs::new();
        let (mut engine, _) = open(&fs);
        let flushes_until = seed % 7;
        for i in 0..8 {
            append(&mut engine, &[put(&format!("key{i}"), &"v".repeat(300))]);
            if i < flushes_until {
                engine.flusher().flush().unwrap();
            }
        }
        let written = whole_log(&engine);
        let flushed = engine.flushed_end();
        fs.lose_power(seed);
        let (engine, recovery) = open(&fs);
        assert!(recovery.log_end >= flushed, "seed {seed}: {recovery:?}");
        let read = whole_log(&engine);
        assert_eq!(read, written[..read.len()], "seed {seed}");
    }
}
