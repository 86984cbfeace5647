//! What operators ask. Every node answers for the whole cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use simplekv_cluster::{Role, TransferOutcome};
use simplekv_meta::{Cas, ClusterView, Freshness, RecordError, Records};
use simplekv_proto::v1;
use simplekv_proto::v1::admin_client::AdminClient;
use simplekv_proto::v1::admin_server::Admin;
use simplekv_types::{ClusterId, ClusterRecord, Epoch, GroupId, GroupRecord, Lineage, NodeId, Slot, SlotMap};
use tonic::{Request, Response, Status};

use crate::group::{MoveReport, Report};
use crate::rpc::status;
use crate::shared::Shared;
use crate::{controller, http, remains};

mod explain;
mod findings;
mod load;
mod moves;
mod recovery;

/// How long another node may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// How long a change of leader may take before the caller is told to look again.
const TRANSFER_PATIENCE: Duration = Duration::from_secs(5);
/// Length of the leader lease of new groups, in milliseconds.
const LEASE_MS: u64 = 1000;

/// The admin service of one node.
#[derive(Debug)]
pub(crate) struct AdminService {
    shared: Arc<Shared>,
    records: Records,
}

impl AdminService {
    pub(crate) fn new(shared: Arc<Shared>, records: Records) -> Self {
        Self { shared, records }
    }

    async fn own_replicas(&self) -> Vec<v1::ReplicaStatus> {
        let node = self.shared.node();
        http::reports(&self.shared).await.into_iter().map(|report| self.replica_status(node, &report)).collect()
    }

    fn replica_status(&self, node: NodeId, report: &Report) -> v1::ReplicaStatus {
        let view = self.shared.view();
        let record = view.groups.get(&report.group).map(|found| &found.record);
        let in_sync = record.is_some_and(|record| record.in_sync.iter().any(|member| member.node == node));
        let role = match report.role {
            Role::Leader => "leader",
            Role::Halted => "halted",
            Role::Follower if in_sync => "follower",
            Role::Follower => "learner",
        };
        let lags = report.followers.iter().map(|follower| v1::Lag {
            node: follower.node.0,
            records: report.log_end.0.saturating_sub(follower.matched.0),
            silent_ms: follower.silent.map_or(u64::MAX, |silent| u64::try_from(silent.as_millis()).unwrap_or(u64::MAX)),
            in_sync: follower.in_sync,
        });
        v1::ReplicaStatus {
            group: report.group.0,
            node: node.0,
            role: role.to_owned(),
            epoch: report.epoch.0,
            log_end: report.log_end.0,
            flushed_end: report.flushed_end.0,
            high_watermark: report.applied.0,
            applied: report.applied.0,
            keys: report.keys,
            live_bytes: report.live_bytes,
            log_bytes: report.log_bytes,
            lease_ms: if report.role == Role::Leader { report.lease_ms } else { 0 },
            lags: lags.collect(),
            group_time: report.time.0,
            storage: report.traces.identity.storage.0.to_be_bytes().to_vec().into(),
            flush: self.shared.config().flush.to_string(),
            activated: report.activated,
            lineage: report.traces.lineage.0,
            last_epoch: report.traces.last_epoch.0,
            run: report.traces.identity.run.0,
            halted: report.traces.halted.map(remains::cause_name).unwrap_or_default().to_owned(),
            moves: report.moves.iter().map(move_progress).collect(),
        }
    }

    /// Every replica that answers, and the nodes that do not.
    async fn all_replicas(&self, view: &ClusterView) -> (Vec<v1::ReplicaStatus>, Vec<u32>) {
        let own = self.shared.node();
        let asked: Vec<_> = view
            .nodes
            .iter()
            .filter(|(node, _)| **node != own)
            .map(|(node, registration)| {
                (*node, tokio::spawn(ask_replicas(registration.record.addresses.admin.clone())))
            })
            .collect();
        let mut replicas = self.own_replicas().await;
        let mut unreachable = Vec::new();
        for (node, answer) in asked {
            match answer.await.ok().flatten() {
                Some(theirs) => replicas.extend(theirs),
                None => unreachable.push(node.0),
            }
        }
        replicas.sort_by_key(|replica| (replica.group, replica.node));
        (replicas, unreachable)
    }

    async fn status_reply(&self) -> v1::StatusReply {
        let view = self.shared.view();
        let (replicas, unreachable) = self.all_replicas(&view).await;
        let age = match view.freshness {
            Freshness::Stale { since } => since.elapsed(),
            _ => Duration::ZERO,
        };
        let findings = findings::all(&view, &replicas, &unreachable);
        v1::StatusReply {
            cluster_id: view.cluster.as_ref().map(|c| c.cluster.0.to_be_bytes().to_vec().into()).unwrap_or_default(),
            topology: Some(self.shared.topology()),
            replicas,
            controller: view.controller.as_ref().map_or(0, |found| found.record.node.0),
            metadata_reachable: view.is_current(),
            metadata_age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            unreachable,
            findings,
            histories: histories(&view),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// The records of groups as asked for, numbered and checked against the nodes there are.
    fn new_groups(&self, asked: &[v1::NewGroup]) -> Result<BTreeMap<GroupId, GroupRecord>, Status> {
        let view = self.shared.view();
        let mut groups = BTreeMap::new();
        for group in asked {
            let taken = |id: &GroupId| groups.contains_key(id) || view.groups.contains_key(id);
            let id = match group.id {
                0 => (1..).map(GroupId).find(|id| !taken(id)).unwrap_or(GroupId(1)),
                id => GroupId(id),
            };
            if taken(&id) {
                return Err(status::refused(format!("there is a group {id} already")));
            }
            groups.insert(id, new_group(&view, id, group)?);
        }
        Ok(groups)
    }
}

fn new_group(view: &ClusterView, id: GroupId, asked: &v1::NewGroup) -> Result<GroupRecord, Status> {
    let replicas: Vec<NodeId> = asked.replicas.iter().map(|&node| NodeId(node)).collect();
    if replicas.is_empty() {
        return Err(status::invalid(format!("{id} needs at least one replica")));
    }
    for (place, node) in replicas.iter().enumerate() {
        if replicas.iter().take(place).any(|other| other == node) {
            return Err(status::invalid(format!("{node} is named twice for {id}")));
        }
        if !view.nodes.contains_key(node) && view.cluster.is_some() {
            return Err(status::refused(format!("{node} has never registered: start it first")));
        }
    }
    let count = u32::try_from(replicas.len()).unwrap_or(u32::MAX);
    let min_in_sync = match asked.min_in_sync {
        0 => {
            if count >= 3 {
                2
            } else {
                1
            }
        }
        asked if asked <= count => asked,
        asked => return Err(status::invalid(format!("{id} cannot have {asked} of {count} replicas in sync"))),
    };
    Ok(GroupRecord {
        epoch: Epoch::ZERO,
        leader: None,
        in_sync: Vec::new(),
        fence: Vec::new(),
        lease_ms: LEASE_MS,
        fence_ms: LEASE_MS,
        replicas,
        min_in_sync,
        lineage: Lineage(0),
        recovering: false,
        recovery: recovery::policy(asked.recovery()),
    })
}

fn move_progress(report: &MoveReport) -> v1::MoveProgressStatus {
    let MoveReport { migration, slots_scanned, records, bytes, elapsed, ready } = *report;
    v1::MoveProgressStatus {
        migration: migration.0,
        slots_scanned: u32::try_from(slots_scanned).unwrap_or(u32::MAX),
        records,
        bytes,
        elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        ready,
    }
}

fn histories(view: &ClusterView) -> Vec<v1::GroupHistory> {
    let each = view.groups.iter().map(|(id, found)| v1::GroupHistory {
        group: id.0,
        lineage: found.record.lineage.0,
        recovering: found.record.recovering,
        recovery: recovery::wire(found.record.recovery).into(),
    });
    each.collect()
}

pub(crate) async fn ask_replicas(address: String) -> Option<Vec<v1::ReplicaStatus>> {
    let asked = async {
        let mut client = AdminClient::connect(format!("http://{address}")).await.ok()?;
        client.replicas(v1::ReplicasRequest {}).await.ok()
    };
    let reply = tokio::time::timeout(PATIENCE, asked).await.ok()??;
    Some(reply.into_inner().replicas)
}

fn record_failure(failure: &RecordError) -> Status {
    match failure {
        RecordError::Store(failure) => status::metadata(failure),
        other => status::refused(other.to_string()),
    }
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn init(&self, request: Request<v1::InitRequest>) -> Result<Response<v1::InitReply>, Status> {
        let groups = self.new_groups(&request.into_inner().groups)?;
        if groups.is_empty() {
            return Err(status::invalid("a cluster needs at least one group"));
        }
        let ids: Vec<GroupId> = groups.keys().copied().collect();
        let cluster = ClusterRecord { cluster: ClusterId(rand::rng().random()), format: ClusterRecord::FORMAT };
        let records: Vec<(GroupId, GroupRecord)> = groups.into_iter().collect();
        match self.records.init(&cluster, &records, &SlotMap::spread(&ids)).await {
            Ok(Cas::Done { .. }) => (),
            Ok(Cas::Lost(in_the_way)) => {
                let keys = in_the_way.join(", ");
                return Err(status::refused(format!("there is a cluster already ({keys}); nothing was changed")));
            }
            Err(failure) if failure.may_have_applied() => {
                let found = self.records.cluster().await.map_err(|failure| record_failure(&failure))?;
                if found.is_none_or(|found| found.record.cluster != cluster.cluster) {
                    return Err(record_failure(&failure));
                }
            }
            Err(failure) => return Err(record_failure(&failure)),
        }
        let groups = ids.into_iter().map(|id| id.0).collect();
        Ok(Response::new(v1::InitReply { cluster_id: cluster.cluster.0.to_be_bytes().to_vec().into(), groups }))
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        Ok(Response::new(self.status_reply().await))
    }

    async fn add_group(&self, request: Request<v1::AddGroupRequest>) -> Result<Response<v1::AddGroupReply>, Status> {
        let asked = request.into_inner().group.ok_or_else(|| status::invalid("which group is missing"))?;
        if self.shared.cluster().is_none() {
            return Err(status::refused("there is no cluster yet: create it with `simplekv-admin init`"));
        }
        let groups = self.new_groups(&[asked])?;
        let Some((id, record)) = groups.into_iter().next() else {
            return Err(status::invalid("which group is missing"));
        };
        match self.records.add_group(id, &record).await {
            Ok(Cas::Done { .. }) => Ok(Response::new(v1::AddGroupReply { group: id.0 })),
            Ok(Cas::Lost(_)) => Err(status::refused(format!("there is a group {id} already"))),
            Err(failure) => Err(record_failure(&failure)),
        }
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderReply>, Status> {
        let request = request.into_inner();
        let group = GroupId(request.group);
        let view = self.shared.view();
        let Some(found) = view.groups.get(&group) else {
            return Err(status::not_found(format!("there is no group {group}")));
        };
        let Some(leader) = found.record.leader.map(|leader| leader.node) else {
            return Err(status::refused(format!(
                "{group} has no leader; `simplekv-admin explain group {group}` tells why"
            )));
        };
        if leader != self.shared.node() {
            return forward_transfer(&view, leader, request).await;
        }
        let to = (request.to != 0).then_some(NodeId(request.to));
        let asked = controller::transfer(&self.shared, group, to);
        match tokio::time::timeout(TRANSFER_PATIENCE, asked).await {
            Ok(Some(TransferOutcome::Elected { leader, epoch })) => {
                Ok(Response::new(v1::TransferLeaderReply { leader: leader.0, epoch: epoch.0 }))
            }
            Ok(Some(TransferOutcome::NotLeader)) => {
                Err(status::refused(format!("{leader} does not lead {group} any more")))
            }
            Ok(Some(TransferOutcome::NotEligible)) => {
                let who = to.map_or_else(|| "no other replica".to_owned(), |node| node.to_string());
                Err(status::refused(format!("{who} can lead {group}: it has to be in sync and registered")))
            }
            Ok(Some(TransferOutcome::GivenUp)) => {
                Err(status::refused(format!("the replica did not catch up in time, {leader} still leads {group}")))
            }
            Ok(None) | Err(_) => Err(status::refused("the transfer did not end in time: see `simplekv-admin status`")),
        }
    }

    async fn recover_group(
        &self,
        request: Request<v1::RecoverGroupRequest>,
    ) -> Result<Response<v1::RecoverGroupReply>, Status> {
        recovery::recover_group(&self.shared, &self.records, &request.into_inner()).await.map(Response::new)
    }

    async fn set_recovery(
        &self,
        request: Request<v1::SetRecoveryRequest>,
    ) -> Result<Response<v1::SetRecoveryReply>, Status> {
        let request = request.into_inner();
        let policy = recovery::policy(request.recovery());
        recovery::set_policy(&self.records, GroupId(request.group), policy).await?;
        Ok(Response::new(v1::SetRecoveryReply {}))
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainReply>, Status> {
        let subject = request.into_inner().subject.ok_or_else(|| status::invalid("what to explain is missing"))?;
        let reply = self.status_reply().await;
        let view = self.shared.view();
        let lines = match subject {
            v1::explain_request::Subject::Group(group) => explain::group(&view, &reply, GroupId(group)),
            v1::explain_request::Subject::Node(node) => explain::node(&view, &reply, NodeId(node)),
            v1::explain_request::Subject::Slot(slot) => {
                let slot = u16::try_from(slot).ok().and_then(Slot::new);
                let slot = slot.ok_or_else(|| status::invalid("slots are numbered 0 to 16383"))?;
                explain::slot(&view, &reply, slot)
            }
        };
        lines.map(|lines| Response::new(v1::ExplainReply { lines })).map_err(status::not_found)
    }

    async fn replicas(&self, _: Request<v1::ReplicasRequest>) -> Result<Response<v1::ReplicasReply>, Status> {
        let replicas = self.own_replicas().await;
        Ok(Response::new(v1::ReplicasReply { node: self.shared.node().0, replicas }))
    }

    async fn move_slots(&self, request: Request<v1::MoveSlotsRequest>) -> Result<Response<v1::MoveSlotsReply>, Status> {
        let job = moves::order(&self.records, request.into_inner()).await?;
        Ok(Response::new(v1::MoveSlotsReply { job }))
    }

    async fn jobs(&self, _: Request<v1::JobsRequest>) -> Result<Response<v1::JobsReply>, Status> {
        let view = self.shared.view();
        // Only while something moves is there anything to ask others for.
        let told = match view.migrations.is_empty() {
            true => Vec::new(),
            false => self.all_replicas(&view).await.0.into_iter().flat_map(|replica| replica.moves).collect(),
        };
        moves::list(&self.records, told).await.map(Response::new)
    }

    async fn change_job(&self, request: Request<v1::ChangeJobRequest>) -> Result<Response<v1::ChangeJobReply>, Status> {
        moves::change(&self.records, &request.into_inner()).await?;
        Ok(Response::new(v1::ChangeJobReply {}))
    }

    async fn load(&self, request: Request<v1::LoadRequest>) -> Result<Response<v1::LoadReply>, Status> {
        let request = request.into_inner();
        let reply = match request.own {
            true => load::own(&self.shared, request),
            false => load::all(&self.shared, &self.shared.view(), request).await,
        };
        Ok(Response::new(reply))
    }
}

async fn forward_transfer(
    view: &ClusterView,
    leader: NodeId,
    request: v1::TransferLeaderRequest,
) -> Result<Response<v1::TransferLeaderReply>, Status> {
    let unreachable = |reason: &str| status::refused(format!("{leader}, the leader, cannot be asked: {reason}"));
    let address = view.nodes.get(&leader).map(|registration| registration.record.addresses.admin.clone());
    let address = address.ok_or_else(|| unreachable("it is not registered"))?;
    let asked = async {
        let mut client =
            AdminClient::connect(format!("http://{address}")).await.map_err(|e| unreachable(&e.to_string()))?;
        client.transfer_leader(request).await
    };
    match tokio::time::timeout(TRANSFER_PATIENCE, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(unreachable("no answer in time")),
    }
}
