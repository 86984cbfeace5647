//! Places and eras in a group's log.

use std::fmt;
use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// A record's place in a group's log, dense from 0. As a watermark it is exclusive: `lsn < log_end` means "we have it".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The beginning of every log.
    pub const ZERO: Lsn = Lsn(0);

    /// The record before this one; `None` at the beginning of the log.
    #[must_use]
    pub fn prev(self) -> Option<Lsn> {
        self.0.checked_sub(1).map(Lsn)
    }
}

impl Add<u64> for Lsn {
    type Output = Lsn;

    fn add(self, records: u64) -> Lsn {
        Lsn(self.0 + records)
    }
}

impl Sub for Lsn {
    type Output = u64;

    /// How many records lie in `rhs..self`.
    fn sub(self, rhs: Lsn) -> u64 {
        self.0 - rhs.0
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a leadership of one group: one more at each change, so that everything of an earlier one is recognised as past.
/// 0 is before the first election.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch of a group that never had a leader.
    pub const ZERO: Epoch = Epoch(0);

    /// The epoch the next election creates.
    #[must_use]
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a group's history. It changes only when a group goes on after all its in-sync replicas lost data: positions of an
/// earlier lineage prove nothing in a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lineage(pub u64);

impl Lineage {
    /// The history that replaces this one.
    #[must_use]
    pub fn next(self) -> Lineage {
        Lineage(self.0 + 1)
    }
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
