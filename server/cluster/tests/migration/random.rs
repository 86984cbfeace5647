//! Random schedules: jobs move slots around while everything fails at random; then everything heals. Judged all the time: no slot is
//! served by two, every write finds what the one before it left, whichever group that was, none is done twice, what is gone stays gone.
//! Afterwards every job must end and every slot be served, with everything that was written.
//!
//! `SIMPLEKV_SEED=n` runs one schedule and prints what happened; `SIMPLEKV_SCHEDULES=n` runs so many.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use simplekv_types::GroupId;

use crate::world::{A, B, C, Faults, KEYS, Op, Rng, SLOTS, World, Write, slot};

const SCHEDULES: u64 = 300;

/// What schedules went through.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) schedules: u64,
    writes: usize,
    reads: u64,
    handovers: usize,
    aborts: usize,
    histories: u64,
    failovers: u64,
}

/// Which schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Leaders, controllers, messages and the metadata store fail; nothing committed is lost.
    Whole,
    /// Groups begin other histories, too.
    Histories,
}

#[test]
fn moves_lose_nothing() {
    let total = run_all(1, Kind::Whole);
    let did = total.handovers > 500 && total.aborts > 50 && total.writes > 10_000;
    assert!(did || total.schedules < SCHEDULES, "the schedules do too little");
}

#[test]
fn more_moves_lose_nothing() {
    run_all(1_000_000, Kind::Whole);
}

#[test]
fn moves_survive_lost_histories() {
    let total = run_all(2_000_000, Kind::Histories);
    assert!(total.histories > 100 || total.schedules < SCHEDULES, "the schedules do too little");
}

fn run_all(first: u64, kind: Kind) -> Summary {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    if let Some(seed) = number("SIMPLEKV_SEED") {
        if seed / 1_000_000 == first / 1_000_000 {
            let mut world = World::new(seed);
            world.verbose = true;
            let result = catch_unwind(AssertUnwindSafe(|| schedule(&mut world, seed, kind)));
            println!("{}\n{}", world.trace.join("\n"), world.report());
            result.unwrap_or_else(|panic| resume_unwind(panic));
        }
        return Summary::default();
    }
    let seeds = first..first + number("SIMPLEKV_SCHEDULES").unwrap_or(SCHEDULES);
    let mut total = Summary::default();
    for seed in seeds.clone() {
        match catch_unwind(AssertUnwindSafe(|| run(seed, kind))) {
            Ok(summary) => total.add(&summary),
            Err(panic) => {
                println!("failed: replay with SIMPLEKV_SEED={seed}");
                resume_unwind(panic);
            }
        }
    }
    println!("seeds {}..={}: {total:?}", seeds.start, seeds.end - 1);
    total
}

pub(crate) fn run(seed: u64, kind: Kind) -> Summary {
    schedule(&mut World::new(seed), seed, kind)
}

impl Summary {
    fn add(&mut self, other: &Self) {
        self.schedules += other.schedules;
        self.writes += other.writes;
        self.reads += other.reads;
        self.handovers += other.handovers;
        self.aborts += other.aborts;
        self.histories += other.histories;
        self.failovers += other.failovers;
    }
}

/// Writes whose outcome their client does not know: it tries them again.
#[derive(Default)]
struct Clients {
    open: Vec<Write>,
}

fn schedule(world: &mut World, seed: u64, kind: Kind) -> Summary {
    let mut rng = Rng::new(seed ^ 0x5eed);
    let mut summary = Summary { schedules: 1, ..Summary::default() };
    let mut clients = Clients::default();
    let mut enabled = |per_mille: u64| if rng.chance(500) { per_mille } else { 0 };
    world.faults = Faults {
        drop: enabled(80),
        duplicate: enabled(80),
        delay: enabled(80),
        store: enabled(150),
        refuse: enabled(100),
    };
    world.start_controller();
    let intensity = rng.below(40);
    let busy = rng.range(50, 500);
    let end = world.now + rng.range(1_000, 6_000);
    while world.now < end {
        world.pass();
        if rng.chance(busy) {
            clients.act(world, &mut rng);
        }
        if rng.chance(4) {
            let target = *rng.pick(&[A, B, C]).unwrap();
            let first = rng.below(u64::from(SLOTS));
            let last = (first + rng.below(3)).min(u64::from(SLOTS) - 1);
            let name = format!("job{}", rng.below(3));
            world.add_job(&name, &format!("{first}-{last}"), target);
        }
        if rng.chance(intensity) {
            strike(world, &mut rng, kind, &mut summary);
        }
    }
    heal(world, &mut rng, &mut clients, kind);
    summary.writes = world.oracle.count();
    summary.reads = world.oracle.checked;
    summary.handovers = world.trace.iter().filter(|line| line.contains("Own {")).count();
    summary.aborts = world.trace.iter().filter(|line| line.contains("Unfence") || line.contains("Abort,")).count();
    summary
}

fn strike(world: &mut World, rng: &mut Rng, kind: Kind, summary: &mut Summary) {
    let group = *rng.pick(&[A, B, C]).unwrap();
    let now = world.now;
    match rng.below(if kind == Kind::Histories { 12 } else { 11 }) {
        0 | 1 => {
            let suffix = world.group(group).log.len() - world.group(group).high_watermark;
            let kept = rng.below(suffix as u64 + 1) as usize;
            world.fail_over(group, kept, rng.chance(300));
            summary.failovers += 1;
            if rng.chance(300) {
                world.groups.get_mut(&group).unwrap().down_until = now + rng.below(1500);
            }
        }
        2 => world.groups.get_mut(&group).unwrap().stalled_until = now + rng.below(800),
        3 => world.store_down = !world.store_down,
        4 => world.mover = None,
        5 => world.start_controller(),
        6 => world.groups.get_mut(&group).unwrap().take_snapshot(),
        7 => world.groups.get_mut(&group).unwrap().merge(),
        8 => {
            if !world.deaf.remove(&group) {
                world.deaf.insert(group);
            }
        }
        9 => {
            let jobs: Vec<String> = world.jobs.keys().cloned().collect();
            if let Some(name) = rng.pick(&jobs) {
                world.jobs.get_mut(name).unwrap().cancelled = true;
                world.tell_mover_jobs();
            }
        }
        10 => world.groups.get_mut(&group).unwrap().flush(now),
        _ => {
            if rng.chance(150) {
                let high_watermark = world.group(group).high_watermark;
                let lost = rng.below(30) as usize;
                world.begin_history(group, high_watermark.saturating_sub(lost).max(2));
                summary.histories += 1;
            }
        }
    }
}

impl Clients {
    fn act(&mut self, world: &mut World, rng: &mut Rng) {
        let place = slot(rng.below(u64::from(SLOTS)) as u16);
        let key = rng.below(u64::from(KEYS)) as u8;
        // Sometimes by an old map: whoever is asked must know.
        let owner = world.store.records.slots.owner(place).unwrap();
        let group = if rng.chance(800) { owner } else { *rng.pick(&[A, B, C]).unwrap() };
        match rng.below(10) {
            0..4 => {
                world.writes += 1;
                let op = match rng.below(6) {
                    0 => Op::Delete,
                    1 => Op::AppendFor(rng.below(600)),
                    _ => Op::Append,
                };
                let write = Write { id: world.writes, slot: place, key, op };
                world.write(group, write);
                if rng.chance(700) {
                    self.open.push(write);
                }
            }
            4..6 => self.retry(world, rng),
            6..9 => drop(world.read(group, place, key)),
            _ => drop(world.read_behind(group, place, key, rng.below(12) as usize)),
        }
    }

    /// A write whose answer was lost, or is believed to be, is tried again, by now perhaps elsewhere.
    fn retry(&mut self, world: &mut World, rng: &mut Rng) {
        if self.open.is_empty() {
            return;
        }
        let at = rng.below(self.open.len() as u64) as usize;
        let write = self.open[at];
        let owner = world.store.records.slots.owner(write.slot).unwrap();
        world.write(owner, write);
        if rng.chance(300) {
            self.open.swap_remove(at);
        }
    }
}

/// Everything works again.
fn heal(world: &mut World, rng: &mut Rng, clients: &mut Clients, kind: Kind) {
    world.trace.push("--- heal".to_owned());
    world.faults = Faults::default();
    world.store_down = false;
    world.deaf.clear();
    for id in [A, B, C] {
        let group = world.groups.get_mut(&id).unwrap();
        (group.stalled_until, group.down_until) = (0, 0);
    }
    world.start_controller();
    let end = world.now + 40_000;
    while !world.is_settled() && world.now < end {
        world.pass();
        if world.now == end - 20_000 {
            // Slots that are lost cannot be moved, however often it is tried; and two jobs that want the same slots elsewhere move them
            // there and back for ever.
            world.jobs.values_mut().for_each(|job| job.cancelled = true);
            world.tell_mover_jobs();
        }
        if rng.chance(100) {
            clients.act(world, rng);
        }
    }
    assert!(world.is_settled(), "not everything ends\n{}", world.report());
    let clean = |group: GroupId| {
        let slots = world.group(group).table.applied();
        slots.imports().is_empty() && slots.exports().is_empty()
    };
    assert!([A, B, C].into_iter().all(clean), "something is left of a move\n{}", world.report());
    world.run(50);
    if kind == Kind::Histories {
        // Alarms are told when all moves are read again.
        world.run(6_000);
        return world.check_all_but_missing();
    }
    for write in clients.open.clone() {
        let owner = world.store.records.slots.owner(write.slot).unwrap();
        assert!(world.write(owner, write), "{owner} takes no write\n{}", world.report());
    }
    let is_committed = |world: &World| clients.open.iter().all(|write| world.oracle.is_committed(write.id));
    world.run_until("every write is committed", is_committed);
    world.check_all();
}
