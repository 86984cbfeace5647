//! Who may lead next, and what the group's record then says.
//!
//! Only an in-sync replica may lead: every acknowledged write is on every intact one of them. When to elect is a matter of evidence
//! and decides nothing about safety; what an election may write is decided here, once for the controller, for in-sync followers
//! that lost their leader, and for a leader that hands over.

use std::collections::BTreeMap;

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::{GroupRecord, Leadership, Member, NodeId, Revision};

use crate::effect::GroupChange;
use crate::event::NodeFacts;

/// What is known about nodes.
pub(crate) type Nodes = BTreeMap<NodeId, NodeFacts>;

/// Keeps what is newer of two facts about a node.
pub(crate) fn learn(nodes: &mut Nodes, facts: Vec<NodeFacts>) {
    for facts in facts {
        let known = nodes.entry(facts.node).or_insert(facts);
        if known.revision <= facts.revision {
            *known = facts;
        }
    }
}

/// What a listed member is, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Registered as listed, undamaged.
    Intact,
    /// Another incarnation is registered, or this one is damaged: it will never come back.
    Superseded,
    /// Nothing is known of the node.
    Unknown,
}

/// What a listed member is, as far as is known.
pub(crate) fn standing(nodes: &Nodes, member: Member) -> Standing {
    match nodes.get(&member.node) {
        None => Standing::Unknown,
        Some(facts) if facts.is_intact(member) => Standing::Intact,
        Some(_) => Standing::Superseded,
    }
}

/// Whether the registrations prove that the recorded leadership has ended: its process has registered again, or its storage is not
/// trusted any more, or there is none.
///
/// What is known of a node may be older than the record, so only a *later* run is proof.
pub(crate) fn has_ended(nodes: &Nodes, leader: Option<Leadership>) -> bool {
    let Some(leader) = leader else { return true };
    nodes.get(&leader.node).is_some_and(|facts| {
        facts.run > leader.run || (facts.run == leader.run && (facts.poisoned || facts.storage != leader.storage))
    })
}

/// The registrations that must be compared when `removed` leave the in-sync set and `kept` stay; `None` if they may not leave.
///
/// An intact member may leave only if at least `min_in_sync` of those that stay are intact *when the transaction is executed*.
/// Otherwise the floor could be met by dead incarnations, and the next failure would leave nobody electable although an intact copy
/// exists. That a member is superseded must be true then, too: the record may list the incarnation that came after the one known
/// here.
pub(crate) fn floor_compares(
    nodes: &Nodes,
    min_in_sync: usize,
    kept: &[Member],
    removed: &[Member],
) -> Option<Vec<(NodeId, Revision)>> {
    let superseded = superseded_compares(nodes, removed);
    if superseded.len() == removed.len() {
        return Some(superseded);
    }
    let intact = kept.iter().filter_map(|member| nodes.get(&member.node).filter(|facts| facts.is_intact(*member)));
    let mut compares: Vec<(NodeId, Revision)> =
        intact.take(min_in_sync).map(|facts| (facts.node, facts.revision)).collect();
    if compares.len() < min_in_sync {
        return None;
    }
    compares.extend(superseded);
    compares.sort_unstable();
    Some(compares)
}

/// The registrations by which those of `removed` that are superseded are known to be.
pub(crate) fn superseded_compares(nodes: &Nodes, removed: &[Member]) -> Vec<(NodeId, Revision)> {
    let superseded = removed.iter().filter(|member| standing(nodes, **member) == Standing::Superseded);
    superseded.filter_map(|member| nodes.get(&member.node)).map(|facts| (facts.node, facts.revision)).collect()
}

/// The change that makes `candidate` the leader of the next epoch, without the in-sync members for which `is_dead`, as far as the
/// floor allows. `None` if the candidate is not in sync as registered.
pub(crate) fn elect(
    record: &GroupRecord,
    expected: Revision,
    nodes: &Nodes,
    candidate: NodeId,
    is_dead: impl Fn(Member) -> bool,
) -> Option<GroupChange> {
    let facts = nodes.get(&candidate)?;
    let member = Member { node: candidate, storage: facts.storage };
    if !record.is_in_sync(member) || facts.poisoned || record.recovering {
        return None;
    }
    let min = usize::try_from(record.min_in_sync).unwrap_or(usize::MAX);
    let kept = keep(record, nodes, member, min, is_dead);
    let removed: Vec<Member> = record.in_sync.iter().copied().filter(|other| !kept.contains(other)).collect();
    let mut registrations = floor_compares(nodes, min, &kept, &removed)?;
    registrations.push((candidate, facts.revision));
    registrations.sort_unstable();
    registrations.dedup();

    let mut fence = if is_broken(Rule::C18) { Vec::new() } else { record.fence.clone() };
    let held = if is_broken(Rule::C17) { &kept } else { &record.in_sync };
    fence.extend(held.iter().copied().filter(|member| !fence.contains(member)).collect::<Vec<_>>());
    fence.sort_unstable();
    let record = GroupRecord {
        epoch: record.epoch.next(),
        leader: Some(Leadership { node: candidate, storage: facts.storage, run: facts.run }),
        in_sync: kept,
        fence,
        // The lease of the epoch that ends counts, not the one that begins: shortening it must not open the gate early.
        fence_ms: record.fence_ms.max(record.lease_ms),
        ..record.clone()
    };
    Some(GroupChange { expected, registrations, silent: Vec::new(), record })
}

/// Which in-sync members stay: the candidate, those alive, and of the dead as many as the floor needs, intact ones first.
fn keep(
    record: &GroupRecord,
    nodes: &Nodes,
    candidate: Member,
    min: usize,
    is_dead: impl Fn(Member) -> bool,
) -> Vec<Member> {
    let mut kept = Vec::with_capacity(record.in_sync.len());
    let mut dead = Vec::new();
    let mut superseded = Vec::new();
    for &member in &record.in_sync {
        match standing(nodes, member) {
            _ if member == candidate => kept.push(member),
            Standing::Superseded => superseded.push(member),
            Standing::Intact if is_dead(member) => dead.push(member),
            // Of an unknown node it cannot be said that it is gone.
            Standing::Intact | Standing::Unknown => kept.push(member),
        }
    }
    let intact = |members: &[Member]| members.iter().filter(|m| standing(nodes, **m) == Standing::Intact).count();
    let mut dead = dead.into_iter().peekable();
    while dead.peek().is_some() && intact(&kept) < min {
        kept.extend(dead.next());
    }
    kept.extend(superseded.into_iter().take(min.saturating_sub(kept.len())));
    kept.sort_unstable();
    kept
}

#[cfg(test)]
mod tests;
