//! Letting a group go on that has lost all its in-sync replicas: what is left, what that would cost, and the change itself.

use std::collections::{BTreeMap, BTreeSet};

use simplekv_cluster::{Fate, Recovery, Remains, Wish, candidates, fates, recover};
use simplekv_meta::{Cas, GroupChange, Records, Versioned};
use simplekv_proto::v1;
use simplekv_types::{GroupId, GroupRecord, NodeId, RecoveryPolicy};
use tonic::Status;
use tracing::warn;

use super::record_failure;
use crate::remains::{self, Found, cause_name};
use crate::rpc::status;
use crate::shared::Shared;

mod losses;
mod obstacles;

/// How often a change of the policy is tried while others change the record.
const ATTEMPTS: usize = 10;

pub(super) async fn recover_group(
    shared: &Shared,
    records: &Records,
    request: &v1::RecoverGroupRequest,
) -> Result<v1::RecoverGroupReply, Status> {
    let id = GroupId(request.group);
    let view = records.load().await.map_err(|failure| record_failure(&failure))?;
    let Some(found) = view.groups.get(&id) else {
        return Err(status::not_found(format!("there is no group {id}")));
    };
    if request.expected != 0 && found.modified.0 != request.expected {
        return Err(status::refused(format!("{id} has changed since you decided; look at it again")));
    }
    let left = remains::of_group(shared, &view, id, &found.record).await;
    let wish = Wish {
        to: (request.to != 0).then_some(NodeId(request.to)),
        lost: request.lost.iter().copied().map(NodeId).collect(),
        min_in_sync: (request.min_in_sync != 0).then_some(request.min_in_sync),
    };
    check(id, &found.record, &wish)?;
    let remains: BTreeMap<NodeId, Remains> = left.iter().map(|(node, found)| (*node, found.remains.clone())).collect();
    let mut reply = picture(found, &left, &remains);
    match recover(&found.record, found.modified, &remains, &wish) {
        Err(obstacle) => {
            (reply.obstacle, reply.advice) = obstacles::explain(id, &found.record, &wish, &obstacle);
        }
        Ok(recovery) => {
            tell_plan(&mut reply, &found.record, &remains, &recovery);
            if request.accept_data_loss {
                check_seen(id, request, &recovery.digest)?;
                execute(records, id, recovery).await?;
                reply.done = true;
            }
        }
    }
    Ok(reply)
}

/// What cannot be meant.
fn check(id: GroupId, record: &GroupRecord, wish: &Wish) -> Result<(), Status> {
    if let Some(node) = wish.to.filter(|node| !record.is_assigned(*node)) {
        return Err(status::refused(format!("{id} is not assigned to {node}")));
    }
    let listed = |node: &NodeId| record.in_sync.iter().any(|member| member.node == *node);
    match wish.lost.iter().find(|node| !listed(node)) {
        Some(node) => {
            Err(status::refused(format!("{node} is not in sync in {id}: what it holds or lost is not needed")))
        }
        None => Ok(()),
    }
}

/// What is done is what was shown.
fn check_seen(id: GroupId, request: &v1::RecoverGroupRequest, digest: &str) -> Result<(), Status> {
    if request.digest.is_empty() || request.digest == digest {
        return Ok(());
    }
    Err(status::refused(format!("what is left of {id} has changed since you decided; look at it again")))
}

fn picture(
    found: &Versioned<GroupRecord>,
    left: &BTreeMap<NodeId, Found>,
    remains: &BTreeMap<NodeId, Remains>,
) -> v1::RecoverGroupReply {
    let record = &found.record;
    let fates: BTreeMap<NodeId, Fate> =
        fates(record, remains).into_iter().map(|(member, fate)| (member.node, fate)).collect();
    let candidates = candidates(record, remains);
    let nodes: BTreeSet<NodeId> = record.replicas.iter().copied().chain(fates.keys().copied()).collect();
    let replicas = nodes.into_iter().map(|node| {
        let traces = left.get(&node).and_then(|found| found.remains.traces());
        v1::Remnant {
            node: node.0,
            fate: fates.get(&node).copied().map(fate_name).unwrap_or_default().to_owned(),
            answers: traces.is_some(),
            lineage: traces.map_or(0, |traces| traces.lineage.0),
            last_epoch: traces.map_or(0, |traces| traces.last_epoch.0),
            log_end: traces.map_or(0, |traces| traces.log_end.0),
            high_watermark: traces.map_or(0, |traces| traces.high_watermark.0),
            keys: traces.and_then(|_| left.get(&node)).map_or(0, |found| found.keys),
            candidate: candidates.contains(&node),
            halted: traces.and_then(|traces| traces.halted).map(cause_name).unwrap_or_default().to_owned(),
        }
    });
    v1::RecoverGroupReply {
        revision: found.modified.0,
        epoch: record.epoch.0,
        lineage: record.lineage.0,
        min_in_sync: record.min_in_sync,
        recovering: record.recovering,
        replicas: replicas.collect(),
        ..v1::RecoverGroupReply::default()
    }
}

fn tell_plan(
    reply: &mut v1::RecoverGroupReply,
    record: &GroupRecord,
    remains: &BTreeMap<NodeId, Remains>,
    recovery: &Recovery,
) {
    let next = &recovery.change.record;
    reply.chosen = recovery.chosen.node.0;
    reply.new_epoch = next.epoch.0;
    reply.new_lineage = next.lineage.0;
    reply.new_min_in_sync = next.min_in_sync;
    reply.digest.clone_from(&recovery.digest);
    reply.losses = losses::of(record, remains, recovery.chosen.node);
}

async fn execute(records: &Records, id: GroupId, recovery: Recovery) -> Result<(), Status> {
    let Recovery { chosen, change, .. } = recovery;
    let proposed = change.record.clone();
    let change = GroupChange {
        group: id,
        expected: change.expected,
        record: change.record,
        registrations: change.registrations,
        silent: change.silent,
        office: None,
    };
    match records.change_group(&change).await {
        Ok(Cas::Done { .. }) => (),
        Ok(Cas::Lost(conflict)) if !conflict.alive.is_empty() => {
            let alive = conflict.alive.iter().map(NodeId::to_string).collect::<Vec<_>>().join(", ");
            return Err(status::refused(format!("{alive} shows a sign of life; look at {id} again")));
        }
        Ok(Cas::Lost(_)) => {
            return Err(status::refused(format!("{id} or one of its nodes has changed meanwhile; look at it again")));
        }
        Err(failure) if failure.may_have_applied() => {
            let found = records.group(id).await.map_err(|failure| record_failure(&failure))?;
            // Nobody else makes the same run the leader of the same epoch of the same lineage.
            let same = |record: &GroupRecord| {
                (record.lineage, record.epoch, record.leader) == (proposed.lineage, proposed.epoch, proposed.leader)
            };
            if !found.is_some_and(|found| same(&found.record)) {
                return Err(record_failure(&failure));
            }
        }
        Err(failure) => return Err(record_failure(&failure)),
    }
    warn!(group = %id, %chosen, lineage = %proposed.lineage, "an operator lets the group go on with this replica's log");
    Ok(())
}

/// Sets who decides how a group goes on.
pub(super) async fn set_policy(records: &Records, id: GroupId, policy: RecoveryPolicy) -> Result<(), Status> {
    for _ in 0..ATTEMPTS {
        let found = records.group(id).await.map_err(|failure| record_failure(&failure))?;
        let Some(Versioned { record, modified, .. }) = found else {
            return Err(status::not_found(format!("there is no group {id}")));
        };
        if record.recovery == policy {
            return Ok(());
        }
        let record = GroupRecord { recovery: policy, ..record };
        let change = GroupChange {
            group: id,
            expected: modified,
            record,
            registrations: Vec::new(),
            silent: Vec::new(),
            office: None,
        };
        match records.change_group(&change).await {
            Ok(Cas::Done { .. }) => return Ok(()),
            // Read again: if it was this change after all, there is nothing left to do.
            Ok(Cas::Lost(_)) => (),
            Err(failure) if failure.may_have_applied() => (),
            Err(failure) => return Err(record_failure(&failure)),
        }
    }
    Err(status::refused(format!("{id} changes all the time; try again")))
}

pub(super) fn policy(wire: v1::RecoveryPolicy) -> RecoveryPolicy {
    match wire {
        v1::RecoveryPolicy::Manual => RecoveryPolicy::Manual,
        v1::RecoveryPolicy::Longest => RecoveryPolicy::Longest,
    }
}

pub(super) fn wire(policy: RecoveryPolicy) -> v1::RecoveryPolicy {
    match policy {
        RecoveryPolicy::Manual => v1::RecoveryPolicy::Manual,
        RecoveryPolicy::Longest => v1::RecoveryPolicy::Longest,
    }
}

fn fate_name(fate: Fate) -> &'static str {
    match fate {
        Fate::Lives => "lives",
        Fate::Halted => "halted",
        Fate::Ended => "ended",
        Fate::Replaced => "replaced",
        Fate::Distrusted => "distrusted",
        Fate::Absent => "absent",
        Fate::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_since_it_was_shown_is_not_done() {
        let check = |shown: &str, found: &str| {
            let request = v1::RecoverGroupRequest { digest: shown.to_owned(), ..v1::RecoverGroupRequest::default() };
            check_seen(GroupId(1), &request, found)
        };
        assert!(check("1f", "1f").is_ok());
        assert!(check("", "1f").is_ok(), "nothing was shown that it could differ from");
        let refused = check("1f", "20").unwrap_err();
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
        assert_eq!(refused.message(), "what is left of g1 has changed since you decided; look at it again");
    }
}
