//! Topologies and what is listened to, to and from their protobuf messages. Nothing that arrives is trusted.

use std::sync::Arc;

use simplekv_proto::convert::{Malformed, cluster_id};
use simplekv_proto::v1;
use simplekv_proto::v1::event::What;
use simplekv_proto::v1::listen_request::Ask;
use simplekv_types::{
    Epoch, GroupId, GroupTime, Naming, NodeAddresses, NodeId, Reply, Slot, SlotMapVersion, SlotRange,
};

use super::{ListenAsk, ListenEvent, Update};
use crate::topology::{Difference, Group, Node, Topology, process_millis};

pub(super) fn listen(ask: ListenAsk) -> v1::ListenRequest {
    let (id, ask) = match ask {
        ListenAsk::Wait { id, keys } => (id, Ask::Wait(v1::WaitForElements { keys })),
        ListenAsk::Subscribe { id, naming, name } => {
            (id, Ask::Subscribe(v1::Subscribe { naming: self::naming(naming).into(), name }))
        }
        ListenAsk::Publish { id, naming, channel, message } => {
            (id, Ask::Publish(v1::Publish { naming: self::naming(naming).into(), channel, message }))
        }
        ListenAsk::Question { id, args, seen } => {
            (id, Ask::Question(v1::Question { args, seen: seen.map(Into::into) }))
        }
        ListenAsk::Track { id, prefixes } => (id, Ask::Track(v1::Track { prefixes })),
        ListenAsk::Stop { id } => (id, Ask::Stop(v1::StopListening {})),
    };
    v1::ListenRequest { id, ask: Some(ask) }
}

fn naming(naming: Naming) -> v1::subscribe::Naming {
    match naming {
        Naming::Channel => v1::subscribe::Naming::Channel,
        Naming::Pattern => v1::subscribe::Naming::Pattern,
        Naming::Shard => v1::subscribe::Naming::Shard,
    }
}

pub(super) fn event(event: v1::Event) -> (u64, ListenEvent) {
    let what = match event.what {
        Some(What::Woken(_)) => ListenEvent::Woken,
        Some(What::Listening(_)) => ListenEvent::Listening,
        Some(What::Message(v1::Message { channel, message })) => ListenEvent::Message { channel, message },
        Some(What::Heard(v1::Heard { by })) => ListenEvent::Heard { by },
        Some(What::Answer(value)) => match Reply::try_from(value) {
            Ok(reply) => ListenEvent::Answer { reply },
            Err(_) => ListenEvent::Ended,
        },
        Some(What::Tracking(v1::Tracking { tracker })) => ListenEvent::Tracking { tracker },
        Some(What::Stale(v1::Stale { everything: true, .. })) => ListenEvent::StaleEverything,
        Some(What::Stale(v1::Stale { keys, .. })) => ListenEvent::Stale { keys },
        // Of a newer node, what is not known says at least that something is over.
        Some(What::Ended(_)) | None => ListenEvent::Ended,
    };
    (event.id, what)
}

pub(crate) fn update(wire: v1::TopologyUpdate) -> Result<Update, Malformed> {
    let is_news = !wire.unchanged && has_cluster(&wire);
    match wire.since {
        _ if !is_news => Ok(Update::Unchanged),
        0 => topology(wire).map(Update::Changed),
        _ => difference(wire).map(Update::Differs),
    }
}

fn difference(wire: v1::TopologyUpdate) -> Result<Difference, Malformed> {
    let slots = wire.slots.into_iter().map(|wire| {
        let (range, group) = owner(wire)?;
        Ok((range, (group != GroupId(0)).then_some(group)))
    });
    Ok(Difference {
        cluster: cluster_id(&wire.cluster_id)?,
        since: wire.since,
        version: wire.version,
        slot_map_version: SlotMapVersion(wire.slot_map_version),
        slots: slots.collect::<Result<Vec<_>, Malformed>>()?,
        groups: wire.groups.into_iter().map(group).collect(),
        gone_groups: wire.gone_groups.into_iter().map(GroupId).collect(),
        nodes: wire.nodes.into_iter().map(node).collect(),
        gone_nodes: wire.gone_nodes.into_iter().map(NodeId).collect(),
    })
}

/// Whether there is a cluster: nodes run before it is created.
pub(super) fn has_cluster(wire: &v1::TopologyUpdate) -> bool {
    !wire.cluster_id.is_empty()
}

pub(super) fn topology(wire: v1::TopologyUpdate) -> Result<Topology, Malformed> {
    let cluster = cluster_id(&wire.cluster_id)?;
    let ranges = wire.slots.into_iter().map(owner).collect::<Result<Vec<_>, _>>()?;
    let groups = wire.groups.into_iter().map(group).collect();
    let nodes = wire.nodes.into_iter().map(node).collect();
    Ok(Topology::new(wire.version, cluster, SlotMapVersion(wire.slot_map_version), ranges, groups, nodes))
}

fn owner(wire: v1::SlotOwner) -> Result<(SlotRange, GroupId), Malformed> {
    let slot = |field, number: u32| {
        let out_of_range = Malformed::Range { field, got: number.into(), expected: "slots end at 16383" };
        u16::try_from(number).ok().and_then(Slot::new).ok_or(out_of_range)
    };
    let (first, last) = (slot("slots.first", wire.first)?, slot("slots.last", wire.last)?);
    let backwards =
        Malformed::Range { field: "slots.last", got: wire.last.into(), expected: "not below `slots.first`" };
    Ok((SlotRange::new(first, last).ok_or(backwards)?, GroupId(wire.group)))
}

fn group(wire: v1::Group) -> Group {
    let nodes = |ids: Vec<u32>| ids.into_iter().map(NodeId).collect::<Vec<_>>();
    let leader = (wire.leader != 0).then_some(NodeId(wire.leader));
    let mut group = Group::new(GroupId(wire.id), Epoch(wire.epoch), leader, nodes(wire.replicas));
    group.in_sync = nodes(wire.in_sync);
    group.min_in_sync = wire.min_in_sync;
    group.clock.observe(GroupTime(wire.group_time), process_millis());
    group
}

fn node(wire: v1::Node) -> Node {
    let addresses = NodeAddresses { grpc: wire.grpc, resp: wire.resp, admin: wire.admin };
    Node { id: NodeId(wire.id), addresses, zone: wire.zone, live: wire.live }
}

/// For error messages: an address owned by many.
pub(super) fn shared(text: impl AsRef<str>) -> Arc<str> {
    Arc::from(text.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> v1::TopologyUpdate {
        v1::TopologyUpdate {
            version: 3,
            cluster_id: bytes::Bytes::from_static(&[7; 16]),
            slots: vec![v1::SlotOwner { first: 0, last: 16383, group: 1 }],
            groups: vec![v1::Group { id: 1, epoch: 2, leader: 1, group_time: 1_000_000, ..v1::Group::default() }],
            ..v1::TopologyUpdate::default()
        }
    }

    #[test]
    fn a_topology_is_read_with_its_group_times() {
        let topology = topology(valid()).unwrap();
        let group = topology.owner(Slot::MAX).unwrap();
        assert_eq!((group.id, group.leader), (GroupId(1), Some(NodeId(1))));
        assert!(group.time() >= GroupTime(1_000_000), "{}", group.time());
    }

    #[test]
    fn impossible_slots_and_identities_are_refused() {
        for (first, last) in [(0, 16384), (70_000, 70_000), (9, 3)] {
            let mut wire = valid();
            wire.slots = vec![v1::SlotOwner { first, last, group: 1 }];
            assert!(topology(wire).is_err(), "{first}-{last}");
        }
        let mut wire = valid();
        wire.cluster_id = bytes::Bytes::from_static(b"short");
        assert!(topology(wire).is_err());
    }
}
