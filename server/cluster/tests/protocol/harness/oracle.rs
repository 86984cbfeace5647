//! Who has seen everything, and believes nobody.

use std::collections::{BTreeMap, BTreeSet};

use simplekv_types::{Batch, Epoch, Lineage, Lsn, NodeId, RunId};

/// What has happened in the whole group.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// Committed batches by their end: epoch and content.
    committed: BTreeMap<Lsn, (Epoch, u64)>,
    /// Writes that were acknowledged to their clients.
    acknowledged: BTreeSet<u64>,
    committed_writes: BTreeSet<u64>,
    /// The history that counts.
    lineage: Lineage,
    /// Which process led which epoch.
    leaders: BTreeMap<Epoch, (NodeId, RunId)>,
    /// The greatest epoch whose gate has opened anywhere.
    pub(crate) greatest_open: Epoch,
}

/// What a batch carries.
pub(crate) fn content(batch: &Batch) -> u64 {
    batch.records.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

impl Oracle {
    /// First LSN not committed.
    pub(crate) fn committed_end(&self) -> Lsn {
        self.committed.last_key_value().map_or(Lsn::ZERO, |(end, _)| *end)
    }

    /// The epoch of the last committed record.
    pub(crate) fn committed_epoch(&self) -> Epoch {
        self.committed.last_key_value().map_or(Epoch::ZERO, |(_, (epoch, _))| *epoch)
    }

    /// A log becomes the group's history: what it does not hold was never committed. Returns the acknowledged writes that are lost.
    pub(crate) fn begin_anew(&mut self, lineage: Lineage, log: &super::disk::Disk) -> Vec<u64> {
        self.lineage = lineage;
        let held =
            |end: Lsn, is: (Epoch, u64)| log.batch_ending(end).is_some_and(|batch| (batch.epoch, content(batch)) == is);
        let committed = std::mem::take(&mut self.committed);
        let (kept, lost): (BTreeMap<_, _>, BTreeMap<_, _>) =
            committed.into_iter().partition(|(end, is)| held(*end, *is));
        self.committed = kept;
        let lost: Vec<u64> = lost.into_values().map(|(_, write)| write).collect();
        self.committed_writes.retain(|write| !lost.contains(write));
        lost.into_iter().filter(|write| self.acknowledged.remove(write)).collect()
    }

    /// Whether a replica of this lineage is of the history that counts.
    pub(crate) fn counts(&self, lineage: Lineage) -> bool {
        lineage == self.lineage
    }

    /// A replica applies a batch. Returns whether it is the first to do so.
    pub(crate) fn apply(&mut self, node: NodeId, batch: &Batch) -> bool {
        let is = (batch.epoch, content(batch));
        let end = batch.end();
        match self.committed.get(&end) {
            Some(committed) => assert_eq!(*committed, is, "{node} applies another batch at {end}"),
            None => {
                let last = self.committed_end();
                assert_eq!(
                    last, batch.base,
                    "{node} commits {}..{end}, but everything is committed up to {last}",
                    batch.base
                );
                self.committed.insert(end, is);
                self.committed_writes.insert(is.1);
                return true;
            }
        }
        false
    }

    /// Nothing committed may ever be dropped, by anybody.
    pub(crate) fn truncate(&self, node: NodeId, dropped: &[Batch]) {
        for batch in dropped {
            let committed = self.committed.get(&batch.end()) == Some(&(batch.epoch, content(batch)));
            assert!(
                !committed,
                "{node} truncates {}..{} of epoch {}, which is committed",
                batch.base,
                batch.end(),
                batch.epoch
            );
        }
    }

    pub(crate) fn acknowledge(&mut self, write: u64) {
        assert!(self.committed_writes.contains(&write), "write {write} is acknowledged and not committed");
        self.acknowledged.insert(write);
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    pub(crate) fn is_acknowledged(&self, write: u64) -> bool {
        self.acknowledged.contains(&write)
    }

    pub(crate) fn lead(&mut self, epoch: Epoch, node: NodeId, run: RunId) {
        let leader = *self.leaders.entry(epoch).or_insert((node, run));
        assert_eq!(leader, (node, run), "two lead epoch {epoch}");
    }

    /// Whether a log holds everything committed: it does if it holds the last of it, since logs that agree on a batch agree on
    /// everything before.
    pub(crate) fn is_held_by(&self, log: &super::disk::Disk) -> bool {
        let Some((end, is)) = self.committed.last_key_value() else { return true };
        log.batch_ending(*end).is_some_and(|batch| (batch.epoch, content(batch)) == *is)
    }
}
