//! Who must acknowledge a record before it counts, while changes of the in-sync set travel to the metadata store and back.
//!
//! One change at a time. A replica that joins is waited for from the moment its joining is decided, one that leaves until its
//! leaving is confirmed: whichever of the two sets a successor reads, it can trust every member. As long as a transaction's outcome
//! is unknown it may still be executed at any time; nothing but a greater revision of the record ends that.

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::{GroupRecord, Lsn, Member, NodeId, Revision, RunId, Tick};

use super::core::Core;
use crate::effect::{GroupChange, MetadataRequest};
use crate::event::{MetadataOutcome, RequestId};

/// The in-sync set as confirmed, and the change on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct InSync {
    /// The group's record as last confirmed in this epoch.
    pub(crate) record: GroupRecord,
    /// Its revision: what the next change compares.
    pub(crate) revision: Revision,
    /// The confirmed members, and who joins.
    ///
    /// Invariant: a superset of the in-sync set in the metadata store for as long as the epoch there is ours; contains this node.
    required: Vec<Member>,
    change: Option<Change>,
    /// No new change before this.
    retry_at: Tick,
}

/// A change of the record by its leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Change {
    pub(crate) join: Option<Join>,
    pub(crate) leave: Option<Leave>,
    phase: Phase,
}

/// A replica that joins the in-sync set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Join {
    pub(crate) member: Member,
    /// The run whose acknowledgements showed that it has caught up.
    pub(crate) run: RunId,
    /// The revision of its registration as that run.
    pub(crate) registration: Revision,
    /// Since when it is waited for. The transaction is sent once it has answered something sent since then: whoever becomes leader
    /// after it must not have its last acknowledgement from before.
    pub(crate) since: Tick,
}

/// A replica that leaves the in-sync set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Leave {
    pub(crate) member: Member,
    /// The attempt to revoke its read lease.
    pub(crate) revoke: u64,
    /// Whether it has given the lease up in answer to this attempt.
    pub(crate) revoked: bool,
    /// When the attempt was last sent.
    pub(crate) told_at: Tick,
}

/// Where a change is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Nothing was sent: it can be abandoned.
    Preparing,
    /// The transaction was sent.
    Proposed { id: RequestId, record: Box<GroupRecord> },
    /// Its outcome is unknown, and the record must be read.
    Reading { id: Option<RequestId>, at: Tick },
    /// The record still was what the transaction compares, so it may still be executed: the old content is written again, to take
    /// the revision away from it.
    Restoring { id: RequestId },
}

/// What the end of a request to the metadata store tells.
#[derive(Debug)]
pub(crate) enum Learned {
    /// The request was not this one's.
    NotOurs,
    /// Nothing new.
    Nothing,
    /// The record certainly was this, at this revision.
    Record(Box<GroupRecord>, Revision),
}

impl InSync {
    pub(crate) fn new(record: GroupRecord, revision: Revision) -> Self {
        let mut in_sync = Self { record, revision, required: Vec::new(), change: None, retry_at: Tick::ZERO };
        in_sync.derive_required();
        in_sync
    }

    fn derive_required(&mut self) {
        self.required.clone_from(&self.record.in_sync);
        let join = self.change.as_ref().and_then(|change| change.join).filter(|_| !is_broken(Rule::C33));
        if let Some(join) = join.filter(|join| !self.required.contains(&join.member)) {
            self.required.push(join.member);
        }
    }

    /// Whose acknowledgements a commit waits for, and whose support the leader lease needs.
    pub(crate) fn required(&self) -> &[Member] {
        &self.required
    }

    /// The smallest in-sync set that may commit.
    pub(crate) fn floor(&self) -> usize {
        usize::try_from(self.record.min_in_sync).unwrap_or(usize::MAX)
    }

    /// Whether as many are in sync, confirmed, as must be.
    pub(crate) fn meets_floor(&self) -> bool {
        self.record.in_sync.len() >= self.floor() || is_broken(Rule::C37)
    }

    pub(crate) fn change(&self) -> Option<&Change> {
        self.change.as_ref()
    }

    pub(crate) fn change_mut(&mut self) -> Option<&mut Change> {
        self.change.as_mut()
    }

    /// Whether a new change may begin.
    pub(crate) fn is_free(&self, now: Tick) -> bool {
        self.change.is_none() && now >= self.retry_at
    }

    /// Whether this replica's read lease is being taken back.
    pub(crate) fn is_leaving(&self, member: Member) -> bool {
        self.change.as_ref().is_some_and(|change| change.leave.is_some_and(|leave| leave.member == member))
    }

    /// Begins a change. From here on a joining replica is waited for.
    pub(crate) fn begin(&mut self, join: Option<Join>, leave: Option<Leave>) {
        assert!(self.change.is_none(), "one change at a time");
        self.change = Some(Change { join, leave, phase: Phase::Preparing });
        self.derive_required();
    }

    /// Gives up a change of which nothing was sent.
    pub(crate) fn abandon(&mut self, retry_at: Tick) {
        if self.change.take_if(|change| matches!(change.phase, Phase::Preparing)).is_some() {
            self.retry_at = retry_at;
            self.derive_required();
        }
    }

    /// Sends the transaction of the change that was begun.
    pub(crate) fn propose(&mut self, core: &mut Core, record: GroupRecord, registrations: Vec<(NodeId, Revision)>) {
        let Some(change) = self.change.as_mut() else { return };
        debug_assert!(matches!(change.phase, Phase::Preparing), "a change is proposed once");
        let proposal =
            GroupChange { expected: self.revision, registrations, silent: Vec::new(), record: record.clone() };
        let id = core.request(MetadataRequest::ChangeGroup(Box::new(proposal)));
        change.phase = Phase::Proposed { id, record: Box::new(record) };
    }

    /// A request has come to its end.
    pub(crate) fn on_metadata(
        &mut self,
        core: &mut Core,
        now: Tick,
        id: RequestId,
        outcome: &MetadataOutcome,
    ) -> Learned {
        let Some(change) = self.change.as_mut().filter(|change| change.awaits(id)) else { return Learned::NotOurs };
        let retry_at = now + core.config.timing.metadata_retry;
        let phase = std::mem::replace(&mut change.phase, Phase::Reading { id: None, at: now });
        match (phase, outcome) {
            (Phase::Proposed { record, .. }, MetadataOutcome::Succeeded { revision }) => {
                Learned::Record(record, *revision)
            }
            (Phase::Restoring { .. }, MetadataOutcome::Succeeded { revision }) => {
                Learned::Record(Box::new(self.record.clone()), *revision)
            }
            (Phase::Proposed { .. }, MetadataOutcome::Unknown) if is_broken(Rule::C34) => {
                self.end_change(retry_at);
                Learned::Nothing
            }
            (Phase::Proposed { .. }, MetadataOutcome::Failed) => {
                self.end_change(retry_at);
                Learned::Nothing
            }
            (Phase::Proposed { .. }, MetadataOutcome::Lost { current: Some((record, revision)) }) => {
                // Executed without effect, so it will have none later. If the record is unchanged a registration was different.
                self.end_change(retry_at);
                Learned::Record(Box::new(record.clone()), *revision)
            }
            (Phase::Reading { .. }, MetadataOutcome::Read(Some((_, revision)))) if *revision <= self.revision => {
                match is_broken(Rule::C55) {
                    true => self.end_change(retry_at),
                    false => self.restore(core),
                }
                Learned::Nothing
            }
            (_, MetadataOutcome::Read(Some((record, revision))))
            | (_, MetadataOutcome::Lost { current: Some((record, revision)) }) => {
                Learned::Record(Box::new(record.clone()), *revision)
            }
            // Unknown, or no answer: read, at once if this was the first attempt to find out.
            (phase, _) => {
                self.read_at(if matches!(phase, Phase::Proposed { .. }) { now } else { retry_at });
                Learned::Nothing
            }
        }
    }

    fn end_change(&mut self, retry_at: Tick) {
        self.change = None;
        self.retry_at = retry_at;
        self.derive_required();
    }

    fn read_at(&mut self, at: Tick) {
        if let Some(change) = self.change.as_mut() {
            change.phase = Phase::Reading { id: None, at };
        }
    }

    /// Writes the old content again. Not the new one: that compares a registration and may be refused for ever.
    fn restore(&mut self, core: &mut Core) {
        let restoring = GroupChange {
            expected: self.revision,
            registrations: Vec::new(),
            silent: Vec::new(),
            record: self.record.clone(),
        };
        let id = core.request(MetadataRequest::ChangeGroup(Box::new(restoring)));
        if let Some(change) = self.change.as_mut() {
            change.phase = Phase::Restoring { id };
        }
    }

    /// Reads the record if that is due.
    pub(crate) fn read_if_due(&mut self, core: &mut Core, now: Tick) {
        if let Some(Change { phase: Phase::Reading { id: id @ None, at }, .. }) = self.change.as_mut()
            && now >= *at
        {
            *id = Some(core.request(MetadataRequest::ReadGroup));
        }
    }

    /// The record of this epoch is certainly this. A greater revision ends every change that compares a lower one; a joining replica
    /// of which nothing was proposed is let go as well.
    pub(crate) fn confirm(&mut self, record: GroupRecord, revision: Revision) {
        if revision <= self.revision {
            return;
        }
        self.record = record;
        self.revision = revision;
        self.change = None;
        self.derive_required();
    }

    /// Whether a transaction may be executed of which this leader has not seen the outcome.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.change.as_ref().is_some_and(|change| !change.is_preparing())
    }

    /// When something is due.
    pub(crate) fn deadline(&self) -> Option<Tick> {
        match self.change.as_ref().map(|change| &change.phase) {
            None => Some(self.retry_at),
            Some(Phase::Reading { id: None, at }) => Some(*at),
            Some(_) => None,
        }
    }
}

impl Change {
    fn awaits(&self, id: RequestId) -> bool {
        match &self.phase {
            Phase::Preparing => false,
            Phase::Proposed { id: asked, .. } | Phase::Restoring { id: asked } => *asked == id,
            Phase::Reading { id: asked, .. } => *asked == Some(id),
        }
    }

    /// Whether nothing was sent.
    pub(crate) fn is_preparing(&self) -> bool {
        matches!(self.phase, Phase::Preparing)
    }
}

/// The smallest of the required acknowledgements.
pub(crate) fn smallest(ends: impl Iterator<Item = Lsn>) -> Lsn {
    ends.min().unwrap_or(Lsn::ZERO)
}
