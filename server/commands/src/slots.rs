//! What CLUSTER asks about the keys of single slots.

use simplekv_resp::control::{ClusterCommand, SlotStats};
use simplekv_types::{Failure, GroupTime, Reply, Slot, SlotRange};

use crate::View;

/// Most keys GETKEYSINSLOT answers.
const KEYS_MAX: u64 = 10_000;

/// Answers COUNTKEYSINSLOT, GETKEYSINSLOT and SLOT-STATS; `None` for what is not about the keys of slots.
#[must_use]
pub fn answer_slot_query(command: &ClusterCommand, view: &dyn View, now: GroupTime) -> Option<Reply> {
    Some(match command {
        ClusterCommand::CountKeysInSlot { slot } => count(view.key_count(*slot)),
        ClusterCommand::GetKeysInSlot { slot, count } => {
            keys_in_slot(*slot, *count, view, now).unwrap_or_else(Reply::Error)
        }
        ClusterCommand::SlotStats(SlotStats::Range(range)) => {
            let served = served(view).filter(|slot| range.contains(*slot));
            Reply::Array(served.map(|slot| stats(slot, view.key_count(slot))).collect())
        }
        ClusterCommand::SlotStats(SlotStats::ByKeyCount { limit, ascending }) => {
            let mut slots: Vec<(u64, Slot)> = served(view).map(|slot| (view.key_count(slot), slot)).collect();
            // Slots of equal count stay in the order of their numbers either way.
            match ascending {
                true => slots.sort_unstable(),
                false => slots.sort_unstable_by_key(|(count, slot)| (u64::MAX - count, *slot)),
            }
            slots.truncate(usize::try_from(*limit).unwrap_or(usize::MAX));
            Reply::Array(slots.into_iter().map(|(count, slot)| stats(slot, count)).collect())
        }
        _ => return None,
    })
}

fn served(view: &dyn View) -> impl Iterator<Item = Slot> + use<> {
    view.slots().into_iter().flat_map(SlotRange::iter)
}

fn stats(slot: Slot, keys: u64) -> Reply {
    let stats = Reply::Map(vec![(Reply::fixed("key-count"), count(keys))]);
    Reply::Array(vec![Reply::Int(i64::from(slot.number())), stats])
}

fn count(number: u64) -> Reply {
    Reply::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn keys_in_slot(slot: Slot, count: u64, view: &dyn View, now: GroupTime) -> Result<Reply, Failure> {
    let limit = usize::try_from(count.min(KEYS_MAX)).unwrap_or(usize::MAX);
    let mut keys = Vec::new();
    if limit > 0 {
        view.scan_slot(slot, 0, limit, &mut |_, key, meta| {
            if meta.is_visible(now) && keys.len() < limit {
                keys.push(Reply::Bulk(key));
            }
        })?;
    }
    Ok(Reply::Array(keys))
}
