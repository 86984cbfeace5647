//! The steps the engine's operations are made of.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use simplekv_types::{Batch, Lsn};

use super::{APPLY_RECORDS, Engine, Last, PendingBatch, take_apart};
use crate::applied::{Applied, Change};
use crate::error::{AppendError, LogError};
use crate::frame::{Link, Position};
use crate::log::{SYNC_BYTES, batch_bytes};
use crate::pending::Item;
use crate::segment::Segment;

impl Engine {
    pub(super) fn append_together(&mut self, batches: &[Batch]) -> Result<(), AppendError> {
        if self.is_poisoned() {
            return Err(AppendError::Poisoned);
        }
        let (mut last, mut end, mut bytes) = (self.history.last(), self.log_end, SYNC_BYTES);
        let mut taken = Vec::with_capacity(batches.len());
        for batch in batches {
            last.check(batch, end)?;
            taken.push(take_apart(batch, &self.shared.hasher)?);
            end = batch.end();
            bytes += batch_bytes(batch);
        }
        if !self.log.has_room(bytes) {
            let active = self.log.active();
            let (from, checksum) = (active.position(self.log_end), active.checksum);
            self.continue_at(from, self.history.last(), checksum, None, bytes)?;
        }
        let flushed = Some(self.shared.flush.flushed()).filter(|flushed| flushed.lsn > self.recorded_flush);
        self.write(flushed, batches).map_err(AppendError::Io)?;
        self.take_up(batches, taken);
        Ok(())
    }

    /// Goes on in a new segment behind `from`, whose last frame has `checksum`.
    pub(super) fn continue_at(
        &mut self,
        from: Position,
        last: Last,
        checksum: u32,
        cut: Option<Lsn>,
        bytes: u64,
    ) -> Result<(), LogError> {
        let link = Link { from, lineage: last.lineage, epoch: last.epoch, time: last.time };
        let before: Vec<Segment> = self.shared.log.read().segments().map(|(segment, _)| segment.clone()).collect();
        let new = match self.log.roll(&link, checksum, cut, bytes) {
            Ok(new) => new,
            Err(error) => return Err(self.failed(error, bytes)),
        };
        self.shared.log.write().roll(new.segment.clone(), from, new.offset);
        let mut keydir = self.shared.keydir.write();
        let retired = keydir.add_segment(new.segment.id, Arc::clone(&new.segment.file));
        let (cut_off, kept): (Vec<Segment>, Vec<Segment>) =
            before.into_iter().partition(|other| u64::from(other.id) > from.segment);
        // Nothing of a segment that is cut off as a whole was ever applied.
        cut_off.iter().for_each(|segment| keydir.remove_segment(segment.id));
        drop(keydir);
        drop(retired);
        if let Some(sealed) = kept.last() {
            self.log.tidy(sealed, from.offset);
        }
        Ok(())
    }

    /// Writes to the active segment, which has room.
    pub(super) fn write(&mut self, flushed: Option<Position>, batches: &[Batch]) -> io::Result<()> {
        self.frames.clear();
        if let Err(error) = self.log.write(flushed, batches, &mut self.frames) {
            self.shared.poison(&format!("writing the log failed: {error}"));
            return Err(error);
        }
        self.recorded_flush = flushed.map_or(self.recorded_flush, |flushed| flushed.lsn);
        let active = self.log.active();
        let end = batches.last().map_or(self.log_end, Batch::end);
        self.shared.flush.wrote(&active.segment, active.position(end));
        Ok(())
    }

    /// The batches are in the log: everything that is to know of them learns it.
    fn take_up(&mut self, batches: &[Batch], taken: Vec<Arc<[Item]>>) {
        let mut overlay = self.shared.overlay.write();
        for (batch, items) in batches.iter().zip(&taken) {
            overlay.push(batch, Arc::clone(items), 0);
        }
        drop(overlay);
        let mut map = self.shared.log.write();
        for ((batch, items), frame) in batches.iter().zip(taken).zip(&self.frames) {
            map.push(batch.clone(), frame.offset, frame.offset + batch_bytes(batch));
            self.history.push(batch);
            self.log_end = batch.end();
            self.queue.push_back(PendingBatch::new(batch.clone(), *frame, items));
        }
    }

    /// Applies about [`APPLY_RECORDS`] records in one go; false if nothing is left below `high_watermark`.
    pub(super) fn apply_some(&mut self, high_watermark: Lsn, sink: &mut dyn FnMut(Change<'_>)) -> bool {
        let Some(first) = self.queue.front().filter(|first| first.batch.end() <= high_watermark) else { return false };
        let mut from = first.applied;
        let mut budget = APPLY_RECORDS;
        let mut touched = 0;
        let mut keydir = self.shared.keydir.write();
        for pending in &mut self.queue {
            if pending.batch.end() > high_watermark || budget == 0 {
                break;
            }
            let sink = &mut |applied: Applied<'_>| sink(Change::Applied(applied));
            budget = budget.saturating_sub(pending.apply(&mut keydir, budget, |_| true, sink));
            touched += 1;
        }
        self.shared.longest.store(keydir.longest(), Ordering::Relaxed);
        self.shared.applied.store(keydir.applied().0, Ordering::Release);
        drop(keydir);
        let mut overlay = self.shared.overlay.write();
        for pending in self.queue.iter().take(touched) {
            let items = pending.items.get(from..pending.applied).unwrap_or_default();
            overlay.applied(pending.batch.base + from as u64, items);
            from = 0;
        }
        drop(overlay);
        while let Some(done) = self.queue.pop_front_if(|first| first.is_applied()) {
            self.applied_last = Last::of(&done.batch);
        }
        true
    }

    /// What a failed change of files means.
    pub(super) fn failed(&mut self, error: io::Error, bytes: u64) -> LogError {
        if error.kind() == io::ErrorKind::StorageFull {
            return LogError::NoSpace { bytes };
        }
        self.shared.poison(&format!("changing the files of the log failed: {error}"));
        LogError::Io(error)
    }
}

impl From<LogError> for AppendError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Poisoned => Self::Poisoned,
            LogError::NoSpace { bytes } => Self::NoSpace { bytes },
            LogError::Io(error) => Self::Io(error),
        }
    }
}
