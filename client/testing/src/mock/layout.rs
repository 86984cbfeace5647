//! Where slots, groups and nodes are.

use std::net::SocketAddr;

use simplekv_client::Slot;
use simplekv_proto::v1;
use simplekv_types::SlotRange;

/// The group's time of a cluster that has just begun.
pub(super) const BEGINNING: u64 = 1_000_000;
const SLOTS: usize = 16384;

/// Nodes at these addresses, and the slots spread over groups.
pub(super) fn topology(nodes: &[(u32, SocketAddr)], groups: &[&[u32]]) -> v1::TopologyUpdate {
    let node = |(id, address): &(u32, SocketAddr)| v1::Node {
        id: *id,
        grpc: address.to_string(),
        live: true,
        ..v1::Node::default()
    };
    v1::TopologyUpdate {
        version: 1,
        cluster_id: vec![7; 16].into(),
        slot_map_version: 1,
        slots: spread(groups.len()),
        groups: groups.iter().zip(1..).map(|(replicas, id)| group(id, replicas)).collect(),
        nodes: nodes.iter().map(node).collect(),
        ..v1::TopologyUpdate::default()
    }
}

fn spread(n_groups: usize) -> Vec<v1::SlotOwner> {
    let number = |i: usize| u32::try_from(i).expect("there are few groups and slots");
    let bound = |i: usize| number(i * SLOTS / n_groups);
    let owned = |i: usize| v1::SlotOwner { first: bound(i), last: bound(i + 1) - 1, group: number(i + 1) };
    (0..n_groups).map(owned).collect()
}

fn group(id: u32, replicas: &[u32]) -> v1::Group {
    v1::Group {
        id,
        epoch: 1,
        leader: *replicas.first().expect("a group has replicas"),
        in_sync: replicas.to_vec(),
        replicas: replicas.to_vec(),
        min_in_sync: 1,
        group_time: BEGINNING,
    }
}

/// The group that owns a slot.
pub(super) fn owner(topology: &v1::TopologyUpdate, slot: Slot) -> Option<&v1::Group> {
    let number = u32::from(slot.number());
    let owner = topology.slots.iter().find(|owner| (owner.first..=owner.last).contains(&number))?;
    topology.groups.iter().find(|known| known.id == owner.group)
}

/// The slots of a group, in order.
pub(super) fn slots_of(topology: &v1::TopologyUpdate, group: u32) -> Vec<SlotRange> {
    let slot = |number| u16::try_from(number).ok().and_then(Slot::new);
    let range = |owner: &v1::SlotOwner| SlotRange::new(slot(owner.first)?, slot(owner.last)?);
    let mut slots: Vec<_> = topology.slots.iter().filter(|owner| owner.group == group).filter_map(range).collect();
    slots.sort_by_key(|range| range.first());
    slots
}

/// Gives a slot to another group.
pub(super) fn give(topology: &mut v1::TopologyUpdate, slot: Slot, group: u32) {
    let number = u32::from(slot.number());
    let mut slots = Vec::new();
    for owner in &topology.slots {
        if !(owner.first..=owner.last).contains(&number) {
            slots.push(*owner);
            continue;
        }
        if owner.first < number {
            slots.push(v1::SlotOwner { last: number - 1, ..*owner });
        }
        if number < owner.last {
            slots.push(v1::SlotOwner { first: number + 1, ..*owner });
        }
    }
    slots.push(v1::SlotOwner { first: number, last: number, group });
    topology.slots = slots;
    topology.slot_map_version += 1;
}

/// A key whose slot belongs to the `group`th of `n_groups` groups over which the slots are spread, another one for each `number`.
///
/// # Panics
/// If there are not so many groups.
#[must_use]
pub fn key_of_group(group: usize, n_groups: usize, number: usize) -> String {
    let wanted = spread(n_groups).into_iter().nth(group - 1).expect("groups are numbered from 1");
    let is_there = |key: &String| {
        let slot = u32::from(Slot::of_key(key.as_bytes()).number());
        (wanted.first..=wanted.last).contains(&slot)
    };
    let mut keys = (0..).map(|i| format!("key-{i}")).filter(is_there);
    keys.nth(number).expect("there is no end of keys")
}
