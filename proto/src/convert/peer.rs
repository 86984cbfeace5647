//! Messages between replicas.

use std::time::Duration;

use simplekv_types::peer::{Append, AppendAck, Envelope, Grant, Message, Reject, Sender};
use simplekv_types::{
    Batch, ClusterId, Epoch, GroupId, GroupTime, Lineage, Lsn, Member, NodeId, RunId, StorageId, Tick, limits,
};

use super::{Malformed, id128, id128_bytes};
use crate::v1;
use crate::v1::envelope::Message as Wire;

impl From<Batch> for v1::Batch {
    fn from(batch: Batch) -> Self {
        Self {
            lineage: batch.lineage.0,
            epoch: batch.epoch.0,
            base: batch.base.0,
            count: batch.count,
            time: batch.time.0,
            high_watermark: batch.high_watermark.0,
            records: batch.records,
        }
    }
}

impl TryFrom<v1::Batch> for Batch {
    type Error = Malformed;

    fn try_from(wire: v1::Batch) -> Result<Self, Malformed> {
        let range = |field, got, expected| Malformed::Range { field, got, expected };
        if wire.count == 0 || wire.count as usize > limits::BATCH_RECORDS_MAX {
            return Err(range("batch.count", wire.count.into(), "must be 1 to 65536"));
        }
        if wire.high_watermark > wire.base {
            return Err(range("batch.high_watermark", wire.high_watermark, "must not be above `base`"));
        }
        if wire.base.checked_add(wire.count.into()).is_none() {
            return Err(range("batch.base", wire.base, "must leave room for the records"));
        }
        Ok(Self {
            lineage: Lineage(wire.lineage),
            epoch: Epoch(wire.epoch),
            base: Lsn(wire.base),
            count: wire.count,
            time: GroupTime(wire.time),
            high_watermark: Lsn(wire.high_watermark),
            records: wire.records,
        })
    }
}

impl From<Envelope> for v1::Envelope {
    fn from(envelope: Envelope) -> Self {
        Self {
            cluster_id: id128_bytes(envelope.cluster.0),
            group: envelope.group.0,
            lineage: envelope.lineage.0,
            epoch: envelope.epoch.0,
            from_node: envelope.from.node.0,
            from_storage: id128_bytes(envelope.from.storage.0),
            from_run: envelope.from.run.0,
            to_node: envelope.to.0,
            message: Some(envelope.message.into()),
        }
    }
}

impl TryFrom<v1::Envelope> for Envelope {
    type Error = Malformed;

    fn try_from(wire: v1::Envelope) -> Result<Self, Malformed> {
        Ok(Self {
            cluster: ClusterId(id128("cluster_id", &wire.cluster_id)?),
            group: GroupId(wire.group),
            lineage: Lineage(wire.lineage),
            epoch: Epoch(wire.epoch),
            from: Sender {
                node: NodeId(wire.from_node),
                storage: StorageId(id128("from_storage", &wire.from_storage)?),
                run: RunId(wire.from_run),
            },
            to: NodeId(wire.to_node),
            message: wire.message.ok_or(Malformed::Missing("envelope.message"))?.try_into()?,
        })
    }
}

impl From<Message> for Wire {
    fn from(message: Message) -> Self {
        let end = |log_end: Lsn, last_epoch: Epoch| v1::LogEnd { log_end: log_end.0, last_epoch: last_epoch.0 };
        match message {
            Message::Append(append) => Self::Append(append.into()),
            Message::AppendAck(ack) => Self::AppendAck(ack.into()),
            Message::Revoke { id } => Self::Revoke(v1::Revoke { id }),
            Message::RevokeAck { id } => Self::RevokeAck(v1::Revoke { id }),
            Message::EpochProbe => Self::EpochProbe(v1::EpochProbe {}),
            Message::EpochAck { log_end, last_epoch } => Self::EpochAck(end(log_end, last_epoch)),
            Message::Suspect { last_epoch, log_end } => Self::Suspect(end(log_end, last_epoch)),
            Message::SnapshotOffer { upto } => Self::SnapshotOffer(v1::SnapshotOffer { upto: upto.0 }),
            Message::Leave => Self::Leave(v1::Leave {}),
        }
    }
}

impl TryFrom<Wire> for Message {
    type Error = Malformed;

    fn try_from(wire: Wire) -> Result<Self, Malformed> {
        let end = |wire: v1::LogEnd| (Lsn(wire.log_end), Epoch(wire.last_epoch));
        Ok(match wire {
            Wire::Append(append) => Self::Append(append.try_into()?),
            Wire::AppendAck(ack) => Self::AppendAck(ack.into()),
            Wire::Revoke(revoke) => Self::Revoke { id: revoke.id },
            Wire::RevokeAck(revoke) => Self::RevokeAck { id: revoke.id },
            Wire::EpochProbe(_) => Self::EpochProbe,
            Wire::EpochAck(wire) => {
                let (log_end, last_epoch) = end(wire);
                Self::EpochAck { log_end, last_epoch }
            }
            Wire::Suspect(wire) => {
                let (log_end, last_epoch) = end(wire);
                Self::Suspect { last_epoch, log_end }
            }
            Wire::SnapshotOffer(offer) => Self::SnapshotOffer { upto: Lsn(offer.upto) },
            Wire::Leave(_) => Self::Leave,
        })
    }
}

impl From<Append> for v1::Append {
    fn from(append: Append) -> Self {
        Self {
            prev_end: append.prev_end.0,
            prev_epoch: append.prev_epoch.0,
            batches: append.batches.into_iter().map(v1::Batch::from).collect(),
            high_watermark: append.high_watermark.0,
            time: append.time.0,
            sent_at: append.sent_at.0,
            grant: append.grant.map(|grant| v1::Grant {
                requested_at: grant.requested_at.0,
                for_run: grant.for_run.0,
                duration_ns: u64::try_from(grant.duration.as_nanos()).unwrap_or(u64::MAX),
            }),
            fresh: append.fresh.map(|tick| tick.0),
        }
    }
}

impl TryFrom<v1::Append> for Append {
    type Error = Malformed;

    fn try_from(wire: v1::Append) -> Result<Self, Malformed> {
        let batches: Vec<Batch> = wire.batches.into_iter().map(Batch::try_from).collect::<Result<_, _>>()?;
        let mut end = Lsn(wire.prev_end);
        for batch in &batches {
            if batch.base != end {
                return Err(Malformed::Range {
                    field: "append.batches",
                    got: batch.base.0,
                    expected: "must begin where the records before it end",
                });
            }
            end = batch.end();
        }
        Ok(Self {
            prev_end: Lsn(wire.prev_end),
            prev_epoch: Epoch(wire.prev_epoch),
            batches,
            high_watermark: Lsn(wire.high_watermark),
            time: GroupTime(wire.time),
            sent_at: Tick(wire.sent_at),
            grant: wire.grant.map(|grant| Grant {
                requested_at: Tick(grant.requested_at),
                for_run: RunId(grant.for_run),
                duration: Duration::from_nanos(grant.duration_ns),
            }),
            fresh: wire.fresh.map(Tick),
        })
    }
}

impl From<AppendAck> for v1::AppendAck {
    fn from(ack: AppendAck) -> Self {
        Self {
            verified_end: ack.verified_end.0,
            echo: ack.echo.0,
            sent_at: ack.sent_at.0,
            reject: ack.reject.map(|reject| v1::Reject {
                refused: reject.refused.0,
                hint: reject.hint.0,
                hint_epoch: reject.hint_epoch.0,
            }),
        }
    }
}

impl From<v1::AppendAck> for AppendAck {
    fn from(wire: v1::AppendAck) -> Self {
        Self {
            verified_end: Lsn(wire.verified_end),
            echo: Tick(wire.echo),
            sent_at: Tick(wire.sent_at),
            reject: wire.reject.map(|reject| Reject {
                refused: Lsn(reject.refused),
                hint: Lsn(reject.hint),
                hint_epoch: Epoch(reject.hint_epoch),
            }),
        }
    }
}

impl From<Member> for v1::Member {
    fn from(member: Member) -> Self {
        Self { node: member.node.0, storage: id128_bytes(member.storage.0) }
    }
}

impl TryFrom<v1::Member> for Member {
    type Error = Malformed;

    fn try_from(wire: v1::Member) -> Result<Self, Malformed> {
        Ok(Self { node: NodeId(wire.node), storage: StorageId(id128("member.storage", &wire.storage)?) })
    }
}

/// Who asks for an election, as the message says.
///
/// # Errors
/// The storage incarnation is not 16 bytes.
pub fn election_sender(wire: &v1::ElectionRequest) -> Result<Sender, Malformed> {
    Ok(Sender {
        node: NodeId(wire.from_node),
        storage: StorageId(id128("from_storage", &wire.from_storage)?),
        run: RunId(wire.from_run),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn batch(base: u64) -> Batch {
        Batch {
            lineage: Lineage(1),
            epoch: Epoch(2),
            base: Lsn(base),
            count: 3,
            time: GroupTime(4),
            high_watermark: Lsn(base),
            records: Bytes::from_static(b"x"),
        }
    }

    fn append(batches: Vec<Batch>) -> Append {
        Append {
            prev_end: Lsn(10),
            prev_epoch: Epoch(1),
            batches,
            high_watermark: Lsn(9),
            time: GroupTime(5),
            sent_at: Tick(6),
            grant: Some(Grant { requested_at: Tick(1), for_run: RunId(2), duration: Duration::from_millis(3) }),
            fresh: Some(Tick(0)),
        }
    }

    #[test]
    fn every_message_survives_the_wire() {
        let reject = Some(Reject { refused: Lsn(2), hint: Lsn(1), hint_epoch: Epoch(1) });
        let messages = [
            Message::Append(append(vec![batch(10), batch(13)])),
            Message::AppendAck(AppendAck { verified_end: Lsn(3), echo: Tick(4), sent_at: Tick(5), reject }),
            Message::Revoke { id: 3 },
            Message::RevokeAck { id: 4 },
            Message::EpochProbe,
            Message::EpochAck { log_end: Lsn(1), last_epoch: Epoch(2) },
            Message::Suspect { last_epoch: Epoch(1), log_end: Lsn(2) },
            Message::SnapshotOffer { upto: Lsn(1) },
            Message::Leave,
        ];
        for message in messages {
            let envelope = Envelope {
                cluster: ClusterId(1),
                group: GroupId(2),
                lineage: Lineage(3),
                epoch: Epoch(4),
                from: Sender { node: NodeId(5), storage: StorageId(6), run: RunId(7) },
                to: NodeId(8),
                message,
            };
            assert_eq!(Envelope::try_from(v1::Envelope::from(envelope.clone())), Ok(envelope));
        }
    }

    #[test]
    fn an_append_with_a_hole_is_refused() {
        let holed = v1::Append::from(append(vec![batch(10), batch(14)]));
        assert!(matches!(Append::try_from(holed), Err(Malformed::Range { field: "append.batches", got: 14, .. })));
        let empty = v1::Batch { count: 0, ..batch(1).into() };
        assert!(Batch::try_from(empty).is_err());
    }
}
