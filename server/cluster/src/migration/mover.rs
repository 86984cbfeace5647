//! The controller's side of moves: it begins those that jobs ask for, and forgets those that are over.
//!
//! In between nobody needs it: source and target drive their move themselves. Everything it decides by is in the metadata store, so
//! another controller goes on where this one ended, and two at once are told apart by what their changes compare.

use std::collections::{BTreeMap, VecDeque};

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::{GroupId, MigrationState, MoveJob, SlotMapVersion, SlotRange, Tick};

use super::change::{MoveChange, MoveOutcome, MoveRecords, MoveRequest};
use super::timing::MoverTiming;
use crate::event::RequestId;

/// The most pauses between attempts are as long as this many of the first.
const PAUSE_MAX: u32 = 64;

/// Carries out jobs, as a value. Acts only in the controller's office.
#[derive(Debug)]
pub struct Mover {
    timing: MoverTiming,
    in_office: bool,
    jobs: BTreeMap<String, MoveJob>,
    attempts: BTreeMap<String, Attempts>,
    asked: Option<RequestId>,
    next: u64,
    look_at: Tick,
    now: Tick,
    effects: VecDeque<MoverEffect>,
}

/// Moves of a job that came to nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Attempts {
    aborted: u32,
    /// The latest of them.
    latest: u64,
    retry_at: Tick,
}

/// What happens to a mover.
#[derive(Clone, Debug)]
pub enum MoverEvent {
    /// This node now holds the controller's office. Every change must compare it.
    TookOffice,
    /// This node does not hold the office any more.
    LostOffice,
    /// All jobs as they are now.
    Jobs(BTreeMap<String, MoveJob>),
    /// A [`MoverEffect::Metadata`] has come to its end. Exactly one per request, however late.
    Answered {
        /// The request.
        id: RequestId,
        /// What became of it.
        outcome: MoveOutcome,
    },
    /// Something about moves was seen: what is due next may be due now.
    Seen,
    /// Time has passed.
    Tick,
}

/// What a mover wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoverEffect {
    /// Ask the metadata store, comparing the office with each change, and step [`MoverEvent::Answered`] once.
    Metadata {
        /// To be repeated in the event.
        id: RequestId,
        /// What to do there.
        request: MoveRequest,
    },
    /// A job is done, or cancelled with nothing of it left, or cannot be done: its target does not exist. It can be removed. Told again
    /// until it is.
    JobEnded {
        /// The job.
        name: String,
        /// Whether every slot is where it shall be.
        done: bool,
    },
}

impl Mover {
    /// A mover that does not hold the office.
    #[must_use]
    pub fn new(timing: MoverTiming) -> Self {
        Self {
            timing,
            in_office: false,
            jobs: BTreeMap::new(),
            attempts: BTreeMap::new(),
            asked: None,
            next: 0,
            look_at: Tick::ZERO,
            now: Tick::ZERO,
            effects: VecDeque::new(),
        }
    }

    /// Something happened. Afterwards all effects must be taken.
    pub fn step(&mut self, now: Tick, event: MoverEvent) {
        let now = now.max(self.now);
        self.now = now;
        match event {
            MoverEvent::TookOffice => {
                self.in_office = true;
                self.look_at = now;
            }
            MoverEvent::LostOffice => {
                self.in_office = false;
                self.asked = None;
                self.attempts.clear();
            }
            MoverEvent::Jobs(jobs) => {
                self.attempts.retain(|name, _| jobs.contains_key(name));
                self.jobs = jobs;
                self.look_at = now;
            }
            MoverEvent::Answered { id, outcome } => {
                if self.asked.take_if(|asked| *asked == id).is_some() {
                    self.on_answered(now, outcome);
                }
            }
            MoverEvent::Seen => self.look_at = now,
            MoverEvent::Tick => (),
        }
        if self.in_office && self.asked.is_none() && now >= self.look_at {
            self.look_at = now + self.timing.interval;
            self.ask(MoveRequest::ReadAll);
        }
    }

    /// What to do next; `None` when the step is done.
    pub fn next_effect(&mut self) -> Option<MoverEffect> {
        self.effects.pop_front()
    }

    /// When [`MoverEvent::Tick`] is next needed; `None` while nothing is being waited for.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        (self.in_office && self.asked.is_none()).then_some(self.look_at)
    }

    fn ask(&mut self, request: MoveRequest) {
        self.next += 1;
        let id = RequestId(self.next);
        self.asked = Some(id);
        self.effects.push_back(MoverEffect::Metadata { id, request });
    }

    fn on_answered(&mut self, now: Tick, outcome: MoveOutcome) {
        match outcome {
            MoveOutcome::Read(records) => {
                // One after the other: each changes the slot map that the next one compares.
                if let Some(change) = self.review(now, &records) {
                    self.ask(MoveRequest::Change(Box::new(change)));
                }
            }
            // More may be due.
            MoveOutcome::Succeeded { .. } => self.look_at = now,
            MoveOutcome::Lost | MoveOutcome::Failed | MoveOutcome::Unknown => (),
        }
    }

    /// The next change that is due.
    fn review(&mut self, now: Tick, records: &MoveRecords) -> Option<MoveChange> {
        self.count_aborted(now, records);
        let ids = || records.migrations.keys().copied();
        let forgotten = ids().find_map(|migration| records.forget(migration));
        let hopeless = || {
            let moves = records.migrations.iter();
            moves
                .filter(|(_, (record, _))| !records.histories_stand(record) && !is_broken(Rule::M16))
                .map(|(id, _)| *id)
        };
        let cancelled = || {
            ids().filter(|id| {
                let jobs = self.jobs.values().filter(|job| job.cancelled);
                jobs.into_iter().any(|job| records.migration(*id).is_some_and(|(record, _)| is_of(job, record)))
            })
        };
        let aborted = || hopeless().chain(cancelled()).find_map(|migration| records.abort(migration));
        if let Some(change) = forgotten.or_else(aborted) {
            return Some(change);
        }
        let mut begun = None;
        for (name, job) in &self.jobs {
            match self.next_move(now, name, job, records) {
                Next::Begin(change) if begun.is_none() => begun = Some(change),
                Next::Ended { done } => {
                    self.effects.push_back(MoverEffect::JobEnded { name: name.clone(), done });
                }
                Next::Begin(_) | Next::Wait => (),
            }
        }
        begun.map(|change| *change)
    }

    fn next_move(&self, now: Tick, name: &str, job: &MoveJob, records: &MoveRecords) -> Next {
        let on_the_way = records.migrations.values().any(|(record, _)| is_of(job, record));
        let left = left_to_move(job, records);
        if left.is_empty() && !on_the_way && records.slots.belong_to(&job.slots, job.target) {
            return Next::Ended { done: true };
        }
        if (job.cancelled && !on_the_way) || !records.groups.contains_key(&job.target) {
            return Next::Ended { done: false };
        }
        let waits = self.attempts.get(name).is_some_and(|attempts| now < attempts.retry_at);
        if job.paused || job.cancelled || waits || records.migrations.len() >= self.timing.at_once.max(1) {
            return Next::Wait;
        }
        let has_room = |group: GroupId| {
            let moves = records.migrations.values().filter(|(record, _)| record.side(group).is_some());
            moves.count() < self.timing.per_group.max(1)
        };
        if !has_room(job.target) {
            return Next::Wait;
        }
        let first = left.into_iter().find(|(_, source)| has_room(*source));
        let change = first.and_then(|(range, source)| {
            let last =
                range.first().number().saturating_add(u16::try_from(self.timing.slots.max(1) - 1).unwrap_or(u16::MAX));
            let last = simplekv_types::Slot::new(last).map_or(range.last(), |last| last.min(range.last()));
            let mut change = records.prepare(&[SlotRange::new(range.first(), last)?], source, job.target)?;
            if is_broken(Rule::M26) {
                // As if the map it was planned with were whatever it is by now.
                change.slots = change.slots.map(|(_, slots)| (SlotMapVersion(u64::MAX), slots));
                change.expected = None;
            }
            Some(change)
        });
        change.map_or(Next::Wait, |change| Next::Begin(Box::new(change)))
    }

    fn count_aborted(&mut self, now: Tick, records: &MoveRecords) {
        for (migration, (record, _)) in &records.migrations {
            if record.state != MigrationState::Aborted {
                continue;
            }
            for (name, _) in self.jobs.iter().filter(|(_, job)| is_of(job, record)) {
                let attempts = self.attempts.entry(name.clone()).or_default();
                if migration.0 > attempts.latest {
                    let times = 1 << attempts.aborted.min(PAUSE_MAX.ilog2());
                    attempts.retry_at = now + self.timing.retry * times;
                    attempts.aborted += 1;
                    attempts.latest = migration.0;
                }
            }
        }
    }
}

/// What a job needs next.
enum Next {
    Begin(Box<MoveChange>),
    Wait,
    Ended { done: bool },
}

fn is_of(job: &MoveJob, record: &simplekv_types::MigrationRecord) -> bool {
    let overlaps = |range: &SlotRange| job.slots.iter().any(|other| other.overlaps(*range));
    record.target == job.target && record.slots.iter().any(overlaps)
}

/// The job's slots that belong to another group and rest there, in order, with their owner. Slots that nobody owns cannot be moved.
fn left_to_move(job: &MoveJob, records: &MoveRecords) -> Vec<(SlotRange, GroupId)> {
    let moving: Vec<SlotRange> = records.slots.migrating().iter().map(|(range, _)| *range).collect();
    let others = records.slots.ranges().iter().filter(|(_, group)| *group != job.target);
    let parts = others.flat_map(|(range, group)| {
        let inside = job
            .slots
            .iter()
            .filter_map(|wanted| SlotRange::new(range.first().max(wanted.first()), range.last().min(wanted.last())));
        let resting = inside.flat_map(|part| part.without(&moving)).collect::<Vec<_>>();
        resting.into_iter().map(|part| (part, *group))
    });
    parts.collect()
}
