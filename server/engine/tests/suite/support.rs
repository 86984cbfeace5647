//! What every test needs: a replica in memory and batches to append to it.

use std::path::Path;
use std::sync::Arc;

use simplekv_engine::fs::MemFs;
use simplekv_engine::record::{Put, Record, ValueType};
use simplekv_engine::{BatchBuilder, BatchStart, Engine, OpenError, Options, Recovery, ReplicaIdentity};
use simplekv_types::limits::VALUE_BYTES_MAX;
use simplekv_types::{Batch, ClusterId, Epoch, FlushPolicy, GroupId, GroupTime, Lineage, Lsn, Slot, StorageId};

pub(crate) const DIR: &str = "/replica";

pub(crate) fn identity() -> ReplicaIdentity {
    ReplicaIdentity { cluster: ClusterId(1), group: GroupId(2), storage: StorageId(3) }
}

/// Small segments, so that tests roll and copy little.
pub(crate) fn options() -> Options {
    Options { flush: FlushPolicy::Always, segment_bytes: 16 << 10, tail_bytes: 4 << 10, mapped_bytes: 0, hash_seed: 7 }
}

pub(crate) fn try_open(fs: &MemFs) -> Result<(Engine, Recovery), OpenError> {
    Engine::open(Arc::new(fs.clone()), Path::new(DIR), identity(), &options(), &mut |_| ())
}

pub(crate) fn open(fs: &MemFs) -> (Engine, Recovery) {
    try_open(fs).expect("the replica opens")
}

pub(crate) fn path(name: &str) -> std::path::PathBuf {
    Path::new(DIR).join(name)
}

pub(crate) fn slot(number: u16) -> Slot {
    Slot::new(number).expect("a slot")
}

/// What a batch that follows the engine's log is started with.
pub(crate) fn next(engine: &Engine) -> BatchStart {
    BatchStart {
        lineage: Lineage(0),
        epoch: engine.last_epoch().max(Epoch(1)),
        base: engine.log_end(),
        time: engine.last_time().max(GroupTime(1000)),
        high_watermark: engine.applied(),
    }
}

pub(crate) fn batch(start: BatchStart, records: &[Record<'_>]) -> Batch {
    let mut builder = BatchBuilder::new(start, VALUE_BYTES_MAX);
    for record in records {
        builder.push(record).expect("the record is small");
        builder.end_command();
    }
    builder.finish().expect("there are records")
}

/// A put of a string in the key's own slot.
pub(crate) fn put<'a>(key: &'a str, value: &'a str) -> Record<'a> {
    put_until(key, value, None)
}

pub(crate) fn put_until<'a>(key: &'a str, value: &'a str, expire_at: Option<u64>) -> Record<'a> {
    Record::Put(Put {
        slot: Slot::of_key(key.as_bytes()),
        key: key.as_bytes(),
        value: value.as_bytes(),
        value_type: ValueType::String,
        expire_at: expire_at.map(GroupTime),
        origin: None,
    })
}

pub(crate) fn delete(key: &str) -> Record<'_> {
    Record::Delete { slot: Slot::of_key(key.as_bytes()), key: key.as_bytes(), origin: None }
}

/// Appends the records as one batch.
pub(crate) fn append(engine: &mut Engine, records: &[Record<'_>]) {
    let batch = batch(next(engine), records);
    engine.append(&[batch]).expect("the batch is appended");
}

pub(crate) fn apply_all(engine: &mut Engine) {
    let end = engine.log_end();
    assert!(!engine.apply_to(end, &mut |_| ()), "nothing is left to remove");
}

/// Appends and applies.
pub(crate) fn write(engine: &mut Engine, records: &[Record<'_>]) {
    append(engine, records);
    apply_all(engine);
}

pub(crate) fn get(engine: &Engine, key: &str) -> Option<String> {
    let slot = Slot::of_key(key.as_bytes());
    let found = engine.reader().guard().get(slot, key.as_bytes()).expect("the record is intact");
    found.map(|found| String::from_utf8(found.value.to_vec()).expect("tests write text"))
}

/// Every record of the log, as batches.
pub(crate) fn whole_log(engine: &Engine) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    loop {
        let from = batches.last().map_or(Lsn::ZERO, Batch::end);
        let more = engine.read_log(from, 1 << 20).expect("the log is readable");
        if more.is_empty() {
            return batches;
        }
        batches.extend(more);
    }
}
