//! Commands on when a key expires.

use bytes::Bytes;
use simplekv_resp::command::{ExpireCondition, ExpireFrom, ExpireIf, Expiry, ExpiryChange, TtlForm};
use simplekv_types::{Failure, GroupTime, Reply, ValueType};

use crate::{Entry, Keyspace, Meta, View, visible, visible_meta, visible_string};

pub(crate) fn get_ex(
    key: &Bytes,
    change: ExpiryChange,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    let Some(entry) = visible_string(key, keyspace, now)? else { return Ok(Reply::Null) };
    match change {
        ExpiryChange::Keep => (),
        ExpiryChange::Persist => set_expiry(key, &entry, None, keyspace, now),
        ExpiryChange::Expire(expiry) => set_expiry(key, &entry, Some(expiry.at(now)), keyspace, now),
    }
    Ok(Reply::Bulk(entry.value))
}

/// Writes a key again with another expiry; deletes it if that is past, and does nothing if it is the one it has.
fn set_expiry(key: &Bytes, entry: &Entry, expire_at: Option<GroupTime>, keyspace: &mut dyn Keyspace, now: GroupTime) {
    if expire_at.is_some_and(|expire_at| expire_at <= now) {
        keyspace.delete(key);
    } else if expire_at != entry.expire_at {
        keyspace.put(key, entry.kind, entry.value.clone(), expire_at);
    }
}

pub(crate) fn expire(
    key: &Bytes,
    expiry: Expiry,
    condition: ExpireCondition,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    let expire_at = expiry.at(now);
    let Some(meta) = visible_meta(key, keyspace, now)? else { return Ok(Reply::Int(0)) };
    if !condition_holds(condition, meta.expire_at, expire_at) {
        return Ok(Reply::Int(0));
    }
    change_expiry(key, &meta, Some(expire_at), keyspace, now)?;
    Ok(Reply::Int(1))
}

/// As [`set_expiry`], whatever the key holds.
fn change_expiry(
    key: &Bytes,
    meta: &Meta,
    expire_at: Option<GroupTime>,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<(), Failure> {
    if expire_at.is_some_and(|expire_at| expire_at <= now) {
        keyspace.delete(key);
    } else if meta.kind != ValueType::String {
        if expire_at != meta.expire_at {
            keyspace.expire(key, expire_at);
        }
    } else if let Some(entry) = visible(key, keyspace, now)? {
        set_expiry(key, &entry, expire_at, keyspace, now);
    }
    Ok(())
}

fn condition_holds(condition: ExpireCondition, old: Option<GroupTime>, new: GroupTime) -> bool {
    let ExpireCondition { absent, present, greater, less } = condition;
    !(absent && old.is_some()
        || present && old.is_none()
        || greater && old.is_none_or(|old| new <= old)
        || less && old.is_some_and(|old| new >= old))
}

pub(crate) fn expire_if(ask: &ExpireIf, keyspace: &mut dyn Keyspace, now: GroupTime) -> Result<Reply, Failure> {
    let ExpireIf { key, value, millis, from } = ask;
    let held = visible_string(key, keyspace, now)?.filter(|entry| entry.value == value);
    let Some(entry) = held else { return Ok(Reply::Int(0)) };
    let start = match (from, entry.expire_at) {
        (ExpireFrom::Now, _) | (ExpireFrom::NowIfMortal, Some(_)) => now,
        (ExpireFrom::Lapse, Some(expire_at)) => expire_at,
        (ExpireFrom::NowIfMortal | ExpireFrom::Lapse, None) => return Ok(Reply::Int(0)),
    };
    set_expiry(key, &entry, Some(Expiry::After(*millis).at(start)), keyspace, now);
    Ok(Reply::Int(1))
}

pub(crate) fn persist(key: &Bytes, keyspace: &mut dyn Keyspace, now: GroupTime) -> Result<Reply, Failure> {
    match visible_meta(key, keyspace, now)? {
        Some(meta) if meta.expire_at.is_some() => change_expiry(key, &meta, None, keyspace, now)?,
        _ => return Ok(Reply::Int(0)),
    }
    Ok(Reply::Int(1))
}

/// Whether the key is there is a matter of `now`; what is left of its time is told from `hour`.
pub(crate) fn ttl(
    key: &[u8],
    form: TtlForm,
    view: &dyn View,
    now: GroupTime,
    hour: GroupTime,
) -> Result<Reply, Failure> {
    let Some(meta) = visible_meta(key, view, now)? else { return Ok(Reply::Int(-2)) };
    let Some(expire_at) = meta.expire_at else { return Ok(Reply::Int(-1)) };
    let rounded = |millis: u64| millis.saturating_add(500) / 1000;
    let number = match form {
        TtlForm::Seconds => rounded(expire_at.0.saturating_sub(hour.0)),
        TtlForm::Millis => expire_at.0.saturating_sub(hour.0),
        TtlForm::AtSeconds => rounded(expire_at.0),
        TtlForm::AtMillis => expire_at.0,
    };
    Ok(Reply::Int(i64::try_from(number).unwrap_or(i64::MAX)))
}
