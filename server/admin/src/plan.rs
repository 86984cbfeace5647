//! Which slots should go where, so that groups carry equal shares.

use std::collections::BTreeMap;

use simplekv_types::{GroupId, Slot, SlotMap, SlotRange};

/// Slots that one group should give to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Handover {
    pub(crate) slots: SlotRange,
    pub(crate) from: GroupId,
    pub(crate) to: GroupId,
}

/// What a group carries.
struct Load {
    group: GroupId,
    /// What it carries beyond its share; negative: what it lacks.
    excess: i128,
}

/// Gives slots of groups that carry more than their share to those that carry less, as few as it takes. Groups that are not among
/// `keepers` give everything away. `weight`: what a slot comes to, whatever is to be equal.
pub(crate) fn balance(map: &SlotMap, keepers: &[GroupId], weight: impl Fn(Slot) -> u64) -> Vec<Handover> {
    let total: i128 = Slot::all().filter(|slot| map.owner(*slot).is_some()).map(|slot| i128::from(weight(slot))).sum();
    let Some(count) = i128::try_from(keepers.len()).ok().filter(|count| *count > 0) else { return Vec::new() };
    let mut shares: BTreeMap<GroupId, i128> = BTreeMap::new();
    for (place, group) in keepers.iter().enumerate() {
        // What does not divide is spread over the first.
        let rest = i128::from((place as i128) < total % count);
        shares.insert(*group, total / count + rest);
    }
    let carried = |group| {
        let slots = map.ranges_of(group).flat_map(|range| range.iter());
        slots.map(|slot| i128::from(weight(slot))).sum::<i128>()
    };
    let mut takers: Vec<Load> =
        shares.iter().map(|(group, share)| Load { group: *group, excess: carried(*group) - share }).collect();
    let mut given = Vec::new();
    let owners: std::collections::BTreeSet<GroupId> = map.ranges().iter().map(|(_, group)| *group).collect();
    for giver in owners {
        let keeps = shares.get(&giver).copied();
        let mut excess = carried(giver) - keeps.unwrap_or(0);
        let mut taker = None;
        // From its end on: what stays is one range where it was one before.
        for slot in map.ranges_of(giver).collect::<Vec<_>>().into_iter().flat_map(|range| range.iter()).rev() {
            let weighs = i128::from(weight(slot));
            // One that would bring it as far below its share as it is above stays.
            if keeps.is_some() && (excess <= 0 || 2 * excess <= weighs) {
                break;
            }
            // One after the other: neighbours go together, and few ranges are moved faster than many.
            if taker.is_none_or(|at: usize| takers.get(at).is_none_or(|taker| taker.excess >= 0)) {
                let others = takers.iter().enumerate().filter(|(_, taker)| taker.group != giver);
                taker = others.min_by_key(|(_, taker)| taker.excess).map(|(at, _)| at);
            }
            let Some(taker) = taker.and_then(|at| takers.get_mut(at)) else { break };
            if keeps.is_some() && taker.excess >= 0 {
                break;
            }
            if keeps.is_some() && weighs == 0 {
                continue;
            }
            taker.excess += weighs;
            excess -= weighs;
            given.push((slot, giver, taker.group));
        }
    }
    joined(given)
}

/// Neighbours that take the same way go together.
fn joined(mut given: Vec<(Slot, GroupId, GroupId)>) -> Vec<Handover> {
    given.sort_unstable();
    let mut handovers: Vec<Handover> = Vec::new();
    for (slot, from, to) in given {
        let wider = handovers
            .last()
            .filter(|last| (last.from, last.to) == (from, to) && last.slots.last().number() + 1 == slot.number())
            .and_then(|last| SlotRange::new(last.slots.first(), slot));
        match (wider, handovers.last_mut()) {
            (Some(wider), Some(last)) => last.slots = wider,
            _ => handovers.push(Handover { slots: slot.into(), from, to }),
        }
    }
    handovers
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: GroupId = GroupId(1);
    const TWO: GroupId = GroupId(2);
    const THREE: GroupId = GroupId(3);

    fn counts(map: &SlotMap, plan: &[Handover]) -> BTreeMap<GroupId, usize> {
        let mut counts: BTreeMap<GroupId, usize> = BTreeMap::new();
        for slot in Slot::all() {
            let moved = plan.iter().find(|handover| handover.slots.contains(slot)).map(|handover| handover.to);
            *counts.entry(moved.or_else(|| map.owner(slot)).unwrap()).or_default() += 1;
        }
        counts
    }

    #[test]
    fn a_new_group_gets_its_share_and_nobody_else_anything() {
        let map = SlotMap::spread(&[ONE, TWO]);
        let plan = balance(&map, &[ONE, TWO, THREE], |_| 1);
        assert_eq!(counts(&map, &plan), [(ONE, 5462), (TWO, 5461), (THREE, 5461)].into());
        assert!(plan.iter().all(|handover| handover.to == THREE));
        assert_eq!(plan.len(), 2, "{plan:?}");
    }

    #[test]
    fn a_group_that_leaves_gives_everything_away() {
        let map = SlotMap::spread(&[ONE, TWO, THREE]);
        let plan = balance(&map, &[ONE, TWO], |_| 1);
        assert_eq!(counts(&map, &plan), [(ONE, 8192), (TWO, 8192)].into());
        assert!(plan.iter().all(|handover| handover.from == THREE) && plan.len() == 2, "{plan:?}");
        let empty = balance(&map, &[ONE, TWO], |_| 0);
        assert!(!counts(&map, &empty).contains_key(&THREE), "slots without any weight leave as well");
    }

    #[test]
    fn weights_are_made_equal_not_numbers() {
        let map = SlotMap::spread(&[ONE, TWO]);
        // The first slots of the first group hold everything.
        let weight = |slot: Slot| if slot.number() < 100 { 10 } else { 0 };
        let plan = balance(&map, &[ONE, TWO], weight);
        let moved: u64 = plan.iter().flat_map(|handover| handover.slots.iter()).map(weight).sum();
        assert_eq!(moved, 500);
        assert!(plan.iter().all(|handover| (handover.from, handover.to) == (ONE, TWO)), "{plan:?}");
        assert_eq!(balance(&map, &[ONE, TWO], |_| 1), [], "what is balanced stays");
    }

    #[test]
    fn one_heavy_slot_is_not_carried_to_and_fro() {
        let map = SlotMap::spread(&[ONE, TWO]);
        let weight = |slot: Slot| if slot == Slot::MIN { 100 } else { 0 };
        assert_eq!(balance(&map, &[ONE, TWO], weight), []);
    }
}
