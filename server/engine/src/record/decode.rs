//! Bytes into records. Never panics, whatever the bytes are.

use bytes::Buf;
use simplekv_types::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use simplekv_types::{ClientId, Epoch, GroupTime, Lsn, MigrationId, Seq, Slot, SlotRange};

use super::{
    DedupeRow, Element, FLAG_CONTINUES, FLAG_EXPIRES, FLAG_ORIGIN, FLAGS_KNOWN, HEADER_BYTES, NO_SLOT, Origin, Put,
    Record, SlotChange, SlotChangeKind, SlotRanges, ValueType, kind,
};
use crate::checksum::crc32c;

/// No record is longer: every optional part, the longest key, and the longest body with its own fixed part.
const RECORD_BYTES_MAX: usize = HEADER_BYTES + 24 + KEY_BYTES_MAX + 64 + VALUE_BYTES_MAX;

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadRecord {
    /// The bytes end before the record does.
    #[error("the record is cut off")]
    CutOff,
    /// The checksum does not match the bytes.
    #[error("checksum {stored:08x} stored, {computed:08x} computed")]
    Checksum {
        /// What the record says.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// The kind has no meaning in this version.
    #[error("record kind {0} is unknown")]
    UnknownKind(u8),
    /// A field has a value it cannot have.
    #[error("the record's {0} is impossible")]
    Field(&'static str),
}

/// A record as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// Its place in the log.
    pub lsn: Lsn,
    /// Whether it takes effect together with the record before it.
    pub continues: bool,
    /// How many bytes it occupies.
    pub length: usize,
    /// What it does.
    pub record: Record<'a>,
}

/// Where a record's parts are, without looking into its body. The cheap half of decoding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout<'a> {
    pub(crate) lsn: Lsn,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) slot: u16,
    pub(crate) value_type: u8,
    pub(crate) expire_at: Option<GroupTime>,
    pub(crate) origin: Option<Origin>,
    pub(crate) key: &'a [u8],
    pub(crate) body: &'a [u8],
    /// Bytes of the whole record.
    pub(crate) length: usize,
}

impl<'a> Layout<'a> {
    /// Takes the record at the beginning of `bytes` apart without verifying its checksum.
    #[inline]
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, BadRecord> {
        let mut fields = bytes.get(4..HEADER_BYTES).ok_or(BadRecord::CutOff)?;
        let length = fields.get_u32_le() as usize;
        if !(HEADER_BYTES..=RECORD_BYTES_MAX).contains(&length) {
            return Err(BadRecord::Field("length"));
        }
        let mut rest = bytes.get(HEADER_BYTES..length).ok_or(BadRecord::CutOff)?;
        let lsn = Lsn(fields.get_u64_le());
        let kind = fields.get_u8();
        let flags = fields.get_u8();
        let slot = fields.get_u16_le();
        let value_type = fields.get_u8();
        let reserved = fields.get_u8();
        let key_length = usize::from(fields.get_u16_le());
        if flags & !FLAGS_KNOWN != 0 || reserved != 0 {
            return Err(BadRecord::Field("flags"));
        }
        let expire_at = if flags & FLAG_EXPIRES == 0 { None } else { Some(GroupTime(take_u64(&mut rest)?)) };
        let origin = if flags & FLAG_ORIGIN == 0 {
            None
        } else {
            Some(Origin { migration: MigrationId(take_u64(&mut rest)?), lsn: Lsn(take_u64(&mut rest)?) })
        };
        let (key, body) = rest.split_at_checked(key_length).ok_or(BadRecord::Field("key length"))?;
        Ok(Self { lsn, kind, flags, slot, value_type, expire_at, origin, key, body, length })
    }

    /// Takes the record at the beginning of `bytes` apart and verifies its checksum.
    #[inline]
    pub(crate) fn verify(bytes: &'a [u8]) -> Result<Self, BadRecord> {
        let layout = Self::parse(bytes)?;
        let covered = bytes.get(4..layout.length).ok_or(BadRecord::CutOff)?;
        let stored = bytes.first_chunk().map_or(0, |stored| u32::from_le_bytes(*stored));
        let computed = crc32c(covered);
        if stored == computed { Ok(layout) } else { Err(BadRecord::Checksum { stored, computed }) }
    }

    pub(crate) fn continues(&self) -> bool {
        self.flags & FLAG_CONTINUES != 0
    }

    pub(crate) fn slot(&self) -> Result<Slot, BadRecord> {
        Slot::new(self.slot).ok_or(BadRecord::Field("slot"))
    }

    /// Whether the record decides what one key as a whole is.
    pub(crate) fn changes_key(&self) -> bool {
        matches!(self.kind, kind::PUT | kind::DELETE)
    }

    /// Whether the record changes one element of a key.
    pub(crate) fn changes_element(&self) -> bool {
        matches!(self.kind, kind::ELEMENT_PUT | kind::ELEMENT_DELETE)
    }

    /// The value that a key or an element is given: the last bytes of the record.
    #[inline]
    pub(crate) fn value(&self) -> Result<&'a [u8], BadRecord> {
        if self.changes_element() { Ok(self.element()?.1) } else { Ok(self.body) }
    }

    /// The life of its key that a put of a collection is of; `None` if it is no such put.
    pub(crate) fn incarnation(&self) -> Option<u64> {
        let is_collection = self.kind == kind::PUT && self.value_type != ValueType::String.code();
        self.body.first_chunk().filter(|_| is_collection).map(|bytes| u64::from_le_bytes(*bytes))
    }

    pub(crate) fn is_same_key(&self, other: &Layout<'_>) -> bool {
        self.slot == other.slot && self.key == other.key
    }

    fn value_type(&self) -> Result<ValueType, BadRecord> {
        ValueType::from_code(self.value_type).ok_or(BadRecord::Field("value type"))
    }

    /// The record. Checks everything the parts must be.
    pub(crate) fn record(&self) -> Result<Record<'a>, BadRecord> {
        if self.kind != kind::PUT
            && self.kind != kind::ELEMENT_PUT
            && (self.expire_at.is_some() || self.value_type != 0)
        {
            return Err(BadRecord::Field("flags"));
        }
        let record = match self.kind {
            kind::PUT => Record::Put(Put {
                slot: self.slot()?,
                key: self.key,
                value: self.body,
                value_type: self.value_type()?,
                expire_at: self.expire_at,
                origin: self.origin,
            }),
            kind::DELETE => Record::Delete { slot: self.slot()?, key: self.key, origin: self.origin },
            kind::ELEMENT_PUT => {
                let (element, value) = self.element()?;
                Record::ElementPut { element, value, value_type: self.value_type()?, expire_at: self.expire_at }
            }
            kind::ELEMENT_DELETE => match self.element()? {
                (element, []) => Record::ElementDelete(element),
                _ => return Err(BadRecord::Field("length")),
            },
            kind::INTENT => Record::Intent { slot: self.slot()?, key: self.key, body: self.body },
            _ => return self.unkeyed_record(),
        };
        // A body beyond the limit could be written again by nobody.
        if self.body.len() > VALUE_BYTES_MAX + 64 { Err(BadRecord::Field("length")) } else { Ok(record) }
    }

    fn unkeyed_record(&self) -> Result<Record<'a>, BadRecord> {
        if !self.key.is_empty() {
            return Err(BadRecord::Field("key length"));
        }
        if self.kind != kind::DEDUPE && self.slot != NO_SLOT {
            return Err(BadRecord::Field("slot"));
        }
        let mut body = self.body;
        match self.kind {
            kind::EPOCH_START if body.len() == 8 => Ok(Record::EpochStart { epoch: Epoch(take_u64(&mut body)?) }),
            kind::TICK if body.is_empty() => Ok(Record::Tick),
            kind::EPOCH_START | kind::TICK => Err(BadRecord::Field("length")),
            kind::DEDUPE => self.dedupe(),
            other => {
                let kind = SlotChangeKind::from_number(other).ok_or(BadRecord::UnknownKind(other))?;
                self.slot_change(kind)
            }
        }
    }

    /// The element that is meant, and its value.
    pub(crate) fn element(&self) -> Result<(Element<'a>, &'a [u8]), BadRecord> {
        let mut body = self.body;
        let incarnation = take_u64(&mut body)?;
        let name_length = take_u32(&mut body)? as usize;
        let (name, value) = body.split_at_checked(name_length).ok_or(BadRecord::Field("element length"))?;
        Ok((Element { slot: self.slot()?, key: self.key, incarnation, name, origin: self.origin }, value))
    }

    fn dedupe(&self) -> Result<Record<'a>, BadRecord> {
        let mut body = self.body;
        let client = body.split_off(..16).and_then(|id| id.first_chunk::<16>()).ok_or(BadRecord::Field("length"))?;
        Ok(Record::Dedupe(DedupeRow {
            slot: self.slot()?,
            client: ClientId(u128::from_le_bytes(*client)),
            seq: Seq(take_u64(&mut body)?),
            ack_below: Seq(take_u64(&mut body)?),
            deadline: GroupTime(take_u64(&mut body)?),
            result: body,
            origin: self.origin,
        }))
    }

    fn slot_change(&self, kind: SlotChangeKind) -> Result<Record<'a>, BadRecord> {
        let mut body = self.body;
        let migration = MigrationId(take_u64(&mut body)?);
        let source = Lsn(take_u64(&mut body)?);
        let revision = take_u64(&mut body)?;
        let range_bytes = (take_u32(&mut body)? as usize).checked_mul(4).ok_or(BadRecord::Field("slot ranges"))?;
        let (ranges, details) = body.split_at_checked(range_bytes).ok_or(BadRecord::Field("slot ranges"))?;
        if ranges.chunks_exact(4).any(|range| slot_range(range).is_none()) {
            return Err(BadRecord::Field("slot ranges"));
        }
        let slots = SlotRanges::Encoded(ranges);
        Ok(Record::Slots(SlotChange { kind, migration, source, revision, slots, details, origin: self.origin }))
    }
}

impl<'a> Decoded<'a> {
    /// Reads and verifies the record at the beginning of `bytes`.
    ///
    /// # Errors
    /// [`BadRecord`] if the bytes are not a whole, intact record this version understands.
    pub fn read(bytes: &'a [u8]) -> Result<Self, BadRecord> {
        let layout = Layout::verify(bytes)?;
        Ok(Self { lsn: layout.lsn, continues: layout.continues(), length: layout.length, record: layout.record()? })
    }
}

/// The records of a batch, one after the other. Ends after the first bad one.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// The records in `bytes`, which are [`simplekv_types::Batch::records`].
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Decoded<'a>, BadRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let decoded = Decoded::read(self.rest);
        let length = decoded.as_ref().map_or(self.rest.len(), |decoded| decoded.length);
        self.rest = self.rest.get(length..).unwrap_or_default();
        Some(decoded)
    }
}

/// The range in four bytes, if it is one.
pub(super) fn slot_range(bytes: &[u8]) -> Option<SlotRange> {
    let (first, last) = bytes.split_at_checked(2)?;
    let number = |bytes: &[u8]| bytes.first_chunk().map(|bytes| u16::from_le_bytes(*bytes));
    SlotRange::new(Slot::new(number(first)?)?, Slot::new(number(last)?)?)
}

fn take_u64(bytes: &mut &[u8]) -> Result<u64, BadRecord> {
    bytes.try_get_u64_le().map_err(|_| BadRecord::Field("length"))
}

fn take_u32(bytes: &mut &[u8]) -> Result<u32, BadRecord> {
    bytes.try_get_u32_le().map_err(|_| BadRecord::Field("length"))
}
