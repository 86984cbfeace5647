//! The cluster as Redis Cluster clients expect to be told about it.
//!
//! In Redis a node leads or follows one group; here it may do both for several. Where the form has room for it (SLOTS, SHARDS), each
//! group is told with its own leader and followers. In NODES a node that leads anything is a master with the slots it leads.

use std::fmt::Write as _;

use simplekv_types::{Failure, Reply, SLOT_COUNT, Slot, SlotRange};

use crate::control::ClusterCommand;
use crate::facts::{ClusterFacts, GroupFacts, NodeFacts};

/// Answers CLUSTER, except for what needs to look at keys: COUNTKEYSINSLOT, GETKEYSINSLOT and SLOT-STATS.
#[must_use]
pub fn answer(command: &ClusterCommand, facts: &ClusterFacts) -> Option<Reply> {
    Some(match command {
        ClusterCommand::Slots => slots(facts),
        ClusterCommand::Shards => shards(facts),
        ClusterCommand::Nodes => Reply::Text(nodes(facts).into()),
        ClusterCommand::Info => Reply::Text(info(facts).into()),
        ClusterCommand::MyId => Reply::text(facts.nodes.get(facts.myself).map_or("", |node| &node.id)),
        ClusterCommand::MyShardId => Reply::text(first_group(facts, facts.myself).map_or("", |group| &group.id)),
        ClusterCommand::KeySlot { key } => Reply::Int(i64::from(Slot::of_key(key).number())),
        ClusterCommand::Links => Reply::Array(Vec::new()),
        ClusterCommand::Replicas { node } => replicas(facts, node),
        ClusterCommand::CountFailureReports { node } => match place_of(facts, node) {
            Some(_) => Reply::Int(0),
            None => unknown_node(node),
        },
        ClusterCommand::CountKeysInSlot { .. }
        | ClusterCommand::GetKeysInSlot { .. }
        | ClusterCommand::SlotStats(_) => {
            return None;
        }
    })
}

/// What CLUSTER is answered with where there is none to ask about.
pub(crate) const DISABLED: Failure = Failure::command("ERR This instance has cluster support disabled");

/// The leader, then the followers.
fn members(group: &GroupFacts) -> impl Iterator<Item = usize> {
    group.leader.into_iter().chain(group.followers.iter().copied().filter(|node| group.leader != Some(*node)))
}

fn slots(facts: &ClusterFacts) -> Reply {
    let has_two_roles = facts.groups.iter().filter_map(|group| group.leader).any(|leader| {
        facts.groups.iter().any(|group| group.leader != Some(leader) && group.followers.contains(&leader))
    });
    let mut rows: Vec<SlotsRow> = Vec::new();
    for group in &facts.groups {
        let nodes: Vec<Reply> = members(group).filter_map(|at| facts.nodes.get(at)).map(slots_node).collect();
        let plain = |slots| SlotsRow { rank: Rank::Plain, slots, nodes: nodes.clone() };
        // Without anybody to ask, the slots are better left out: clients report them as not covered.
        if nodes.is_empty() {
            continue;
        }
        if has_two_roles && group.leader.is_some() {
            rows.extend(with_leader_at_both_ends(&group.slots, &nodes));
        } else {
            rows.extend(group.slots.iter().copied().map(plain));
        }
    }
    rows.sort_by_key(|row| (row.rank, row.slots));
    Reply::Array(rows.into_iter().map(SlotsRow::into_reply).collect())
}

/// Where in the reply a row stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    First,
    Plain,
    Last,
}

/// Some slots with who serves them.
struct SlotsRow {
    rank: Rank,
    slots: SlotRange,
    nodes: Vec<Reply>,
}

impl SlotsRow {
    fn into_reply(self) -> Reply {
        let ends = [self.slots.first(), self.slots.last()].map(|slot| Reply::Int(i64::from(slot.number())));
        Reply::Array(ends.into_iter().chain(self.nodes).collect())
    }
}

/// The rows of a group in a cluster whose nodes lead here and follow there.
///
/// Some clients give each node one role and keep the first they read, others the last; what asks "all masters" (DBSIZE, SCAN, FLUSHALL)
/// would then miss nodes. So one slot of the group is told without followers before everything else, and one after it.
fn with_leader_at_both_ends(slots: &[SlotRange], nodes: &[Reply]) -> Vec<SlotsRow> {
    let leader = || nodes.iter().take(1).cloned().collect::<Vec<_>>();
    let mut ranges: Vec<SlotRange> = slots.to_vec();
    let mut rows = Vec::new();
    if let Some(range) = ranges.pop() {
        rows.push(SlotsRow { rank: Rank::Last, slots: range.last().into(), nodes: leader() });
        ranges.extend(neighbour(range.last(), -1).and_then(|last| SlotRange::new(range.first(), last)));
    }
    if let Some(range) = ranges.first().copied() {
        rows.push(SlotsRow { rank: Rank::First, slots: range.first().into(), nodes: leader() });
        ranges.splice(..1, neighbour(range.first(), 1).and_then(|first| SlotRange::new(first, range.last())));
    }
    rows.extend(ranges.into_iter().map(|slots| SlotsRow { rank: Rank::Plain, slots, nodes: nodes.to_vec() }));
    rows
}

fn neighbour(slot: Slot, away: i16) -> Option<Slot> {
    slot.number().checked_add_signed(away).and_then(Slot::new)
}

fn slots_node(node: &NodeFacts) -> Reply {
    let port = Reply::Int(i64::from(node.port));
    Reply::Array(vec![Reply::text(&*node.host), port, Reply::text(&*node.id), Reply::Map(Vec::new())])
}

fn shards(facts: &ClusterFacts) -> Reply {
    Reply::Array(facts.groups.iter().map(|group| shard(group, facts)).collect())
}

fn shard(group: &GroupFacts, facts: &ClusterFacts) -> Reply {
    let ends = group.slots.iter().flat_map(|range| [range.first(), range.last()]);
    let slots = ends.map(|slot| Reply::Int(i64::from(slot.number()))).collect();
    let node = |at: usize| {
        let node = facts.nodes.get(at)?;
        let role = if group.leader == Some(at) { "master" } else { "replica" };
        Some(Reply::Map(vec![
            (Reply::fixed("id"), Reply::text(&*node.id)),
            (Reply::fixed("port"), Reply::Int(i64::from(node.port))),
            (Reply::fixed("ip"), Reply::text(&*node.host)),
            (Reply::fixed("endpoint"), Reply::text(&*node.host)),
            (Reply::fixed("role"), Reply::fixed(role)),
            (Reply::fixed("replication-offset"), Reply::Int(i64::try_from(group.log_end).unwrap_or(i64::MAX))),
            (Reply::fixed("health"), Reply::fixed(if node.is_up { "online" } else { "fail" })),
        ]))
    };
    Reply::Map(vec![
        (Reply::fixed("slots"), Reply::Array(slots)),
        (Reply::fixed("nodes"), Reply::Array(members(group).filter_map(node).collect())),
    ])
}

/// The group a node leads, or else follows; the first of several.
fn first_group(facts: &ClusterFacts, node: usize) -> Option<&GroupFacts> {
    let leads = facts.groups.iter().find(|group| group.leader == Some(node));
    leads.or_else(|| facts.groups.iter().find(|group| group.followers.contains(&node)))
}

fn place_of(facts: &ClusterFacts, id: &[u8]) -> Option<usize> {
    facts.nodes.iter().position(|node| node.id.as_bytes().eq_ignore_ascii_case(id))
}

fn unknown_node(id: &[u8]) -> Reply {
    Reply::Error(Failure::Command(format!("ERR Unknown node {}", String::from_utf8_lossy(id)).into()))
}

/// The lines of the nodes that are told as a node's followers.
fn replicas(facts: &ClusterFacts, id: &[u8]) -> Reply {
    let Some(leader) = place_of(facts, id) else { return unknown_node(id) };
    if let (Some(_), _) = leader_of(facts, leader) {
        return Reply::Error(Failure::command("ERR The specified node is not a master"));
    }
    let follows = |(at, _): &(usize, &NodeFacts)| leader_of(facts, *at).0 == Some(leader);
    let lines = facts.nodes.iter().enumerate().filter(follows).map(|(at, node)| Reply::text(line(facts, at, node)));
    Reply::Array(lines.collect())
}

/// Whom a node copies, if it leads nothing itself, and the group it is told to belong to.
fn leader_of(facts: &ClusterFacts, node: usize) -> (Option<usize>, Option<&GroupFacts>) {
    let group = first_group(facts, node);
    let leader = group.and_then(|group| group.leader).filter(|leader| *leader != node);
    (leader.filter(|leader| facts.nodes.get(*leader).is_some()), group)
}

fn nodes(facts: &ClusterFacts) -> String {
    facts.nodes.iter().enumerate().map(|(at, node)| line(facts, at, node) + "\n").collect()
}

fn line(facts: &ClusterFacts, at: usize, node: &NodeFacts) -> String {
    let mut led: Vec<SlotRange> = Vec::new();
    for group in facts.groups.iter().filter(|group| group.leader == Some(at)) {
        led.extend(&group.slots);
    }
    led.sort_unstable();
    let (leader, group) = leader_of(facts, at);
    let leader = leader.and_then(|leader| facts.nodes.get(leader));
    let myself = if at == facts.myself { "myself," } else { "" };
    let role = if leader.is_some() { "slave" } else { "master" };
    let health = if node.is_up { "" } else { ",fail" };
    let link = if node.is_up { "connected" } else { "disconnected" };
    let NodeFacts { id, host, port, .. } = node;
    let bus = port.saturating_add(10_000);
    let leader = leader.map_or("-", |leader| leader.id.as_str());
    let epoch = group.map_or(0, |group| group.epoch);
    let mut text = format!("{id} {host}:{port}@{bus} {myself}{role}{health} {leader} 0 0 {epoch} {link}");
    for range in led {
        let _infallible = write!(text, " {range}");
    }
    text
}

fn info(facts: &ClusterFacts) -> String {
    let count = |groups: &mut dyn Iterator<Item = &GroupFacts>| -> usize {
        groups.flat_map(|group| &group.slots).map(|range| range.count()).sum()
    };
    let assigned = count(&mut facts.groups.iter());
    let led = count(&mut facts.groups.iter().filter(|group| group.leader.is_some()));
    let state = if led == usize::from(SLOT_COUNT) { "ok" } else { "fail" };
    let size = facts.groups.iter().filter(|group| !group.slots.is_empty()).count();
    let epoch = facts.groups.iter().map(|group| group.epoch).max().unwrap_or(0);
    let my_epoch = first_group(facts, facts.myself).map_or(0, |group| group.epoch);
    let mut text = String::new();
    for (name, value) in [
        ("cluster_state", state.to_owned()),
        ("cluster_slots_assigned", assigned.to_string()),
        ("cluster_slots_ok", led.to_string()),
        ("cluster_slots_pfail", "0".to_owned()),
        ("cluster_slots_fail", assigned.saturating_sub(led).to_string()),
        ("cluster_known_nodes", facts.nodes.len().to_string()),
        ("cluster_size", size.to_string()),
        ("cluster_current_epoch", epoch.to_string()),
        ("cluster_my_epoch", my_epoch.to_string()),
        ("cluster_stats_messages_sent", "0".to_owned()),
        ("cluster_stats_messages_received", "0".to_owned()),
        ("total_cluster_links_buffer_limit_exceeded", "0".to_owned()),
    ] {
        let _infallible = write!(text, "{name}:{value}\r\n");
    }
    text
}

#[cfg(test)]
mod tests;
