//! A replica group as the metadata store records it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Epoch, Lineage, NodeId, RunId, StorageId};

/// A replica of a group by what it stores: a node together with its storage incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The node the replica lives on.
    pub node: NodeId,
    /// The incarnation of its storage.
    pub storage: StorageId,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Enough of the incarnation to tell two of them apart in a log line.
        write!(f, "{}/{:08x}", self.node, self.storage.0 >> 96)
    }
}

/// Who leads an epoch. Only this run of this incarnation may act in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Leadership {
    /// The leading node.
    pub node: NodeId,
    /// Its storage incarnation.
    pub storage: StorageId,
    /// The run of its process that was elected.
    pub run: RunId,
}

impl Leadership {
    /// The leader as a member of its group.
    #[must_use]
    pub fn member(&self) -> Member {
        Member { node: self.node, storage: self.storage }
    }
}

/// The record of one group. It changes only by compare-and-set on its revision: elections by the controller or by suspecting
/// in-sync followers, the beginning of another lineage by an operator or the controller, everything else by the leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Number of the current leadership; 0 before the first election.
    pub epoch: Epoch,
    /// Who was elected in `epoch`; `None` only before the first election and during recovery.
    pub leader: Option<Leadership>,
    /// The in-sync replicas. Every acknowledged write is on every intact one of them. Sorted by node.
    ///
    /// Invariant: never smaller than `min_in_sync` once it was that large in the same lineage; a dead member stays listed until it
    /// is replaced.
    pub in_sync: Vec<Member>,
    /// Who may still hold a read lease, or serve as leader, of an epoch before the current one. Emptied by the activated leader.
    pub fence: Vec<Member>,
    /// Length of the leader lease in milliseconds. Changes only together with `epoch`.
    pub lease_ms: u64,
    /// The longest lease any epoch in `fence` may have granted, in milliseconds.
    pub fence_ms: u64,
    /// Nodes the group is assigned to, in order of preference for leadership.
    pub replicas: Vec<NodeId>,
    /// How many in-sync replicas must hold a write before it is acknowledged, the leader included. At least 1.
    pub min_in_sync: u32,
    /// Number of the group's history.
    pub lineage: Lineage,
    /// Set while the group waits for a decision because every in-sync replica has lost data.
    #[serde(default)]
    pub recovering: bool,
    /// Who takes that decision.
    #[serde(default)]
    pub recovery: RecoveryPolicy,
}

/// Who decides how a group goes on whose in-sync replicas have all lost data, and with it perhaps acknowledged writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecoveryPolicy {
    /// An operator.
    #[default]
    Manual,
    /// The controller: the replica whose log reaches furthest is the group's history, once every in-sync replica that was lost is
    /// proven to be gone and what it left has been looked at.
    Longest,
}

impl fmt::Display for RecoveryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manual => "manual",
            Self::Longest => "longest",
        })
    }
}

impl FromStr for RecoveryPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "manual" => Ok(Self::Manual),
            "longest" => Ok(Self::Longest),
            _ => Err(format!("`{text}` is not a way to recover, expected `manual` or `longest`")),
        }
    }
}

impl GroupRecord {
    /// Whether this incarnation of this node is in sync.
    #[must_use]
    pub fn is_in_sync(&self, member: Member) -> bool {
        self.in_sync.contains(&member)
    }

    /// Whether the group is assigned to the node.
    #[must_use]
    pub fn is_assigned(&self, node: NodeId) -> bool {
        self.replicas.contains(&node)
    }
}
