//! Whether a replica answers for a slot, by what its log says; a cached slot map only says where else to go.

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::{GroupId, Lineage, Slot, SlotMap, SlotMapVersion};

use crate::migration::{SlotState, SlotTable};

/// What a replica knows about who owns what.
#[derive(Clone, Copy)]
pub struct OwnershipView<'a> {
    /// The group.
    pub group: GroupId,
    /// The group's history.
    pub lineage: Lineage,
    /// The group's slots by its log.
    pub slots: &'a SlotTable,
    /// The slot map as this node has it, which may be old.
    pub map: &'a SlotMap,
    /// That map's version.
    pub version: SlotMapVersion,
    /// Whether the replica leads, or holds a read lease: then its log lacks nothing that is committed.
    pub is_current: bool,
}

/// What to do with a request for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotStanding {
    /// Answer it.
    Serve,
    /// Hold it, for a bounded time and in a bounded queue, and look again when the log was applied further: the slot is changing hands.
    /// Afterwards it is refused, to be tried again here.
    Hold,
    /// Read the slot map, at least of this version, and look again; or ask the group's leader.
    ReadMap(SlotMapVersion),
    /// It is another group's.
    Moved(GroupId),
    /// It is nobody's.
    Unowned,
}

/// What to do with a request for a slot from somebody who has seen the slot map of version `seen`, 0 if nothing is known of that.
///
/// Called under the guard that holds the applied state still, with the data being read; writes are judged by [`SlotTable::accepts`] where
/// they get their place in the log.
#[must_use]
pub fn standing(view: &OwnershipView<'_>, slot: Slot, seen: SlotMapVersion) -> SlotStanding {
    let applied = view.slots.applied();
    // In a new history nothing counts before its first leader has compared the slots with the slot map.
    if applied.lineage() < view.lineage && !is_broken(Rule::M31) {
        return SlotStanding::Hold;
    }
    if view.slots.is_changing(slot) {
        return SlotStanding::Hold;
    }
    match applied.state(slot) {
        // A log that was given slots by the map that was seen holds every fence from before it. One that was not may lack some, unless
        // it lacks nothing.
        SlotState::Owned if view.is_current || applied.version() >= seen || is_broken(Rule::M22) => SlotStanding::Serve,
        SlotState::Owned => SlotStanding::ReadMap(seen),
        SlotState::Ready(_) => SlotStanding::Hold,
        SlotState::Fenced(_) | SlotState::Importing(_) | SlotState::Nothing => elsewhere(view, slot, seen),
    }
}

fn elsewhere(view: &OwnershipView<'_>, slot: Slot, seen: SlotMapVersion) -> SlotStanding {
    let state = view.slots.applied().state(slot);
    match view.map.owner(slot) {
        // Whoever sent the request knows more than we do: sent on by an older map it would come back.
        _ if view.version < seen => SlotStanding::ReadMap(seen),
        Some(owner) if owner != view.group => SlotStanding::Moved(owner),
        Some(_) if matches!(state, SlotState::Fenced(_)) => SlotStanding::Hold,
        // Given to us, and the record that says so is on its way. Or the map is older than the log.
        Some(_) if view.version > view.slots.applied().standing(slot).version => SlotStanding::Hold,
        Some(_) => SlotStanding::ReadMap(SlotMapVersion(view.version.0 + 1)),
        None => SlotStanding::Unowned,
    }
}

#[cfg(test)]
mod tests;
