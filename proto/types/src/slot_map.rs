//! Which group owns which slot.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{GroupId, Slot, SlotRange};

/// The slot map's version: the metadata store's revision of its last change. A map never replaces one with a greater version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SlotMapVersion(pub u64);

impl fmt::Display for SlotMapVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One move of slots between groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MigrationId(pub u64);

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
    fn a_slot_given_twice_is_refused() {
        let error = SlotMap::new([(range("0-9"), GroupId(1)), (range("9"), GroupId(2))]).unwrap_err();
        assert_eq!(error.to_string(), "slot 9 is given to both g1 and g2");
    }
}
