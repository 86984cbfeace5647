//! What a move sees in one step, and how it says what it wants.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use simplekv_types::{GroupId, GroupTime, Lineage, Lsn, MigrationId, SlotMapVersion, Tick};

use super::change::{MoveChange, MoveRequest};
use super::effect::MoveEffect;
use super::knowledge::Knowledge;
use super::step::{Step, StepKind};
use super::stream::{MoveBody, MoveMessage, PullId, Staged};
use super::table::SlotTable;
use super::timing::MoveTiming;
use crate::event::RequestId;

/// The group's log and state as they are in a step, from whoever keeps them.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The group's slots.
    pub slots: &'a SlotTable,
    /// What the log holds of moves that bring slots.
    pub staged: &'a dyn Staged,
    /// First record that can still be read from the log as it was appended.
    pub log_start: Lsn,
    /// Everything below is committed and applied.
    pub high_watermark: Lsn,
    /// The group's time as of what is applied.
    pub time: GroupTime,
    /// The group's time as it would be written now. That of an idle group is not in its log.
    pub clock: GroupTime,
    /// Whether the group commits what it appends: enough replicas are in sync and none is lagging.
    pub healthy: bool,
}

/// One step of a leader's moves.
pub(crate) struct Turn<'a> {
    pub(crate) now: Tick,
    pub(crate) group: GroupId,
    pub(crate) lineage: Lineage,
    pub(crate) timing: &'a MoveTiming,
    pub(crate) around: Surroundings<'a>,
    pub(crate) knowledge: &'a Knowledge,
    pub(crate) requests: &'a mut Requests,
    pub(crate) effects: &'a mut VecDeque<MoveEffect>,
}

/// What the metadata store was asked and has not answered, and what was tried to append.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    next: u64,
    asked: BTreeMap<RequestId, Asked>,
    /// Moves of which a change may have been made, or lost to another one: they are read before the next.
    doubtful: BTreeSet<MigrationId>,
    /// The next request about a move not before.
    retry_at: BTreeMap<MigrationId, Tick>,
    /// The next step of a move not before: one that was tried may have been refused.
    append_at: BTreeMap<MigrationId, Tick>,
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: MoveRequest,
    pub(crate) at: Tick,
    /// The slot map was of this version at least.
    pub(crate) floor: SlotMapVersion,
}

impl Asked {
    /// The move asked about; `None` if it is about all.
    pub(crate) fn migration(&self) -> Option<MigrationId> {
        match &self.request {
            MoveRequest::Read(migration) => Some(*migration),
            MoveRequest::ReadAll => None,
            MoveRequest::Change(change) => Some(change.migration),
        }
    }
}

impl Requests {
    pub(crate) fn answered(&mut self, id: RequestId) -> Option<Asked> {
        self.asked.remove(&id)
    }

    pub(crate) fn doubt(&mut self, migration: MigrationId, retry_at: Tick) {
        self.doubtful.insert(migration);
        self.retry_at.insert(migration, retry_at);
    }

    pub(crate) fn resolved(&mut self, migration: MigrationId) {
        self.doubtful.remove(&migration);
        self.retry_at.remove(&migration);
    }

    pub(crate) fn is_reading_all(&self) -> bool {
        self.asked.values().any(|asked| asked.migration().is_none())
    }

    /// A log that changed admits another step at once.
    pub(crate) fn log_changed(&mut self) {
        self.append_at.clear();
    }

    /// Whatever is on its way was asked by an earlier leadership.
    pub(crate) fn forget(&mut self) {
        let next = self.next;
        *self = Self { next, ..Self::default() };
    }

    /// When something can be tried again that was tried before.
    pub(crate) fn deadline(&self) -> Option<Tick> {
        self.retry_at.values().chain(self.append_at.values()).copied().min()
    }

    fn is_free(&self, now: Tick, migration: MigrationId) -> bool {
        self.retry_at.get(&migration).is_none_or(|at| *at <= now)
            && !self.asked.values().any(|asked| asked.migration() == Some(migration))
    }
}

impl Turn<'_> {
    /// Reads a move, unless something is asked about it already.
    pub(crate) fn read(&mut self, migration: MigrationId) {
        if self.requests.is_free(self.now, migration) {
            self.ask(MoveRequest::Read(migration));
        }
    }

    /// Reads a move unless it was asked for since `since`.
    pub(crate) fn read_unless_since(&mut self, migration: MigrationId, since: Tick) -> bool {
        let known = self.knowledge.look(migration).is_some_and(|look| look.asked_at >= since);
        if !known {
            self.read(migration);
        }
        known
    }

    /// Changes a move's record, unless something is asked about it already or has to be read first.
    pub(crate) fn change(&mut self, change: Option<MoveChange>) {
        let Some(change) = change else { return };
        if self.requests.doubtful.contains(&change.migration) {
            self.read(change.migration);
        } else if self.requests.is_free(self.now, change.migration) {
            self.ask(MoveRequest::Change(Box::new(change)));
        }
    }

    pub(crate) fn ask(&mut self, request: MoveRequest) {
        self.requests.next += 1;
        let id = RequestId(self.requests.next);
        let floor = self.floor();
        self.requests.asked.insert(id, Asked { request: request.clone(), at: self.now, floor });
        self.effects.push_back(MoveEffect::Metadata { id, request });
    }

    /// The slot map has been of this version at least: this log was given slots by it, and every move replaced a version.
    pub(crate) fn floor(&self) -> SlotMapVersion {
        let slots = self.around.slots.applied();
        let begun = if slots.latest() == MigrationId::FOUNDING { 0 } else { slots.latest().0 + 1 };
        slots.version().max(self.knowledge.records().version).max(SlotMapVersion(begun))
    }

    /// Appends a step if it follows, at most once in a while: it may be refused.
    pub(crate) fn append(&mut self, step: Step) {
        let waits = self.requests.append_at.get(&step.migration).is_some_and(|at| *at > self.now);
        if !waits && self.around.slots.appended().check(&step).is_ok() {
            self.requests.append_at.insert(step.migration, self.now + self.timing.append_retry);
            self.effects.push_back(MoveEffect::Append(step));
        }
    }

    /// Appends a step of a move about all its slots.
    pub(crate) fn append_kind(&mut self, migration: MigrationId, kind: StepKind) {
        if let Some(record) = self.knowledge.record(migration) {
            self.append(Step { migration, slots: record.slots.clone(), kind });
        }
    }

    pub(crate) fn send(&mut self, to: GroupId, migration: MigrationId, pull: PullId, body: MoveBody) {
        let message = MoveMessage { migration, pull, from: self.group, body };
        self.effects.push_back(MoveEffect::Send { to, message });
    }
}
