//! What travels between the two groups of a move: one channel, in frames, drawn by the target.
//!
//! A target's leader sends a [`Pull`]: where its own log ends, and how many frames it has room for. The source's leader answers with
//! [`Frame`]s, numbered from 0; each says which part of the source's log it covers, records of other slots included, so that nothing
//! can be missing unnoticed. A frame that is not the next one is not taken. After each frame that its log holds, the target makes room
//! for another one by [`Progress`]. Messages may be lost, doubled and overtaken: a target that hears nothing pulls anew, and what
//! belongs to an earlier pull means nothing to anybody.

use bytes::Bytes;
use simplekv_types::{Epoch, GroupId, GroupTime, Lineage, Lsn, MigrationId, Slot};

use super::step::{Cursor, Fence};
use crate::dedupe::DedupeRow;

/// A pull, among all of its move: a target's leaders have different epochs, and each counts its own pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PullId {
    /// The epoch of the target's leader.
    pub epoch: Epoch,
    /// Its count of pulls.
    pub number: u64,
}

/// A message between the leaders of a move's two groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveMessage {
    /// The move.
    pub migration: MigrationId,
    /// The pull it belongs to.
    pub pull: PullId,
    /// Which group sends it.
    pub from: GroupId,
    /// What it says.
    pub body: MoveBody,
}

/// What a [`MoveMessage`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveBody {
    /// To the source: send from here on.
    Pull(Pull),
    /// To the source: this has come of it.
    Progress(Progress),
    /// To the target.
    Frame(Frame),
    /// To the target: the source cannot go on from there. Its log does not reach back to the cursor, or is of another history.
    Restart {
        /// The source's history.
        lineage: Lineage,
    },
}

/// A target asks for everything from a place on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pull {
    /// The source's history that the target copies.
    pub lineage: Lineage,
    /// What the target's log holds; `None` if nothing: the source chooses where to begin.
    pub cursor: Option<Cursor>,
    /// Frames below this number have room.
    pub credit: u64,
}

/// How a target stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Frames below this number have room.
    pub credit: u64,
    /// What the target's log holds, committed.
    pub committed: Option<Cursor>,
    /// The target's group time as it would be written now.
    pub time: GroupTime,
    /// Whether the target commits what it appends: enough replicas are in sync and none is lagging.
    pub healthy: bool,
}

/// A piece of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its number within the pull, from 0.
    pub index: u64,
    /// The first record of the source's log covered.
    pub from: Lsn,
    /// The first not covered. Everything in between that concerns the slots is among `records`.
    pub to: Lsn,
    /// Changes in the order of the source's log, or keys that a scan found.
    pub records: Vec<Moved>,
    /// What the records end.
    pub mark: Option<Mark>,
}

/// What a frame ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Every slot below this one is scanned; `None`: all of them.
    Scanned(Option<Slot>),
    /// The source has closed the slots, and nothing follows.
    Fenced(Fence),
}

/// A record on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The slot.
    pub slot: Slot,
    /// The record's place in the source's log. Of what a scan found: of the record it was found in.
    pub lsn: Lsn,
    /// What it does.
    pub content: Content,
}

/// A key, or one element of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The key.
    pub key: Bytes,
    /// The element.
    pub element: Option<Bytes>,
}

/// What a moved record does. Bodies are opaque here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A key or an element has a value.
    Put {
        /// Which.
        place: Place,
        /// The record.
        body: Bytes,
    },
    /// A key or an element is gone.
    Delete {
        /// Which.
        place: Place,
        /// The record.
        body: Bytes,
    },
    /// Every key of the slot is gone.
    Clear,
    /// Results of writes, for the case that they are retried. What is known of an earlier copy is merged, whichever comes first.
    Row(DedupeRow),
}

/// What a target's log holds of a move, appended or applied.
pub trait Staged {
    /// The greatest place in the source's log of any record of the move that covers this one: of the same place, or of a tombstone of
    /// its key or its slot. `place` is `None` for a slot as a whole.
    fn latest(&self, migration: MigrationId, slot: Slot, place: Option<&Place>) -> Option<Lsn>;
}

impl Moved {
    /// Whether the target already holds something later about the same, so that this one would turn it back.
    #[must_use]
    pub fn is_overtaken(&self, migration: MigrationId, staged: &dyn Staged) -> bool {
        let place = match &self.content {
            Content::Put { place, .. } | Content::Delete { place, .. } => Some(place),
            Content::Clear => None,
            Content::Row(_) => return false,
        };
        staged.latest(migration, self.slot, place).is_some_and(|latest| latest >= self.lsn)
    }
}
