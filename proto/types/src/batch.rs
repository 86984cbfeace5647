//! The unit of the replicated log.

use bytes::Bytes;

use crate::{Epoch, GroupTime, Lineage, Lsn};

/// Records that are appended, replicated, truncated and recovered together, with the header all replicas hold the same bytes of.
///
/// A batch is written by the leader of one epoch and carries whatever waited when it was written: whole commands, each with its
/// dedupe rows. It is never split, so nobody ever sees half a command.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Batch {
    /// The history this batch belongs to.
    pub lineage: Lineage,
    /// The leadership that wrote it. Invariant: never falls along a log.
    pub epoch: Epoch,
    /// LSN of the first record.
    pub base: Lsn,
    /// How many records it holds. Invariant: at least 1.
    pub count: u32,
    /// Group time. Invariant: never falls along a log.
    pub time: GroupTime,
    /// The writer's high watermark when it wrote the batch: everything below is committed. Invariant: at most `base`.
    pub high_watermark: Lsn,
    /// The encoded records (`simplekv-engine`'s `record` module). Opaque to everything between the writer and the engine.
    pub records: Bytes,
}

impl Batch {
    /// First LSN after the batch.
    #[must_use]
    pub fn end(&self) -> Lsn {
        self.base + u64::from(self.count)
    }
}
