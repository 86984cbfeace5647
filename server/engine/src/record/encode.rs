//! Records into bytes.

use bytes::{BufMut, BytesMut};
use simplekv_types::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use simplekv_types::{GroupTime, Lsn, Slot};

use super::{
    DedupeRow, Element, FLAG_CONTINUES, FLAG_EXPIRES, FLAG_ORIGIN, HEADER_BYTES, NO_SLOT, Origin, Put, Record,
    SlotChange, ValueType,
};
use crate::batch::EncodeError;
use crate::checksum::crc32c;

/// What every record has before its body.
struct Head<'a> {
    kind: u8,
    slot: Option<Slot>,
    value_type: ValueType,
    key: &'a [u8],
    expire_at: Option<GroupTime>,
    origin: Option<Origin>,
}

/// Appends a record that is a unit of its own, as it would stand in a log at `lsn`. On an error nothing is appended.
///
/// # Errors
/// What [`EncodeError`] says about keys, values and bodies that are too large.
pub fn write_record(record: &Record<'_>, lsn: Lsn, to: &mut BytesMut) -> Result<(), EncodeError> {
    encode(record, lsn, false, to)
}

/// Appends one record. On an error nothing is appended.
///
/// # Errors
/// What [`EncodeError`] says about keys, values and bodies that are too large.
pub(crate) fn encode(record: &Record<'_>, lsn: Lsn, continues: bool, to: &mut BytesMut) -> Result<(), EncodeError> {
    check_sizes(record)?;
    let start = to.len();
    match record {
        Record::Put(put) => {
            begin(&head_of_put(put), lsn, continues, put.value.len(), to);
            to.put_slice(put.value);
        }
        Record::Delete { slot, key, origin } => {
            begin(&keyed(record, *slot, key, *origin), lsn, continues, 0, to);
        }
        Record::ElementPut { element, value, value_type, expire_at } => {
            let head = keyed(record, element.slot, element.key, element.origin);
            let head = Head { value_type: *value_type, expire_at: *expire_at, ..head };
            begin(&head, lsn, continues, 12 + element.name.len() + value.len(), to);
            put_element(element, to);
            to.put_slice(value);
        }
        Record::ElementDelete(element) => {
            let head = keyed(record, element.slot, element.key, element.origin);
            begin(&head, lsn, continues, 12 + element.name.len(), to);
            put_element(element, to);
        }
        Record::EpochStart { epoch } => {
            begin(&unkeyed(record, None, None), lsn, continues, 8, to);
            to.put_u64_le(epoch.0);
        }
        Record::Tick => begin(&unkeyed(record, None, None), lsn, continues, 0, to),
        Record::Dedupe(row) => {
            begin(&unkeyed(record, Some(row.slot), row.origin), lsn, continues, 40 + row.result.len(), to);
            put_dedupe(row, to);
        }
        Record::Slots(change) => {
            let ranges = change.slots.iter().count();
            begin(&unkeyed(record, None, change.origin), lsn, continues, 28 + 4 * ranges + change.details.len(), to);
            put_slot_change(change, ranges, to);
        }
        Record::Intent { slot, key, body } => {
            begin(&keyed(record, *slot, key, None), lsn, continues, body.len(), to);
            to.put_slice(body);
        }
    }
    seal(start, to);
    Ok(())
}

fn check_sizes(record: &Record<'_>) -> Result<(), EncodeError> {
    let (key, body) = match record {
        Record::Put(put) => (put.key.len(), put.value.len()),
        Record::Delete { key, .. } => (key.len(), 0),
        Record::ElementPut { element, value, .. } => (element.key.len(), element.name.len() + value.len()),
        Record::ElementDelete(element) => (element.key.len(), element.name.len()),
        Record::EpochStart { .. } | Record::Tick => (0, 0),
        Record::Dedupe(row) => (0, row.result.len()),
        Record::Slots(change) => (0, 4 * change.slots.iter().count() + change.details.len()),
        Record::Intent { key, body, .. } => (key.len(), body.len()),
    };
    if key > KEY_BYTES_MAX {
        return Err(EncodeError::KeyTooLarge { size: key, limit: KEY_BYTES_MAX });
    }
    if body > VALUE_BYTES_MAX {
        return Err(EncodeError::ValueTooLarge { size: body, limit: VALUE_BYTES_MAX });
    }
    Ok(())
}

fn head_of_put<'a>(put: &Put<'a>) -> Head<'a> {
    Head {
        kind: super::kind::PUT,
        slot: Some(put.slot),
        value_type: put.value_type,
        key: put.key,
        expire_at: put.expire_at,
        origin: put.origin,
    }
}

fn keyed<'a>(record: &Record<'_>, slot: Slot, key: &'a [u8], origin: Option<Origin>) -> Head<'a> {
    Head { key, ..unkeyed(record, Some(slot), origin) }
}

fn unkeyed<'a>(record: &Record<'_>, slot: Option<Slot>, origin: Option<Origin>) -> Head<'a> {
    Head { kind: record.kind(), slot, value_type: ValueType::String, key: &[], expire_at: None, origin }
}

/// Everything before the body. The checksum stays open until [`seal`].
#[inline]
fn begin(head: &Head<'_>, lsn: Lsn, continues: bool, body_bytes: usize, to: &mut BytesMut) {
    let mut flags = if continues { FLAG_CONTINUES } else { 0 };
    let mut length = HEADER_BYTES + head.key.len() + body_bytes;
    if head.expire_at.is_some() {
        flags |= FLAG_EXPIRES;
        length += 8;
    }
    if head.origin.is_some() {
        flags |= FLAG_ORIGIN;
        length += 16;
    }
    to.reserve(length);
    let mut fixed = [0; HEADER_BYTES];
    let mut fields = fixed.as_mut_slice();
    fields.put_u32_le(0);
    fields.put_u32_le(u32::try_from(length).expect("sizes were checked against limits far below 4 GiB"));
    fields.put_u64_le(lsn.0);
    fields.put_u8(head.kind);
    fields.put_u8(flags);
    fields.put_u16_le(head.slot.map_or(NO_SLOT, Slot::number));
    fields.put_u8(head.value_type as u8);
    fields.put_u8(0);
    fields.put_u16_le(u16::try_from(head.key.len()).expect("key sizes were checked"));
    to.put_slice(&fixed);
    if let Some(time) = head.expire_at {
        to.put_u64_le(time.0);
    }
    if let Some(origin) = head.origin {
        to.put_u64_le(origin.migration.0);
        to.put_u64_le(origin.lsn.0);
    }
    to.put_slice(head.key);
}

fn seal(start: usize, to: &mut BytesMut) {
    let record = to.get_mut(start..).unwrap_or_default();
    let Some((checksum, covered)) = record.split_first_chunk_mut::<4>() else { return };
    *checksum = crc32c(covered).to_le_bytes();
}

fn put_element(element: &Element<'_>, to: &mut BytesMut) {
    to.put_u64_le(element.incarnation);
    to.put_u32_le(u32::try_from(element.name.len()).expect("sizes were checked"));
    to.put_slice(element.name);
}

fn put_dedupe(row: &DedupeRow<'_>, to: &mut BytesMut) {
    to.put_u128_le(row.client.0);
    to.put_u64_le(row.seq.0);
    to.put_u64_le(row.ack_below.0);
    to.put_u64_le(row.deadline.0);
    to.put_slice(row.result);
}

fn put_slot_change(change: &SlotChange<'_>, ranges: usize, to: &mut BytesMut) {
    to.put_u64_le(change.migration.0);
    to.put_u64_le(change.source.0);
    to.put_u64_le(change.revision);
    to.put_u32_le(u32::try_from(ranges).expect("sizes were checked"));
    for range in change.slots.iter() {
        to.put_u16_le(range.first().number());
        to.put_u16_le(range.last().number());
    }
    to.put_slice(change.details);
}
