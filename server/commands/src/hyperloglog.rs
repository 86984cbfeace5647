//! Commands on HyperLogLogs.
//!
//! They are strings in Redis' own format: what either has written the other can read. Where Redis remembers an estimate, ours only
//! reads it: counting is a read.

use bytes::Bytes;
use simplekv_resp::command::{HyperLogLogCommand, NOT_A_HYPERLOGLOG};
use simplekv_types::{Failure, GroupTime, Reply, ValueType};

use crate::{Entry, Keyspace, View, check_value, visible_string};

mod estimate;
mod hash;
mod header;
mod sketch;

use header::Header;
use sketch::Sketch;

pub(crate) fn read(key: &Bytes, ask: &HyperLogLogCommand, view: &dyn View, now: GroupTime) -> Result<Reply, Failure> {
    let HyperLogLogCommand::Count { more } = ask else {
        return Err(Failure::command("ERR a write was sent where only reads are answered"));
    };
    let mut union = Sketch::full_size();
    for key in std::iter::once(key).chain(more) {
        let Some((entry, header)) = header_of(key, view, now)? else { continue };
        if let Some(estimate) = header.estimate().filter(|_| more.is_empty()) {
            return Ok(count(estimate));
        }
        union.absorb(&header.sketch(&entry.value)?);
    }
    Ok(count(estimate::of(&union.registers())))
}

pub(crate) fn write(
    key: &Bytes,
    ask: &HyperLogLogCommand,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) -> Result<Reply, Failure> {
    match ask {
        HyperLogLogCommand::Add { elements } => add(key, elements, keyspace, now),
        HyperLogLogCommand::Merge { from } => merge(key, from, keyspace, now),
        HyperLogLogCommand::Count { .. } => read(key, ask, keyspace, now),
    }
}

fn add(key: &Bytes, elements: &[Bytes], keyspace: &mut dyn Keyspace, now: GroupTime) -> Result<Reply, Failure> {
    let known = header_of(key, keyspace, now)?;
    let mut has_changed = known.is_none();
    let (header, mut sketch, expire_at) = match known {
        Some(_) if elements.is_empty() => return Ok(Reply::Int(0)),
        Some((entry, header)) => (header, header.sketch(&entry.value)?, entry.expire_at),
        None => (Header::new(), Sketch::new(), None),
    };
    for element in elements {
        let (register, rank) = hash::register_and_rank(element);
        has_changed |= sketch.raise(register, rank);
    }
    if has_changed {
        let value = header.value(&sketch);
        check_value(&value, keyspace)?;
        keyspace.put(key, ValueType::String, value, expire_at);
    }
    Ok(Reply::Int(i64::from(has_changed)))
}

fn merge(key: &Bytes, from: &[Bytes], keyspace: &mut dyn Keyspace, now: GroupTime) -> Result<Reply, Failure> {
    let known = header_of(key, keyspace, now)?;
    let (header, mut sketch, old, expire_at) = match known {
        Some((entry, header)) => (header, header.sketch(&entry.value)?, Some(entry.value), entry.expire_at),
        None => (Header::new(), Sketch::new(), None, None),
    };
    // The highest of each register first, and then one after the other: how they are put decides how they are written down.
    let mut union = Sketch::full_size();
    let mut is_full_size = false;
    for key in from {
        let Some((entry, header)) = header_of(key, keyspace, now)? else { continue };
        let other = header.sketch(&entry.value)?;
        is_full_size |= other.is_full_size();
        union.absorb(&other);
    }
    if is_full_size {
        sketch.grow();
    }
    sketch.absorb(&union);
    let value = header.value(&sketch);
    if old.is_none_or(|old| old != value) {
        check_value(&value, keyspace)?;
        keyspace.put(key, ValueType::String, value, expire_at);
    }
    Ok(Reply::Ok)
}

/// The string of a key that, if it is there, begins as a HyperLogLog does.
fn header_of(key: &[u8], view: &dyn View, now: GroupTime) -> Result<Option<(Entry, Header)>, Failure> {
    let Some(entry) = visible_string(key, view, now)? else { return Ok(None) };
    let header = Header::of(&entry.value);
    Ok(Some((entry, header.ok_or(NOT_A_HYPERLOGLOG)?)))
}

fn count(estimate: u64) -> Reply {
    Reply::Int(i64::try_from(estimate).unwrap_or(i64::MAX))
}
