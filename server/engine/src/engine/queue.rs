//! Batches on their way from the log into the keydir.

use std::sync::Arc;

use simplekv_collections::{Label, score_in};
use simplekv_types::limits::BATCH_RECORDS_MAX;
use simplekv_types::{Batch, Lsn, Slot, SlotRange};

use crate::applied::Applied;
use crate::batch::BATCH_BYTES_MAX;
use crate::error::AppendError;
use crate::frame::RECORDS_OFFSET;
use crate::key_hash::KeyHasher;
use crate::keydir::{ElementChange, Keydir, Location, NewEntry};
use crate::log::FramePlace;
use crate::pending::Item;
use crate::record::{BadRecord, Layout, Put, Record, SlotChangeKind, ValueType, kind};

/// For so many records at a time the keydir's memory is fetched before the first is applied.
const TOUCHED_AHEAD: usize = 32;

/// A batch that is in the log and not, or not wholly, applied.
#[derive(Debug)]
pub(crate) struct PendingBatch {
    pub(crate) batch: Batch,
    pub(crate) items: Arc<[Item]>,
    /// How many of its records are applied.
    pub(crate) applied: usize,
    pub(crate) frame: FramePlace,
}

/// Takes a batch's records apart, verifying each.
pub(crate) fn take_apart(batch: &Batch, hasher: &KeyHasher) -> Result<Arc<[Item]>, AppendError> {
    let malformed = |what| AppendError::Malformed { base: batch.base, what };
    let count = batch.count as usize;
    if count == 0 || count > BATCH_RECORDS_MAX || batch.records.len() > BATCH_BYTES_MAX {
        return Err(malformed("its size is out of range"));
    }
    let mut items = Vec::with_capacity(count);
    let mut offset = 0;
    while let Some(bytes) = batch.records.get(offset..).filter(|bytes| !bytes.is_empty()) {
        let lsn = batch.base + items.len() as u64;
        let layout = Layout::verify(bytes).map_err(|reason| AppendError::BadRecord { lsn, reason })?;
        if layout.lsn != lsn {
            return Err(malformed("a record has another LSN"));
        }
        let record = layout.record().map_err(|reason| AppendError::BadRecord { lsn, reason })?;
        if layout.kind == kind::INTENT {
            return Err(AppendError::Unsupported { lsn, kind: layout.kind });
        }
        check_collection(&record).map_err(|reason| AppendError::BadRecord { lsn, reason })?;
        let hash = if layout.changes_key() || layout.changes_element() { hasher.hash(layout.key) } else { 0 };
        let at = u32::try_from(offset).expect("a batch is far below 4 GiB");
        items.push(Item {
            hash,
            offset: at,
            kind: layout.kind,
            continues: layout.continues() && offset > 0,
            begins_life: layout.incarnation().is_some(),
        });
        offset += layout.length;
    }
    if items.len() == count {
        Ok(items.into())
    } else {
        Err(malformed("it holds another number of records than it says"))
    }
}

/// Refuses what the index of a collection could not hold.
fn check_collection(record: &Record<'_>) -> Result<(), BadRecord> {
    match record {
        Record::Put(Put { value_type: ValueType::String, .. }) => Ok(()),
        Record::Put(Put { value, .. }) if value.first_chunk::<8>().is_none() => Err(BadRecord::Field("incarnation")),
        Record::ElementPut { element, value, value_type, .. } => match value_type {
            ValueType::Zset if score_in(value).is_none() => Err(BadRecord::Field("score")),
            ValueType::List if Label::from_bytes(element.name).is_none() => Err(BadRecord::Field("label")),
            ValueType::String => Err(BadRecord::Field("value type")),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// What a change of whole slots means to one of them.
fn change_slot(keydir: &mut Keydir, change: SlotChangeKind, slot: Slot) {
    match change {
        SlotChangeKind::ImportBegin => keydir.begin_import(slot),
        SlotChangeKind::Own => keydir.end_import(slot),
        SlotChangeKind::Clear => keydir.clear(slot),
        SlotChangeKind::ImportAbort | SlotChangeKind::Drop | SlotChangeKind::Reconcile => {
            keydir.clear(slot);
            keydir.end_import(slot);
        }
        SlotChangeKind::ImportCursor
        | SlotChangeKind::ImportReady
        | SlotChangeKind::Fence
        | SlotChangeKind::Unfence
        | SlotChangeKind::Pin => (),
    }
}

impl PendingBatch {
    /// `items` are its records.
    pub(crate) fn new(batch: Batch, frame: FramePlace, items: Arc<[Item]>) -> Self {
        Self { batch, items, applied: 0, frame }
    }

    /// Applies records from the first unapplied one on, about `budget` of them but never stopping within a command, and shows those
    /// that are `wanted` to `sink`. Returns how many were applied.
    pub(crate) fn apply(
        &mut self,
        keydir: &mut Keydir,
        budget: usize,
        wanted: fn(&Layout<'_>) -> bool,
        sink: &mut dyn FnMut(Applied<'_>),
    ) -> usize {
        if self.applied == 0 {
            keydir.advance_time(self.batch.time);
        }
        let first = self.applied;
        for (rank, item) in self.items.get(first..).unwrap_or_default().iter().enumerate() {
            if rank >= budget && !item.continues {
                break;
            }
            if rank % TOUCHED_AHEAD == 0 {
                self.touch(keydir, first + rank);
            }
            let layout = self.layout(item);
            self.change(&layout, item, keydir);
            if wanted(&layout) {
                sink(Applied {
                    lsn: layout.lsn,
                    epoch: self.batch.epoch,
                    time: self.batch.time,
                    record: layout.record().expect("the record was verified when it was taken up"),
                });
            }
            self.applied += 1;
        }
        keydir.advance_applied(self.batch.base + self.applied as u64);
        self.applied - first
    }

    /// Prepares for the next few records.
    fn touch(&self, keydir: &Keydir, from: usize) {
        for item in
            self.items.iter().skip(from).take(TOUCHED_AHEAD).filter(|item| item.changes_key() || item.changes_element())
        {
            if let Ok(slot) = self.layout(item).slot() {
                keydir.touch(slot, item.hash);
            }
        }
    }

    /// Shows what is not applied and changes the key, one of its elements or its whole slot.
    pub(crate) fn show_changes(&self, slot: Slot, hash: u64, key: &[u8], show: &mut dyn FnMut(Lsn, Record<'_>)) {
        for item in self.items.iter().skip(self.applied) {
            let of_a_key = item.changes_key() || item.changes_element();
            if of_a_key && item.hash != hash {
                continue;
            }
            let layout = self.layout(item);
            let record = layout.record().expect("the record was verified when it was taken up");
            if record.concerns(slot, key) {
                show(layout.lsn, record);
            }
        }
    }

    pub(crate) fn is_applied(&self) -> bool {
        self.applied == self.items.len()
    }

    fn layout(&self, item: &Item) -> Layout<'_> {
        let bytes = self.batch.records.get(item.offset as usize..).unwrap_or_default();
        Layout::parse(bytes).expect("the record was verified when it was taken up")
    }

    fn change(&self, layout: &Layout<'_>, item: &Item, keydir: &mut Keydir) {
        match item.kind {
            kind::PUT => keydir.put(&NewEntry {
                slot: layout.slot().expect("the record was verified"),
                hash: item.hash,
                key: layout.key,
                lsn: layout.lsn,
                expire_at: layout.expire_at,
                value_type: ValueType::from_code(layout.value_type).expect("the record was verified"),
                incarnation: layout.incarnation(),
                location: self.location(item, layout),
            }),
            kind::ELEMENT_PUT | kind::ELEMENT_DELETE => {
                let (element, value) = layout.element().expect("the record was verified");
                let is_scored = layout.value_type == ValueType::Zset.code();
                let score = Some(value).filter(|_| is_scored).and_then(score_in).unwrap_or(0.0);
                keydir.change_element(&ElementChange {
                    slot: element.slot,
                    hash: item.hash,
                    key: element.key,
                    incarnation: element.incarnation,
                    name: element.name,
                    lsn: layout.lsn,
                    put: (item.kind == kind::ELEMENT_PUT).then(|| (self.location(item, layout), score)),
                });
            }
            kind::DELETE => {
                keydir.delete(layout.slot().expect("the record was verified"), item.hash, layout.key, layout.lsn);
            }
            _ => {
                if let Ok(Record::Slots(change)) = layout.record() {
                    change
                        .slots
                        .iter()
                        .flat_map(SlotRange::iter)
                        .for_each(|slot| change_slot(keydir, change.kind, slot));
                }
            }
        }
    }

    fn location(&self, item: &Item, layout: &Layout<'_>) -> Location {
        let offset = self.frame.offset + RECORDS_OFFSET + u64::from(item.offset);
        Location {
            segment: self.frame.segment,
            offset: u32::try_from(offset).expect("a segment is below 4 GiB"),
            length: u32::try_from(layout.length).expect("a record is far below 4 GiB"),
        }
    }
}
