//! Steps of slot moves as they stand in a group's log.
//!
//! A step is the content of one record about whole slots. Whoever encodes records knows its fields by [`Step::fields`], and makes it
//! again of them by [`Step::from_fields`]; the numbers of the kinds are those of the log's format.

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::{GroupTime, Lineage, Lsn, MigrationId, Slot, SlotMapVersion, SlotRange};

/// One step of one move, or what founds or reconciles a group's slots.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// The move; [`MigrationId::FOUNDING`] for a step that belongs to none.
    pub migration: MigrationId,
    /// The slots it is about.
    pub slots: Vec<SlotRange>,
    /// What happens to them.
    pub kind: StepKind,
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StepKind {
    /// The target takes the slots in from here on. Whatever it held of them is dead.
    Begin {
        /// The source's history that is being copied: places in its log are of this one.
        source_lineage: Lineage,
    },
    /// How far the target has come.
    Cursor(Cursor),
    /// The target has everything up to the fence.
    Ready(Fence),
    /// The target gives the import up. Whatever it brought is dead.
    Abort,
    /// The source closes the slots.
    Fence {
        /// Lives of keys in the slots are numbered up to here. Known to whoever appends the record: filled in there.
        lives: u64,
    },
    /// The source opens the slots again, and keeps nothing for the move any more.
    Unfence,
    /// The slots are this group's.
    Own {
        /// The version of the slot map that says so.
        version: SlotMapVersion,
    },
    /// The slots have left this group. Whatever it held of them is dead.
    Drop,
    /// The source keeps its records from here on for the move.
    Pin {
        /// The first record kept.
        from: Lsn,
    },
    /// Another history of the group begins with these slots not being its own. Whatever it held of them is dead.
    Reconcile {
        /// The history.
        lineage: Lineage,
        /// The version of the slot map that was looked at.
        version: SlotMapVersion,
    },
}

/// Where the source's log closed the slots, and what the target takes over from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fence {
    /// The fence's record in the source's log.
    pub at: Lsn,
    /// The source's group time there. What has expired by then has been seen to be expired.
    pub time: GroupTime,
    /// Lives of keys in the slots are numbered up to here.
    pub lives: u64,
}

/// How much of the source a target's log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Of the source's log everything that concerns the slots is there below this place.
    pub end: Lsn,
    /// The first slot that was not scanned to its end; `None` if all were.
    pub next_slot: Option<Slot>,
}

/// A step's content, in the fields of a record about whole slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepFields {
    /// The record's kind in the log's format.
    pub kind: u8,
    /// A place in the source's log, where the step has one.
    pub source: Lsn,
    /// A version of the slot map, where the step has one.
    pub revision: u64,
    /// Everything else: numbers of eight bytes, little-endian.
    pub details: Vec<u8>,
}

mod number {
    pub(super) const BEGIN: u8 = 17;
    pub(super) const CURSOR: u8 = 18;
    pub(super) const READY: u8 = 19;
    pub(super) const ABORT: u8 = 20;
    pub(super) const FENCE: u8 = 21;
    pub(super) const UNFENCE: u8 = 22;
    pub(super) const OWN: u8 = 23;
    pub(super) const DROP: u8 = 24;
    pub(super) const PIN: u8 = 25;
    pub(super) const RECONCILE: u8 = 26;
}

/// In a cursor: every slot is scanned.
const ALL_SCANNED: u64 = u64::MAX;

impl Step {
    /// Whether whatever the log says before about keys of the slots is dead from this step on.
    #[must_use]
    pub fn clears(&self) -> bool {
        match self.kind {
            StepKind::Begin { .. } => !is_broken(Rule::M11),
            StepKind::Abort | StepKind::Drop | StepKind::Reconcile { .. } => true,
            StepKind::Cursor(_)
            | StepKind::Ready(_)
            | StepKind::Fence { .. }
            | StepKind::Unfence
            | StepKind::Own { .. }
            | StepKind::Pin { .. } => false,
        }
    }

    /// Whether what may be asked of the slots is another thing once the step is applied: until then nobody can say.
    #[must_use]
    pub fn holds(&self) -> bool {
        !matches!(self.kind, StepKind::Cursor(_) | StepKind::Pin { .. })
    }

    /// The group time that the step's batch must not be earlier than.
    #[must_use]
    pub fn not_before(&self) -> GroupTime {
        match self.kind {
            StepKind::Ready(fence) if !is_broken(Rule::M20) => fence.time,
            _ => GroupTime::ZERO,
        }
    }

    /// The content of the step's record, its move and slots apart.
    #[must_use]
    pub fn fields(&self) -> StepFields {
        let (kind, source, revision, details) = match self.kind {
            StepKind::Begin { source_lineage } => (number::BEGIN, Lsn::ZERO, 0, vec![source_lineage.0]),
            StepKind::Cursor(Cursor { end, next_slot }) => {
                (number::CURSOR, end, 0, vec![next_slot.map_or(ALL_SCANNED, |slot| slot.number().into())])
            }
            StepKind::Ready(Fence { at, time, lives }) => (number::READY, at, 0, vec![time.0, lives]),
            StepKind::Abort => (number::ABORT, Lsn::ZERO, 0, Vec::new()),
            StepKind::Fence { lives } => (number::FENCE, Lsn::ZERO, 0, vec![lives]),
            StepKind::Unfence => (number::UNFENCE, Lsn::ZERO, 0, Vec::new()),
            StepKind::Own { version } => (number::OWN, Lsn::ZERO, version.0, Vec::new()),
            StepKind::Drop => (number::DROP, Lsn::ZERO, 0, Vec::new()),
            StepKind::Pin { from } => (number::PIN, from, 0, Vec::new()),
            StepKind::Reconcile { lineage, version } => (number::RECONCILE, Lsn::ZERO, version.0, vec![lineage.0]),
        };
        let details = details.into_iter().flat_map(u64::to_le_bytes).collect();
        StepFields { kind, source, revision, details }
    }

    /// The step of a record; `None` if the fields are none of a step.
    #[must_use]
    pub fn from_fields(migration: MigrationId, slots: Vec<SlotRange>, fields: &StepFields) -> Option<Self> {
        let (numbers, rest) = fields.details.as_chunks::<8>();
        if !rest.is_empty() {
            return None;
        }
        let numbers: Vec<u64> = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        let kind = match (fields.kind, numbers.as_slice()) {
            (number::BEGIN, [lineage]) => StepKind::Begin { source_lineage: Lineage(*lineage) },
            (number::CURSOR, [ALL_SCANNED]) => StepKind::Cursor(Cursor { end: fields.source, next_slot: None }),
            (number::CURSOR, [slot]) => {
                let next_slot = Some(Slot::new(u16::try_from(*slot).ok()?)?);
                StepKind::Cursor(Cursor { end: fields.source, next_slot })
            }
            (number::READY, [time, lives]) => {
                StepKind::Ready(Fence { at: fields.source, time: GroupTime(*time), lives: *lives })
            }
            (number::ABORT, []) => StepKind::Abort,
            (number::FENCE, [lives]) => StepKind::Fence { lives: *lives },
            (number::UNFENCE, []) => StepKind::Unfence,
            (number::OWN, []) => StepKind::Own { version: SlotMapVersion(fields.revision) },
            (number::DROP, []) => StepKind::Drop,
            (number::PIN, []) => StepKind::Pin { from: fields.source },
            (number::RECONCILE, [lineage]) => {
                StepKind::Reconcile { lineage: Lineage(*lineage), version: SlotMapVersion(fields.revision) }
            }
            _ => return None,
        };
        Some(Self { migration, slots, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_as_they_are_written() {
        let fence = Fence { at: Lsn(9), time: GroupTime(77), lives: 5 };
        let kinds = [
            StepKind::Begin { source_lineage: Lineage(3) },
            StepKind::Cursor(Cursor { end: Lsn(8), next_slot: Some(Slot::MAX) }),
            StepKind::Cursor(Cursor { end: Lsn(8), next_slot: None }),
            StepKind::Ready(fence),
            StepKind::Abort,
            StepKind::Fence { lives: 4 },
            StepKind::Unfence,
            StepKind::Own { version: SlotMapVersion(12) },
            StepKind::Drop,
            StepKind::Pin { from: Lsn(2) },
            StepKind::Reconcile { lineage: Lineage(1), version: SlotMapVersion(12) },
        ];
        for (kind, number) in kinds.into_iter().zip([17, 18, 18, 19, 20, 21, 22, 23, 24, 25, 26]) {
            let step = Step { migration: MigrationId(7), slots: vec![SlotRange::ALL], kind };
            let fields = step.fields();
            assert_eq!(fields.kind, number);
            assert_eq!(Step::from_fields(MigrationId(7), vec![SlotRange::ALL], &fields), Some(step.clone()));
            let longer = StepFields { details: [fields.details.as_slice(), &[0; 8]].concat(), ..fields.clone() };
            assert_eq!(Step::from_fields(MigrationId(7), Vec::new(), &longer), None, "{step:?}");
            let torn = StepFields { details: [fields.details.as_slice(), &[0; 3]].concat(), ..fields };
            assert_eq!(Step::from_fields(MigrationId(7), Vec::new(), &torn), None);
        }
    }
}
