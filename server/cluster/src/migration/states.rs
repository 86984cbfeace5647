//! What a slot is to a group, and which step may change it how.
//!
//! ```text
//!              BEGIN(m)           READY(m)        OWN(m)           FENCE(m')
//!   nothing ───────────► importing ───────► ready ───────► owned ───────────► fenced
//!      ▲                     │                │             ▲ ▲                 │ │
//!      │◄─────ABORT(m)───────┴────────────────┘   founding ─┘ └───UNFENCE(m')───┘ │
//!      └─────────────────────────────DROP(m')─────────────────────────────────────┘
//! ```

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::{MigrationId, Slot, SlotMapVersion};

use super::step::StepKind;

/// What a slot is to a group, by the group's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SlotState {
    /// Nothing: no key of it is here.
    #[default]
    Nothing,
    /// It is being taken in. No client sees it.
    Importing(MigrationId),
    /// Everything of it is here, and may not be shown yet.
    Ready(MigrationId),
    /// It is this group's.
    Owned,
    /// It is this group's and closed, to be given away.
    Fenced(MigrationId),
}

/// A slot's state with what must not be forgotten of its past here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Standing {
    /// What it is.
    pub state: SlotState,
    /// The version of the slot map by which it was last given to this group; 0 if it never was.
    pub version: SlotMapVersion,
    /// The latest move that ended or fenced it here: an earlier one has nothing to say any more.
    pub last: MigrationId,
    /// Lives of its keys that begin here are numbered from above this, whatever this group has counted itself.
    pub lives: u64,
}

/// A step that a slot's state does not admit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind:?} of {migration} does not follow from slot {slot} being {standing:?}")]
pub struct Contradiction {
    /// The move.
    pub migration: MigrationId,
    /// The step.
    pub kind: StepKind,
    /// The slot.
    pub slot: Slot,
    /// What it is.
    pub standing: Standing,
}

impl Standing {
    /// What the slot is after a step; `None` if the step does not follow.
    #[must_use]
    pub fn after(self, migration: MigrationId, kind: &StepKind) -> Option<Self> {
        let is_new = migration > self.last || is_broken(Rule::M14);
        let ours = |of: MigrationId| of == migration || is_broken(Rule::M6);
        let ended = |state| Some(Self { state, last: migration.max(self.last), ..self });
        match (*kind, self.state) {
            (StepKind::Own { version }, SlotState::Nothing) if migration == MigrationId::FOUNDING => {
                Some(Self { state: SlotState::Owned, version, ..self })
            }
            (StepKind::Begin { .. }, SlotState::Nothing) if is_new => {
                Some(Self { state: SlotState::Importing(migration), ..self })
            }
            // Once more from the beginning: what was brought is dead.
            (StepKind::Begin { .. }, SlotState::Importing(of)) if ours(of) => {
                Some(Self { state: SlotState::Importing(migration), ..self })
            }
            (StepKind::Cursor(_), SlotState::Importing(of)) if ours(of) => Some(self),
            (StepKind::Ready(fence), SlotState::Importing(of)) if ours(of) => {
                let lives = if is_broken(Rule::M18) { self.lives } else { self.lives.max(fence.lives) };
                Some(Self { state: SlotState::Ready(migration), lives, ..self })
            }
            (StepKind::Abort, SlotState::Importing(of) | SlotState::Ready(of)) if ours(of) => ended(SlotState::Nothing),
            (StepKind::Own { version }, SlotState::Ready(of)) if ours(of) && version > self.version => {
                Some(Self { version, ..ended(SlotState::Owned)? })
            }
            (StepKind::Fence { lives }, SlotState::Owned) if is_new => {
                Some(Self { state: SlotState::Fenced(migration), lives: self.lives.max(lives), ..self })
            }
            (StepKind::Unfence, SlotState::Fenced(of)) if ours(of) => ended(SlotState::Owned),
            // It only lets go of what was kept for the move.
            (StepKind::Unfence, SlotState::Owned) => ended(SlotState::Owned),
            (StepKind::Drop, SlotState::Fenced(of)) if ours(of) => ended(SlotState::Nothing),
            (StepKind::Pin { .. }, SlotState::Owned) if is_new => Some(self),
            (StepKind::Pin { .. }, SlotState::Fenced(of)) if ours(of) => Some(self),
            // By an earlier move nobody can have been given what another one moved since.
            (StepKind::Reconcile { .. }, _) => Some(Self { state: SlotState::Nothing, ..self }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use simplekv_types::{Lineage, Lsn};

    use super::super::step::{Cursor, Fence};
    use super::*;

    const M1: MigrationId = MigrationId(1);
    const M2: MigrationId = MigrationId(2);

    fn begin() -> StepKind {
        StepKind::Begin { source_lineage: Lineage(0) }
    }

    fn ready() -> StepKind {
        StepKind::Ready(Fence { at: Lsn(5), time: simplekv_types::GroupTime(1), lives: 40 })
    }

    fn own(version: u64) -> StepKind {
        StepKind::Own { version: SlotMapVersion(version) }
    }

    fn walk(steps: &[(MigrationId, StepKind)]) -> Option<Standing> {
        steps.iter().try_fold(Standing::default(), |standing, (migration, kind)| standing.after(*migration, kind))
    }

    #[test]
    fn a_slot_comes_and_goes_and_comes_again() {
        let fence = StepKind::Fence { lives: 90 };
        let there = [(M1, begin()), (M1, ready()), (M1, own(8))];
        assert_eq!(
            walk(&there),
            Some(Standing { state: SlotState::Owned, version: SlotMapVersion(8), last: M1, lives: 40 })
        );
        let and_back = [there.as_slice(), &[(M2, fence), (M2, StepKind::Drop)]].concat();
        assert_eq!(
            walk(&and_back),
            Some(Standing { state: SlotState::Nothing, version: SlotMapVersion(8), last: M2, lives: 90 })
        );
        assert_eq!(walk(&[and_back.as_slice(), &[(M1, begin())]].concat()), None, "an earlier move is over");
        assert_eq!(walk(&[and_back.as_slice(), &[(M2, begin())]].concat()), None, "so is the one that took it away");
        assert!(walk(&[and_back.as_slice(), &[(MigrationId(3), begin())]].concat()).is_some());
    }

    #[test]
    fn only_its_own_move_changes_what_a_move_made() {
        let founded = [(MigrationId::FOUNDING, own(3))];
        let fenced = [founded.as_slice(), &[(M2, StepKind::Fence { lives: 0 })]].concat();
        for kind in [StepKind::Unfence, StepKind::Drop] {
            assert_eq!(walk(&[fenced.as_slice(), &[(M1, kind)]].concat()), None);
            assert!(walk(&[fenced.as_slice(), &[(M2, kind)]].concat()).is_some());
        }
        let importing = [(M2, begin())];
        let cursor = StepKind::Cursor(Cursor { end: Lsn(1), next_slot: None });
        for kind in [begin(), cursor, ready(), StepKind::Abort] {
            assert_eq!(walk(&[importing.as_slice(), &[(M1, kind)]].concat()), None);
            assert!(walk(&[importing.as_slice(), &[(M2, kind)]].concat()).is_some(), "{kind:?}");
        }
    }

    #[test]
    fn nothing_is_owned_that_was_not_ready() {
        assert_eq!(walk(&[(M1, own(3))]), None);
        assert_eq!(walk(&[(M1, begin()), (M1, own(3))]), None);
        assert_eq!(walk(&[(M1, begin()), (M1, StepKind::Abort), (M1, begin())]), None, "an aborted move is over");
        let owned = [(M1, begin()), (M1, ready()), (M1, own(3))];
        assert_eq!(walk(&[owned.as_slice(), &[(M1, own(3))]].concat()), None, "once");
    }
}
