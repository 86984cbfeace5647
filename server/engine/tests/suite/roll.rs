//! A full segment is sealed and the log goes on in the next; whatever happens in between, nothing appended is lost.

use simplekv_engine::fs::MemFs;
use simplekv_engine::{BatchBuilder, Verdict};
use simplekv_types::limits::VALUE_BYTES_MAX;
use simplekv_types::{Batch, Lsn};

use crate::support::{append, apply_all, batch, get, next, open, options, put, try_open, whole_log};

#[test]
fn a_log_of_many_segments_is_one_log() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    for i in 0..200 {
        append(&mut engine, &[put(&format!("key{}", i % 50), &format!("{i}").repeat(200))]);
    }
    apply_all(&mut engine);
    append(&mut engine, &[put("last", "1")]);
    let stats = engine.segment_stats();
    assert!(stats.len() > 5, "{stats:?}");
    assert!(stats.iter().all(|segment| segment.bytes <= options().segment_bytes), "{stats:?}");
    let log = whole_log(&engine);
    fs.crash_process();
    drop(engine);
    let (engine, recovery) = open(&fs);
    assert_eq!((recovery.verdict, recovery.applied), (Verdict::Clean, Lsn(200)));
    assert_eq!(whole_log(&engine), log);
    assert_eq!(engine.segment_stats(), stats);
    assert_eq!(get(&engine, "key49").as_deref(), Some(&*"199".repeat(200)));
}

#[test]
fn batches_larger_than_a_segment_get_one_of_their_own() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    let large = "v".repeat(50_000);
    for i in 0..3 {
        append(&mut engine, &[put(&format!("large{i}"), &large)]);
        append(&mut engine, &[put("small", "1")]);
    }
    apply_all(&mut engine);
    append(&mut engine, &[put("end", "1")]);
    fs.crash_process();
    drop(engine);
    let (engine, _) = open(&fs);
    for i in 0..3 {
        assert_eq!(get(&engine, &format!("large{i}")).as_deref(), Some(&*large));
    }
}

#[test]
fn several_batches_are_appended_with_one_write() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    let mut builder = BatchBuilder::new(next(&engine), VALUE_BYTES_MAX);
    let batches: Vec<Batch> = (0..10)
        .map(|_| {
            builder.push(&put("key", "value")).unwrap();
            let batch = builder.finish().unwrap();
            builder.start(simplekv_engine::BatchStart { base: batch.end(), ..builder.started() });
            batch
        })
        .collect();
    let mutations = fs.mutations();
    engine.append(&batches).unwrap();
    assert_eq!(fs.mutations() - mutations, 1);
    assert_eq!(whole_log(&engine), batches);
}

#[test]
fn a_stop_at_any_step_of_a_roll_loses_nothing_that_was_appended() {
    let mut steps = 0;
    loop {
        let fs = MemFs::new();
        let (mut engine, _) = open(&fs);
        append(&mut engine, &[put("a", "1")]);
        engine.flusher().flush().unwrap();
        let before = whole_log(&engine);
        fs.halt_after(steps);
        let large = batch(next(&engine), &[put("b", &"v".repeat(30_000))]);
        let done = engine.append(&[large]).is_ok();
        for seed in 0..20 {
            let fs = fs.fork();
            if seed == 0 {
                fs.crash_process()
            } else {
                fs.lose_power(seed)
            }
            let (mut engine, recovery) =
                try_open(&fs).unwrap_or_else(|error| panic!("step {steps}, seed {seed}: {error}"));
            let read = whole_log(&engine);
            assert_eq!(read[..1], before[..], "step {steps}, seed {seed}: {recovery:?}");
            assert!(!done || seed > 0 || read.len() == 2, "step {steps}: an appended batch survives the process");
            append(&mut engine, &[put("c", &"v".repeat(30_000))]);
        }
        if done {
            break;
        }
        steps += 1;
    }
    assert!(steps > 8, "a roll has more steps than {steps}");
}
