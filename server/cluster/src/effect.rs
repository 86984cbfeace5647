//! What a replica wants done.

use std::time::Duration;

use simplekv_types::peer::Envelope;
use simplekv_types::{Batch, Epoch, GroupRecord, Lineage, Lsn, Member, NodeId, Revision};

use crate::event::{BatchHeader, RequestId};

/// An output of [`Replica::next_effect`](crate::Replica::next_effect). Effects are executed in the order given. What each variant
/// says about *when* is part of the protocol's safety.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Publish [`Replica::serving`](crate::Replica::serving) before executing what follows: a lease or role ends here, and a
    /// message that follows tells somebody that it has.
    WithdrawLeases,
    /// Write to disk, and flush, that this replica will never again act in an epoch below this one; then step
    /// [`Event::EpochPersisted`](crate::Event::EpochPersisted). Nothing is answered until then.
    PersistEpoch {
        /// The epoch.
        epoch: Epoch,
        /// The history it belongs to.
        lineage: Lineage,
    },
    /// Drop everything from this LSN on, which is never below the high watermark, before executing what follows. On failure stop
    /// executing and step [`Event::StorageFailed`](crate::Event::StorageFailed).
    Truncate {
        /// The log's new end.
        log_end: Lsn,
    },
    /// Write to the log before executing what follows. On failure stop executing and step
    /// [`Event::StorageFailed`](crate::Event::StorageFailed).
    Append(Appending),
    /// Start a flush of everything written so far. Any number of these may be served by one flush; report the last of them.
    Flush {
        /// First LSN not written yet; to be repeated in [`Event::Flushed`](crate::Event::Flushed).
        log_end: Lsn,
        /// How often the log has been truncated; to be repeated as well.
        truncations: u64,
    },
    /// Everything below is committed: apply it before executing what follows, then answer those who wait for it.
    Apply {
        /// The new high watermark.
        high_watermark: Lsn,
    },
    /// Send, without waiting. May be lost, delayed, doubled and reordered.
    Send(Envelope),
    /// Fill the [`Append`](simplekv_types::peer::Append) inside with the batches of a range of the log, then send it. The records
    /// may have been written by an effect before this one.
    SendLog {
        /// The message, its `batches` empty.
        envelope: Envelope,
        /// First record to send; the start of a batch.
        from: Lsn,
        /// First record not to send; the end of a batch.
        upto: Lsn,
        /// Stop before the batch that would exceed this many bytes of records, but send at least one. If that is before `upto`,
        /// step [`Event::SentLess`](crate::Event::SentLess).
        max_bytes: usize,
    },
    /// Ask the metadata store and step [`Event::Metadata`](crate::Event::Metadata) once.
    Metadata {
        /// To be repeated in the event.
        id: RequestId,
        /// What to do there.
        request: MetadataRequest,
    },
    /// Send something harmless through everything an append passes through, up to the disk, then step
    /// [`Event::Probed`](crate::Event::Probed).
    Probe {
        /// To be repeated in the event.
        id: u64,
    },
    /// This replica's role or leader changed. Those who wait for uncommitted records of an epoch that ended must be told that the
    /// outcome of their write is unknown.
    RoleChanged {
        /// The epoch.
        epoch: Epoch,
        /// The new role.
        role: Role,
        /// The leader of the epoch, once it is known.
        leader: Option<NodeId>,
    },
    /// This leader cannot do its work: the controller should elect another. Told again until that happens.
    RequestElection {
        /// The epoch to be ended.
        epoch: Epoch,
        /// In-sync replicas this leader cannot hear.
        unheard: Vec<Member>,
    },
    /// The leader's log no longer holds what this replica lacks: fetch a snapshot from it.
    FetchSnapshot {
        /// The leader.
        from: NodeId,
        /// The snapshot replaces everything below.
        upto: Lsn,
    },
    /// The group goes on with another history, of which this replica has no part, and the leader of that has begun. Whatever is here,
    /// the persisted epoch included, is to be put away, and a new replica begun with this lineage at least. This one has halted.
    Rebuild {
        /// The group's history now.
        lineage: Lineage,
    },
    /// Answers [`Event::Transfer`](crate::Event::Transfer).
    TransferEnded(TransferOutcome),
    /// Answers [`Event::Stop`](crate::Event::Stop): nothing here is waited for any more.
    ReadyToStop,
    /// Something an operator should know.
    Alarm(Alarm),
}

/// What to write to the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Appending {
    /// The batch that was just proposed.
    Proposed(BatchHeader),
    /// A batch of one record that marks the start of an epoch, to be encoded by the driver.
    EpochStart(BatchHeader),
    /// Batches received from the leader, contiguous, to be written as they are.
    Received(Vec<Batch>),
}

/// Something to be done in the metadata store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MetadataRequest {
    /// Read the group's record linearizably.
    ReadGroup,
    /// Change the group's record. Must not be retried below this interface: a second execution would be a change of its own.
    ChangeGroup(Box<GroupChange>),
}

/// A compare-and-set of a group's record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupChange {
    /// The record's revision must be this one.
    pub expected: Revision,
    /// These nodes' registrations must be of these revisions. Sorted by node, no node twice.
    pub registrations: Vec<(NodeId, Revision)>,
    /// These nodes must have no session: the change rests on their silence. Sorted, no node twice.
    pub silent: Vec<NodeId>,
    /// What to write.
    pub record: GroupRecord,
}

/// What a replica is in its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Leads. Whether it may answer reads is in [`Serving`](crate::Serving).
    Leader,
    /// Does nothing any more: its storage failed, or contradicts what was committed.
    Halted,
}

/// How a planned transfer of leadership ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransferOutcome {
    /// The other replica was elected.
    Elected {
        /// The new leader.
        leader: NodeId,
        /// Its epoch.
        epoch: Epoch,
    },
    /// Whoever was asked can do nothing: the replica does not lead, or the node does not hold the controller's office.
    NotLeader,
    /// The replica named cannot lead: it is not in sync, or nothing is known of its registration, or there is no other.
    NotEligible,
    /// The replica did not catch up in time, or the group's record changed meanwhile. This replica still leads.
    GivenUp,
}

/// Something that should not happen, for operators.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Alarm {
    /// This node's wall clock is far ahead of the group's time, which now follows it slowly.
    ClockJumped {
        /// How far.
        ahead: Duration,
    },
    /// A replica came back with less than it had acknowledged; it is removed from the in-sync set and kept out.
    StorageLied {
        /// The replica.
        member: Member,
        /// What it had acknowledged.
        acknowledged: Lsn,
    },
    /// A peer's message contradicts itself or the log. It was dropped.
    MalformedMessage {
        /// The sender.
        from: NodeId,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A committed record would have been truncated. The replica has halted.
    CommittedConflict {
        /// The first record that differs.
        at: Lsn,
    },
    /// The metadata store shows a state older than what this replica has seen: it was restored from a backup. The replica has
    /// halted.
    MetadataRegressed {
        /// The epoch this replica had persisted.
        persisted: Epoch,
        /// The epoch found.
        found: Epoch,
    },
    /// The metadata store shows an earlier history of the group than the one this replica's log belongs to: it was restored from a
    /// backup. The replica has halted.
    LineageRegressed {
        /// The history of the log.
        persisted: Lineage,
        /// The history found.
        found: Lineage,
    },
    /// The group goes on with another history; this replica's log belongs to an earlier one. The replica has halted and is rebuilt
    /// once the leader of that history speaks to it.
    LineageEnded {
        /// The group's history now.
        current: Lineage,
    },
    /// The append path has not completed a probe in time; this leader has fallen silent.
    Stalled,
}
