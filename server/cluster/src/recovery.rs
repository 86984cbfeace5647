//! How a group goes on when none of its in-sync incarnations can come back.
//!
//! As long as one of them may still exist, on a disk that is switched off or behind a partition, it may hold acknowledged writes
//! that nobody else has, and may still be answering: then the group waits for it. That all of them are gone must be proven, or an
//! operator must vouch for it. Then one replica's log becomes the history that everybody starts from anew.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::peer::Sender;
use simplekv_types::{Epoch, GroupRecord, Leadership, Lineage, Lsn, Member, NodeId, Revision, StorageId};

use crate::effect::GroupChange;
use crate::event::NodeFacts;
use crate::failover::{Nodes, Standing, standing};
use crate::replica::HaltCause;

/// What is left of a group on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remains {
    /// What the metadata store says about the node.
    pub facts: NodeFacts,
    /// Earlier incarnations that worked last in the directory the node's registered incarnation lives in. The directory is locked, so
    /// whoever spoke for one of them has ended, and what it left is what the registered incarnation holds.
    pub previous: Vec<StorageId>,
    /// The node's replica, if it has told.
    pub replica: Option<Traces>,
}

/// What a replica tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traces {
    /// Who tells.
    pub identity: Sender,
    /// The history its log belongs to.
    pub lineage: Lineage,
    /// The greatest epoch it has taken part in.
    pub epoch: Epoch,
    /// Epoch of its last record.
    pub last_epoch: Epoch,
    /// First LSN it does not have.
    pub log_end: Lsn,
    /// First LSN it does not know to be committed.
    pub high_watermark: Lsn,
    /// Why it does nothing, if so.
    pub halted: Option<HaltCause>,
}

/// What has become of an in-sync incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is there: the group can go on by itself.
    Lives,
    /// It is there and will do nothing: it has halted.
    Halted,
    /// It has ended, and another incarnation has taken over its directory with what that holds.
    Ended,
    /// Its node has registered another incarnation whose directory was never this one's. What became of it nobody can tell.
    Replaced,
    /// Its node is known not to trust it, and has not come back since.
    Distrusted,
    /// It is registered and silent: it may come back with everything.
    Absent,
    /// Its node has never registered.
    Unknown,
}

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Whose log shall be the history; `None` for the longest.
    pub to: Option<NodeId>,
    /// Nodes whose in-sync incarnations an operator declares gone for ever.
    pub lost: BTreeSet<NodeId>,
    /// How many in-sync replicas the group shall need from now on; `None` for as many as before.
    pub min_in_sync: Option<u32>,
}

/// Why a group cannot be recovered so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It never had a leader: there is nothing to be lost.
    NeverLed,
    /// These in-sync replicas are whole: it goes on by itself.
    CanGoOn(Vec<NodeId>),
    /// These in-sync incarnations may still exist.
    MayReturn(Vec<(Member, Fate)>),
    /// These nodes are expected to hold something and have not told what: the longest log may be theirs.
    Silent(Vec<NodeId>),
    /// These nodes answer in runs that are not the registered ones: they have not noticed yet, or the metadata store went back. The
    /// longest log may be theirs.
    NotRegistered(Vec<NodeId>),
    /// No replica that could be the history has told of itself.
    NobodyLeft,
    /// The node named holds no replica that could be the history.
    NotEligible(NodeId),
    /// More in-sync replicas are asked for than there are replicas, or none.
    ImpossibleFloor,
    /// Replicas know of a later state of the group than its record: the metadata store was restored from an older one. Only an
    /// operator can tell what that cost.
    MetadataRegressed,
    /// The longest log is empty. Only an operator can want to begin with nothing.
    NothingLeft,
}

/// A way for the group to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Whose log becomes the history.
    pub chosen: Member,
    /// The change that makes it so.
    pub change: GroupChange,
    /// Names what was seen when this was decided: another look with the same digest has seen the same, and decides the same.
    pub digest: String,
}

impl Remains {
    /// What the registered run tells. What any other run has told is past.
    #[must_use]
    pub fn traces(&self) -> Option<&Traces> {
        let (storage, run) = (self.facts.storage, self.facts.run);
        self.replica.as_ref().filter(|traces| traces.identity.storage == storage && traces.identity.run == run)
    }

    /// What has become of the incarnation that a record of this lineage lists.
    fn fate(&self, member: Member, lineage: Lineage) -> Fate {
        if self.facts.storage != member.storage {
            let remembered = if is_broken(Rule::C65) { self.previous.len().saturating_sub(1) } else { 0 };
            let ended = self.previous.iter().skip(remembered).any(|storage| *storage == member.storage);
            return if ended { Fate::Ended } else { Fate::Replaced };
        }
        match self.traces() {
            Some(traces) if traces.halted.is_some() && !traces.begins(lineage) => Fate::Halted,
            _ if self.facts.poisoned => Fate::Distrusted,
            Some(_) => Fate::Lives,
            None if self.facts.is_live() => Fate::Lives,
            None => Fate::Absent,
        }
    }

    /// How far the replica's log reaches, if it can be the history: it is of this lineage, or empty, and its process will act once
    /// the record says so.
    fn position(&self, lineage: Lineage) -> Option<(Epoch, Lsn)> {
        let traces = self.traces().filter(|traces| traces.may_act() && !self.facts.poisoned)?;
        let fits = traces.lineage == lineage || traces.log_end == Lsn::ZERO;
        fits.then_some((traces.last_epoch, traces.log_end))
    }
}

impl Traces {
    /// Whether it will act if it is chosen.
    fn may_act(&self) -> bool {
        matches!(self.halted, None | Some(HaltCause::MetadataRegressed | HaltCause::LineageEnded))
    }

    /// Whether it was chosen to begin this lineage, in whose record it is listed in sync, and has not heard of it yet.
    fn begins(&self, lineage: Lineage) -> bool {
        self.may_act() && lineage > self.lineage
    }
}

/// What has become of each in-sync incarnation.
#[must_use]
pub fn fates(record: &GroupRecord, remains: &BTreeMap<NodeId, Remains>) -> Vec<(Member, Fate)> {
    let fate =
        |member: &Member| remains.get(&member.node).map_or(Fate::Unknown, |found| found.fate(*member, record.lineage));
    record.in_sync.iter().map(|member| (*member, fate(member))).collect()
}

/// The nodes whose logs can be the history, the longest first; of equals the group's preferred one.
#[must_use]
pub fn candidates(record: &GroupRecord, remains: &BTreeMap<NodeId, Remains>) -> Vec<NodeId> {
    let lineage = history(remains);
    let position = |node: &NodeId| remains.get(node).and_then(|found| found.position(lineage));
    let mut found: Vec<NodeId> = record.replicas.iter().copied().filter(|node| position(node).is_some()).collect();
    found.sort_by_key(|node| std::cmp::Reverse(position(node)));
    found
}

/// The change an operator asks for.
///
/// # Errors
/// [`Obstacle`]: what has to be done, waited for or said first.
pub fn recover(
    record: &GroupRecord,
    expected: Revision,
    remains: &BTreeMap<NodeId, Remains>,
    wish: &Wish,
) -> Result<Recovery, Obstacle> {
    let knows_more = |found: &Remains| found.traces().is_some_and(|traces| traces.epoch > Epoch::ZERO);
    if record.epoch == Epoch::ZERO && !remains.values().any(knows_more) {
        return Err(Obstacle::NeverLed);
    }
    let fates = fates(record, remains);
    let alive: Vec<NodeId> = fates.iter().filter(|(_, fate)| *fate == Fate::Lives).map(|(m, _)| m.node).collect();
    if !alive.is_empty() {
        return Err(Obstacle::CanGoOn(alive));
    }
    let doubtful = |(member, fate): &(Member, Fate)| {
        let is_known = matches!(fate, Fate::Halted | Fate::Ended) || is_broken(Rule::C44);
        !is_known && !wish.lost.contains(&member.node)
    };
    let doubtful: Vec<(Member, Fate)> = fates.into_iter().filter(doubtful).collect();
    if !doubtful.is_empty() {
        return Err(Obstacle::MayReturn(doubtful));
    }
    // That an incarnation has ended does not say what it left. A node that is still reading its log may hold the longest.
    let silent =
        silent(remains, record.in_sync.iter().map(|member| member.node).filter(|node| !wish.lost.contains(node)));
    if !silent.is_empty() && !is_broken(Rule::C44) {
        return Err(Obstacle::Silent(silent));
    }
    let answers = |(_, found): &(&NodeId, &Remains)| found.replica.is_some() && found.traces().is_none();
    let strangers = remains.iter().filter(answers).map(|(node, _)| *node).filter(|node| !wish.lost.contains(node));
    let strangers: Vec<NodeId> = strangers.collect();
    if !strangers.is_empty() {
        return Err(Obstacle::NotRegistered(strangers));
    }
    let candidates = candidates(record, remains);
    let chosen = match wish.to {
        Some(node) => candidates.contains(&node).then_some(node).ok_or(Obstacle::NotEligible(node))?,
        None => *candidates.first().ok_or(Obstacle::NobodyLeft)?,
    };
    let min_in_sync = wish.min_in_sync.unwrap_or(record.min_in_sync);
    if min_in_sync == 0 || record.replicas.len() < usize::try_from(min_in_sync).unwrap_or(usize::MAX) {
        return Err(Obstacle::ImpossibleFloor);
    }
    begin_anew(record, expected, remains, chosen, min_in_sync).ok_or(Obstacle::NotEligible(chosen))
}

/// The change the controller makes by itself, if the group's policy wants that: only with proof for each in-sync incarnation, and
/// only after looking at what each of them left.
///
/// # Errors
/// [`Obstacle`]: what is waited for, or why an operator has to decide.
pub fn recover_longest(
    record: &GroupRecord,
    expected: Revision,
    remains: &BTreeMap<NodeId, Remains>,
) -> Result<Recovery, Obstacle> {
    let ahead = |traces: &Traces| traces.epoch > record.epoch || traces.lineage > record.lineage;
    if remains.values().filter_map(Remains::traces).any(ahead) {
        return Err(Obstacle::MetadataRegressed);
    }
    let doubtful: Vec<(Member, Fate)> =
        fates(record, remains).into_iter().filter(|(_, fate)| *fate != Fate::Ended).collect();
    if !doubtful.is_empty() && !is_broken(Rule::C44) {
        return Err(Obstacle::MayReturn(doubtful));
    }
    // Whoever was out of sync may have the longest log all the same. If it is there it is waited for.
    let there = |node: &NodeId| remains.get(node).is_some_and(|found| found.facts.is_live());
    let silent = silent(remains, record.replicas.iter().copied().filter(there));
    if !silent.is_empty() {
        return Err(Obstacle::Silent(silent));
    }
    let recovery = recover(record, expected, remains, &Wish::default())?;
    let log_end = remains.get(&recovery.chosen.node).and_then(Remains::traces).map(|traces| traces.log_end);
    if log_end.is_none_or(|end| end == Lsn::ZERO) {
        return Err(Obstacle::NothingLeft);
    }
    Ok(recovery)
}

/// The change that says that a group waits for such a decision; `None` unless each of its in-sync incarnations is superseded.
pub(crate) fn await_decision(record: &GroupRecord, expected: Revision, nodes: &Nodes) -> Option<GroupChange> {
    let superseded = |member: &Member| standing(nodes, *member) == Standing::Superseded;
    if record.recovering || record.in_sync.is_empty() || !record.in_sync.iter().all(superseded) {
        return None;
    }
    let mut registrations: Vec<(NodeId, Revision)> = Vec::with_capacity(record.in_sync.len());
    for member in &record.in_sync {
        registrations.push((member.node, nodes.get(&member.node)?.revision));
    }
    registrations.sort_unstable();
    let record = GroupRecord { leader: None, recovering: true, ..record.clone() };
    Some(GroupChange { expected, registrations, silent: Vec::new(), record })
}

/// Those of the nodes that have not told what they hold, in order.
fn silent(remains: &BTreeMap<NodeId, Remains>, nodes: impl Iterator<Item = NodeId>) -> Vec<NodeId> {
    let seen = |node: &NodeId| remains.get(node).is_some_and(|found| found.traces().is_some());
    nodes.filter(|node| !seen(node)).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The latest history that anybody holds a part of. The record may name a later one: who was chosen to begin it may have been lost
/// before it did, and then what it was chosen from is still what there is.
fn history(remains: &BTreeMap<NodeId, Remains>) -> Lineage {
    // An empty replica belongs to whatever it was told of.
    let held = remains.values().filter_map(Remains::traces).filter(|traces| traces.log_end > Lsn::ZERO);
    held.map(|traces| traces.lineage).max().unwrap_or_default()
}

/// A lineage that nobody knows yet.
fn next_lineage(record: &GroupRecord, remains: &BTreeMap<NodeId, Remains>) -> Lineage {
    let known = remains.values().filter_map(Remains::traces).map(|traces| traces.lineage);
    known.fold(record.lineage, Lineage::max).next()
}

fn begin_anew(
    record: &GroupRecord,
    expected: Revision,
    remains: &BTreeMap<NodeId, Remains>,
    chosen: NodeId,
    min_in_sync: u32,
) -> Option<Recovery> {
    let facts = remains.get(&chosen)?.facts;
    // Whoever was judged must still be what it was judged by: none of them may have come back in between.
    let judged = record.in_sync.iter().map(|member| member.node).chain([chosen]);
    let revision = |node: NodeId| remains.get(&node).map_or(Revision(0), |found| found.facts.revision);
    let mut registrations: Vec<(NodeId, Revision)> = judged.map(|node| (node, revision(node))).collect();
    registrations.sort_unstable();
    registrations.dedup();

    // A node that lost its session and did nothing else since comes back without touching its registration.
    let absent = fates(record, remains).into_iter().filter(|(_, fate)| *fate == Fate::Absent);
    let silent = absent.map(|(member, _)| member.node).collect::<BTreeSet<_>>().into_iter().collect();

    // Later than anything anybody has acted in, which may be more than a restored metadata store knows.
    let acted = remains.values().filter_map(Remains::traces).map(|traces| traces.epoch);
    let epoch = acted.fold(record.epoch, Epoch::max).next();
    let mut fence = record.fence.clone();
    fence.extend(record.in_sync.iter().copied().filter(|member| !record.fence.contains(member)));
    fence.sort_unstable();
    let chosen = Member { node: chosen, storage: facts.storage };
    let digest = digest(record, remains, chosen, min_in_sync);
    let record = GroupRecord {
        epoch,
        leader: Some(Leadership { node: chosen.node, storage: chosen.storage, run: facts.run }),
        // Alone: whoever else joins has taken everything from it. Until the floor is met nothing is committed.
        in_sync: vec![chosen],
        fence,
        fence_ms: record.fence_ms.max(record.lease_ms),
        min_in_sync,
        lineage: next_lineage(record, remains),
        recovering: false,
        ..record.clone()
    };
    Some(Recovery { chosen, change: GroupChange { expected, registrations, silent, record }, digest })
}

/// Of what an operator was shown: a log that has grown since, another run or another fate makes another plan. Times are left out, as
/// is the number of keys, which says nothing about the log.
fn digest(record: &GroupRecord, remains: &BTreeMap<NodeId, Remains>, chosen: Member, min_in_sync: u32) -> String {
    let candidates = candidates(record, remains);
    // Its keys are fixed. Should the algorithm change with the compiler, two nodes of different builds disagree, and a look is
    // repeated.
    let mut hasher = DefaultHasher::new();
    (chosen, min_in_sync, fates(record, remains), &candidates).hash(&mut hasher);
    for (node, found) in remains {
        let facts = found.facts;
        let told = found.traces().map(|traces| {
            let Traces { lineage, epoch, last_epoch, log_end, high_watermark, halted, identity: _ } = *traces;
            (lineage, epoch, last_epoch, log_end, high_watermark, halted)
        });
        (node, facts.storage, facts.run, facts.poisoned, told).hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests;
