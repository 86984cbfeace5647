//! One file's content: what readers see, and what of it the disk holds for certain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::random::Random;

/// What a disk writes all or nothing of, in bytes.
const SECTOR_BYTES: u64 = 512;

#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    /// The page cache. Shared between forks until one of them writes.
    content: Arc<Vec<u8>>,
    /// The disk's version of every sector that differs, or may differ, from the page cache.
    behind: BTreeMap<u64, Vec<u8>>,
    /// Sectors in `behind` that no sync will write any more, because one has failed.
    forgotten: BTreeSet<u64>,
    durable_length: u64,
}

impl Inode {
    pub(super) fn durable(content: Vec<u8>) -> Self {
        Self { durable_length: content.len() as u64, content: Arc::new(content), ..Self::default() }
    }

    pub(super) fn content(&self) -> &[u8] {
        &self.content
    }

    pub(super) fn length(&self) -> u64 {
        self.content.len() as u64
    }

    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let available = self.content.get(from..).unwrap_or_default();
        let n = available.len().min(buffer.len());
        for (to, byte) in buffer.iter_mut().zip(available) {
            *to = *byte;
        }
        n
    }

    /// Where the first byte other than zero is, rounded down to its sector.
    pub(super) fn next_data(&self, offset: u64) -> Option<u64> {
        let rest = self.content.get(index(offset)..)?;
        let found = offset + rest.iter().position(|byte| *byte != 0)? as u64;
        Some(offset.max(found / SECTOR_BYTES * SECTOR_BYTES))
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        self.mark(offset, end);
        let content = Arc::make_mut(&mut self.content);
        if (content.len() as u64) < end {
            content.resize(index(end), 0);
        }
        if let Some(target) = content.get_mut(index(offset)..index(end)) {
            target.copy_from_slice(bytes);
        }
    }

    pub(super) fn set_length(&mut self, length: u64) {
        if length < self.length() {
            self.mark(length, self.length());
        }
        Arc::make_mut(&mut self.content).resize(index(length), 0);
    }

    pub(super) fn sync(&mut self) {
        let forgotten = &self.forgotten;
        self.behind.retain(|sector, _| forgotten.contains(sector));
        self.durable_length = self.length();
    }

    pub(super) fn fail_sync(&mut self) {
        self.forgotten.extend(self.behind.keys().copied());
    }

    pub(super) fn flip_bit(&mut self, offset: u64, bit: u8) -> bool {
        let sector = offset / SECTOR_BYTES;
        let within = index(offset % SECTOR_BYTES);
        if let Some(byte) = self.behind.get_mut(&sector).and_then(|old| old.get_mut(within)) {
            *byte ^= 1 << (bit % 8);
        }
        let Some(byte) = Arc::make_mut(&mut self.content).get_mut(index(offset)) else { return false };
        *byte ^= 1 << (bit % 8);
        true
    }

    /// Every sector the disk is behind with is written or not. The seed also decides how: all, none, a prefix, or any subset.
    pub(super) fn lose_power(&mut self, random: &mut Random) {
        let behind = std::mem::take(&mut self.behind);
        let pattern = random.below(4);
        let prefix = random.below(behind.len() as u64 + 1);
        let keeps_length = self.length() != self.durable_length && random.coin();
        let content = Arc::make_mut(&mut self.content);
        let cached_length = content.len() as u64;
        if !keeps_length {
            content.resize(index(self.durable_length), 0);
        }
        for (rank, (sector, old)) in behind.into_iter().enumerate() {
            let written = match pattern {
                0 => true,
                1 => false,
                2 => (rank as u64) < prefix,
                _ => random.coin(),
            };
            let beyond = sector * SECTOR_BYTES >= cached_length;
            if !written || beyond || self.forgotten.contains(&sector) {
                restore(content, sector, &old);
            }
        }
        self.forgotten.clear();
        self.durable_length = self.length();
    }

    /// Remembers the disk's version of the sectors of `from..to` before they change.
    fn mark(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        for sector in from / SECTOR_BYTES..=(to - 1) / SECTOR_BYTES {
            self.forgotten.remove(&sector);
            let content = &self.content;
            self.behind.entry(sector).or_insert_with(|| {
                let start = index(sector * SECTOR_BYTES).min(content.len());
                let end = index((sector + 1) * SECTOR_BYTES).min(content.len());
                content.get(start..end).unwrap_or_default().to_vec()
            });
        }
    }
}

/// Puts the disk's version of a sector back, as far as the file is long; what the disk never had is zero.
fn restore(content: &mut [u8], sector: u64, old: &[u8]) {
    let start = index(sector * SECTOR_BYTES);
    let end = index((sector + 1) * SECTOR_BYTES).min(content.len());
    let Some(target) = content.get_mut(start..end) else { return };
    let mut old = old.iter();
    for byte in target {
        *byte = old.next().copied().unwrap_or(0);
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
