//! What can go wrong, as facts with their data.

use std::sync::Arc;
use std::time::Duration;

use simplekv_types::{Failure, GroupId, InvalidToken, Slot};

use crate::{Key, RequestId};

/// The result of a request.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a connection to a node failed or ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address}: {reason}")]
pub struct TransportError {
    /// The node's address.
    pub address: Arc<str>,
    /// What happened, for people.
    pub reason: Arc<str>,
}

/// Why a request failed. By then everything that could be retried was retried.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// None of the seeds could be asked for the topology.
    #[error("no seed is reachable: {}", Tried(tried))]
    NoSeed {
        /// Each seed with what happened.
        tried: Vec<TransportError>,
    },
    /// A setting is wrong.
    #[error("invalid setting `{field}`: {reason}")]
    Config {
        /// The setting.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The deadline passed. A write that ends so was certainly not done.
    #[error("timed out after {elapsed:?} and {attempts} attempts, the last: {last}")]
    Timeout {
        /// Time since the request was made.
        elapsed: Duration,
        /// How often it was sent to a node.
        attempts: u32,
        /// What happened last.
        last: Box<Error>,
    },
    /// The write may or may not have been done: it was sent, and nobody could say before the deadline what became of it.
    #[error("the outcome of the write is unknown: {source}")]
    OutcomeUnknown {
        /// The write's identity, if it had one: the same write can be asked for again under it.
        id: Option<RequestId>,
        /// Why it is unknown.
        source: Box<Error>,
    },
    /// The group has no leader that can answer.
    #[error("{group} has no leader")]
    NoLeader {
        /// The group.
        group: GroupId,
    },
    /// No group owns the slot of the request's keys, or the slot map is not known yet.
    #[error("slot {slot} is not served by any group")]
    SlotUnserved {
        /// The slot.
        slot: Slot,
    },
    /// Too few replicas are in sync; the write was not done.
    #[error("{have} replicas in sync, {need} required: the write was not done")]
    NotEnoughInSync {
        /// How many keep up.
        have: u32,
        /// The group's minimum.
        need: u32,
    },
    /// What the session has seen of a group is lost: only a new session can read on.
    #[error("what the session has seen of {group} is lost")]
    TokenLost {
        /// The group.
        group: GroupId,
    },
    /// The text is not a session token.
    #[error(transparent)]
    InvalidToken(#[from] InvalidToken),
    /// The key holds another type than the command works on.
    #[error("the key holds another type")]
    WrongType,
    /// The keys of one command lie in different slots.
    #[error("keys are in different slots: {first} and {second}")]
    CrossSlot {
        /// The slot of the first key.
        first: Slot,
        /// The slot of a later one.
        second: Slot,
    },
    /// The keys of an [`Atomic`](crate::Atomic) belong to different groups; nothing was done.
    #[error("keys belong to different groups: {} and {}: nothing was done", Named(first), Named(second))]
    SeveralGroups {
        /// One key.
        first: Key,
        /// One that belongs to another group.
        second: Key,
    },
    /// A key, value, request or reply exceeds its limit; nothing was done.
    #[error("{what} of {size} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Too many requests are in flight, here or at the node; nothing was done.
    #[error("overloaded: {what}")]
    Overloaded {
        /// Which limit.
        what: &'static str,
    },
    /// The node refused the request for another reason.
    #[error("{0}")]
    Server(Failure),
    /// The connection failed before the request was sent, or a read's was lost, or its answer could not be read.
    #[error("{0}")]
    Transport(TransportError),
    /// The node did not answer an attempt in time.
    #[error("no answer within {after:?}")]
    NoAnswer {
        /// How long the attempt was waited for.
        after: Duration,
    },
    /// The node answered a shape this command never answers.
    #[error("unexpected answer to {command}: {got}")]
    Unexpected {
        /// The command.
        command: &'static str,
        /// The answer.
        got: String,
    },
    /// A command over several slots failed on some of them and was done on the others.
    #[error("{failed} of {parts} parts failed, the first: {source}")]
    Partial {
        /// How many slots the command was split over.
        parts: usize,
        /// On how many it failed.
        failed: usize,
        /// The first failure.
        source: Box<Error>,
    },
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

impl Error {
    /// Whether the same request may succeed if it is simply made again. For a write whose outcome is unknown that is so only under
    /// its request id; without it the write might be done twice.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoSeed { .. }
            | Self::Timeout { .. }
            | Self::NoLeader { .. }
            | Self::SlotUnserved { .. }
            | Self::NotEnoughInSync { .. }
            | Self::Overloaded { .. }
            | Self::Transport(_)
            | Self::NoAnswer { .. } => true,
            Self::OutcomeUnknown { id, .. } => id.is_some(),
            Self::Partial { source, .. } => source.is_retryable(),
            Self::Config { .. }
            | Self::TokenLost { .. }
            | Self::InvalidToken(_)
            | Self::WrongType
            | Self::CrossSlot { .. }
            | Self::SeveralGroups { .. }
            | Self::TooLarge { .. }
            | Self::Server(_)
            | Self::Unexpected { .. }
            | Self::Closed => false,
        }
    }

    /// Whether a *write* that failed so may nevertheless have been done. `false` only when it certainly was not.
    #[must_use]
    pub fn may_have_applied(&self) -> bool {
        match self {
            Self::OutcomeUnknown { .. } | Self::Unexpected { .. } | Self::Partial { .. } => true,
            Self::Server(failure) => failure.may_have_applied(),
            _ => false,
        }
    }

    /// A short name that never changes, for metric labels.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSeed { .. } => "no_seed",
            Self::Config { .. } => "config",
            Self::Timeout { .. } => "timeout",
            Self::OutcomeUnknown { .. } => "outcome_unknown",
            Self::NoLeader { .. } => "no_leader",
            Self::SlotUnserved { .. } => "slot_unserved",
            Self::NotEnoughInSync { .. } => "not_enough_in_sync",
            Self::TokenLost { .. } => "token_lost",
            Self::InvalidToken(_) => "invalid_token",
            Self::WrongType => "wrong_type",
            Self::CrossSlot { .. } => "cross_slot",
            Self::SeveralGroups { .. } => "several_groups",
            Self::TooLarge { .. } => "too_large",
            Self::Overloaded { .. } => "overloaded",
            Self::Server(failure) => failure.code().as_str(),
            Self::Transport(_) => "transport",
            Self::NoAnswer { .. } => "no_answer",
            Self::Unexpected { .. } => "unexpected",
            Self::Partial { .. } => "partial",
            Self::Closed => "closed",
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoLeader { group } => Self::NoLeader { group },
            Failure::SlotUnserved { slot } => Self::SlotUnserved { slot },
            Failure::NoReplicas { in_sync, required } => Self::NotEnoughInSync { have: in_sync, need: required },
            Failure::TokenLost { group } => Self::TokenLost { group },
            Failure::WrongType => Self::WrongType,
            Failure::TooLarge { what, size, limit } => Self::TooLarge { what, size, limit },
            Failure::Busy { what } => Self::Overloaded { what },
            other => Self::Server(other),
        }
    }
}

struct Named<'a>(&'a Key);

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = self.0.as_ref();
        write!(f, "'{}' (slot {})", String::from_utf8_lossy(key), Slot::of_key(key))
    }
}

struct Tried<'a>(&'a [TransportError]);

impl std::fmt::Display for Tried<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use simplekv_types::FailureCode;

    use super::*;

    #[test]
    fn an_error_leaves_open_what_its_failure_leaves_open() {
        for code in FailureCode::ALL {
            let error = Error::from(code.example());
            assert_eq!(error.may_have_applied(), code.told().may_have_applied, "{error}");
        }
    }
}
