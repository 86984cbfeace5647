//! Commands on the bits of a string. Bit 0 is the highest of the first byte.

use bytes::{Bytes, BytesMut};
use simplekv_resp::command::{BitFieldStep, BitInteger, BitOperation, BitRange, Overflow};
use simplekv_types::{Failure, GroupTime, Reply, ValueType};

use crate::string::check_length;
use crate::{Keyspace, View, int, visible_string};

pub(crate) fn get_bit(key: &[u8], offset: u64, view: &dyn View, now: GroupTime) -> Result<Reply, Failure> {
    let value = visible_string(key, view, now)?.map(|entry| entry.value).unwrap_or_default();
    Ok(Reply::Int(i64::from(bit(&value, offset))))
}

pub(crate) fn set_bit(
    key: &Bytes,
    offset: u64,
    on: bool,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    let old = visible_string(key, keyspace, now)?;
    let (value, expire_at) = old.map(|entry| (entry.value, entry.expire_at)).unwrap_or_default();
    let was = bit(&value, offset);
    let mut new = extended(&value, offset, keyspace)?;
    if was != on || new.len() != value.len() {
        set(&mut new, offset, on);
        keyspace.put(key, ValueType::String, new.freeze(), expire_at);
    }
    Ok(Reply::Int(i64::from(was)))
}

pub(crate) fn bit_count(
    key: &[u8],
    range: Option<BitRange>,
    view: &dyn View,
    now: GroupTime,
) -> Result<Reply, Failure> {
    let value = visible_string(key, view, now)?.map(|entry| entry.value).unwrap_or_default();
    // Both before the beginning, and the wrong way round: nothing, although clamping would make it the first one.
    let is_backward =
        range.is_some_and(|BitRange { start, end, .. }| start < 0 && end.is_some_and(|end| end < 0 && start > end));
    let Some((first, last)) = bounds(&value, range).filter(|_| !is_backward) else { return Ok(Reply::Int(0)) };
    Ok(int(parts(&value, first, last).map(|(byte, mask)| (byte & mask).count_ones() as usize).sum()))
}

pub(crate) fn bit_pos(
    key: &[u8],
    on: bool,
    range: Option<BitRange>,
    view: &dyn View,
    now: GroupTime,
) -> Result<Reply, Failure> {
    let Some(entry) = visible_string(key, view, now)? else { return Ok(Reply::Int(if on { -1 } else { 0 })) };
    let value = entry.value;
    let Some((first, last)) = bounds(&value, range) else { return Ok(Reply::Int(-1)) };
    let mut begins = first - first % 8;
    for (byte, mask) in parts(&value, first, last) {
        let found = if on { byte & mask } else { !byte & mask };
        if found != 0 {
            return Ok(position(begins + u64::from(found.leading_zeros())));
        }
        begins += 8;
    }
    // Behind the value everything is zero, unless somebody has said where to stop.
    let is_open = range.is_none_or(|range| range.end.is_none());
    Ok(if !on && is_open { position(value.len() as u64 * 8) } else { Reply::Int(-1) })
}

pub(crate) fn bit_op(
    operation: BitOperation,
    to: &Bytes,
    keys: &[Bytes],
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    let mut values = Vec::with_capacity(keys.len());
    for key in keys {
        values.push(visible_string(key, keyspace, now)?.map(|entry| entry.value).unwrap_or_default());
    }
    let len = values.iter().map(Bytes::len).max().unwrap_or(0);
    if len == 0 {
        if crate::visible_meta(to, keyspace, now)?.is_some() {
            keyspace.delete(to);
        }
        return Ok(Reply::Int(0));
    }
    let combine: fn(u8, u8) -> u8 = match operation {
        BitOperation::And => |a, b| a & b,
        BitOperation::Or => |a, b| a | b,
        BitOperation::Xor => |a, b| a ^ b,
        BitOperation::Not => |_, b| !b,
    };
    let mut made = BytesMut::zeroed(len);
    for (rank, value) in values.iter().enumerate() {
        let rest = std::iter::repeat_n(&0, len - value.len());
        for (to, from) in made.iter_mut().zip(value.iter().chain(rest)) {
            *to = if rank == 0 && operation != BitOperation::Not { *from } else { combine(*to, *from) };
        }
    }
    keyspace.put(to, ValueType::String, made.freeze(), None);
    Ok(int(len))
}

/// Only reads, if no step changes anything.
pub(crate) fn bit_field_get(
    key: &[u8],
    steps: &[BitFieldStep],
    view: &dyn View,
    now: GroupTime,
) -> Result<Reply, Failure> {
    let value = visible_string(key, view, now)?.map(|entry| entry.value).unwrap_or_default();
    let read = |step: &BitFieldStep| match step {
        BitFieldStep::Get(place) | BitFieldStep::Set(place, ..) | BitFieldStep::IncrBy(place, ..) => {
            Reply::Int(read(&value, *place))
        }
    };
    Ok(Reply::Array(steps.iter().map(read).collect()))
}

pub(crate) fn bit_field(
    key: &Bytes,
    steps: &[BitFieldStep],
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    let end = |step: &BitFieldStep| match step {
        BitFieldStep::Get(_) => None,
        BitFieldStep::Set(place, ..) | BitFieldStep::IncrBy(place, ..) => {
            Some(place.offset + u64::from(place.width) - 1)
        }
    };
    let Some(end) = steps.iter().filter_map(end).max() else { return bit_field_get(key, steps, keyspace, now) };
    let old = visible_string(key, keyspace, now)?;
    let (value, expire_at) = old.map(|entry| (entry.value, entry.expire_at)).unwrap_or_default();
    let mut new = extended(&value, end, keyspace)?;
    let mut changes = false;
    let replies = steps.iter().map(|step| {
        let (place, given, overflow, adds) = match *step {
            BitFieldStep::Get(place) => return Reply::Int(read(&new, place)),
            BitFieldStep::Set(place, value, overflow) => (place, value, overflow, false),
            BitFieldStep::IncrBy(place, by, overflow) => (place, by, overflow, true),
        };
        let was = read(&new, place);
        let wanted = match (adds, place.signed) {
            (true, _) => i128::from(was) + i128::from(given),
            (false, true) if overflow == Overflow::Saturate && is_taken_for_great(given, place) => i128::MAX,
            (false, true) => i128::from(given),
            // A negative number is a great one without a sign.
            (false, false) => i128::from(given.cast_unsigned()),
        };
        let Some(fits) = fitted(wanted, place, overflow) else { return Reply::Null };
        changes = true;
        write(&mut new, place, fits);
        Reply::Int(if adds { fits } else { was })
    });
    let replies = replies.collect();
    // As in Redis the value becomes long enough even if nothing fits.
    if changes || new.len() != value.len() {
        keyspace.put(key, ValueType::String, new.freeze(), expire_at);
    }
    Ok(Reply::Array(replies))
}

/// Whether Redis takes a number for one above a field's range that is far below it: the distance to the greatest that fits overflows.
fn is_taken_for_great(number: i64, place: BitInteger) -> bool {
    place.width < 64 && ((1_i64 << (place.width - 1)) - 1).checked_sub(number).is_none()
}

/// What becomes of a number in a field.
fn fitted(number: i128, place: BitInteger, overflow: Overflow) -> Option<i64> {
    let (least, greatest) = match place.signed {
        true => (-(1_i128 << (place.width - 1)), (1_i128 << (place.width - 1)) - 1),
        false => (0, (1_i128 << place.width) - 1),
    };
    let fits = match overflow {
        _ if (least..=greatest).contains(&number) => number,
        Overflow::Saturate => number.clamp(least, greatest),
        Overflow::Fail => return None,
        Overflow::Wrap => {
            let low = number & ((1_i128 << place.width) - 1);
            if place.signed && low > greatest { low - (1_i128 << place.width) } else { low }
        }
    };
    i64::try_from(fits).ok()
}

fn read(value: &[u8], place: BitInteger) -> i64 {
    let bits = (0..u64::from(place.width)).fold(0_u64, |bits, at| bits << 1 | u64::from(bit(value, place.offset + at)));
    let unused = 64 - u32::from(place.width);
    // Shifted up and down again, the highest bit fills what is above it.
    if place.signed { (bits << unused).cast_signed() >> unused } else { bits.cast_signed() }
}

fn write(value: &mut BytesMut, place: BitInteger, number: i64) {
    for at in 0..u64::from(place.width) {
        let on = number >> (u64::from(place.width) - 1 - at) & 1 == 1;
        set(value, place.offset + at, on);
    }
}

fn bit(value: &[u8], offset: u64) -> bool {
    let byte = usize::try_from(offset / 8).ok().and_then(|at| value.get(at));
    byte.is_some_and(|byte| byte << (offset % 8) & 0x80 != 0)
}

/// The value reaches as far.
fn set(value: &mut BytesMut, offset: u64, on: bool) {
    let byte = usize::try_from(offset / 8).ok().and_then(|at| value.get_mut(at)).expect("the value was extended");
    let mask = 0x80 >> (offset % 8);
    *byte = if on { *byte | mask } else { *byte & !mask };
}

/// A copy of the value that reaches beyond this bit.
fn extended(value: &[u8], offset: u64, view: &dyn View) -> Result<BytesMut, Failure> {
    let len = usize::try_from(offset / 8 + 1).unwrap_or(usize::MAX).max(value.len());
    check_length(len, view)?;
    let mut new = BytesMut::with_capacity(len);
    new.extend_from_slice(value);
    new.resize(len, 0);
    Ok(new)
}

/// First and last bit of a range; `None` if it is empty.
fn bounds(value: &[u8], range: Option<BitRange>) -> Option<(u64, u64)> {
    let bits = i64::try_from(value.len()).ok()?.checked_mul(8)?;
    let (start, end, unit) = match range {
        None => (0, -1, 1),
        Some(range) => (range.start, range.end.unwrap_or(-1), if range.in_bits { 1 } else { 8 }),
    };
    let len = bits / unit;
    let from_end = |position: i64| if position < 0 { position.saturating_add(len).max(0) } else { position };
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    if start > end {
        return None;
    }
    // Both lie within the value, whose bits were counted.
    Some(((start * unit).unsigned_abs(), (end * unit + unit - 1).unsigned_abs()))
}

/// The bytes of a range of bits, each with the bits of it that belong to the range.
fn parts(value: &[u8], first: u64, last: u64) -> impl Iterator<Item = (u8, u8)> {
    let (from, to) = (first / 8, last / 8);
    let bytes = value.iter().copied().enumerate().skip(usize::try_from(from).unwrap_or(usize::MAX));
    bytes.take(usize::try_from(to - from + 1).unwrap_or(usize::MAX)).map(move |(at, byte)| {
        let at = at as u64;
        let above = if at == from { 0xff >> (first % 8) } else { 0xff };
        let below = if at == to { 0xff << (7 - last % 8) } else { 0xff };
        (byte, above & below)
    })
}

fn position(bit: u64) -> Reply {
    Reply::Int(i64::try_from(bit).unwrap_or(i64::MAX))
}
