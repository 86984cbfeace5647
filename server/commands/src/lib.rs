//! What each command does to data, and what it answers.
//!
//! Pure: a command sees the keyspace through [`View`], changes it through [`Keyspace`], and is told the time. It knows no log, no
//! slot's owner and no clock. A write is evaluated once, by the leader; what it put and deleted is what is replicated.

use bytes::Bytes;
use simplekv_collections::{Collection, Element, Label};
use simplekv_resp::Command;
use simplekv_types::{Failure, GroupId, GroupTime, Lsn, Reply, Slot, SlotRange, ValueType, limits};

mod atomic;
mod bits;
mod blocking;
mod counter;
mod elements;
mod expiry;
mod extended;
mod geo;
mod hash;
mod hyperloglog;
mod keys;
mod list;
mod model;
mod scan;
mod set_of;
mod slots;
mod sort;
mod string;
mod zset;

pub use model::Model;
pub use scan::position_of;
pub use simplekv_resp::{SCAN_POSITION_BITS, ScanCursor};
pub use slots::answer_slot_query;

/// A key's value and what is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What kind of value it is.
    pub kind: ValueType,
    /// The value.
    pub value: Bytes,
    /// The group time from which on the key is gone; `None` for never.
    pub expire_at: Option<GroupTime>,
    /// The record that wrote it.
    pub version: Lsn,
}

/// What is known about a key without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// What kind of value it has.
    pub kind: ValueType,
    /// About how many bytes the value takes up; what a store keeps with each value may be included. MEMORY USAGE tells it.
    pub value_bytes: u64,
    /// The group time from which on the key is gone; `None` for never.
    pub expire_at: Option<GroupTime>,
    /// The record that wrote it.
    pub version: Lsn,
}

/// A key's elements and what is known about the key.
#[derive(Clone, Debug)]
pub struct Elements {
    /// The elements.
    pub collection: Collection,
    /// The group time from which on the key is gone; `None` for never.
    pub expire_at: Option<GroupTime>,
    /// The last record that changed anything about the key.
    pub version: Lsn,
}

/// What is known about a key with elements without looking at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline {
    /// What kind of elements it has.
    pub kind: ValueType,
    /// How many.
    pub len: usize,
    /// The group time from which on the key is gone; `None` for never.
    pub expire_at: Option<GroupTime>,
}

impl From<&Elements> for Outline {
    fn from(elements: &Elements) -> Self {
        let Elements { collection, expire_at, .. } = elements;
        Self { kind: collection.kind(), len: collection.len(), expire_at: *expire_at }
    }
}

impl Meta {
    /// Whether the key is there at a time.
    #[must_use]
    pub fn is_visible(&self, now: GroupTime) -> bool {
        self.expire_at.is_none_or(|expire_at| expire_at > now)
    }
}

impl From<&Entry> for Meta {
    fn from(entry: &Entry) -> Self {
        let Entry { kind, ref value, expire_at, version } = *entry;
        Self { kind, value_bytes: value.len() as u64, expire_at, version }
    }
}

/// The keys of one group as a command sees them.
///
/// A lapsed key may be answered or not: commands look at the expiry themselves. A failure (of the disk, say) becomes the reply.
pub trait View {
    /// The value of a key.
    ///
    /// # Errors
    /// If it could not be read.
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, Failure>;

    /// What is known about a key. Worth its own way where that is cheaper than reading the value.
    ///
    /// # Errors
    /// If it could not be read.
    fn meta(&self, key: &[u8]) -> Result<Option<Meta>, Failure> {
        Ok(self.get(key)?.as_ref().map(Meta::from))
    }

    /// The elements of a key; `None` if there is no such key, or it holds a string.
    ///
    /// # Errors
    /// If they cannot be known.
    fn elements(&self, key: &[u8]) -> Result<Option<Elements>, Failure>;

    /// What is known about a key with elements; `None` if there is no such key, or it holds a string. With [`View::element`] worth its
    /// own way where that is cheaper than all elements together.
    ///
    /// # Errors
    /// If it cannot be known.
    fn outline(&self, key: &[u8]) -> Result<Option<Outline>, Failure> {
        Ok(self.elements(key)?.as_ref().map(Outline::from))
    }

    /// The element of this name, of a key that is no list; `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be known.
    fn element(&self, key: &[u8], name: &[u8]) -> Result<Option<Element>, Failure> {
        Ok(self.elements(key)?.and_then(|elements| elements.collection.find(name).cloned()))
    }

    /// The labels of the first and the last element of a list; `None` if there is no list.
    ///
    /// # Errors
    /// If they cannot be known.
    fn ends(&self, key: &[u8]) -> Result<Option<(Label, Label)>, Failure> {
        Ok(self.elements(key)?.and_then(|elements| elements.collection.ends()))
    }

    /// The value of an element of this key, as [`View::elements`] showed it.
    ///
    /// # Errors
    /// If it could not be read.
    fn element_value(&self, key: &[u8], element: &Element) -> Result<Bytes, Failure>;

    /// The group whose keys those of a slot are; any if it is not served here.
    fn owner(&self, slot: Slot) -> GroupId;

    /// The slots that are served here, in order.
    fn slots(&self) -> Vec<SlotRange>;

    /// How many keys a slot has.
    fn key_count(&self, slot: Slot) -> u64;

    /// Visits keys of a slot in the order of their positions, beginning with position `from`: at least `limit` of them if there
    /// are as many, and all that share a position. Answers the position of the first key not visited, `None` if there is none.
    ///
    /// A position is a number below 2^[`SCAN_POSITION_BITS`] that depends on nothing but the key: neither on the node nor on what
    /// happened to it. That is what lets a SCAN go on after a restart, on another replica, and after its slot has moved.
    /// [`position_of`] is one.
    ///
    /// # Errors
    /// If keys could not be read.
    fn scan_slot(
        &self,
        slot: Slot,
        from: u64,
        limit: usize,
        visit: &mut dyn FnMut(u64, Bytes, Meta),
    ) -> Result<Option<u64>, Failure>;

    /// A number that nobody can foretell, for RANDOMKEY.
    fn random(&self) -> u64;

    /// Longest value that may be written, in bytes.
    fn value_bytes_max(&self) -> usize {
        limits::VALUE_BYTES_DEFAULT
    }
}

/// The keys of one group, to be changed by one command.
///
/// A command that fails has changed nothing; one that never called any of these has turned out to be a read. Of several commands done
/// as one, some may have changed keys before another one failed to read: the keyspace has to take that back.
pub trait Keyspace: View {
    /// Gives a key a value and an expiry, whatever it held.
    fn put(&mut self, key: &Bytes, kind: ValueType, value: Bytes, expire_at: Option<GroupTime>);

    /// Deletes a key that exists.
    fn delete(&mut self, key: &Bytes);

    /// Gives a key elements of a type, none to begin with, whatever it held. The command must put some.
    fn begin(&mut self, key: &Bytes, kind: ValueType, expire_at: Option<GroupTime>);

    /// Changes when a key with elements expires.
    fn expire(&mut self, key: &Bytes, expire_at: Option<GroupTime>);

    /// Puts an element into a key that holds some of this type; true if it was not there.
    fn put_element(&mut self, key: &Bytes, name: &[u8], value: &[u8]) -> bool;

    /// Takes an element out that is there. A command does not leave a key without any behind: it deletes the key instead.
    fn delete_element(&mut self, key: &Bytes, name: &[u8]);

    /// Deletes all keys of all slots served here.
    fn clear(&mut self);
}

/// Does what a command says, at a time. Takes commands that only read as well.
///
/// If the reply is an error, nothing was changed.
pub fn write(command: &Command, keyspace: &mut dyn Keyspace, now: GroupTime) -> Reply {
    evaluate(command, keyspace, now).unwrap_or_else(Reply::Error)
}

/// Answers a command that only reads, as of a time.
///
/// A command that may write is refused, for no caller may believe it done.
pub fn read(command: &Command, view: &dyn View, now: GroupTime) -> Reply {
    check_keys(command).and_then(|()| answer(command, view, now)).unwrap_or_else(Reply::Error)
}

/// Like [`read`], but tells what is left of a key's time from `hour`, which may be ahead of the time the keyspace is seen at: a group's
/// time stands still while nothing is written.
pub fn read_at_hour(command: &Command, view: &dyn View, now: GroupTime, hour: GroupTime) -> Reply {
    match command {
        Command::Ttl { key, form } => expiry::ttl(key, *form, view, now, hour).unwrap_or_else(Reply::Error),
        _ => read(command, view, now),
    }
}

fn check_keys(command: &Command) -> Result<(), Failure> {
    match command.keys().find(|key| key.len() > limits::KEY_BYTES_MAX) {
        None => Ok(()),
        Some(key) => {
            Err(Failure::TooLarge { what: "key", size: key.len() as u64, limit: limits::KEY_BYTES_MAX as u64 })
        }
    }
}

fn evaluate(command: &Command, keyspace: &mut dyn Keyspace, now: GroupTime) -> Result<Reply, Failure> {
    check_keys(command)?;
    match command {
        Command::Set(set) => string::set(set, keyspace, now),
        Command::SetNx { key, value } => string::set_nx(key, value, keyspace, now),
        Command::GetDel { key } => string::get_del(key, keyspace, now),
        Command::GetEx { key, change } => expiry::get_ex(key, *change, keyspace, now),
        Command::MSet { pairs } => string::mset(pairs, keyspace),
        Command::MSetNx { pairs } => string::mset_nx(pairs, keyspace, now),
        Command::Append { key, value } => string::append(key, value, keyspace, now),
        Command::SetRange { key, offset, value } => string::set_range(key, *offset, value, keyspace, now),
        Command::SetBit { key, offset, on } => bits::set_bit(key, *offset, *on, keyspace, now),
        Command::BitOp { operation, to, keys } => bits::bit_op(*operation, to, keys, keyspace, now),
        Command::BitField { key, steps } => bits::bit_field(key, steps, keyspace, now),
        Command::IncrBy { key, delta } => counter::incr_by(key, *delta, keyspace, now),
        Command::IncrByFloat { key, increment } => counter::incr_by_float(key, increment, keyspace, now),
        Command::Del { keys } => keys::del(keys, keyspace, now),
        Command::DelIf { key, condition } => string::del_if(key, condition, keyspace, now),
        Command::Expire { key, expiry, condition } => expiry::expire(key, *expiry, *condition, keyspace, now),
        Command::ExpireIf(ask) => expiry::expire_if(ask, keyspace, now),
        Command::Persist { key } => expiry::persist(key, keyspace, now),
        Command::Rename { from, to, if_absent } => keys::rename(from, to, *if_absent, keyspace, now),
        Command::Copy { from, to, replace } => keys::copy(from, to, *replace, keyspace, now),
        Command::Blocking(blocking) => blocking::attempt(blocking, keyspace, now),
        Command::Atomic(commands) => atomic::execute(commands, keyspace, now),
        Command::Hash { key, ask } => hash::write(key, ask, keyspace, now),
        Command::List { key, ask } => list::write(key, ask, keyspace, now),
        Command::SetOf { key, ask } => set_of::write(key, ask, keyspace, now),
        Command::Zset { key, ask } => zset::write(key, ask, keyspace, now),
        Command::Geo { key, ask } => geo::write(key, ask, keyspace, now),
        Command::HyperLogLog { key, ask } => hyperloglog::write(key, ask, keyspace, now),
        Command::Sort(sort) => sort::write(sort, keyspace, now),
        Command::FlushAll => {
            keyspace.clear();
            Ok(Reply::Ok)
        }
        _ => answer(command, keyspace, now),
    }
}

fn answer(command: &Command, view: &dyn View, now: GroupTime) -> Result<Reply, Failure> {
    match command {
        Command::Get { key } | Command::GetEx { key, change: simplekv_resp::command::ExpiryChange::Keep } => {
            string::get(key, view, now)
        }
        Command::MGet { keys } => string::mget(keys, view, now),
        Command::StrLen { key } => string::str_len(key, view, now),
        Command::GetRange { key, start, end } => string::get_range(key, *start, *end, view, now),
        Command::GetBit { key, offset } => bits::get_bit(key, *offset, view, now),
        Command::BitCount { key, range } => bits::bit_count(key, *range, view, now),
        Command::BitPos { key, on, range } => bits::bit_pos(key, *on, *range, view, now),
        Command::BitField { key, steps } => bits::bit_field_get(key, steps, view, now),
        Command::Exists { keys } | Command::Touch { keys } => keys::exists(keys, view, now),
        Command::Type { key } => keys::type_of(key, view, now),
        Command::Ttl { key, form } => expiry::ttl(key, *form, view, now, now),
        Command::Object { key, question } => keys::object(key, *question, view, now),
        Command::MemoryUsage { key } => keys::memory_usage(key, view, now),
        Command::Hash { key, ask } => hash::read(key, ask, view, now),
        Command::List { key, ask } => list::read(key, ask, view, now),
        Command::SetOf { key, ask } => set_of::read(key, ask, view, now),
        Command::Zset { key, ask } => zset::read(key, ask, view, now),
        Command::Geo { key, ask } => geo::read(key, ask, view, now),
        Command::HyperLogLog { key, ask } => hyperloglog::read(key, ask, view, now),
        Command::Sort(sort) if sort.store.is_none() => sort::read(sort, view, now),
        Command::Scan(scan) => scan::scan(scan, view, now),
        Command::Keys { pattern } => scan::keys(pattern, view, now),
        Command::RandomKey => scan::random_key(view, now),
        Command::DbSize => Ok(scan::db_size(view)),
        _ => Err(Failure::command("ERR a write was sent where only reads are answered")),
    }
}

/// The entry of a key if it is there at a time.
fn visible(key: &[u8], view: &dyn View, now: GroupTime) -> Result<Option<Entry>, Failure> {
    Ok(view.get(key)?.filter(|entry| Meta::from(entry).is_visible(now)))
}

/// What is known about a key if it is there at a time.
fn visible_meta(key: &[u8], view: &dyn View, now: GroupTime) -> Result<Option<Meta>, Failure> {
    Ok(view.meta(key)?.filter(|meta| meta.is_visible(now)))
}

/// The entry of a key that, if it is there, holds a string.
fn visible_string(key: &[u8], view: &dyn View, now: GroupTime) -> Result<Option<Entry>, Failure> {
    match visible(key, view, now)? {
        Some(entry) if entry.kind != ValueType::String => Err(Failure::WrongType),
        entry => Ok(entry),
    }
}

/// Puts a string, or does what a string that has lapsed before it was put amounts to.
fn put_string(
    key: &Bytes,
    value: Bytes,
    expire_at: Option<GroupTime>,
    exists: bool,
    keyspace: &mut dyn Keyspace,
    now: GroupTime,
) {
    match expire_at {
        Some(expire_at) if expire_at <= now => {
            if exists {
                keyspace.delete(key);
            }
        }
        _ => keyspace.put(key, ValueType::String, value, expire_at),
    }
}

fn check_value(value: &[u8], view: &dyn View) -> Result<(), Failure> {
    let limit = view.value_bytes_max();
    if value.len() <= limit {
        return Ok(());
    }
    Err(Failure::TooLarge { what: "value", size: value.len() as u64, limit: limit as u64 })
}

fn int(number: usize) -> Reply {
    Reply::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
