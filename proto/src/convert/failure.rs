//! Failures. An unknown code from a newer peer becomes a plain error with its message: it must not break the stream.

use std::borrow::Cow;

use simplekv_types::{Epoch, Failure, GroupId, NodeId, Slot, SlotMapVersion};

use crate::v1;
use crate::v1::failure::Code;

impl From<Failure> for v1::Failure {
    fn from(failure: Failure) -> Self {
        let message = failure.to_string();
        let of = |code: Code| Self { code: code.into(), ..Self::default() };
        let with = |code: Code, message: String| Self { code: code.into(), message, ..Self::default() };
        match failure {
            Failure::Moved { slot, group, node, address, version } => {
                Self { version: version.0, ..redirect(Code::Moved, slot, group, node, address) }
            }
            Failure::NotLeader { slot, group, leader, address, epoch } => {
                Self { version: epoch.0, ..redirect(Code::NotLeader, slot, group, leader, address) }
            }
            Failure::NoLeader { group } => Self { group: group.0, ..of(Code::NoLeader) },
            Failure::SlotUnserved { slot } => Self { slot: slot.number().into(), ..of(Code::SlotUnserved) },
            Failure::TryAgain { slot } => Self { slot: slot.number().into(), ..of(Code::TryAgain) },
            Failure::NoReplicas { in_sync, required } => {
                Self { size: in_sync.into(), limit: required.into(), ..of(Code::NoReplicas) }
            }
            Failure::Busy { what } => with(Code::Busy, what.to_owned()),
            Failure::Uncertain { reason } => with(Code::Uncertain, reason.into_owned()),
            Failure::Expired => of(Code::Expired),
            Failure::StaleRetry => of(Code::StaleRetry),
            Failure::Timeout { what } => with(Code::Timeout, what.into_owned()),
            Failure::NotServing { reason } => with(Code::NotServing, reason.into_owned()),
            Failure::Loading => of(Code::Loading),
            Failure::TokenLost { group } => Self { group: group.0, ..of(Code::TokenLost) },
            Failure::CrossSlot => of(Code::CrossSlot),
            Failure::WrongType => of(Code::WrongType),
            Failure::TooLarge { what, size, limit } => Self { size, limit, ..with(Code::TooLarge, what.to_owned()) },
            Failure::Corrupt { what } => with(Code::Corrupt, what),
            Failure::Command(text) => with(Code::Command, text.into_owned()),
            _ => with(Code::Command, format!("ERR {message}")),
        }
    }
}

fn redirect(code: Code, slot: Slot, group: GroupId, node: Option<NodeId>, address: String) -> v1::Failure {
    v1::Failure {
        code: code.into(),
        slot: slot.number().into(),
        group: group.0,
        node: node.map_or(0, |node| node.0),
        address,
        ..v1::Failure::default()
    }
}

impl From<v1::Failure> for Failure {
    fn from(wire: v1::Failure) -> Self {
        let code = wire.code();
        let message = Cow::<'static, str>::Owned(wire.message);
        let group = GroupId(wire.group);
        let node = (wire.node != 0).then_some(NodeId(wire.node));
        let Some(slot) = u16::try_from(wire.slot).ok().and_then(Slot::new) else {
            return Self::Command(Cow::Owned(format!("ERR a peer named slot {}, which does not exist", wire.slot)));
        };
        let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        match code {
            Code::Moved => {
                Self::Moved { slot, group, node, address: wire.address, version: SlotMapVersion(wire.version) }
            }
            Code::NotLeader => {
                Self::NotLeader { slot, group, leader: node, address: wire.address, epoch: Epoch(wire.version) }
            }
            Code::NoLeader => Self::NoLeader { group },
            Code::SlotUnserved => Self::SlotUnserved { slot },
            Code::TryAgain => Self::TryAgain { slot },
            Code::NoReplicas => Self::NoReplicas { in_sync: count(wire.size), required: count(wire.limit) },
            Code::Busy => Self::Busy { what: known(&message, &["too many requests in flight"], "the node is busy") },
            Code::Uncertain => Self::Uncertain { reason: message },
            Code::Expired => Self::Expired,
            Code::StaleRetry => Self::StaleRetry,
            Code::Timeout => Self::Timeout { what: message },
            Code::NotServing => Self::NotServing { reason: message },
            Code::Loading => Self::Loading,
            Code::TokenLost => Self::TokenLost { group },
            Code::CrossSlot => Self::CrossSlot,
            Code::WrongType => Self::WrongType,
            Code::TooLarge => Self::TooLarge {
                what: known(&message, &["key", "value", "request", "reply", "batch"], "request"),
                size: wire.size,
                limit: wire.limit,
            },
            Code::Corrupt => Self::Corrupt { what: message.into_owned() },
            Code::Command => Self::Command(message),
            Code::Unspecified => Self::Command(Cow::Owned(format!("ERR {message}"))),
        }
    }
}

fn known(text: &str, words: &[&'static str], otherwise: &'static str) -> &'static str {
    words.iter().find(|word| **word == text).copied().unwrap_or(otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_survives_the_wire() {
        let slot = Slot::MAX;
        let failures = [
            Failure::Moved {
                slot,
                group: GroupId(2),
                node: Some(NodeId(3)),
                address: "h:1".into(),
                version: SlotMapVersion(7),
            },
            Failure::NotLeader { slot, group: GroupId(2), leader: None, address: String::new(), epoch: Epoch(4) },
            Failure::NoLeader { group: GroupId(1) },
            Failure::SlotUnserved { slot: Slot::MIN },
            Failure::TryAgain { slot },
            Failure::NoReplicas { in_sync: 1, required: 2 },
            Failure::Busy { what: "too many requests in flight" },
            Failure::Uncertain { reason: "leader changed".into() },
            Failure::Expired,
            Failure::StaleRetry,
            Failure::Timeout { what: "a commit".into() },
            Failure::NotServing { reason: "stopping".into() },
            Failure::Loading,
            Failure::TokenLost { group: GroupId(3) },
            Failure::CrossSlot,
            Failure::WrongType,
            Failure::TooLarge { what: "key", size: 70_000, limit: 65_535 },
            Failure::Corrupt { what: "segment 3".into() },
            Failure::command("ERR syntax error"),
        ];
        for failure in failures {
            assert_eq!(Failure::from(v1::Failure::from(failure.clone())), failure);
        }
    }
}
