//! What has become different from one picture to the next: what clients are told who have the earlier one.
//!
//! In a large cluster the whole picture is half a megabyte and a change a hundred bytes, and both are multiplied by all clients.

use std::collections::BTreeMap;

use simplekv_proto::v1;
use simplekv_types::GroupId;

use super::{Routing, group, node};

impl Routing {
    /// The difference to an earlier picture of the same cluster, as clients get it. `time` tells a group's time as far as this node
    /// knows it.
    pub(crate) fn update_since(&self, before: &Self, time: impl Fn(GroupId) -> u64) -> v1::TopologyUpdate {
        let (groups, gone_groups) = differences(&before.groups, &self.groups);
        let (nodes, gone_nodes) = differences(&before.nodes, &self.nodes);
        v1::TopologyUpdate {
            since: before.version,
            slots: self.moved_since(before),
            groups: groups.into_iter().map(|(id, record)| group(id, record, time(id))).collect(),
            nodes: nodes.into_iter().map(|(id, facts)| node(id, facts)).collect(),
            gone_groups: gone_groups.into_iter().map(|id| id.0).collect(),
            gone_nodes: gone_nodes.into_iter().map(|id| id.0).collect(),
            ..self.head()
        }
    }

    /// Ranges of slots that have another owner.
    fn moved_since(&self, before: &Self) -> Vec<v1::SlotOwner> {
        let mut moved: Vec<v1::SlotOwner> = Vec::new();
        if self.slot_map_version == before.slot_map_version {
            return moved;
        }
        for (slot, (&owner, was)) in (0u32..).zip(self.owners.iter().zip(&before.owners)) {
            if owner == *was {
                continue;
            }
            match moved.last_mut() {
                Some(range) if range.group == owner && range.last + 1 == slot => range.last = slot,
                _ => moved.push(v1::SlotOwner { first: slot, last: slot, group: owner }),
            }
        }
        moved
    }
}

/// The entries that are new or different, and the keys that are not there any more.
fn differences<'a, K: Copy + Ord, V: PartialEq>(
    before: &BTreeMap<K, V>,
    now: &'a BTreeMap<K, V>,
) -> (Vec<(K, &'a V)>, Vec<K>) {
    let different = now.iter().filter(|(key, value)| before.get(key) != Some(value));
    let gone = before.keys().filter(|key| !now.contains_key(key));
    (different.map(|(&key, value)| (key, value)).collect(), gone.copied().collect())
}
