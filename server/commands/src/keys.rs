//! Commands on keys, whatever they hold.

use std::ops::ControlFlow;

use bytes::Bytes;
use simplekv_resp::command::{ObjectQuestion, Version};
use simplekv_resp::number::parse_i64;
use simplekv_types::{Failure, GroupTime, Reply, Slot, ValueType};

use crate::{Keyspace, View, elements, int, visible, visible_meta};

pub(crate) fn del(keys: &[Bytes], keyspace: &mut dyn Keyspace, now: GroupTime) -> Result<Reply, Failure> {
    // Read before anything is deleted: a failure half-way must leave all as it was.
    let mut found: Vec<&Bytes> = Vec::with_capacity(keys.len().min(16));
    for key in keys {
        if visible_meta(key, keyspace, now)?.is_some() {
            found.push(key);
        }
    }
    found.sort_unstable();
    found.dedup();
    for key in &found {
        keyspace.delete(key);
    }
    Ok(int(found.len()))
}

pub(crate) fn exists(keys: &[Bytes], view: &dyn View, now: GroupTime) -> Result<Reply, Failure> {
    let mut count = 0;
    for key in keys {
        count += usize::from(visible_meta(key, view, now)?.is_some());
    }
    Ok(int(count))
}

pub(crate) fn type_of(key: &[u8], view: &dyn View, now: GroupTime) -> Result<Reply, Failure> {
    Ok(Reply::Status(visible_meta(key, view, now)?.map_or("none", |meta| meta.kind.name())))
}

pub(crate) fn rename(
    from: &Bytes,
    to: &Bytes,
    if_absent: bool,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    if visible_meta(from, keyspace, now)?.is_none() {
        return Err(Failure::command("ERR no such key"));
    }
    let done = if if_absent { Reply::Int(1) } else { Reply::Ok };
    if if_absent && visible_meta(to, keyspace, now)?.is_some() {
        return Ok(Reply::Int(0));
    }
    if from != to {
        put_copy(from, to, keyspace, now)?;
        keyspace.delete(from);
    }
    Ok(done)
}

pub(crate) fn copy(
    from: &Bytes,
    to: &Bytes,
    replace: bool,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    if visible_meta(from, keyspace, now)?.is_none() || !replace && visible_meta(to, keyspace, now)?.is_some() {
        return Ok(Reply::Int(0));
    }
    put_copy(from, to, keyspace, now)?;
    Ok(Reply::Int(1))
}

/// Gives `to` what `from` holds. Elements are records of their key's, so each is written again.
fn put_copy(from: &Bytes, to: &Bytes, keyspace: &mut dyn Keyspace, now: GroupTime) -> Result<(), Failure> {
    let Some(elements) = keyspace.elements(from)? else {
        if let Some(entry) = visible(from, keyspace, now)? {
            keyspace.put(to, entry.kind, entry.value, entry.expire_at);
        }
        return Ok(());
    };
    let values = elements::values(from, &elements.collection, keyspace)?;
    keyspace.begin(to, elements.collection.kind(), elements.expire_at);
    for (name, value) in values {
        keyspace.put_element(to, &name, &value);
    }
    Ok(())
}

/// Which of its states a key is in; `None` if it is not there.
pub(crate) fn version_of(key: &[u8], view: &dyn View, now: GroupTime) -> Result<Option<Version>, Failure> {
    let meta = visible_meta(key, view, now)?;
    Ok(meta.map(|meta| Version { group: view.owner(Slot::of_key(key)), lsn: meta.version }))
}

pub(crate) fn object(key: &[u8], question: ObjectQuestion, view: &dyn View, now: GroupTime) -> Result<Reply, Failure> {
    let Some(meta) = visible_meta(key, view, now)? else { return Ok(Reply::Null) };
    match question {
        ObjectQuestion::Version => {
            let version = version_of(key, view, now)?;
            Ok(version.map_or(Reply::Null, |version| Reply::text(version.to_string())))
        }
        ObjectQuestion::RefCount => Ok(Reply::Int(1)),
        ObjectQuestion::IdleTime => Ok(Reply::Int(0)),
        ObjectQuestion::Freq => Err(Failure::command(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
             between policies at runtime LRU and LFU data will take some time to adjust.",
        )),
        ObjectQuestion::Encoding => encoding(key, meta.kind, view, now),
    }
}

/// Longest string Redis keeps next to its header.
const EMBEDDED_BYTES_MAX: usize = 44;

fn encoding(key: &[u8], kind: ValueType, view: &dyn View, now: GroupTime) -> Result<Reply, Failure> {
    let name = match kind {
        ValueType::String => match visible(key, view, now)? {
            None => return Ok(Reply::Null),
            Some(entry) if parse_i64(&entry.value).is_some() => "int",
            Some(entry) if entry.value.len() <= EMBEDDED_BYTES_MAX => "embstr",
            Some(_) => "raw",
        },
        ValueType::List => "quicklist",
        ValueType::Hash if is_small(key, SMALL_HASH_FIELDS_MAX, view)? => "listpack",
        ValueType::Zset if is_small(key, SMALL_ZSET_MEMBERS_MAX, view)? => "listpack",
        ValueType::Set if is_of_integers(key, view)? => "intset",
        ValueType::Set | ValueType::Hash => "hashtable",
        ValueType::Zset => "skiplist",
    };
    Ok(Reply::fixed(name))
}

/// Most elements, and longest element or value, of what Redis keeps in one piece.
const SMALL_HASH_FIELDS_MAX: usize = 512;
const SMALL_ZSET_MEMBERS_MAX: usize = 128;
const SMALL_BYTES_MAX: usize = 64;

fn is_small(key: &[u8], len_max: usize, view: &dyn View) -> Result<bool, Failure> {
    let Some(elements) = view.elements(key)?.filter(|elements| elements.collection.len() <= len_max) else {
        return Ok(false);
    };
    let values = elements::values(key, &elements.collection, view)?;
    Ok(values.iter().all(|(name, value)| name.len() <= SMALL_BYTES_MAX && value.len() <= SMALL_BYTES_MAX))
}

/// Most members of a set of integers that Redis keeps in one piece.
const INTEGERS_MAX: usize = 512;

fn is_of_integers(key: &[u8], view: &dyn View) -> Result<bool, Failure> {
    let Some(elements) = view.elements(key)?.filter(|elements| elements.collection.len() <= INTEGERS_MAX) else {
        return Ok(false);
    };
    let mut count = 0;
    elements.collection.walk(0, |element| match parse_i64(&element.name) {
        Some(_) => {
            count += 1;
            ControlFlow::Continue(())
        }
        None => ControlFlow::Break(()),
    });
    Ok(count == elements.collection.len())
}

/// What a key costs beyond its own bytes and its value's: its record's header and its place in the index, roughly.
const OVERHEAD_BYTES: u64 = 64;

pub(crate) fn memory_usage(key: &[u8], view: &dyn View, now: GroupTime) -> Result<Reply, Failure> {
    let Some(meta) = visible_meta(key, view, now)? else { return Ok(Reply::Null) };
    let bytes = (key.len() as u64).saturating_add(meta.value_bytes).saturating_add(OVERHEAD_BYTES);
    Ok(Reply::Int(i64::try_from(bytes).unwrap_or(i64::MAX)))
}
