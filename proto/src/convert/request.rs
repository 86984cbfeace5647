//! Identities, read policies and the identity of writes.

use std::time::Duration;

use simplekv_types::{
    ClientId, ClusterId, Dedupe, Epoch, GroupId, GroupTime, Lineage, Lsn, Position, ReadPolicy, Seq, SlotMapVersion,
};

use super::{Malformed, id128};
use crate::v1;

/// A client's identity; `None` if the client gave none.
///
/// # Errors
/// The bytes are neither none nor 16.
pub fn client_id(bytes: &[u8]) -> Result<Option<ClientId>, Malformed> {
    if bytes.is_empty() { Ok(None) } else { Ok(Some(ClientId(id128("client_id", bytes)?))) }
}

/// A cluster's identity.
///
/// # Errors
/// The bytes are not 16.
pub fn cluster_id(bytes: &[u8]) -> Result<ClusterId, Malformed> {
    Ok(ClusterId(id128("cluster_id", bytes)?))
}

impl From<v1::ReadPolicy> for ReadPolicy {
    /// An unknown kind means the strongest promise.
    fn from(wire: v1::ReadPolicy) -> Self {
        let millis = Duration::from_millis(u64::from(wire.millis));
        match wire.kind() {
            v1::read_policy::Kind::Linearizable => Self::Linearizable,
            v1::read_policy::Kind::Leader => Self::Leader,
            v1::read_policy::Kind::Quorum => Self::Quorum,
            v1::read_policy::Kind::Session => Self::Session { wait: millis },
            v1::read_policy::Kind::Bounded => Self::Bounded { max_lag: millis },
            v1::read_policy::Kind::Any => Self::Any,
        }
    }
}

impl From<ReadPolicy> for v1::ReadPolicy {
    fn from(policy: ReadPolicy) -> Self {
        use v1::read_policy::Kind;
        let (kind, duration) = match policy {
            ReadPolicy::Leader => (Kind::Leader, Duration::ZERO),
            ReadPolicy::Quorum => (Kind::Quorum, Duration::ZERO),
            ReadPolicy::Session { wait } => (Kind::Session, wait),
            ReadPolicy::Bounded { max_lag } => (Kind::Bounded, max_lag),
            ReadPolicy::Any => (Kind::Any, Duration::ZERO),
            // The enum is open; what this code does not know gets the strongest promise.
            _ => (Kind::Linearizable, Duration::ZERO),
        };
        Self { kind: kind.into(), millis: u32::try_from(duration.as_millis()).unwrap_or(u32::MAX) }
    }
}

impl TryFrom<v1::Dedupe> for Dedupe {
    type Error = Malformed;

    fn try_from(wire: v1::Dedupe) -> Result<Self, Malformed> {
        let range = |field, got, expected| Malformed::Range { field, got, expected };
        if wire.seq == 0 {
            return Err(range("dedupe.seq", 0, "must be at least 1"));
        }
        if wire.ack_below > wire.seq {
            return Err(range("dedupe.ack_below", wire.ack_below, "must not be above `seq`"));
        }
        if wire.attempt == 0 {
            return Err(range("dedupe.attempt", 0, "must be at least 1"));
        }
        Ok(Self {
            seq: Seq(wire.seq),
            ack_below: Seq(wire.ack_below),
            deadline: GroupTime(wire.deadline),
            attempt: wire.attempt,
        })
    }
}

impl TryFrom<v1::Position> for Position {
    type Error = Malformed;

    fn try_from(wire: v1::Position) -> Result<Self, Malformed> {
        if wire.group == 0 {
            return Err(Malformed::Range { field: "position.group", got: 0, expected: "must be at least 1" });
        }
        Ok(Self {
            group: GroupId(wire.group),
            slots: SlotMapVersion(wire.slots),
            lineage: Lineage(wire.lineage),
            epoch: Epoch(wire.epoch),
            end: Lsn(wire.end),
        })
    }
}

impl From<Position> for v1::Position {
    fn from(Position { group, slots, lineage, epoch, end }: Position) -> Self {
        Self { group: group.0, slots: slots.0, lineage: lineage.0, epoch: epoch.0, end: end.0 }
    }
}

impl From<Dedupe> for v1::Dedupe {
    fn from(dedupe: Dedupe) -> Self {
        Self { seq: dedupe.seq.0, ack_below: dedupe.ack_below.0, deadline: dedupe.deadline.0, attempt: dedupe.attempt }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_without_an_identity_of_its_own_is_refused() {
        for (seq, ack_below, attempt) in [(0, 0, 1), (3, 4, 1), (3, 3, 0)] {
            assert!(Dedupe::try_from(v1::Dedupe { seq, ack_below, deadline: 0, attempt }).is_err());
        }
        let dedupe = Dedupe { seq: Seq(4), ack_below: Seq(4), deadline: GroupTime(9), attempt: 2 };
        assert_eq!(Dedupe::try_from(v1::Dedupe::from(dedupe)), Ok(dedupe));
    }

    #[test]
    fn a_position_is_of_some_group() {
        let position =
            Position { group: GroupId(1), slots: SlotMapVersion(2), lineage: Lineage(3), epoch: Epoch(4), end: Lsn(5) };
        assert_eq!(Position::try_from(v1::Position::from(position)), Ok(position));
        assert!(Position::try_from(v1::Position::default()).is_err());
    }

    #[test]
    fn an_identity_has_sixteen_bytes_or_none() {
        assert_eq!(client_id(&[]), Ok(None));
        assert_eq!(client_id(&[0; 16]), Ok(Some(ClientId(0))));
        assert_eq!(client_id(&[0; 5]), Err(Malformed::IdLength { field: "client_id", got: 5 }));
    }
}
