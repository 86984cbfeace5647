//! What an operator should know, found by looking at the whole cluster.

use simplekv_meta::ClusterView;
use simplekv_proto::v1;
use simplekv_types::{GroupId, GroupRecord, Member, NodeId, RecoveryPolicy, SLOT_COUNT};

/// A session may end and revive within this many milliseconds without meaning anything.
const SILENCE_MS: u64 = 1000;

/// Everything worth telling, the worst first.
pub(super) fn all(view: &ClusterView, replicas: &[v1::ReplicaStatus], unreachable: &[u32]) -> Vec<v1::Finding> {
    let mut findings = Vec::new();
    if view.cluster.is_none() {
        findings.push(critical("cluster", "there is no cluster yet", "simplekv-admin init"));
        return findings;
    }
    let unserved = usize::from(SLOT_COUNT) - view.slots.owned_slots();
    if unserved > 0 {
        findings.push(critical("cluster", &format!("{unserved} slots belong to no group"), "simplekv-admin slots"));
    }
    for (&id, found) in &view.groups {
        group(id, &found.record, view, replicas, &mut findings);
        absent(id, &found.record, replicas, unreachable, &mut findings);
    }
    for (node, registration) in &view.nodes {
        let (subject, advice) = (node.to_string(), format!("simplekv-admin explain node {node}"));
        if registration.record.poisoned {
            findings.push(critical(&subject, "its storage failed and is not trusted any more", &advice));
        } else if unreachable.contains(&node.0) {
            findings.push(warning(&subject, "it does not answer", &advice));
        }
    }
    if !view.is_current() {
        let message = "the metadata store cannot be reached: healthy groups go on, nothing can be changed";
        findings.push(warning("cluster", message, "check etcd"));
    }
    for key in view.corrupt.keys() {
        findings.push(warning(
            "cluster",
            &format!("the record `{key}` of the metadata store cannot be read"),
            "check etcd",
        ));
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

fn group(
    id: GroupId,
    record: &GroupRecord,
    view: &ClusterView,
    replicas: &[v1::ReplicaStatus],
    findings: &mut Vec<v1::Finding>,
) {
    let (subject, advice) = (id.to_string(), format!("simplekv-admin explain group {id}"));
    if let Some((message, advice)) = loss(id, record, view, replicas) {
        findings.push(critical(&subject, &message, &advice));
        return;
    }
    let Some(leader) = record.leader else {
        findings.push(critical(&subject, "it has no leader: its slots are not served", &advice));
        return;
    };
    let status = replicas.iter().find(|replica| replica.group == id.0 && replica.node == leader.node.0);
    match status {
        None => findings.push(critical(&subject, &format!("{}, its leader, does not answer", leader.node), &advice)),
        Some(status) if !status.activated => {
            findings.push(critical(&subject, "its leader has not begun its epoch yet", &advice));
        }
        Some(status) => {
            for lag in status.lags.iter().filter(|lag| lag.in_sync && lag.silent_ms > SILENCE_MS) {
                let message = format!("n{} is in sync but has been silent for {} ms", lag.node, lag.silent_ms);
                findings.push(warning(&subject, &message, &advice));
            }
        }
    }
    // A node that came back as another replica is listed as the one it was until the leader has noticed.
    let intact = || record.in_sync.iter().filter(|member| is_intact(view, member));
    let (alive, in_sync) = (intact().filter(|member| view.is_alive(member.node)).count(), intact().count());
    if alive < record.min_in_sync as usize {
        let message =
            format!("{alive} in-sync replicas are alive, {} are required: writes are refused", record.min_in_sync);
        findings.push(critical(&subject, &message, &advice));
    } else if in_sync < record.replicas.len() {
        let message = format!("{in_sync} of {} replicas are in sync", record.replicas.len());
        findings.push(warning(&subject, &message, &advice));
    }
}

/// In-sync replicas of which their nodes, which answer, tell nothing: a process that has just started may be another replica by the time
/// it takes part, and until then the registration and the session of the one before it are there.
fn absent(
    id: GroupId,
    record: &GroupRecord,
    replicas: &[v1::ReplicaStatus],
    unreachable: &[u32],
    findings: &mut Vec<v1::Finding>,
) {
    for member in record.in_sync.iter().filter(|member| !unreachable.contains(&member.node.0)) {
        let is_it = |replica: &v1::ReplicaStatus| {
            (replica.group, replica.node) == (id.0, member.node.0)
                && replica.storage.as_ref() == member.storage.0.to_be_bytes()
        };
        if !replicas.iter().any(is_it) {
            let message = format!("{} answers, and its in-sync replica does not take part", member.node);
            let advice = format!("simplekv-admin explain node {}", member.node);
            findings.push(warning(&id.to_string(), &message, &advice));
        }
    }
}

/// What is wrong with a group that cannot go on by itself, and the command that helps.
pub(super) fn loss(
    id: GroupId,
    record: &GroupRecord,
    view: &ClusterView,
    replicas: &[v1::ReplicaStatus],
) -> Option<(String, String)> {
    let look = format!("simplekv-admin recover-group {id} --dry-run");
    let regressed = replicas.iter().find(|replica| replica.group == id.0 && replica.halted == "metadata_regressed");
    if let Some(replica) = regressed {
        let message = format!(
            "the metadata store was restored from an older state: n{} has taken part in epoch {} of lineage {}, the record shows \
             epoch {} of lineage {}",
            replica.node, replica.epoch, replica.lineage, record.epoch, record.lineage
        );
        return Some((message, look));
    }
    if record.in_sync.is_empty() {
        return None;
    }
    let intact: Vec<NodeId> = record.in_sync.iter().filter(|member| is_intact(view, member)).map(|m| m.node).collect();
    if intact.is_empty() {
        let waits = match record.recovery {
            RecoveryPolicy::Manual => "an operator has to decide how it goes on",
            RecoveryPolicy::Longest => {
                "it goes on with the longest log once every in-sync replica that was lost is accounted for"
            }
        };
        let message = format!("every in-sync replica has lost what it had acknowledged: {waits}");
        return Some((message, look));
    }
    if intact.iter().any(|node| view.is_alive(*node)) {
        return None;
    }
    let nodes = intact.iter().map(NodeId::to_string).collect::<Vec<_>>().join(", ");
    let message = format!("the replicas that hold everything acknowledged are down: {nodes}");
    Some((message, format!("start {nodes}; if that can never be done: {look}")))
}

/// Whether the replica that is listed still has what it acknowledged: its node runs, or last ran, as that incarnation.
fn is_intact(view: &ClusterView, member: &Member) -> bool {
    let registration = view.nodes.get(&member.node);
    registration.is_some_and(|found| found.record.storage == member.storage && !found.record.poisoned)
}

fn critical(subject: &str, message: &str, advice: &str) -> v1::Finding {
    finding(v1::finding::Severity::Critical, subject, message, advice)
}

fn warning(subject: &str, message: &str, advice: &str) -> v1::Finding {
    finding(v1::finding::Severity::Warning, subject, message, advice)
}

fn finding(severity: v1::finding::Severity, subject: &str, message: &str, advice: &str) -> v1::Finding {
    v1::Finding {
        severity: severity.into(),
        subject: subject.to_owned(),
        message: message.to_owned(),
        advice: advice.to_owned(),
    }
}
