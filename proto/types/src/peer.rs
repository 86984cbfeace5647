//! What replicas of one group tell each other.

use std::time::Duration;

use crate::{Batch, ClusterId, Epoch, GroupId, GroupTime, Leadership, Lineage, Lsn, NodeId, RunId, StorageId, Tick};

/// A message with everything that decides whether it still means something. The receiver drops what belongs to a lower epoch, an
/// older run or another cluster, and adopts a higher epoch before anything else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Envelope {
    /// The sender's cluster.
    pub cluster: ClusterId,
    /// The group the message is about.
    pub group: GroupId,
    /// The sender's history of the group.
    pub lineage: Lineage,
    /// The sender's epoch.
    pub epoch: Epoch,
    /// Which run of which incarnation of which node speaks.
    pub from: Sender,
    /// The node the message is meant for.
    pub to: NodeId,
    /// What it says.
    pub message: Message,
}

/// Which run of which incarnation of which node speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sender {
    /// The node.
    pub node: NodeId,
    /// Its storage incarnation.
    pub storage: StorageId,
    /// The run of its process.
    pub run: RunId,
}

impl From<Leadership> for Sender {
    fn from(leader: Leadership) -> Self {
        Self { node: leader.node, storage: leader.storage, run: leader.run }
    }
}

/// The messages. Ticks are always of the clock of the node named in the field: they are echoed, never compared across nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Leader → replica: records, and the heartbeat.
    Append(Append),
    /// Replica → leader: how much of the leader's log the replica provably holds; also asks for a read lease.
    AppendAck(AppendAck),
    /// Leader → follower: give up your read lease, and every grant still on its way.
    Revoke {
        /// Unique per attempt: an answer to an earlier attempt must not count.
        id: u64,
    },
    /// Follower → leader: given up.
    RevokeAck {
        /// The attempt answered.
        id: u64,
    },
    /// New leader → member of an older epoch: drop every older lease and role.
    EpochProbe,
    /// The answer: dropped, and this is my log.
    EpochAck {
        /// Log end of the answering replica.
        log_end: Lsn,
        /// Epoch of its last record.
        last_epoch: Epoch,
    },
    /// In-sync follower → in-sync followers: I have not heard the leader of this epoch for too long.
    Suspect {
        /// Epoch of the sender's last record: the replica with the greatest (last epoch, log end) stands first.
        last_epoch: Epoch,
        /// The sender's log end.
        log_end: Lsn,
    },
    /// Leader → follower whose next record is no longer in the leader's raw log: a full snapshot must be fetched.
    SnapshotOffer {
        /// The snapshot replaces everything below.
        upto: Lsn,
    },
    /// In-sync follower → leader: I will stop soon and hold no read lease any more. Take me out of the in-sync set if it is large
    /// enough without me.
    Leave,
}

/// Records for a replica, or just a sign of life.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Append {
    /// First LSN after the record that must be there before: `batches` begin here.
    pub prev_end: Lsn,
    /// Epoch of the record before `prev_end`; [`Epoch::ZERO`] when `prev_end` is zero.
    pub prev_epoch: Epoch,
    /// What follows, contiguous. Empty in a heartbeat.
    pub batches: Vec<Batch>,
    /// The leader's high watermark.
    pub high_watermark: Lsn,
    /// The leader's group time.
    pub time: GroupTime,
    /// When the leader sent this, on the leader's clock; echoed in the answer.
    pub sent_at: Tick,
    /// The answer to a lease request of this replica.
    pub grant: Option<Grant>,
    /// Set when the leader's lease was valid after it read `high_watermark`: the send time of the replica's request it had heard
    /// last. Dates the replica's state for bounded-staleness reads.
    pub fresh: Option<Tick>,
}

/// A read lease granted to a follower: valid from the follower's own send time of the request it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    /// The request's send time on the *follower's* clock.
    pub requested_at: Tick,
    /// The run of the follower that asked.
    pub for_run: RunId,
    /// How long, from `requested_at`.
    pub duration: Duration,
}

/// What a replica provably holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AppendAck {
    /// First LSN not known to equal the leader's log *in this epoch* (and, under `always`, not flushed). Never the log end.
    pub verified_end: Lsn,
    /// `sent_at` of the append this answers, on the leader's clock.
    pub echo: Tick,
    /// When the replica sent this, on its own clock: the lease request's anchor.
    pub sent_at: Tick,
    /// Set when the replica's log did not contain the preceding record: the leader goes back.
    pub reject: Option<Reject>,
}

/// Where a follower's log parts from the leader's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reject {
    /// The `prev_end` refused: which of the leader's attempts this answers.
    pub refused: Lsn,
    /// The leader should try again with a `prev_end` no greater than this.
    pub hint: Lsn,
    /// Epoch of the follower's record before `hint`, for skipping whole epochs; [`Epoch::ZERO`] when `hint` is zero.
    pub hint_epoch: Epoch,
}
