//! Faults that come one after the other, or at the worst moment.

use simplekv_types::{GroupId, GroupRecord, NodeId};

use super::{Fault, disk_hang, isolate, kill};
use crate::clock::{Nanos, ms};
use crate::network::{Link, Place};
use crate::rng::Rng;
use crate::world::{Happening, World};

/// A process that writes what its disk does not take yet ends, another takes over what it left in memory, and then the power goes.
pub(super) fn kill_beside_hang(world: &mut World, node: NodeId, time: Nanos, rng: &mut Rng) {
    world.counts.kills_beside_a_hang += 1;
    disk_hang(world, node, time + ms(1000));
    let kill_at = rng.below(ms(400));
    let start_at = kill_at + rng.below(ms(100));
    world.schedule(kill_at, Happening::Kill { node });
    world.schedule(start_at, Happening::Start { node });
    world.schedule(start_at + rng.below(ms(1000)), Happening::PowerLoss { node });
}

/// A follower and its leader lose each other until the leader goes on without it, and find each other again soon after. Whoever asks
/// the follower meanwhile believes that it is in sync.
pub(super) fn estrange(world: &mut World, group: GroupId, rng: &mut Rng) {
    let Some(leader) = world.leader(group) else { return };
    let others: Vec<NodeId> = world.machines.keys().copied().filter(|node| *node != leader).collect();
    let Some(&follower) = rng.pick(&others) else { return };
    world.counts.followers_estranged += 1;
    world.network.set(Place::Node(leader), Place::Node(follower), Link::Cut);
    world.network.set(Place::Node(follower), Place::Node(leader), Link::Cut);
    let time = rng.range(ms(800), ms(3000));
    let until = world.now + time + rng.below(ms(500));
    for client in &mut world.clients {
        client.deaf_until = client.deaf_until.max(until);
    }
    world.schedule(time, Happening::Mend);
}

/// Right after a group's record has changed something happens to those it is about.
pub(crate) fn ambush(world: &mut World, group: GroupId, before: &GroupRecord, after: &GroupRecord, rng: &mut Rng) {
    let Some(leader) = after.leader.map(|leader| leader.node) else { return };
    let all: Vec<NodeId> = world.machines.keys().copied().collect();
    let changed = |from: &GroupRecord, to: &GroupRecord| -> Vec<NodeId> {
        let came = to.in_sync.iter().filter(|member| !from.in_sync.contains(member));
        came.map(|member| member.node).filter(|node| *node != leader).collect()
    };
    let (joined, left) = (changed(before, after), changed(after, before));
    let others: Vec<NodeId> = all.iter().copied().filter(|node| *node != leader).collect();
    let concerned = if rng.chance(700) { joined.first().or(left.first()) } else { None };
    let Some(other) = concerned.copied().or_else(|| rng.pick(&others).copied()) else { return };
    world.counts.ambushes += 1;
    world.note(|| format!("--- ambush of {leader} and {other}"));
    match rng.below(6) {
        0 => isolate(world, leader, &all, rng),
        1 => kill(world, leader),
        2 => world.pause(leader, rng.range(ms(300), ms(2500))),
        3 => Fault::SlowOneWay.break_link(world, leader, other),
        4 => Fault::SlowOneWay.break_link(world, other, leader),
        _ => {
            world.network.set(Place::Node(leader), Place::Node(other), Link::Cut);
            world.network.set(Place::Node(other), Place::Node(leader), Link::Cut);
        }
    }
    if rng.chance(500) {
        let candidate = if rng.chance(800) { other } else { leader };
        world.schedule(rng.below(ms(600)), Happening::Elect { group, candidate });
    }
    world.schedule(rng.range(ms(300), ms(3000)), Happening::Mend);
    world.schedule(rng.range(ms(100), ms(2000)), Happening::Start { node: leader });
}
