//! What leaders of a move's groups say to each other, to and from its protobuf messages. Nothing that arrives is trusted.

use bytes::{Bytes, BytesMut};
use simplekv_cluster::migration::{
    Content, Cursor, Fence, Frame, Mark, MoveBody, MoveMessage, Moved, Progress, Pull, PullId,
};
use simplekv_engine::record::{BadRecord, DedupeRow, Record, SlotChange, SlotChangeKind, SlotRanges, write_record};
use simplekv_proto::convert::{Malformed, cluster_id};
use simplekv_proto::v1;
use simplekv_proto::v1::move_frame::Mark as WireMark;
use simplekv_proto::v1::move_message::Body;
use simplekv_types::{ClusterId, Epoch, GroupId, GroupTime, Lineage, Lsn, MigrationId, Slot, SlotRange};

use crate::group::{each_record, leaving};

/// Why a message is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadMove {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("a moved record is damaged: {0}")]
    Record(#[from] BadRecord),
}

/// A message as it arrived.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) cluster: ClusterId,
    pub(crate) to: GroupId,
    pub(crate) message: MoveMessage,
}

/// A message as it travels.
pub(crate) fn leave(cluster: ClusterId, to: GroupId, message: MoveMessage) -> v1::MoveMessage {
    let MoveMessage { migration, pull, from, body } = message;
    v1::MoveMessage {
        cluster_id: Bytes::copy_from_slice(&cluster.0.to_be_bytes()),
        migration: migration.0,
        pull_epoch: pull.epoch.0,
        pull_number: pull.number,
        from_group: from.0,
        to_group: to.0,
        body: Some(leaving_body(body)),
    }
}

fn leaving_body(body: MoveBody) -> Body {
    match body {
        MoveBody::Pull(Pull { lineage, cursor, credit }) => {
            Body::Pull(v1::MovePull { lineage: lineage.0, cursor: cursor.map(leaving_cursor), credit })
        }
        MoveBody::Progress(Progress { credit, committed, time, healthy }) => {
            let committed = committed.map(leaving_cursor);
            Body::Progress(v1::MoveProgress { credit, committed, time: time.0, healthy })
        }
        MoveBody::Frame(Frame { index, from, to, records, mark }) => Body::Frame(v1::MoveFrame {
            index,
            from: from.0,
            to: to.0,
            records: encoded(&records),
            mark: mark.map(leaving_mark),
        }),
        MoveBody::Restart { lineage } => Body::Restart(v1::MoveRestart { lineage: lineage.0 }),
    }
}

fn leaving_cursor(cursor: Cursor) -> v1::MoveCursor {
    v1::MoveCursor { end: cursor.end.0, next_slot: cursor.next_slot.map(|slot| slot.number().into()) }
}

fn leaving_mark(mark: Mark) -> WireMark {
    match mark {
        Mark::Scanned(Some(slot)) => WireMark::ScannedBelow(slot.number().into()),
        Mark::Scanned(None) => WireMark::Scanned(v1::Unit {}),
        Mark::Fenced(Fence { at, time, lives }) => WireMark::Fence(v1::MoveFence { at: at.0, time: time.0, lives }),
    }
}

fn encoded(records: &[Moved]) -> Bytes {
    let size = |moved: &Moved| match &moved.content {
        Content::Put { body, .. } | Content::Delete { body, .. } => body.len(),
        Content::Clear | Content::Row(_) => 128,
    };
    let mut bytes = BytesMut::with_capacity(records.iter().map(size).sum());
    for moved in records {
        let lsn = moved.lsn;
        match &moved.content {
            Content::Put { body, .. } | Content::Delete { body, .. } => bytes.extend_from_slice(body),
            Content::Clear => {
                let range: SlotRange = moved.slot.into();
                let change = SlotChange {
                    kind: SlotChangeKind::Clear,
                    migration: MigrationId::FOUNDING,
                    source: Lsn::ZERO,
                    revision: 0,
                    slots: SlotRanges::Given(&[range]),
                    details: &[],
                    origin: None,
                };
                write_record(&Record::Slots(change), lsn, &mut bytes).expect("one range is no large record");
            }
            Content::Row(row) => {
                for record in row.records(moved.slot) {
                    let row = DedupeRow {
                        slot: record.slot,
                        client: record.client,
                        seq: record.seq,
                        ack_below: record.ack_below,
                        deadline: record.deadline,
                        result: &record.result,
                        origin: None,
                    };
                    write_record(&Record::Dedupe(row), lsn, &mut bytes).expect("it was in a log");
                }
            }
        }
    }
    bytes.freeze()
}

/// A message as it is meant.
///
/// # Errors
/// [`BadMove`]: it is none.
pub(crate) fn arrive(wire: v1::MoveMessage) -> Result<Arrived, BadMove> {
    let cluster = cluster_id(&wire.cluster_id)?;
    let body = arriving_body(wire.body.ok_or(Malformed::Missing("move_message.body"))?)?;
    let pull = PullId { epoch: Epoch(wire.pull_epoch), number: wire.pull_number };
    let (migration, from) = (MigrationId(wire.migration), GroupId(wire.from_group));
    Ok(Arrived { cluster, to: GroupId(wire.to_group), message: MoveMessage { migration, pull, from, body } })
}

fn arriving_body(body: Body) -> Result<MoveBody, BadMove> {
    Ok(match body {
        Body::Pull(wire) => {
            let cursor = wire.cursor.map(arriving_cursor).transpose()?;
            MoveBody::Pull(Pull { lineage: Lineage(wire.lineage), cursor, credit: wire.credit })
        }
        Body::Progress(wire) => {
            let committed = wire.committed.map(arriving_cursor).transpose()?;
            let (credit, time, healthy) = (wire.credit, GroupTime(wire.time), wire.healthy);
            MoveBody::Progress(Progress { credit, committed, time, healthy })
        }
        Body::Frame(wire) => {
            let mut records = Vec::new();
            each_record(&wire.records, |body, decoded| leaving(body, decoded, &[SlotRange::ALL], &mut records))?;
            let mark = wire.mark.map(arriving_mark).transpose()?;
            MoveBody::Frame(Frame { index: wire.index, from: Lsn(wire.from), to: Lsn(wire.to), records, mark })
        }
        Body::Restart(wire) => MoveBody::Restart { lineage: Lineage(wire.lineage) },
    })
}

fn arriving_cursor(wire: v1::MoveCursor) -> Result<Cursor, Malformed> {
    Ok(Cursor { end: Lsn(wire.end), next_slot: wire.next_slot.map(slot).transpose()? })
}

fn arriving_mark(wire: WireMark) -> Result<Mark, Malformed> {
    Ok(match wire {
        WireMark::ScannedBelow(number) => Mark::Scanned(Some(slot(number)?)),
        WireMark::Scanned(_) => Mark::Scanned(None),
        WireMark::Fence(wire) => {
            Mark::Fenced(Fence { at: Lsn(wire.at), time: GroupTime(wire.time), lives: wire.lives })
        }
    })
}

fn slot(number: u32) -> Result<Slot, Malformed> {
    let slot = u16::try_from(number).ok().and_then(Slot::new);
    slot.ok_or(Malformed::Range { field: "slot", got: number.into(), expected: "must be at most 16383" })
}

#[cfg(test)]
mod tests {
    use simplekv_cluster::migration::Place;
    use simplekv_cluster::{DedupeResult, DedupeRow as Row};
    use simplekv_engine::record::{Put, ValueType};
    use simplekv_types::{ClientId, Seq};

    use super::*;

    fn put(key: &'static [u8], lsn: Lsn) -> Moved {
        let slot = Slot::of_key(key);
        let (value, value_type) = (b"value".as_slice(), ValueType::String);
        let record = Record::Put(Put { slot, key, value, value_type, expire_at: None, origin: None });
        let mut bytes = BytesMut::new();
        write_record(&record, lsn, &mut bytes).unwrap();
        let place = Place { key: Bytes::from_static(key), element: None };
        Moved { slot, lsn, content: Content::Put { place, body: bytes.freeze() } }
    }

    fn frame() -> MoveMessage {
        let slot = Slot::MAX;
        let result = |lsn| DedupeResult { deadline: GroupTime(60), lsn, result: Bytes::from_static(b"+OK") };
        let row = Row {
            client: ClientId(7),
            ack_below: Seq(3),
            keep_until: GroupTime::ZERO,
            results: vec![(Seq(4), result(Lsn(12)))],
        };
        let records = vec![
            put(b"one", Lsn(10)),
            Moved { slot, lsn: Lsn(11), content: Content::Clear },
            Moved { slot, lsn: Lsn(12), content: Content::Row(row) },
            put(b"two", Lsn(13)),
        ];
        let mark = Some(Mark::Fenced(Fence { at: Lsn(13), time: GroupTime(77), lives: 5 }));
        let body = MoveBody::Frame(Frame { index: 3, from: Lsn(10), to: Lsn(14), records, mark });
        let pull = PullId { epoch: Epoch(2), number: 9 };
        MoveMessage { migration: MigrationId(5), pull, from: GroupId(1), body }
    }

    #[test]
    fn messages_arrive_as_they_left() {
        let cursor = Some(Cursor { end: Lsn(9), next_slot: Some(Slot::MAX) });
        let all = Some(Cursor { end: Lsn(9), next_slot: None });
        let bodies = [
            MoveBody::Pull(Pull { lineage: Lineage(1), cursor, credit: 8 }),
            MoveBody::Pull(Pull { lineage: Lineage(1), cursor: None, credit: 8 }),
            MoveBody::Progress(Progress { credit: 9, committed: all, time: GroupTime(4), healthy: true }),
            MoveBody::Restart { lineage: Lineage(6) },
            frame().body,
        ];
        for body in bodies {
            let message = MoveMessage { body, ..frame() };
            let arrived = arrive(leave(ClusterId(3), GroupId(2), message.clone())).unwrap();
            assert_eq!((arrived.cluster, arrived.to), (ClusterId(3), GroupId(2)));
            assert_eq!(arrived.message, message);
        }
    }

    #[test]
    fn a_damaged_record_is_noticed() {
        let mut wire = leave(ClusterId(3), GroupId(2), frame());
        let Some(Body::Frame(frame)) = &mut wire.body else { panic!("it is a frame") };
        let mut records = frame.records.to_vec();
        records[30] ^= 1;
        frame.records = records.into();
        assert!(matches!(arrive(wire), Err(BadMove::Record(_))));
        assert!(matches!(arrive(v1::MoveMessage::default()), Err(BadMove::Malformed(_))));
    }
}
