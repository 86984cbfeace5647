//! Which epoch wrote which part of the log.

use simplekv_types::{Batch, Epoch, GroupTime, Lineage, Lsn};

use crate::error::AppendError;

/// The epochs of a log, and what its next batch must not fall below.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Where each epoch's records begin. Both rise.
    epochs: Vec<(Epoch, Lsn)>,
    last: Last,
}

/// What the last record was written with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Last {
    pub(crate) lineage: Lineage,
    pub(crate) epoch: Epoch,
    pub(crate) time: GroupTime,
}

impl Last {
    /// Whether the batch may stand at `end`, behind what was written with this.
    pub(crate) fn check(&mut self, batch: &Batch, end: Lsn) -> Result<(), AppendError> {
        if batch.base != end {
            return Err(AppendError::NotContiguous { base: batch.base, log_end: end });
        }
        let falls = batch.epoch < self.epoch || batch.lineage < self.lineage || batch.time < self.time;
        if falls || batch.high_watermark > batch.base {
            let Batch { lineage, epoch, base, time, high_watermark, .. } = *batch;
            return Err(AppendError::OutOfOrder { base, lineage, epoch, time, high_watermark });
        }
        *self = Self::of(batch);
        Ok(())
    }

    pub(crate) fn of(batch: &Batch) -> Self {
        Self { lineage: batch.lineage, epoch: batch.epoch, time: batch.time }
    }
}

impl History {
    pub(crate) fn last(&self) -> Last {
        self.last
    }

    pub(crate) fn epochs(&self) -> &[(Epoch, Lsn)] {
        &self.epochs
    }

    pub(crate) fn push(&mut self, batch: &Batch) {
        if self.epochs.last().is_none_or(|(epoch, _)| *epoch < batch.epoch) {
            self.epochs.push((batch.epoch, batch.base));
        }
        self.last = Last::of(batch);
    }

    /// The epoch of the record before `lsn`, which is at most the log's end; `None` at the beginning.
    pub(crate) fn before(&self, lsn: Lsn) -> Option<Epoch> {
        let after = self.epochs.partition_point(|(_, begins)| *begins < lsn);
        self.epochs.get(after.checked_sub(1)?).map(|(epoch, _)| *epoch)
    }

    /// The log ends at `lsn` from now on; the record before it was written with `last`.
    pub(crate) fn truncate(&mut self, lsn: Lsn, last: Last) {
        self.epochs.truncate(self.epochs.partition_point(|(_, begins)| *begins < lsn));
        self.last = last;
    }
}
