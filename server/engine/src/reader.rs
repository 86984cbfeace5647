//! Reading what is applied, from any thread.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLockReadGuard;
use simplekv_collections::{Collection, Place};
use simplekv_types::{GroupTime, Lsn, Slot};

use crate::engine::Shared;
use crate::error::ReadError;
use crate::keydir::{Entry, Keydir, Location, RecordBytes, Source};
use crate::record::{BadRecord, Layout, ValueType};

/// A key's value with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The value.
    pub value: Bytes,
    /// What the value is.
    pub value_type: ValueType,
    /// The group time at which the key vanishes; `None` if never.
    pub expire_at: Option<GroupTime>,
    /// The record that holds it.
    pub lsn: Lsn,
}

/// What is known of a key without reading its value. Stays readable whatever happens to the key, and to its segment.
#[derive(Clone, Debug)]
pub struct Located {
    /// What the value is.
    pub value_type: ValueType,
    /// The group time at which the key vanishes; `None` if never.
    pub expire_at: Option<GroupTime>,
    /// The record that holds the value.
    pub lsn: Lsn,
    /// The last record that changed the key: one of its elements', or the same.
    pub changed: Lsn,
    slot: Slot,
    location: Location,
    bytes: u64,
    source: Arc<Source>,
}

/// A key's elements with what belongs to them, as long as they are held still.
#[derive(Clone, Copy, Debug)]
pub struct FoundElements<'a> {
    /// The elements. A clone stays as they are now.
    pub collection: &'a Collection,
    /// The group time at which the key vanishes; `None` if never.
    pub expire_at: Option<GroupTime>,
    /// The last record that changed anything of the key.
    pub changed: Lsn,
}

/// How much a slot holds. Keys that have expired are not counted, once they are removed, which happens soon after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotStats {
    /// Keys.
    pub keys: u64,
    /// Bytes of their records in the log.
    pub bytes: u64,
}

/// How full of live records a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentStats {
    /// The segment's number.
    pub segment: u64,
    /// Bytes written to it.
    pub bytes: u64,
    /// Bytes of records that are some key's newest applied one. What is left is dead, not applied yet, or overhead.
    pub live_bytes: u64,
}

/// Reads what is applied. Cheap to clone; outlives the engine.
#[derive(Clone, Debug)]
pub struct Reader {
    shared: Arc<Shared>,
}

/// Holds the applied state still: everything read under one guard is of one moment, and no command is half visible. The engine
/// cannot apply meanwhile, so a guard is held for lookups, not for I/O.
#[derive(Debug)]
pub struct ReadGuard<'a> {
    keydir: RwLockReadGuard<'a, Keydir>,
    shared: &'a Shared,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Holds the applied state still until the guard is dropped. A thread that holds one reads through it and through nothing else:
    /// to wait for the applied state twice is to wait for ever once the engine waits in between.
    #[must_use]
    pub fn guard(&self) -> ReadGuard<'_> {
        ReadGuard { keydir: self.shared.keydir.read(), shared: &self.shared }
    }

    /// Everything below is applied.
    #[must_use]
    pub fn applied(&self) -> Lsn {
        self.shared.applied()
    }

    /// Group time of the last applied batch.
    #[must_use]
    pub fn applied_time(&self) -> GroupTime {
        self.shared.keydir.read().time()
    }

    /// As [`ReadGuard::pending_lsn`], of this moment.
    #[must_use]
    pub fn pending_lsn(&self, slot: Slot, key: &[u8]) -> Option<Lsn> {
        self.guard().pending_lsn(slot, key)
    }

    /// What a slot holds.
    #[must_use]
    pub fn stats(&self, slot: Slot) -> SlotStats {
        self.guard().stats(slot)
    }

    /// What all slots hold.
    #[must_use]
    pub fn totals(&self) -> SlotStats {
        let keydir = self.shared.keydir.read();
        SlotStats { keys: keydir.keys(), bytes: keydir.bytes() }
    }

    /// No applied record of a key is longer than this, in bytes. An upper bound: it does not fall when the longest goes.
    #[must_use]
    pub fn longest_record(&self) -> u32 {
        self.shared.longest()
    }

    /// When the next key expires; `None` if none ever does. Later than the applied time.
    #[must_use]
    pub fn next_expiry(&self) -> Option<GroupTime> {
        self.shared.keydir.read().next_expiry()
    }
}

impl ReadGuard<'_> {
    /// Everything below is applied, and nothing else.
    #[must_use]
    pub fn applied(&self) -> Lsn {
        self.keydir.applied()
    }

    /// Group time of the last applied batch.
    #[must_use]
    pub fn applied_time(&self) -> GroupTime {
        self.keydir.time()
    }

    /// What is known of a key without reading its value; `None` if there is no such key.
    #[must_use]
    pub fn locate(&self, slot: Slot, key: &[u8]) -> Option<Located> {
        let entry = self.keydir.find_visible(slot, self.shared.hasher.hash(key), key)?;
        Some(self.located(slot, entry))
    }

    /// Whether there is such a key.
    #[must_use]
    pub fn contains(&self, slot: Slot, key: &[u8]) -> bool {
        self.keydir.find_visible(slot, self.shared.hasher.hash(key), key).is_some()
    }

    /// The last record that is appended, not applied, and may change what a read of this key answers: of the key itself, of its
    /// whole slot, or one that brings group time to the key's expiry. `None`: what the guard shows is not about to change. Otherwise
    /// a follower may answer once `applied` is *beyond* the record.
    #[must_use]
    pub fn pending_lsn(&self, slot: Slot, key: &[u8]) -> Option<Lsn> {
        let hash = self.shared.hasher.hash(key);
        let expiry = self.keydir.find_visible(slot, hash, key).and_then(Entry::expire_at);
        // A record leaves the overlay only after the keydir has it; in between it is in both, and no longer pending.
        let last = self.shared.overlay().last_change(slot, hash, key, expiry);
        last.filter(|lsn| *lsn >= self.keydir.applied())
    }

    /// A key's value. Reads the disk under the guard: right for values that are likely cached, else see [`ReadGuard::locate`].
    ///
    /// # Errors
    /// As [`Located::read`].
    pub fn get(&self, slot: Slot, key: &[u8]) -> Result<Option<Found>, ReadError> {
        let Some(entry) = self.keydir.find_visible(slot, self.shared.hasher.hash(key), key) else { return Ok(None) };
        let value = read_value(self.source(entry), entry.location(), slot, entry.lsn)?;
        Ok(Some(Found { value, value_type: entry.value_type(), expire_at: entry.expire_at(), lsn: entry.lsn }))
    }

    /// The elements of a key; `None` if there is no such key, or it holds a string.
    #[must_use]
    pub fn elements(&self, slot: Slot, key: &[u8]) -> Option<FoundElements<'_>> {
        let entry = self.keydir.find_visible(slot, self.shared.hasher.hash(key), key)?;
        let elements = entry.elements()?;
        let (collection, changed) = (&elements.collection, elements.changed);
        Some(FoundElements { collection, expire_at: entry.expire_at(), changed })
    }

    /// The value of an element that is in the log. Reads the disk under the guard, as [`ReadGuard::get`].
    ///
    /// # Errors
    /// [`ReadError`]; never anything that was not written.
    pub fn element_value(&self, slot: Slot, place: Place) -> Result<Bytes, ReadError> {
        let Place { segment, offset, length, lsn } = place;
        read_value(self.segment(segment), Location { segment, offset, length }, slot, lsn)
    }

    /// The greatest number that a life of a collection in the slot has had.
    #[must_use]
    pub fn incarnation(&self, slot: Slot) -> u64 {
        self.keydir.incarnation(slot).max(self.shared.overlay.read().incarnation(slot))
    }

    /// Has the processor fetch what a lookup of the key will look at. A lookup waits for memory several times in a row; when this is
    /// called for every key of a pipeline before the first is looked up, the waits overlap.
    pub fn prefetch(&self, slot: Slot, key: &[u8]) {
        self.keydir.touch(slot, self.shared.hasher.hash(key));
    }

    /// Has the processor fetch a key's value, if that is a string. To be called when [`ReadGuard::prefetch`] was for all keys.
    pub fn prefetch_value(&self, slot: Slot, key: &[u8]) {
        if let Some(entry) = self.keydir.find(slot, self.shared.hasher.hash(key), key)
            && entry.elements().is_none()
        {
            self.source(entry).touch(entry.location());
        }
    }

    /// Shows the visible keys of a slot with what is known of them, about `limit` at a time, in an order of their own. `cursor` is 0
    /// at first; what is returned goes into the next call, `None` is the end. A key that is there from the first call to the last
    /// is shown exactly once, whatever happens to others meanwhile.
    pub fn scan(&self, slot: Slot, cursor: u32, limit: usize, show: &mut dyn FnMut(&[u8], Located)) -> Option<u32> {
        let table = self.keydir.slot(slot)?;
        table.scan(
            cursor,
            limit,
            |key| self.shared.hasher.hash(key),
            |_, entry| {
                if entry.is_visible(self.keydir.time()) {
                    show(entry.key(), self.located(slot, entry));
                }
            },
        )
    }

    /// Shows every visible key of a slot.
    pub fn keys(&self, slot: Slot, show: &mut dyn FnMut(&[u8])) {
        if let Some(table) = self.keydir.slot(slot) {
            table.for_each(|entry| {
                if entry.is_visible(self.keydir.time()) {
                    show(entry.key());
                }
            });
        }
    }

    /// What a slot holds.
    #[must_use]
    pub fn stats(&self, slot: Slot) -> SlotStats {
        self.keydir
            .slot(slot)
            .map_or_else(SlotStats::default, |table| SlotStats { keys: table.keys(), bytes: table.bytes() })
    }

    fn located(&self, slot: Slot, entry: &Entry) -> Located {
        Located {
            value_type: entry.value_type(),
            expire_at: entry.expire_at(),
            lsn: entry.lsn,
            changed: entry.changed(),
            slot,
            location: entry.location(),
            bytes: entry.bytes(),
            source: Arc::clone(self.source(entry)),
        }
    }

    fn source(&self, entry: &Entry) -> &Arc<Source> {
        self.segment(entry.location().segment)
    }

    /// Where the records of a segment with live ones are read from.
    pub(crate) fn segment(&self, segment: u32) -> &Arc<Source> {
        self.keydir.source(segment).expect("a live record's segment is known")
    }

    /// About `limit` keys of a slot from a place in the order of scans on, expired or not, by place and then by key; and the place to go
    /// on with, `None` at the end.
    pub(crate) fn places(&self, slot: Slot, from: u32, limit: usize) -> (Vec<(u32, &Entry)>, Option<u32>) {
        let mut found = Vec::new();
        let Some(table) = self.keydir.slot(slot) else { return (found, None) };
        let hash = |key: &[u8]| self.shared.hasher.hash(key);
        let next = table.scan(from, limit, hash, |place, entry| found.push((place, entry)));
        found.sort_unstable_by(|(one, first), (other, second)| {
            one.cmp(other).then_with(|| first.key().cmp(second.key()))
        });
        (found, next)
    }
}

impl Located {
    /// How many bytes of the log are the key's: the value's, or its elements', and a little more.
    #[must_use]
    pub fn record_bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads and verifies the value. May wait for the disk.
    ///
    /// # Errors
    /// [`ReadError`]; never anything that was not written.
    pub fn read(&self) -> Result<Found, ReadError> {
        let value = read_value(&self.source, self.location, self.slot, self.lsn)?;
        Ok(Found { value, value_type: self.value_type, expire_at: self.expire_at, lsn: self.lsn })
    }
}

/// Reads the record `lsn` and takes its value out.
fn read_value(source: &Source, location: Location, slot: Slot, lsn: Lsn) -> Result<Bytes, ReadError> {
    let (bytes, value_begins) = read_record(source, location, slot, lsn)?;
    Ok(bytes.into_bytes_from(value_begins))
}

/// Reads and verifies the record `lsn`; and tells where its value begins.
pub(crate) fn read_record(
    source: &Source,
    location: Location,
    slot: Slot,
    lsn: Lsn,
) -> Result<(RecordBytes<'_>, usize), ReadError> {
    let (segment, offset) = (u64::from(location.segment), u64::from(location.offset));
    let corrupt = |reason| ReadError::Corrupt { segment, offset, slot, lsn, reason };
    let bytes = source.read(location).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => corrupt(BadRecord::CutOff),
        _ => ReadError::Io { segment, offset, slot, error },
    })?;
    let layout = Layout::verify(bytes.as_slice()).map_err(corrupt)?;
    if layout.lsn != lsn || layout.length != location.length as usize {
        return Err(ReadError::Misplaced { segment, offset, slot, lsn, found: layout.lsn });
    }
    let value_begins = layout.length - layout.value().map_err(corrupt)?.len();
    Ok((bytes, value_begins))
}
