//! What the group's record says, and how much that proves.
//!
//! Watches and lists tell of records that may be old. What they show was true once, so a higher epoch in them is real; but nobody
//! leads, or calls the store restored from a backup, on the strength of a hint.

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::peer::{Envelope, Sender};
use simplekv_types::{GroupRecord, Lsn, Revision, Tick};

use super::in_sync::Learned;
use super::leader::Leader;
use super::{HaltCause, Replica, RoleState, speaks_as_leader};
use crate::effect::{Alarm, MetadataRequest};
use crate::event::{Event, MetadataOutcome, RequestId};

/// How much a record proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certainty {
    /// It held at some time.
    Hint,
    /// It held when it was asked for.
    Certain,
}

impl Replica {
    pub(super) fn on_metadata(&mut self, now: Tick, id: RequestId, outcome: MetadataOutcome) {
        let retry_at = now + self.core.config.timing.metadata_retry;
        match &mut self.role {
            RoleState::Leader(leader) => match leader.in_sync.on_metadata(&mut self.core, now, id, &outcome) {
                Learned::NotOurs => (),
                Learned::Nothing => return,
                Learned::Record(record, revision) => return self.observe(now, *record, revision, Certainty::Certain),
            },
            RoleState::Follower(follower) => {
                if let Some(proposed) = follower.suspicion.take_election(id, retry_at) {
                    return self.on_election(now, proposed, outcome);
                }
            }
            RoleState::Halted => return,
        }
        let asked_in = self.refresh.take_if(|(asked, ..)| *asked == id).map(|(_, lineage, epoch)| (lineage, epoch));
        match outcome {
            // Whoever led our epoch had read of its election before it said a word; so had whoever began our lineage.
            MetadataOutcome::Read(Some((record, _)))
                if asked_in.is_some_and(|(lineage, _)| record.lineage < lineage) =>
            {
                self.core.alarm(Alarm::LineageRegressed { persisted: self.core.lineage, found: record.lineage });
                self.halt(HaltCause::MetadataRegressed);
            }
            MetadataOutcome::Read(Some((record, _)))
                if asked_in.is_some_and(|(lineage, epoch)| record.lineage == lineage && record.epoch < epoch)
                    && !is_broken(Rule::C45) =>
            {
                self.core.alarm(Alarm::MetadataRegressed { persisted: self.core.epoch, found: record.epoch });
                self.halt(HaltCause::MetadataRegressed);
            }
            MetadataOutcome::Read(Some((record, revision)))
            | MetadataOutcome::Lost { current: Some((record, revision)) } => {
                self.observe(now, record, revision, Certainty::Certain);
            }
            // A change of an epoch that has ended meanwhile: what came of it, the record shows.
            MetadataOutcome::Succeeded { .. } | MetadataOutcome::Unknown => self.read_record(now),
            MetadataOutcome::Read(None) | MetadataOutcome::Lost { current: None } | MetadataOutcome::Failed => (),
        }
    }

    /// The election this follower asked for has come to its end.
    fn on_election(&mut self, now: Tick, proposed: GroupRecord, outcome: MetadataOutcome) {
        match outcome {
            MetadataOutcome::Succeeded { revision } => self.observe(now, proposed, revision, Certainty::Certain),
            MetadataOutcome::Lost { current: Some((record, revision)) } => {
                self.observe(now, record, revision, Certainty::Certain);
            }
            // It may have won, or win yet: then the record shows it.
            MetadataOutcome::Unknown | MetadataOutcome::Lost { current: None } => self.read_record(now),
            MetadataOutcome::Failed | MetadataOutcome::Read(_) => (),
        }
    }

    pub(super) fn read_record(&mut self, now: Tick) {
        if self.refresh.is_none() && now >= self.refresh_after {
            let id = self.core.request(MetadataRequest::ReadGroup);
            self.refresh = Some((id, self.core.lineage, self.core.epoch));
            self.refresh_after = now + self.core.config.timing.metadata_retry;
        }
    }

    /// Whether the record seen last names this run as the leader of an epoch it does not lead. It may be old, so it must be read
    /// again before anything is done about it.
    pub(super) fn is_elected_unconfirmed(&self) -> bool {
        let elected = self.core.record.as_ref().is_some_and(|(record, _)| {
            let leads = matches!(self.role, RoleState::Leader(_)) && record.epoch == self.core.epoch;
            let elected = self.core.is_me(record.leader) && record.is_in_sync(self.core.me());
            record.epoch >= self.core.epoch && elected && !leads
        });
        elected && !matches!(self.role, RoleState::Halted)
    }

    /// The group's record is this, or was.
    pub(super) fn observe(&mut self, now: Tick, record: GroupRecord, revision: Revision, certainty: Certainty) {
        let known = self.core.record.as_ref().is_some_and(|(_, known)| *known == revision);
        if !(self.note_record(&record, revision) || known && certainty == Certainty::Certain) {
            return;
        }
        if record.lineage > self.core.lineage && !self.begin_lineage(now, &record) {
            return;
        }
        if record.lineage < self.core.lineage || record.epoch < self.core.epoch {
            // A hint may be old. If it is not, the store has lost what this replica has seen: the read will tell.
            return self.read_record(now);
        }
        if let RoleState::Leader(leader) = &mut self.role
            && record.epoch == self.core.epoch
        {
            if !record.is_in_sync(self.core.me()) {
                // Nobody may do that to a leader. Whatever happened, it is not for us to commit anything.
                return self.halt(HaltCause::Conflict);
            }
            return leader.confirm(&self.core, record, revision);
        }
        if self.core.is_me(record.leader) && record.is_in_sync(self.core.me()) {
            if certainty == Certainty::Certain {
                self.lead(now, record, revision);
            }
            return;
        }
        // An earlier run of this node is nobody to follow.
        let me = self.core.config.identity.node;
        let leader = record.leader.map(Sender::from).filter(|leader| leader.node != me);
        if record.epoch > self.core.epoch {
            self.adopt(now, record.epoch, leader);
        } else if let (RoleState::Follower(follower), Some(leader)) = (&mut self.role, leader)
            && follower.leader.is_none()
        {
            follower.leader = Some(leader);
            self.tell_role();
        }
    }

    /// Keeps the record if it is newer than the one known; returns whether it is.
    pub(super) fn note_record(&mut self, record: &GroupRecord, revision: Revision) -> bool {
        let newer = self.core.record.as_ref().is_none_or(|(_, known)| *known < revision);
        if newer {
            self.core.record = Some((record.clone(), revision));
        }
        newer
    }

    /// Whether this event is the beginning of another lineage, which a replica that halted for the metadata store's sake, or because
    /// the history before that one was none of its own, takes part in like any other.
    pub(super) fn is_another_beginning(&self, event: &Event) -> bool {
        let may_act = matches!(self.halted, Some(HaltCause::MetadataRegressed | HaltCause::LineageEnded));
        let known = self.core.lineage.max(self.ended_by);
        may_act && matches!(event, Event::RecordSeen { record, .. } if record.lineage > known)
    }

    /// Whether the leader of the history that has replaced this replica's speaks to it. Nothing is said in an epoch before it is on
    /// disk, and its lineage with it: that history has begun, and whoever comes after this leader has it from there. Before that the
    /// chosen one may be lost with nothing done, and what is here may be the best that is left.
    pub(super) fn is_told_to_give_up(&self, envelope: &Envelope) -> bool {
        let Some((record, _)) = &self.core.record else { return false };
        self.halted == Some(HaltCause::LineageEnded)
            && self.is_for_us(envelope)
            && speaks_as_leader(&envelope.message)
            && record.leader.map(Sender::from) == Some(envelope.from)
            && envelope.lineage >= record.lineage.max(self.ended_by)
    }

    /// The group goes on with another history. Whoever is in sync in it before having taken part in it was chosen: its log is that
    /// history. What anybody else holds is none of it, and cannot be told apart record by record: what is applied here, the history
    /// may never have had. It is given up once that history's leader speaks. Returns whether this replica takes part.
    ///
    /// A hint is enough. Lineages never fall, and as long as the chosen one has not begun nobody else can take its place.
    fn begin_lineage(&mut self, now: Tick, record: &GroupRecord) -> bool {
        let chosen = record.is_in_sync(self.core.me());
        let later = record.epoch > self.core.epoch;
        if chosen && !later {
            // Every lineage begins above all epochs that the chosen one knows. Whatever this is, its log is not to be given up.
            self.halt(HaltCause::Conflict);
            return false;
        }
        let nothing_to_lose = self.core.log.end == Lsn::ZERO && later;
        if !chosen && !nothing_to_lose {
            self.core.alarm(Alarm::LineageEnded { current: record.lineage });
            self.halt(HaltCause::LineageEnded);
            self.halted = Some(HaltCause::LineageEnded);
            self.ended_by = record.lineage;
            return false;
        }
        self.halted = None;
        self.core.lineage = record.lineage;
        // A read that was asked for before tells nothing about the new lineage.
        self.refresh = None;
        self.refresh_after = now;
        let me = self.core.config.identity.node;
        let leader = record.leader.map(Sender::from).filter(|leader| leader.node != me);
        self.adopt(now, record.epoch, leader);
        // Older leases were not counted from what this replica has acknowledged: they end one lease from now at the latest, since
        // everybody who could renew them is gone.
        self.core.last_ack = now;
        true
    }

    /// This run was elected.
    fn lead(&mut self, now: Tick, record: GroupRecord, revision: Revision) {
        self.enter(now, record.epoch);
        let leader = Leader::new(&self.core, now, record, revision);
        self.role = RoleState::Leader(Box::new(leader));
        self.tell_role();
    }
}
