//! Which keys exist and where their newest applied records are: all that readers see.
//!
//! One table per slot, so that a slot's keys and bytes are known exactly and a slot is dropped in one step. It changes only when a
//! record is applied; the record with the greatest LSN wins. Keys are held in memory, and nothing outside this module depends on
//! that.

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::sync::Arc;

use simplekv_collections::Collection;
use simplekv_types::{GroupTime, Lsn, SLOT_COUNT, Slot};

use crate::fs::File;
use crate::key_hash::KeyHasher;
use crate::record::ValueType;

pub(crate) use self::elements::ElementChange;
pub(crate) use self::entry::Entry;
use self::segments::Segments;
pub(crate) use self::segments::{RecordBytes, Source};
use self::slot_table::SlotTable;

mod elements;
mod entry;
mod segments;
mod slot_table;
mod staging;

/// Rows are allocated in blocks: a replica of a few slots does not pay for all of them.
const BLOCK_ROWS: usize = 256;
const BLOCKS: usize = SLOT_COUNT as usize / BLOCK_ROWS;

/// The keydir of one replica.
#[derive(Debug)]
pub(crate) struct Keydir {
    hasher: KeyHasher,
    blocks: Vec<Option<Box<[SlotTable; BLOCK_ROWS]>>>,
    segments: Segments,
    /// How many keys are to expire at which time. Exact: an entry is there as long as its key is.
    expiries: BTreeMap<Expiry, u32>,
    /// Tables of cleared slots whose records are still counted as live, and whose memory is still to be freed.
    cleared: Vec<(Slot, SlotTable)>,
    /// Collections that are no longer to be found, whose records are still counted as live.
    given_up: Vec<Collection>,
    /// By slot, the greatest number that a life of a collection has had. Never falls, whatever is deleted or cleared: elements of an
    /// earlier life must never be taken for those of a later one.
    incarnations: HashMap<Slot, u64>,
    /// Slots that are being imported, with what expired in them meanwhile and how many keys each time that was.
    staged: HashMap<Slot, Vec<(Expiry, u32)>>,
    keys: u64,
    bytes: u64,
    /// No record in the keydir is longer, in bytes. Never falls.
    longest: u32,
    /// Everything below is in the keydir, and nothing else.
    applied: Lsn,
    /// Group time of the last applied batch. Keys that expire up to it are gone, removed or not.
    time: GroupTime,
}

/// Ordered by time first, so that what is due stands in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Expiry {
    at: GroupTime,
    slot: Slot,
    hash: u64,
}

/// A put as the keydir needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewEntry<'a> {
    pub(crate) slot: Slot,
    pub(crate) hash: u64,
    pub(crate) key: &'a [u8],
    pub(crate) lsn: Lsn,
    pub(crate) expire_at: Option<GroupTime>,
    pub(crate) value_type: ValueType,
    /// Which life of the key it is, if it has elements.
    pub(crate) incarnation: Option<u64>,
    pub(crate) location: Location,
}

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

impl Keydir {
    /// An empty keydir; values in up to `mapped_bytes_max` bytes of the newest segments are read through mappings.
    pub(crate) fn new(hasher: KeyHasher, mapped_bytes_max: u64) -> Self {
        Self {
            hasher,
            blocks: (0..BLOCKS).map(|_| None).collect(),
            segments: Segments::new(mapped_bytes_max),
            expiries: BTreeMap::new(),
            cleared: Vec::new(),
            given_up: Vec::new(),
            incarnations: HashMap::new(),
            staged: HashMap::new(),
            keys: 0,
            bytes: 0,
            longest: 0,
            applied: Lsn::ZERO,
            time: GroupTime::ZERO,
        }
    }

    pub(crate) fn applied(&self) -> Lsn {
        self.applied
    }

    pub(crate) fn time(&self) -> GroupTime {
        self.time
    }

    pub(crate) fn keys(&self) -> u64 {
        self.keys
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn longest(&self) -> u32 {
        self.longest
    }

    pub(crate) fn slot(&self, slot: Slot) -> Option<&SlotTable> {
        let block = self.blocks.get(slot.index() / BLOCK_ROWS)?.as_ref()?;
        block.get(slot.index() % BLOCK_ROWS)
    }

    /// The entry of a key, expired or not.
    #[inline]
    pub(crate) fn find(&self, slot: Slot, hash: u64, key: &[u8]) -> Option<&Entry> {
        self.slot(slot)?.find(hash, key)
    }

    /// Brings what applying a record of the key will look at into the processor's caches. A lookup waits for memory several times in
    /// a row; done for many keys before any is changed, the waits overlap.
    #[inline]
    pub(crate) fn touch(&self, slot: Slot, hash: u64) {
        if let Some(row) = self.slot(slot) {
            row.touch(hash);
        }
    }

    /// The entry of a key that is visible now.
    #[inline]
    pub(crate) fn find_visible(&self, slot: Slot, hash: u64, key: &[u8]) -> Option<&Entry> {
        self.find(slot, hash, key).filter(|entry| entry.is_visible(self.time))
    }

    pub(crate) fn source(&self, segment: u32) -> Option<&Arc<Source>> {
        self.segments.source(segment)
    }

    pub(crate) fn live_bytes(&self, segment: u32) -> u64 {
        self.segments.live_bytes(segment)
    }

    /// When the next key expires; `None` if none ever does.
    pub(crate) fn next_expiry(&self) -> Option<GroupTime> {
        let later = Expiry { at: self.time.plus_millis(1), slot: Slot::MIN, hash: 0 };
        self.expiries.range(later..).next().map(|(expiry, _)| expiry.at)
    }

    /// Takes up a segment. What is returned is no longer needed and may take its time to go: better not under a lock.
    pub(crate) fn add_segment(&mut self, segment: u32, file: Arc<dyn File>) -> Vec<Arc<Source>> {
        self.segments.add(segment, file)
    }

    /// Takes a segment none of whose records is live out of use.
    pub(crate) fn remove_segment(&mut self, segment: u32) {
        self.segments.remove(segment);
    }

    /// Group time moves on; what is due becomes invisible at once and is removed by [`Keydir::reap`].
    pub(crate) fn advance_time(&mut self, time: GroupTime) {
        assert!(self.time <= time, "group time falls from {} to {time}", self.time);
        self.time = time;
    }

    /// Everything below `applied` has been applied.
    pub(crate) fn advance_applied(&mut self, applied: Lsn) {
        assert!(self.applied <= applied, "applied falls from {} to {applied}", self.applied);
        self.applied = applied;
    }

    /// Applies a put. One that is already expired deletes, unless its slot is being imported.
    pub(crate) fn put(&mut self, new: &NewEntry<'_>) {
        if let Some(incarnation) = new.incarnation {
            let known = self.incarnations.entry(new.slot).or_insert(0);
            *known = incarnation.max(*known);
        }
        if new.expire_at.is_some_and(|at| at <= self.time) && !self.staged.contains_key(&new.slot) {
            self.delete(new.slot, new.hash, new.key, new.lsn);
            return;
        }
        if new.incarnation.is_some() && self.renew(new) {
            return;
        }
        let hasher = &self.hasher;
        let row = row_mut(&mut self.blocks, new.slot);
        let replaced = match row.insert(Entry::new(new), new.hash, new.key, |key| hasher.hash(key)) {
            // An older record does not undo a newer one. It comes second only when segments are read out of order.
            Err(_) => return,
            Ok(replaced) => replaced,
        };
        self.keys += 1;
        self.bytes += u64::from(new.location.length);
        self.take_up(new);
        if let Some(old) = replaced {
            self.forget(new.slot, new.hash, old);
        }
    }

    /// Applies a put that says something new about a collection and keeps its elements; false if it does not.
    fn renew(&mut self, new: &NewEntry<'_>) -> bool {
        let row = row_mut(&mut self.blocks, new.slot);
        let known = row.find_mut(new.hash, new.key).filter(|entry| entry.lsn < new.lsn);
        let Some((location, expire_at)) = known.and_then(|entry| entry.renew(new)) else { return false };
        let (before, after) = (u64::from(location.length), u64::from(new.location.length));
        row.bytes_changed(before, after);
        self.bytes = self.bytes + after - before;
        self.segments.sub_live(location);
        if let Some(at) = expire_at {
            forget_expiry(&mut self.expiries, Expiry { at, slot: new.slot, hash: new.hash });
        }
        self.take_up(new);
        true
    }

    /// The put's record is live.
    fn take_up(&mut self, new: &NewEntry<'_>) {
        self.longest = self.longest.max(new.location.length);
        self.segments.add_live(new.location);
        if let Some(at) = new.expire_at {
            *self.expiries.entry(Expiry { at, slot: new.slot, hash: new.hash }).or_insert(0) += 1;
        }
    }

    /// Applies a deletion.
    pub(crate) fn delete(&mut self, slot: Slot, hash: u64, key: &[u8], lsn: Lsn) {
        let Some(block) = self.blocks.get_mut(slot.index() / BLOCK_ROWS).and_then(Option::as_mut) else { return };
        let Some(row) = block.get_mut(slot.index() % BLOCK_ROWS) else { return };
        if let Some(old) = row.remove(hash, |entry| entry.key() == key && entry.lsn < lsn) {
            self.forget(slot, hash, old);
        }
    }

    /// Drops everything a slot holds, at once for readers; the tables are taken apart by [`Keydir::reap`].
    pub(crate) fn clear(&mut self, slot: Slot) {
        let Some(block) = self.blocks.get_mut(slot.index() / BLOCK_ROWS).and_then(Option::as_mut) else { return };
        let Some(row) = block.get_mut(slot.index() % BLOCK_ROWS) else { return };
        if row.keys() > 0 {
            self.staged.entry(slot).and_modify(Vec::clear);
            let row = mem::take(row);
            self.keys -= row.keys();
            self.bytes -= row.bytes();
            self.cleared.push((slot, row));
        }
    }

    /// Removes expired keys and takes cleared tables and collections apart, about `budget` keys or elements of each. `expired` is
    /// shown the expired keys. True if there is more to do.
    pub(crate) fn reap(&mut self, budget: usize, expired: &mut dyn FnMut(&[u8])) -> bool {
        self.reap_expired(budget, expired);
        self.reap_cleared(budget);
        self.reap_elements(budget);
        let rest = !self.cleared.is_empty() || !self.given_up.is_empty();
        rest || self.expiries.first_key_value().is_some_and(|(expiry, _)| expiry.at <= self.time)
    }

    fn reap_expired(&mut self, budget: usize, expired: &mut dyn FnMut(&[u8])) {
        for _ in 0..budget {
            let Some(due) = self.expiries.first_entry().filter(|due| due.key().at <= self.time) else { return };
            let (expiry, keys) = due.remove_entry();
            if self.put_aside(expiry, keys) {
                continue;
            }
            let Expiry { at, slot, hash } = expiry;
            // Whatever of this hash is due goes; that two keys share a hash does not matter.
            while let Some(block) = self.blocks.get_mut(slot.index() / BLOCK_ROWS).and_then(Option::as_mut)
                && let Some(row) = block.get_mut(slot.index() % BLOCK_ROWS)
                && let Some(old) = row.remove(hash, |entry| entry.expire_at() == Some(at))
            {
                expired(old.key());
                self.keys -= 1;
                self.bytes -= old.bytes();
                self.segments.sub_live(old.location());
                self.give_up(old.content);
            }
        }
    }

    fn reap_cleared(&mut self, budget: usize) {
        let mut budget = budget;
        while budget > 0
            && let Some((slot, table)) = self.cleared.last_mut()
        {
            let slot = *slot;
            let Some(part) = table.take_part() else {
                self.cleared.pop();
                continue;
            };
            budget = budget.saturating_sub(part.len());
            for entry in part {
                self.segments.sub_live(entry.location());
                if let Some(at) = entry.expire_at() {
                    forget_expiry(&mut self.expiries, Expiry { at, slot, hash: self.hasher.hash(entry.key()) });
                }
                self.give_up(entry.content);
            }
        }
    }

    /// The entry is no longer in its slot's table.
    fn forget(&mut self, slot: Slot, hash: u64, old: Entry) {
        self.keys -= 1;
        self.bytes -= old.bytes();
        self.segments.sub_live(old.location());
        if let Some(at) = old.expire_at() {
            forget_expiry(&mut self.expiries, Expiry { at, slot, hash });
        }
        self.give_up(old.content);
    }
}

/// One key less expires there. None may be left if the time has come in between.
fn forget_expiry(expiries: &mut BTreeMap<Expiry, u32>, expiry: Expiry) {
    if let Some(count) = expiries.get_mut(&expiry) {
        *count -= 1;
        if *count == 0 {
            expiries.remove(&expiry);
        }
    }
}

fn row_mut(blocks: &mut [Option<Box<[SlotTable; BLOCK_ROWS]>>], slot: Slot) -> &mut SlotTable {
    let block = blocks.get_mut(slot.index() / BLOCK_ROWS).expect("there is a block for every slot");
    let block = block.get_or_insert_with(|| Box::new(std::array::from_fn(|_| SlotTable::default())));
    block.get_mut(slot.index() % BLOCK_ROWS).expect("a block has all its rows")
}

#[cfg(test)]
mod tests;
