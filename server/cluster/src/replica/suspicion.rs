//! When in-sync followers replace a leader they cannot hear, without waiting for anybody.
//!
//! A follower that has heard nothing for too long tells the other in-sync followers. Once a majority of them agrees, the one whose
//! log reaches furthest asks to be elected; the others wait behind it, in order. The majority leaves the leader itself out: a hung
//! leader must not be needed to depose it. None of this is about safety, which the election's comparisons carry alone.

use std::collections::BTreeMap;
use std::time::Duration;

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::peer::{Message, Sender};
use simplekv_types::{Epoch, GroupRecord, Lsn, Member, NodeId, Tick};

use super::core::Core;
use crate::effect::{GroupChange, MetadataRequest};
use crate::event::RequestId;
use crate::failover::{self, Standing, elect, has_ended};

/// The wait doubles with each epoch in a row whose leader was never heard, this often at most.
const PATIENCE_DOUBLINGS: u32 = 3;

/// A follower's doubts about its leader, in one epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Suspicion {
    /// Since when this replica has doubted.
    since: Option<Tick>,
    /// Since when enough others have doubted too.
    agreed_since: Option<Tick>,
    told_at: Option<Tick>,
    /// Others that doubt, with when they said so and how far their logs reach.
    others: BTreeMap<NodeId, (Tick, Position)>,
    /// The election asked for, and what the record says if it succeeds.
    election: Option<(RequestId, GroupRecord)>,
    /// No new attempt before this.
    not_before: Tick,
    /// When there may be something to doubt next.
    look_at: Tick,
}

/// How far a log reaches, in the order of candidates.
type Position = (Epoch, Lsn);

impl Suspicion {
    /// The leader has been heard.
    pub(crate) fn lift(&mut self) {
        self.since = None;
        self.agreed_since = None;
        self.told_at = None;
    }

    /// Another in-sync follower doubts the leader of this epoch.
    pub(crate) fn hear(&mut self, now: Tick, from: Sender, position: Position) {
        self.others.insert(from.node, (now, position));
    }

    /// What the election of this id proposed, if it is the one that was asked for. It is over then, and no other is asked for
    /// before `retry_at`.
    pub(crate) fn take_election(&mut self, id: RequestId, retry_at: Tick) -> Option<GroupRecord> {
        let (_, proposed) = self.election.take_if(|(election, _)| *election == id)?;
        self.not_before = self.not_before.max(retry_at);
        Some(proposed)
    }

    /// When to look again.
    pub(crate) fn next_deadline(&self) -> Tick {
        self.look_at
    }

    /// Looks whether to doubt the leader, last heard at `heard_at`, and what to do about it.
    pub(crate) fn review(&mut self, core: &mut Core, now: Tick, heard_at: Tick) {
        let (interval, stagger) = (core.config.timing.suspect_interval, core.config.timing.candidate_stagger);
        let patience = core.config.timing.suspect_after * (1 << core.barren_epochs.min(PATIENCE_DOUBLINGS));
        let silent_from = heard_at + patience;
        self.look_at = if now < silent_from { silent_from } else { now + interval };
        let Some(ballot) = Ballot::open(core, now >= silent_from) else { return self.lift() };
        self.look_at = now + interval;

        let since = *self.since.get_or_insert(now);
        if self.told_at.is_none_or(|told| now >= told + interval) {
            self.told_at = Some(now);
            let (last_epoch, log_end) = ballot.position;
            for &node in &ballot.others {
                core.send(node, Message::Suspect { last_epoch, log_end });
            }
        }
        let doubting = self.doubting(now, interval, &ballot.others);
        if doubting.len() + 1 < ballot.needed {
            self.agreed_since = None;
            return;
        }
        // Where nobody else must agree, the others are still given time to say how far their logs reach.
        let alone = ballot.others.is_empty();
        let earliest = if ballot.needed > 1 || alone { now } else { since + interval * 2 };
        let agreed_since = *self.agreed_since.get_or_insert(earliest);
        let me = core.config.identity.node;
        let ahead = doubting.iter().filter(|(node, position)| (*position, me) > (ballot.position, *node)).count();
        let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
        if now >= agreed_since + stagger.saturating_mul(ahead) && now >= self.not_before && self.election.is_none() {
            self.not_before = now + stagger * 2;
            let proposed = ballot.change.record.clone();
            self.election = Some((core.request(MetadataRequest::ChangeGroup(Box::new(ballot.change))), proposed));
        }
    }

    fn doubting(&self, now: Tick, interval: Duration, among: &[NodeId]) -> Vec<(NodeId, Position)> {
        let fresh = |node: &NodeId| self.others.get(node).filter(|(at, _)| now < *at + interval * 3);
        among.iter().filter_map(|node| fresh(node).map(|(_, position)| (*node, *position))).collect()
    }
}

/// What it would take to replace the leader.
struct Ballot {
    /// Followers to convince.
    others: Vec<NodeId>,
    /// How many must doubt, this replica included.
    needed: usize,
    /// How far this replica's log reaches.
    position: Position,
    /// The change to be made.
    change: GroupChange,
}

impl Ballot {
    /// `None` if there is nothing to doubt, or this replica may not lead.
    fn open(core: &Core, silent: bool) -> Option<Self> {
        let (record, revision) = core.record.as_ref().filter(|(record, _)| record.epoch == core.epoch)?;
        // A leadership known to have ended: there is nobody to be wrong about, and nobody's agreement is needed.
        let ended = has_ended(&core.nodes, record.leader);
        if core.stopping || !core.epoch_persisted || !(silent || ended) {
            return None;
        }
        core.own_facts()?;
        let leader = record.leader.filter(|_| !ended).map(|leader| leader.member());
        let is_dead = |member: Member| Some(member) == leader;
        let change = elect(record, *revision, &core.nodes, core.config.identity.node, is_dead)?;
        let others: Vec<NodeId> = record
            .in_sync
            .iter()
            .filter(|member| !is_dead(**member) && **member != core.me())
            // An incarnation that is gone for ever can agree to nothing.
            .filter(|member| failover::standing(&core.nodes, **member) != Standing::Superseded)
            .map(|member| member.node)
            .collect();
        let counted = if is_broken(Rule::C66) { record.in_sync.len() } else { others.len() };
        let needed = if ended { 1 } else { counted.div_ceil(2) + 1 };
        Some(Self { others, needed, position: (core.log.last_epoch(), core.log.end), change })
    }
}
