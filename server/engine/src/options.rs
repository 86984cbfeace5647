//! Whose replica a directory holds, and how the engine keeps it.

use std::fmt;

use simplekv_types::{ClusterId, FlushPolicy, GroupId, StorageId};

/// Whose replica a directory holds. Written into it when it is created; a directory of another replica is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaIdentity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The group the replica belongs to.
    pub group: GroupId,
    /// The incarnation of the node's storage.
    pub storage: StorageId,
}

impl fmt::Display for ReplicaIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {} of cluster {}, storage {}", self.group, self.cluster, self.storage)
    }
}

/// How the engine keeps a replica. Any of it may differ from one start to the next.
#[derive(Clone, Debug)]
pub struct Options {
    /// When the log reaches the disk. What it means for acknowledgements is the caller's rule; the engine itself makes sure, under
    /// `always`, that whatever it finds at a start is flushed.
    pub flush: FlushPolicy,
    /// Size of a segment file in bytes; taken for 4 KiB if less and for 1 GiB if more. A larger append makes a larger segment.
    pub segment_bytes: u64,
    /// How many bytes of recent batches stay in memory for replication. The newest batch always does.
    pub tail_bytes: usize,
    /// How many bytes of the newest segments are read as memory, which spares a call to the operating system for each value. Where
    /// the disk fails to deliver a mapped value the process ends, instead of the read; meant for what fits into memory. 0 maps
    /// nothing.
    pub mapped_bytes: u64,
    /// Seed of the hash tables. Random in production, so that nobody can choose keys that collide; fixed in a simulation.
    pub hash_seed: u64,
}

impl Options {
    /// With every value in its range.
    pub(crate) fn clamped(&self) -> Self {
        Self { segment_bytes: self.segment_bytes.clamp(4 << 10, 1 << 30), ..self.clone() }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            flush: FlushPolicy::Always,
            segment_bytes: 128 << 20,
            tail_bytes: 8 << 20,
            mapped_bytes: 1 << 30,
            hash_seed: 0,
        }
    }
}
