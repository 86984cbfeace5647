//! A slot's records read back piece by piece, for a move to another group.
//!
//! A copy is fuzzy: each piece is of another moment, and tells which. Whoever sends a piece and then everything the log holds of the
//! slot from that moment on has left nothing out, because what changed between two pieces is in the log behind the first. So a piece
//! is sent before any later record, and never kept for later.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use simplekv_collections::{At, Place};
use simplekv_types::{Lsn, Slot};

use crate::error::ReadError;
use crate::keydir::{Entry, Location, Source};
use crate::reader::{ReadGuard, read_record};

/// How many keys are looked at together: so many are sorted for one piece.
const KEYS_AT_ONCE: usize = 512;
/// How many elements are looked at together.
const ELEMENTS_AT_ONCE: usize = 512;

/// How far the copy of a slot has come. A new one stands at the beginning. Means nothing to another replica, or after a restart: who
/// goes on elsewhere begins the slot again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyCursor {
    /// The place in the order of scans of the key to go on with.
    place: u32,
    /// Keys of this place that have been copied, or partly.
    within: Option<Within>,
}

/// Where a copy goes on among the keys of one place, which go by their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Within {
    key: Box<[u8]>,
    /// Which life of the key, and the position of the next of its elements; `None`: the key is done.
    elements: Option<(u64, u64)>,
}

/// Records of a slot, each the newest applied one of its key or element at the same moment. None of them is read yet, and they stay
/// readable whatever is applied meanwhile.
#[derive(Debug)]
pub struct CopyPiece {
    /// Everything below was applied then.
    pub applied: Lsn,
    /// Where the slot goes on; `None`: this was its last piece.
    pub next: Option<CopyCursor>,
    slot: Slot,
    records: Vec<CopiedRecord>,
    /// Bytes of the records.
    bytes: usize,
}

#[derive(Debug)]
struct CopiedRecord {
    source: Arc<Source>,
    location: Location,
    lsn: Lsn,
}

impl ReadGuard<'_> {
    /// The records of a slot from `cursor` on, of about `bytes` bytes, and at least one if there is any: of every key its put, then of
    /// its elements. Keys whose time has come are copied like others as long as they are not removed: whether they may go is decided
    /// where they arrive.
    #[must_use]
    pub fn copy(&self, slot: Slot, cursor: &CopyCursor, bytes: usize) -> CopyPiece {
        let piece = CopyPiece { applied: self.applied(), next: None, slot, records: Vec::new(), bytes: 0 };
        Copying { guard: self, piece, bytes_max: bytes.max(1) }.run(cursor)
    }
}

impl CopyPiece {
    /// Bytes of the records.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Reads and verifies the records, and puts them behind one another as they stand in the log. May wait for the disk.
    ///
    /// # Errors
    /// [`ReadError`]; never anything that was not written.
    pub fn read(&self, into: &mut BytesMut) -> Result<(), ReadError> {
        into.reserve(self.bytes);
        for record in &self.records {
            let (bytes, _) = read_record(&record.source, record.location, self.slot, record.lsn)?;
            into.put_slice(bytes.as_slice());
        }
        Ok(())
    }
}

/// One piece in the making.
struct Copying<'a> {
    guard: &'a ReadGuard<'a>,
    piece: CopyPiece,
    bytes_max: usize,
}

impl<'a> Copying<'a> {
    fn run(mut self, cursor: &CopyCursor) -> CopyPiece {
        let mut within = cursor.within.as_ref();
        let mut place = Some(cursor.place);
        while let Some(from) = place {
            let (keys, next) = self.guard.places(self.piece.slot, from, KEYS_AT_ONCE);
            for (at, entry) in keys {
                let known = within.filter(|_| at == from);
                if known.is_some_and(|known| entry.key() < &*known.key) {
                    continue;
                }
                let known = known.filter(|known| *known.key == *entry.key());
                if let Some(stopped) = self.copy_key(entry, known) {
                    self.piece.next = Some(CopyCursor { place: at, within: Some(stopped) });
                    return self.piece;
                }
            }
            (place, within) = (next, None);
        }
        self.piece
    }

    /// Copies what is left of a key; where to go on if the piece is full.
    fn copy_key(&mut self, entry: &'a Entry, known: Option<&Within>) -> Option<Within> {
        let stopped = |elements| Some(Within { key: entry.key().into(), elements });
        let incarnation = entry.elements().map(|elements| elements.collection.incarnation());
        let from = match known {
            None => {
                self.push(entry.location(), entry.lsn);
                0
            }
            // Of a key that was copied, or has begun another life since, everything that is new is in the log behind that piece.
            Some(Within { elements: Some((life, position)), .. }) if incarnation == Some(*life) => *position,
            Some(_) => return None,
        };
        let mut position = incarnation.map(|_| from);
        while let Some(at) = position {
            if self.is_full() {
                return stopped(incarnation.map(|life| (life, at)));
            }
            position = self.copy_elements(entry, at);
        }
        if self.is_full() { stopped(None) } else { None }
    }

    /// Copies some elements; returns the position of the next one.
    fn copy_elements(&mut self, entry: &'a Entry, from: u64) -> Option<u64> {
        let collection = &entry.elements()?.collection;
        collection.scan(from, ELEMENTS_AT_ONCE, |element| {
            let At::Log(Place { segment, offset, length, lsn }) = element.at else {
                unreachable!("applied elements are in the log")
            };
            self.push(Location { segment, offset, length }, lsn);
        })
    }

    fn push(&mut self, location: Location, lsn: Lsn) {
        let source = Arc::clone(self.guard.segment(location.segment));
        self.piece.bytes += location.length as usize;
        self.piece.records.push(CopiedRecord { source, location, lsn });
    }

    fn is_full(&self) -> bool {
        self.piece.bytes >= self.bytes_max
    }
}
