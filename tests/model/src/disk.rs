//! What a node's directory holds. A process may end at any time, a page cache is never lost.

use simplekv_cluster::Recovered;
use simplekv_types::{Batch, Epoch, GroupTime, Lineage, Lsn, StorageId};

/// One data directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Disk {
    pub(crate) storage: StorageId,
    /// One record in each, so that a batch stands at its LSN.
    pub(crate) log: Vec<Batch>,
    pub(crate) epoch: Epoch,
    /// How often this process has dropped records.
    pub(crate) truncations: u32,
}

/// What a record says: the epoch that wrote it, and the client's write; none marks the start of the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) epoch: Epoch,
    pub(crate) write: Option<u8>,
}

/// What the batch says.
pub(crate) fn entry(batch: &Batch) -> Entry {
    Entry { epoch: batch.epoch, write: batch.records.first().copied() }
}

impl Disk {
    pub(crate) fn new(storage: StorageId) -> Self {
        Self { storage, log: Vec::new(), epoch: Epoch::ZERO, truncations: 0 }
    }

    pub(crate) fn log_end(&self) -> Lsn {
        self.log.last().map_or(Lsn::ZERO, Batch::end)
    }

    pub(crate) fn append(&mut self, batch: Batch) {
        assert!(batch.base == self.log_end() && batch.count == 1, "a gap in the log");
        self.log.push(batch);
    }

    /// Drops everything from `log_end` on, and returns it.
    pub(crate) fn truncate(&mut self, log_end: Lsn) -> Vec<Batch> {
        self.truncations += 1;
        self.log.split_off(index(log_end).min(self.log.len()))
    }

    pub(crate) fn read(&self, from: Lsn, upto: Lsn) -> Vec<Batch> {
        self.log.get(index(from)..index(upto)).expect("only what is in the log is read").to_vec()
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> {
        self.log.iter().map(entry)
    }

    /// What the next process finds.
    pub(crate) fn recovered(&self) -> Recovered {
        let mut epochs: Vec<(Epoch, Lsn)> = Vec::new();
        for batch in &self.log {
            if epochs.last().is_none_or(|(epoch, _)| *epoch < batch.epoch) {
                epochs.push((batch.epoch, batch.base));
            }
        }
        Recovered {
            log_start: Lsn::ZERO,
            log_end: self.log_end(),
            flushed_end: Lsn::ZERO,
            high_watermark: self.log.iter().map(|batch| batch.high_watermark).max().unwrap_or(Lsn::ZERO),
            epochs,
            last_time: self.log.last().map_or(GroupTime::ZERO, |batch| batch.time),
            epoch: self.epoch,
            lineage: Lineage(0),
        }
    }
}

/// Where the record of this LSN stands.
pub(crate) fn index(lsn: Lsn) -> usize {
    usize::try_from(lsn.0).expect("a model's log is short")
}
