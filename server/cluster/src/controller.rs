//! Elects leaders for groups whose in-sync followers do not do it themselves, and does what operators ask of group records.
//!
//! A failover does not need it: in-sync followers replace a leader they cannot hear. What is left are groups where too few of them
//! are left to agree, leaders that cannot begin, and planned changes. Like every election, its transactions are safe by what they
//! compare, whatever it believes.

use std::collections::{BTreeMap, VecDeque};

use simplekv_types::peer::Sender;
use simplekv_types::{Epoch, GroupId, GroupRecord, Member, NodeId, RecoveryPolicy, Revision, Tick};

use crate::config::Timing;
use crate::effect::{GroupChange, TransferOutcome};
use crate::event::{MetadataOutcome, NodeFacts, RequestId};
use crate::failover::{Nodes, elect, has_ended, learn};
use crate::founding::found;
use crate::recovery::{Recovery, Remains, await_decision, recover_longest};

/// The controller of a cluster, as a value. Runs on every node; only the one that holds the office acts.
#[derive(Debug)]
pub struct Controller {
    timing: Timing,
    in_office: bool,
    /// Until then a missing sign of life means nothing: sessions may have been lost while nobody could renew them.
    trust_sessions_from: Tick,
    /// When the groups were last looked at.
    reviewed_at: Tick,
    nodes: Nodes,
    groups: BTreeMap<GroupId, Group>,
    next_request: u64,
    /// The latest time seen.
    now: Tick,
    effects: VecDeque<ControllerEffect>,
}

/// One group as the controller sees it.
#[derive(Debug)]
struct Group {
    record: GroupRecord,
    revision: Revision,
    /// The change on its way: only one, since all compare the same revision.
    pending: Option<(RequestId, GroupRecord)>,
    /// No new change before this.
    retry_at: Tick,
    /// Since when there has been evidence that this epoch has no leader.
    leaderless_since: Option<(Epoch, Tick)>,
    /// The leader asks to be replaced: its epoch.
    requested: Option<Epoch>,
    transfer: Option<Transfer>,
    assign: Option<Vec<NodeId>>,
    /// When to look next at what is left of it, while it recovers by itself.
    inspect_at: Tick,
}

/// A transfer an operator asked for.
#[derive(Clone, Copy, Debug)]
struct Transfer {
    ticket: u64,
    to: Option<NodeId>,
    /// The epoch that it shall end.
    from: Epoch,
    deadline: Tick,
}

/// What happens to a controller.
#[derive(Clone, Debug)]
pub enum ControllerEvent {
    /// This node now holds the office. Every change must compare it.
    TookOffice,
    /// This node does not hold the office any more.
    LostOffice,
    /// The metadata store could not be reached for a while and now can: missing signs of life mean nothing yet.
    Reconnected,
    /// A group's record was seen.
    RecordSeen {
        /// The group.
        group: GroupId,
        /// Its record; `None` if it is gone.
        record: Option<GroupRecord>,
        /// Revision of the record's last change, or of its deletion.
        revision: Revision,
    },
    /// Nodes' registrations and sessions were seen.
    NodesSeen(Vec<NodeFacts>),
    /// A node is not registered any more.
    NodeGone(NodeId),
    /// A leader asks to be replaced.
    ElectionRequested {
        /// The group.
        group: GroupId,
        /// The epoch to be ended.
        epoch: Epoch,
        /// The leader that asks.
        from: Sender,
        /// In-sync replicas it cannot hear.
        unheard: Vec<Member>,
    },
    /// An operator wants this replica to lead. Answered by [`ControllerEffect::TransferEnded`].
    Transfer {
        /// To be repeated in the answer.
        ticket: u64,
        /// The group.
        group: GroupId,
        /// Who shall lead; `None` for whoever else stands best.
        to: Option<NodeId>,
    },
    /// An operator wants the group to be assigned to these nodes.
    Assign {
        /// The group.
        group: GroupId,
        /// The nodes, in order of preference for leadership.
        replicas: Vec<NodeId>,
    },
    /// A change has come to its end.
    Metadata {
        /// The request.
        id: RequestId,
        /// What became of it.
        outcome: MetadataOutcome,
    },
    /// What is left of a group on the nodes it is assigned to, as far as they answered [`ControllerEffect::Inspect`].
    Inspected {
        /// The group.
        group: GroupId,
        /// By node.
        remains: BTreeMap<NodeId, Remains>,
    },
    /// Time has passed.
    Tick,
}

/// What a controller wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControllerEffect {
    /// Change a group's record, comparing the office too; then step [`ControllerEvent::Metadata`] once.
    ChangeGroup {
        /// To be repeated in the event.
        id: RequestId,
        /// The group.
        group: GroupId,
        /// The change.
        change: Box<GroupChange>,
    },
    /// Find out what is left of a group on the nodes it is assigned to, then step [`ControllerEvent::Inspected`]. Told again until it
    /// has helped.
    Inspect {
        /// The group.
        group: GroupId,
    },
    /// Answers [`ControllerEvent::Transfer`].
    TransferEnded {
        /// The ticket of the request.
        ticket: u64,
        /// How it ended.
        outcome: TransferOutcome,
    },
}

impl Controller {
    /// A controller that does not hold the office.
    #[must_use]
    pub fn new(timing: Timing) -> Self {
        Self {
            timing,
            in_office: false,
            trust_sessions_from: Tick::ZERO,
            reviewed_at: Tick::ZERO,
            nodes: Nodes::new(),
            groups: BTreeMap::new(),
            next_request: 0,
            now: Tick::ZERO,
            effects: VecDeque::new(),
        }
    }

    /// Something happened. Afterwards all effects must be taken.
    pub fn step(&mut self, now: Tick, event: ControllerEvent) {
        let now = now.max(self.now);
        self.now = now;
        match event {
            ControllerEvent::TookOffice => {
                self.in_office = true;
                self.trust_sessions_from = now + self.timing.session_ttl;
            }
            ControllerEvent::LostOffice => self.leave_office(),
            ControllerEvent::Reconnected => self.trust_sessions_from = now + self.timing.session_ttl,
            ControllerEvent::RecordSeen { group, record, revision } => self.observe(group, record, revision),
            ControllerEvent::NodesSeen(facts) => learn(&mut self.nodes, facts),
            ControllerEvent::NodeGone(node) => {
                self.nodes.remove(&node);
            }
            ControllerEvent::ElectionRequested { group, epoch, from, unheard: _ } => {
                if let Some(group) = self.groups.get_mut(&group)
                    && group.record.leader.map(Sender::from) == Some(from)
                {
                    group.requested = Some(epoch);
                }
            }
            ControllerEvent::Transfer { ticket, group, to } => self.on_transfer(now, ticket, group, to),
            ControllerEvent::Assign { group, replicas } => {
                if let Some(group) = self.groups.get_mut(&group) {
                    group.assign = Some(replicas);
                }
            }
            ControllerEvent::Metadata { id, outcome } => self.on_metadata(now, id, outcome),
            ControllerEvent::Inspected { group, remains } => self.on_inspected(group, &remains),
            ControllerEvent::Tick => (),
        }
        if self.in_office {
            self.review(now);
        }
    }

    /// What to do next; `None` when the step is done.
    pub fn next_effect(&mut self) -> Option<ControllerEffect> {
        self.effects.pop_front()
    }

    /// When [`ControllerEvent::Tick`] is next needed; `None` while nothing is being waited for.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        if !self.in_office {
            return None;
        }
        let each = self.groups.values().flat_map(|group| {
            let election = group.leaderless_since.map(|(_, since)| since + self.timing.suspect_after);
            let inspection = group.recovers_by_itself().then_some(group.inspect_at);
            [election, Some(group.retry_at), group.transfer.map(|transfer| transfer.deadline), inspection]
        });
        // What was due at the last step was done in it, or waits for an answer.
        each.flatten().chain([self.trust_sessions_from]).filter(|at| *at > self.now).min()
    }

    fn leave_office(&mut self) {
        self.in_office = false;
        for group in self.groups.values_mut() {
            group.pending = None;
            group.requested = None;
            group.assign = None;
            group.leaderless_since = None;
            if let Some(Transfer { ticket, .. }) = group.transfer.take() {
                self.effects.push_back(ControllerEffect::TransferEnded { ticket, outcome: TransferOutcome::NotLeader });
            }
        }
    }

    fn observe(&mut self, group: GroupId, record: Option<GroupRecord>, revision: Revision) {
        let Some(known) = self.groups.get_mut(&group) else {
            if let Some(record) = record {
                self.groups.insert(group, Group::new(record, revision));
            }
            return;
        };
        if revision <= known.revision {
            return;
        }
        match record {
            Some(record) => known.observe(record, revision),
            None => {
                self.groups.remove(&group);
            }
        }
    }

    fn on_transfer(&mut self, now: Tick, ticket: u64, group: GroupId, to: Option<NodeId>) {
        let deadline = now + self.timing.transfer_limit;
        let refused = match self.groups.get_mut(&group) {
            _ if !self.in_office => TransferOutcome::NotLeader,
            Some(group) if group.transfer.is_none() => {
                group.transfer = Some(Transfer { ticket, to, from: group.record.epoch, deadline });
                return;
            }
            Some(_) | None => TransferOutcome::NotEligible,
        };
        self.effects.push_back(ControllerEffect::TransferEnded { ticket, outcome: refused });
    }

    fn on_metadata(&mut self, now: Tick, id: RequestId, outcome: MetadataOutcome) {
        let asked = |group: &&mut Group| group.pending.as_ref().is_some_and(|(asked, _)| *asked == id);
        let Some(group) = self.groups.values_mut().find(asked) else { return };
        let Some((_, proposed)) = group.pending.take() else { return };
        match outcome {
            MetadataOutcome::Succeeded { revision } => group.observe(proposed, revision),
            MetadataOutcome::Lost { current: Some((record, revision)) } if revision > group.revision => {
                group.observe(record, revision);
            }
            // Either nothing happened, or the record will show what did.
            _ => group.retry_at = now + self.timing.metadata_retry,
        }
    }

    /// The remains of a group that has lost all its in-sync replicas may be enough to go on with.
    fn on_inspected(&mut self, id: GroupId, remains: &BTreeMap<NodeId, Remains>) {
        let Some(group) = self.groups.get(&id).filter(|group| self.in_office && group.recovers_by_itself()) else {
            return;
        };
        if group.pending.is_none()
            && let Ok(Recovery { change, .. }) = recover_longest(&group.record, group.revision, remains)
        {
            self.propose(id, change);
        }
    }

    fn propose(&mut self, id: GroupId, change: GroupChange) {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        if let Some(group) = self.groups.get_mut(&id) {
            group.pending = Some((request, change.record.clone()));
            self.effects.push_back(ControllerEffect::ChangeGroup { id: request, group: id, change: Box::new(change) });
        }
    }

    fn review(&mut self, now: Tick) {
        self.reviewed_at = now;
        let view = View { nodes: &self.nodes, trust_sessions: now >= self.trust_sessions_from };
        let mut changes = Vec::new();
        for (id, group) in &mut self.groups {
            group.end_transfer(now, &mut self.effects);
            group.note_evidence(now, &view);
            if group.pending.is_some() || now < group.retry_at {
                continue;
            }
            if !group.record.recovering {
                changes.extend(group.next_change(now, &view, &self.timing).map(|change| (*id, change)));
            } else if group.recovers_by_itself() && now >= group.inspect_at {
                group.inspect_at = now + self.timing.inspect_interval;
                self.effects.push_back(ControllerEffect::Inspect { group: *id });
            }
        }
        for (id, change) in changes {
            self.propose(id, change);
        }
    }
}

/// What is known about nodes, and how much a missing sign of life means.
struct View<'a> {
    nodes: &'a Nodes,
    trust_sessions: bool,
}

impl View<'_> {
    /// Registered as listed, undamaged, and in its session.
    fn is_alive(&self, member: Member) -> bool {
        self.nodes.get(&member.node).is_some_and(|facts| facts.is_intact(member) && facts.is_live())
    }

    /// Whether the member's node is known not to be there.
    fn is_dead(&self, member: Member) -> bool {
        self.trust_sessions && !self.is_alive(member)
    }
}

impl Group {
    fn new(record: GroupRecord, revision: Revision) -> Self {
        Self {
            record,
            revision,
            pending: None,
            retry_at: Tick::ZERO,
            leaderless_since: None,
            requested: None,
            transfer: None,
            assign: None,
            inspect_at: Tick::ZERO,
        }
    }

    /// Whether nobody needs to be asked how it goes on.
    fn recovers_by_itself(&self) -> bool {
        self.record.recovering && self.record.recovery == RecoveryPolicy::Longest
    }

    fn observe(&mut self, record: GroupRecord, revision: Revision) {
        self.record = record;
        self.revision = revision;
    }

    /// Whether the epoch has a leader, as far as can be told. A leader whose session is gone may still lead, but its group must not
    /// depend on that.
    fn note_evidence(&mut self, now: Tick, view: &View<'_>) {
        let epoch = self.record.epoch;
        let leader = self.record.leader;
        let gone = leader.is_none_or(|leader| {
            let facts = view.nodes.get(&leader.node);
            view.trust_sessions && facts.is_none_or(|facts| facts.live != Some(leader.run))
        });
        if gone || has_ended(view.nodes, leader) {
            if self.leaderless_since.is_none_or(|(of, _)| of != epoch) {
                self.leaderless_since = Some((epoch, now));
            }
        } else {
            self.leaderless_since = None;
        }
    }

    fn end_transfer(&mut self, now: Tick, effects: &mut VecDeque<ControllerEffect>) {
        let Some(transfer) = self.transfer else { return };
        let outcome = match self.record.leader {
            Some(leader) if self.record.epoch > transfer.from && transfer.to.is_none_or(|to| to == leader.node) => {
                TransferOutcome::Elected { leader: leader.node, epoch: self.record.epoch }
            }
            _ if now >= transfer.deadline => TransferOutcome::GivenUp,
            _ => return,
        };
        self.transfer = None;
        effects.push_back(ControllerEffect::TransferEnded { ticket: transfer.ticket, outcome });
    }

    fn next_change(&mut self, now: Tick, view: &View<'_>, timing: &Timing) -> Option<GroupChange> {
        if let Some(change) = found(&self.record, self.revision, view.nodes, !view.trust_sessions) {
            return Some(change);
        }
        if self.requested == Some(self.record.epoch) {
            // It cannot begin its epoch. Electing it again would not help, unless there is nobody else.
            if let Some(change) =
                self.elect_first(view, |member| !self.leads(member)).or_else(|| self.elect_first(view, |_| true))
            {
                self.requested = None;
                return Some(change);
            }
        }
        if let Some(transfer) = self.transfer {
            let wanted = |member: Member| transfer.to.map_or(!self.leads(member), |to| member.node == to);
            if let Some(change) = self.elect_first(view, wanted) {
                return Some(change);
            }
        }
        // In-sync followers know how far their logs reach and are given the time to elect the longest.
        let leaderless = self.leaderless_since.is_some_and(|(_, since)| now >= since + timing.suspect_after);
        let elected = leaderless.then(|| self.elect_first(view, |_| true)).flatten();
        elected.or_else(|| self.reassign()).or_else(|| await_decision(&self.record, self.revision, view.nodes))
    }

    fn leads(&self, member: Member) -> bool {
        self.record.leader.is_some_and(|leader| leader.member() == member)
    }

    /// The election of the first living in-sync replica that is wanted, in the order of preference.
    fn elect_first(&self, view: &View<'_>, wanted: impl Fn(Member) -> bool) -> Option<GroupChange> {
        let preference = |member: &Member| {
            let position = self.record.replicas.iter().position(|node| *node == member.node);
            (position.unwrap_or(usize::MAX), member.node)
        };
        let eligible = self.record.in_sync.iter().copied().filter(|member| view.is_alive(*member) && wanted(*member));
        let candidate = eligible.min_by_key(preference)?;
        elect(&self.record, self.revision, view.nodes, candidate.node, |member| view.is_dead(member))
    }

    /// Brings the assigned replicas closer to what was asked for. Whoever is in sync, or may hold a lease, stays assigned until it
    /// is neither.
    fn reassign(&mut self) -> Option<GroupChange> {
        let wanted = self.assign.as_ref()?;
        let record = &self.record;
        let bound = |node: &NodeId| record.in_sync.iter().chain(&record.fence).any(|member| member.node == *node);
        let kept = record.replicas.iter().filter(|node| !wanted.contains(node) && bound(node));
        let replicas: Vec<NodeId> = wanted.iter().chain(kept).copied().collect();
        if replicas == record.replicas {
            if replicas == *wanted {
                self.assign = None;
            }
            return None;
        }
        let record = GroupRecord { replicas, ..record.clone() };
        Some(GroupChange { expected: self.revision, registrations: Vec::new(), silent: Vec::new(), record })
    }
}

#[cfg(test)]
mod tests;
