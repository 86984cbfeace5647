//! Plans: made from what a cluster looks like, bound to that, and carried out by its controller.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use simplekv_proto::v1;
use simplekv_types::{GroupId, Slot, SlotMap, SlotRange};

use super::{look, moves};
use crate::args::{Carrying, Figure, MigrateSlot, Plan as Asked, Rebalance, RemoveGroup};
use crate::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::plan::{Handover, balance};
use crate::report::moves::{Ordered, Plan, Step};

pub(super) async fn migrate(node: &mut Connection, asked: &MigrateSlot, output: &mut Output) -> Result<(), Failure> {
    let (map, version) = slot_map(node).await?;
    let slots = asked.slots.0.iter().map(SlotRange::to_string).collect::<Vec<_>>().join(",");
    let steps = asked.slots.0.iter().flat_map(|range| steps_to(&map, *range, asked.to)).collect();
    let asked_for = format!("migrate-slot {slots} --to {}", asked.to);
    let plan = Plan { asked: asked_for, slot_map_version: version, remove_group: None, steps };
    // Wherever they are when it is their turn: what is asked for does not depend on it.
    carry_out(node, plan, false, &asked.how, output).await
}

/// What of a range is not the target's, by who owns it.
fn steps_to(map: &SlotMap, range: SlotRange, to: GroupId) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for slot in range.iter() {
        let Some(from) = map.owner(slot) else {
            // The cluster itself says that nobody can give it away.
            steps.push(Step::of(slot.into(), None, to));
            continue;
        };
        if from == to {
            continue;
        }
        let (number, from) = (slot.number(), Some(from.to_string()));
        match steps.last_mut() {
            Some(last) if last.from == from && last.last + 1 == number => last.last = number,
            _ => steps.push(Step { first: number, last: number, from, to: to.to_string() }),
        }
    }
    steps
}

pub(super) async fn rebalance(node: &mut Connection, asked: &Rebalance, output: &mut Output) -> Result<(), Failure> {
    let (map, version) = slot_map(node).await?;
    let groups = groups(node).await?;
    let weights = weights(node, asked.by, asked.over).await?;
    let handovers = balance(&map, &groups, |slot| weights.of(slot));
    let name = match asked.by {
        Figure::Slots => "slots",
        Figure::Bytes => "bytes",
        Figure::Ops => "ops",
    };
    let plan = Plan {
        asked: format!("rebalance --by {name}"),
        slot_map_version: version,
        remove_group: None,
        steps: handovers.iter().map(step).collect(),
    };
    carry_out(node, plan, true, &asked.how, output).await
}

pub(super) async fn remove_group(
    node: &mut Connection,
    asked: &RemoveGroup,
    output: &mut Output,
) -> Result<(), Failure> {
    let (map, version) = slot_map(node).await?;
    let keepers: Vec<GroupId> = groups(node).await?.into_iter().filter(|group| *group != asked.group).collect();
    if keepers.is_empty() {
        return Err(Failure::precondition(
            format!("{} is the only group: nobody could take its slots", asked.group),
            "add another group first: `simplekv-admin add-group`",
        ));
    }
    let leaving = balance(&map, &keepers, |_| 1).into_iter().filter(|handover| handover.from == asked.group);
    let plan = Plan {
        asked: format!("remove-group {}", asked.group),
        slot_map_version: version,
        remove_group: Some(asked.group.to_string()),
        steps: leaving.map(|handover| step(&handover)).collect(),
    };
    carry_out(node, plan, true, &asked.how, output).await
}

fn step(handover: &Handover) -> Step {
    Step::of(handover.slots, Some(handover.from), handover.to)
}

pub(super) async fn run(node: &mut Connection, asked: &Asked, output: &mut Output) -> Result<(), Failure> {
    match asked {
        Asked::Show { file } => output.data(&read(file)?),
        Asked::Verify { file } => {
            let plan = read(file)?;
            let (_, version) = slot_map(node).await?;
            if version != plan.slot_map_version {
                return Err(stale(&plan, version));
            }
            output.data(&plan)
        }
        Asked::Apply { file, detach } => order(node, read(file)?, true, *detach, output).await,
    }
}

fn stale(plan: &Plan, version: u64) -> Failure {
    Failure::precondition(
        format!(
            "the plan was made for version {} of the slot map, which is at {version} by now",
            plan.slot_map_version
        ),
        "plan again",
    )
}

fn read(file: &Path) -> Result<Plan, Failure> {
    let unreadable = |reason: String| {
        let what = format!("{} is no plan: {reason}", file.display());
        Failure::new(Exit::Usage, what, "nothing was changed", "write one with `--dry-run --out FILE`")
    };
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))
}

async fn carry_out(
    node: &mut Connection,
    plan: Plan,
    bound: bool,
    how: &Carrying,
    output: &mut Output,
) -> Result<(), Failure> {
    if !how.dry_run {
        return order(node, plan, bound, how.detach, output).await;
    }
    if let Some(file) = &how.out {
        let text = serde_json::to_string_pretty(&plan).map_err(Failure::malformed)?;
        std::fs::write(file, text + "\n").map_err(|error| {
            let what = format!("the plan cannot be written to {}: {error}", file.display());
            Failure::new(Exit::Error, what, "nothing was changed", "name another file")
        })?;
    }
    output.data(&plan)
}

async fn order(
    node: &mut Connection,
    plan: Plan,
    bound: bool,
    detach: bool,
    output: &mut Output,
) -> Result<(), Failure> {
    if plan.steps.is_empty() && plan.remove_group.is_none() {
        return output.data(&plan);
    }
    let job = node.move_slots(plan.request(bound)?).await?.job;
    if detach { output.data(&Ordered { job }) } else { moves::follow(node, &job, output).await }
}

async fn slot_map(node: &mut Connection) -> Result<(SlotMap, u64), Failure> {
    let picture = look(node).await?;
    Ok((picture.slot_map().clone(), picture.slot_map_version()))
}

async fn groups(node: &mut Connection) -> Result<Vec<GroupId>, Failure> {
    Ok(look(node).await?.group_ids())
}

/// What slots come to.
struct Weights {
    of_each: Option<BTreeMap<u32, u64>>,
}

impl Weights {
    fn of(&self, slot: Slot) -> u64 {
        match &self.of_each {
            Some(weights) => weights.get(&slot.number().into()).copied().unwrap_or(0),
            None => 1,
        }
    }
}

async fn weights(node: &mut Connection, by: Figure, over: Duration) -> Result<Weights, Failure> {
    let ask = v1::LoadRequest { own: false, keys: 0, slots: true };
    let of_each = match by {
        Figure::Slots => None,
        Figure::Bytes => Some(node.load(ask).await?.slots.into_iter().map(|slot| (slot.slot, slot.bytes)).collect()),
        Figure::Ops => {
            let count = |reply: v1::LoadReply| {
                let slots = reply.slots.into_iter();
                slots.map(|slot| (slot.slot, slot.reads + slot.writes)).collect::<BTreeMap<u32, u64>>()
            };
            let before = count(node.load(ask).await?);
            // A period, not a pause: so long is counted.
            let _ = tokio::time::timeout(over, std::future::pending::<()>()).await;
            let mut now = count(node.load(ask).await?);
            now.iter_mut()
                .for_each(|(slot, count)| *count = count.saturating_sub(before.get(slot).copied().unwrap_or(0)));
            Some(now)
        }
    };
    Ok(Weights { of_each })
}
