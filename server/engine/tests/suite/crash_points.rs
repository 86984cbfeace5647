//! A workload with everything in it, stopped after every single change of the disk, then with power lost, and stopped again while it
//! recovers.

use simplekv_engine::fs::MemFs;
use simplekv_engine::{AppendError, Engine, LogError, OpenError};
use simplekv_types::{Batch, Epoch, Lineage, Lsn};

use crate::support::{batch, next, put, try_open, whole_log};

/// What the workload was told before the machine stopped.
#[derive(Default)]
struct Told {
    /// Every batch that was ever handed over, truncated ones included.
    handed: Vec<Batch>,
    /// The log after the last step that succeeded: a crash of the process keeps all of it.
    appended: Vec<Batch>,
    /// What was flushed and not truncated since: power loss keeps it.
    flushed: Lsn,
    epoch: Epoch,
    /// The truncation that was under way.
    truncating: Option<Lsn>,
}

fn append(engine: &mut Engine, told: &mut Told, value: &str, epoch: u64) -> Result<(), AppendError> {
    let batch = Batch { epoch: Epoch(epoch), ..batch(next(engine), &[put("key", value), put("other", "x")]) };
    told.handed.push(batch.clone());
    engine.append(std::slice::from_ref(&batch))?;
    told.appended.push(batch);
    Ok(())
}

fn flush(engine: &Engine, told: &mut Told) -> Option<()> {
    told.flushed = engine.flusher().flush().ok()?;
    Some(())
}

fn truncate(engine: &mut Engine, told: &mut Told, lsn: Lsn) -> Option<()> {
    // From the first step of the truncation on, what is behind may be gone.
    told.flushed = told.flushed.min(lsn);
    told.truncating = Some(lsn);
    let cut: Result<(), LogError> = engine.truncate_to(lsn);
    cut.ok()?;
    told.truncating = None;
    told.appended.retain(|batch| batch.base < lsn);
    Some(())
}

/// Runs until it is done or the machine stops. `None` if it stopped.
fn workload(fs: &MemFs, told: &mut Told) -> Option<()> {
    let large = "v".repeat(9_000);
    let (mut engine, _) = try_open(fs).ok()?;
    engine.persist_epoch(Epoch(1), Lineage(0)).ok()?;
    told.epoch = Epoch(1);
    append(&mut engine, told, "1", 1).ok()?;
    flush(&engine, told)?;
    engine.apply_to(Lsn(2), &mut |_| ());
    append(&mut engine, told, &large, 1).ok()?;
    append(&mut engine, told, &large, 1).ok()?;
    flush(&engine, told)?;
    append(&mut engine, told, "2", 1).ok()?;
    truncate(&mut engine, told, Lsn(6))?;
    append(&mut engine, told, "3", 2).ok()?;
    truncate(&mut engine, told, Lsn(2))?;
    engine.persist_epoch(Epoch(3), Lineage(0)).ok()?;
    told.epoch = Epoch(3);
    append(&mut engine, told, &large, 3).ok()?;
    flush(&engine, told)?;
    engine.apply_to(Lsn(4), &mut |_| ());
    append(&mut engine, told, "4", 3).ok()?;
    engine.close().ok()
}

/// What a start must find, whatever was lost.
fn check(fs: &MemFs, told: &Told, power_lost: bool, what: &str) {
    let (engine, recovery) = try_open(fs).unwrap_or_else(|error| panic!("{what}: {error}"));
    let read = whole_log(&engine);
    assert!(read.iter().all(|batch| told.handed.contains(batch)), "{what}: a batch nobody appended");
    assert!(read.windows(2).all(|pair| pair[0].end() == pair[1].base && pair[0].epoch <= pair[1].epoch), "{what}");
    assert!(recovery.log_end >= told.flushed, "{what}: flushed {}, {recovery:?}", told.flushed);
    assert!(engine.persisted_epoch().0 >= told.epoch, "{what}");
    let below = |end: Lsn| told.appended.iter().filter(|batch| batch.end() <= end).cloned().collect::<Vec<Batch>>();
    if power_lost {
        assert!(read.starts_with(&below(told.flushed)), "{what}: lost something flushed");
    } else {
        // The step that was under way is done or not.
        let cut = told.truncating.map(below);
        let longer = told.handed.last().map(|last| [&told.appended[..], std::slice::from_ref(last)].concat());
        let possible = [Some(told.appended.clone()), cut, longer];
        assert!(possible.contains(&Some(read)), "{what}: lost something appended");
    }
}

#[test]
fn the_workload_succeeds_when_nothing_stops_it() {
    let fs = MemFs::new();
    let mut told = Told::default();
    workload(&fs, &mut told).expect("nothing stops it");
    fs.crash_process();
    let (engine, _) = try_open(&fs).unwrap();
    assert_eq!(whole_log(&engine), told.appended);
    assert_eq!(engine.flushed_end(), engine.log_end());
}

/// G7: what was promised as flushed is there, wherever the machine stopped.
#[test]
fn a_stop_after_any_change_loses_nothing_that_was_promised() {
    let mut images = 0;
    for steps in 0.. {
        let fs = MemFs::new();
        let mut told = Told::default();
        fs.halt_after(steps);
        let done = workload(&fs, &mut told).is_some();
        for seed in 0..24 {
            let fs = fs.fork();
            let power_lost = seed > 0;
            if power_lost {
                fs.lose_power(seed)
            } else {
                fs.crash_process()
            }
            check(&fs.fork(), &told, power_lost, &format!("step {steps}, seed {seed}"));
            images += 1;
            images += stop_while_recovering(&fs, &told, power_lost, &format!("step {steps}, seed {seed}"));
        }
        if done {
            break;
        }
    }
    assert!(images > 1000, "{images} images");
}

/// Stops the start after each of its own changes, loses power again, and starts once more.
fn stop_while_recovering(fs: &MemFs, told: &Told, power_lost: bool, what: &str) -> u32 {
    let mut images = 0;
    for steps in 0..40 {
        let fs = fs.fork();
        fs.halt_after(steps);
        let done = match try_open(&fs) {
            Ok(_) => true,
            Err(OpenError::Directory(_)) => false,
            Err(error) => panic!("{what}, then {steps}: {error}"),
        };
        if power_lost {
            fs.lose_power(steps)
        } else {
            fs.crash_process()
        }
        check(&fs, told, power_lost, &format!("{what}, then {steps}"));
        images += 1;
        if done {
            return images;
        }
    }
    panic!("{what}: a start changes too much");
}
