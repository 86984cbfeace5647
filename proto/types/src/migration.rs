//! A move of slots from one group to another, as the metadata store records it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{GroupId, Lineage, SlotMapVersion, SlotRange};

/// One move of slots between groups: the version of the slot map that its beginning replaced. A version is replaced once, so no two
/// moves have the same number, and a later one has a greater one. 0 is no move: what a group was founded with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MigrationId(pub u64);

impl MigrationId {
    /// What a group was founded with.
    pub const FOUNDING: MigrationId = MigrationId(0);
}

impl From<SlotMapVersion> for MigrationId {
    fn from(replaced: SlotMapVersion) -> Self {
        Self(replaced.0)
    }
}

impl fmt::Display for MigrationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m{}", self.0)
    }
}

/// How a move stands. The two ends are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MigrationState {
    /// The source owns the slots.
    Copy,
    /// The target owns them: the slot map was changed in the same transaction.
    Done,
    /// The source keeps them.
    Aborted,
}

impl fmt::Display for MigrationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Copy => "copy",
            Self::Done => "done",
            Self::Aborted => "aborted",
        })
    }
}

/// A side of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The group that gives the slots away.
    Source,
    /// The group that takes them.
    Target,
}

/// The record of one move. It changes only by compare-and-set on its revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MigrationRecord {
    /// The slots. Sorted, without overlap, at least one.
    pub slots: Vec<SlotRange>,
    /// Who gives them away.
    pub source: GroupId,
    /// Who takes them.
    pub target: GroupId,
    /// How the move stands.
    pub state: MigrationState,
    /// The source's history when the move began. In another one it cannot be handed over.
    pub source_lineage: Lineage,
    /// The target's history when the move began.
    pub target_lineage: Lineage,
    /// The source's log has nothing left of the move, and never will again: the slots are dropped there, or open again.
    #[serde(default)]
    pub source_closed: bool,
    /// The target's log has nothing left of the move, and never will again: the slots are owned there, or the import is given up.
    #[serde(default)]
    pub target_closed: bool,
}

impl MigrationRecord {
    /// The group of a side.
    #[must_use]
    pub fn group(&self, side: Side) -> GroupId {
        match side {
            Side::Source => self.source,
            Side::Target => self.target,
        }
    }

    /// Which side a group is on.
    #[must_use]
    pub fn side(&self, group: GroupId) -> Option<Side> {
        [Side::Source, Side::Target].into_iter().find(|side| self.group(*side) == group)
    }

    /// Whether a side has nothing left of the move.
    #[must_use]
    pub fn is_closed(&self, side: Side) -> bool {
        match side {
            Side::Source => self.source_closed,
            Side::Target => self.target_closed,
        }
    }

    /// Whether neither side has anything left of the move: the record may go.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.source_closed && self.target_closed
    }

    /// Whether the target owns the slots for good: its log says so, committed. Only then may the source drop what it has.
    #[must_use]
    pub fn is_owned(&self) -> bool {
        self.state == MigrationState::Done && self.target_closed
    }

    /// This record with its move aborted; `None` if it has ended already.
    #[must_use]
    pub fn aborted(&self) -> Option<Self> {
        (self.state == MigrationState::Copy).then(|| Self { state: MigrationState::Aborted, ..self.clone() })
    }

    /// This record with a side closed.
    #[must_use]
    pub fn closed(&self, side: Side) -> Self {
        let mut next = self.clone();
        match side {
            Side::Source => next.source_closed = true,
            Side::Target => next.target_closed = true,
        }
        next
    }
}

/// An order for the controller: slots that shall belong to a group. What is left to do follows from the slot map, so nothing else has
/// to be remembered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MoveJob {
    /// The slots. Sorted, without overlap.
    pub slots: Vec<SlotRange>,
    /// Who shall own them.
    pub target: GroupId,
    /// No further move is begun, those that are on their way go on.
    #[serde(default)]
    pub paused: bool,
    /// Nothing more is begun, and what is on its way is aborted if it can be.
    #[serde(default)]
    pub cancelled: bool,
}

/// An order of an operator as the metadata store keeps it: slots that shall belong to other groups, until they do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// What was asked for, in an operator's words.
    pub asked: String,
    /// Who shall own what. No slot is named twice.
    pub parts: Vec<JobPart>,
    /// A group that is removed once it owns no slot any more.
    #[serde(default)]
    pub remove: Option<GroupId>,
    /// When it was asked for, in milliseconds since the Unix epoch.
    pub begun_ms: u64,
    /// Nothing more is begun until it is resumed.
    #[serde(default)]
    pub paused: bool,
    /// Nothing more is begun, and what is on its way is aborted if it can be.
    #[serde(default)]
    pub cancelled: bool,
    /// How it ended; `None` while it is under way.
    #[serde(default)]
    pub end: Option<JobEnd>,
}

/// Slots that shall belong to one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobPart {
    /// The slots. Sorted, without overlap.
    pub slots: Vec<SlotRange>,
    /// Who shall own them.
    pub target: GroupId,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEnd {
    /// Whether everything is as it was asked for.
    pub done: bool,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Why not, if it is not.
    #[serde(default)]
    pub reason: String,
}

impl JobRecord {
    /// The orders that the job consists of, in the words of whoever carries them out. None of one that has ended.
    pub fn moves(&self) -> impl Iterator<Item = MoveJob> {
        let parts = self.parts.iter().filter(|_| self.end.is_none());
        parts.map(|part| MoveJob {
            slots: part.slots.clone(),
            target: part.target,
            paused: self.paused,
            cancelled: self.cancelled,
        })
    }

    /// A slot that both jobs want to give to different groups, as long as neither has ended.
    #[must_use]
    pub fn contradicts(&self, other: &Self) -> Option<SlotRange> {
        if self.end.is_some() || other.end.is_some() {
            return None;
        }
        let pairs = self.parts.iter().flat_map(|one| other.parts.iter().map(move |two| (one, two)));
        let different = pairs.filter(|(one, two)| one.target != two.target);
        different.into_iter().find_map(|(one, two)| {
            one.slots.iter().find(|range| two.slots.iter().any(|other| range.overlaps(*other))).copied()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> MigrationRecord {
        MigrationRecord {
            slots: vec!["3-5".parse().unwrap()],
            source: GroupId(1),
            target: GroupId(2),
            state: MigrationState::Copy,
            source_lineage: Lineage(0),
            target_lineage: Lineage(4),
            source_closed: false,
            target_closed: false,
        }
    }

    #[test]
    fn a_move_ends_once() {
        let aborted = record().aborted().unwrap();
        assert_eq!(aborted.state, MigrationState::Aborted);
        assert_eq!(aborted.aborted(), None);
        assert_eq!(MigrationRecord { state: MigrationState::Done, ..record() }.aborted(), None);
    }

    #[test]
    fn two_jobs_do_not_pull_at_one_slot() {
        let job = |slots: &str, target| JobRecord {
            asked: String::new(),
            parts: vec![JobPart { slots: vec![slots.parse().unwrap()], target: GroupId(target) }],
            remove: None,
            begun_ms: 0,
            paused: false,
            cancelled: false,
            end: None,
        };
        assert_eq!(job("0-9", 1).contradicts(&job("9-12", 2)), Some("0-9".parse().unwrap()));
        assert_eq!(job("0-9", 1).contradicts(&job("9-12", 1)), None);
        assert_eq!(job("0-9", 1).contradicts(&job("10-12", 2)), None);
        let end = Some(JobEnd { done: true, at_ms: 0, reason: String::new() });
        let ended = JobRecord { end, ..job("9-12", 2) };
        assert_eq!((job("0-9", 1).contradicts(&ended), ended.moves().count()), (None, 0));
    }

    #[test]
    fn a_move_is_over_when_both_sides_say_so() {
        let done = MigrationRecord { state: MigrationState::Done, ..record() };
        assert!(!done.is_owned());
        let owned = done.closed(Side::Target);
        assert!(owned.is_owned() && !owned.is_over());
        assert!(owned.closed(Side::Source).is_over());
        assert!(!record().closed(Side::Target).is_owned(), "an aborted import is no ownership");
        assert_eq!((record().side(GroupId(2)), record().side(GroupId(3))), (Some(Side::Target), None));
    }
}
