//! The keys of one slot.
//!
//! A table of moderate size is one hash table. Beyond, it grows by splitting one part after the other (linear hashing), so that no
//! insert ever moves more than a few thousand entries, and a scan always has a part of bounded size to sort. Scans go by the *scan
//! order*, bits of the key's hash read backwards: a part is a contiguous range of it before and after any split, so a cursor stays
//! valid while the table grows.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as TableEntry;

use super::Entry;

/// A part is split when the parts hold this many keys on average.
const PART_KEYS: usize = 2048;

/// The keys of one slot with their exact totals.
///
/// One cache line: looking a key up costs this line, the tag of its bucket, and the bucket.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct SlotTable {
    /// The first part stands here and not in `more`, because it is the only one of nearly every slot.
    first: HashTable<Entry>,
    more: Vec<HashTable<Entry>>,
    bytes: u64,
}

/// The bits of a hash that choose the part. Others than those the parts themselves go by.
fn part_bits(hash: u64) -> u32 {
    u32::try_from(hash >> 24 & u64::from(u32::MAX)).expect("masked to 32 bits")
}

/// A key's place in the order of scans. Several keys may share one.
fn scan_order(hash: u64) -> u32 {
    part_bits(hash).reverse_bits()
}

impl SlotTable {
    pub(crate) fn keys(&self) -> u64 {
        self.more.iter().map(|part| part.len() as u64).sum::<u64>() + self.first.len() as u64
    }

    /// Bytes of the keys' records in the log.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<&Entry> {
        self.part(hash).find(hash, |entry| entry.key() == key)
    }

    pub(super) fn find_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut Entry> {
        self.part_mut(hash).find_mut(hash, |entry| entry.key() == key)
    }

    /// What an entry's records take up has changed.
    pub(super) fn bytes_changed(&mut self, before: u64, after: u64) {
        self.bytes = self.bytes + after - before;
    }

    /// Brings what [`SlotTable::find`] and an insert will look at into the processor's caches.
    #[inline]
    pub(super) fn touch(&self, hash: u64) {
        // A key is found under its hash nearly always; that its entry has no such LSN takes looking at it.
        std::hint::black_box(self.part(hash).find(hash, |entry| entry.lsn.0 == u64::MAX).is_some());
    }

    /// Puts an entry in place of the key's older one, which is returned. A newer one stays, and the new entry comes back.
    pub(super) fn insert(
        &mut self,
        new: Entry,
        hash: u64,
        key: &[u8],
        rehash: impl Fn(&[u8]) -> u64,
    ) -> Result<Option<Entry>, Entry> {
        let length = new.bytes();
        match self.part_mut(hash).entry(hash, |entry| entry.key() == key, |entry| rehash(entry.key())) {
            TableEntry::Occupied(mut old) => {
                if old.get().lsn >= new.lsn {
                    return Err(new);
                }
                let old = std::mem::replace(old.get_mut(), new);
                self.bytes = self.bytes + length - old.bytes();
                Ok(Some(old))
            }
            TableEntry::Vacant(vacant) => {
                vacant.insert(new);
                self.bytes += length;
                if self.first.len() > PART_KEYS {
                    self.split_if_full(rehash);
                }
                Ok(None)
            }
        }
    }

    /// Removes the first entry found under `hash` that `is_meant`.
    pub(super) fn remove(&mut self, hash: u64, is_meant: impl Fn(&Entry) -> bool) -> Option<Entry> {
        let (old, _) = self.part_mut(hash).find_entry(hash, is_meant).ok()?.remove();
        self.bytes -= old.bytes();
        Some(old)
    }

    /// Takes one part out, to be taken apart. `None` when nothing is left. The totals no longer hold.
    pub(super) fn take_part(&mut self) -> Option<HashTable<Entry>> {
        self.more.pop().or_else(|| Some(std::mem::take(&mut self.first)).filter(|part| !part.is_empty()))
    }

    /// Shows about `limit` entries from `cursor` on in scan order, and at least one if there is any; returns where to go on, `None`
    /// at the end. Every entry that stays in the table from the first call to the last is shown once, with its place.
    pub(crate) fn scan<'a>(
        &'a self,
        cursor: u32,
        limit: usize,
        rehash: impl Fn(&[u8]) -> u64,
        mut show: impl FnMut(u32, &'a Entry),
    ) -> Option<u32> {
        let mut cursor = cursor;
        let mut left = limit.max(1);
        loop {
            let (part, last) = self.part_at(cursor);
            let mut entries: Vec<(u32, &Entry)> =
                part.iter().map(|entry| (scan_order(rehash(entry.key())), entry)).collect();
            entries.retain(|(order, _)| *order >= cursor);
            entries.sort_unstable_by_key(|(order, _)| *order);
            let mut shown: Option<u32> = None;
            for (order, entry) in entries {
                // Keys that share a place are shown together: the cursor cannot stop between them.
                if left == 0 && shown != Some(order) {
                    return Some(order);
                }
                show(order, entry);
                shown = Some(order);
                left = left.saturating_sub(1);
            }
            cursor = last.checked_add(1)?;
            if left == 0 {
                return Some(cursor);
            }
        }
    }

    pub(crate) fn for_each(&self, mut show: impl FnMut(&Entry)) {
        self.first.iter().chain(self.more.iter().flatten()).for_each(&mut show);
    }

    fn part(&self, hash: u64) -> &HashTable<Entry> {
        if self.more.is_empty() {
            return &self.first;
        }
        self.part_number(part_index(part_bits(hash), self.more.len() + 1))
    }

    fn part_mut(&mut self, hash: u64) -> &mut HashTable<Entry> {
        match part_index(part_bits(hash), self.more.len() + 1).checked_sub(1) {
            None => &mut self.first,
            Some(index) => self.more.get_mut(index).expect("a part index is below the number of parts"),
        }
    }

    fn part_number(&self, index: usize) -> &HashTable<Entry> {
        match index.checked_sub(1) {
            None => &self.first,
            Some(index) => self.more.get(index).expect("a part index is below the number of parts"),
        }
    }

    /// The part that holds a place in scan order, and the last place it holds.
    fn part_at(&self, order: u32) -> (&HashTable<Entry>, u32) {
        let parts = self.more.len() + 1;
        let index = part_index(order.reverse_bits(), parts);
        let wide = parts.next_power_of_two();
        // Parts that have been split in this round, and those split off, go by one more bit than the rest.
        let is_split = index < parts - wide / 2 || index >= wide / 2;
        let bits = if parts == 1 { 0 } else { wide.trailing_zeros() - u32::from(!is_split) };
        let rest = u32::MAX.checked_shr(bits).unwrap_or(0);
        (self.part_number(index), order | rest)
    }

    fn split_if_full(&mut self, rehash: impl Fn(&[u8]) -> u64) {
        let parts = self.more.len() + 1;
        let keys = self.first.len() + self.more.iter().map(HashTable::len).sum::<usize>();
        if keys <= parts * PART_KEYS {
            return;
        }
        // The round began with the greatest power of two not above the number of parts.
        let round = 1 << parts.ilog2();
        let mut moved = HashTable::new();
        let stays = |entry: &Entry| part_index(part_bits(rehash(entry.key())), parts + 1) != parts;
        let source = match (parts - round).checked_sub(1) {
            None => &mut self.first,
            Some(index) => self.more.get_mut(index).expect("the part to split exists"),
        };
        for entry in source.extract_if(|entry| !stays(entry)) {
            moved.insert_unique(rehash(entry.key()), entry, |entry| rehash(entry.key()));
        }
        source.shrink_to_fit(|entry| rehash(entry.key()));
        self.more.push(moved);
    }
}

/// Which of `parts` parts the bits fall into.
fn part_index(bits: u32, parts: usize) -> usize {
    let wide = parts.next_power_of_two();
    let index = bits as usize & (wide - 1);
    if index < parts { index } else { index & (wide / 2 - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table_of(parts: usize) -> SlotTable {
        SlotTable { more: (1..parts).map(|_| HashTable::new()).collect(), ..SlotTable::default() }
    }

    #[test]
    fn parts_are_ranges_of_the_scan_order_at_any_number_of_them() {
        for parts in 1..=70 {
            let table = table_of(parts);
            let mut next = Some(0_u32);
            let mut visited = 0;
            while let Some(order) = next {
                let (part, last) = table.part_at(order);
                for inside in [order, last, order + (last - order) / 2] {
                    let by_hash = table.part(u64::from(inside.reverse_bits()) << 24);
                    assert!(std::ptr::eq(part, by_hash), "{parts} parts, place {inside}");
                }
                visited += 1;
                next = last.checked_add(1);
            }
            assert_eq!(visited, parts);
        }
    }
}
