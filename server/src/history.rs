//! Which history a replica has applied, for sessions that were elsewhere before.

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::{Epoch, GroupId, Lineage, Lsn, Position, SlotMapVersion};

/// The leaderships a replica's log went through. Published before anything of them is applied, so whoever looks while the applied
/// state is held still finds all of its.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The group's history.
    lineage: Lineage,
    /// The greatest version of the slot map by which the group owns slots.
    slots: SlotMapVersion,
    /// Each epoch with the LSN it begins at, in order. Above what is applied, epochs may still be replaced by others.
    epochs: Vec<(Epoch, Lsn)>,
}

/// What a replica is to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has applied all that the session has seen.
    Covers,
    /// It has not yet.
    Behind,
    /// The session has seen what this history does not contain.
    Contradicts,
}

impl History {
    pub(crate) fn new(lineage: Lineage, slots: SlotMapVersion, epochs: &[(Epoch, Lsn)]) -> Self {
        Self { lineage, slots, epochs: epochs.to_vec() }
    }

    /// Whether nothing was appended, dropped or given since that a session could tell. Epochs come and go at the end only.
    pub(crate) fn is(&self, lineage: Lineage, slots: SlotMapVersion, epochs: &[(Epoch, Lsn)]) -> bool {
        let shape = |epochs: &[(Epoch, Lsn)]| (epochs.len(), epochs.last().copied());
        (self.lineage, self.slots) == (lineage, slots) && shape(&self.epochs) == shape(epochs)
    }

    /// The greatest version of the slot map by which the group owns slots.
    #[must_use]
    pub fn slots(&self) -> SlotMapVersion {
        self.slots
    }

    /// Where a reader stands who sees everything below `end`, which is applied.
    #[must_use]
    pub fn position(&self, group: GroupId, end: Lsn) -> Position {
        Position { group, slots: self.slots, lineage: self.lineage, epoch: self.epoch_before(end), end }
    }

    /// What a replica that has applied everything below `applied` is to a session that has seen this of the group.
    #[must_use]
    pub fn judge(&self, seen: &Position, applied: Lsn) -> Standing {
        if seen.end == Lsn::ZERO {
            Standing::Covers
        } else if seen.lineage < self.lineage && !is_broken(Rule::C52) {
            Standing::Contradicts
        } else if seen.lineage > self.lineage || seen.end > applied {
            Standing::Behind
        } else if self.epoch_before(seen.end) != seen.epoch && !is_broken(Rule::C52) {
            Standing::Contradicts
        } else {
            Standing::Covers
        }
    }

    fn epoch_before(&self, end: Lsn) -> Epoch {
        let after = self.epochs.partition_point(|(_, start)| *start < end);
        after.checked_sub(1).and_then(|last| self.epochs.get(last)).map_or(Epoch::ZERO, |(epoch, _)| *epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> History {
        History::new(Lineage(1), SlotMapVersion(5), &[(Epoch(1), Lsn(0)), (Epoch(4), Lsn(10))])
    }

    fn seen(lineage: u64, epoch: u64, end: u64) -> Position {
        let (lineage, epoch, end) = (Lineage(lineage), Epoch(epoch), Lsn(end));
        Position { group: GroupId(1), slots: SlotMapVersion(0), lineage, epoch, end }
    }

    #[test]
    fn a_session_is_covered_by_what_is_applied_of_its_history() {
        let judge = |seen: Position| history().judge(&seen, Lsn(15));
        assert_eq!(judge(seen(1, 1, 10)), Standing::Covers);
        assert_eq!(judge(seen(1, 4, 11)), Standing::Covers);
        assert_eq!(judge(seen(1, 4, 15)), Standing::Covers);
        assert_eq!(judge(seen(1, 4, 16)), Standing::Behind);
        assert_eq!(judge(seen(2, 4, 3)), Standing::Behind, "this replica has not heard of that history yet");
        assert_eq!(judge(Position::start(GroupId(1))), Standing::Covers);
    }

    /// C52: a token that is valid by its number again after data was lost.
    #[test]
    fn another_record_in_its_place_does_not_cover_what_a_session_saw() {
        let judge = |seen: Position| history().judge(&seen, Lsn(15));
        assert_eq!(judge(seen(1, 4, 10)), Standing::Contradicts);
        assert_eq!(judge(seen(1, 3, 12)), Standing::Contradicts);
        assert_eq!(judge(seen(0, 1, 5)), Standing::Contradicts, "of an earlier history nothing is known to be left");
    }

    #[test]
    fn a_position_names_the_leadership_that_wrote_what_is_before_it() {
        let position = history().position(GroupId(1), Lsn(10));
        assert_eq!((position.epoch, position.lineage, position.slots), (Epoch(1), Lineage(1), SlotMapVersion(5)));
        assert_eq!(history().position(GroupId(1), Lsn(11)).epoch, Epoch(4));
        assert_eq!(History::default().position(GroupId(1), Lsn(0)).epoch, Epoch::ZERO);
    }
}
