//! From failures to the error texts Redis clients know. Their first words are those of the table of all errors.
//!
//! Clients decide by the first word: MOVED is followed, CLUSTERDOWN, TRYAGAIN, LOADING and BUSY are retried, the rest is reported. Where
//! Redis has a text for what happened, that text is used to the letter.

use std::borrow::Cow;

use simplekv_types::{Failure, Slot};

/// What a connection too many is told, encoded, before it is closed.
pub const TOO_MANY_CLIENTS: &[u8] = b"-ERR max number of clients reached\r\n";

/// The error a failure is answered with: its code, a space, and what happened.
#[must_use]
pub fn error_text(failure: &Failure) -> Cow<'_, str> {
    let word = failure.code().told().redis;
    match failure {
        Failure::Command(text) => Cow::Borrowed(text),
        Failure::Moved { slot, address, .. } | Failure::NotLeader { slot, address, .. } if !address.is_empty() => {
            moved(*slot, address)
        }
        // Whom to ask is not known yet. The client must neither give up nor ask here in a tight loop.
        Failure::Moved { .. } | Failure::NotLeader { .. } => Cow::Owned(format!("CLUSTERDOWN {failure}")),
        Failure::SlotUnserved { .. } => Cow::Borrowed("CLUSTERDOWN Hash slot not served"),
        Failure::NoReplicas { .. } => Cow::Borrowed("NOREPLICAS Not enough good replicas to write."),
        Failure::Loading => Cow::Borrowed("LOADING Redis is loading the dataset in memory"),
        Failure::CrossSlot => Cow::Borrowed("CROSSSLOT Keys in request don't hash to the same slot"),
        Failure::WrongType => Cow::Borrowed("WRONGTYPE Operation against a key holding the wrong kind of value"),
        _ => Cow::Owned(format!("{word} {failure}")),
    }
}

fn moved(slot: Slot, address: &str) -> Cow<'static, str> {
    Cow::Owned(format!("MOVED {slot} {address}"))
}

#[cfg(test)]
mod tests {
    use simplekv_types::{Epoch, FailureCode, GroupId, NodeId, SlotMapVersion};

    use super::*;

    #[test]
    fn every_error_begins_with_the_word_of_the_table() {
        for code in FailureCode::ALL {
            let text = error_text(&code.example()).into_owned();
            let word = text.split(' ').next().unwrap_or_default();
            let told = code.told().redis;
            assert!(word == told || (told.is_empty() && word == "ERR"), "{code:?}: {text}");
        }
    }

    #[test]
    fn every_failure_has_the_code_clients_act_on() {
        let slot = Slot::of_key(b"foo");
        let group = GroupId(2);
        let node = Some(NodeId(3));
        let moved =
            |address: &str| Failure::Moved { slot, group, node, address: address.into(), version: SlotMapVersion(9) };
        let not_leader =
            |address: &str| Failure::NotLeader { slot, group, leader: node, address: address.into(), epoch: Epoch(4) };
        for (failure, text) in [
            (moved("10.0.0.1:7411"), "MOVED 12182 10.0.0.1:7411"),
            (moved(""), "CLUSTERDOWN slot 12182 belongs to g2 since slot map 9"),
            (not_leader("10.0.0.1:7411"), "MOVED 12182 10.0.0.1:7411"),
            (not_leader(""), "CLUSTERDOWN this node does not lead g2 (epoch 4)"),
            (Failure::NoLeader { group }, "CLUSTERDOWN g2 has no leader"),
            (Failure::SlotUnserved { slot }, "CLUSTERDOWN Hash slot not served"),
            (Failure::TryAgain { slot }, "TRYAGAIN slot 12182 is being moved, try again"),
            (Failure::NoReplicas { in_sync: 1, required: 2 }, "NOREPLICAS Not enough good replicas to write."),
            (Failure::Busy { what: "the group's queue" }, "BUSY overloaded: the group's queue"),
            (
                Failure::Uncertain { reason: "the leader changed".into() },
                "UNCERTAIN the outcome of the write is unknown: the leader changed",
            ),
            (Failure::Expired, "EXPIRED the write's deadline passed, it was not done now"),
            (Failure::StaleRetry, "STALERETRY a retry of a write that was already acknowledged"),
            (Failure::Timeout { what: "the lease".into() }, "TIMEOUT timed out: the lease"),
            (Failure::NotServing { reason: "stopping".into() }, "CLUSTERDOWN this node does not serve: stopping"),
            (Failure::Loading, "LOADING Redis is loading the dataset in memory"),
            (Failure::TokenLost { group }, "TOKENLOST what the session has seen of g2 is lost"),
            (Failure::CrossSlot, "CROSSSLOT Keys in request don't hash to the same slot"),
            (Failure::WrongType, "WRONGTYPE Operation against a key holding the wrong kind of value"),
            (Failure::TooLarge { what: "value", size: 9, limit: 8 }, "ERR value of 9 bytes exceeds the limit of 8"),
            (Failure::Corrupt { what: "segment 3".into() }, "CORRUPT the stored record is corrupt: segment 3"),
            (Failure::command("ERR syntax error"), "ERR syntax error"),
        ] {
            assert_eq!(error_text(&failure), text);
        }
    }
}
