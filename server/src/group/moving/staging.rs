//! Records that arrive with their slots, into the log.

use simplekv_cluster::DedupeRecord;
use simplekv_cluster::migration::{Content, Moved, Step};
use simplekv_engine::EncodeError;
use simplekv_engine::record::{Decoded, DedupeRow, Origin, Put, Record, SlotChange, SlotChangeKind, SlotRanges};
use simplekv_types::{Lsn, MigrationId, SlotRange};
use tracing::error;

use crate::group::{Clock, Group, Respond, UNCOMMITTED_BYTES_MAX};

impl<R: Respond> Group<R> {
    /// Logs what has arrived, and how far the move has come by it, in one batch; true if that is done.
    pub(super) fn stage(
        &mut self,
        clock: &impl Clock,
        migration: MigrationId,
        records: Vec<Moved>,
        cursor: Step,
    ) -> bool {
        if self.uncommitted_bytes > UNCOMMITTED_BYTES_MAX
            || self.open_batch(clock).is_err()
            || self.slots.table().appended().check(&cursor).is_err()
        {
            self.close_batch(clock);
            return false;
        }
        let checkpoint = self.builder.checkpoint();
        let mut rows = Vec::new();
        let staged =
            records.iter().try_for_each(|moved| self.stage_record(migration, moved, &mut rows)).and_then(|()| {
                rows.into_iter().for_each(|(lsn, row)| self.dedupe.append(lsn, row));
                self.push_step(cursor)
            });
        if let Err(error) = &staged {
            // It is sent again, and comes to nothing again, until the move is aborted or this node takes larger values.
            error!(group = %self.id, %migration, %error, "what a move brings cannot be logged here");
            self.builder.roll_back(checkpoint);
        }
        let bytes = self.builder.bytes() as u64;
        self.close_batch(clock);
        self.moving.log_changed();
        if staged.is_ok() {
            self.moving.took_in(migration, clock.now(), records.len() as u64, bytes);
        }
        staged.is_ok()
    }

    fn stage_record(
        &mut self,
        migration: MigrationId,
        moved: &Moved,
        rows: &mut Vec<(Lsn, DedupeRecord)>,
    ) -> Result<(), EncodeError> {
        let origin = Some(Origin { migration, lsn: moved.lsn });
        match &moved.content {
            Content::Put { body, .. } | Content::Delete { body, .. } => {
                // What cannot be read was refused where it arrived.
                if let Ok(decoded) = Decoded::read(body) {
                    self.builder.push(&with_origin(decoded.record, origin))?;
                }
            }
            Content::Clear => {
                let range: SlotRange = moved.slot.into();
                self.builder.push(&Record::Slots(SlotChange {
                    kind: SlotChangeKind::Clear,
                    migration,
                    source: Lsn::ZERO,
                    revision: 0,
                    slots: SlotRanges::Given(&[range]),
                    details: &[],
                    origin,
                }))?;
            }
            Content::Row(row) => {
                for record in row.records(moved.slot) {
                    let DedupeRecord { slot, client, seq, ack_below, deadline, result } = &record;
                    let (slot, client, seq, ack_below, deadline) = (*slot, *client, *seq, *ack_below, *deadline);
                    let row = DedupeRow { slot, client, seq, ack_below, deadline, result, origin };
                    let lsn = self.builder.push(&Record::Dedupe(row))?;
                    rows.push((lsn, record));
                }
            }
        }
        self.builder.end_command();
        Ok(())
    }
}

fn with_origin(record: Record<'_>, origin: Option<Origin>) -> Record<'_> {
    match record {
        Record::Put(put) => Record::Put(Put { origin, ..put }),
        Record::Delete { slot, key, .. } => Record::Delete { slot, key, origin },
        Record::ElementPut { mut element, value, value_type, expire_at } => {
            element.origin = origin;
            Record::ElementPut { element, value, value_type, expire_at }
        }
        Record::ElementDelete(mut element) => {
            element.origin = origin;
            Record::ElementDelete(element)
        }
        other => other,
    }
}
