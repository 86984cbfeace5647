//! The on-disk form of a record: what a batch carries, what a segment stores, what a read verifies.
//!
//! A record knows its own LSN and carries its own CRC-32C, so that it can be verified when it is read alone and keeps its identity
//! when a merge moves it. Nothing in it depends on where it stands. The layout is in `FORMAT.md`; every kind the log will ever need
//! has its number here, also those nobody writes yet.

pub use simplekv_types::ValueType;
use simplekv_types::{ClientId, Epoch, GroupTime, Lsn, MigrationId, Seq, Slot, SlotRange};

mod decode;
mod encode;

pub(crate) use decode::Layout;
pub use decode::{BadRecord, Decoded, Records};
pub(crate) use encode::encode;
pub use encode::write_record;

/// Bytes of the fixed part at the beginning of every record.
pub const HEADER_BYTES: usize = 24;

/// The record's unit did not begin with it: it takes effect together with the record before it.
pub(crate) const FLAG_CONTINUES: u8 = 1;
/// An expiry time follows the header.
pub(crate) const FLAG_EXPIRES: u8 = 2;
/// The origin of a moved record follows the header (and the expiry time).
pub(crate) const FLAG_ORIGIN: u8 = 4;
pub(crate) const FLAGS_KNOWN: u8 = FLAG_CONTINUES | FLAG_EXPIRES | FLAG_ORIGIN;

/// The slot number of a record that belongs to no slot.
pub(crate) const NO_SLOT: u16 = u16::MAX;

/// Where a record of a moving slot came from. Kept so that the target can tell an older copy from a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The migration that carried it.
    pub migration: MigrationId,
    /// Its LSN in the source's log.
    pub lsn: Lsn,
}

/// What a record does. Borrowed: nothing is copied to encode or decode one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A key gets a value; what it had before, an expiry time included, is gone.
    Put(Put<'a>),
    /// A key and everything it holds is gone. A tombstone.
    Delete {
        /// The key's slot.
        slot: Slot,
        /// The key, at most [`simplekv_types::limits::KEY_BYTES_MAX`] bytes.
        key: &'a [u8],
        /// Set on a moved record.
        origin: Option<Origin>,
    },
    /// One element of a collection gets a value.
    ElementPut {
        /// Which element of which key.
        element: Element<'a>,
        /// The element's value; may be empty.
        value: &'a [u8],
        /// The collection's type.
        value_type: ValueType,
        /// When the element expires by itself.
        expire_at: Option<GroupTime>,
    },
    /// One element of a collection is gone.
    ElementDelete(Element<'a>),
    /// A leader took office.
    EpochStart {
        /// Its epoch, as in the batch's header; repeated because a merge keeps records, not headers.
        epoch: Epoch,
    },
    /// Nothing but the batch's group time.
    Tick,
    /// The result of a write, for the case that it is retried.
    Dedupe(DedupeRow<'a>),
    /// A change of whole slots: a clear, or a step of a slot move.
    Slots(SlotChange<'a>),
    /// Reserved for transactions across groups. Stored and passed on, never applied.
    Intent {
        /// The slot whose keys the intent covers.
        slot: Slot,
        /// The key it stands under.
        key: &'a [u8],
        /// Opaque.
        body: &'a [u8],
    },
}

/// A key's new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Put<'a> {
    /// The key's slot.
    pub slot: Slot,
    /// The key, at most [`simplekv_types::limits::KEY_BYTES_MAX`] bytes.
    pub key: &'a [u8],
    /// The value, at most [`simplekv_types::limits::VALUE_BYTES_MAX`] bytes.
    pub value: &'a [u8],
    /// What the value is.
    pub value_type: ValueType,
    /// The group time at which the key vanishes: visible as long as `expire_at` is greater than the applied time.
    pub expire_at: Option<GroupTime>,
    /// Set on a moved record.
    pub origin: Option<Origin>,
}

/// Which element of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// The key's slot.
    pub slot: Slot,
    /// The collection's key.
    pub key: &'a [u8],
    /// Which life of the key the element belongs to: elements of an earlier one are dead.
    pub incarnation: u64,
    /// The element's name within the collection.
    pub name: &'a [u8],
    /// Set on a moved record.
    pub origin: Option<Origin>,
}

/// What a retried write finds: the result of its first execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DedupeRow<'a> {
    /// The slot the row belongs to and moves with.
    pub slot: Slot,
    /// The client.
    pub client: ClientId,
    /// The write's number within its client.
    pub seq: Seq,
    /// Rows of this client with smaller numbers are no longer needed.
    pub ack_below: Seq,
    /// The row may go when group time has passed this.
    pub deadline: GroupTime,
    /// The encoded reply, or this slot's share of it. Opaque.
    pub result: &'a [u8],
    /// Set on a moved record.
    pub origin: Option<Origin>,
}

/// A record about whole slots. What the engine does not interpret of it is the protocol's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotChange<'a> {
    /// Which change.
    pub kind: SlotChangeKind,
    /// The move it belongs to; 0 for a clear.
    pub migration: MigrationId,
    /// An LSN of the source's log, where the step has one: of the fence, of a cursor, of a pin. Else zero.
    pub source: Lsn,
    /// The slot map's version, where the step has one. Else zero.
    pub revision: u64,
    /// The slots.
    pub slots: SlotRanges<'a>,
    /// Opaque: counters, cursors and whatever else the step carries.
    pub details: &'a [u8],
    /// Set on a moved record.
    pub origin: Option<Origin>,
}

/// The changes of whole slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SlotChangeKind {
    /// Every key of the slots is gone (FLUSH).
    Clear = 16,
    /// The slots are being imported from here on; whatever they held before is dead.
    ImportBegin = 17,
    /// How far an import has come.
    ImportCursor = 18,
    /// Everything up to the source's fence has arrived.
    ImportReady = 19,
    /// The import is given up; whatever it brought is dead.
    ImportAbort = 20,
    /// The slots are closed because they are being handed over.
    Fence = 21,
    /// The handover was aborted; the slots are open again.
    Unfence = 22,
    /// The slots belong to this group.
    Own = 23,
    /// The slots have left this group; whatever they held is dead.
    Drop = 24,
    /// Raw records of the slots from `source` on must be kept for a move.
    Pin = 25,
    /// After a new lineage: the slots are not this group's any more; whatever they held is dead.
    Reconcile = 26,
}

impl SlotChangeKind {
    /// The change with this number on disk; `None` if there is none.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            16 => Self::Clear,
            17 => Self::ImportBegin,
            18 => Self::ImportCursor,
            19 => Self::ImportReady,
            20 => Self::ImportAbort,
            21 => Self::Fence,
            22 => Self::Unfence,
            23 => Self::Own,
            24 => Self::Drop,
            25 => Self::Pin,
            26 => Self::Reconcile,
            _ => return None,
        })
    }

    /// Whether every earlier record of the slots is dead from this one on.
    #[must_use]
    pub const fn clears(self) -> bool {
        matches!(self, Self::Clear | Self::ImportBegin | Self::ImportAbort | Self::Drop | Self::Reconcile)
    }

    /// Whether a read of a key in the slots must wait while this record is appended but not applied.
    #[must_use]
    pub const fn holds_reads(self) -> bool {
        !matches!(self, Self::ImportCursor | Self::Pin)
    }
}

/// Slot ranges as given to the encoder or as found in a record.
#[derive(Clone, Copy, Debug)]
pub enum SlotRanges<'a> {
    /// As values.
    Given(&'a [SlotRange]),
    /// As bytes: four for each range, its first and last slot.
    Encoded(&'a [u8]),
}

impl SlotRanges<'_> {
    /// The ranges in the order given.
    pub fn iter(&self) -> impl Iterator<Item = SlotRange> {
        let (given, encoded) = match self {
            Self::Given(ranges) => (*ranges, [].as_slice()),
            Self::Encoded(bytes) => ([].as_slice(), *bytes),
        };
        given.iter().copied().chain(encoded.chunks_exact(4).filter_map(decode::slot_range))
    }

    /// Whether one of the ranges holds the slot.
    #[must_use]
    pub fn contains(&self, slot: Slot) -> bool {
        self.iter().any(|range| range.contains(slot))
    }
}

impl PartialEq for SlotRanges<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SlotRanges<'_> {}

impl Record<'_> {
    /// The number of the kind on disk.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Put(_) => kind::PUT,
            Self::Delete { .. } => kind::DELETE,
            Self::ElementPut { .. } => kind::ELEMENT_PUT,
            Self::ElementDelete(_) => kind::ELEMENT_DELETE,
            Self::EpochStart { .. } => kind::EPOCH_START,
            Self::Tick => kind::TICK,
            Self::Dedupe(_) => kind::DEDUPE,
            Self::Slots(change) => change.kind as u8,
            Self::Intent { .. } => kind::INTENT,
        }
    }

    /// The slot and key the record changes, if it changes one key.
    #[must_use]
    pub const fn key(&self) -> Option<(Slot, &[u8])> {
        match self {
            Self::Put(Put { slot, key, .. }) | Self::Delete { slot, key, .. } => Some((*slot, key)),
            Self::ElementPut { element, .. } | Self::ElementDelete(element) => Some((element.slot, element.key)),
            _ => None,
        }
    }

    /// Whether the record changes a key, one of its elements, or its whole slot.
    #[must_use]
    pub fn concerns(&self, slot: Slot, key: &[u8]) -> bool {
        match self {
            Self::Slots(change) => change.kind.clears() && change.slots.contains(slot),
            record => record.key() == Some((slot, key)),
        }
    }
}

/// The numbers of the kinds on disk; those of slot changes stand at [`SlotChangeKind`].
pub(crate) mod kind {
    pub(crate) const PUT: u8 = 1;
    pub(crate) const DELETE: u8 = 2;
    pub(crate) const ELEMENT_PUT: u8 = 3;
    pub(crate) const ELEMENT_DELETE: u8 = 4;
    pub(crate) const EPOCH_START: u8 = 5;
    pub(crate) const TICK: u8 = 6;
    pub(crate) const DEDUPE: u8 = 7;
    pub(crate) const INTENT: u8 = 32;
}

#[cfg(test)]
mod tests;
