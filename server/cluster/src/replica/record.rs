//! What the group's record says, and how much that proves.
//!
//! Watches and lists tell of records that may be old. What they show was true once, so a higher epoch in them is real; but nobody
//! leads, or calls the store restored from a backup, on the strength of a hint.

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::peer::Sender;
use simplekv_types::{GroupRecord, Lsn, Revision, Tick};

use super::in_sync::Learned;
use super::leader::Leader;
use super::{HaltCause, Replica, RoleState};
use crate::effect::{Alarm, MetadataRequest};
use crate::event::{MetadataOutcome, RequestId};

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

    /// When to read the record although nobody shows one: the last that was seen is behind what was heard, nobody is heard any more,
    /// and the last read told nothing. A store that has gone back shows nothing new to those who knew its state.
    pub(super) fn look_again_at(&self) -> Option<Tick> {
        let RoleState::Follower(follower) = &self.role else { return None };
        let (record, _) = self.core.record.as_ref()?;
        let is_behind = (record.lineage, record.epoch) < (self.core.lineage, self.core.epoch);
        let timing = &self.core.config.timing;
        let silent_from = follower.heard_at() + timing.suspect_after;
        (is_behind && self.refresh.is_none()).then(|| silent_from.max(self.refresh_after + timing.session_ttl))
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
        let is_news = self.note_record(&record, revision);
        if record.lineage < self.core.lineage || record.lineage == self.core.lineage && record.epoch < self.core.epoch {
            // A hint may be old. If it is not, the store has lost what this replica has heard of, maybe before it has read of it: then
            // nothing newer than this will ever be seen. The read will tell.
            return self.read_record(now);
        }
        if !(is_news || known && certainty == Certainty::Certain) {
            return;
        }
        if record.lineage > self.core.lineage && !self.begin_lineage(now, &record) {
            return;
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
