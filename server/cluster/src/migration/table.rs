//! A group's slots, as its log has them: the same on every replica that has the same log.
//!
//! What is applied decides what may be shown; what is appended decides what may be written and which step may follow. The driver tells
//! of every record about whole slots as it appends, applies and truncates it, and judges every write to a key by
//! [`SlotTable::accepts`] where it gives the write its LSN: nothing may lie between the two.

use std::collections::{BTreeMap, VecDeque};

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::{GroupTime, Lineage, Lsn, MigrationId, Slot, SlotMapVersion, SlotRange};

use super::ranges::SlotValues;
use super::states::{Contradiction, SlotState, Standing};
use super::step::{Cursor, Fence, Step, StepKind};

/// The slots of a group at one place in its log. A value: two logs that agree make the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Slots {
    standings: SlotValues<Standing>,
    imports: BTreeMap<MigrationId, Import>,
    exports: BTreeMap<MigrationId, Export>,
    version: SlotMapVersion,
    latest: MigrationId,
    lineage: Lineage,
}

/// What a target knows of a move by its log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Import {
    /// The slots.
    pub slots: Vec<SlotRange>,
    /// The source's history that is being copied.
    pub source_lineage: Lineage,
    /// How far it has come; `None` if nothing has arrived.
    pub cursor: Option<Cursor>,
    /// How many frames have been taken in.
    pub frames: u64,
    /// Where the source closed the slots; set when everything up to there has arrived.
    pub ready: Option<Fence>,
}

/// What a source knows of a move by its log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Export {
    /// The slots.
    pub slots: Vec<SlotRange>,
    /// Records from here on are kept.
    pub pin: Option<Lsn>,
    /// Where the slots were closed.
    pub fence: Option<Fence>,
}

/// A group's slots, applied and appended.
#[derive(Clone, Debug, Default)]
pub struct SlotTable {
    applied: Slots,
    appended: Slots,
    /// Steps not applied yet, ascending.
    pending: VecDeque<Appended>,
}

#[derive(Clone, Debug)]
struct Appended {
    lsn: Lsn,
    time: GroupTime,
    step: Step,
}

impl Slots {
    /// What a slot is, with its past.
    #[must_use]
    pub fn standing(&self, slot: Slot) -> Standing {
        self.standings.get(slot)
    }

    /// What a slot is.
    #[must_use]
    pub fn state(&self, slot: Slot) -> SlotState {
        self.standing(slot).state
    }

    /// The slots that are this group's and open, in order: what a flush or a scan of all keys concerns. What is being imported is
    /// nobody's yet, and what is fenced may be another's already.
    pub fn owned(&self) -> impl Iterator<Item = SlotRange> {
        self.ranges(|state| {
            matches!(state, SlotState::Owned)
                || (is_broken(Rule::M19) && matches!(state, SlotState::Importing(_) | SlotState::Ready(_)))
        })
    }

    /// The slots in such a state, in order.
    pub fn ranges(&self, such: impl Fn(SlotState) -> bool) -> impl Iterator<Item = SlotRange> {
        self.standings.iter().filter(move |(_, standing)| such(standing.state)).map(|(range, _)| range)
    }

    /// Every range of slots that are or were something here, with what it is: for snapshots and reports.
    pub fn standings(&self) -> impl Iterator<Item = (SlotRange, Standing)> {
        self.standings.iter()
    }

    /// The moves that bring slots, with how far they have come.
    #[must_use]
    pub fn imports(&self) -> &BTreeMap<MigrationId, Import> {
        &self.imports
    }

    /// The moves that take slots away.
    #[must_use]
    pub fn exports(&self) -> &BTreeMap<MigrationId, Export> {
        &self.exports
    }

    /// The greatest version of the slot map by which slots were given to this group. A slot map older than this was restored from a
    /// backup.
    #[must_use]
    pub fn version(&self) -> SlotMapVersion {
        self.version
    }

    /// The latest move that this log tells of.
    #[must_use]
    pub fn latest(&self) -> MigrationId {
        self.latest
    }

    /// The history whose beginning was reconciled with the slot map.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        self.lineage
    }

    /// The first record that some move still needs.
    #[must_use]
    pub fn pinned(&self) -> Option<Lsn> {
        self.exports.values().filter_map(|export| export.pin).min()
    }

    /// Whether the step follows.
    ///
    /// # Errors
    /// [`Contradiction`], naming the first slot of which it does not.
    pub fn check(&self, step: &Step) -> Result<(), Contradiction> {
        for range in &step.slots {
            for (part, standing) in self.standings.within(*range) {
                if standing.after(step.migration, &step.kind).is_none() {
                    let (migration, kind, slot) = (step.migration, step.kind, part.first());
                    return Err(Contradiction { migration, kind, slot, standing });
                }
            }
        }
        Ok(())
    }

    /// Makes the step, whose record is `lsn` in a batch of group time `time`.
    fn take(&mut self, lsn: Lsn, time: GroupTime, step: &Step) -> Result<(), Contradiction> {
        self.check(step)?;
        for range in &step.slots {
            self.standings.update(*range, |standing| standing.after(step.migration, &step.kind).unwrap_or(standing));
        }
        if step.migration > self.latest {
            self.latest = step.migration;
        }
        self.note(lsn, time, step);
        Ok(())
    }

    fn note(&mut self, lsn: Lsn, time: GroupTime, step: &Step) {
        let Step { migration, slots, kind } = step;
        match *kind {
            StepKind::Begin { source_lineage } => {
                let import = Import { slots: slots.clone(), source_lineage, cursor: None, frames: 0, ready: None };
                self.imports.insert(*migration, import);
            }
            StepKind::Cursor(cursor) => {
                if let Some(import) = self.imports.get_mut(migration) {
                    import.cursor = Some(cursor);
                    import.frames += 1;
                }
            }
            StepKind::Ready(fence) => {
                if let Some(import) = self.imports.get_mut(migration) {
                    import.ready = Some(fence);
                }
            }
            StepKind::Abort => {
                self.imports.remove(migration);
            }
            StepKind::Own { version } => {
                self.imports.remove(migration);
                self.version = self.version.max(version);
            }
            StepKind::Pin { from } => self.export(*migration, slots).pin = Some(from),
            StepKind::Fence { lives } => {
                self.export(*migration, slots).fence = Some(Fence { at: lsn, time, lives });
            }
            StepKind::Unfence | StepKind::Drop => {
                self.exports.remove(migration);
            }
            StepKind::Reconcile { lineage, version } => {
                self.lineage = lineage;
                self.version = self.version.max(version);
                let gone = |of: &[SlotRange]| of.iter().any(|range| slots.iter().any(|other| range.overlaps(*other)));
                self.imports.retain(|_, import| !gone(&import.slots));
                self.exports.retain(|_, export| !gone(&export.slots));
            }
        }
    }

    fn export(&mut self, migration: MigrationId, slots: &[SlotRange]) -> &mut Export {
        let new = || Export { slots: slots.to_vec(), pin: None, fence: None };
        self.exports.entry(migration).or_insert_with(new)
    }
}

impl SlotTable {
    /// The table of an empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The table of a log that begins with a snapshot.
    #[must_use]
    pub fn restored(slots: Slots) -> Self {
        Self { applied: slots.clone(), appended: slots, pending: VecDeque::new() }
    }

    /// What a snapshot of the applied log must hold of the slots: everything.
    #[must_use]
    pub fn snapshot(&self) -> Slots {
        let mut slots = self.applied.clone();
        if is_broken(Rule::M23) {
            slots.standings.update(SlotRange::ALL, |standing| match standing.state {
                SlotState::Fenced(_) => Standing { state: SlotState::Owned, ..standing },
                _ => standing,
            });
            slots.exports.clear();
        }
        slots
    }

    /// As of what is applied.
    #[must_use]
    pub fn applied(&self) -> &Slots {
        &self.applied
    }

    /// As of what is appended.
    #[must_use]
    pub fn appended(&self) -> &Slots {
        &self.appended
    }

    /// Whether a write to a key of the slot may be appended now.
    #[must_use]
    pub fn accepts(&self, slot: Slot) -> bool {
        let slots = if is_broken(Rule::M15) { &self.applied } else { &self.appended };
        slots.state(slot) == SlotState::Owned
    }

    /// Whether a read of the slot has to wait until something about it that is appended is applied.
    #[must_use]
    pub fn is_changing(&self, slot: Slot) -> bool {
        self.changing().any(|range| range.contains(slot))
    }

    /// The slots of which that is so.
    pub fn changing(&self) -> impl Iterator<Item = SlotRange> {
        let pending = self.pending.iter().filter(|appended| appended.step.holds() && !is_broken(Rule::M9));
        pending.flat_map(|appended| appended.step.slots.iter().copied())
    }

    /// Appends a step. Whoever appends a step of its own has checked it against [`appended`](Self::appended) before.
    ///
    /// # Errors
    /// [`Contradiction`]: the log contradicts itself, and this replica must halt.
    pub fn append(&mut self, lsn: Lsn, time: GroupTime, step: Step) -> Result<(), Contradiction> {
        self.appended.take(lsn, time, &step)?;
        self.pending.push_back(Appended { lsn, time, step });
        Ok(())
    }

    /// Everything below is applied. Returns the steps that were, in order.
    ///
    /// # Errors
    /// [`Contradiction`]: this replica must halt.
    pub fn apply_to(&mut self, high_watermark: Lsn) -> Result<Vec<Step>, Contradiction> {
        let mut done = Vec::new();
        while let Some(appended) = self.pending.pop_front_if(|appended| appended.lsn < high_watermark) {
            self.applied.take(appended.lsn, appended.time, &appended.step)?;
            done.push(appended.step);
        }
        Ok(done)
    }

    /// Everything from `log_end` on was truncated.
    ///
    /// # Errors
    /// [`Contradiction`]: this replica must halt.
    pub fn truncate_to(&mut self, log_end: Lsn) -> Result<(), Contradiction> {
        if self.pending.pop_back_if(|appended| appended.lsn >= log_end).is_none() {
            return Ok(());
        }
        while self.pending.pop_back_if(|appended| appended.lsn >= log_end).is_some() {}
        self.appended = self.applied.clone();
        for appended in &self.pending {
            self.appended.take(appended.lsn, appended.time, &appended.step)?;
        }
        Ok(())
    }

    /// Whether a step of the move is appended and not applied: what it did may be undone yet.
    #[must_use]
    pub fn is_pending_of(&self, migration: MigrationId) -> bool {
        !is_broken(Rule::M40) && self.pending.iter().any(|appended| appended.step.migration == migration)
    }

    /// Whether something about slots is appended and not applied.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests;
