//! Which slots a group owns, by its own log. A cached slot map never decides that.

use std::collections::VecDeque;

use simplekv_engine::record::{SlotChange, SlotChangeKind};
use simplekv_types::{Lsn, SLOT_COUNT, Slot, SlotMapVersion, SlotRange};

const WORDS: usize = SLOT_COUNT as usize / 64;

/// A set of slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotSet {
    words: Box<[u64; WORDS]>,
}

impl Default for SlotSet {
    fn default() -> Self {
        Self { words: Box::new([0; WORDS]) }
    }
}

impl SlotSet {
    /// Whether the slot is in the set.
    #[must_use]
    pub fn contains(&self, slot: Slot) -> bool {
        self.words.get(slot.index() / 64).is_some_and(|word| word >> (slot.index() % 64) & 1 == 1)
    }

    /// Adds the slots of a range.
    pub fn insert(&mut self, range: SlotRange) {
        for slot in range.iter() {
            if let Some(word) = self.words.get_mut(slot.index() / 64) {
                *word |= 1 << (slot.index() % 64);
            }
        }
    }

    /// How many slots are in the set.
    #[must_use]
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The set as ranges, in order.
    #[must_use]
    pub fn ranges(&self) -> Vec<SlotRange> {
        let mut ranges: Vec<SlotRange> = Vec::new();
        for slot in Slot::all().filter(|&slot| self.contains(slot)) {
            let wider = ranges
                .last()
                .filter(|last| last.last().number() + 1 == slot.number())
                .and_then(|last| SlotRange::new(last.first(), slot));
            match (wider, ranges.last_mut()) {
                (Some(wider), Some(last)) => *last = wider,
                _ => ranges.push(slot.into()),
            }
        }
        ranges
    }
}

/// Ownership as the log has it: applied, and as of everything appended.
#[derive(Debug, Default)]
pub struct SlotTable {
    applied: SlotSet,
    /// What writes are judged by: a slot given away by a record that is not committed yet takes no write behind it.
    appended: SlotSet,
    /// Whether any record has ever said who owns what.
    recorded: bool,
    /// The greatest version of the slot map by which slots were given, as of the applied log.
    version: SlotMapVersion,
    /// Records not applied yet.
    pending: VecDeque<Given>,
}

/// A record that gives this group slots.
#[derive(Debug)]
struct Given {
    lsn: Lsn,
    slots: Vec<SlotRange>,
    version: SlotMapVersion,
}

impl SlotTable {
    /// A record about slots was appended.
    pub(super) fn append(&mut self, lsn: Lsn, change: &SlotChange<'_>) {
        if change.kind == SlotChangeKind::Own {
            let ranges: Vec<SlotRange> = change.slots.iter().collect();
            ranges.iter().for_each(|range| self.appended.insert(*range));
            self.pending.push_back(Given { lsn, slots: ranges, version: SlotMapVersion(change.revision) });
        }
    }

    /// Everything below is applied. Whether that changed what is owned.
    pub(super) fn apply_to(&mut self, high_watermark: Lsn) -> bool {
        let mut changed = false;
        while let Some(given) = self.pending.pop_front_if(|given| given.lsn < high_watermark) {
            given.slots.into_iter().for_each(|range| self.applied.insert(range));
            self.version = self.version.max(given.version);
            self.recorded = true;
            changed = true;
        }
        changed
    }

    /// Everything from `log_end` on was truncated.
    pub(super) fn truncate_to(&mut self, log_end: Lsn) {
        while self.pending.pop_back_if(|given| given.lsn >= log_end).is_some() {}
        self.appended = self.applied.clone();
        for given in &self.pending {
            given.slots.iter().for_each(|range| self.appended.insert(*range));
        }
    }

    /// What is owned as of the applied log.
    pub(super) fn applied(&self) -> &SlotSet {
        &self.applied
    }

    /// The greatest version of the slot map by which slots are owned, as of the applied log.
    pub(super) fn version(&self) -> SlotMapVersion {
        self.version
    }

    /// Whether a write to the slot may be appended.
    pub(super) fn accepts(&self, slot: Slot) -> bool {
        self.appended.contains(slot)
    }

    /// What is owned as of everything appended.
    pub(super) fn appended(&self) -> &SlotSet {
        &self.appended
    }

    /// Whether no record has ever said who owns what.
    pub(super) fn is_unrecorded(&self) -> bool {
        !self.recorded && self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use simplekv_engine::record::SlotRanges;
    use simplekv_types::MigrationId;

    use super::*;

    fn own(ranges: &[SlotRange]) -> SlotChange<'_> {
        SlotChange {
            kind: SlotChangeKind::Own,
            migration: MigrationId(0),
            source: Lsn::ZERO,
            revision: 1,
            slots: SlotRanges::Given(ranges),
            details: &[],
            origin: None,
        }
    }

    #[test]
    fn slots_are_owned_for_writes_when_appended_and_for_reads_when_applied() {
        let mut table = SlotTable::default();
        assert!(table.is_unrecorded());
        table.append(Lsn(3), &own(&[SlotRange::ALL]));
        assert!(table.accepts(Slot::MIN) && table.accepts(Slot::MAX));
        assert!(!table.applied().contains(Slot::MIN));
        assert!(!table.apply_to(Lsn(3)), "record 3 itself is not below 3");
        assert_eq!(table.version(), SlotMapVersion(0));
        assert!(table.apply_to(Lsn(4)));
        assert_eq!(table.version(), SlotMapVersion(1));
        assert!(table.applied().contains(Slot::MAX));
        assert_eq!(table.applied().ranges(), [SlotRange::ALL]);
    }

    #[test]
    fn a_truncated_record_gave_nothing() {
        let mut table = SlotTable::default();
        table.append(Lsn(3), &own(&["0-9".parse().unwrap()]));
        table.append(Lsn(5), &own(&["16380-16383".parse().unwrap()]));
        table.truncate_to(Lsn(4));
        assert!(table.accepts(Slot::MIN));
        assert!(!table.accepts(Slot::MAX));
        table.truncate_to(Lsn(0));
        assert!(table.is_unrecorded());
        assert_eq!(table.appended().count(), 0);
    }
}
