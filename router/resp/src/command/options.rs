//! What options of commands mean.

use bytes::Bytes;
use simplekv_types::{GroupTime, SlotRange};

/// SET with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// The key.
    pub key: Bytes,
    /// Its new value.
    pub value: Bytes,
    /// When it is set.
    pub condition: SetCondition,
    /// What becomes of its expiry.
    pub expiry: SetExpiry,
    /// Whether the old value is the answer.
    pub get: bool,
}

/// When SET sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SetCondition {
    /// Always.
    #[default]
    Always,
    /// NX: only a key that does not exist.
    IfAbsent,
    /// XX: only a key that exists.
    IfPresent,
    /// IFEQ and IFNE. A missing key is equal to nothing, so IFNE sets it.
    IfValue(ValueCondition),
}

/// What a value must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueCondition {
    /// Exactly this.
    Equal(Bytes),
    /// Anything but this.
    NotEqual(Bytes),
}

impl ValueCondition {
    /// Whether a value satisfies it.
    #[must_use]
    pub fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Equal(wanted) => value == wanted,
            Self::NotEqual(unwanted) => value != unwanted,
        }
    }
}

/// What SET does to the key's expiry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetExpiry {
    /// The key will not expire.
    #[default]
    Clear,
    /// KEEPTTL.
    Keep,
    /// EX, PX, EXAT, PXAT.
    Expire(Expiry),
}

/// What GETEX does to the key's expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryChange {
    /// Nothing: the command only reads.
    Keep,
    /// PERSIST.
    Persist,
    /// EX, PX, EXAT, PXAT.
    Expire(Expiry),
}

/// When a key is to expire, in milliseconds. Negative values only come from the EXPIRE family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// This long from now. Invariant: at most [`Expiry::AFTER_MAX`].
    After(i64),
    /// At this Unix time.
    At(i64),
}

impl Expiry {
    /// Longest time from now. Redis refuses a time that overflows when added to the clock; the clock is not known where requests
    /// are parsed, so the next five centuries are subtracted instead.
    pub const AFTER_MAX: i64 = i64::MAX - (1 << 44);

    /// The group time from which on the key is gone.
    #[must_use]
    pub fn at(self, now: GroupTime) -> GroupTime {
        match self {
            Self::After(millis) => GroupTime(now.0.saturating_add_signed(millis)),
            // Before the epoch is as good as at the epoch: long past.
            Self::At(millis) => GroupTime(u64::try_from(millis).unwrap_or(0)),
        }
    }
}

/// What a key's expiry must be for EXPIRE to change it. None of the fields: anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpireCondition {
    /// NX: it has none.
    pub absent: bool,
    /// XX: it has one.
    pub present: bool,
    /// GT: it is earlier than the new one; none counts as never.
    pub greater: bool,
    /// LT: it is later than the new one; none counts as never.
    pub less: bool,
}

/// How a time to live is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlForm {
    /// Seconds from now, rounded.
    Seconds,
    /// Milliseconds from now.
    Millis,
    /// Unix time in seconds, rounded.
    AtSeconds,
    /// Unix time in milliseconds.
    AtMillis,
}

/// What OBJECT asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectQuestion {
    /// How the value is stored, in Redis' terms.
    Encoding,
    /// How many references there are: one.
    RefCount,
    /// Seconds since the last access, which are not kept.
    IdleTime,
    /// How often it is accessed, which is not kept.
    Freq,
    /// Which of the key's states this is. Not known to Redis.
    Version,
}

/// SCAN with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Where to go on; 0 begins.
    pub cursor: u64,
    /// Only keys that match.
    pub pattern: Option<Bytes>,
    /// How many keys to look at, roughly. At least 1.
    pub count: u64,
    /// Only keys of this type, by its name. A name that no type has is matched by no key.
    pub kind: Option<Bytes>,
    /// Only keys of these slots. Not known to Redis: a router uses it to walk one group's part after another.
    pub slots: SlotRange,
}

impl Scan {
    /// How many keys are looked at unless COUNT says otherwise.
    pub const COUNT_DEFAULT: u64 = 10;
}

/// HSCAN, SSCAN and ZSCAN with their options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementScan {
    /// Where to go on; 0 begins.
    pub cursor: u64,
    /// Only elements whose names match.
    pub pattern: Option<Bytes>,
    /// How many elements to look at, roughly. At least 1.
    pub count: u64,
}
