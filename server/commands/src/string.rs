//! Commands on strings.

use bytes::{BufMut, Bytes, BytesMut};
use simplekv_resp::command::{Set, SetCondition, SetExpiry, ValueCondition};
use simplekv_types::{Failure, GroupTime, Reply, ValueType};

use crate::{Entry, Keyspace, View, check_value, int, put_string, visible, visible_meta, visible_string};

/// A string that would grow beyond what may be stored.
const TOO_LONG: Failure = Failure::command("ERR string exceeds maximum allowed size (proto-max-bulk-len)");

pub(crate) fn get(key: &[u8], view: &dyn View, now: GroupTime) -> Result<Reply, Failure> {
    Ok(Reply::bulk_or_null(visible_string(key, view, now)?.map(|entry| entry.value)))
}

pub(crate) fn mget(keys: &[Bytes], view: &dyn View, now: GroupTime) -> Result<Reply, Failure> {
    let value = |key: &Bytes| {
        // A key of another type is answered as if it were missing.
        let entry = visible(key, view, now)?.filter(|entry| entry.kind == ValueType::String);
        Ok(Reply::bulk_or_null(entry.map(|entry| entry.value)))
    };
    Ok(Reply::Array(keys.iter().map(value).collect::<Result<_, Failure>>()?))
}

pub(crate) fn str_len(key: &[u8], view: &dyn View, now: GroupTime) -> Result<Reply, Failure> {
    Ok(int(visible_string(key, view, now)?.map_or(0, |entry| entry.value.len())))
}

pub(crate) fn get_range(key: &[u8], start: i64, end: i64, view: &dyn View, now: GroupTime) -> Result<Reply, Failure> {
    let value = visible_string(key, view, now)?.map(|entry| entry.value).unwrap_or_default();
    let len = i64::try_from(value.len()).unwrap_or(i64::MAX);
    let from_end = |position: i64| if position < 0 { position.saturating_add(len) } else { position };
    // Both ends before the beginning, and the wrong way round: nothing, although clamping would make it the first byte.
    if start < 0 && end < 0 && start > end {
        return Ok(Reply::Bulk(Bytes::new()));
    }
    let (start, end) = (from_end(start).max(0), from_end(end).max(0).min(len - 1));
    match (usize::try_from(start), usize::try_from(end)) {
        (Ok(start), Ok(end)) if start <= end => Ok(Reply::Bulk(value.slice(start..=end))),
        _ => Ok(Reply::Bulk(Bytes::new())),
    }
}

pub(crate) fn set(set: &Set, keyspace: &mut dyn Keyspace, now: GroupTime) -> Result<Reply, Failure> {
    check_value(&set.value, keyspace)?;
    let needs_value = set.get || matches!(set.condition, SetCondition::IfValue(_));
    let needs_old = needs_value || set.condition != SetCondition::Always || set.expiry != SetExpiry::Clear;
    if !needs_old {
        keyspace.put(&set.key, ValueType::String, set.value.clone(), None);
        return Ok(Reply::Ok);
    }
    let old = match needs_value {
        true => visible_string(&set.key, keyspace, now)?,
        // Only whether it exists and when it expires is asked: its value may stay on the disk.
        false => visible_meta(&set.key, keyspace, now)?.map(|meta| Entry {
            kind: meta.kind,
            value: Bytes::new(),
            expire_at: meta.expire_at,
            version: meta.version,
        }),
    };
    let done = condition_holds(&set.condition, old.as_ref());
    if done {
        let expire_at = match set.expiry {
            SetExpiry::Clear => None,
            SetExpiry::Keep => old.as_ref().and_then(|entry| entry.expire_at),
            SetExpiry::Expire(expiry) => Some(expiry.at(now)),
        };
        put_string(&set.key, set.value.clone(), expire_at, old.is_some(), keyspace, now);
    }
    Ok(match (set.get, done) {
        (true, _) => Reply::bulk_or_null(old.map(|entry| entry.value)),
        (false, true) => Reply::Ok,
        (false, false) => Reply::Null,
    })
}

fn condition_holds(condition: &SetCondition, old: Option<&Entry>) -> bool {
    match (condition, old) {
        (SetCondition::Always, _) => true,
        (SetCondition::IfAbsent, old) => old.is_none(),
        (SetCondition::IfPresent, old) => old.is_some(),
        (SetCondition::IfValue(condition), Some(old)) => condition.holds(&old.value),
        (SetCondition::IfValue(condition), None) => matches!(condition, ValueCondition::NotEqual(_)),
    }
}

pub(crate) fn set_nx(
    key: &Bytes,
    value: &Bytes,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    check_value(value, keyspace)?;
    if visible_meta(key, keyspace, now)?.is_some() {
        return Ok(Reply::Int(0));
    }
    keyspace.put(key, ValueType::String, value.clone(), None);
    Ok(Reply::Int(1))
}

pub(crate) fn get_del(key: &Bytes, keyspace: &mut dyn Keyspace, now: GroupTime) -> Result<Reply, Failure> {
    let old = visible_string(key, keyspace, now)?;
    if old.is_some() {
        keyspace.delete(key);
    }
    Ok(Reply::bulk_or_null(old.map(|entry| entry.value)))
}

pub(crate) fn del_if(
    key: &Bytes,
    condition: &ValueCondition,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    match visible_string(key, keyspace, now)? {
        Some(entry) if condition.holds(&entry.value) => {
            keyspace.delete(key);
            Ok(Reply::Int(1))
        }
        _ => Ok(Reply::Int(0)),
    }
}

pub(crate) fn mset(pairs: &[(Bytes, Bytes)], keyspace: &mut dyn Keyspace) -> Result<Reply, Failure> {
    put_all(pairs, keyspace)?;
    Ok(Reply::Ok)
}

pub(crate) fn mset_nx(pairs: &[(Bytes, Bytes)], keyspace: &mut dyn Keyspace, now: GroupTime) -> Result<Reply, Failure> {
    for (key, _) in pairs {
        if visible_meta(key, keyspace, now)?.is_some() {
            return Ok(Reply::Int(0));
        }
    }
    put_all(pairs, keyspace)?;
    Ok(Reply::Int(1))
}

/// Puts all pairs, or none if one of them is refused.
fn put_all(pairs: &[(Bytes, Bytes)], keyspace: &mut dyn Keyspace) -> Result<(), Failure> {
    for (_, value) in pairs {
        check_value(value, keyspace)?;
    }
    for (key, value) in pairs {
        keyspace.put(key, ValueType::String, value.clone(), None);
    }
    Ok(())
}

pub(crate) fn append(
    key: &Bytes,
    suffix: &Bytes,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    let Some(old) = visible_string(key, keyspace, now)? else {
        check_length(suffix.len(), keyspace)?;
        keyspace.put(key, ValueType::String, suffix.clone(), None);
        return Ok(int(suffix.len()));
    };
    let len = old.value.len() + suffix.len();
    check_length(len, keyspace)?;
    if !suffix.is_empty() {
        let mut value = BytesMut::with_capacity(len);
        value.put_slice(&old.value);
        value.put_slice(suffix);
        keyspace.put(key, ValueType::String, value.freeze(), old.expire_at);
    }
    Ok(int(len))
}

pub(crate) fn set_range(
    key: &Bytes,
    offset: u64,
    part: &Bytes,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    let old = visible_string(key, keyspace, now)?;
    let (value, expire_at) = old.map(|entry| (entry.value, entry.expire_at)).unwrap_or_default();
    if part.is_empty() {
        return Ok(int(value.len()));
    }
    let offset = usize::try_from(offset).map_err(|_| TOO_LONG)?;
    let end = offset.checked_add(part.len()).ok_or(TOO_LONG)?;
    check_length(end, keyspace)?;
    let mut new = BytesMut::with_capacity(end.max(value.len()));
    new.put_slice(value.get(..offset).unwrap_or(&value));
    new.resize(offset, 0);
    new.put_slice(part);
    new.put_slice(value.get(end..).unwrap_or_default());
    let len = new.len();
    keyspace.put(key, ValueType::String, new.freeze(), expire_at);
    Ok(int(len))
}

pub(crate) fn check_length(len: usize, view: &dyn View) -> Result<(), Failure> {
    if len <= view.value_bytes_max() { Ok(()) } else { Err(TOO_LONG) }
}
