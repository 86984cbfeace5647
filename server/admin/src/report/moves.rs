//! Plans, and the jobs that carry them out.

use serde::{Deserialize, Serialize};
use simplekv_proto::v1;
use simplekv_types::{GroupId, SlotRange};

use crate::failure::Failure;

/// What is to be moved, for one version of the slot map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The command it was made by.
    pub(crate) asked: String,
    pub(crate) slot_map_version: u64,
    pub(crate) remove_group: Option<String>,
    pub(crate) steps: Vec<Step>,
}

/// Slots that go from one group to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) first: u16,
    pub(crate) last: u16,
    /// Nobody owns them: then they cannot be moved.
    pub(crate) from: Option<String>,
    pub(crate) to: String,
}

impl Step {
    pub(crate) fn of(slots: SlotRange, from: Option<GroupId>, to: GroupId) -> Self {
        let (first, last) = (slots.first().number(), slots.last().number());
        Self { first, last, from: from.map(|group| group.to_string()), to: to.to_string() }
    }

    pub(crate) fn count(&self) -> usize {
        usize::from(self.last - self.first) + 1
    }
}

impl Plan {
    /// What the cluster is asked for. `bound`: only if the slot map is still what it was made for.
    pub(crate) fn request(&self, bound: bool) -> Result<v1::MoveSlotsRequest, Failure> {
        let mut parts: Vec<v1::MovePart> = Vec::new();
        for step in &self.steps {
            let (span, target) = (v1::SlotSpan { first: step.first.into(), last: step.last.into() }, group(&step.to)?);
            match parts.iter_mut().find(|part| part.target == target) {
                Some(part) => part.slots.push(span),
                None => parts.push(v1::MovePart { slots: vec![span], target }),
            }
        }
        Ok(v1::MoveSlotsRequest {
            asked: self.asked.clone(),
            parts,
            remove_group: self.remove_group.as_deref().map(group).transpose()?.unwrap_or(0),
            slot_map_version: if bound { self.slot_map_version } else { 0 },
        })
    }
}

fn group(text: &str) -> Result<u32, Failure> {
    let group: GroupId = text
        .parse()
        .map_err(|error| Failure::precondition(format!("the plan names {text} as a group: {error}"), "plan again"))?;
    Ok(group.0)
}

/// A job was ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Ordered {
    pub(crate) job: String,
}

/// A job was paused, resumed or cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Changed {
    pub(crate) job: String,
    pub(crate) state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Jobs {
    pub(crate) jobs: Vec<Job>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Job {
    pub(crate) name: String,
    /// The command it was ordered by.
    pub(crate) asked: String,
    /// `moving`, `paused`, `cancelled`, `done` or `not done`.
    pub(crate) state: &'static str,
    pub(crate) begun_ms: u64,
    pub(crate) ended_ms: Option<u64>,
    /// Whether everything is as it was asked for.
    pub(crate) done: bool,
    /// Why not, if it has ended.
    pub(crate) reason: String,
    pub(crate) slots_total: u32,
    pub(crate) slots_done: u32,
    pub(crate) moves: Vec<Move>,
}

/// Slots on their way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Move {
    pub(crate) migration: u64,
    pub(crate) slots: Vec<String>,
    pub(crate) source: String,
    pub(crate) target: String,
    /// `copy`, `done` or `aborted`.
    pub(crate) state: String,
    pub(crate) slots_total: u32,
    /// As the target's leader tells; nothing while it does not answer.
    pub(crate) slots_scanned: Option<u32>,
    pub(crate) records: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) bytes_per_second: Option<u64>,
}

impl Jobs {
    pub(crate) fn of(reply: v1::JobsReply) -> Self {
        Self { jobs: reply.jobs.into_iter().map(Job::of).collect() }
    }
}

impl Job {
    fn of(wire: v1::Job) -> Self {
        let ended_ms = (wire.ended_ms != 0).then_some(wire.ended_ms);
        let state = match (ended_ms, wire.done, wire.cancelled, wire.paused) {
            (Some(_), true, ..) => "done",
            (Some(_), false, ..) => "not done",
            (None, _, true, _) => "cancelled",
            (None, _, _, true) => "paused",
            _ => "moving",
        };
        Self {
            name: wire.name,
            asked: wire.asked,
            state,
            begun_ms: wire.begun_ms,
            ended_ms,
            done: wire.done,
            reason: wire.reason,
            slots_total: wire.slots_total,
            slots_done: wire.slots_done,
            moves: wire.moves.into_iter().map(Move::of).collect(),
        }
    }
}

impl Move {
    fn of(wire: v1::Move) -> Self {
        let span = |span: &v1::SlotSpan| {
            if span.first == span.last { span.first.to_string() } else { format!("{}-{}", span.first, span.last) }
        };
        let told = wire.progress;
        let rate = |told: v1::MoveProgressStatus| told.bytes.saturating_mul(1000).checked_div(told.elapsed_ms);
        Self {
            migration: wire.migration,
            slots: wire.slots.iter().map(span).collect(),
            source: GroupId(wire.source).to_string(),
            target: GroupId(wire.target).to_string(),
            state: wire.state,
            slots_total: wire.slots.iter().map(|span| span.last - span.first + 1).sum(),
            slots_scanned: told.map(|told| told.slots_scanned),
            records: told.map(|told| told.records),
            bytes: told.map(|told| told.bytes),
            bytes_per_second: told.and_then(rate),
        }
    }
}
