//! What must always hold, and what must be possible.

use simplekv_cluster::Role;
use simplekv_types::{Epoch, Tick};
use stateright::Property;

use crate::disk::index;
use crate::history::Breach;
use crate::model::Protocol;
use crate::node::{Node, clock};
use crate::state::State;

/// What must always hold.
pub(crate) fn properties() -> Vec<Property<Protocol>> {
    vec![
        Property::always("what is committed is the same everywhere and never dropped", |_, state: &State| {
            !matches!(state.history.breach, Some(Breach::Contradicted | Breach::Dropped))
        }),
        Property::always("an acknowledged write is committed", |_, state: &State| {
            let committed = |write: &u8| state.history.committed.iter().any(|entry| entry.write == Some(*write));
            state.history.acknowledged.iter().all(committed)
        }),
        Property::always("one process leads an epoch", |_, state: &State| {
            state.history.breach != Some(Breach::TwoLead)
        }),
        Property::always("whoever is in sync holds all that is committed", |_, state: &State| {
            in_sync_is_complete(state)
        }),
        Property::always("the leader of the latest epoch holds all that is committed", |_, state: &State| {
            leaders(state).all(|node| state.history.is_held_by(&node.disk.log))
        }),
        Property::always("a leader waits for all whom the record lists", |_, state: &State| {
            let listed = &state.store.record.in_sync;
            leaders(state).all(|node| listed.iter().all(|member| node.status.required_acks.contains(member)))
        }),
        Property::always("what is verified equals the leader's log", |_, state: &State| verified_is_equal(state)),
        Property::always("a replica commits only what it has verified", |_, state: &State| {
            state.history.breach != Some(Breach::Unverified)
        }),
        Property::always("whoever may answer reads knows all that is committed", |_, state: &State| {
            reads_are_new(state)
        }),
        Property::always("no leader's lease outlives a later gate", |_, state: &State| {
            state.nodes.iter().all(|node| !holds_lease(state, node) || node.status.epoch >= state.history.open)
        }),
        Property::always("no replica halts", |_, state: &State| state.history.breach != Some(Breach::Halted)),
        Property::always("no assertion of the core fails", |_, state: &State| {
            !matches!(state.history.breach, Some(Breach::Assertion(_)))
        }),
    ]
}

/// Something that must be possible, or the bounds do not reach far enough to mean anything.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Witness {
    LaterWrite,
    FollowerRead,
    DeposedLease,
    Truncation,
    LeftOut,
    Change,
    Join,
}

impl Witness {
    pub(crate) fn property(self) -> Property<Protocol> {
        match self {
            Self::LaterWrite => Property::sometimes("a later leader commits a write", |_, state: &State| {
                state.history.committed.iter().any(|entry| entry.write.is_some() && entry.epoch > Epoch(1))
            }),
            Self::FollowerRead => Property::sometimes("a follower reads a write under a lease", |_, state: &State| {
                let reads = |node: &Node| now(state, node) < node.serving.read_lease_until;
                let has_written =
                    |node: &Node| node.disk.entries().take(index(node.applied)).any(|e| e.write.is_some());
                state.nodes.iter().any(|node| reads(node) && has_written(node))
            }),
            Self::DeposedLease => Property::sometimes("a deposed leader still holds its lease", |_, state: &State| {
                let is_deposed = |node: &Node| node.status.epoch < state.store.record.epoch;
                state.nodes.iter().any(|node| holds_lease(state, node) && is_deposed(node))
            }),
            Self::Truncation => {
                Property::sometimes("a follower drops what its leader contradicts", |_, state: &State| {
                    state.nodes.iter().any(|node| node.disk.truncations > 0)
                })
            }
            Self::LeftOut => Property::sometimes("an election leaves somebody out", |_, state: &State| {
                state.store.changes == 0 && state.store.record.in_sync.len() < state.nodes.len()
            }),
            Self::Change => {
                Property::sometimes("a leader changes the in-sync set", |_, state: &State| state.store.changes > 0)
            }
            Self::Join => Property::sometimes("a replica joins the in-sync set", |_, state: &State| state.store.joined),
        }
    }
}

fn now(state: &State, node: &Node) -> Tick {
    clock(node.id, state.now)
}

fn leads(node: &Node) -> bool {
    node.status.role == Role::Leader
}

fn holds_lease(state: &State, node: &Node) -> bool {
    leads(node) && now(state, node) < node.serving.leader_lease_until
}

/// Whoever leads the epoch of the record: at most one.
fn leaders(state: &State) -> impl Iterator<Item = &Node> {
    state.nodes.iter().map(|node| &**node).filter(|node| leads(node) && node.status.epoch == state.store.record.epoch)
}

fn in_sync_is_complete(state: &State) -> bool {
    let lists = |node: &Node| state.store.record.in_sync.contains(&node.member());
    state.nodes.iter().all(|node| !lists(node) || state.history.is_held_by(&node.disk.log))
}

/// A leader answers with what it has applied, a follower once it has applied what its log held when it was asked.
fn reads_are_new(state: &State) -> bool {
    let is_new = |node: &Node| {
        let now = now(state, node);
        let leader_reads = now < node.serving.leader_lease_until;
        let follower_reads = now < node.serving.read_lease_until;
        let applied = index(node.applied);
        (!leader_reads || applied >= state.history.committed.len())
            && (!follower_reads || state.history.is_held_by(&node.disk.log))
    };
    state.nodes.iter().all(|node| is_new(node))
}

fn verified_is_equal(state: &State) -> bool {
    let is_equal = |node: &Node| {
        let leader = state.nodes.iter().find(|other| {
            Some(other.id) == node.status.leader && leads(other) && other.status.epoch == node.status.epoch
        });
        let end = index(node.status.verified_end);
        leads(node) || leader.is_none_or(|leader| leader.disk.log.get(..end) == node.disk.log.get(..end))
    };
    state.nodes.iter().all(|node| is_equal(node))
}
