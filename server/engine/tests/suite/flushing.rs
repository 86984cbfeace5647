//! A flush runs beside appends and truncations and claims nothing it did not do.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use parking_lot::Mutex;
use simplekv_engine::Engine;
use simplekv_engine::fs::{File, Fs, Lock, Map, MemFs};
use simplekv_types::Lsn;

use crate::support::{DIR, append, identity, next, open, options, put, whole_log};

/// A file system whose syncs, once armed, wait after their work is done until they are let go.
#[derive(Debug)]
struct SlowFs {
    disk: MemFs,
    gate: Arc<Mutex<Option<Gate>>>,
}

#[derive(Debug)]
struct Gate {
    synced: Sender<()>,
    go_on: Receiver<()>,
}

#[derive(Debug)]
struct SlowFile {
    file: Arc<dyn File>,
    gate: Arc<Mutex<Option<Gate>>>,
}

impl SlowFs {
    fn slow(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(SlowFile { file, gate: Arc::clone(&self.gate) })
    }
}

impl Fs for SlowFs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.slow(self.disk.create_new(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.slow(self.disk.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        self.disk.lock(path)
    }
}

impl File for SlowFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.file.write_at(offset, parts)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        self.file.next_data(offset)
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_length(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }

    fn map(&self, length: u64) -> io::Result<Option<Arc<dyn Map>>> {
        self.file.map(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()?;
        let gate = self.gate.lock().take();
        if let Some(gate) = gate {
            gate.synced.send(()).map_err(io::Error::other)?;
            gate.go_on.recv().map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// Runs `meanwhile` after a flush has done its work and before it says so; returns what the flush says.
fn during_a_flush(meanwhile: impl FnOnce(&mut Engine)) -> (MemFs, Engine, Lsn) {
    let disk = MemFs::new();
    let slow = SlowFs { disk: disk.clone(), gate: Arc::default() };
    let gate = Arc::clone(&slow.gate);
    let (mut engine, _) = Engine::open(Arc::new(slow), Path::new(DIR), identity(), &options(), &mut |_| ()).unwrap();
    append(&mut engine, &[put("a", "1")]);
    append(&mut engine, &[put("b", "1")]);
    let (synced, has_synced) = channel();
    let (let_go, go_on) = channel();
    *gate.lock() = Some(Gate { synced, go_on });
    let flusher = engine.flusher();
    let flush = std::thread::spawn(move || flusher.flush());
    has_synced.recv().unwrap();
    meanwhile(&mut engine);
    let_go.send(()).unwrap();
    let flushed = flush.join().unwrap().unwrap();
    (disk, engine, flushed)
}

#[test]
fn what_is_appended_during_a_flush_waits_for_the_next() {
    let (disk, engine, flushed) = during_a_flush(|engine| append(engine, &[put("c", "1")]));
    assert_eq!((flushed, engine.flushed_end(), engine.log_end()), (Lsn(2), Lsn(2), Lsn(3)));
    assert_eq!(engine.flusher().flush().unwrap(), Lsn(3));
    let log = whole_log(&engine);
    for seed in 0..20 {
        let disk = disk.fork();
        disk.lose_power(seed);
        assert_eq!(whole_log(&open(&disk).0), log, "seed {seed}");
    }
}

#[test]
fn a_segment_that_is_filled_during_a_flush_waits_for_the_next() {
    let (disk, engine, flushed) = during_a_flush(|engine| {
        append(engine, &[put("c", &"v".repeat(15_000))]);
        append(engine, &[put("d", &"v".repeat(15_000))]);
    });
    assert_eq!((flushed, engine.segment_stats().len()), (Lsn(2), 2));
    assert_eq!(engine.flusher().flush().unwrap(), Lsn(4));
    let log = whole_log(&engine);
    for seed in 0..20 {
        let disk = disk.fork();
        disk.lose_power(seed);
        assert_eq!(whole_log(&open(&disk).0), log, "seed {seed}");
    }
}

#[test]
fn what_replaces_records_that_were_being_flushed_is_not_flushed() {
    let (_, engine, flushed) = during_a_flush(|engine| {
        engine.truncate_to(Lsn(1)).unwrap();
        let start = next(engine);
        assert_eq!(start.base, Lsn(1));
        append(engine, &[put("b", "2"), put("c", "2")]);
    });
    assert_eq!((flushed, engine.flushed_end(), engine.log_end()), (Lsn(1), Lsn(1), Lsn(3)));
    assert_eq!(engine.flusher().flush().unwrap(), Lsn(3));
}

#[test]
fn flushes_that_wait_together_share_one() {
    let fs = MemFs::new();
    let (mut engine, _) = open(&fs);
    append(&mut engine, &[put("a", "1")]);
    engine.flusher().flush().unwrap();
    let mutations = fs.mutations();
    for _ in 0..10 {
        assert_eq!(engine.flusher().flush().unwrap(), Lsn(1));
    }
    assert_eq!(fs.mutations(), mutations, "nothing is synced twice");
}
