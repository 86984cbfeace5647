//! Which slots a group owns, by its own log. A cached slot map never decides that.

use simplekv_cluster::migration::{Contradiction, SlotTable, Step, StepFields};
use simplekv_cluster::{OwnershipView, SlotStanding, standing};
use simplekv_engine::record::{SlotChange, SlotChangeKind};
use simplekv_types::{GroupId, GroupTime, Lineage, Lsn, Slot, SlotMap, SlotMapVersion};

use super::SlotSet;

/// A group's slots, applied and appended.
#[derive(Debug, Default)]
pub struct OwnedSlots {
    table: SlotTable,
    /// What writes are judged by: a slot given away by a record that is not committed yet takes no write behind it. Invariant: what
    /// `table` owns as of everything appended.
    writable: SlotSet,
    /// Whether something has changed that others have to know.
    news: bool,
}

/// A record about slots that cannot stand where it stands: the log contradicts itself, or is of a version this program does not know.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum BadStep {
    #[error(transparent)]
    Contradiction(#[from] Contradiction),
    #[error("record {lsn} about slots, of kind {kind:?}, cannot be read by this version")]
    Unknown { lsn: Lsn, kind: SlotChangeKind },
}

/// What a record about slots does; `None` if it only clears them.
pub(super) fn step_of(lsn: Lsn, change: &SlotChange<'_>) -> Result<Option<Step>, BadStep> {
    if change.kind == SlotChangeKind::Clear {
        return Ok(None);
    }
    let fields = StepFields {
        kind: change.kind as u8,
        source: change.source,
        revision: change.revision,
        details: change.details.to_vec(),
    };
    let step = Step::from_fields(change.migration, change.slots.iter().collect(), &fields);
    step.map(Some).ok_or(BadStep::Unknown { lsn, kind: change.kind })
}

impl OwnedSlots {
    /// A step is appended as `lsn`, in a batch of group time `time`.
    pub(super) fn append(&mut self, lsn: Lsn, time: GroupTime, step: Step) -> Result<(), Contradiction> {
        let holds = step.holds();
        self.table.append(lsn, time, step)?;
        if holds {
            self.changed();
        }
        Ok(())
    }

    /// Everything below is applied. Whether that was anything about slots.
    pub(super) fn apply_to(&mut self, high_watermark: Lsn) -> Result<bool, Contradiction> {
        let steps = self.table.apply_to(high_watermark)?;
        self.news |= steps.iter().any(Step::holds);
        Ok(!steps.is_empty())
    }

    /// Everything from `log_end` on was truncated.
    pub(super) fn truncate_to(&mut self, log_end: Lsn) -> Result<(), Contradiction> {
        self.table.truncate_to(log_end)?;
        self.changed();
        Ok(())
    }

    fn changed(&mut self) {
        self.writable = self.table.appended().owned().collect();
        self.news = true;
    }

    /// Whether something has changed since this was asked last that others have to know.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// What the log says.
    pub(super) fn table(&self) -> &SlotTable {
        &self.table
    }

    /// The greatest version of the slot map by which slots are owned, as of the applied log.
    pub(super) fn version(&self) -> SlotMapVersion {
        self.table.applied().version()
    }

    /// Lives of keys that begin in the slot are numbered from above this, whatever was counted here.
    pub(super) fn lives(&self, slot: Slot) -> u64 {
        self.table.appended().standing(slot).lives
    }

    /// The slots that may be written to.
    pub(super) fn writable(&self) -> &SlotSet {
        &self.writable
    }

    /// Whether no record has ever said who owns what.
    pub(super) fn is_unrecorded(&self) -> bool {
        let slots = self.table.appended();
        slots.version() == SlotMapVersion(0) && slots.imports().is_empty() && slots.lineage() == Lineage(0)
    }
}

/// A group's slots as everybody in the node sees them.
#[derive(Clone, Debug, Default)]
pub struct Ownership {
    /// Slots that may be shown whoever asks: owned by the applied log, with nothing appended that could end that.
    shown: SlotSet,
    table: SlotTable,
    lineage: Lineage,
}

impl Ownership {
    pub(super) fn new(slots: &OwnedSlots, lineage: Lineage) -> Self {
        let table = slots.table.clone();
        let is_reconciled = table.applied().lineage() >= lineage;
        let owned = table.applied().owned().filter(|_| is_reconciled);
        let mut shown: SlotSet = owned.collect();
        table.changing().for_each(|range| shown.remove(range));
        Self { shown, table, lineage }
    }

    /// Whether keys of the slot may be shown.
    #[must_use]
    pub fn shows(&self, slot: Slot) -> bool {
        self.shown.contains(slot)
    }

    /// The slots whose keys may be shown.
    #[must_use]
    pub fn shown(&self) -> &SlotSet {
        &self.shown
    }

    /// The group's history.
    pub(super) fn lineage(&self) -> Lineage {
        self.lineage
    }

    /// What to do with a request for a slot.
    #[must_use]
    pub fn standing(&self, group: GroupId, map: &SlotMap, version: SlotMapVersion, slot: Slot) -> SlotStanding {
        let Self { table, lineage, .. } = self;
        let view = OwnershipView { group, lineage: *lineage, slots: table, map, version, is_current: true };
        standing(&view, slot, SlotMapVersion(0))
    }
}

#[cfg(test)]
mod tests {
    use simplekv_cluster::migration::StepKind;
    use simplekv_engine::record::SlotRanges;
    use simplekv_types::{MigrationId, SlotRange};

    use super::*;

    fn founding(ranges: &[&str]) -> Step {
        let slots = ranges.iter().map(|range| range.parse().unwrap()).collect();
        Step { migration: MigrationId::FOUNDING, slots, kind: StepKind::Own { version: SlotMapVersion(1) } }
    }

    fn shows(slots: &OwnedSlots, slot: Slot) -> bool {
        Ownership::new(slots, Lineage(0)).shows(slot)
    }

    #[test]
    fn slots_are_owned_for_writes_when_appended_and_for_reads_when_applied() {
        let mut slots = OwnedSlots::default();
        assert!(slots.is_unrecorded());
        slots.append(Lsn(3), GroupTime(1), founding(&["0-16383"])).unwrap();
        assert!(slots.writable().contains(Slot::MIN) && slots.writable().contains(Slot::MAX));
        assert!(!shows(&slots, Slot::MIN));
        assert!(!slots.apply_to(Lsn(3)).unwrap(), "record 3 itself is not below 3");
        assert_eq!(slots.version(), SlotMapVersion(0));
        assert!(slots.apply_to(Lsn(4)).unwrap());
        assert_eq!(slots.version(), SlotMapVersion(1));
        assert!(shows(&slots, Slot::MAX));
        assert!(!Ownership::new(&slots, Lineage(1)).shows(Slot::MAX), "another history has to be reconciled first");
    }

    #[test]
    fn a_slot_is_closed_as_soon_as_that_is_appended() {
        let mut slots = OwnedSlots::default();
        slots.append(Lsn(3), GroupTime(1), founding(&["0-9"])).unwrap();
        slots.apply_to(Lsn(4)).unwrap();
        let five: SlotRange = "5".parse().unwrap();
        let step = |kind| Step { migration: MigrationId(7), slots: vec![five], kind };
        slots.append(Lsn(4), GroupTime(1), step(StepKind::Pin { from: Lsn(4) })).unwrap();
        assert!(shows(&slots, five.first()), "what is kept for a move changes nothing for anybody");
        slots.append(Lsn(5), GroupTime(1), step(StepKind::Fence { lives: 0 })).unwrap();
        assert!(!shows(&slots, five.first()) && !slots.writable().contains(five.first()));
        assert!(shows(&slots, Slot::MIN) && slots.writable().contains(Slot::MIN));
        slots.truncate_to(Lsn(5)).unwrap();
        assert!(shows(&slots, five.first()) && slots.writable().contains(five.first()));
    }

    #[test]
    fn a_truncated_record_gave_nothing() {
        let mut slots = OwnedSlots::default();
        slots.append(Lsn(3), GroupTime(1), founding(&["0-9"])).unwrap();
        slots.append(Lsn(5), GroupTime(1), founding(&["16380-16383"])).unwrap();
        slots.truncate_to(Lsn(4)).unwrap();
        assert!(slots.writable().contains(Slot::MIN));
        assert!(!slots.writable().contains(Slot::MAX));
        slots.truncate_to(Lsn(0)).unwrap();
        assert!(slots.is_unrecorded());
        assert_eq!(slots.writable().count(), 0);
    }

    #[test]
    fn a_record_of_another_version_is_not_guessed_at() {
        let ranges = [SlotRange::ALL];
        let change = SlotChange {
            kind: SlotChangeKind::Own,
            migration: MigrationId(0),
            source: Lsn::ZERO,
            revision: 1,
            slots: SlotRanges::Given(&ranges),
            details: &[1],
            origin: None,
        };
        assert!(matches!(step_of(Lsn(1), &change), Err(BadStep::Unknown { lsn: Lsn(1), .. })));
    }
}
