//! A group's first leader.
//!
//! Epoch 0 is before anything was ever written: whoever is assigned and alive is as good as anybody, and together they become the
//! first in-sync set. The transaction compares the record, so it happens once, and every founder's registration, so that nobody is
//! listed by an incarnation that is gone.

use simplekv_types::{Epoch, GroupRecord, Leadership, Member, Revision};

use crate::effect::GroupChange;
use crate::event::NodeFacts;
use crate::failover::Nodes;

/// The change that gives a new group its first leader and in-sync set; `None` if it has had one, or too few of its nodes are alive:
/// `everyone` or at least the group's minimum.
pub(crate) fn found(record: &GroupRecord, expected: Revision, nodes: &Nodes, everyone: bool) -> Option<GroupChange> {
    if record.epoch != Epoch::ZERO || record.leader.is_some() || !record.in_sync.is_empty() {
        return None;
    }
    let alive = |facts: &&NodeFacts| facts.is_live() && !facts.poisoned;
    let founders: Vec<&NodeFacts> = record.replicas.iter().filter_map(|node| nodes.get(node).filter(alive)).collect();
    let least =
        if everyone { record.replicas.len() } else { usize::try_from(record.min_in_sync).unwrap_or(usize::MAX) };
    let first = founders.first()?;
    if founders.len() < least {
        return None;
    }
    let mut in_sync: Vec<Member> = founders.iter().map(|f| Member { node: f.node, storage: f.storage }).collect();
    in_sync.sort_unstable();
    let mut registrations: Vec<_> = founders.iter().map(|facts| (facts.node, facts.revision)).collect();
    registrations.sort_unstable();
    let record = GroupRecord {
        epoch: record.epoch.next(),
        leader: Some(Leadership { node: first.node, storage: first.storage, run: first.run }),
        in_sync,
        fence: Vec::new(),
        ..record.clone()
    };
    Some(GroupChange { expected, registrations, silent: Vec::new(), record })
}

#[cfg(test)]
mod tests {
    use simplekv_types::{Lineage, NodeId, RecoveryPolicy, RunId, StorageId};

    use super::*;

    fn record() -> GroupRecord {
        GroupRecord {
            epoch: Epoch::ZERO,
            leader: None,
            in_sync: Vec::new(),
            fence: Vec::new(),
            lease_ms: 1000,
            fence_ms: 1000,
            replicas: vec![NodeId(2), NodeId(3), NodeId(1)],
            min_in_sync: 2,
            lineage: Lineage(0),
            recovering: false,
            recovery: RecoveryPolicy::default(),
        }
    }

    fn nodes(alive: &[u32]) -> Nodes {
        let facts = |node: u32| NodeFacts {
            node: NodeId(node),
            storage: StorageId(node.into()),
            run: RunId(node.into()),
            revision: Revision(node.into()),
            poisoned: false,
            live: alive.contains(&node).then_some(RunId(node.into())),
        };
        (1..=3).map(|node| (NodeId(node), facts(node))).collect()
    }

    #[test]
    fn a_new_group_begins_with_everyone_it_is_assigned_to() {
        let change = found(&record(), Revision(9), &nodes(&[1, 2, 3]), true).unwrap();
        assert_eq!(change.record.leader.map(|leader| leader.node), Some(NodeId(2)), "the preferred node leads");
        let in_sync: Vec<u32> = change.record.in_sync.iter().map(|member| member.node.0).collect();
        assert_eq!(in_sync, [1, 2, 3]);
        assert_eq!(change.registrations.len(), 3, "every founder's registration is compared");
        assert_eq!((change.expected, change.record.epoch), (Revision(9), Epoch(1)));
    }

    #[test]
    fn a_minimum_is_enough_only_when_the_others_have_had_their_time() {
        assert_eq!(found(&record(), Revision(9), &nodes(&[1, 3]), true), None);
        let change = found(&record(), Revision(9), &nodes(&[1, 3]), false).unwrap();
        assert_eq!(change.record.leader.map(|leader| leader.node), Some(NodeId(3)));
        assert_eq!(found(&record(), Revision(9), &nodes(&[1]), false), None, "one of two required");
    }

    #[test]
    fn a_group_is_founded_once() {
        let again = GroupRecord { epoch: Epoch(1), ..record() };
        assert_eq!(found(&again, Revision(9), &nodes(&[1, 2, 3]), true), None);
        let listed = GroupRecord { in_sync: vec![Member { node: NodeId(1), storage: StorageId(1) }], ..record() };
        assert_eq!(found(&listed, Revision(9), &nodes(&[1, 2, 3]), true), None);
    }
}
