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
    /// Where it stands: in the order of scans, or of a list.
    pub(crate) position: u64,
}

impl Element {
    /// One of a collection that is no list. `position`: that of its name, see [`position_of`]. `score`: of a sorted set's element, zero
    /// else.
    #[must_use]
    pub fn new(position: u64, name: Arc<[u8]>, at: At, score: f64) -> Self {
        Self { name, at, score, position }
    }

    /// Where it stands in the order of its collection; several may share a position.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// What it counts for: the bytes of its record in the log, or of its name and value.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match &self.at {
            At::Log(place) => u64::from(place.length),
            At::Here(value) => (self.name.len() + value.len()) as u64,
        }
    }

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

/// The position of a name in a collection of a type. In a list that is the first half of its label: elements stand in the order of
/// labels, and labels that were put next to each other differ there.
pub(crate) fn position_in(kind: ValueType, name: &[u8]) -> u64 {
    match kind {
        ValueType::List => name.first_chunk().map_or(0, |half| u64::from_be_bytes(*half)),
        _ => position_of(name),
    }
}
