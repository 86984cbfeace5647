//! What a node's directory holds.

use simplekv_cluster::{DiskIdentity, Recovered};
use simplekv_types::{Batch, Epoch, FlushPolicy, GroupTime, Lineage, Lsn, StorageId};

/// One data directory, as far as one group's replica is concerned.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) identity: DiskIdentity,
    /// Batches in the log, those only in the page cache included.
    pub(crate) log: Vec<Batch>,
    /// First LSN that a power loss would take.
    pub(crate) durable_end: Lsn,
    pub(crate) epoch: Epoch,
    pub(crate) lineage: Lineage,
    /// Earlier incarnations of this directory.
    pub(crate) previous: Vec<StorageId>,
    /// Whether acknowledged records may be gone, which the next process will find out.
    pub(crate) lossy: bool,
    /// How often this process has truncated the log.
    truncations: u64,
}

impl Disk {
    pub(crate) fn new(storage: StorageId, flush: FlushPolicy, boot: u64) -> Self {
        let identity =
            DiskIdentity { storage, run: None, tried: Vec::new(), boot_id: boot.to_string(), flush, clean_run: None };
        Self {
            identity,
            log: Vec::new(),
            durable_end: Lsn::ZERO,
            epoch: Epoch::ZERO,
            lineage: Lineage(0),
            previous: Vec::new(),
            lossy: false,
            truncations: 0,
        }
    }

    pub(crate) fn log_end(&self) -> Lsn {
        self.log.last().map_or(Lsn::ZERO, Batch::end)
    }

    pub(crate) fn append(&mut self, batch: Batch) {
        assert_eq!(batch.base, self.log_end(), "a gap in the log");
        if let Some(last) = self.log.last() {
            assert!(
                last.epoch <= batch.epoch && last.time <= batch.time,
                "epoch or time falls: {last:?} then {batch:?}"
            );
        }
        self.log.push(batch);
    }

    pub(crate) fn truncate(&mut self, log_end: Lsn) {
        self.log.retain(|batch| batch.base < log_end);
        assert_eq!(self.log_end(), log_end, "truncation between two batches");
        self.durable_end = self.durable_end.min(log_end);
        self.truncations += 1;
    }

    /// A flush that covers everything below `log_end` has completed; it began after this many truncations.
    pub(crate) fn flush_to(&mut self, log_end: Lsn, truncations: u64) {
        if truncations == self.truncations {
            self.durable_end = self.durable_end.max(log_end.min(self.log_end()));
        }
    }

    /// A process opens the directory.
    pub(crate) fn restart(&mut self) {
        self.truncations = 0;
    }

    /// The directory continues as another incarnation. `ended`: whether the present one has ended for certain.
    pub(crate) fn renew(&mut self, storage: StorageId, ended: bool) {
        let before = std::mem::replace(&mut self.identity.storage, storage);
        self.previous.extend(ended.then_some(before));
        self.lossy = false;
    }

    /// The replica is put away, and a new one begun.
    pub(crate) fn rebuild(&mut self, lineage: Lineage) {
        self.log.clear();
        self.durable_end = Lsn::ZERO;
        self.epoch = Epoch::ZERO;
        self.lineage = lineage;
        self.truncations = 0;
    }

    /// What was not flushed is gone.
    pub(crate) fn lose_power(&mut self) {
        let durable_end = self.durable_end;
        self.log.retain(|batch| batch.end() <= durable_end);
    }

    /// Batches of `from..upto`, at least one and otherwise no more than `max_bytes` of records.
    pub(crate) fn read(&self, from: Lsn, upto: Lsn, max_bytes: usize) -> Vec<Batch> {
        let first = self.log.partition_point(|batch| batch.base < from);
        let mut bytes = 0;
        let wanted = self.log[first..].iter().take_while(|batch| batch.end() <= upto);
        let fitting = wanted.enumerate().take_while(|(i, batch)| {
            bytes += batch.records.len();
            *i == 0 || bytes <= max_bytes
        });
        fitting.map(|(_, batch)| batch.clone()).collect()
    }

    /// The batch that ends at `end`.
    pub(crate) fn batch_ending(&self, end: Lsn) -> Option<&Batch> {
        let index = self.log.partition_point(|batch| batch.end() < end);
        self.log.get(index).filter(|batch| batch.end() == end)
    }

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
            // What is in the page cache looks just like what is on disk.
            flushed_end: Lsn::ZERO,
            high_watermark: self.log.iter().map(|batch| batch.high_watermark).max().unwrap_or(Lsn::ZERO),
            epochs,
            last_time: self.log.last().map_or(GroupTime::ZERO, |batch| batch.time),
            epoch: self.epoch,
            lineage: self.lineage,
        }
    }
}
