//! Where a key is: what CLIENT ROUTE answers.
//!
//! For people who ask: a client that routes by itself asks CLUSTER, which a router does not answer so that nobody goes around it.

use simplekv_types::{Failure, Reply, Slot};

use crate::facts::{ClusterFacts, GroupFacts};

/// What is answered where nothing is known of the cluster.
pub(crate) const UNKNOWN: Failure = Failure::command("ERR where keys are is not known here, or not yet");

/// The slot of a key, the group that owns it, and the group's in-sync replicas, the leader first.
#[must_use]
pub(crate) fn answer(key: &[u8], facts: &ClusterFacts) -> Reply {
    let slot = Slot::of_key(key);
    let owner = facts.groups.iter().find(|group| group.slots.iter().any(|range| range.contains(slot)));
    let number = |number: u64| Reply::Int(i64::try_from(number).unwrap_or(i64::MAX));
    let group = owner.and_then(|group| u32::from_str_radix(group.id.get(..8)?, 16).ok());
    let leader = owner.and_then(|group| facts.nodes.get(group.leader?));
    Reply::Map(vec![
        (Reply::fixed("slot"), Reply::Int(i64::from(slot.number()))),
        (Reply::fixed("group"), group.map_or(Reply::Null, |group| number(group.into()))),
        (Reply::fixed("epoch"), owner.map_or(Reply::Null, |group| number(group.epoch))),
        (Reply::fixed("leader"), leader.map_or(Reply::Null, |node| Reply::text(address(&node.host, node.port)))),
        (Reply::fixed("replicas"), Reply::Array(owner.map_or_else(Vec::new, |group| replicas(group, facts)))),
    ])
}

fn replicas(group: &GroupFacts, facts: &ClusterFacts) -> Vec<Reply> {
    let followers = group.followers.iter().copied().filter(|node| group.leader != Some(*node));
    let members =
        group.leader.map(|leader| (leader, "leader")).into_iter().chain(followers.map(|node| (node, "follower")));
    let replica = |(at, role): (usize, &'static str)| {
        let node = facts.nodes.get(at)?;
        let number = node.id.get(32..).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        Some(Reply::Map(vec![
            (Reply::fixed("node"), number.map_or(Reply::Null, |number| Reply::Int(number.into()))),
            (Reply::fixed("address"), Reply::text(address(&node.host, node.port))),
            (Reply::fixed("role"), Reply::fixed(role)),
            (Reply::fixed("state"), Reply::fixed(if node.is_up { "up" } else { "down" })),
        ]))
    };
    members.filter_map(replica).collect()
}

fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use simplekv_types::{ClusterId, GroupId, NodeId, SlotRange};

    use super::*;
    use crate::facts::{NodeFacts, group_id, node_id};

    fn node(id: u32, host: &str, is_up: bool) -> NodeFacts {
        NodeFacts { id: node_id(ClusterId(7), NodeId(id)), host: host.into(), port: 7400, is_up }
    }

    fn facts(leader: Option<usize>) -> ClusterFacts {
        let slots = vec![SlotRange::new(Slot::MIN, Slot::new(16_000).unwrap()).unwrap()];
        let id = group_id(ClusterId(7), GroupId(12));
        let group = GroupFacts { id, slots, leader, followers: vec![0, 1], epoch: 3, log_end: 9 };
        ClusterFacts { myself: 0, nodes: vec![node(1, "a", true), node(2, "::1", false)], groups: vec![group] }
    }

    fn told(key: &str, leader: Option<usize>) -> String {
        let mut out = bytes::BytesMut::new();
        crate::encode::reply(&answer(key.as_bytes(), &facts(leader)), crate::Protocol::Resp3, &mut out);
        String::from_utf8_lossy(&out).replace("\r\n", " ")
    }

    #[test]
    fn a_key_is_told_with_its_group_and_whoever_is_in_sync() {
        // foo is in slot 12182.
        assert_eq!(
            told("foo", Some(1)),
            "%5 $4 slot :12182 $5 group :12 $5 epoch :3 $6 leader $10 [::1]:7400 $8 replicas *2 \
             %4 $4 node :2 $7 address $10 [::1]:7400 $4 role $6 leader $5 state $4 down \
             %4 $4 node :1 $7 address $6 a:7400 $4 role $8 follower $5 state $2 up "
        );
    }

    #[test]
    fn what_there_is_not_is_null() {
        let leaderless = told("foo", None);
        assert!(leaderless.contains("$6 leader _ $8 replicas *2 "), "{leaderless}");
        let unowned =
            (0..).map(|i| format!("key-{i}")).find(|key| Slot::of_key(key.as_bytes()).number() > 16_000).unwrap();
        let unowned = told(&unowned, Some(0));
        assert!(unowned.contains("$5 group _ $5 epoch _ $6 leader _ $8 replicas *0 "), "{unowned}");
    }
}
