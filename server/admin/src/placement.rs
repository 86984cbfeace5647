//! Which nodes a new cluster's groups are put on.

use simplekv_types::{GroupId, NodeId};

use crate::args::Placement;

/// Groups `g1`… spread so that leaderships and replicas are even. Each group has `replicas` nodes, or all of them if there are fewer.
pub(crate) fn spread(nodes: &[NodeId], groups: u32, replicas: usize) -> Vec<Placement> {
    let members = |group: usize| {
        // Each group begins further along the ring than the one before, so that the first nodes do not lead everything.
        let first = group * nodes.len() / groups.max(1) as usize;
        nodes.iter().cycle().skip(first).take(replicas.min(nodes.len())).copied().collect()
    };
    (1..=groups).map(|number| Placement { group: GroupId(number), replicas: members(number as usize - 1) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread_over(nodes: u32, groups: u32) -> Vec<Vec<u32>> {
        let nodes: Vec<NodeId> = (1..=nodes).map(NodeId).collect();
        let placements = spread(&nodes, groups, 3);
        placements.iter().map(|placement| placement.replicas.iter().map(|node| node.0).collect()).collect()
    }

    #[test]
    fn groups_share_nodes_evenly() {
        assert_eq!(spread_over(6, 2), [[1, 2, 3], [4, 5, 6]]);
        assert_eq!(spread_over(3, 2), [[1, 2, 3], [2, 3, 1]]);
        assert_eq!(spread_over(3, 3), [[1, 2, 3], [2, 3, 1], [3, 1, 2]]);
        assert_eq!(spread_over(1, 2), [[1], [1]]);
    }
}
