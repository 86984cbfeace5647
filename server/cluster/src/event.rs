//! What happens to a replica.

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::peer::Envelope;
use simplekv_types::{
    Batch, Epoch, GroupRecord, GroupTime, Lineage, Lsn, Member, NodeId, Registration, Revision, RunId, StorageId,
};

/// An input of [`Replica::step`](crate::Replica::step). Every variant may come at any time; what has lost its meaning is ignored.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message from another replica of the group.
    Received(Envelope),
    /// A batch admitted by [`Replica::admit`](crate::Replica::admit) has been filled. No other step may lie between the two.
    Proposed(BatchHeader),
    /// An [`Effect::SendLog`](crate::Effect::SendLog) to this node was sent with fewer batches than it named, or none at all: they
    /// ended at `end`. The rest is asked for again. Must be told before any other event.
    SentLess {
        /// The addressee.
        to: NodeId,
        /// First LSN not sent.
        end: Lsn,
    },
    /// A flush has completed. Both fields are those of the last [`Effect::Flush`](crate::Effect::Flush) taken before it began.
    Flushed {
        /// Everything below was written before the flush began.
        log_end: Lsn,
        /// How often the log had been truncated by then.
        truncations: u64,
    },
    /// An [`Effect::PersistEpoch`](crate::Effect::PersistEpoch) is on disk.
    EpochPersisted {
        /// The epoch named there.
        epoch: Epoch,
        /// This node's wall clock, in milliseconds since the Unix epoch: the first record of a new leader is dated by it.
        wall: GroupTime,
    },
    /// The append path has completed the probe of [`Effect::Probe`](crate::Effect::Probe).
    Probed {
        /// The probe.
        id: u64,
    },
    /// The group's record was seen, by a watch or a list. A hint: it may be old.
    RecordSeen {
        /// The record.
        record: GroupRecord,
        /// Revision of its last change.
        revision: Revision,
    },
    /// What is known about nodes, at least those of the group. A hint: it may be old. Nodes not named keep what is known of them.
    NodesSeen(Vec<NodeFacts>),
    /// An [`Effect::Metadata`](crate::Effect::Metadata) has come to its end. Exactly one per request, however late.
    Metadata {
        /// The request.
        id: RequestId,
        /// What became of it.
        outcome: MetadataOutcome,
    },
    /// An operator wants another leader. Answered by [`Effect::TransferEnded`](crate::Effect::TransferEnded), at once if this
    /// replica does not lead.
    Transfer {
        /// Who shall lead; `None` for whoever stands best.
        to: Option<NodeId>,
    },
    /// The process will end soon: hand over leadership, leave the in-sync set if it is large enough. Answered by
    /// [`Effect::ReadyToStop`](crate::Effect::ReadyToStop), which the driver need not wait for longer than it likes.
    Stop,
    /// Storage failed: an append, a flush, a truncation or a read of the log. The replica falls silent for good.
    StorageFailed,
    /// Time has passed: at or after [`Replica::next_deadline`](crate::Replica::next_deadline).
    Tick,
}

/// A batch without its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchHeader {
    /// The history it belongs to.
    pub lineage: Lineage,
    /// The leadership that wrote it.
    pub epoch: Epoch,
    /// LSN of its first record.
    pub base: Lsn,
    /// How many records. At least 1.
    pub count: u32,
    /// Its group time.
    pub time: GroupTime,
    /// The writer's high watermark.
    pub high_watermark: Lsn,
}

impl BatchHeader {
    /// First LSN after the batch.
    #[must_use]
    pub fn end(&self) -> Lsn {
        self.base + u64::from(self.count)
    }

    /// The batch of these encoded records.
    #[must_use]
    pub fn with_records(self, records: bytes::Bytes) -> Batch {
        Batch {
            lineage: self.lineage,
            epoch: self.epoch,
            base: self.base,
            count: self.count,
            time: self.time,
            high_watermark: self.high_watermark,
            records,
        }
    }
}

/// What the metadata store says about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeFacts {
    /// The node.
    pub node: NodeId,
    /// Its registered storage incarnation.
    pub storage: StorageId,
    /// The run that registered.
    pub run: RunId,
    /// Revision of the registration's last change, for comparing.
    pub revision: Revision,
    /// Whether the registered storage is not to be trusted.
    pub poisoned: bool,
    /// The run that holds the node's session, if there is one.
    pub live: Option<RunId>,
}

impl NodeFacts {
    /// The facts of a registration and the node's session.
    #[must_use]
    pub fn new(node: NodeId, registration: &Registration, live: Option<RunId>) -> Self {
        Self {
            node,
            storage: registration.record.storage,
            run: registration.run(),
            revision: registration.revision,
            poisoned: registration.record.poisoned,
            live,
        }
    }

    /// Whether the listed member is what the node has registered, undamaged. Otherwise it is superseded and will never return.
    #[must_use]
    pub fn is_intact(&self, member: Member) -> bool {
        self.node == member.node && (self.storage == member.storage || is_broken(Rule::C38)) && !self.poisoned
    }

    /// Whether the node's session is that of the registered run.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live == Some(self.run)
    }
}

/// A request to the metadata store, unique within one [`Replica`](crate::Replica) or [`Controller`](crate::Controller).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What became of a request to the metadata store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataOutcome {
    /// The linearizable read's answer; `None` if the group does not exist.
    Read(Option<(GroupRecord, Revision)>),
    /// The transaction was executed and its change made.
    Succeeded {
        /// The record's new revision.
        revision: Revision,
    },
    /// The transaction was executed and changed nothing, because something compared was different.
    Lost {
        /// The group's record as found then, with its revision; `None` if the group does not exist.
        current: Option<(GroupRecord, Revision)>,
    },
    /// Certainly without effect, now and later. Also a failed read.
    Failed,
    /// It may have been executed, or be executed later.
    Unknown,
}
