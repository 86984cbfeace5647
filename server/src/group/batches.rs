//! What goes into the log: batches opened, filled and proposed by a leader, and those a follower receives.

use std::time::Duration;

use simplekv_cluster::migration::Step;
use simplekv_cluster::{Appending, BatchHeader, Event, Refusal};
use simplekv_engine::record::{Record, Records, SlotChange, SlotChangeKind, SlotRanges};
use simplekv_engine::{BatchStart, EncodeError};
use simplekv_types::{Batch, GroupTime, Lsn, MigrationId, SlotRange};

use super::failure::Failed;
use super::replayed::{note, note_step};
use super::{Clock, Group, Respond};

/// A due key waits at least this long for the tick that makes it invisible, so that one tick serves many.
const EXPIRY_GRANULARITY: Duration = Duration::from_millis(10);
/// A tick is planned at most this far ahead: clocks of the hour are set.
const EXPIRY_HORIZON: Duration = Duration::from_secs(3600);

impl<R: Respond> Group<R> {
    /// Makes sure that the builder may be filled.
    pub(super) fn open_batch(&mut self, clock: &impl Clock) -> Result<(), Refusal> {
        self.open_batch_not_before(clock, GroupTime::ZERO)
    }

    /// The same. If it has to be opened first it will be of this group time at least.
    pub(super) fn open_batch_not_before(&mut self, clock: &impl Clock, time: GroupTime) -> Result<(), Refusal> {
        if self.open.is_none() {
            let admission = self.replica.admit_not_before(clock.now(), clock.wall(), time)?;
            self.builder.start(start_of(&admission.header(0)));
            self.open = Some(admission);
        }
        Ok(())
    }

    /// Proposes what the builder holds, if anything.
    pub(super) fn close_batch(&mut self, clock: &impl Clock) {
        if let Some(admission) = self.open.take()
            && !self.builder.is_empty()
        {
            self.step_replica(clock, Event::Proposed(admission.header(self.builder.count())));
        }
        self.drafts.batch_closed();
    }

    /// Puts the end of all keys of these slots into the open batch, as part of a command.
    pub(super) fn push_clear(&mut self, ranges: &[SlotRange]) -> Result<Lsn, EncodeError> {
        self.builder.push(&Record::Slots(SlotChange {
            kind: SlotChangeKind::Clear,
            migration: MigrationId::FOUNDING,
            source: Lsn::ZERO,
            revision: 0,
            slots: SlotRanges::Given(ranges),
            details: &[],
            origin: None,
        }))
    }

    /// Puts a step of a move into the open batch, which it has to follow from.
    pub(super) fn push_step(&mut self, step: Step) -> Result<(), EncodeError> {
        let time = self.open.expect("a batch is open").time;
        let fields = step.fields();
        let lsn = self.builder.push(&Record::Slots(SlotChange {
            kind: SlotChangeKind::from_number(fields.kind).expect("every step has a kind in the log"),
            migration: step.migration,
            source: fields.source,
            revision: fields.revision,
            slots: SlotRanges::Given(&step.slots),
            details: &fields.details,
            origin: None,
        }))?;
        self.builder.end_command();
        note_step(&mut self.dedupe, &mut self.slots, lsn, time, step).expect("it was checked that the step follows");
        Ok(())
    }

    /// Writes what the replica wants in the log.
    pub(super) fn append(&mut self, appending: Appending) -> Result<(), Failed> {
        let batches = match appending {
            Appending::Proposed(header) => vec![self.filled(header)],
            Appending::EpochStart(header) => {
                self.builder.start(start_of(&header));
                let record = Record::EpochStart { epoch: header.epoch };
                self.builder.push(&record).expect("an empty batch has room for one small record");
                vec![self.filled(header)]
            }
            Appending::Received(batches) => {
                // Drafts are a leader's: what others write does not come into them.
                self.drafts.clear();
                for batch in &batches {
                    self.note_received(batch)?;
                }
                batches
            }
        };
        Ok(self.engine.append(&batches)?)
    }

    /// The batch the builder holds, which is the one the replica means.
    fn filled(&mut self, header: BatchHeader) -> Batch {
        let batch = self.builder.finish().expect("only a filled batch is proposed");
        assert_eq!(
            (batch.base, batch.count, batch.epoch),
            (header.base, header.count, header.epoch),
            "another batch was admitted"
        );
        self.uncommitted.push_back((batch.end(), batch.records.len()));
        self.uncommitted_bytes += batch.records.len();
        batch
    }

    fn note_received(&mut self, batch: &Batch) -> Result<(), Failed> {
        for decoded in Records::new(&batch.records) {
            let decoded = decoded.map_err(|error| Failed::mistaken(&error))?;
            note(&mut self.dedupe, &mut self.slots, decoded.lsn, batch.time, &decoded.record)
                .map_err(|bad| Failed::mistaken(&bad))?;
        }
        Ok(())
    }

    /// Plans the tick that makes the next due key invisible. Looked at again whenever something was applied: a key that is due
    /// earlier than all others may have come.
    pub(super) fn look_after_expiry(&mut self, clock: &impl Clock) {
        if !self.replica.serving().activated {
            self.expiry = None;
            return;
        }
        if let Some(due) = self.reader.next_expiry() {
            let wait = Duration::from_millis(due.0.saturating_sub(clock.wall().0));
            let at = clock.now() + wait.clamp(EXPIRY_GRANULARITY, EXPIRY_HORIZON);
            self.expiry = Some(self.expiry.map_or(at, |planned| planned.min(at)));
        }
    }

    /// Brings the group's time to the next due key's, if it has come: after the wall clock was set forward the group's time follows
    /// slowly, and a tick before it is there would only fill the log.
    pub(super) fn append_tick(&mut self, clock: &impl Clock) {
        let Some(due) = self.reader.next_expiry().filter(|due| *due <= clock.wall()) else { return };
        if self.open_batch(clock).is_err() {
            return;
        }
        if self.open.is_some_and(|admission| admission.time >= due) {
            self.builder.push(&Record::Tick).expect("an empty batch has room for one small record");
            self.builder.end_command();
        }
        self.close_batch(clock);
    }
}

fn start_of(header: &BatchHeader) -> BatchStart {
    BatchStart {
        lineage: header.lineage,
        epoch: header.epoch,
        base: header.base,
        time: header.time,
        high_watermark: header.high_watermark,
    }
}
