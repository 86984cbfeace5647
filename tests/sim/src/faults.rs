//! What goes wrong.

mod ambush;
mod disks;

use simplekv_cluster::Event;
use simplekv_types::{Epoch, GroupId, Leadership, NodeId, RecoveryPolicy, Registration};

use crate::clock::{Nanos, ms};
use crate::network::{Link, Place};
use crate::rng::Rng;
use crate::world::{Happening, World};

pub(crate) use ambush::ambush;
use ambush::{estrange, kill_beside_hang};
pub(crate) use disks::power_loss;
use disks::{bit_flip, blackout, disaster, disk_error, disk_full, disk_hang, old_backup, wipe};

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
    /// A follower and its leader lose each other for a while, and clients hear nothing of what comes of it.
    Estrange,
    CutClient,
    DeafClient,
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
    /// Every in-sync replica of a group loses something, if that is to be had.
    Disaster,
    RestoreStore,
    /// An operator looks after a group that nobody can go on with.
    Recover,
}

pub(crate) const FAULTS: [Fault; 33] = [
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
    Fault::Estrange,
    Fault::CutClient,
    Fault::DeafClient,
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
    Fault::Disaster,
    Fault::RestoreStore,
    Fault::Recover,
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
            Self::Estrange => estrange(world, group, rng),
            Self::KillBesideHang => kill_beside_hang(world, node, time, rng),
            Self::Isolate => isolate(world, node, &all, rng),
            Self::Split => split(world, &all, rng),
            Self::CutClient => cut_client(world, node, rng),
            Self::DeafClient => deafen_client(world, time, rng),
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
            Self::Disaster => disaster(world, group, rng),
            Self::RestoreStore => world.restore_store(),
            // Whom the controller helps an operator leaves alone, for a while.
            Self::Recover if world.settings.disasters == Some(RecoveryPolicy::Longest) => (),
            Self::Recover => world.recover(group),
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

/// A client goes on with what it knows of the cluster.
fn deafen_client(world: &mut World, time: Nanos, rng: &mut Rng) {
    let until = world.now + time;
    if !world.clients.is_empty() {
        let client = usize::try_from(rng.below(world.clients.len() as u64)).expect("few clients");
        world.clients.get_mut(client).expect("there are that many").deaf_until = until;
        world.counts.clients_deaf += 1;
    }
}

fn hour_set(world: &mut World, node: NodeId, rng: &mut Rng) {
    let by = i64::try_from(rng.below(120_000)).expect("small") - 60_000;
    if let Some(machine) = world.machines.get_mut(&node) {
        machine.clocks.hour_ahead += by;
        world.counts.hour_set += 1;
    }
}

/// Elects a living in-sync replica for no reason at all: nothing may depend on the evidence for an election.
pub(crate) fn elect(world: &mut World, group: GroupId, candidate: Option<NodeId>, rng: &mut Rng) {
    let (record, expected) = world.store.group(group);
    if record.epoch == Epoch::ZERO || world.has_old_record(group) {
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
    let _ = world.change_by_force(&change);
}

fn transfer(world: &mut World, group: GroupId, to: Option<NodeId>) {
    let Some(leader) = world.leader(group) else { return };
    let Some(run) = world.machines.get(&leader).and_then(|machine| machine.run()) else { return };
    world.counts.transfers += 1;
    world.schedule(0, Happening::Tell { node: leader, run, group, event: Event::Transfer { to } });
}
