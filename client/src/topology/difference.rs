//! From one topology to the next without telling everything again.

use std::collections::BTreeMap;
use std::sync::Arc;

use simplekv_types::{ClusterId, GroupId, NodeId, SlotMapVersion, SlotRange};

use super::{Group, Node, Topology, UNOWNED};

/// What has become different since an earlier topology.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    pub(crate) cluster: ClusterId,
    /// Version of the earlier topology.
    pub(crate) since: u64,
    pub(crate) version: u64,
    pub(crate) slot_map_version: SlotMapVersion,
    /// Slots with another owner; `None`: with none.
    pub(crate) slots: Vec<(SlotRange, Option<GroupId>)>,
    /// New, or not as they were.
    pub(crate) groups: Vec<Group>,
    pub(crate) gone_groups: Vec<GroupId>,
    /// New, or not as they were.
    pub(crate) nodes: Vec<Node>,
    pub(crate) gone_nodes: Vec<NodeId>,
}

impl Topology {
    /// The topology that differs so from this one; `None` if another one is meant.
    pub(crate) fn changed_by(&self, difference: Difference) -> Option<Self> {
        let Difference { cluster, since, version, slot_map_version, slots, groups, gone_groups, nodes, gone_nodes } =
            difference;
        if cluster != self.cluster || since != self.version || version < since {
            return None;
        }
        let mut next = Self { version, slot_map_version, ..self.clone() };
        next.change_groups(groups, &gone_groups);
        next.change_nodes(nodes, &gone_nodes);
        for (range, owner) in slots {
            match owner {
                Some(group) => drop(next.assign(range, group)),
                None => next.release(range),
            }
        }
        Some(next)
    }

    fn change_groups(&mut self, groups: Vec<Group>, gone: &[GroupId]) {
        let mut new = Vec::new();
        for group in groups {
            match self.group_index(group.id).and_then(|index| self.groups.get_mut(index)) {
                Some(known) => *known = group,
                None => new.push(group),
            }
        }
        if new.is_empty() && gone.is_empty() {
            return;
        }
        // The slots name groups by place, and places change.
        let before: Vec<GroupId> = self.groups.iter().map(|group| group.id).collect();
        self.groups.retain(|group| !gone.contains(&group.id));
        self.groups.extend(new);
        self.groups.sort_by_key(|group| group.id);
        self.groups.dedup_by_key(|group| group.id);
        self.groups.truncate(usize::from(UNOWNED));
        let place = |id: GroupId| self.group_index(id).and_then(|index| u16::try_from(index).ok()).unwrap_or(UNOWNED);
        let places: Vec<u16> = before.into_iter().map(place).collect();
        for owner in &mut self.owners {
            *owner = places.get(usize::from(*owner)).copied().unwrap_or(UNOWNED);
        }
    }

    fn change_nodes(&mut self, nodes: Vec<Node>, gone: &[NodeId]) {
        if nodes.is_empty() && gone.is_empty() {
            return;
        }
        let mut all: BTreeMap<NodeId, Node> = self.nodes.iter().map(|node| (node.id, node.clone())).collect();
        all.retain(|id, _| !gone.contains(id));
        all.extend(nodes.into_iter().map(|node| (node.id, node)));
        self.nodes = Arc::new(all.into_values().collect());
    }

    fn release(&mut self, range: SlotRange) {
        if let Some(rows) = self.owners.get_mut(range.first().index()..=range.last().index()) {
            rows.fill(UNOWNED);
        }
    }
}

#[cfg(test)]
mod tests {
    use simplekv_types::{Epoch, NodeAddresses};

    use super::*;
    use crate::topology::tests::{slot, two_groups};

    /// Everything of a topology but the groups' clocks.
    fn content(topology: &Topology) -> String {
        let groups: Vec<_> =
            topology.groups.iter().map(|g| (g.id, g.epoch, g.leader, &g.in_sync, &g.replicas)).collect();
        format!("{} {:?} {groups:?} {:?}", topology.version, topology.ranges(), topology.nodes)
    }

    fn nothing(since: u64) -> Difference {
        Difference {
            cluster: ClusterId(1),
            since,
            version: since + 1,
            slot_map_version: SlotMapVersion(since + 1),
            slots: Vec::new(),
            groups: Vec::new(),
            gone_groups: Vec::new(),
            nodes: Vec::new(),
            gone_nodes: Vec::new(),
        }
    }

    fn node(id: u32) -> Node {
        Node::new(NodeId(id), NodeAddresses { grpc: format!("new:{id}"), ..NodeAddresses::default() })
    }

    fn group(id: u32, leader: u32) -> Group {
        Group::new(GroupId(id), Epoch(9), Some(NodeId(leader)), vec![NodeId(leader)])
    }

    #[test]
    fn what_is_not_named_stays_as_it_was() {
        let difference = Difference { groups: vec![group(2, 1)], nodes: vec![node(2)], ..nothing(5) };
        let next = two_groups(5).changed_by(difference).unwrap();
        let (one, two) = (two_groups(5).groups[0].clone(), two_groups(5).nodes[0].clone());
        let ranges = two_groups(5).ranges();
        let told =
            Topology::new(6, ClusterId(1), SlotMapVersion(6), ranges, vec![one, group(2, 1)], vec![two, node(2)]);
        assert_eq!(content(&next), content(&told));
    }

    #[test]
    fn slots_follow_their_groups_when_others_come_and_go() {
        let slots = vec![("0-9".parse().unwrap(), Some(GroupId(9))), ("16383".parse().unwrap(), None)];
        let groups = vec![group(9, 3), group(0, 3)];
        let (gone_groups, nodes) = (vec![GroupId(1)], vec![node(3)]);
        let next = two_groups(5).changed_by(Difference { slots, groups, gone_groups, nodes, ..nothing(5) }).unwrap();
        let ranges: Vec<String> = next.ranges().iter().map(|(range, group)| format!("{range}:{group}")).collect();
        assert_eq!(ranges, ["0-9:g9", "8192-16382:g2"], "nobody was said to own what was of group 1");
        assert_eq!(next.owner(slot(7)).and_then(|group| group.leader), Some(NodeId(3)));
        assert_eq!(next.nodes.len(), 3);
    }

    #[test]
    fn a_difference_to_another_topology_is_refused() {
        assert!(two_groups(4).changed_by(nothing(5)).is_none());
        assert!(two_groups(5).changed_by(Difference { cluster: ClusterId(2), ..nothing(5) }).is_none());
        assert!(two_groups(5).changed_by(Difference { version: 4, ..nothing(5) }).is_none());
    }
}
