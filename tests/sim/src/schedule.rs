//! One schedule: a cluster, its clients, and what goes wrong, all drawn from one number.

use std::time::Duration;

use simplekv_cluster::{Timing, Window};
use simplekv_history::Verdict;
use simplekv_types::{FlushPolicy, GroupId, NodeId, ReadPolicy, RecoveryPolicy};

use crate::client::{Patience, Workload};
use crate::clock::ms;
use crate::faults::{FAULTS, Fault, cut_off};
use crate::history::Action;
use crate::judge::judge;
use crate::network::Weather;
use crate::report::Counts;
use crate::rng::Rng;
use crate::world::{Settings, Troubles, World};

/// How right the nodes' clocks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ClockKind {
    /// As right as the protocol assumes: at most 1 % too fast or too slow.
    Honest,
    /// Up to 70 % too fast or too slow. Read leases promise nothing then, `quorum` reads and everything else still do.
    Wild,
}

/// What a schedule left behind.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) counts: Counts,
    pub(crate) verdict: Verdict,
    /// With clocks that run faster or slower than leases allow for: whether a linearizable read was old.
    pub(crate) has_old_reads: bool,
    pub(crate) trace: Vec<String>,
}

/// A schedule as it is made, before it is run.
#[derive(Debug)]
pub(crate) struct Schedule {
    world: World,
    rng: Rng,
    faults: Vec<Fault>,
    intensity: u64,
    length: u64,
}

impl Schedule {
    pub(crate) fn new(seed: u64, clocks: ClockKind, keeps_trace: bool) -> Self {
        let mut rng = Rng::new(seed);
        let mut settings = settings(&mut rng);
        if clocks == ClockKind::Wild {
            settings.ppm = rng.range(20_000, 700_000);
        }
        let mut world = World::new(settings, Rng::new(rng.next()));
        world.trace = keeps_trace.then(Vec::new);
        // Each schedule has its own mix: with everything failing all the time nothing interesting would ever begin.
        let mut faults: Vec<Fault> = FAULTS.iter().copied().filter(|_| rng.chance(400)).collect();
        if rng.chance(700) {
            faults.extend([Fault::KillLeader, Fault::PauseLeader, Fault::Restart]);
        }
        if world.settings.disasters.is_some() {
            faults.extend([Fault::Disaster, Fault::Disaster, Fault::Recover]);
        }
        if world.settings.restores {
            faults.extend([Fault::RestoreStore, Fault::KillLeader, Fault::Elect, Fault::Elect]);
        }
        let intensity = rng.range(10, 120);
        let length = rng.range(ms(4000), ms(9000));
        Self { world, rng, faults, intensity, length }
    }

    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    /// Runs it to its end. Panics where something does not hold.
    pub(crate) fn run(&mut self) -> Outcome {
        let Self { world, rng, faults, intensity, length } = self;
        world.run(ms(2500));
        let mut enabled = |per_mille: u64| if rng.chance(500) { rng.below(per_mille) } else { 0 };
        world.network.weather = Weather { drop: enabled(60), duplicate: enabled(60), delay: enabled(60) };
        world.troubles = Troubles {
            store: enabled(250),
            watch: enabled(300),
            start: enabled(300),
            reader: enabled(300),
            ambush: enabled(400),
        };
        world.back_up_store();
        let end = world.now + *length;
        while world.now < end {
            world.run(rng.below(ms(50)));
            if rng.chance(*intensity)
                && let Some(fault) = rng.pick(faults)
            {
                fault.strike(world, rng);
            }
        }
        world.restore_store();
        let can_go_on = |group| world.is_recoverable(group) || world.has_old_record(group);
        if world.groups().into_iter().all(can_go_on) || world.settings.disasters.is_some() {
            heal(world);
            if world.machines.len() > 2 {
                do_without_one(world, rng);
            }
            settle_down(world);
            read_everything(world);
        }
        // Reads of weaker policies were judged when they were answered, by what the log says.
        let verdict = match world.has_honest_clocks() {
            true => judge(&world.history, ReadPolicy::is_linearizable),
            // Leases promise nothing then.
            false => judge(&world.history, |policy| policy == ReadPolicy::Quorum),
        };
        if let Some(violation) = verdict.violations.first() {
            panic!("{}: {}", violation.kind, violation.reason);
        }
        let has_old_reads =
            !world.has_honest_clocks() && !judge(&world.history, ReadPolicy::is_linearizable).violations.is_empty();
        Outcome { counts: world.counts.clone(), verdict, has_old_reads, trace: world.trace.take().unwrap_or_default() }
    }

    /// What was noted so far.
    pub(crate) fn trace(&mut self) -> Vec<String> {
        self.world.trace.take().unwrap_or_default()
    }
}

fn settings(rng: &mut Rng) -> Settings {
    let nodes = *rng.pick(&[1, 2, 3, 3, 3, 3, 3, 4, 5]).expect("some");
    let min_in_sync = if nodes == 1 { 1 } else { *rng.pick(&[1, 2, 2, 2]).expect("some") };
    let narrow = Window { appends: 4, records: 20, append_bytes: 200 };
    // Whoever was away takes long to catch up, if writes are rare enough for that at all.
    let narrowest = Window { appends: 1, records: 2, append_bytes: 60 };
    let window = if rng.chance(600) { Window::default() } else { *rng.pick(&[narrow, narrowest]).expect("two") };
    let policies = [RecoveryPolicy::Manual, RecoveryPolicy::Longest];
    let disasters = if rng.chance(100) { rng.pick(&policies).copied() } else { None };
    Settings {
        nodes,
        groups: if rng.chance(150) { 2 } else { 1 },
        min_in_sync,
        lease_ms: *rng.pick(&[300, 600, 1000, 1000, 1000, 2000]).expect("some"),
        flush: *rng.pick(&[FlushPolicy::Always, FlushPolicy::Replicated, FlushPolicy::Os]).expect("some"),
        read_leases: rng.chance(900),
        disasters,
        restores: disasters.is_none() && rng.chance(60),
        window,
        segment_bytes: if rng.chance(500) { 4 << 10 } else { 64 << 10 },
        timing: Timing::default(),
        ppm: if rng.chance(500) { 9_900 } else { 100 },
        clients: 2 + usize::try_from(rng.below(3)).expect("few"),
        workload: Workload {
            registers: rng.range(2, 6),
            counters: rng.below(3),
            reads: rng.range(300, 800),
            tasks: 1 + usize::try_from(rng.below(3)).expect("few"),
            think: rng.range(if window == narrowest { ms(50) } else { ms(5) }, ms(80)),
            expiry: rng.chance(300),
            bounded: rng.chance(250),
        },
        patience: Patience {
            total: Duration::from_millis(rng.range(1500, 12_000)),
            attempt: Duration::from_millis(if rng.chance(800) { rng.range(100, 700) } else { rng.range(700, 3000) }),
        },
    }
}

/// Everything works again: before long every group must take a write, and have everybody in sync.
fn heal(world: &mut World) {
    world.note(|| "--- heal".to_owned());
    world.network.weather = Weather::default();
    world.troubles = Troubles::default();
    world.is_at_peace = true;
    world.store_down = false;
    world.mend_links();
    for machine in world.machines.values_mut() {
        machine.disk_hangs_until = 0;
        machine.fs.set_capacity(None);
    }
    // Processes that were told to stop do, and disks that were to fail and have not yet are replaced by better ones.
    let nodes: Vec<NodeId> = world.machines.keys().copied().collect();
    for node in nodes {
        if world.is_stopping(node) || world.machines.get(&node).is_some_and(|machine| machine.lossy) {
            world.kill(node);
        }
    }
    world.restart_all();
    recover(world);
    let end = world.now + ms(60_000);
    let groups = world.groups();
    let led = |world: &World| groups.iter().all(|group| world.is_serving(*group));
    assert!(world.run_until(end, led), "not every group serves after everything healed");
    let end = world.now + ms(60_000);
    let in_sync = |world: &World| groups.iter().all(|group| world.is_in_sync(*group));
    assert!(world.run_until(end, in_sync), "not everybody is in sync after everything healed");
}

/// Groups that have lost everything go on with what is left, by themselves if they may and can, else as an operator decides.
fn recover(world: &mut World) {
    let end = world.now + ms(60_000);
    let by_itself = world.settings.disasters == Some(RecoveryPolicy::Longest);
    let operators_from = world.now + if by_itself { ms(15_000) } else { 0 };
    let groups = world.groups();
    while world.now < end && !groups.iter().all(|group| world.can_go_on(*group)) {
        if world.now >= operators_from {
            if by_itself {
                groups.iter().for_each(|group| world.check_waits(*group));
            }
            groups.iter().for_each(|group| world.recover(*group));
        }
        world.run(ms(500));
    }
}

/// Whichever one node fails, and however: the others go on before long.
fn do_without_one(world: &mut World, rng: &mut Rng) {
    world.settings.patience.total = Duration::from_nanos(2 * world.longest_outage());
    let is_idle = rng.chance(300);
    if is_idle {
        world.retire_clients();
        world.run(ms(2000));
    }
    let only_reads = is_idle && rng.chance(700);
    for _ in 0..2 {
        let nodes: Vec<NodeId> = world.machines.keys().copied().collect();
        let Some(&node) = rng.pick(&nodes) else { return };
        let how = rng.below(4);
        // Where a leader may be in sync alone, it may be the only one that has everything by then.
        if world.settings.min_in_sync > 1 && rng.chance(300) {
            one_after_the_other(world, rng, node);
        }
        world.note(|| format!("--- without {node} ({how})"));
        match how {
            0 => world.kill(node),
            1 => world.pause(node, ms(40_000)),
            2 => world.machines.get_mut(&node).expect("it is there").disk_hangs_until = world.now + ms(40_000),
            _ => cut_off(world, &[node], &nodes),
        }
        // Quiet or not: what has become of the failed one must be noticed in either case.
        if rng.chance(500) {
            world.run(rng.below(ms(3000)));
        }
        for number in 0..4 {
            let key = format!("probe{}", rng.below(100));
            let value = world.history.value();
            let action = if number % 2 == 0 && !only_reads {
                Action::Set { key, value, ttl: None }
            } else {
                Action::Get { key }
            };
            let asked = world.begin_operation(0, usize::MAX, action);
            let end = world.now + world.longest_outage();
            let done = world.run_until(end, |world| world.history.is_done(asked));
            assert!(done, "without {node} ({how}) nothing is done: {:?}", world.history.operations.get(asked));
        }
        world.mend_links();
        // What hung is started anew.
        if how == 1 || how == 2 {
            world.kill(node);
        }
        world.machines.get_mut(&node).expect("it is there").disk_hangs_until = 0;
        world.restart_all();
        // Where a leader may be in sync alone, it may have been while it was cut off: then nobody else can take over yet.
        if world.settings.min_in_sync > 1 && rng.chance(500) {
            world.run(rng.below(ms(200)));
        } else {
            let groups = world.groups();
            let end = world.now + ms(60_000);
            let in_sync = |world: &World| groups.iter().all(|group| world.is_in_sync(*group));
            assert!(world.run_until(end, in_sync), "{node} does not come back");
        }
    }
}

/// Another node leaves the in-sync sets, and comes back at the very moment the next one fails.
fn one_after_the_other(world: &mut World, rng: &mut Rng, next: NodeId) {
    let others: Vec<NodeId> = world.machines.keys().copied().filter(|node| *node != next).collect();
    let Some(&node) = rng.pick(&others) else { return };
    world.note(|| format!("--- {node} goes first"));
    world.kill(node);
    let groups = world.groups();
    let is_out = |world: &World| {
        let listed = |group: &GroupId| world.store.group(*group).0.in_sync.iter().any(|member| member.node == node);
        !groups.iter().any(listed)
    };
    let end = world.now + ms(10_000);
    world.run_until(end, is_out);
    world.restart_all();
}

/// Nothing is asked for any more: all replicas come to hold the same.
fn settle_down(world: &mut World) {
    let groups = world.groups();
    world.retire_clients();
    let end = world.now + ms(60_000);
    let quiet = |world: &World| world.is_quiet() && groups.iter().all(|group| world.has_converged(*group));
    assert!(world.run_until(end, quiet), "replicas do not come to hold the same after everything healed");
    for group in &groups {
        world.check_same(*group);
    }
}

/// Reads every key once more: what was acknowledged must be there.
fn read_everything(world: &mut World) {
    let workload = world.settings.workload;
    let mut keys: Vec<String> = (0..workload.registers).map(|n| format!("key{n}")).collect();
    keys.extend((0..workload.counters).map(|n| format!("counter{n}")));
    for key in keys {
        world.begin_operation(0, usize::MAX, Action::Get { key });
    }
    let end = world.now + ms(30_000);
    assert!(world.run_until(end, World::is_quiet), "reads are not answered after everything healed");
}
