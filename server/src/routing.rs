//! Where slots, groups and nodes are, as this node knows it: one immutable picture, replaced whole when the metadata changes.

mod difference;

use std::collections::BTreeMap;
use std::sync::Arc;

use simplekv_meta::ClusterView;
use simplekv_proto::v1;
use simplekv_types::{
    ClusterId, Epoch, Failure, GroupId, GroupRecord, NodeAddresses, NodeId, Slot, SlotMap, SlotMapVersion,
};

/// The picture. Cheap to share, never changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routing {
    /// Grows with each change; what clients call the topology's version.
    pub(crate) version: u64,
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) slots: Arc<SlotMap>,
    pub(crate) slot_map_version: SlotMapVersion,
    pub(crate) groups: BTreeMap<GroupId, GroupRecord>,
    pub(crate) nodes: BTreeMap<NodeId, NodeFacts>,
    /// Owner of each slot, as the number of the group; 0 for nobody.
    owners: Vec<u32>,
}

/// What clients and peers need to know of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeFacts {
    pub(crate) addresses: NodeAddresses,
    pub(crate) zone: String,
    pub(crate) live: bool,
}

impl Routing {
    /// The picture a view of the metadata gives.
    pub(crate) fn of(view: &ClusterView) -> Self {
        let owners = Slot::all().map(|slot| view.slots.owner(slot).map_or(0, |group| group.0)).collect();
        let nodes = view.nodes.iter().map(|(&node, registration)| {
            let record = &registration.record;
            let live = view.is_alive(node);
            (node, NodeFacts { addresses: record.addresses.clone(), zone: record.zone.clone(), live })
        });
        Self {
            version: view.revision.0,
            cluster: view.cluster.as_ref().map(|cluster| cluster.cluster),
            slots: Arc::clone(&view.slots),
            slot_map_version: view.slot_map_version,
            groups: view.groups.iter().map(|(&group, versioned)| (group, versioned.record.clone())).collect(),
            nodes: nodes.collect(),
            owners,
        }
    }

    /// Whether clients would see any difference.
    pub(crate) fn differs(&self, other: &Self) -> bool {
        self.cluster != other.cluster
            || self.slot_map_version != other.slot_map_version
            || self.groups != other.groups
            || self.nodes != other.nodes
    }

    /// Whether both are pictures of the same cluster: one that there is.
    pub(crate) fn is_of_cluster_of(&self, other: &Self) -> bool {
        self.cluster.is_some() && self.cluster == other.cluster
    }

    /// Whether every slot has an owner with a leader.
    pub(crate) fn is_complete(&self) -> bool {
        let led = |group: GroupId| self.groups.get(&group).is_some_and(|record| record.leader.is_some());
        self.slots.owned_slots() == usize::from(simplekv_types::SLOT_COUNT)
            && self.slots.ranges().iter().all(|(_, group)| led(*group))
    }

    /// The group that owns a slot.
    pub(crate) fn owner(&self, slot: Slot) -> Option<GroupId> {
        self.owners.get(slot.index()).copied().filter(|&group| group != 0).map(GroupId)
    }

    /// Where a node's gRPC port is.
    pub(crate) fn grpc_address(&self, node: NodeId) -> Option<String> {
        self.nodes.get(&node).map(|facts| facts.addresses.grpc.clone())
    }

    /// All nodes but this one.
    pub(crate) fn other_nodes(&self, this: NodeId) -> Vec<NodeId> {
        self.nodes.keys().copied().filter(|node| *node != this).collect()
    }

    /// The leader of a group and its Redis protocol address (empty if unknown).
    pub(crate) fn leader(&self, group: GroupId) -> (Option<NodeId>, String) {
        let leader = self.groups.get(&group).and_then(|record| record.leader).map(|leader| leader.node);
        let address = leader.and_then(|node| self.nodes.get(&node)).map(|facts| facts.addresses.resp.clone());
        (leader, address.unwrap_or_default())
    }

    /// Whether another node is known to lead the group.
    pub(crate) fn led_elsewhere(&self, group: GroupId, this: NodeId) -> bool {
        self.groups.get(&group).and_then(|record| record.leader).is_some_and(|leader| leader.node != this)
    }

    /// The groups a node is known to lead.
    pub(crate) fn led_by(&self, node: NodeId) -> impl Iterator<Item = GroupId> {
        let led = move |record: &GroupRecord| record.leader.is_some_and(|leader| leader.node == node);
        self.groups.iter().filter(move |(_, record)| led(record)).map(|(&group, _)| group)
    }

    /// The answer to a request for a slot this node has no part in.
    pub(crate) fn moved(&self, slot: Slot) -> Failure {
        let Some(group) = self.owner(slot) else { return Failure::SlotUnserved { slot } };
        let (node, address) = self.leader(group);
        if node.is_none() {
            return Failure::NoLeader { group };
        }
        Failure::Moved { slot, group, node, address, version: self.slot_map_version }
    }

    /// The answer to a request only the leader of a group may serve.
    pub(crate) fn not_leader(&self, slot: Slot, group: GroupId, this: NodeId) -> Failure {
        let (leader, address) = self.leader(group);
        let epoch = self.groups.get(&group).map_or(Epoch::ZERO, |record| record.epoch);
        match leader {
            // Elected, but not yet or no longer able to answer: asking elsewhere would lead back here.
            Some(node) if node == this => Failure::NoLeader { group },
            None => Failure::NoLeader { group },
            leader => Failure::NotLeader { slot, group, leader, address, epoch },
        }
    }

    /// The picture as clients get it. `time` tells a group's time as far as this node knows it.
    pub(crate) fn update(&self, time: impl Fn(GroupId) -> u64) -> v1::TopologyUpdate {
        let slots = self.slots.ranges().iter().map(|(range, group)| v1::SlotOwner {
            first: range.first().number().into(),
            last: range.last().number().into(),
            group: group.0,
        });
        v1::TopologyUpdate {
            slots: slots.collect(),
            groups: self.groups.iter().map(|(&id, record)| group(id, record, time(id))).collect(),
            nodes: self.nodes.iter().map(|(&id, facts)| node(id, facts)).collect(),
            ..self.head()
        }
    }

    /// What every update says of the whole.
    fn head(&self) -> v1::TopologyUpdate {
        v1::TopologyUpdate {
            version: self.version,
            cluster_id: self.cluster.map(|id| id.0.to_be_bytes().to_vec().into()).unwrap_or_default(),
            slot_map_version: self.slot_map_version.0,
            ..v1::TopologyUpdate::default()
        }
    }
}

fn group(id: GroupId, record: &GroupRecord, time: u64) -> v1::Group {
    v1::Group {
        id: id.0,
        epoch: record.epoch.0,
        leader: record.leader.map_or(0, |leader| leader.node.0),
        in_sync: record.in_sync.iter().map(|member| member.node.0).collect(),
        replicas: record.replicas.iter().map(|node| node.0).collect(),
        min_in_sync: record.min_in_sync,
        group_time: time,
    }
}

fn node(id: NodeId, facts: &NodeFacts) -> v1::Node {
    v1::Node {
        id: id.0,
        grpc: facts.addresses.grpc.clone(),
        resp: facts.addresses.resp.clone(),
        admin: facts.addresses.admin.clone(),
        zone: facts.zone.clone(),
        live: facts.live,
    }
}
