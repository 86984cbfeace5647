//! Faults of disks, and of the machines around them.

use simplekv_engine::fs::FaultKind;
use simplekv_types::{GroupId, NodeId};

use super::kill;
use crate::clock::Nanos;
use crate::machine::directory;
use crate::rng::Rng;
use crate::world::World;

/// Whether every group survives the loss of this disk: an intact in-sync copy must remain.
fn may_be_lost(world: &World, node: NodeId) -> bool {
    if world.groups().into_iter().any(|group| world.has_old_record(group)) {
        // Who holds what, the record does not say.
        return false;
    }
    world.settings.disasters.is_some()
        || world.groups().into_iter().all(|group| world.intact_members(group).any(|other| other != node))
}

pub(crate) fn power_loss(world: &mut World, node: NodeId) {
    if world.flushes_all() || may_be_lost(world, node) {
        world.counts.power_losses += 1;
        world.lose_power(node);
    }
}

pub(super) fn blackout(world: &mut World) {
    let all: Vec<NodeId> = world.machines.keys().copied().collect();
    for node in all {
        if world.flushes_all() {
            world.counts.power_losses += 1;
            world.lose_power(node);
        } else {
            kill(world, node);
        }
    }
    world.restart_all();
}

pub(super) fn wipe(world: &mut World, node: NodeId) {
    if may_be_lost(world, node) {
        world.counts.wipes += 1;
        world.wipe(node);
    }
}

pub(super) fn disaster(world: &mut World, group: GroupId, rng: &mut Rng) {
    if world.settings.disasters.is_none() {
        return;
    }
    world.counts.disasters += 1;
    let wiped = rng.below(4);
    for member in world.store.group(group).0.in_sync {
        match rng.below(3) {
            0 if wiped == 0 => wipe(world, member.node),
            _ if world.flushes_all() => disk_error(world, member.node, rng),
            _ => power_loss(world, member.node),
        }
    }
}

pub(super) fn old_backup(world: &mut World, node: NodeId) {
    let copied: Vec<NodeId> =
        world.machines.values().filter(|machine| machine.backup.is_some()).map(|machine| machine.id).collect();
    for node in copied {
        if may_be_lost(world, node) && world.put_back(node) {
            world.counts.backups_put_back += 1;
            return;
        }
    }
    if world.machines.get(&node).is_some_and(|machine| machine.backup.is_none()) {
        world.back_up(node);
    }
}

pub(super) fn disk_hang(world: &mut World, node: NodeId, time: Nanos) {
    let until = world.now + time;
    if let Some(machine) = world.machines.get_mut(&node) {
        machine.disk_hangs_until = machine.disk_hangs_until.max(until);
        world.counts.disk_hangs += 1;
    }
}

/// The next write or sync fails.
pub(super) fn disk_error(world: &mut World, node: NodeId, rng: &mut Rng) {
    if !may_be_lost(world, node) || world.machines.get(&node).is_none_or(|machine| machine.process.is_none()) {
        return;
    }
    let kind = *rng.pick(&[FaultKind::Write, FaultKind::Sync]).expect("two");
    let skip = rng.below(3);
    if let Some(machine) = world.machines.get_mut(&node) {
        machine.fs.fail(kind, skip, std::io::ErrorKind::Other);
        // From here on nobody may rely on what this disk holds.
        machine.lossy = true;
        world.counts.disk_errors += 1;
    }
}

pub(super) fn disk_full(world: &mut World, node: NodeId) {
    if let Some(machine) = world.machines.get_mut(&node) {
        machine.fs.set_capacity(Some(0));
        world.counts.disks_full += 1;
    }
}

/// A bit of a log turns over while nobody looks.
pub(super) fn bit_flip(world: &mut World, node: NodeId, group: GroupId, rng: &mut Rng) {
    if !may_be_lost(world, node) {
        return;
    }
    world.kill(node);
    let Some(machine) = world.machines.get_mut(&node) else { return };
    let dir = directory(group);
    let names: Vec<String> = simplekv_engine::fs::Fs::list(&machine.fs, &dir).unwrap_or_default();
    // Sealed segments: what was written last and never flushed may be lost like a torn tail.
    let mut logs: Vec<&String> = names.iter().filter(|name| name.ends_with(".log")).collect();
    logs.sort();
    logs.pop();
    let Some(name) = rng.pick(&logs) else { return };
    let path = dir.join(name);
    let length = machine.fs.content(&path).map_or(0, |content| content.len() as u64);
    let bit = u8::try_from(rng.below(8)).expect("a bit");
    let at = rng.below(length);
    if length > 0 && machine.fs.flip_bit(&path, at, bit) {
        machine.lossy = true;
        world.counts.bits_flipped += 1;
        let of = names.len();
        world.note(|| format!("{node}: bit {bit} of byte {at} of {} ({length} bytes, {of} files)", path.display()));
    }
}
