//! Records that leave with their slots, read from the log or from what is applied.

use bytes::{Bytes, BytesMut};
use simplekv_cluster::migration::{Content, Found, Moved, Place};
use simplekv_cluster::{DedupeResult, DedupeRow};
use simplekv_engine::record::{BadRecord, Decoded, Record, Records, SlotChangeKind};
use simplekv_engine::{CopyPiece, LogReader, ReadError, ReadLogError};
use simplekv_types::{GroupTime, Lsn, Slot, SlotRange};

/// Records to be read, from any thread.
#[derive(Debug)]
pub enum MoveRead {
    /// A part of the log.
    Tail(LogPart),
    /// A part of a slot.
    Scan(SlotPart),
}

/// A part of the log, all of it committed.
#[derive(Debug)]
pub struct LogPart {
    pub(super) log: LogReader,
    pub(super) slots: Vec<SlotRange>,
    pub(super) from: Lsn,
    pub(super) upto: Lsn,
    pub(super) max_bytes: usize,
}

/// A part of what is applied of a slot.
#[derive(Debug)]
pub struct SlotPart {
    pub(super) slot: Slot,
    pub(super) piece: CopyPiece,
    pub(super) rows: Vec<DedupeRow>,
    pub(super) next: Option<u64>,
}

/// Records could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MoveReadError {
    /// From the log.
    #[error(transparent)]
    Log(#[from] ReadLogError),
    /// From where a key's record lies.
    #[error(transparent)]
    Record(#[from] ReadError),
    /// What was read is no record.
    #[error(transparent)]
    Bad(#[from] BadRecord),
}

impl MoveRead {
    /// Reads. May wait for the disk. `None` if the log does not reach back that far.
    ///
    /// # Errors
    /// [`MoveReadError`]; never anything that was not written.
    pub fn run(self) -> Result<Option<Found>, MoveReadError> {
        match self {
            Self::Tail(part) => part.run(),
            Self::Scan(part) => part.run().map(Some),
        }
    }
}

impl LogPart {
    fn run(self) -> Result<Option<Found>, MoveReadError> {
        let Self { log, slots, from, upto, max_bytes } = self;
        let batches = match log.read(from, max_bytes) {
            Err(ReadLogError::BelowLogStart { .. }) => return Ok(None),
            read => read?,
        };
        let (mut records, mut end) = (Vec::new(), from);
        for batch in batches {
            each_record(&batch.records, |body, decoded| {
                if (from..upto).contains(&decoded.lsn) {
                    leaving(body, decoded, &slots, &mut records);
                }
            })?;
            end = batch.end().min(upto);
        }
        Ok(Some(Found::Tail { records, end }))
    }
}

impl SlotPart {
    fn run(self) -> Result<Found, MoveReadError> {
        let Self { slot, piece, rows, next } = self;
        let mut bytes = BytesMut::new();
        piece.read(&mut bytes)?;
        let bytes = bytes.freeze();
        let mut records = Vec::with_capacity(rows.len() + piece.len());
        let lsn = piece.applied;
        records.extend(rows.into_iter().map(|row| Moved { slot, lsn, content: Content::Row(row) }));
        each_record(&bytes, |body, decoded| leaving(body, decoded, &[slot.into()], &mut records))?;
        Ok(Found::Scan { records, next })
    }
}

/// Shows each of the records that stand one behind the other, with its own bytes.
pub(crate) fn each_record(bytes: &Bytes, mut show: impl FnMut(&Bytes, &Decoded<'_>)) -> Result<(), BadRecord> {
    let mut at = 0;
    for decoded in Records::new(bytes) {
        let decoded = decoded?;
        let end = at + decoded.length;
        show(&bytes.slice(at..end), &decoded);
        at = end;
    }
    Ok(())
}

/// Adds what a record, whose bytes are `body`, does to slots that leave.
pub(crate) fn leaving(body: &Bytes, decoded: &Decoded<'_>, slots: &[SlotRange], to: &mut Vec<Moved>) {
    let lsn = decoded.lsn;
    let leaves = |slot: Slot| slots.iter().any(|range| range.contains(slot));
    match &decoded.record {
        Record::Dedupe(row) if leaves(row.slot) => {
            let kept = DedupeResult { deadline: row.deadline, lsn, result: body.slice_ref(row.result) };
            let (client, ack_below, keep_until) = (row.client, row.ack_below, GroupTime::ZERO);
            let row_of = DedupeRow { client, ack_below, keep_until, results: vec![(row.seq, kept)] };
            to.push(Moved { slot: row.slot, lsn, content: Content::Row(row_of) });
        }
        Record::Slots(change) if change.kind == SlotChangeKind::Clear => {
            let cleared = change.slots.iter().flat_map(|range| range.iter()).filter(|slot| leaves(*slot));
            to.extend(cleared.map(|slot| Moved { slot, lsn, content: Content::Clear }));
        }
        record => {
            let Some((slot, key)) = record.key().filter(|(slot, _)| leaves(*slot)) else { return };
            let element = match record {
                Record::ElementPut { element, .. } | Record::ElementDelete(element) => Some(element.name),
                _ => None,
            };
            let element = element.map(|name| body.slice_ref(name));
            let (place, body) = (Place { key: body.slice_ref(key), element }, body.clone());
            let is_delete = matches!(record, Record::Delete { .. } | Record::ElementDelete(_));
            let content = if is_delete { Content::Delete { place, body } } else { Content::Put { place, body } };
            to.push(Moved { slot, lsn, content });
        }
    }
}
