//! What happens to a leader's moves, and what they want done.

use simplekv_types::{Epoch, Lineage, Lsn, MigrationId, MigrationRecord, Revision, Slot, SlotMapVersion, SlotRange};

use super::change::{MoveOutcome, MoveRequest};
use super::step::Step;
use super::stream::{MoveMessage, Moved, PullId};
use crate::event::RequestId;

/// An input of [`Moves::step`](super::Moves::step).
#[derive(Clone, Debug)]
pub enum MoveEvent {
    /// This replica leads, and the start of its epoch is committed.
    Activated {
        /// The epoch.
        epoch: Epoch,
        /// The group's history.
        lineage: Lineage,
    },
    /// This replica does not lead any more.
    Deposed,
    /// The log was appended to or applied, or time has passed.
    Tick,
    /// Moves of the metadata store were seen. A hint: they may be old.
    Seen(Vec<(MigrationId, MigrationRecord, Revision)>),
    /// A [`MoveEffect::Metadata`] has come to its end. Exactly one per request, however late.
    Answered {
        /// The request.
        id: RequestId,
        /// What became of it.
        outcome: MoveOutcome,
    },
    /// The other group of a move says something.
    Received(MoveMessage),
    /// A [`MoveEffect::Read`] has come to its end.
    Read {
        /// The move.
        migration: MigrationId,
        /// The pull.
        pull: PullId,
        /// What was found; `None` if the log does not reach back that far.
        found: Option<Found>,
    },
}

/// An output of [`Moves::next_effect`](super::Moves::next_effect). All are executed, in order, before the next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveEffect {
    /// Append this step, in a batch whose group time is not before [`Step::not_before`]. In a fence, first fill in the lives counted in
    /// its slots, of everything appended. If nothing is admitted, or the step does not follow any more, do nothing: it is tried again.
    Append(Step),
    /// Append these records, staged for this move with their places in the source's log, and the cursor behind them, in one batch. If
    /// nothing is admitted do nothing.
    Stage {
        /// The move.
        migration: MigrationId,
        /// The records.
        records: Vec<Moved>,
        /// The cursor.
        cursor: Step,
    },
    /// Find records to send, and step [`MoveEvent::Read`] once.
    Read {
        /// The move.
        migration: MigrationId,
        /// The pull.
        pull: PullId,
        /// The slots.
        slots: Vec<SlotRange>,
        /// What to find.
        sought: Sought,
        /// Stop before the record that would exceed this many bytes, but find at least one, if there is one.
        max_bytes: usize,
    },
    /// Send to whoever leads the group. May be lost, delayed, doubled and reordered.
    Send {
        /// The group.
        to: simplekv_types::GroupId,
        /// What to say.
        message: MoveMessage,
    },
    /// Ask the metadata store, and step [`MoveEvent::Answered`] once.
    Metadata {
        /// To be repeated in the event.
        id: RequestId,
        /// What to do there.
        request: MoveRequest,
    },
    /// Something an operator should know.
    Alarm(MoveAlarm),
}

/// What a source looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought {
    /// What the log says about the slots in a range of records, all of it committed.
    Tail {
        /// The first record.
        from: Lsn,
        /// The first record that is not looked at.
        upto: Lsn,
    },
    /// What the applied state holds of a slot: keys, elements, and results of writes, each with the place it was logged at.
    Scan {
        /// The slot.
        slot: Slot,
        /// Where to go on; 0 is the slot's beginning.
        position: u64,
    },
}

/// What a source has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Of the log, in its order.
    Tail {
        /// The records.
        records: Vec<Moved>,
        /// The first record that was not looked at.
        end: Lsn,
    },
    /// Of a slot.
    Scan {
        /// The records.
        records: Vec<Moved>,
        /// Where to go on; `None`: the slot is at its end.
        next: Option<u64>,
    },
}

/// Something that should not happen, for operators.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MoveAlarm {
    /// The slot map is older than what this group's log knows of it: the metadata store was restored from a backup. No move goes on
    /// here until another leader has found otherwise.
    MetadataRegressed {
        /// The version known.
        known: SlotMapVersion,
        /// The version found.
        found: SlotMapVersion,
    },
    /// The slot map gives slots to another group that this group's log owns, and no move explains it. They are served on.
    Foreign(Vec<SlotRange>),
    /// The slot map gives slots to this group that its log does not have, and no move brings them. They are not served: what they held
    /// is lost, or elsewhere.
    Missing(Vec<SlotRange>),
    /// The log is in the middle of a move that the metadata store does not know.
    Unknown(MigrationId),
}
