//! Why a request was not done: facts, with the data a caller needs to decide what to do next.

use std::borrow::Cow;

use crate::{Epoch, GroupId, NodeId, Slot, SlotMapVersion};

mod table;

pub use table::Told;

/// Why a request failed. What each is called at every door says [`FailureCode::told`], Redis' error texts stand in `simplekv-resp`,
/// the retry policy in `simplekv-client`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The slot belongs to another group.
    #[error("slot {slot} belongs to {group} since slot map {version}")]
    Moved {
        /// The slot of the request's keys.
        slot: Slot,
        /// Its owner.
        group: GroupId,
        /// The node to ask, if one is known: the owner's leader.
        node: Option<NodeId>,
        /// Its Redis protocol address, empty if unknown.
        address: String,
        /// The version of the map this was read from.
        version: SlotMapVersion,
    },
    /// This replica does not lead the group, or may not answer this read.
    #[error("this node does not lead {group} (epoch {epoch})")]
    NotLeader {
        /// The slot of the request's keys.
        slot: Slot,
        /// Their group.
        group: GroupId,
        /// The leader, if one is known.
        leader: Option<NodeId>,
        /// Its Redis protocol address, empty if unknown.
        address: String,
        /// The epoch this was known in.
        epoch: Epoch,
    },
    /// The group has no leader that can answer just now.
    #[error("{group} has no leader")]
    NoLeader {
        /// The group without a leader.
        group: GroupId,
    },
    /// No group owns the slot.
    #[error("slot {slot} is not served by any group")]
    SlotUnserved {
        /// The slot.
        slot: Slot,
    },
    /// The slot is being handed over, or the keys of one request are split by a move. Wait and retry here.
    #[error("slot {slot} is being moved, try again")]
    TryAgain {
        /// The slot.
        slot: Slot,
    },
    /// Too few replicas are in sync. The write was refused before it was appended: it will never take effect.
    #[error("{in_sync} replicas in sync, {required} required: the write was not done")]
    NoReplicas {
        /// How many keep up.
        in_sync: u32,
        /// The group's minimum.
        required: u32,
    },
    /// A queue or limit is full. The request was refused before anything was done.
    #[error("overloaded: {what}")]
    Busy {
        /// Which limit.
        what: &'static str,
    },
    /// The write may or may not have been done: it was appended, but its commit was not seen.
    #[error("the outcome of the write is unknown: {reason}")]
    Uncertain {
        /// What happened.
        reason: Cow<'static, str>,
    },
    /// The write's deadline passed before it could be executed; this attempt did nothing.
    #[error("the write's deadline passed, it was not done now")]
    Expired,
    /// A retry of a write the client has declared answered.
    #[error("a retry of a write that was already acknowledged")]
    StaleRetry,
    /// The request's time was up before it was begun, or while it waited to read.
    #[error("timed out: {what}")]
    Timeout {
        /// What was waited for.
        what: Cow<'static, str>,
    },
    /// The node refuses traffic: poisoned storage, wrong cluster, shutting down.
    #[error("this node does not serve: {reason}")]
    NotServing {
        /// Why.
        reason: Cow<'static, str>,
    },
    /// The node is still loading its data.
    #[error("this node is loading its data")]
    Loading,
    /// The session has seen something that this group does not have any more: an operator let it go on after all its in-sync replicas
    /// had lost data, or the token is not of this cluster. Only a new session can read on.
    #[error("what the session has seen of {group} is lost")]
    TokenLost {
        /// The group.
        group: GroupId,
    },
    /// The keys of one request lie in different slots.
    #[error("keys are in different slots")]
    CrossSlot,
    /// The key holds another type than the command works on.
    #[error("the key holds another type")]
    WrongType,
    /// A key, value, request or reply exceeds its limit. Nothing was changed.
    #[error("{what} of {size} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The record could not be read correctly from disk; garbage is never returned.
    #[error("the stored record is corrupt: {what}")]
    Corrupt {
        /// Where.
        what: String,
    },
    /// Any other refusal, with Redis' own text including its code (`ERR syntax error`). Nothing was changed.
    #[error("{0}")]
    Command(Cow<'static, str>),
}

/// Which failure, without its data: for tables that must have a row for each, and as a label that never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureCode {
    /// [`Failure::Moved`].
    Moved,
    /// [`Failure::NotLeader`].
    NotLeader,
    /// [`Failure::NoLeader`].
    NoLeader,
    /// [`Failure::SlotUnserved`].
    SlotUnserved,
    /// [`Failure::TryAgain`].
    TryAgain,
    /// [`Failure::NoReplicas`].
    NoReplicas,
    /// [`Failure::Busy`].
    Busy,
    /// [`Failure::Uncertain`].
    Uncertain,
    /// [`Failure::Expired`].
    Expired,
    /// [`Failure::StaleRetry`].
    StaleRetry,
    /// [`Failure::Timeout`].
    Timeout,
    /// [`Failure::NotServing`].
    NotServing,
    /// [`Failure::Loading`].
    Loading,
    /// [`Failure::TokenLost`].
    TokenLost,
    /// [`Failure::CrossSlot`].
    CrossSlot,
    /// [`Failure::WrongType`].
    WrongType,
    /// [`Failure::TooLarge`].
    TooLarge,
    /// [`Failure::Corrupt`].
    Corrupt,
    /// [`Failure::Command`].
    Command,
}

impl FailureCode {
    /// The code as a metric label: lower case words joined by `_`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.told().name
    }
}

impl Failure {
    /// Which failure this is.
    #[must_use]
    pub const fn code(&self) -> FailureCode {
        match self {
            Self::Moved { .. } => FailureCode::Moved,
            Self::NotLeader { .. } => FailureCode::NotLeader,
            Self::NoLeader { .. } => FailureCode::NoLeader,
            Self::SlotUnserved { .. } => FailureCode::SlotUnserved,
            Self::TryAgain { .. } => FailureCode::TryAgain,
            Self::NoReplicas { .. } => FailureCode::NoReplicas,
            Self::Busy { .. } => FailureCode::Busy,
            Self::Uncertain { .. } => FailureCode::Uncertain,
            Self::Expired => FailureCode::Expired,
            Self::StaleRetry => FailureCode::StaleRetry,
            Self::Timeout { .. } => FailureCode::Timeout,
            Self::NotServing { .. } => FailureCode::NotServing,
            Self::Loading => FailureCode::Loading,
            Self::TokenLost { .. } => FailureCode::TokenLost,
            Self::CrossSlot => FailureCode::CrossSlot,
            Self::WrongType => FailureCode::WrongType,
            Self::TooLarge { .. } => FailureCode::TooLarge,
            Self::Corrupt { .. } => FailureCode::Corrupt,
            Self::Command(_) => FailureCode::Command,
        }
    }

    /// A refusal with Redis' own text, code included.
    #[must_use]
    pub const fn command(text: &'static str) -> Self {
        Self::Command(Cow::Borrowed(text))
    }

    /// Whether a *write* answered with this may nevertheless have been done, now or later.
    #[must_use]
    pub const fn may_have_applied(&self) -> bool {
        self.code().told().may_have_applied
    }
}
