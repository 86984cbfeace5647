//! What a group knows from its log besides the keys: who may retry what, and which slots it owns.

use bytes::Bytes;
use simplekv_cluster::migration::Step;
use simplekv_cluster::{Dedupe, DedupeRecord, Recovered};
use simplekv_engine::record::{Record, Records};
use simplekv_engine::{Engine, ReadLogError};
use simplekv_types::{Epoch, GroupTime, Lineage, Lsn, limits};

use super::OwnedSlots;
use super::slots::{BadStep, step_of};

/// What replaying a log gives its group, besides the keys.
#[derive(Debug, Default)]
pub struct Replayed {
    pub(super) dedupe: Dedupe,
    pub(super) slots: OwnedSlots,
    /// The first record that cannot stand where it stands.
    bad: Option<BadStep>,
}

impl Replayed {
    /// Takes up a committed record, in the order of the log. `time`: of its batch.
    pub fn record(&mut self, lsn: Lsn, time: GroupTime, record: &Record<'_>) {
        let noted = note(&mut self.dedupe, &mut self.slots, lsn, time, record);
        if self.bad.is_none() {
            self.bad = noted.err();
        }
    }

    /// Takes up what the log holds beyond what is known to be committed.
    ///
    /// # Errors
    /// The log cannot be read, or what it says of slots contradicts itself.
    pub fn pending(&mut self, engine: &Engine) -> Result<(), ReplayError> {
        let mut from = engine.applied();
        while from < engine.log_end() {
            for batch in engine.read_log(from, limits::BATCH_BYTES)? {
                for decoded in Records::new(&batch.records) {
                    let decoded = decoded.expect("the engine verified the record when it opened the log");
                    self.record(decoded.lsn, batch.time, &decoded.record);
                }
                from = batch.end();
            }
        }
        self.bad.take().map_or(Ok(()), |bad| Err(ReplayError::Slots(bad.to_string())))
    }
}

/// Why a log does not make a group.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadLogError),
    /// What it says of slots contradicts itself, or is of a version that this program does not know.
    #[error("what the log says of slots makes no sense: {0}")]
    Slots(String),
}

/// Takes up an appended record that is not about a key's value.
pub(super) fn note(
    dedupe: &mut Dedupe,
    slots: &mut OwnedSlots,
    lsn: Lsn,
    time: GroupTime,
    record: &Record<'_>,
) -> Result<(), BadStep> {
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
        Record::Slots(change) => {
            if let Some(step) = step_of(lsn, change)? {
                note_step(dedupe, slots, lsn, time, step)?;
            }
        }
        _ => (),
    }
    Ok(())
}

/// Takes up an appended step of a move.
pub(super) fn note_step(
    dedupe: &mut Dedupe,
    slots: &mut OwnedSlots,
    lsn: Lsn,
    time: GroupTime,
    step: Step,
) -> Result<(), BadStep> {
    if step.clears() {
        dedupe.append_drop(lsn, step.slots.clone());
    }
    Ok(slots.append(lsn, time, step)?)
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
