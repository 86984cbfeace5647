//! The controller's jobs: moves of slots begun and forgotten, and jobs ended.

use std::collections::{BTreeMap, BTreeSet};

use simplekv_cluster::migration::{Mover, MoverEffect, MoverEvent, MoverTiming};
use simplekv_meta::{Cas, ClusterView, Office, RecordError, Records, Versioned};
use simplekv_types::{GroupId, JobEnd, JobRecord, MigrationId, MoveJob, Revision, Tick};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::{clock, moves};

/// Carries out jobs for one time in office.
pub(super) struct Jobs {
    records: Records,
    office: Office,
    mover: Mover,
    known: BTreeMap<String, Versioned<JobRecord>>,
    /// Moves as they were seen last, by the revisions of their records.
    seen: BTreeMap<MigrationId, Revision>,
    /// Of jobs whose parts have begun to end: which have, and whether their slots are where they shall be.
    ended: BTreeMap<String, BTreeMap<usize, bool>>,
    /// Jobs whose end is being written down.
    closing: BTreeSet<String>,
    happened: mpsc::UnboundedReceiver<Happened>,
    happenings: mpsc::UnboundedSender<Happened>,
}

/// Something that the jobs have waited for.
#[derive(Debug)]
pub(super) enum Happened {
    Mover(MoverEvent),
    /// A job's end was written down, or could not be: then it is tried again.
    Closed {
        name: String,
    },
}

impl Jobs {
    pub(super) fn new(records: Records, office: Office) -> Self {
        let (happenings, happened) = mpsc::unbounded_channel();
        let mut jobs = Self {
            records,
            office,
            mover: Mover::new(MoverTiming::default()),
            known: BTreeMap::new(),
            seen: BTreeMap::new(),
            ended: BTreeMap::new(),
            closing: BTreeSet::new(),
            happened,
            happenings,
        };
        jobs.step(MoverEvent::TookOffice);
        jobs
    }

    pub(super) fn next_deadline(&self) -> Option<Tick> {
        self.mover.next_deadline()
    }

    pub(super) async fn next(&mut self) -> Option<Happened> {
        self.happened.recv().await
    }

    pub(super) fn tick(&mut self) {
        self.step(MoverEvent::Tick);
        self.close_those_without_slots();
    }

    pub(super) fn on(&mut self, happened: Happened) {
        match happened {
            Happened::Mover(event) => self.step(event),
            Happened::Closed { name } => drop(self.closing.remove(&name)),
        }
    }

    /// Takes up the jobs that there are now.
    pub(super) fn see(&mut self, view: &ClusterView) {
        let moves = view.migrations.iter().map(|(migration, found)| (*migration, found.modified)).collect();
        if self.seen != moves {
            self.seen = moves;
            self.step(MoverEvent::Seen);
        }
        let mut seen = BTreeMap::new();
        for (name, raw) in &view.jobs {
            // One that a later version has written is nothing that this one could carry out.
            if let Some(record) = raw.understood::<JobRecord>() {
                let Versioned { created, modified, session, .. } = *raw;
                seen.insert(name.clone(), Versioned { record, created, modified, session });
            }
        }
        if seen == self.known {
            return;
        }
        self.ended.retain(|name, _| seen.get(name).is_some_and(|job| job.record.end.is_none()));
        self.known = seen;
        let orders: BTreeMap<String, MoveJob> =
            self.known.iter().flat_map(|(name, job)| orders(name, &job.record)).collect();
        self.step(MoverEvent::Jobs(orders));
        self.close_those_without_slots();
    }

    fn step(&mut self, event: MoverEvent) {
        self.mover.step(clock::now(), event);
        while let Some(effect) = self.mover.next_effect() {
            match effect {
                MoverEffect::Metadata { id, request } => {
                    let (records, office, happenings) = (self.records.clone(), self.office, self.happenings.clone());
                    tokio::spawn(async move {
                        let outcome = moves::ask(&records, request, Some(office)).await;
                        let _ = happenings.send(Happened::Mover(MoverEvent::Answered { id, outcome }));
                    });
                }
                MoverEffect::JobEnded { name, done } => self.part_ended(&name, done),
            }
        }
    }

    fn part_ended(&mut self, part: &str, done: bool) {
        let Some((name, number)) = part.rsplit_once('/') else { return };
        let (Some(job), Ok(number)) = (self.known.get(name), number.parse()) else { return };
        let ended = self.ended.entry(name.to_owned()).or_default();
        ended.insert(number, done);
        if ended.len() == job.record.parts.len() {
            let (name, job, all_done) = (name.to_owned(), job.clone(), ended.values().all(|done| *done));
            self.close(name, job, all_done);
        }
    }

    /// A group that owns nothing can be removed at once: nobody else will say that such a job has ended. If that cannot be written down, it
    /// is tried again with the next tick.
    fn close_those_without_slots(&mut self) {
        let is_empty = |job: &Versioned<JobRecord>| job.record.parts.is_empty() && job.record.end.is_none();
        let empty = self.known.iter().filter(|(_, job)| is_empty(job));
        let empty: Vec<_> = empty.map(|(name, job)| (name.clone(), job.clone())).collect();
        empty.into_iter().for_each(|(name, job)| {
            let is_wanted = !job.record.cancelled;
            self.close(name, job, is_wanted);
        });
    }

    fn close(&mut self, name: String, job: Versioned<JobRecord>, all_done: bool) {
        if !self.closing.insert(name.clone()) {
            return;
        }
        let (records, office, happenings) = (self.records.clone(), self.office, self.happenings.clone());
        tokio::spawn(async move {
            if let Err(failure) = close(&records, &office, &name, job, all_done).await {
                warn!(job = name, error = %failure, "a job's end cannot be written down, trying again");
            }
            let _ = happenings.send(Happened::Closed { name });
        });
    }
}

/// The orders of a job, by names that tell them apart.
fn orders(name: &str, job: &JobRecord) -> Vec<(String, MoveJob)> {
    job.moves().enumerate().map(|(number, order)| (format!("{name}/{number}"), order)).collect()
}

/// Does what is left to do of a job whose slots have come to rest, and writes its end down.
async fn close(
    records: &Records,
    office: &Office,
    name: &str,
    job: Versioned<JobRecord>,
    all_done: bool,
) -> Result<(), RecordError> {
    let Versioned { record, modified, .. } = job;
    let mut reason = match (all_done, record.cancelled) {
        (true, _) => None,
        (false, true) => Some("it was cancelled".to_owned()),
        (false, false) => Some("a group that slots were to be moved to does not exist".to_owned()),
    };
    if let (Some(group), None) = (record.remove, &reason) {
        reason = remove(records, group).await?;
    }
    let (done, at_ms) = (reason.is_none(), clock::wall_millis());
    info!(job = name, asked = record.asked, done, reason, "a job has ended");
    let end = Some(JobEnd { done, at_ms, reason: reason.unwrap_or_default() });
    let ended = JobRecord { end, ..record };
    records.change_job(name, modified, &ended, Some(office)).await.map(|_: Cas<_>| ())
}

/// Removes a group that owns nothing any more; otherwise tells why it stays.
async fn remove(records: &Records, group: GroupId) -> Result<Option<String>, RecordError> {
    let view = records.load().await?;
    let Some(found) = view.groups.get(&group) else { return Ok(None) };
    if view.slots.ranges_of(group).next().is_some() || !view.slots.migrating().is_empty() {
        return Ok(Some(format!("{group} was given slots meanwhile, or slots are on the move")));
    }
    let expected: Revision = found.modified;
    match records.remove_group(group, expected, view.slot_map_version).await? {
        Cas::Done { .. } => Ok(None),
        Cas::Lost(()) => Ok(Some(format!("{group} changed while it was being removed; remove it again"))),
    }
}
