//! What a replica may do for others at a moment.

use simplekv_types::{Epoch, GroupTime, Lineage, Lsn, NodeId, Tick};

use crate::effect::Role;
use crate::event::BatchHeader;

/// What a replica may answer, and who leads. Small, to be copied into something that reading threads share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Serving {
    /// The epoch.
    pub epoch: Epoch,
    /// The history.
    pub lineage: Lineage,
    /// The role in it.
    pub role: Role,
    /// The leader, if one is known.
    pub leader: Option<NodeId>,
    /// Whether this leader has committed the start of its epoch.
    pub activated: bool,
    /// Changes whenever a lease ends: a read that saw another value before must not be answered.
    pub generation: u64,
    /// A leader may answer linearizable reads while the clock shows less; [`Tick::ZERO`] without a lease.
    pub leader_lease_until: Tick,
    /// A follower may answer linearizable reads while the clock shows less; [`Tick::ZERO`] without a lease.
    pub read_lease_until: Tick,
    /// Everything committed by this time of this node's clock is applied here, once all effects of the step are executed. For reads of
    /// bounded staleness. A leader's lies in the future while its lease lasts, and then holds for every time that has come;
    /// [`Effect::WithdrawLeases`](crate::Effect::WithdrawLeases) ends that.
    pub fresh_as_of: Option<Tick>,
    /// Whether the append path hangs: the node's sign of life in the metadata store must not be renewed.
    pub stalled: bool,
}

impl Serving {
    /// Whether a linearizable read may be answered, if `now` was read from the clock after the data, and `generation` before it.
    #[must_use]
    pub fn may_answer(&self, now: Tick, generation: u64) -> bool {
        self.generation == generation && (now < self.leader_lease_until || now < self.read_lease_until)
    }
}

/// Permission to append one batch, and what its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The history.
    pub lineage: Lineage,
    /// The epoch.
    pub epoch: Epoch,
    /// LSN of the batch's first record.
    pub base: Lsn,
    /// The leader's high watermark.
    pub high_watermark: Lsn,
    /// The group time commands are evaluated at.
    pub time: GroupTime,
}

impl Admission {
    /// The header of a batch of this many records.
    #[must_use]
    pub fn header(&self, count: u32) -> BatchHeader {
        BatchHeader {
            lineage: self.lineage,
            epoch: self.epoch,
            base: self.base,
            count,
            time: self.time,
            high_watermark: self.high_watermark,
        }
    }
}

/// Why no write is admitted. Nothing was appended: the write will never take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// This replica does not lead.
    #[error("this replica does not lead in epoch {epoch}")]
    NotLeader {
        /// The leader, if one is known.
        leader: Option<NodeId>,
        /// The epoch.
        epoch: Epoch,
    },
    /// This replica was elected but has not begun its epoch.
    #[error("epoch {epoch} has not begun yet")]
    Starting {
        /// The epoch.
        epoch: Epoch,
    },
    /// Too few replicas are in sync, or one of them is lagging.
    #[error("{in_sync} in-sync replicas keep up, {required} required")]
    NoReplicas {
        /// How many keep up, this one included.
        in_sync: u32,
        /// How many must: all that are listed, at least the group's minimum.
        required: u32,
    },
    /// The append path hangs.
    #[error("the disk does not answer")]
    Stalled,
    /// Leadership is being handed over. Soon somebody leads.
    #[error("leadership is being transferred")]
    Transferring,
}
