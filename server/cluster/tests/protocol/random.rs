//! Random schedules: everything fails at random, then everything heals. While it lasts nothing acknowledged may be lost and no read
//! under a lease may be old; afterwards the group must work again.
//!
//! `SIMPLEKV_SEED=n` runs one schedule and prints what happened, with `SIMPLEKV_VERBOSE=1` every message too;
//! `SIMPLEKV_SCHEDULES=n` runs so many.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use simplekv_cluster::{Role, Window, Wish};
use simplekv_types::{FlushPolicy, NodeId, RecoveryPolicy};

use crate::harness::{Faults, Link, Rng, Settings, World, ms};

/// Schedules per test; there are several so that they run side by side.
const SCHEDULES: u64 = 500;

/// What a schedule went through.
#[derive(Debug, Default)]
struct Summary {
    acknowledged: usize,
    elections: u64,
    lease_reads: u64,
    /// Every in-sync disk was lost: nothing can be asked of the group any more.
    lost: u64,
}

#[test]
fn schedules_of_three_nodes_lose_nothing() {
    run_all(1, 3);
}

#[test]
fn schedules_of_four_nodes_lose_nothing() {
    run_all(1_000_000, 4);
}

#[test]
fn schedules_of_one_and_two_nodes_lose_nothing() {
    run_all(2_000_000, 2);
}

#[test]
fn schedules_of_five_nodes_lose_nothing() {
    run_all(3_000_000, 5);
}

#[test]
fn more_schedules_of_three_nodes_lose_nothing() {
    run_all(4_000_000, 3);
}

/// Every in-sync disk loses something; an operator lets the group go on with what is left. What is lost stays lost, everything else
/// is kept, no old lease outlives the decision, and the group works again.
#[test]
fn schedules_that_lose_everybody_go_on_with_what_is_left() {
    let mut recovered = 0;
    let first = 5_000_000;
    let seeds = match number("SIMPLEKV_SEED") {
        Some(seed) if seed / 1_000_000 == first / 1_000_000 => seed..seed + 1,
        Some(_) => return,
        None => first..first + number("SIMPLEKV_SCHEDULES").unwrap_or(SCHEDULES),
    };
    let alone = seeds.end - seeds.start == 1;
    for seed in seeds {
        let mut world = world(seed, 3 + u32::try_from(seed % 2).unwrap());
        world.verbose = alone && number("SIMPLEKV_VERBOSE").is_some();
        match catch_unwind(AssertUnwindSafe(|| lose_everybody(&mut world, seed))) {
            Ok(done) => recovered += u64::from(done),
            Err(panic) => {
                println!("failed at {} ms: replay with SIMPLEKV_SEED={seed}", world.now / ms(1));
                if alone {
                    println!("{}\n{:?}", world.trace.join("\n"), world.settings);
                }
                resume_unwind(panic);
            }
        }
    }
    println!("{recovered} recovered");
    assert!(alone || recovered > 100, "the schedules do too little");
}

/// Returns whether there was something to decide.
fn lose_everybody(world: &mut World, seed: u64) -> bool {
    let mut rng = Rng::new(seed ^ 0x10_57);
    misbehave(world, &mut rng, ms(3000));
    // At this moment all of them, at about the same time.
    let members: Vec<NodeId> = world.metadata.record.in_sync.iter().map(|member| member.node).collect();
    for node in members {
        if rng.chance(300) {
            world.wipe(node);
        } else {
            world.lose_power(node);
        }
        let pause = rng.below(ms(20));
        world.run(pause);
    }
    world.metadata_down = false;
    restart_all(world);
    let pause = rng.below(ms(1500));
    world.run(pause);
    if world.is_recoverable() {
        // Under `always` a loss of power takes nothing; somebody in sync was spared.
        heal(world);
        return false;
    }
    decide(world);
    if rng.chance(400) {
        lose_the_chosen_one(world, &mut rng);
    }
    misbehave(world, &mut rng, ms(3000));
    if world.is_recoverable() {
        heal(world);
    }
    true
}

/// An operator vouches for everything.
fn decide(world: &mut World) {
    let lost = world.metadata.record.in_sync.iter().map(|member| member.node).collect();
    let decided = world.recover(&Wish { lost, ..Wish::default() });
    assert!(decided, "nothing stands in the way");
}

/// Before or soon after it has begun, whoever was chosen loses something, too.
fn lose_the_chosen_one(world: &mut World, rng: &mut Rng) {
    let Some(chosen) = world.metadata.record.in_sync.first().map(|member| member.node) else { return };
    let pause = rng.below(ms(8));
    world.run(pause);
    // Under `always` it would keep its identity, and what it was chosen with may not be flushed yet.
    if rng.chance(300) || world.settings.flush == FlushPolicy::Always {
        world.wipe(chosen);
    } else {
        world.lose_power(chosen);
    }
    let pause = rng.below(ms(1500));
    world.run(pause);
    restart_all(world);
    let pause = rng.below(ms(1500));
    world.run(pause);
    if !world.is_recoverable() {
        decide(world);
    }
}

/// Things fail at random for a while, and are written to.
fn misbehave(world: &mut World, rng: &mut Rng, duration: u64) {
    // Each schedule has its own mix: with everything failing all the time nothing interesting would ever begin.
    let mut enabled = |per_mille: u64| if rng.chance(500) { per_mille } else { 0 };
    world.faults = Faults {
        drop: enabled(50),
        duplicate: enabled(50),
        delay: enabled(50),
        metadata: enabled(200),
        stale_hints: enabled(300),
    };
    let kinds: Vec<Kind> = KINDS.iter().copied().filter(|_| enabled(1) == 1).collect();
    let intensity = rng.range(30, 300);
    world.run(ms(1500));
    let end = world.now + duration;
    while world.now < end {
        let pause = rng.below(ms(60));
        world.run(pause);
        if rng.chance(intensity) {
            if let Some(kind) = rng.pick(&kinds) {
                kind.strike(world, rng);
            }
        } else {
            write_somewhere(world, rng);
        }
    }
}

fn run_all(first: u64, nodes: u32) {
    if let Some(seed) = number("SIMPLEKV_SEED") {
        if seed / 1_000_000 == first / 1_000_000 {
            let mut world = world(seed, nodes);
            world.verbose = number("SIMPLEKV_VERBOSE").is_some();
            let result = catch_unwind(AssertUnwindSafe(|| schedule(&mut world, seed)));
            println!("{}", world.trace.join("\n"));
            println!("{:?}\n{result:?}", world.settings);
            result.unwrap_or_else(|panic| resume_unwind(panic));
        }
        return;
    }
    let mut total = Summary::default();
    for seed in first..first + number("SIMPLEKV_SCHEDULES").unwrap_or(SCHEDULES) {
        let mut world = world(seed, nodes);
        match catch_unwind(AssertUnwindSafe(|| schedule(&mut world, seed))) {
            Ok(summary) => total.add(&summary),
            Err(panic) => {
                println!("failed at {} ms: replay with SIMPLEKV_SEED={seed}", world.now / ms(1));
                resume_unwind(panic);
            }
        }
    }
    println!("{total:?}");
    assert!(
        total.acknowledged > 1000 && total.elections > 100 && total.lease_reads > 1000,
        "the schedules do too little"
    );
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

impl Summary {
    fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.elections += other.elections;
        self.lease_reads += other.lease_reads;
        self.lost += other.lost;
    }
}

fn world(seed: u64, nodes: u32) -> World {
    let mut rng = Rng::new(seed);
    let nodes = if nodes == 2 { 1 + u32::try_from(rng.below(2)).unwrap() } else { nodes };
    let in_sync = 1 + u32::try_from(rng.below(u64::from(nodes.min(3)))).unwrap();
    let min_in_sync = 1 + u32::try_from(rng.below(u64::from(in_sync.min(2)))).unwrap();
    let flush = *rng.pick(&[FlushPolicy::Always, FlushPolicy::Replicated, FlushPolicy::Os]).unwrap();
    let window = Window { appends: 4, records: 20, append_bytes: 100 };
    let settings = Settings {
        nodes,
        in_sync,
        min_in_sync,
        flush,
        grant_read_leases: rng.chance(800),
        controller: true,
        recovery: RecoveryPolicy::Manual,
        window: if rng.chance(500) { window } else { Window::default() },
    };
    World::new(settings, Some(rng))
}

fn schedule(world: &mut World, seed: u64) -> Summary {
    misbehave(world, &mut Rng::new(seed ^ 0x5eed), ms(8000));
    let lost = !world.is_recoverable();
    if !lost {
        heal(world);
    }
    Summary {
        acknowledged: world.oracle.acknowledged(),
        elections: world.elections,
        lease_reads: world.lease_reads,
        lost: u64::from(lost),
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Crash,
    PowerLoss,
    Wipe,
    Restart,
    CutOneWay,
    Isolate,
    Split,
    HoldOneWay,
    HealLinks,
    Pause,
    DiskHang,
    MetadataOutage,
    SessionLoss,
    Elect,
    Transfer,
    Stop,
}

const KINDS: [Kind; 16] = [
    Kind::Crash,
    Kind::PowerLoss,
    Kind::Wipe,
    Kind::Restart,
    Kind::CutOneWay,
    Kind::Isolate,
    Kind::Split,
    Kind::HoldOneWay,
    Kind::HealLinks,
    Kind::Pause,
    Kind::DiskHang,
    Kind::MetadataOutage,
    Kind::SessionLoss,
    Kind::Elect,
    Kind::Transfer,
    Kind::Stop,
];

impl Kind {
    fn strike(self, world: &mut World, rng: &mut Rng) {
        let all: Vec<NodeId> = world.nodes.keys().copied().collect();
        let (Some(&node), Some(&other)) = (rng.pick(&all), rng.pick(&all)) else { return };
        let duration = rng.range(ms(50), ms(3000));
        world.note(format!("--- {} ms: {self:?} {} {}", world.now / ms(1), node.0, other.0));
        match self {
            Self::Crash => world.crash(node),
            Self::PowerLoss => {
                if may_be_lost(world, node) {
                    world.lose_power(node);
                }
            }
            Self::Wipe => {
                if may_be_lost(world, node) {
                    world.wipe(node);
                }
            }
            Self::Restart => restart_all(world),
            Self::CutOneWay if node != other => world.set_link(node, other, Link::Cut),
            Self::HoldOneWay if node != other => world.set_link(node, other, Link::Held),
            Self::CutOneWay | Self::HoldOneWay => (),
            Self::Isolate => cut_off(world, &[node], &all),
            Self::Split => {
                let side: Vec<NodeId> = all.iter().copied().filter(|_| rng.chance(500)).collect();
                cut_off(world, &side, &all);
            }
            Self::HealLinks => world.heal_links(),
            Self::Pause => world.pause(node, duration),
            Self::DiskHang => world.hang_disk(node, duration),
            Self::MetadataOutage => world.metadata_down = !world.metadata_down,
            Self::SessionLoss => world.lose_session(node, duration),
            Self::Elect => elect_somebody(world, rng),
            Self::Transfer => world.transfer(node, (rng.chance(500) && node != other).then_some(other)),
            Self::Stop => world.stop(node),
        }
        // Whatever is down comes back sooner or later.
        if rng.chance(300) {
            restart_all(world);
        }
    }
}

/// Cuts all links between one side and everybody else.
fn cut_off(world: &mut World, side: &[NodeId], all: &[NodeId]) {
    for &a in side {
        for &b in all.iter().filter(|node| !side.contains(node)) {
            world.set_link(a, b, Link::Cut);
            world.set_link(b, a, Link::Cut);
        }
    }
}

/// Elects a living in-sync replica for no reason at all: nothing may depend on the evidence for an election.
fn elect_somebody(world: &mut World, rng: &mut Rng) {
    let alive: Vec<NodeId> = world
        .intact_members()
        .map(|member| member.node)
        .filter(|node| world.is_registered_and_running(*node))
        .collect();
    if let Some(node) = rng.pick(&alive) {
        world.elect(*node);
    }
}

/// Whether the group survives the loss of this disk: an intact in-sync copy must remain.
fn may_be_lost(world: &World, node: NodeId) -> bool {
    world.intact_members().any(|member| member.node != node)
}

fn restart_all(world: &mut World) {
    let down: Vec<NodeId> = world.nodes.values().filter(|node| node.process.is_none()).map(|node| node.id).collect();
    for node in down {
        world.start(node, false);
    }
}

fn write_somewhere(world: &mut World, rng: &mut Rng) {
    let leaders: Vec<NodeId> = leaders(world);
    if let Some(node) = rng.pick(&leaders) {
        let records = 1 + u32::try_from(rng.below(3)).unwrap();
        let _ = world.write(*node, records);
    }
}

fn leaders(world: &World) -> Vec<NodeId> {
    let leads =
        |node: NodeId| world.process(node).is_some_and(|process| process.replica.serving().role == Role::Leader);
    world.nodes.keys().copied().filter(|node| leads(*node)).collect()
}

/// Everything works again: before long the group must take a write, and have everybody in sync.
fn heal(world: &mut World) {
    world.note("--- heal".to_owned());
    world.faults = Faults::default();
    world.metadata_down = false;
    world.heal_links();
    for node in world.nodes.values_mut() {
        node.disk_hangs_until = 0;
    }
    // Processes that were told to stop do.
    let nodes: Vec<NodeId> = world.nodes.keys().copied().collect();
    for node in &nodes {
        if world.is_stopping(*node) {
            world.crash(*node);
        }
    }
    restart_all(world);
    let end = world.now + ms(30_000);
    let mut written = Vec::new();
    while world.now < end && !written.iter().any(|write| world.oracle.is_acknowledged(*write)) {
        for node in leaders(world) {
            written.extend(world.write(node, 1));
        }
        world.run(ms(50));
    }
    assert!(
        written.iter().any(|write| world.oracle.is_acknowledged(*write)),
        "no write succeeds after everything healed"
    );
    let end = world.now + ms(30_000);
    let everybody = nodes.len();
    let whole = |world: &World| {
        let record = &world.metadata.record;
        record.in_sync.len() == everybody && record.fence.is_empty() && world.has_converged()
    };
    assert!(world.run_until(end, whole), "not everybody is in sync after everything healed");
}
