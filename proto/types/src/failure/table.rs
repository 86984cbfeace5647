//! What each failure is called at each door. The one table; docs/errors.md shows it to people, and a test holds the two together.

use std::borrow::Cow;

use super::{Failure, FailureCode};
use crate::{Epoch, GroupId, Slot, SlotMapVersion};

/// How a failure is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The name that never changes: in JSON, in metric labels.
    pub name: &'static str,
    /// The first word of the Redis error. `MOVED` needs an address; without one it is `CLUSTERDOWN`. Empty: the failure brings its
    /// own.
    pub redis: &'static str,
    /// The HTTP status.
    pub http: u16,
    /// The gRPC status code of a unary call.
    pub grpc: i32,
    /// Whether a *write* refused so may nevertheless have been done, now or later. What was true of an earlier attempt of the same
    /// write stays true: a refusal of a retry says nothing about the attempt before it.
    pub may_have_applied: bool,
}

/// gRPC status codes by their names.
mod grpc {
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const INVALID_ARGUMENT: i32 = 3;
    pub(super) const DEADLINE_EXCEEDED: i32 = 4;
    pub(super) const RESOURCE_EXHAUSTED: i32 = 8;
    pub(super) const FAILED_PRECONDITION: i32 = 9;
    pub(super) const UNAVAILABLE: i32 = 14;
    pub(super) const DATA_LOSS: i32 = 15;
}

impl FailureCode {
    /// Every failure there is.
    pub const ALL: [Self; 19] = [
        Self::Moved,
        Self::NotLeader,
        Self::NoLeader,
        Self::SlotUnserved,
        Self::TryAgain,
        Self::NoReplicas,
        Self::Busy,
        Self::Uncertain,
        Self::Expired,
        Self::StaleRetry,
        Self::Timeout,
        Self::NotServing,
        Self::Loading,
        Self::TokenLost,
        Self::CrossSlot,
        Self::WrongType,
        Self::TooLarge,
        Self::Corrupt,
        Self::Command,
    ];

    /// How this failure is told at every door.
    #[must_use]
    pub const fn told(self) -> Told {
        use grpc::{
            DATA_LOSS, DEADLINE_EXCEEDED, FAILED_PRECONDITION, INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNAVAILABLE,
            UNKNOWN,
        };
        match self {
            Self::Moved => refusal("moved", "MOVED", 503, UNAVAILABLE),
            Self::NotLeader => refusal("not_leader", "MOVED", 503, UNAVAILABLE),
            Self::NoLeader => refusal("no_leader", "CLUSTERDOWN", 503, UNAVAILABLE),
            Self::SlotUnserved => refusal("slot_unserved", "CLUSTERDOWN", 503, UNAVAILABLE),
            Self::TryAgain => refusal("try_again", "TRYAGAIN", 503, UNAVAILABLE),
            Self::NoReplicas => refusal("no_replicas", "NOREPLICAS", 503, UNAVAILABLE),
            Self::Busy => refusal("busy", "BUSY", 503, RESOURCE_EXHAUSTED),
            Self::Uncertain => Told { may_have_applied: true, ..refusal("uncertain", "UNCERTAIN", 504, UNKNOWN) },
            Self::Expired => refusal("expired", "EXPIRED", 504, FAILED_PRECONDITION),
            Self::StaleRetry => refusal("stale_retry", "STALERETRY", 504, FAILED_PRECONDITION),
            Self::Timeout => refusal("timeout", "TIMEOUT", 504, DEADLINE_EXCEEDED),
            Self::NotServing => refusal("not_serving", "CLUSTERDOWN", 503, UNAVAILABLE),
            Self::Loading => refusal("loading", "LOADING", 503, UNAVAILABLE),
            Self::TokenLost => refusal("token_lost", "TOKENLOST", 412, DATA_LOSS),
            Self::CrossSlot => refusal("cross_slot", "CROSSSLOT", 400, INVALID_ARGUMENT),
            Self::WrongType => refusal("wrong_type", "WRONGTYPE", 409, INVALID_ARGUMENT),
            Self::TooLarge => refusal("too_large", "ERR", 413, INVALID_ARGUMENT),
            Self::Corrupt => refusal("corrupt", "CORRUPT", 500, DATA_LOSS),
            Self::Command => refusal("command", "", 400, INVALID_ARGUMENT),
        }
    }

    /// A failure of this kind, for tests that walk all of them.
    #[doc(hidden)]
    #[must_use]
    pub fn example(self) -> Failure {
        let (slot, group, address) = (Slot::MIN, GroupId(2), "10.0.0.1:7411".to_owned());
        match self {
            Self::Moved => Failure::Moved { slot, group, node: None, address, version: SlotMapVersion(7) },
            Self::NotLeader => Failure::NotLeader { slot, group, leader: None, address, epoch: Epoch(4) },
            Self::NoLeader => Failure::NoLeader { group },
            Self::SlotUnserved => Failure::SlotUnserved { slot },
            Self::TryAgain => Failure::TryAgain { slot },
            Self::NoReplicas => Failure::NoReplicas { in_sync: 1, required: 2 },
            Self::Busy => Failure::Busy { what: "too many requests in flight" },
            Self::Uncertain => Failure::Uncertain { reason: Cow::Borrowed("the leader changed") },
            Self::Expired => Failure::Expired,
            Self::StaleRetry => Failure::StaleRetry,
            Self::Timeout => Failure::Timeout { what: Cow::Borrowed("a commit") },
            Self::NotServing => Failure::NotServing { reason: Cow::Borrowed("the node is stopping") },
            Self::Loading => Failure::Loading,
            Self::TokenLost => Failure::TokenLost { group },
            Self::CrossSlot => Failure::CrossSlot,
            Self::WrongType => Failure::WrongType,
            Self::TooLarge => Failure::TooLarge { what: "value", size: 9, limit: 8 },
            Self::Corrupt => Failure::Corrupt { what: "segment 3".to_owned() },
            Self::Command => Failure::command("ERR value is not an integer or out of range"),
        }
    }
}

/// A failure that certainly did nothing.
const fn refusal(name: &'static str, redis: &'static str, http: u16, grpc: i32) -> Told {
    Told { name, redis, http, grpc, may_have_applied: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_stands_in_the_table_once() {
        for (place, code) in FailureCode::ALL.into_iter().enumerate() {
            assert_eq!(code.example().code(), code);
            let told = code.told();
            let others = || FailureCode::ALL.into_iter().skip(place + 1).map(FailureCode::told);
            assert!(others().all(|other| other.name != told.name), "{}", told.name);
        }
    }

    /// People read docs/errors.md: its rows are these.
    #[test]
    fn the_document_says_the_same() {
        let document = include_str!("../../../../docs/errors.md");
        for code in FailureCode::ALL {
            let Told { name, redis, http, grpc, may_have_applied } = code.told();
            let redis = if redis.is_empty() { "its own" } else { redis };
            let grpc = ["", "", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "", "", "", "RESOURCE_EXHAUSTED"]
                .into_iter()
                .chain(["FAILED_PRECONDITION", "", "", "", "", "UNAVAILABLE", "DATA_LOSS"])
                .nth(usize::try_from(grpc).unwrap_or(0))
                .unwrap_or_default();
            let applied = if may_have_applied { "**perhaps**" } else { "no" };
            let row = format!("| `{name}` | {redis} | {http} | {grpc} | {applied} |");
            assert!(document.contains(&row), "docs/errors.md lacks\n{row}");
        }
    }
}
