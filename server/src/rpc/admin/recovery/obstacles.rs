//! Why a group cannot be recovered so, in sentences.

use std::collections::BTreeSet;

use simplekv_cluster::{Fate, Obstacle, Wish};
use simplekv_types::{GroupId, GroupRecord, Member, NodeId};

/// An obstacle in a sentence, and what to do about it.
pub(super) fn explain(id: GroupId, record: &GroupRecord, wish: &Wish, obstacle: &Obstacle) -> (String, String) {
    match obstacle {
        Obstacle::NeverLed => (
            format!("{id} has never had a leader, so nothing can be lost"),
            format!("see what it waits for with `simplekv-admin explain group {id}`"),
        ),
        Obstacle::CanGoOn(nodes) => (
            format!("{} {} everything that was acknowledged: {id} goes on by itself", listed(nodes), holds(nodes)),
            format!("see what it waits for with `simplekv-admin explain group {id}`"),
        ),
        Obstacle::MayReturn(doubtful) => (doubts(doubtful), return_or_vouch(id, wish, doubtful)),
        Obstacle::Silent(nodes) => silent(id, wish, nodes),
        Obstacle::NotRegistered(nodes) => not_registered(id, wish, nodes),
        Obstacle::NobodyLeft => (
            format!("no replica of {id} has told what it holds"),
            format!("start at least one of {}, and ask again", listed(&record.replicas)),
        ),
        Obstacle::NotEligible(node) => (
            format!("{node} cannot be the one: it does not answer, has halted, or belongs to an earlier history"),
            "choose one of those marked as possible, or leave out --to for the longest log".to_owned(),
        ),
        Obstacle::ImpossibleFloor => {
            (format!("{id} has {} replicas", record.replicas.len()), "give --min-in-sync from 1 to that".to_owned())
        }
        // What only the controller refuses.
        Obstacle::MetadataRegressed | Obstacle::NothingLeft => (format!("{obstacle:?}"), String::new()),
    }
}

fn silent(id: GroupId, wish: &Wish, nodes: &[NodeId]) -> (String, String) {
    let each: Vec<String> =
        nodes.iter().map(|node| format!("{node} has come back and has not told yet what it holds")).collect();
    (each.join("; "), format!("see that it runs, wait and ask again; {}", giving_up(id, wish, nodes)))
}

fn not_registered(id: GroupId, wish: &Wish, nodes: &[NodeId]) -> (String, String) {
    let each: Vec<String> =
        nodes.iter().map(|node| format!("{node} answers in a run that is not the one registered")).collect();
    let wait = "it ends once it has noticed: start it again, then ask again";
    (each.join("; "), format!("{wait}; {}", giving_up(id, wish, nodes)))
}

fn giving_up(id: GroupId, wish: &Wish, nodes: &[NodeId]) -> String {
    let lost: BTreeSet<NodeId> = nodes.iter().chain(&wish.lost).copied().collect();
    let lost: Vec<String> = lost.iter().map(NodeId::to_string).collect();
    format!("to give up what it holds, say so: simplekv-admin recover-group {id} --lost {}", lost.join(","))
}

fn doubts(doubtful: &[(Member, Fate)]) -> String {
    let each = doubtful.iter().map(|(member, fate)| {
        let node = member.node;
        match fate {
            Fate::Absent => format!("{node} is registered and does not answer: it may hold everything that was acknowledged"),
            Fate::Replaced => format!(
                "{node} came back with a directory that was never the one it acknowledged with: that may still exist elsewhere"
            ),
            Fate::Distrusted => format!("{node} has reported that its storage failed, and has not come back yet"),
            Fate::Unknown => format!("{node} is not registered any more: nothing is known of what it held"),
            Fate::Lives | Fate::Halted | Fate::Ended => format!("{node} is accounted for"),
        }
    });
    each.collect::<Vec<_>>().join("; ")
}

fn return_or_vouch(id: GroupId, wish: &Wish, doubtful: &[(Member, Fate)]) -> String {
    let returning: Vec<NodeId> = doubtful
        .iter()
        .filter(|(_, fate)| matches!(fate, Fate::Absent | Fate::Distrusted))
        .map(|(member, _)| member.node)
        .collect();
    let nodes: BTreeSet<NodeId> =
        doubtful.iter().map(|(member, _)| member.node).chain(wish.lost.iter().copied()).collect();
    let nodes: Vec<String> = nodes.iter().map(NodeId::to_string).collect();
    let vouch = format!(
        "if that is gone for ever, and no process with it still runs, say so: simplekv-admin recover-group {id} --lost {}",
        nodes.join(",")
    );
    if returning.is_empty() { vouch } else { format!("start {}; {vouch}", listed(&returning)) }
}

fn listed(nodes: &[NodeId]) -> String {
    nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(", ")
}

fn holds(nodes: &[NodeId]) -> &'static str {
    if nodes.len() == 1 { "holds" } else { "hold" }
}
