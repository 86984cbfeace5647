use simplekv_types::{Epoch, Lineage, RecoveryPolicy, RunId, StorageId};

use super::*;

fn member(node: u32) -> Member {
    Member { node: NodeId(node), storage: StorageId(u128::from(node)) }
}

fn facts(node: u32, storage: u128, live: bool) -> NodeFacts {
    let run = RunId(u64::from(node));
    NodeFacts {
        node: NodeId(node),
        storage: StorageId(storage),
        run,
        revision: Revision(u64::from(node) * 10),
        poisoned: false,
        live: live.then_some(run),
    }
}

fn nodes(facts: &[NodeFacts]) -> Nodes {
    facts.iter().map(|facts| (facts.node, *facts)).collect()
}

fn record(in_sync: &[u32], min_in_sync: u32) -> GroupRecord {
    GroupRecord {
        epoch: Epoch(4),
        leader: Some(Leadership { node: NodeId(1), storage: StorageId(1), run: RunId(1) }),
        in_sync: in_sync.iter().map(|node| member(*node)).collect(),
        fence: Vec::new(),
        lease_ms: 1000,
        fence_ms: 1000,
        replicas: vec![NodeId(1), NodeId(2), NodeId(3)],
        min_in_sync,
        lineage: Lineage(0),
        recovering: false,
        recovery: RecoveryPolicy::default(),
    }
}

#[test]
fn the_dead_leader_is_dropped_when_enough_remain() {
    let nodes = nodes(&[facts(1, 1, false), facts(2, 2, true), facts(3, 3, true)]);
    let change = elect(&record(&[1, 2, 3], 2), Revision(7), &nodes, NodeId(2), |m| m.node == NodeId(1)).unwrap();
    assert_eq!(change.record.in_sync, [member(2), member(3)]);
    assert_eq!(change.record.fence, [member(1), member(2), member(3)]);
    assert_eq!(change.record.epoch, Epoch(5));
    assert_eq!(change.registrations, [(NodeId(2), Revision(20)), (NodeId(3), Revision(30))]);
}

#[test]
fn the_floor_keeps_a_dead_member_listed() {
    let nodes = nodes(&[facts(1, 1, false), facts(2, 2, true), facts(3, 3, true)]);
    let change = elect(&record(&[1, 2], 2), Revision(7), &nodes, NodeId(2), |m| m.node == NodeId(1)).unwrap();
    assert_eq!(change.record.in_sync, [member(1), member(2)]);
    assert_eq!(
        change.registrations,
        [(NodeId(2), Revision(20))],
        "nobody intact leaves, only the candidate is compared"
    );
}

/// C69: node 3 was wiped and its old incarnation is still listed. Dropping the dead but intact node 1 would leave node 2 and a
/// ghost; if node 2 then died, nobody could be elected although node 1's disk holds everything.
#[test]
fn a_ghost_does_not_meet_the_floor() {
    let nodes = nodes(&[facts(1, 1, false), facts(2, 2, true), facts(3, 99, true)]);
    let change = elect(&record(&[1, 2, 3], 2), Revision(7), &nodes, NodeId(2), |m| m.node == NodeId(1)).unwrap();
    assert_eq!(change.record.in_sync, [member(1), member(2)]);
}

/// C38: what is listed is an incarnation, not a node.
#[test]
fn a_wiped_node_is_not_elected() {
    let nodes = nodes(&[facts(1, 1, false), facts(2, 99, true)]);
    assert_eq!(elect(&record(&[1, 2], 1), Revision(7), &nodes, NodeId(2), |_| false), None);
    assert_eq!(elect(&record(&[1], 1), Revision(7), &nodes, NodeId(2), |_| false), None, "and nobody outside the set");
}

/// C60: the lease is shortened together with the epoch, while a follower still holds a long one.
#[test]
fn the_fence_remembers_the_longest_lease() {
    let nodes = nodes(&[facts(1, 1, true), facts(2, 2, true)]);
    let old = GroupRecord { lease_ms: 3000, fence_ms: 500, ..record(&[1, 2], 1) };
    let change = elect(&old, Revision(7), &nodes, NodeId(2), |_| false).unwrap();
    assert_eq!(change.record.fence_ms, 3000);
}

#[test]
fn a_leader_has_ended_only_if_a_later_run_registered() {
    let leader = record(&[1], 1).leader;
    let with = |facts: NodeFacts| has_ended(&nodes(&[facts]), leader);
    assert!(!with(facts(1, 1, false)));
    assert!(with(NodeFacts { run: RunId(2), ..facts(1, 1, false) }), "restarted");
    assert!(!with(NodeFacts { run: RunId(0), ..facts(1, 1, false) }), "what we know is older than the election");
    assert!(with(NodeFacts { poisoned: true, ..facts(1, 1, true) }));
    assert!(has_ended(&nodes(&[]), None));
}
