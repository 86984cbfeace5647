//! Every move of a group, driven by its leader.
//!
//! What a move needs next follows from three things: the group's log, what was read of the metadata store, and what the other group has
//! said. So a leader that takes over has nothing to be told, and goes on where the log and the store are. Whatever fails is looked at
//! again and tried again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::{Epoch, GroupId, Lineage, MigrationId, MigrationRecord, Revision, Side, Tick};

use super::change::{MoveOutcome, MoveRequest};
use super::effect::{MoveAlarm, MoveEffect, MoveEvent};
use super::knowledge::Knowledge;
use super::reconcile::{compare, reconcile};
use super::source::Source;
use super::step::{Step, StepKind};
use super::stream::{MoveBody, MoveMessage};
use super::target::{Pulls, Targets};
use super::timing::MoveTiming;
use super::turn::{Requests, Surroundings, Turn};
use crate::event::RequestId;

/// The moves that a replica takes part in, as a value. They rest unless it leads.
#[derive(Debug)]
pub struct Moves {
    group: GroupId,
    timing: MoveTiming,
    leading: Option<Leading>,
    requests: Requests,
    now: Tick,
    effects: VecDeque<MoveEffect>,
}

/// What one leadership knows.
#[derive(Debug)]
struct Leading {
    lineage: Lineage,
    knowledge: Knowledge,
    sources: BTreeMap<MigrationId, Source>,
    targets: Targets,
    pulls: Pulls,
    relist_at: Tick,
    /// The metadata store went back: nothing goes on.
    regressed: bool,
    /// All moves were read since log and slot map were last compared.
    compare: bool,
    told: BTreeSet<MoveAlarm>,
}

impl Moves {
    /// The moves of a group's replica, which does not lead yet.
    #[must_use]
    pub fn new(group: GroupId, timing: MoveTiming) -> Self {
        let (requests, effects) = (Requests::default(), VecDeque::new());
        Self { group, timing, leading: None, requests, now: Tick::ZERO, effects }
    }

    /// Something happened. Afterwards all effects must be taken and executed.
    pub fn step(&mut self, now: Tick, event: MoveEvent, around: &Surroundings<'_>) {
        let now = now.max(self.now);
        self.now = now;
        match event {
            MoveEvent::Activated { epoch, lineage } => {
                self.requests.forget();
                self.leading = Some(Leading::new(now, epoch, lineage));
            }
            MoveEvent::Deposed => {
                self.requests.forget();
                self.leading = None;
            }
            MoveEvent::Tick => (),
            MoveEvent::Seen(records) => self.on_seen(records),
            MoveEvent::Answered { id, outcome } => self.on_answered(now, id, outcome, around),
            MoveEvent::Received(message) => self.on_received(now, message, around),
            MoveEvent::Read { migration, pull, found } => self.with(now, around, |leading, turn| {
                if let Some(source) = leading.sources.get_mut(&migration) {
                    source.on_read(turn, migration, pull, found);
                }
            }),
        }
        self.review(now, around);
    }

    /// What to do next; `None` when the step is done.
    pub fn next_effect(&mut self) -> Option<MoveEffect> {
        self.effects.pop_front()
    }

    /// A step of the log was appended, applied or truncated: what was tried may follow now.
    pub fn log_changed(&mut self) {
        self.requests.log_changed();
    }

    /// When [`MoveEvent::Tick`] is next needed; `None` while nothing is being waited for.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        let leading = self.leading.as_ref()?;
        let interval = self.timing.look_interval;
        let sources = leading.sources.values().filter_map(|source| source.deadline(interval, self.timing.abort_after));
        let targets = leading.targets.values().filter_map(|target| target.deadline(&self.timing));
        let due = sources.chain(targets).chain(self.requests.deadline()).chain([leading.relist_at]).min()?;
        // What is due and was not done waits for something; it is looked at again soon.
        Some(due.max(self.now + self.timing.append_retry))
    }

    /// Whether anything is on the move: then it matters how far the log has come.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.leading.as_ref().is_some_and(|leading| !leading.sources.is_empty() || !leading.targets.is_empty())
    }

    /// Whether this leader has found that the metadata store went back. It then lets all moves rest.
    #[must_use]
    pub fn is_regressed(&self) -> bool {
        self.leading.as_ref().is_some_and(|leading| leading.regressed)
    }

    fn with(&mut self, now: Tick, around: &Surroundings<'_>, act: impl FnOnce(&mut Leading, &mut Turn<'_>)) {
        let Some(leading) = &mut self.leading else { return };
        if leading.regressed {
            return;
        }
        // Only read while a turn lasts: put back afterwards.
        let knowledge = std::mem::take(&mut leading.knowledge);
        let mut turn = Turn {
            now,
            group: self.group,
            lineage: leading.lineage,
            timing: &self.timing,
            around: *around,
            knowledge: &knowledge,
            requests: &mut self.requests,
            effects: &mut self.effects,
        };
        act(leading, &mut turn);
        leading.knowledge = knowledge;
    }

    fn on_seen(&mut self, records: Vec<(MigrationId, MigrationRecord, Revision)>) {
        let Some(leading) = &mut self.leading else { return };
        let group = self.group;
        let news = |(migration, record, revision): &(MigrationId, MigrationRecord, Revision)| {
            record.side(group).is_some() && leading.knowledge.is_news(*migration, *revision)
        };
        for (migration, ..) in records.iter().filter(|seen| news(seen)) {
            self.requests.doubt(*migration, self.now);
        }
        if records.iter().any(news) {
            leading.relist_at = leading.relist_at.min(self.now);
        }
    }

    fn on_answered(&mut self, now: Tick, id: RequestId, outcome: MoveOutcome, around: &Surroundings<'_>) {
        let Some(asked) = self.requests.answered(id) else { return };
        let Some(leading) = &mut self.leading else { return };
        let migration = asked.migration();
        match (outcome, asked.request) {
            (MoveOutcome::Read(records), _) => {
                let (known, found) = (asked.floor, records.version);
                if found < known && !is_broken(Rule::M27) {
                    leading.regressed = true;
                    self.effects.push_back(MoveEffect::Alarm(MoveAlarm::MetadataRegressed { known, found }));
                    return;
                }
                match migration {
                    Some(migration) => self.requests.resolved(migration),
                    None => {
                        leading.relist_at = now + self.timing.relist_interval;
                        leading.compare = true;
                    }
                }
                leading.knowledge.learn(asked.at, now, *records);
                let resolved: Vec<MigrationId> = leading.knowledge.records().migrations.keys().copied().collect();
                if migration.is_none() {
                    resolved.into_iter().for_each(|migration| self.requests.resolved(migration));
                }
            }
            (MoveOutcome::Succeeded { revision }, MoveRequest::Change(change)) => {
                leading.knowledge.learn_change(asked.at, *change, revision);
            }
            (MoveOutcome::Lost, _) => migration.into_iter().for_each(|migration| self.requests.doubt(migration, now)),
            (MoveOutcome::Succeeded { .. } | MoveOutcome::Failed | MoveOutcome::Unknown, _) => {
                let retry_at = now + self.timing.look_interval;
                match migration {
                    Some(migration) => self.requests.doubt(migration, retry_at),
                    None => leading.relist_at = retry_at,
                }
            }
        }
        let slots = around.slots;
        let is_needed = |migration: MigrationId| {
            slots.appended().imports().contains_key(&migration)
                || slots.appended().exports().contains_key(&migration)
                || slots.applied().imports().contains_key(&migration)
                || slots.applied().exports().contains_key(&migration)
        };
        leading.knowledge.forget(is_needed);
        leading.sources.retain(|migration, _| leading.knowledge.look(*migration).is_some());
        leading.targets.retain(|migration, _| leading.knowledge.look(*migration).is_some());
    }

    fn on_received(&mut self, now: Tick, message: MoveMessage, around: &Surroundings<'_>) {
        let MoveMessage { migration, pull, from, body } = message;
        self.with(now, around, |leading, turn| {
            let Some(record) = turn.knowledge.record(migration) else {
                // The other side knows of a move that this one has not looked at yet.
                if matches!(body, MoveBody::Pull(_)) && turn.knowledge.look(migration).is_none() {
                    turn.read(migration);
                }
                return;
            };
            let own = match body {
                MoveBody::Pull(_) | MoveBody::Progress(_) => Side::Source,
                MoveBody::Frame(_) | MoveBody::Restart { .. } => Side::Target,
            };
            let other = if own == Side::Source { Side::Target } else { Side::Source };
            if record.group(own) != turn.group || record.group(other) != from {
                return;
            }
            let source = leading.sources.entry(migration);
            match body {
                MoveBody::Pull(asked) => source.or_default().on_pull(pull, asked),
                MoveBody::Progress(progress) => source.or_default().on_progress(pull, progress),
                MoveBody::Frame(frame) => {
                    leading.targets.entry(migration).or_default().on_frame(turn, migration, pull, frame);
                }
                MoveBody::Restart { lineage } => {
                    leading.targets.entry(migration).or_default().on_restart(pull, lineage);
                }
            }
        });
    }

    /// Does what has become due, whatever made it so.
    fn review(&mut self, now: Tick, around: &Surroundings<'_>) {
        if self.effects.iter().any(|effect| matches!(effect, MoveEffect::Append(_) | MoveEffect::Stage { .. })) {
            // What follows from it is seen when it is in the log.
            return;
        }
        self.with(now, around, |leading, turn| {
            if now >= leading.relist_at && !turn.requests.is_reading_all() {
                turn.ask(MoveRequest::ReadAll);
            }
            if !turn.knowledge.is_complete() {
                return;
            }
            if around.slots.applied().lineage() < leading.lineage && !is_broken(Rule::M31) {
                return leading.begin_history(turn);
            }
            leading.compare(turn);
            let records = turn.knowledge.records().migrations.iter();
            let concerned: Vec<(MigrationId, Side, &MigrationRecord)> = records
                .filter_map(|(migration, (record, _))| Some((*migration, record.side(turn.group)?, record)))
                .collect();
            for (migration, side, record) in concerned {
                match side {
                    Side::Source => leading.sources.entry(migration).or_default().review(turn, migration, record),
                    Side::Target => {
                        let Leading { targets, pulls, .. } = leading;
                        targets.entry(migration).or_default().review(turn, pulls, migration, record);
                    }
                }
            }
        });
    }
}

impl Leading {
    fn new(now: Tick, epoch: Epoch, lineage: Lineage) -> Self {
        Self {
            lineage,
            knowledge: Knowledge::default(),
            sources: BTreeMap::new(),
            targets: BTreeMap::new(),
            pulls: Pulls { epoch, begun: 0 },
            relist_at: now,
            regressed: false,
            compare: false,
            told: BTreeSet::new(),
        }
    }

    /// The first leader of a history says what is left of its slots.
    fn begin_history(&self, turn: &mut Turn<'_>) {
        if !turn.around.slots.is_pending() {
            let steps = reconcile(turn.group, self.lineage, turn.around.slots.applied(), turn.knowledge.records());
            // One after the other: steps of one move may follow from each other.
            steps.into_iter().take(1).for_each(|step| turn.append(step));
        }
    }

    /// Tells what no move explains, and mends what only a lost record is missing of.
    fn compare(&mut self, turn: &mut Turn<'_>) {
        let records = turn.knowledge.records();
        if !self.compare || turn.around.slots.is_pending() {
            return;
        }
        self.compare = false;
        let found = compare(turn.group, turn.around.slots.applied(), records);
        let version = records.version;
        for (migration, range) in found.complete {
            turn.append(Step { migration, slots: vec![range], kind: StepKind::Own { version } });
        }
        let orphans = turn.around.slots.applied();
        let orphans = orphans.imports().keys().chain(orphans.exports().keys());
        let mut alarms: Vec<MoveAlarm> =
            orphans.filter(|id| records.migration(**id).is_none()).map(|id| MoveAlarm::Unknown(*id)).collect();
        if !found.foreign.is_empty() {
            alarms.push(MoveAlarm::Foreign(found.foreign));
        }
        if !found.missing.is_empty() {
            alarms.push(MoveAlarm::Missing(found.missing));
        }
        for alarm in alarms {
            if self.told.insert(alarm.clone()) {
                turn.effects.push_back(MoveEffect::Alarm(alarm));
            }
        }
    }
}
