//! The framing of a segment: each append is one or more frames, chained by their checksums.
//!
//! A frame's checksum covers the segment it belongs to, its offset, the checksum of the frame before it and its bytes, so that a
//! frame in the wrong place, or one left over from another life of the file, is never taken for valid. The checksum before it is
//! also stored, so that a frame can be verified although the one before it is damaged.

use bytes::{Buf, BufMut, Bytes};
use simplekv_types::{Batch, Epoch, GroupTime, Lineage, Lsn};

use crate::checksum::crc32c_parts;

/// Bytes of a frame before its payload.
pub(crate) const HEADER_BYTES: usize = 16;
/// Bytes of a BATCH payload before the records.
pub(crate) const BATCH_HEADER_BYTES: usize = 48;
/// Offset of the first record in a BATCH frame.
pub(crate) const RECORDS_OFFSET: u64 = (HEADER_BYTES + BATCH_HEADER_BYTES) as u64;
/// Frames begin at multiples of this. Bounds the places a search for frames has to look at.
pub(crate) const ALIGNMENT: u64 = 8;

const MAGIC: u16 = u16::from_le_bytes(*b"kv");

/// The kinds of frames. 5 is reserved for records rewritten by a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FrameKind {
    /// A batch: the same bytes on every replica.
    Batch = 1,
    /// How far the log was flushed. Local.
    Sync = 2,
    /// The log was cut back to an LSN. Local.
    Trunc = 3,
    /// What the segment continues. Local, always its first frame.
    Link = 4,
}

impl FrameKind {
    fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Batch,
            2 => Self::Sync,
            3 => Self::Trunc,
            4 => Self::Link,
            _ => return None,
        })
    }
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadFrame {
    /// There are only zeros: nothing was written here, or what was written is gone.
    #[error("nothing written")]
    Blank,
    /// The bytes do not begin like a frame.
    #[error("no frame begins here")]
    NoFrame,
    /// The frame would end beyond the segment.
    #[error("a frame of {length} bytes does not fit")]
    CutOff {
        /// The payload's length in bytes, as the frame says.
        length: u32,
    },
    /// The frame's kind has no meaning in this version.
    #[error("frame kind {0} is unknown")]
    UnknownKind(u8),
    /// The checksum does not match the bytes.
    #[error("checksum {stored:08x} stored, {computed:08x} computed")]
    Checksum {
        /// What the frame says.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// The frame is intact but follows another than the one before it.
    #[error("the frame does not continue the one before it")]
    Unchained,
}

/// Where a frame stands; part of its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    /// The checksum of the segment's header.
    pub(crate) salt: u32,
    pub(crate) offset: u64,
}

/// A frame's fixed part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: u8,
    pub(crate) length: u32,
    /// Checksum of the frame before it.
    pub(crate) previous: u32,
    pub(crate) checksum: u32,
}

impl FrameHeader {
    /// # Errors
    /// [`BadFrame::Blank`] or [`BadFrame::NoFrame`].
    pub(crate) fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, BadFrame> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(BadFrame::Blank);
        }
        let mut fields = bytes.as_slice();
        let magic = fields.get_u16_le();
        let kind = fields.get_u8();
        let reserved = fields.get_u8();
        if magic != MAGIC || reserved != 0 {
            return Err(BadFrame::NoFrame);
        }
        Ok(Self { kind, length: fields.get_u32_le(), previous: fields.get_u32_le(), checksum: fields.get_u32_le() })
    }

    /// Whether this looks like a note of a flush.
    pub(crate) fn is_flush(&self) -> bool {
        self.kind == FrameKind::Sync as u8 && self.length as usize == Position::BYTES
    }

    /// Verifies the payload.
    ///
    /// # Errors
    /// [`BadFrame::Checksum`], [`BadFrame::UnknownKind`].
    pub(crate) fn verify(&self, place: Place, payload: &[u8]) -> Result<FrameKind, BadFrame> {
        let head = self.covered(place);
        let computed = crc32c_parts([&head, payload]);
        if computed != self.checksum {
            return Err(BadFrame::Checksum { stored: self.checksum, computed });
        }
        FrameKind::from_number(self.kind).ok_or(BadFrame::UnknownKind(self.kind))
    }

    /// What the checksum covers before the payload.
    fn covered(&self, place: Place) -> [u8; 32] {
        let mut covered = [0; 32];
        let mut fields = covered.as_mut_slice();
        fields.put_u64_le(place.segment);
        fields.put_u64_le(place.offset);
        fields.put_u32_le(place.salt);
        fields.put_u16_le(MAGIC);
        fields.put_u8(self.kind);
        fields.put_u8(0);
        fields.put_u32_le(self.length);
        fields.put_u32_le(self.previous);
        covered
    }
}

/// Appends a frame's header and the small first part of its payload to `to`; `rest` is the payload's other part, written from where
/// it is. Returns the frame's checksum.
pub(crate) fn begin(place: Place, kind: FrameKind, previous: u32, first: &[u8], rest: &[u8], to: &mut Vec<u8>) -> u32 {
    let length = u32::try_from(first.len() + rest.len()).expect("a batch is far below 4 GiB");
    let header = FrameHeader { kind: kind as u8, length, previous, checksum: 0 };
    let mut covered = [0; 32 + BATCH_HEADER_BYTES];
    let mut fields = covered.as_mut_slice();
    fields.put_slice(&header.covered(place));
    fields.put_slice(first);
    let free = fields.len();
    let filled = covered.get(..covered.len() - free).unwrap_or_default();
    let checksum = crc32c_parts([filled, rest]);
    to.put_u16_le(MAGIC);
    to.put_u8(kind as u8);
    to.put_u8(0);
    to.put_u32_le(length);
    to.put_u32_le(previous);
    to.put_u32_le(checksum);
    to.put_slice(first);
    checksum
}

/// Bytes a frame with this payload occupies, the padding to the next one included.
pub(crate) fn framed_bytes(payload: usize) -> u64 {
    ((HEADER_BYTES + payload) as u64).next_multiple_of(ALIGNMENT)
}

/// Bytes of padding behind a payload.
pub(crate) fn padding(payload: usize) -> usize {
    let length = HEADER_BYTES + payload;
    length.next_multiple_of(8) - length
}

/// The fixed part of a BATCH payload.
pub(crate) fn batch_header(batch: &Batch) -> [u8; BATCH_HEADER_BYTES] {
    let mut header = [0; BATCH_HEADER_BYTES];
    let mut fields = header.as_mut_slice();
    fields.put_u64_le(batch.lineage.0);
    fields.put_u64_le(batch.epoch.0);
    fields.put_u64_le(batch.base.0);
    fields.put_u64_le(batch.time.0);
    fields.put_u64_le(batch.high_watermark.0);
    fields.put_u32_le(batch.count);
    header
}

/// The batch of a BATCH payload; its records are made by `take`. `None` if the payload is too short.
pub(crate) fn read_batch(payload: &[u8], take: impl FnOnce(&[u8]) -> Bytes) -> Option<Batch> {
    let (header, records) = payload.split_at_checked(BATCH_HEADER_BYTES)?;
    let mut fields = header;
    Some(Batch {
        lineage: Lineage(fields.get_u64_le()),
        epoch: Epoch(fields.get_u64_le()),
        base: Lsn(fields.get_u64_le()),
        time: GroupTime(fields.get_u64_le()),
        high_watermark: Lsn(fields.get_u64_le()),
        count: fields.get_u32_le(),
        records: take(records),
    })
}

/// A point between two frames of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// Every record below stands before this point.
    pub(crate) lsn: Lsn,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

impl Position {
    pub(crate) const BYTES: usize = 24;

    pub(crate) fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let mut fields = bytes.as_mut_slice();
        fields.put_u64_le(self.lsn.0);
        fields.put_u64_le(self.segment);
        fields.put_u64_le(self.offset);
        bytes
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::BYTES {
            return None;
        }
        Some(Self { lsn: Lsn(bytes.get_u64_le()), segment: bytes.get_u64_le(), offset: bytes.get_u64_le() })
    }
}

/// What a segment continues: the payload of its first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Where the log goes on from. Segment 0 is "nothing": the log begins here.
    pub(crate) from: Position,
    /// Lineage, epoch and group time of the record before.
    pub(crate) lineage: Lineage,
    pub(crate) epoch: Epoch,
    pub(crate) time: GroupTime,
}

impl Link {
    pub(crate) const BYTES: usize = Position::BYTES + 24;

    pub(crate) fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let mut fields = bytes.as_mut_slice();
        fields.put_slice(&self.from.encode());
        fields.put_u64_le(self.lineage.0);
        fields.put_u64_le(self.epoch.0);
        fields.put_u64_le(self.time.0);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (from, mut rest) = bytes.split_at_checked(Position::BYTES)?;
        if rest.len() != 24 {
            return None;
        }
        Some(Self {
            from: Position::decode(from)?,
            lineage: Lineage(rest.get_u64_le()),
            epoch: Epoch(rest.get_u64_le()),
            time: GroupTime(rest.get_u64_le()),
        })
    }
}
