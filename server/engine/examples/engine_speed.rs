//! How fast one replica is on this machine, single-threaded: SET in batches, GET of random keys, and recovery.
//!
//! `cargo run --release -p simplekv-engine --example engine_speed [keys [directory]]`: one million keys of 16 bytes with values of
//! 100 bytes by default, in a temporary directory that is removed afterwards. Nothing is flushed between appends.
#![expect(clippy::print_stdout, reason = "the figures are the program's purpose")]

use std::error::Error;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::ClockId;
use simplekv_engine::fs::RealFs;
use simplekv_engine::record::{Put, Record, ValueType};
use simplekv_engine::{BatchBuilder, BatchStart, Engine, Options, Reader, ReplicaIdentity};
use simplekv_types::limits::VALUE_BYTES_DEFAULT;
use simplekv_types::{ClusterId, Epoch, FlushPolicy, GroupId, GroupTime, Lineage, Slot, StorageId};

/// Records in one batch, and so in one write.
const BATCH_RECORDS: u64 = 64;
const VALUE_BYTES: usize = 100;
/// Reads that share a guard.
const PIPELINE: usize = 16;
/// Keys are written in one order and read in another.
const WRITTEN: u64 = 2_147_483_647;
const READ: u64 = 1_618_033_989;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let keys: u64 = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = parent.join(format!("simplekv-engine-speed-{}", std::process::id()));
    for mapped in [false, true] {
        println!("{} segments", if mapped { "mapped" } else { "unmapped" });
        let outcome = measure(keys, &dir, mapped);
        std::fs::remove_dir_all(&dir)?;
        outcome?;
    }
    Ok(())
}

fn measure(keys: u64, dir: &std::path::Path, mapped: bool) -> Result<(), Box<dyn Error>> {
    let identity = ReplicaIdentity { cluster: ClusterId(1), group: GroupId(1), storage: StorageId(1) };
    let mapped_bytes = if mapped { 4 << 30 } else { 0 };
    let options = Options { flush: FlushPolicy::Os, mapped_bytes, ..Options::default() };
    let open = || Engine::open(Arc::new(RealFs), dir, identity, &options, &mut |_| ());
    let (mut engine, _) = open()?;

    let inserting = set(&mut engine, keys, 0)?;
    report("SET, new keys", inserting, keys);
    let overwriting = set(&mut engine, keys, keys / 2)?;
    report("SET, existing keys", overwriting, keys);
    let single = set_singly(&mut engine, keys / 10)?;
    report("SET, one to a write", single, keys / 10);

    let reader = engine.reader();
    let started = Clock::start();
    for i in 0..keys {
        let key = key(scatter(i, keys, READ));
        let found = reader.guard().get(Slot::of_key(&key), &key)?.ok_or("every key was set")?;
        black_box(found.value.len());
    }
    report("GET, random key", started.elapsed(), keys);
    let batched = get_in_pipelines(&reader, keys)?;
    report("GET, random keys, 16 under one guard", batched, keys);
    let started = Clock::start();
    for i in 0..keys {
        let key = key(scatter(i, keys, READ));
        black_box(reader.guard().locate(Slot::of_key(&key), &key).is_some());
    }
    report("lookup without the value", started.elapsed(), keys);

    let resident = resident_bytes();
    engine.close()?;
    drop(reader);
    let (engine, recovery) = open()?;
    let records = recovery.records;
    println!(
        "recovery: {:.0} ms for {records} records, {} MB, {} keys",
        recovery.duration.as_secs_f64() * 1e3,
        recovery.bytes >> 20,
        engine.reader().totals().keys
    );
    println!("resident memory: {} MB", resident >> 20);
    Ok(())
}

/// Sets every key once, in an order that starts at `first`.
fn set(engine: &mut Engine, keys: u64, first: u64) -> Result<Spent, Box<dyn Error>> {
    let value = [b'v'; VALUE_BYTES];
    let mut builder = BatchBuilder::new(next(engine), VALUE_BYTES_DEFAULT);
    let started = Clock::start();
    let mut i = 0;
    while i < keys {
        builder.start(next(engine));
        for _ in 0..BATCH_RECORDS.min(keys - i) {
            let key = key(scatter(first + i, keys, WRITTEN));
            builder.push(&put(&key, &value))?;
            builder.end_command();
            i += 1;
        }
        let batch = builder.finish().ok_or("a batch has records")?;
        let end = batch.end();
        engine.append(std::slice::from_ref(&batch))?;
        engine.apply_to(end, &mut |_| ());
    }
    Ok(started.elapsed())
}

fn set_singly(engine: &mut Engine, keys: u64) -> Result<Spent, Box<dyn Error>> {
    let value = [b'v'; VALUE_BYTES];
    let mut builder = BatchBuilder::new(next(engine), VALUE_BYTES_DEFAULT);
    let started = Clock::start();
    for i in 0..keys {
        let key = key(scatter(i, keys, WRITTEN));
        builder.start(next(engine));
        builder.push(&put(&key, &value))?;
        let batch = builder.finish().ok_or("a batch has records")?;
        let end = batch.end();
        engine.append(std::slice::from_ref(&batch))?;
        engine.apply_to(end, &mut |_| ());
    }
    Ok(started.elapsed())
}

fn get_in_pipelines(reader: &Reader, keys: u64) -> Result<Spent, Box<dyn Error>> {
    let started = Clock::start();
    let mut i = 0;
    while i < keys {
        let pipeline: [[u8; 16]; PIPELINE] = std::array::from_fn(|ahead| key(scatter(i + ahead as u64, keys, READ)));
        let slots = pipeline.map(|key| Slot::of_key(&key));
        let guard = reader.guard();
        slots.iter().zip(&pipeline).for_each(|(slot, key)| guard.prefetch(*slot, key));
        for (slot, key) in slots.iter().zip(&pipeline) {
            black_box(guard.get(*slot, key)?.ok_or("every key was set")?.value.len());
        }
        i += PIPELINE as u64;
    }
    Ok(started.elapsed())
}

fn next(engine: &Engine) -> BatchStart {
    let (base, high_watermark) = (engine.log_end(), engine.applied());
    BatchStart { lineage: Lineage(0), epoch: Epoch(1), base, time: GroupTime(1), high_watermark }
}

fn put<'a>(key: &'a [u8], value: &'a [u8]) -> Record<'a> {
    let slot = Slot::of_key(key);
    Record::Put(Put { slot, key, value, value_type: ValueType::String, expire_at: None, origin: None })
}

/// The `i`-th of the numbers below `keys`, each once, in an order far from theirs that `stride`, a large prime, decides.
fn scatter(i: u64, keys: u64, stride: u64) -> u64 {
    (i % keys * (stride % keys)) % keys
}

fn key(number: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let mut rest = number;
    for digit in key.iter_mut().skip(4).rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
    key
}

fn report(what: &str, spent: Spent, operations: u64) {
    let each = |spent: Duration| spent.as_secs_f64() * 1e9 / operations.max(1) as f64;
    println!("{what}: {:.0} ns ({:.0} ns of processor time)", each(spent.elapsed), each(spent.processor));
}

/// Time that passed, and time this thread was given: the second is the steadier one on a machine with other work to do.
#[derive(Clone, Copy)]
struct Spent {
    elapsed: Duration,
    processor: Duration,
}

struct Clock(Spent);

impl Clock {
    fn start() -> Self {
        Self(Self::now())
    }

    fn elapsed(&self) -> Spent {
        let now = Self::now();
        Spent { elapsed: now.elapsed - self.0.elapsed, processor: now.processor - self.0.processor }
    }

    fn now() -> Spent {
        let read = |clock| Duration::try_from(rustix::time::clock_gettime(clock)).unwrap_or_default();
        Spent { elapsed: read(ClockId::Monotonic), processor: read(ClockId::ThreadCPUTime) }
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}
