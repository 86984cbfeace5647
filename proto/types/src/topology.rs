//! Cluster and nodes as the metadata store records them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{ClusterId, RunId, StorageId};

/// A revision of the metadata store: one more at each change of anything in it. As the version of a record: the revision of its
/// last change. 0 means "does not exist".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The cluster as a whole; written once by `init`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRecord {
    /// Which cluster this is. A data directory or a message of another one is refused.
    pub cluster: ClusterId,
    /// Version of the records' layout in the metadata store.
    pub format: u32,
}

impl ClusterRecord {
    /// The layout this code reads and writes.
    pub const FORMAT: u32 = 1;
}

/// When a replica's log reaches the disk, and hence what an acknowledged write survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlushPolicy {
    /// A replica acknowledges after fdatasync (shared by everything that waits). Survives simultaneous power loss of all replicas.
    #[default]
    Always,
    /// A replica acknowledges after write(2) and flushes in the background. Survives any crash of processes, and power loss of all
    /// in-sync replicas but one.
    Replicated,
    /// Like `Replicated`, but flushing is left to the operating system.
    Os,
}

impl fmt::Display for FlushPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Always => "always",
            Self::Replicated => "replicated",
            Self::Os => "os",
        })
    }
}

impl FromStr for FlushPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "always" => Ok(Self::Always),
            "replicated" => Ok(Self::Replicated),
            "os" => Ok(Self::Os),
            _ => Err(format!("`{text}` is not a flush policy, expected `always`, `replicated` or `os`")),
        }
    }
}

/// Where a node can be reached, as `host:port`. These are the *advertised* addresses, never wildcards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeAddresses {
    /// gRPC: clients' data lanes and replication.
    pub grpc: String,
    /// Redis protocol.
    pub resp: String,
    /// Admin service, metrics and health.
    pub admin: String,
}

/// A node's registration: which incarnation of its storage is the real one, and where it is. Persistent; written by the node
/// itself at each start, by compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// The incarnation that speaks for the node.
    pub storage: StorageId,
    /// The run this registration belongs to; `None` in the registration itself, whose own revision is the run. A later rewrite of
    /// the record (poisoning, a changed address) must carry it.
    #[serde(default)]
    pub run: Option<RunId>,
    /// Drawn and flushed to the data directory before the registration, so that a crash between the two, or an unknown outcome,
    /// does not cost an intact node its identity.
    pub nonce: u64,
    /// Earlier incarnations of the same directory, the latest of those that have ended: some group may still list them.
    #[serde(default)]
    pub prev_storages: Vec<StorageId>,
    /// Set after a failed flush: this storage is not to be trusted again.
    #[serde(default)]
    pub poisoned: bool,
    /// Where the node is reached.
    pub addresses: NodeAddresses,
    /// Failure domain, free text; empty when there is none.
    #[serde(default)]
    pub zone: String,
    /// When the node's log reaches the disk.
    pub flush: FlushPolicy,
}

/// A registration as read from the metadata store: the record with the revision of its last change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The record.
    pub record: NodeRecord,
    /// Revision of its last change.
    pub revision: Revision,
}

impl Registration {
    /// The run that registered.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.record.run.unwrap_or(RunId(self.revision.0))
    }
}
