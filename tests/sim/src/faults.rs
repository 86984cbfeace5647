//! What goes wrong.

mod ambush;

use simplekv_cluster::Event;
use simplekv_engine::fs::FaultKind;
use simplekv_types::{Epoch, GroupId, Leadership, NodeId, Registration};

use crate::clock::{Nanos, ms};
use crate::machine::directory;
use crate::network::{Link, Place};
use crate::rng::Rng;
use crate::world::{Happening, World};

pub(crate) use ambush::ambush;
use ambush::kill_beside_hang;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill,
    KillLeader,
    PowerLoss,
    /// All machines at once.
    Blackout,
    Wipe,
    /// A copy of the disk is made, or put back.
    OldBackup,
    Restart,
    CutOneWay,
    Isolate,
    Split,
    HoldOneWay,
    SlowOneWay,
    KillBesideHang,
    CutClient,
    CutStore,
    Mend,
    Pause,
    PauseLeader,
    DiskHang,
    StoreOutage,
    SessionLoss,
    HourSet,
    DiskError,
    DiskFull,
    BitFlip,
    Elect,
    Transfer,
    Stop,
}

pub(crate) const FAULTS: [Fault; 28] = [
    Fault::Kill,
    Fault::KillLeader,
    Fault::PowerLoss,
    Fault::Blackout,
    Fault::Wipe,
    Fault::OldBackup,
    Fault::Restart,
    Fault::CutOneWay,
    Fault::Isolate,
    Fault::Split,
    Fault::HoldOneWay,
    Fault::SlowOneWay,
    Fault::KillBesideHang,
    Fault::CutClient,
    Fault::CutStore,
    Fault::Mend,
    Fault::Pause,
    Fault::PauseLeader,
    Fault::DiskHang,
    Fault::StoreOutage,
    Fault::SessionLoss,
    Fault::HourSet,
    Fault::DiskError,
    Fault::DiskFull,
    Fault::BitFlip,
    Fault::Elect,
    Fault::Transfer,
    Fault::Stop,
];

impl Fault {
    pub(crate) fn strike(self, world: &mut World, rng: &mut Rng) {
        let all: Vec<NodeId> = world.machines.keys().copied().collect();
        let groups = world.groups();
        let (Some(&node), Some(&other), Some(&group)) = (rng.pick(&all), rng.pick(&all), rng.pick(&groups)) else {
            return;
        };
        let time = rng.range(ms(50), ms(3000));
        world.note(|| format!("--- {self:?} {node} {other}"));
        match self {
            Self::Kill => kill(world, node),
            Self::KillLeader => drop(world.leader(group).map(|leader| kill(world, leader))),
            Self::PowerLoss => power_loss(world, node),
            Self::Blackout => blackout(world),
            Self::Wipe => wipe(world, node),
            Self::OldBackup => old_backup(world, node),
            Self::Restart => world.restart_all(),
            Self::CutOneWay | Self::HoldOneWay | Self::SlowOneWay => self.break_link(world, node, other),
            Self::KillBesideHang => kill_beside_hang(world, node, time, rng),
            Self::Isolate => isolate(world, node, &all, rng),
            Self::Split => split(world, &all, rng),
            Self::CutClient => cut_client(world, node, rng),
            Self::CutStore => cut_store(world, node, rng),
            Self::Mend => world.mend_links(),
            Self::Pause => {
                world.counts.pauses += 1;
                world.pause(node, time);
            }
            Self::PauseLeader => {
                if let Some(leader) = world.leader(group) {
                    world.counts.pauses += 1;
                    world.pause(leader, time);
                }
            }
            Self::DiskHang => disk_hang(world, node, time),
            Self::StoreOutage => {
                world.store_down = !world.store_down;
                world.counts.store_outages += u64::from(world.store_down);
            }
            Self::SessionLoss => {
                let sessions = world.open_sessions();
                rng.pick(&sessions).into_iter().for_each(|session| world.end_session(*session));
            }
            Self::HourSet => hour_set(world, node, rng),
            Self::DiskError => disk_error(world, node, rng),
            Self::DiskFull => disk_full(world, node),
            Self::BitFlip => bit_flip(world, node, group, rng),
            Self::Elect => elect(world, group, None, rng),
            Self::Transfer => transfer(world, group, (rng.chance(500) && node != other).then_some(other)),
            Self::Stop => {
                world.counts.stops += 1;
                world.stop(node);
                world.schedule(ms(1200), Happening::Start { node });
            }
        }
        // Whatever is down comes back sooner or later.
        if rng.chance(300) {
            world.restart_all();
        }
    }
}

impl Fault {
    /// What one node says does not reach another, or not yet.
    fn break_link(self, world: &mut World, from: NodeId, to: NodeId) {
        if from == to {
            return;
        }
        let counts = &mut world.counts;
        let (link, counted) = match self {
            Self::CutOneWay => (Link::Cut, &mut counts.links_cut_one_way),
            Self::HoldOneWay => (Link::Held, &mut counts.links_held),
            _ => (Link::Slow, &mut counts.links_slow),
        };
        *counted += 1;
        world.network.set(Place::Node(from), Place::Node(to), link);
    }
}

fn isolate(world: &mut World, node: NodeId, all: &[NodeId], rng: &mut Rng) {
    world.counts.nodes_isolated += 1;
    world.count_if_leader(node);
    cut_off(world, &[node], all);
    away_from_store(world, &[node], rng);
}

fn split(world: &mut World, all: &[NodeId], rng: &mut Rng) {
    let side: Vec<NodeId> = all.iter().copied().filter(|_| rng.chance(500)).collect();
    let is_split = !side.is_empty() && side.len() < all.len();
    world.counts.splits += u64::from(is_split);
    cut_off(world, &side, all);
    if is_split {
        away_from_store(world, &side, rng);
    }
}

/// The metadata store may be on the other side.
fn away_from_store(world: &mut World, side: &[NodeId], rng: &mut Rng) {
    if rng.chance(500) {
        world.counts.splits_from_store += 1;
        for &node in side {
            world.network.set(Place::Node(node), Place::Store, Link::Cut);
            world.network.set(Place::Store, Place::Node(node), Link::Cut);
        }
    }
}

fn cut_store(world: &mut World, node: NodeId, rng: &mut Rng) {
    world.counts.store_cut_off += 1;
    let (node, store) = (Place::Node(node), Place::Store);
    let (from, to) = if rng.chance(500) { (node, store) } else { (store, node) };
    world.network.set(from, to, Link::Cut);
}

pub(crate) fn kill(world: &mut World, node: NodeId) {
    world.counts.kills += 1;
    world.kill(node);
}

/// Whether every group survives the loss of this disk: an intact in-sync copy must remain.
fn may_be_lost(world: &World, node: NodeId) -> bool {
    world.groups().into_iter().all(|group| world.intact_members(group).any(|other| other != node))
}

pub(crate) fn power_loss(world: &mut World, node: NodeId) {
    if world.flushes_all() || may_be_lost(world, node) {
        world.counts.power_losses += 1;
        world.lose_power(node);
    }
}

fn blackout(world: &mut World) {
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

fn wipe(world: &mut World, node: NodeId) {
    if may_be_lost(world, node) {
        world.counts.wipes += 1;
        world.wipe(node);
    }
}

fn old_backup(world: &mut World, node: NodeId) {
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

/// Cuts all links between one side and everybody else.
pub(crate) fn cut_off(world: &mut World, side: &[NodeId], all: &[NodeId]) {
    for &a in side {
        for &b in all.iter().filter(|node| !side.contains(node)) {
            world.network.set(Place::Node(a), Place::Node(b), Link::Cut);
            world.network.set(Place::Node(b), Place::Node(a), Link::Cut);
        }
    }
}

fn cut_client(world: &mut World, node: NodeId, rng: &mut Rng) {
    let client = usize::try_from(rng.below(world.clients.len() as u64)).expect("few clients");
    world.counts.clients_cut_off += 1;
    let link = *rng.pick(&[Link::Cut, Link::Held]).expect("two");
    let (from, to) = (Place::Client(client), Place::Node(node));
    if rng.chance(500) {
        world.network.set(from, to, link);
    }
    if rng.chance(500) {
        world.network.set(to, from, link);
    }
}

fn disk_hang(world: &mut World, node: NodeId, time: Nanos) {
    let until = world.now + time;
    if let Some(machine) = world.machines.get_mut(&node) {
        machine.disk_hangs_until = machine.disk_hangs_until.max(until);
        world.counts.disk_hangs += 1;
    }
}

fn hour_set(world: &mut World, node: NodeId, rng: &mut Rng) {
    let by = i64::try_from(rng.below(120_000)).expect("small") - 60_000;
    if let Some(machine) = world.machines.get_mut(&node) {
        machine.clocks.hour_ahead += by;
        world.counts.hour_set += 1;
    }
}

/// The next write or sync fails.
fn disk_error(world: &mut World, node: NodeId, rng: &mut Rng) {
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

fn disk_full(world: &mut World, node: NodeId) {
    if let Some(machine) = world.machines.get_mut(&node) {
        machine.fs.set_capacity(Some(0));
        world.counts.disks_full += 1;
    }
}

/// A bit of a log turns over while nobody looks.
fn bit_flip(world: &mut World, node: NodeId, group: GroupId, rng: &mut Rng) {
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

/// Elects a living in-sync replica for no reason at all: nothing may depend on the evidence for an election.
pub(crate) fn elect(world: &mut World, group: GroupId, candidate: Option<NodeId>, rng: &mut Rng) {
    let (record, expected) = world.store.group(group);
    if record.epoch == Epoch::ZERO {
        return;
    }
    let registered: Vec<(NodeId, Registration)> =
        world.intact_members(group).filter_map(|node| Some((node, world.store.node(node)?))).collect();
    let runs = |(node, found): &&(NodeId, Registration)| {
        world.machines.get(node).and_then(|machine| machine.run()) == Some(found.run())
    };
    let alive: Vec<&(NodeId, Registration)> =
        registered.iter().filter(runs).filter(|(node, _)| candidate.is_none_or(|wanted| wanted == *node)).collect();
    let Some(&&(node, ref found)) = rng.pick(&alive) else { return };
    let mut next = record.clone();
    next.epoch = record.epoch.next();
    next.leader = Some(Leadership { node, storage: found.record.storage, run: found.run() });
    next.fence.extend(record.in_sync.iter().filter(|member| !record.fence.contains(member)));
    next.fence_ms = record.fence_ms.max(record.lease_ms);
    if rng.chance(300) {
        // Somebody has set another length: it holds from the next epoch on.
        next.lease_ms = *rng.pick(&[200, 500, 1000, 2500]).expect("some");
    }
    let spare = u32::try_from(record.replicas.len()).expect("few").saturating_sub(1);
    if rng.chance(50) && next.min_in_sync < spare {
        next.min_in_sync += 1;
        world.counts.floors_raised += 1;
        world.settings.min_in_sync = world.settings.min_in_sync.max(next.min_in_sync);
    }
    let needed = usize::try_from(next.min_in_sync).expect("few");
    let mut stay: Vec<&(NodeId, Registration)> = registered.iter().filter(|(stays, _)| *stays == node).collect();
    if rng.chance(400) {
        // As if the others had been silent.
        stay.extend(registered.iter().filter(|(other, _)| *other != node).take(needed.saturating_sub(1)));
        if stay.len() >= needed {
            next.in_sync.retain(|member| stay.iter().any(|(stays, _)| *stays == member.node));
        }
    }
    world.counts.elections_forced += 1;
    let registrations = registered.iter().map(|(node, found)| (*node, found.revision)).collect();
    let (silent, office) = (Vec::new(), None);
    let change = simplekv_meta::GroupChange { group, expected, record: next, registrations, silent, office };
    world.change_by_force(&change);
}

fn transfer(world: &mut World, group: GroupId, to: Option<NodeId>) {
    let Some(leader) = world.leader(group) else { return };
    let Some(run) = world.machines.get(&leader).and_then(|machine| machine.run()) else { return };
    world.counts.transfers += 1;
    world.schedule(0, Happening::Tell { node: leader, run, group, event: Event::Transfer { to } });
}
