//! Whether a group's log and the slot map tell the same story, and what to do where they do not.
//!
//! They part for a moment in every move, and the move explains it. Otherwise they part when a group has begun another history, which
//! lacks the end of the one before: then the log follows the slot map, as far as nothing is lost by it. And they part when the metadata
//! store was restored from a backup: then nothing is changed, and somebody is told.

use std::collections::BTreeSet;

use simplekv_types::{GroupId, Lineage, MigrationId, MigrationState, Side, Slot, SlotRange};

use super::change::MoveRecords;
use super::states::SlotState;
use super::step::{Step, StepKind};
use super::table::Slots;

/// How log and slot map compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// Owned by the log, another's by the slot map, and no move explains it.
    pub(crate) foreign: Vec<SlotRange>,
    /// This group's by the slot map, not by the log, and no move brings them.
    pub(crate) missing: Vec<SlotRange>,
    /// Complete by the log and this group's by the slot map: only the record that says so is lost. By the moves that brought them.
    pub(crate) complete: Vec<(MigrationId, SlotRange)>,
}

/// Compares a log's slots with the slot map.
pub(crate) fn compare(group: GroupId, slots: &Slots, records: &MoveRecords) -> Comparison {
    let mut found = Comparison::default();
    let held = slots.standings().filter(|(_, standing)| standing.state != SlotState::Nothing).map(|(range, _)| range);
    let concerned: BTreeSet<Slot> = held.chain(records.slots.ranges_of(group)).flat_map(|range| range.iter()).collect();
    // A group that was founded and has logged nothing yet has lost nothing: its version is 0.
    for slot in concerned {
        let standing = slots.standing(slot);
        let mapped = records.slots.owner(slot) == Some(group);
        match standing.state {
            SlotState::Owned if !mapped && !explains(records, slot, group, Side::Source) => {
                push(&mut found.foreign, slot)
            }
            SlotState::Ready(migration) if mapped && records.migration(migration).is_none() => {
                match found.complete.last_mut() {
                    Some((last, range)) if *last == migration && range.last().number() + 1 == slot.number() => {
                        *range = SlotRange::new(range.first(), slot).unwrap_or(*range);
                    }
                    _ => found.complete.push((migration, slot.into())),
                }
            }
            SlotState::Nothing | SlotState::Importing(_)
                if mapped && slots.version().0 > 0 && !explains(records, slot, group, Side::Target) =>
            {
                push(&mut found.missing, slot);
            }
            _ => (),
        }
    }
    found
}

/// What the first leader of a history logs before it serves anything. Asked again when that is committed: the last step is the one that
/// says that slots and slot map agree.
pub(crate) fn reconcile(group: GroupId, lineage: Lineage, slots: &Slots, records: &MoveRecords) -> Vec<Step> {
    // Of a move that this side has closed nothing should be left, and soon its record is not either.
    let is_past = |migration: MigrationId| {
        let record = records.migration(migration).map(|(record, _)| record);
        record.is_none_or(|record| record.side(group).is_none_or(|side| record.is_closed(side)))
    };
    let mut steps = Vec::new();
    for (range, standing) in slots.standings() {
        for slot in range.iter() {
            let mapped = records.slots.owner(slot) == Some(group);
            match standing.state {
                // It was handed over, and the record that closed it is lost. What is left may be all there is: it is kept, not shown.
                SlotState::Owned if !mapped => {
                    if let Some(migration) = handed_over(records, slot, group, Side::Source) {
                        add(&mut steps, migration, slot, StepKind::Fence { lives: 0 });
                    }
                }
                // How such a move ended is forgotten, because both sides had said that nothing was left of it; the slot map knows.
                SlotState::Fenced(migration) if is_past(migration) => {
                    add(&mut steps, migration, slot, if mapped { StepKind::Unfence } else { StepKind::Drop });
                }
                SlotState::Importing(migration) if is_past(migration) => {
                    add(&mut steps, migration, slot, StepKind::Abort);
                }
                SlotState::Ready(migration) if is_past(migration) => {
                    let kind = if mapped { StepKind::Own { version: records.version } } else { StepKind::Abort };
                    add(&mut steps, migration, slot, kind);
                }
                _ => (),
            }
        }
    }
    for (migration, export) in slots.exports().iter().filter(|(migration, _)| is_past(**migration)) {
        let open =
            export.slots.iter().flat_map(|range| range.iter()).filter(|slot| slots.state(*slot) == SlotState::Owned);
        open.for_each(|slot| add(&mut steps, *migration, slot, StepKind::Unfence));
    }
    if steps.is_empty() {
        let Comparison { foreign, .. } = compare(group, slots, records);
        let kind = StepKind::Reconcile { lineage, version: records.version };
        steps.push(Step { migration: MigrationId::FOUNDING, slots: foreign, kind });
    }
    steps
}

/// Adds a slot to the step of its kind.
fn add(steps: &mut Vec<Step>, migration: MigrationId, slot: Slot, kind: StepKind) {
    match steps.iter_mut().find(|step| step.migration == migration && step.kind == kind) {
        Some(step) => push(&mut step.slots, slot),
        None => steps.push(Step { migration, slots: vec![slot.into()], kind }),
    }
}

/// The move that was handed over and takes the slot from or to this group.
fn handed_over(records: &MoveRecords, slot: Slot, group: GroupId, side: Side) -> Option<MigrationId> {
    let migration = records.slots.migration(slot)?;
    let (record, _) = records.migration(migration)?;
    let is_it = record.group(side) == group && record.state == MigrationState::Done && !record.is_closed(side);
    is_it.then_some(migration)
}

fn explains(records: &MoveRecords, slot: Slot, group: GroupId, side: Side) -> bool {
    handed_over(records, slot, group, side).is_some()
}

fn push(ranges: &mut Vec<SlotRange>, slot: Slot) {
    match ranges.last_mut() {
        Some(last) if last.last().number() + 1 == slot.number() => {
            *last = SlotRange::new(last.first(), slot).unwrap_or(*last);
        }
        _ => ranges.push(slot.into()),
    }
}
