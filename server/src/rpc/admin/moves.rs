//! Orders to move slots, and what has become of them.

use simplekv_meta::{Cas, ClusterView, Records};
use simplekv_proto::v1;
use simplekv_types::{GroupId, JobPart, JobRecord, MigrationRecord, Slot, SlotMap, SlotMapVersion, SlotRange};
use tonic::Status;

use super::record_failure;
use crate::clock;
use crate::rpc::status;

/// Whoever asks at the same time as others tries so often.
const ATTEMPTS: usize = 8;

/// Takes up a job.
pub(super) async fn order(records: &Records, request: v1::MoveSlotsRequest) -> Result<String, Status> {
    let job = job(&request)?;
    for _ in 0..ATTEMPTS {
        let view = records.load().await.map_err(|failure| record_failure(&failure))?;
        check(&view, &job, SlotMapVersion(request.slot_map_version))?;
        let known = records.jobs().await.map_err(|failure| record_failure(&failure))?;
        for (name, other) in &known.jobs {
            if let Some(slots) = job.contradicts(&other.record) {
                return Err(status::refused(format!(
                    "job {name} ({}) moves slots {slots} elsewhere: wait for it, or cancel it with `simplekv-admin migrations cancel {name}`",
                    other.record.asked
                )));
            }
        }
        match records.create_job(&known, &job).await {
            Ok(Some(name)) => return Ok(name),
            Ok(None) => (),
            Err(failure) => return Err(record_failure(&failure)),
        }
    }
    Err(status::refused("too many jobs are being asked for at once; nothing was changed"))
}

fn job(request: &v1::MoveSlotsRequest) -> Result<JobRecord, Status> {
    let parts: Vec<JobPart> = request.parts.iter().map(part).collect::<Result<_, _>>()?;
    let mut all: Vec<SlotRange> = parts.iter().flat_map(|part| part.slots.iter().copied()).collect();
    all.sort_unstable();
    if let Some(pair) = all.array_windows::<2>().find(|[one, other]| one.overlaps(*other)) {
        return Err(status::invalid(format!("slots {} and {} overlap", pair[0], pair[1])));
    }
    let remove = (request.remove_group != 0).then_some(GroupId(request.remove_group));
    if all.is_empty() && remove.is_none() {
        return Err(status::invalid("which slots to move is missing"));
    }
    Ok(JobRecord {
        asked: request.asked.clone(),
        parts,
        remove,
        begun_ms: clock::wall_millis(),
        paused: false,
        cancelled: false,
        end: None,
    })
}

fn part(wire: &v1::MovePart) -> Result<JobPart, Status> {
    let mut slots: Vec<SlotRange> = wire.slots.iter().map(span).collect::<Result<_, _>>()?;
    slots.sort_unstable();
    Ok(JobPart { slots, target: GroupId(wire.target) })
}

fn span(wire: &v1::SlotSpan) -> Result<SlotRange, Status> {
    let slot = |number: u32| u16::try_from(number).ok().and_then(Slot::new);
    let range = slot(wire.first).zip(slot(wire.last)).and_then(|(first, last)| SlotRange::new(first, last));
    range.ok_or_else(|| status::invalid(format!("{}-{} is no range of slots: 0 to 16383", wire.first, wire.last)))
}

/// Refuses what could not be carried out.
fn check(view: &ClusterView, job: &JobRecord, planned: SlotMapVersion) -> Result<(), Status> {
    if view.cluster.is_none() {
        return Err(status::refused("there is no cluster yet: create it with `simplekv-admin init`"));
    }
    if planned.0 != 0 && planned != view.slot_map_version {
        return Err(status::refused(format!(
            "the plan was made for version {planned} of the slot map, which is at {} by now: plan again",
            view.slot_map_version
        )));
    }
    for part in &job.parts {
        if !view.groups.contains_key(&part.target) {
            return Err(status::not_found(format!("there is no group {}", part.target)));
        }
        if job.remove == Some(part.target) {
            return Err(status::invalid(format!("{} is to be removed and cannot be given slots", part.target)));
        }
        let mut slots = part.slots.iter().flat_map(|range| range.iter());
        if let Some(slot) = slots.find(|slot| view.slots.owner(*slot).is_none()) {
            return Err(status::refused(format!("slot {slot} belongs to no group, so nobody can give it away")));
        }
    }
    let Some(removed) = job.remove else { return Ok(()) };
    if !view.groups.contains_key(&removed) {
        return Err(status::not_found(format!("there is no group {removed}")));
    }
    let given = |slot: &Slot| job.parts.iter().any(|part| part.slots.iter().any(|range| range.contains(*slot)));
    match view.slots.ranges_of(removed).flat_map(|range| range.iter()).find(|slot| !given(slot)) {
        Some(slot) => Err(status::refused(format!("nobody is to take slot {slot} of {removed}: plan again"))),
        None => Ok(()),
    }
}

/// All jobs, with what is on its way. `progress`: what leaders tell of the moves that bring their groups slots.
pub(super) async fn list(records: &Records, progress: Vec<v1::MoveProgressStatus>) -> Result<v1::JobsReply, Status> {
    let view = records.all_migrations().await.map_err(|failure| record_failure(&failure))?;
    let jobs = records.jobs().await.map_err(|failure| record_failure(&failure))?;
    let (map, version) = view.slots.map(|slots| (slots.record, slots.modified.0)).unwrap_or_default();
    let moves: Vec<v1::Move> = view
        .migrations
        .iter()
        .map(|(migration, found)| {
            let told = progress.iter().find(|told| told.migration == migration.0).copied();
            on_its_way(migration.0, &found.record, told)
        })
        .collect();
    let jobs = jobs.jobs.iter().map(|(name, job)| wire(name, &job.record, &map, &moves)).collect();
    Ok(v1::JobsReply { jobs, slot_map_version: version })
}

fn on_its_way(migration: u64, record: &MigrationRecord, progress: Option<v1::MoveProgressStatus>) -> v1::Move {
    v1::Move {
        migration,
        slots: spans(&record.slots),
        source: record.source.0,
        target: record.target.0,
        state: record.state.to_string(),
        progress,
    }
}

fn spans(ranges: &[SlotRange]) -> Vec<v1::SlotSpan> {
    let span =
        |range: &SlotRange| v1::SlotSpan { first: range.first().number().into(), last: range.last().number().into() };
    ranges.iter().map(span).collect()
}

fn wire(name: &str, job: &JobRecord, map: &SlotMap, moves: &[v1::Move]) -> v1::Job {
    let slots = |part: &JobPart| part.slots.clone().into_iter().flat_map(|range| range.iter());
    let total: usize = job.parts.iter().map(|part| slots(part).count()).sum();
    let is_there = |part: &JobPart| slots(part).filter(|slot| map.owner(*slot) == Some(part.target)).count();
    // What has been moved on since was done all the same.
    let is_done = job.end.as_ref().is_some_and(|end| end.done);
    let done = if is_done { total } else { job.parts.iter().map(is_there).sum() };
    let is_of = |moving: &&v1::Move| {
        job.end.is_none()
            && job.parts.iter().any(|part| {
                part.target.0 == moving.target
                    && moving.slots.iter().any(|span| {
                        part.slots.iter().any(|range| {
                            u32::from(range.first().number()) <= span.last
                                && span.first <= u32::from(range.last().number())
                        })
                    })
            })
    };
    let parts = job.parts.iter().map(|part| v1::MovePart { slots: spans(&part.slots), target: part.target.0 });
    v1::Job {
        name: name.to_owned(),
        asked: job.asked.clone(),
        parts: parts.collect(),
        remove_group: job.remove.map_or(0, |group| group.0),
        begun_ms: job.begun_ms,
        paused: job.paused,
        cancelled: job.cancelled,
        ended_ms: job.end.as_ref().map_or(0, |end| end.at_ms),
        done: is_done,
        reason: job.end.as_ref().map(|end| end.reason.clone()).unwrap_or_default(),
        slots_total: u32::try_from(total).unwrap_or(u32::MAX),
        slots_done: u32::try_from(done).unwrap_or(u32::MAX),
        moves: moves.iter().filter(is_of).cloned().collect(),
    }
}

/// Pauses, resumes or cancels a job.
pub(super) async fn change(records: &Records, request: &v1::ChangeJobRequest) -> Result<(), Status> {
    let name = &request.job;
    for _ in 0..ATTEMPTS {
        let known = records.jobs().await.map_err(|failure| record_failure(&failure))?;
        let Some(found) = known.get(name) else {
            return Err(status::not_found(format!("there is no job {name}")));
        };
        let mut job = found.record.clone();
        if job.end.is_some() {
            return Err(status::refused(format!("job {name} has ended")));
        }
        match request.change() {
            v1::change_job_request::Change::Pause => job.paused = true,
            v1::change_job_request::Change::Resume if job.cancelled => {
                return Err(status::refused(format!("job {name} was cancelled")));
            }
            v1::change_job_request::Change::Resume => job.paused = false,
            v1::change_job_request::Change::Cancel => job.cancelled = true,
        }
        match records.change_job(name, found.modified, &job, None).await {
            Ok(Cas::Done { .. }) => return Ok(()),
            Ok(Cas::Lost(_)) => (),
            Err(failure) => return Err(record_failure(&failure)),
        }
    }
    Err(status::refused(format!("job {name} is being changed by others; it was left as it is")))
}
