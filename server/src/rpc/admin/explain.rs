//! Why something is as it is, in sentences.

use simplekv_meta::ClusterView;
use simplekv_proto::v1;
use simplekv_types::{GroupId, NodeId, Slot};

use super::findings;

/// Why a group is as it is.
pub(super) fn group(view: &ClusterView, status: &v1::StatusReply, id: GroupId) -> Result<Vec<String>, String> {
    let found = view.groups.get(&id).ok_or_else(|| format!("there is no group {id}"))?;
    let record = &found.record;
    let slots: usize = view.slots.ranges_of(id).map(simplekv_types::SlotRange::count).sum();
    let replicas = listed(record.replicas.iter());
    let in_sync = listed(record.in_sync.iter().map(|member| &member.node));
    let mut lines = vec![format!("{id} owns {slots} slots and is assigned to {replicas}.")];
    lines.push(match record.leader {
        Some(leader) => format!("{} leads epoch {}; in sync are {in_sync}.", leader.node, record.epoch),
        None if record.epoch.0 == 0 => {
            "It has never had a leader: none of its nodes has been seen alive yet.".to_owned()
        }
        None => format!("It has no leader in epoch {}; in sync are {in_sync}.", record.epoch),
    });
    if record.lineage.0 > 0 {
        lines.push(format!(
            "This is lineage {}: so often it has gone on without what its in-sync replicas had acknowledged.",
            record.lineage
        ));
    }
    let required = record.min_in_sync;
    lines.push(format!(
        "A write is acknowledged when every in-sync replica holds it, of which there must be at least {required}."
    ));
    for member in &record.in_sync {
        let registered = view.nodes.get(&member.node);
        if registered.is_some_and(|registration| registration.record.storage != member.storage) {
            let node = member.node;
            lines.push(format!(
                "{node} came back with other storage than the one listed in sync: it has to catch up as a new replica."
            ));
        } else if !view.is_alive(member.node) {
            lines.push(format!("{} is listed in sync, but shows no sign of life.", member.node));
        }
    }
    for node in &record.replicas {
        if !record.in_sync.iter().any(|member| member.node == *node) && view.is_alive(*node) {
            lines.push(format!("{node} is alive and catching up; it is not in sync yet."));
        }
    }
    lines.extend(status.replicas.iter().filter(|replica| replica.group == id.0).map(replica));
    lines.extend(findings(status, &id.to_string()));
    if let Some((_, advice)) = findings::loss(id, record, view, &status.replicas) {
        lines.push(format!("Next: {advice}."));
    }
    Ok(lines)
}

/// Why a node is as it is.
pub(super) fn node(view: &ClusterView, status: &v1::StatusReply, id: NodeId) -> Result<Vec<String>, String> {
    let registration = view.nodes.get(&id).ok_or_else(|| format!("{id} has never registered"))?;
    let record = &registration.record;
    let mut lines = vec![format!(
        "{id} serves clients at {} (gRPC) and {} (Redis protocol); its log is flushed by policy `{}`.",
        record.addresses.grpc, record.addresses.resp, record.flush
    )];
    lines.push(match view.live.get(&id) {
        Some(run) if *run == registration.run() => format!("It is alive; its process registered at revision {run}."),
        Some(_) => "Its sign of life is that of an earlier run of its process: it is restarting.".to_owned(),
        None => "It shows no sign of life.".to_owned(),
    });
    if record.poisoned {
        lines.push(
            "A write or flush of its storage failed. Nothing it holds is trusted; replace the disk and start it again."
                .to_owned(),
        );
    }
    if status.unreachable.contains(&id.0) {
        lines.push("It does not answer on its admin port.".to_owned());
    }
    lines.extend(status.replicas.iter().filter(|replica| replica.node == id.0).map(replica));
    lines.extend(findings(status, &id.to_string()));
    Ok(lines)
}

/// Why a slot is where it is.
pub(super) fn slot(view: &ClusterView, status: &v1::StatusReply, slot: Slot) -> Result<Vec<String>, String> {
    let Some(owner) = view.slots.owner(slot) else {
        return Ok(vec![format!("Slot {slot} belongs to no group: requests for its keys are refused.")]);
    };
    let mut lines = vec![format!("Slot {slot} belongs to {owner} since slot map {}.", view.slot_map_version)];
    lines.extend(group(view, status, owner)?);
    Ok(lines)
}

fn replica(replica: &v1::ReplicaStatus) -> String {
    let behind = replica.log_end.saturating_sub(replica.applied);
    format!(
        "n{} is {} of g{}: {} keys, log up to record {}, {behind} of them not applied yet.",
        replica.node, replica.role, replica.group, replica.keys, replica.log_end
    )
}

fn findings(status: &v1::StatusReply, subject: &str) -> Vec<String> {
    let told = status.findings.iter().filter(|finding| finding.subject == subject);
    told.map(|finding| format!("Note: {}.", finding.message)).collect()
}

fn listed<'a>(nodes: impl Iterator<Item = &'a NodeId>) -> String {
    let names: Vec<String> = nodes.map(NodeId::to_string).collect();
    if names.is_empty() { "no node".to_owned() } else { names.join(", ") }
}
