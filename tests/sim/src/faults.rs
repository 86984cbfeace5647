//! What goes wrong.

use simplekv_cluster::Event;
use simplekv_engine::fs::FaultKind;
use simplekv_types::{Epoch, GroupId, Leadership, NodeId};

use crate::clock::{Nanos, ms};
use crate::machine::directory;
use crate::network::{Link, Place};
use crate::rng::Rng;
use crate::world::{Happening, World};

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

pub(crate) const FAULTS: [Fault; 26] = [
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
            Self::CutOneWay | Self::HoldOneWay => self.break_link(world, node, other),
            Self::Isolate => isolate(world, node, &all),
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
            Self::Elect => elect(world, group, rng),
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
        let link = if self == Self::CutOneWay { Link::Cut } else { Link::Held };
        let counted = match link {
            Link::Cut => &mut world.counts.links_cut_one_way,
            _ => &mut world.counts.links_held,
        };
        *counted += 1;
        world.network.set(Place::Node(from), Place::Node(to), link);
    }
}

fn isolate(world: &mut World, node: NodeId, all: &[NodeId]) {
    world.counts.nodes_isolated += 1;
    world.count_if_leader(node);
    cut_off(world, &[node], all);
}

fn split(world: &mut World, all: &[NodeId], rng: &mut Rng) {
    let side: Vec<NodeId> = all.iter().copied().filter(|_| rng.chance(500)).collect();
    world.counts.splits += u64::from(!side.is_empty() && side.len() < all.len());
    cut_off(world, &side, all);
}

fn cut_store(world: &mut World, node: NodeId, rng: &mut Rng) {
    world.counts.store_cut_off += 1;
    let (node, store) = (Place::Node(node), Place::Store);
    let (from, to) = if rng.chance(500) { (node, store) } else { (store, node) };
    world.network.set(from, to, Link::Cut);
}

fn kill(world: &mut World, node: NodeId) {
    world.counts.kills += 1;
    world.kill(node);
}

/// Whether every group survives the loss of this disk: an intact in-sync copy must remain.
fn may_be_lost(world: &World, node: NodeId) -> bool {
    world.groups().into_iter().all(|group| world.intact_members(group).any(|other| other != node))
}

fn power_loss(world: &mut World, node: NodeId) {
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
    if may_be_lost(world, node) && world.put_back(node) {
        world.counts.backups_put_back += 1;
    } else if world.machines.get(&node).is_some_and(|machine| machine.backup.is_none()) {
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
fn elect(world: &mut World, group: GroupId, rng: &mut Rng) {
    let (record, expected) = world.store.group(group);
    if record.epoch == Epoch::ZERO {
        return;
    }
    let alive: Vec<(NodeId, simplekv_types::Registration)> = world
        .intact_members(group)
        .filter(|node| world.machines.get(node).is_some_and(|machine| machine.process.is_some()))
        .filter_map(|node| Some((node, world.store.node(node)?)))
        .filter(|(node, found)| world.machines.get(node).and_then(|machine| machine.run()) == Some(found.run()))
        .collect();
    let Some((node, found)) = rng.pick(&alive) else { return };
    let mut next = record.clone();
    next.epoch = record.epoch.next();
    next.leader = Some(Leadership { node: *node, storage: found.record.storage, run: found.run() });
    let fenced: Vec<_> = record.in_sync.iter().filter(|member| !record.fence.contains(member)).copied().collect();
    next.fence.extend(fenced);
    next.fence_ms = record.fence_ms.max(record.lease_ms);
    if rng.chance(300) {
        // Somebody has set another length: it holds from the next epoch on.
        next.lease_ms = *rng.pick(&[200, 500, 1000, 2500]).expect("some");
    }
    world.counts.elections_forced += 1;
    let change = simplekv_meta::GroupChange {
        group,
        expected,
        record: next,
        registrations: vec![(*node, found.revision)],
        silent: Vec::new(),
        office: None,
    };
    world.change_by_force(&change);
}

fn transfer(world: &mut World, group: GroupId, to: Option<NodeId>) {
    let Some(leader) = world.leader(group) else { return };
    let Some(run) = world.machines.get(&leader).and_then(|machine| machine.run()) else { return };
    world.counts.transfers += 1;
    world.schedule(0, Happening::Tell { node: leader, run, group, event: Event::Transfer { to } });
}
