//! Which group owns which slot.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{GroupId, MigrationId, Slot, SlotRange};

/// The slot map's version: the metadata store's revision of its last change. A map never replaces one with a greater version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SlotMapVersion(pub u64);

impl fmt::Display for SlotMapVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why ranges do not make a slot map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotMapError {
    /// Two ranges claim the same slot.
    #[error("slot {slot} is given to both {first} and {second}")]
    Overlap {
        /// The slot claimed twice.
        slot: Slot,
        /// The group of the earlier range.
        first: GroupId,
        /// The group of the later range.
        second: GroupId,
    },
}

/// Slot → group, as ranges. One key of the metadata store holds it, changed by compare-and-set.
///
/// Invariant: ranges are sorted, do not overlap, and neighbours of the same group are joined. Slots may be unowned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct SlotMap {
    ranges: Vec<(SlotRange, GroupId)>,
    migrating: Vec<(SlotRange, MigrationId)>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    ranges: Vec<(SlotRange, GroupId)>,
    #[serde(default)]
    migrating: Vec<(SlotRange, MigrationId)>,
}

impl SlotMap {
    /// A map of the given ranges, in any order.
    ///
    /// # Errors
    /// [`SlotMapError::Overlap`] if two ranges share a slot, even for the same group.
    pub fn new(ranges: impl IntoIterator<Item = (SlotRange, GroupId)>) -> Result<Self, SlotMapError> {
        let mut sorted: Vec<(SlotRange, GroupId)> = ranges.into_iter().collect();
        sorted.sort_unstable();
        let mut joined: Vec<(SlotRange, GroupId)> = Vec::with_capacity(sorted.len());
        for (range, group) in sorted {
            if let Some((last, owner)) = joined.last_mut() {
                if range.first() <= last.last() {
                    return Err(SlotMapError::Overlap { slot: range.first(), first: *owner, second: group });
                }
                if *owner == group && range.first().number() == last.last().number() + 1 {
                    if let Some(wider) = SlotRange::new(last.first(), range.last()) {
                        *last = wider;
                    }
                    continue;
                }
            }
            joined.push((range, group));
        }
        Ok(Self { ranges: joined, migrating: Vec::new() })
    }

    /// All slots spread over the groups in equal, contiguous shares, in the order given. Empty without groups.
    #[must_use]
    pub fn spread(groups: &[GroupId]) -> Self {
        let count = groups.len();
        let bound =
            |i: usize| u16::try_from(i * usize::from(crate::SLOT_COUNT) / count.max(1)).unwrap_or(crate::SLOT_COUNT);
        let ranges = groups.iter().enumerate().filter_map(|(i, &group)| {
            let range = SlotRange::new(Slot::new(bound(i))?, Slot::new(bound(i + 1).checked_sub(1)?)?)?;
            Some((range, group))
        });
        Self::new(ranges).unwrap_or_default()
    }

    /// The owner of a slot, `None` if nobody owns it.
    #[must_use]
    pub fn owner(&self, slot: Slot) -> Option<GroupId> {
        let after = self.ranges.partition_point(|(range, _)| range.first() <= slot);
        let (range, group) = self.ranges.get(after.checked_sub(1)?)?;
        range.contains(slot).then_some(*group)
    }

    /// The ranges in slot order with their owners.
    #[must_use]
    pub fn ranges(&self) -> &[(SlotRange, GroupId)] {
        &self.ranges
    }

    /// The ranges of one group, in slot order.
    pub fn ranges_of(&self, group: GroupId) -> impl Iterator<Item = SlotRange> {
        self.ranges.iter().filter(move |(_, owner)| *owner == group).map(|(range, _)| *range)
    }

    /// Ranges on the move, with the migration that moves them.
    #[must_use]
    pub fn migrating(&self) -> &[(SlotRange, MigrationId)] {
        &self.migrating
    }

    /// The move that a slot is part of.
    #[must_use]
    pub fn migration(&self, slot: Slot) -> Option<MigrationId> {
        self.migrating.iter().find(|(range, _)| range.contains(slot)).map(|(_, migration)| *migration)
    }

    /// Whether every slot of the ranges belongs to the group.
    #[must_use]
    pub fn belong_to(&self, slots: &[SlotRange], group: GroupId) -> bool {
        let covers = |slot: SlotRange| {
            self.ranges_of(group).any(|range| range.contains(slot.first()) && range.contains(slot.last()))
        };
        slots.iter().all(|range| covers(*range))
    }

    /// This map with a move begun. `None` unless the source owns every slot, and none of them is on the move.
    #[must_use]
    pub fn with_migration(&self, migration: MigrationId, slots: &[SlotRange], source: GroupId) -> Option<Self> {
        let on_the_move = |range: &SlotRange| self.migrating.iter().any(|(other, _)| range.overlaps(*other));
        if slots.is_empty() || !self.belong_to(slots, source) || slots.iter().any(on_the_move) {
            return None;
        }
        let mut next = self.clone();
        next.migrating.extend(slots.iter().map(|range| (*range, migration)));
        next.migrating.sort_unstable();
        Some(next)
    }

    /// This map with slots given by one group to another. `None` unless the first owns them all.
    #[must_use]
    pub fn handed_over(&self, slots: &[SlotRange], from: GroupId, to: GroupId) -> Option<Self> {
        if !self.belong_to(slots, from) {
            return None;
        }
        let kept =
            self.ranges.iter().flat_map(|(range, group)| range.without(slots).into_iter().map(|part| (part, *group)));
        let given = slots.iter().map(|range| (*range, to));
        let mut next = Self::new(kept.chain(given)).ok()?;
        next.migrating.clone_from(&self.migrating);
        Some(next)
    }

    /// This map without any trace of a move.
    #[must_use]
    pub fn without_migration(&self, migration: MigrationId) -> Self {
        let mut next = self.clone();
        next.migrating.retain(|(_, other)| *other != migration);
        next
    }

    /// How many slots have an owner.
    #[must_use]
    pub fn owned_slots(&self) -> usize {
        self.ranges.iter().map(|(range, _)| range.count()).sum()
    }
}

impl TryFrom<Stored> for SlotMap {
    type Error = SlotMapError;

    fn try_from(stored: Stored) -> Result<Self, SlotMapError> {
        let mut map = Self::new(stored.ranges)?;
        map.migrating = stored.migrating;
        Ok(map)
    }
}

impl From<SlotMap> for Stored {
    fn from(map: SlotMap) -> Self {
        Self { ranges: map.ranges, migrating: map.migrating }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> SlotRange {
        text.parse().unwrap()
    }

    #[test]
    fn every_slot_has_one_owner_after_a_spread() {
        let groups = [GroupId(1), GroupId(2), GroupId(3)];
        let map = SlotMap::spread(&groups);
        assert_eq!(map.owned_slots(), 16384);
        assert_eq!(map.owner(Slot::MIN), Some(GroupId(1)));
        assert_eq!(map.owner(Slot::MAX), Some(GroupId(3)));
        assert!(Slot::all().all(|slot| map.owner(slot).is_some()));
        assert_eq!(SlotMap::spread(&[]).owner(Slot::MIN), None);
    }

    #[test]
    fn neighbours_of_one_group_are_joined_and_gaps_are_unowned() {
        let map =
            SlotMap::new([(range("10-19"), GroupId(1)), (range("0-9"), GroupId(1)), (range("30-39"), GroupId(1))])
                .unwrap();
        assert_eq!(map.ranges(), [(range("0-19"), GroupId(1)), (range("30-39"), GroupId(1))]);
        assert_eq!(map.owner(Slot::new(20).unwrap()), None);
    }

    #[test]
    fn a_move_is_noted_handed_over_and_forgotten() {
        let (a, b, id) = (GroupId(1), GroupId(2), MigrationId(7));
        let map = SlotMap::new([(range("0-9"), a), (range("10-19"), b)]).unwrap();
        let moving = map.with_migration(id, &[range("3-5")], a).unwrap();
        assert_eq!(moving.migration(Slot::new(4).unwrap()), Some(id));
        assert_eq!(moving.with_migration(MigrationId(8), &[range("5-6")], a), None, "a slot is part of one move");
        assert_eq!(map.with_migration(id, &[range("9-10")], a), None, "whoever gives slots away owns them");
        assert_eq!(map.with_migration(id, &[], a), None);
        let given = moving.handed_over(&[range("3-5")], a, b).unwrap();
        assert_eq!(given.ranges(), [(range("0-2"), a), (range("3-5"), b), (range("6-9"), a), (range("10-19"), b)]);
        assert_eq!(given.migrating(), moving.migrating());
        assert_eq!(given.handed_over(&[range("3-5")], a, b), None, "once");
        assert_eq!(given.without_migration(id).migrating(), []);
    }

    #[test]
    fn a_slot_given_twice_is_refused() {
        let error = SlotMap::new([(range("0-9"), GroupId(1)), (range("9"), GroupId(2))]).unwrap_err();
        assert_eq!(error.to_string(), "slot 9 is given to both g1 and g2");
    }
}
