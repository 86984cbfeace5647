//! What a group knows from its log besides the keys: who may retry what, and which slots it owns.

use bytes::Bytes;
use simplekv_cluster::{Dedupe, DedupeRecord, Recovered};
use simplekv_engine::record::{Record, Records};
use simplekv_engine::{Engine, ReadLogError};
use simplekv_types::{Epoch, Lineage, Lsn, limits};

use super::SlotTable;

/// What replaying a log gives its group, besides the keys.
#[derive(Debug, Default)]
pub struct Replayed {
    pub(super) dedupe: Dedupe,
    pub(super) slots: SlotTable,
}

impl Replayed {
    /// Takes up a committed record, in the order of the log.
    pub fn record(&mut self, lsn: Lsn, record: &Record<'_>) {
        note(&mut self.dedupe, &mut self.slots, lsn, record);
    }

    /// Takes up what the log holds beyond what is known to be committed.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn pending(&mut self, engine: &Engine) -> Result<(), ReadLogError> {
        let mut from = engine.applied();
        while from < engine.log_end() {
            for batch in engine.read_log(from, limits::BATCH_BYTES)? {
                for decoded in Records::new(&batch.records) {
                    let decoded = decoded.expect("the engine verified the record when it opened the log");
                    note(&mut self.dedupe, &mut self.slots, decoded.lsn, &decoded.record);
                }
                from = batch.end();
            }
        }
        Ok(())
    }
}

/// Takes up an appended record that is not about a key's value.
pub(super) fn note(dedupe: &mut Dedupe, slots: &mut SlotTable, lsn: Lsn, record: &Record<'_>) {
    match record {
        Record::Dedupe(row) => dedupe.append(
            lsn,
            DedupeRecord {
                slot: row.slot,
                client: row.client,
                seq: row.seq,
                ack_below: row.ack_below,
                deadline: row.deadline,
                result: Bytes::copy_from_slice(row.result),
            },
        ),
        Record::Slots(change) => slots.append(lsn, change),
        _ => (),
    }
}

/// What a replica is told of its log. `lineage`: that of the group's record, which a new replica begins with.
#[must_use]
pub fn recovered(engine: &Engine, lineage: Lineage) -> Recovered {
    let (epoch, persisted) = engine.persisted_epoch();
    let fresh = epoch == Epoch::ZERO && engine.log_end() == Lsn::ZERO;
    Recovered {
        log_start: engine.log_start(),
        log_end: engine.log_end(),
        flushed_end: engine.flushed_end(),
        high_watermark: engine.applied(),
        epochs: engine.epoch_history().to_vec(),
        last_time: engine.last_time(),
        epoch,
        lineage: if fresh { lineage } else { persisted },
    }
}
