//! Commands on data, typed: what was asked, with every option understood.
//!
//! Several names may mean one command (SETEX is a SET with an expiry, DECR an IncrBy). What a command does to data is no matter of
//! this crate.

use bytes::Bytes;
use simplekv_types::{Failure, Slot};
use smallvec::SmallVec;

use crate::control::Control;
use crate::parser::Args;
use crate::table::{self, Spec};

pub(crate) mod atomic;
pub(crate) mod bits;
pub(crate) mod blocking;
pub(crate) mod generic;
pub(crate) mod geo;
pub(crate) mod hash;
pub(crate) mod hyperloglog;
pub(crate) mod list;
mod options;
pub(crate) mod script;
pub(crate) mod set_of;
pub(crate) mod sort;
pub(crate) mod string;
mod to_args;
mod words;
pub(crate) mod zset;

pub use atomic::{Atomic, Version, Watched, several_groups};
pub use bits::{BitFieldStep, BitInteger, BitOperation, BitRange, Overflow};
pub use blocking::Blocking;
pub use geo::{Area, Center, GeoCommand, GeoDetails, GeoOrder, GeoSearch, Place, Unit};
pub use hash::HashCommand;
pub use hyperloglog::{HyperLogLogCommand, NOT_A_HYPERLOGLOG};
pub use list::{ListCommand, ListEnd};
pub use options::{
    ElementScan, ExpireCondition, Expiry, ExpiryChange, ObjectQuestion, Scan, Set, SetCondition, SetExpiry, TtlForm,
    ValueCondition,
};
pub use script::{ExpireFrom, ExpireIf, KNOWN_SCRIPTS, KnownScript};
pub use set_of::{SetOfCommand, SetOperation};
pub use sort::{KeyPattern, Sort, SortGet, SortOrder};
pub(crate) use words::{NOT_AN_INTEGER, Parse, SYNTAX, Words};
pub use zset::{
    AddCondition, Aggregate, Combination, Interval, MemberBound, Score, ScoreBound, Selection, ZsetCommand,
};

/// Some keys of one request.
pub type Keys = SmallVec<[Bytes; 3]>;

/// A parsed request: its row in the command table, and what it asks.
#[derive(Clone, Debug)]
pub struct Request {
    /// The command's row; a subcommand's, if it is one.
    pub spec: &'static Spec,
    /// What is asked.
    pub body: Body,
}

/// What a request asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Something about data.
    Data(Command),
    /// Something about the connection, the server or the cluster.
    Control(Control),
}

impl Request {
    /// Understands a request.
    ///
    /// # Errors
    /// [`Failure::Command`] with Redis' text: unknown command, wrong number of arguments, or an argument that makes no sense.
    pub fn parse(mut args: Args) -> Result<Self, Failure> {
        let spec = table::resolve(&args)?;
        let body = (spec.parse)(&mut Words::new(spec, &mut args))?;
        Ok(Self { spec, body })
    }
}

/// A command on data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// GET: the value of a key.
    Get {
        /// The key.
        key: Bytes,
    },
    /// SET, SETEX, PSETEX, GETSET.
    Set(Set),
    /// SETNX: sets a key that does not exist; answers a number.
    SetNx {
        /// The key.
        key: Bytes,
        /// Its value.
        value: Bytes,
    },
    /// GETDEL: the value of a key, which is deleted.
    GetDel {
        /// The key.
        key: Bytes,
    },
    /// GETEX: the value of a key, whose expiry may change.
    GetEx {
        /// The key.
        key: Bytes,
        /// What becomes of its expiry.
        change: ExpiryChange,
    },
    /// MGET: the values of several keys.
    MGet {
        /// The keys; at least one.
        keys: Keys,
    },
    /// MSET: sets several keys.
    MSet {
        /// Keys and values; at least one pair.
        pairs: Vec<(Bytes, Bytes)>,
    },
    /// MSETNX: sets several keys if none of them exists.
    MSetNx {
        /// Keys and values; at least one pair.
        pairs: Vec<(Bytes, Bytes)>,
    },
    /// APPEND.
    Append {
        /// The key.
        key: Bytes,
        /// What its value is made longer by.
        value: Bytes,
    },
    /// STRLEN.
    StrLen {
        /// The key.
        key: Bytes,
    },
    /// GETRANGE, SUBSTR: a part of a value. Negative positions count from its end.
    GetRange {
        /// The key.
        key: Bytes,
        /// The first byte.
        start: i64,
        /// The last byte.
        end: i64,
    },
    /// SETRANGE: overwrites a part of a value, zero bytes filling a gap.
    SetRange {
        /// The key.
        key: Bytes,
        /// Where to write.
        offset: u64,
        /// What to write.
        value: Bytes,
    },
    /// GETBIT.
    GetBit {
        /// The key.
        key: Bytes,
        /// Which bit.
        offset: u64,
    },
    /// SETBIT.
    SetBit {
        /// The key.
        key: Bytes,
        /// Which bit.
        offset: u64,
        /// Whether it is set or cleared.
        on: bool,
    },
    /// BITCOUNT.
    BitCount {
        /// The key.
        key: Bytes,
        /// Of which part of the value.
        range: Option<BitRange>,
    },
    /// BITPOS.
    BitPos {
        /// The key.
        key: Bytes,
        /// Whether a bit is sought that is set.
        on: bool,
        /// In which part of the value.
        range: Option<BitRange>,
    },
    /// BITOP.
    BitOp {
        /// What is done.
        operation: BitOperation,
        /// Where what comes of it is stored.
        to: Bytes,
        /// With the values of these; at least one.
        keys: Keys,
    },
    /// BITFIELD, BITFIELD_RO.
    BitField {
        /// The key.
        key: Bytes,
        /// One after the other.
        steps: Vec<BitFieldStep>,
    },
    /// The commands on hashes.
    Hash {
        /// The key.
        key: Bytes,
        /// What is asked of it.
        ask: HashCommand,
    },
    /// The commands on lists.
    List {
        /// The key, or the first of several.
        key: Bytes,
        /// What is asked of it.
        ask: ListCommand,
    },
    /// The commands on sets.
    SetOf {
        /// The key, or the first of several.
        key: Bytes,
        /// What is asked of it.
        ask: SetOfCommand,
    },
    /// The commands on sorted sets.
    Zset {
        /// The key, or the first of several.
        key: Bytes,
        /// What is asked of it.
        ask: ZsetCommand,
    },
    /// What EXEC runs.
    Atomic(Atomic),
    /// BLPOP and its like.
    Blocking(Blocking),
    /// The commands on places.
    Geo {
        /// The key, or the first of two.
        key: Bytes,
        /// What is asked of it.
        ask: GeoCommand,
    },
    /// The commands on HyperLogLogs.
    HyperLogLog {
        /// The key, or the first of several.
        key: Bytes,
        /// What is asked of it.
        ask: HyperLogLogCommand,
    },
    /// SORT, SORT_RO.
    Sort(Sort),
    /// INCR, DECR, INCRBY, DECRBY.
    IncrBy {
        /// The key.
        key: Bytes,
        /// What is added.
        delta: i64,
    },
    /// INCRBYFLOAT. The number is read when the key's type is known to be right, as Redis does.
    IncrByFloat {
        /// The key.
        key: Bytes,
        /// What is added, as text.
        increment: Bytes,
    },
    /// DEL, UNLINK.
    Del {
        /// The keys; at least one.
        keys: Keys,
    },
    /// DELEX with a condition, DELIFEQ.
    DelIf {
        /// The key.
        key: Bytes,
        /// What its value must be for it to be deleted.
        condition: ValueCondition,
    },
    /// EXISTS: how many of the keys exist, a key named twice counting twice.
    Exists {
        /// The keys; at least one.
        keys: Keys,
    },
    /// TOUCH: like EXISTS, for access times are not kept.
    Touch {
        /// The keys; at least one.
        keys: Keys,
    },
    /// TYPE.
    Type {
        /// The key.
        key: Bytes,
    },
    /// EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT.
    Expire {
        /// The key.
        key: Bytes,
        /// When it expires. In the past: at once.
        expiry: Expiry,
        /// What its expiry must be for it to be changed.
        condition: ExpireCondition,
    },
    /// What holds a lock for longer, by EVAL.
    ExpireIf(ExpireIf),
    /// TTL, PTTL, EXPIRETIME, PEXPIRETIME.
    Ttl {
        /// The key.
        key: Bytes,
        /// How the time is told.
        form: TtlForm,
    },
    /// PERSIST.
    Persist {
        /// The key.
        key: Bytes,
    },
    /// RENAME, RENAMENX.
    Rename {
        /// The key.
        from: Bytes,
        /// Its new name.
        to: Bytes,
        /// Only if no key of that name exists; the answer is then a number.
        if_absent: bool,
    },
    /// COPY.
    Copy {
        /// The key.
        from: Bytes,
        /// The key it is copied to.
        to: Bytes,
        /// Whether that may exist.
        replace: bool,
    },
    /// OBJECT ENCODING, REFCOUNT, IDLETIME, FREQ.
    Object {
        /// The key.
        key: Bytes,
        /// What is asked about it.
        question: ObjectQuestion,
    },
    /// MEMORY USAGE.
    MemoryUsage {
        /// The key.
        key: Bytes,
    },
    /// SCAN: some of the keys, and where to go on.
    Scan(Scan),
    /// KEYS.
    Keys {
        /// A glob pattern.
        pattern: Bytes,
    },
    /// RANDOMKEY.
    RandomKey,
    /// DBSIZE.
    DbSize,
    /// FLUSHALL, FLUSHDB: there is one database.
    FlushAll,
}

impl Command {
    /// The keys, in the order of the request; none if the command concerns all of them.
    pub fn keys(&self) -> impl Iterator<Item = &Bytes> {
        let (one, two): (Option<&Bytes>, Option<&Bytes>) = match self {
            Self::Get { key }
            | Self::Set(Set { key, .. })
            | Self::SetNx { key, .. }
            | Self::GetDel { key }
            | Self::GetEx { key, .. }
            | Self::Append { key, .. }
            | Self::StrLen { key }
            | Self::GetRange { key, .. }
            | Self::SetRange { key, .. }
            | Self::GetBit { key, .. }
            | Self::SetBit { key, .. }
            | Self::BitCount { key, .. }
            | Self::BitPos { key, .. }
            | Self::BitField { key, .. }
            | Self::BitOp { to: key, .. }
            | Self::Hash { key, .. }
            | Self::List { key, .. }
            | Self::SetOf { key, .. }
            | Self::Zset { key, .. }
            | Self::Geo { key, .. }
            | Self::HyperLogLog { key, .. }
            | Self::Sort(Sort { key, .. })
            | Self::IncrBy { key, .. }
            | Self::IncrByFloat { key, .. }
            | Self::DelIf { key, .. }
            | Self::Type { key }
            | Self::Expire { key, .. }
            | Self::ExpireIf(ExpireIf { key, .. })
            | Self::Ttl { key, .. }
            | Self::Persist { key }
            | Self::Object { key, .. }
            | Self::MemoryUsage { key } => (Some(key), None),
            Self::Rename { from, to, .. } | Self::Copy { from, to, .. } => (Some(from), Some(to)),
            _ => (None, None),
        };
        let many: &[Bytes] = match self {
            Self::MGet { keys } | Self::Del { keys } | Self::Exists { keys } | Self::Touch { keys } => keys,
            Self::BitOp { keys, .. } => keys,
            Self::List { ask, .. } => ask.more_keys(),
            Self::SetOf { ask, .. } => ask.more_keys(),
            Self::Zset { ask, .. } => ask.more_keys(),
            Self::Geo { ask, .. } => ask.more_keys(),
            Self::HyperLogLog { ask, .. } => ask.more_keys(),
            Self::Sort(Sort { store, .. }) => store.as_slice(),
            _ => &[],
        };
        let pairs: &[(Bytes, Bytes)] = match self {
            Self::MSet { pairs } | Self::MSetNx { pairs } => pairs,
            _ => &[],
        };
        let parts = match self {
            Self::Atomic(atomic) => Some(atomic.keys()),
            Self::Blocking(blocking) => Some(blocking.keys()),
            _ => None,
        };
        let own = one.into_iter().chain(two).chain(many).chain(pairs.iter().map(|(key, _)| key));
        own.chain(parts.into_iter().flatten())
    }

    /// The slot all its keys are in; `None` if it concerns the whole keyspace.
    ///
    /// # Errors
    /// [`Failure::CrossSlot`] if its keys are in different slots.
    pub fn slot(&self) -> Result<Option<Slot>, Failure> {
        let mut keys = self.keys();
        let Some(slot) = keys.next().map(|key| Slot::of_key(key)) else { return Ok(None) };
        if keys.all(|key| Slot::of_key(key) == slot) { Ok(Some(slot)) } else { Err(Failure::CrossSlot) }
    }

    /// Whether it may change data. A write may still turn out to change nothing.
    #[must_use]
    pub fn is_write(&self) -> bool {
        match self {
            Self::Set(_)
            | Self::SetNx { .. }
            | Self::GetDel { .. }
            | Self::MSet { .. }
            | Self::MSetNx { .. }
            | Self::Append { .. }
            | Self::SetRange { .. }
            | Self::SetBit { .. }
            | Self::BitOp { .. }
            | Self::IncrBy { .. }
            | Self::IncrByFloat { .. }
            | Self::Del { .. }
            | Self::DelIf { .. }
            | Self::Expire { .. }
            | Self::ExpireIf(_)
            | Self::Persist { .. }
            | Self::Rename { .. }
            | Self::Copy { .. }
            | Self::Atomic(_)
            | Self::Blocking(_)
            | Self::FlushAll => true,
            Self::BitField { steps, .. } => !steps.iter().all(|step| matches!(step, BitFieldStep::Get(_))),
            Self::Hash { ask, .. } => ask.is_write(),
            Self::List { ask, .. } => ask.is_write(),
            Self::SetOf { ask, .. } => ask.is_write(),
            Self::Zset { ask, .. } => ask.is_write(),
            Self::Geo { ask, .. } => ask.is_write(),
            Self::HyperLogLog { ask, .. } => ask.is_write(),
            Self::Sort(sort) => sort.store.is_some(),
            Self::GetEx { change, .. } => *change != ExpiryChange::Keep,
            Self::Get { .. }
            | Self::MGet { .. }
            | Self::StrLen { .. }
            | Self::GetRange { .. }
            | Self::GetBit { .. }
            | Self::BitCount { .. }
            | Self::BitPos { .. }
            | Self::Exists { .. }
            | Self::Touch { .. }
            | Self::Type { .. }
            | Self::Ttl { .. }
            | Self::Object { .. }
            | Self::MemoryUsage { .. }
            | Self::Scan(_)
            | Self::Keys { .. }
            | Self::RandomKey
            | Self::DbSize => false,
        }
    }

    /// Whether it may read keys that it does not name, all of them in its slot.
    #[must_use]
    pub fn reads_unnamed_keys(&self) -> bool {
        matches!(self, Self::Sort(sort) if sort.reads_others())
    }

    /// Whether it concerns all keys, of every slot and every group.
    #[must_use]
    pub fn is_keyspace_wide(&self) -> bool {
        matches!(self, Self::Scan(_) | Self::Keys { .. } | Self::RandomKey | Self::DbSize | Self::FlushAll)
    }
}

#[cfg(test)]
mod tests;
