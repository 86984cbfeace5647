//! One element, as the index knows it.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;
use simplekv_types::{Lsn, ValueType};

use crate::position_of;

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The segment's number.
    pub segment: u32,
    /// The record's first byte in there.
    pub offset: u32,
    /// Bytes of the whole record.
    pub length: u32,
    /// The record's place in the log.
    pub lsn: Lsn,
}

/// Where an element's value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// In this record.
    Log(Place),
    /// Here: its record is not written yet.
    Here(Bytes),
}

/// An element.
#[derive(Clone, Debug)]
pub struct Element {
    /// Of a hash its field, of a set or sorted set its member, of a list its label.
    pub name: Arc<[u8]>,
    /// Where its value is. A set's elements have none, a sorted set's are their scores.
    pub at: At,
    /// Of a sorted set's element. Zero else.
    pub score: f64,
    /// Where it stands in the order of scans. Zero in a list, whose elements stand in the order of their names.
    pub(crate) position: u64,
}

impl Element {
    pub(crate) fn compare(&self, position: u64, name: &[u8]) -> Ordering {
        self.position.cmp(&position).then_with(|| (*self.name).cmp(name))
    }
}

/// The value of a sorted set's element.
#[must_use]
pub fn score_value(score: f64) -> [u8; 8] {
    score.to_le_bytes()
}

/// The score in the value of a sorted set's element; `None` if it is none.
#[must_use]
pub fn score_in(value: &[u8]) -> Option<f64> {
    value.try_into().ok().map(f64::from_le_bytes).filter(|score| !score.is_nan())
}

/// The position of a name in a collection of a type.
pub(crate) fn position_in(kind: ValueType, name: &[u8]) -> u64 {
    if kind == ValueType::List { 0 } else { position_of(name) }
}
