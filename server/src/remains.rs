//! What is left of a group, asked of every node that may know.

use std::collections::{BTreeMap, BTreeSet};

use simplekv_cluster::{HaltCause, NodeFacts, Remains, Traces};
use simplekv_meta::ClusterView;
use simplekv_proto::v1;
use simplekv_types::peer::Sender;
use simplekv_types::{Epoch, GroupId, GroupRecord, Lineage, Lsn, NodeId, RunId, StorageId};

use crate::http;
use crate::rpc::admin::ask_replicas;
use crate::shared::Shared;

/// What is known of a group's replica on a node, with what only people want to know.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) remains: Remains,
    /// How many keys are applied there.
    pub(crate) keys: u64,
}

/// What is left of the group on the nodes it is assigned to. `view` must have been read linearizably: it says which incarnation
/// and run speak for a node.
pub(crate) async fn of_group(
    shared: &Shared,
    view: &ClusterView,
    id: GroupId,
    record: &GroupRecord,
) -> BTreeMap<NodeId, Found> {
    let nodes: BTreeSet<NodeId> =
        record.replicas.iter().copied().chain(record.in_sync.iter().map(|member| member.node)).collect();
    let mut asked = Vec::new();
    for node in nodes {
        let Some(registration) = view.nodes.get(&node) else { continue };
        let facts = NodeFacts::new(node, registration, view.live.get(&node).copied());
        let address = registration.record.addresses.admin.clone();
        let answer = (node != shared.node()).then(|| tokio::spawn(ask_replicas(address)));
        asked.push((facts, registration.record.prev_storages.clone(), answer));
    }
    let mut found = BTreeMap::new();
    for (facts, previous, answer) in asked {
        let told = match answer {
            None => own(shared, id).await,
            Some(answer) => {
                let replicas = answer.await.ok().flatten().unwrap_or_default();
                replicas.iter().find(|replica| replica.group == id.0 && replica.node == facts.node.0).and_then(told)
            }
        };
        let (replica, keys) = told.unzip();
        found.insert(facts.node, Found { remains: Remains { facts, previous, replica }, keys: keys.unwrap_or(0) });
    }
    found
}

async fn own(shared: &Shared, id: GroupId) -> Option<(Traces, u64)> {
    let reports = http::reports(shared).await;
    reports.into_iter().find(|report| report.group == id).map(|report| (report.traces, report.keys))
}

/// What a peer tells of its replica; `None` if it contradicts itself.
fn told(replica: &v1::ReplicaStatus) -> Option<(Traces, u64)> {
    let storage = <[u8; 16]>::try_from(replica.storage.as_ref()).ok()?;
    let halted = match replica.halted.as_str() {
        "" => None,
        name => Some(CAUSES.iter().copied().find(|cause| cause_name(*cause) == name)?),
    };
    let storage = StorageId(u128::from_be_bytes(storage));
    let traces = Traces {
        identity: Sender { node: NodeId(replica.node), storage, run: RunId(replica.run) },
        lineage: Lineage(replica.lineage),
        epoch: Epoch(replica.epoch),
        last_epoch: Epoch(replica.last_epoch),
        log_end: Lsn(replica.log_end),
        high_watermark: Lsn(replica.high_watermark),
        halted,
    };
    Some((traces, replica.keys))
}

const CAUSES: [HaltCause; 5] = [
    HaltCause::Storage,
    HaltCause::Conflict,
    HaltCause::MetadataRegressed,
    HaltCause::LineageEnded,
    HaltCause::GivenUp,
];

/// The name of a cause on the wire.
pub(crate) fn cause_name(cause: HaltCause) -> &'static str {
    match cause {
        HaltCause::Storage => "storage",
        HaltCause::Conflict => "conflict",
        HaltCause::MetadataRegressed => "metadata_regressed",
        HaltCause::LineageEnded => "lineage_ended",
        HaltCause::GivenUp => "given_up",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_tells_is_understood_or_ignored() {
        let replica = v1::ReplicaStatus {
            group: 1,
            node: 2,
            storage: 7_u128.to_be_bytes().to_vec().into(),
            run: 30,
            lineage: 1,
            epoch: 5,
            last_epoch: 4,
            log_end: 100,
            high_watermark: 90,
            keys: 12,
            ..v1::ReplicaStatus::default()
        };
        let (traces, keys) = told(&replica).unwrap();
        assert_eq!((traces.identity.storage, traces.identity.run, keys), (StorageId(7), RunId(30), 12));
        assert_eq!((traces.last_epoch, traces.log_end, traces.halted), (Epoch(4), Lsn(100), None));
        for cause in CAUSES {
            let halted = v1::ReplicaStatus { halted: cause_name(cause).to_owned(), ..replica.clone() };
            assert_eq!(told(&halted).unwrap().0.halted, Some(cause));
        }
        // Of a node that halts for a reason unknown here it cannot be said whether it will act again.
        let newer = v1::ReplicaStatus { halted: "tired".to_owned(), ..replica.clone() };
        assert!(told(&newer).is_none());
        assert!(told(&v1::ReplicaStatus { storage: vec![1].into(), ..replica }).is_none());
    }
}
