//! What a recovery may cost, as far as that is known, in sentences.

use std::collections::BTreeMap;

use simplekv_cluster::{Fate, Remains, Traces, fates};
use simplekv_types::{GroupRecord, Lsn, NodeId};

/// What may be lost if this node's log becomes the history.
pub(super) fn of(record: &GroupRecord, remains: &BTreeMap<NodeId, Remains>, chosen: NodeId) -> Vec<String> {
    let Some(own) = remains.get(&chosen).and_then(Remains::traces) else { return Vec::new() };
    let others: Vec<(NodeId, &Traces)> = remains
        .iter()
        .filter(|(node, _)| **node != chosen)
        .filter_map(|(node, found)| Some((*node, found.traces()?)))
        .collect();
    let mut losses: Vec<String> = regressed(record, chosen, own, &others).into_iter().collect();
    if own.lineage < record.lineage {
        losses.push(format!(
            "the log of {chosen} is of lineage {}: whatever was acknowledged in lineage {} is lost",
            own.lineage, record.lineage
        ));
    }
    losses.extend(committed(chosen, own, &others));
    losses.extend(others.iter().filter_map(|(node, theirs)| given_up(*node, theirs, own)));
    for node in &record.replicas {
        if remains.get(node).and_then(Remains::traces).is_none() {
            losses.push(format!("{node} has not told what it holds: if that is more, it is given up"));
        }
    }
    for (member, fate) in fates(record, remains) {
        if !matches!(fate, Fate::Ended | Fate::Halted) {
            losses.push(format!(
                "what {} had acknowledged and nobody else holds is lost, and nobody can tell what that is",
                member.node
            ));
        }
    }
    losses.push(
        "writes acknowledged within the last moments before the loss may be missing although they were in sync"
            .to_owned(),
    );
    losses
}

/// Whether somebody knows more than the group's record.
fn regressed(record: &GroupRecord, chosen: NodeId, own: &Traces, others: &[(NodeId, &Traces)]) -> Option<String> {
    let told = others.iter().copied().chain([(chosen, own)]);
    let ahead = told.filter(|(_, traces)| traces.epoch > record.epoch || traces.lineage > record.lineage);
    let (node, traces) = ahead.max_by_key(|(node, traces)| (traces.lineage, traces.epoch, *node))?;
    Some(format!(
        "the metadata store was restored from an older state: {node} has taken part in epoch {}, the group's record knows of {}",
        traces.epoch, record.epoch
    ))
}

/// What the chosen log holds of what is known to be committed.
///
/// Numbers of records are comparable within a lineage only, and there only between logs that end with the same epoch, or with an
/// earlier one than the chosen log: whoever wrote a later epoch may have put other records in the place of those at the end here.
fn committed(chosen: NodeId, own: &Traces, others: &[(NodeId, &Traces)]) -> Vec<String> {
    if own.log_end == Lsn::ZERO {
        return vec![format!("{chosen} holds nothing: the group begins empty")];
    }
    let same = || others.iter().filter(|(_, traces)| traces.lineage == own.lineage);
    let committed = same().map(|(_, traces)| traces.high_watermark).fold(own.high_watermark, Lsn::max);
    let later = same().filter(|(_, traces)| traces.last_epoch > own.last_epoch && traces.high_watermark > Lsn::ZERO);
    let later = later.max_by_key(|(node, traces)| (traces.last_epoch, traces.high_watermark, *node));
    let mut known = Vec::new();
    if committed > own.log_end {
        known.push(format!(
            "{} committed records are lost for certain: {chosen} ends at record {}, and everything below {committed} was committed",
            committed - own.log_end,
            own.log_end
        ));
    }
    if let Some((node, traces)) = later {
        known.push(format!(
            "committed records of epoch {} may be missing, however far the numbers reach: {node} has it, the log of {chosen} ends with \
             epoch {}",
            traces.last_epoch, own.last_epoch
        ));
    }
    if known.is_empty() {
        known.push(format!(
            "of what is known to be committed, all below record {committed}, nothing is lost: {chosen} holds the records below {}",
            own.log_end
        ));
    }
    known
}

/// What another replica holds that the chosen one does not.
fn given_up(node: NodeId, theirs: &Traces, own: &Traces) -> Option<String> {
    if theirs.log_end == Lsn::ZERO {
        return None;
    }
    if theirs.lineage != own.lineage {
        return Some(format!(
            "the log of {node}, to record {}, is of lineage {}: that is given up",
            theirs.log_end, theirs.lineage
        ));
    }
    ((theirs.last_epoch, theirs.log_end) > (own.last_epoch, own.log_end))
        .then(|| format!("the log of {node} reaches further, to record {}: that is given up", theirs.log_end))
}

#[cfg(test)]
mod tests {
    use simplekv_cluster::NodeFacts;
    use simplekv_types::peer::Sender;
    use simplekv_types::{Epoch, Lineage, Member, RecoveryPolicy, Revision, RunId, StorageId};

    use super::*;

    fn record() -> GroupRecord {
        let in_sync = (1..=3).map(|node| Member { node: NodeId(node), storage: StorageId(node.into()) });
        GroupRecord {
            epoch: Epoch(9),
            leader: None,
            in_sync: in_sync.collect(),
            fence: Vec::new(),
            lease_ms: 1000,
            fence_ms: 1000,
            replicas: (1..=3).map(NodeId).collect(),
            min_in_sync: 2,
            lineage: Lineage(0),
            recovering: true,
            recovery: RecoveryPolicy::Manual,
        }
    }

    /// What is left on a node that came back: a log of this lineage and last epoch, to `log_end`, committed up to `committed`.
    fn log(node: u32, (lineage, last_epoch): (u64, u64), log_end: u64, committed: u64) -> (NodeId, Remains) {
        let (node, storage, run) = (NodeId(node), StorageId(u128::from(node) * 10), RunId(node.into()));
        let (revision, live) = (Revision(run.0), Some(run));
        let facts = NodeFacts { node, storage, run, revision, poisoned: false, live };
        let traces = Traces {
            identity: Sender { node, storage, run },
            lineage: Lineage(lineage),
            epoch: Epoch(9),
            last_epoch: Epoch(last_epoch),
            log_end: Lsn(log_end),
            high_watermark: Lsn(committed),
            halted: None,
        };
        (node, Remains { facts, previous: vec![StorageId(node.0.into())], replica: Some(traces) })
    }

    /// The first two logs and an empty third; the first is chosen.
    fn lost(record: &GroupRecord, logs: [(NodeId, Remains); 2]) -> String {
        of(record, &logs.into_iter().chain([log(3, (0, 0), 0, 0)]).collect(), NodeId(1)).join("\n")
    }

    #[test]
    fn numbers_of_one_history_are_compared() {
        let told = lost(&record(), [log(1, (0, 4), 100, 80), log(2, (0, 4), 90, 90)]);
        assert!(told.contains("all below record 90, nothing is lost: n1 holds the records below 100"), "{told}");
        let told = lost(&record(), [log(1, (0, 4), 100, 80), log(2, (0, 4), 130, 120)]);
        assert!(told.contains("20 committed records are lost for certain"), "{told}");
        assert!(told.contains("the log of n2 reaches further, to record 130"), "{told}");
    }

    /// The leader of epoch 5 cut the log at 60 and went on from there: what n1 holds beyond is not what was committed.
    #[test]
    fn a_longer_log_of_an_earlier_epoch_is_not_said_to_hold_everything() {
        let told = lost(&record(), [log(1, (0, 4), 100, 60), log(2, (0, 5), 90, 90)]);
        assert!(!told.contains("nothing is lost"), "{told}");
        assert!(told.contains("committed records of epoch 5 may be missing"), "{told}");
        let told = lost(&record(), [log(1, (0, 5), 90, 90), log(2, (0, 4), 100, 60)]);
        assert!(told.contains("nothing is lost"), "the later epoch holds what the earlier one had committed: {told}");
    }

    #[test]
    fn numbers_of_different_histories_are_not_compared() {
        let told = lost(&record(), [log(1, (1, 5), 10, 10), log(2, (0, 4), 100, 100)]);
        assert!(told.contains("all below record 10, nothing is lost"), "{told}");
        assert!(told.contains("the log of n2, to record 100, is of lineage 0: that is given up"), "{told}");
        let begun = GroupRecord { lineage: Lineage(1), ..record() };
        let told = lost(&begun, [log(1, (0, 4), 100, 80), log(2, (0, 4), 90, 90)]);
        assert!(told.contains("whatever was acknowledged in lineage 1 is lost"), "{told}");
    }

    #[test]
    fn whoever_has_not_told_is_named() {
        let mut silent = log(2, (0, 4), 100, 100);
        silent.1.replica = None;
        let told = lost(&record(), [log(1, (0, 4), 90, 90), silent]);
        assert!(told.contains("n2 has not told what it holds"), "{told}");
        assert!(!told.contains("n3 has not told"), "{told}");
    }
}
