//! What a run went through: a fault that never happened was not tested.

use crate::schedule::{ClockKind, Outcome};
use crate::{Args, median};

/// What all schedules came to.
#[derive(Debug, Default)]
pub(crate) struct Total {
    counts: Counts,
    events: Vec<u64>,
    operations: Vec<u64>,
    with_leader_lost: u64,
    with_old_reads: u64,
    checked: u64,
    keys: u64,
    steps: u64,
    undecided: Vec<u64>,
    violations: Vec<(u64, String)>,
}

impl Total {
    pub(crate) fn add(&mut self, seed: u64, result: Result<Outcome, String>) {
        match result {
            Ok(outcome) => {
                self.events.push(outcome.counts.events);
                self.operations.push(outcome.counts.operations);
                self.with_leader_lost += u64::from(outcome.counts.leaders_lost > 0);
                self.with_old_reads += u64::from(outcome.has_old_reads);
                self.counts.add(&outcome.counts);
                self.checked += outcome.verdict.operations as u64;
                self.keys += outcome.verdict.keys as u64;
                self.steps += outcome.verdict.steps;
                self.undecided.extend(outcome.verdict.undecided.iter().map(|_| seed));
            }
            Err(what) => self.violations.push((seed, what)),
        }
    }

    /// Prints it. Returns whether everything holds, and everything was tried.
    #[expect(clippy::print_stdout, reason = "the way a program speaks to whoever started it")]
    pub(crate) fn report(mut self, args: &Args) -> bool {
        for (name, count) in self.counts.rows() {
            println!("{name}={count}");
        }
        let last = args.first + args.schedules - 1;
        println!("seeds={}..{last} schedules={}", args.first, args.schedules);
        println!("events_median={} operations_median={}", median(&mut self.events), median(&mut self.operations));
        println!("leader_lost_schedules={}", self.with_leader_lost);
        if args.clocks == ClockKind::Wild {
            println!("old_linearizable_reads_schedules={}", self.with_old_reads);
        }
        self.violations.sort();
        for (seed, what) in self.violations.iter().take(20) {
            println!("seed {seed}: {what}");
        }
        println!("checked={} keys={} steps={}", self.checked, self.keys, self.steps);
        if !self.undecided.is_empty() {
            println!("undecided seeds: {:?}", self.undecided);
        }
        println!("undecided={} violations={}", self.undecided.len(), self.violations.len());
        // A few schedules cannot have everything.
        let never: Vec<&str> = match args.schedules {
            ..1000 => Vec::new(),
            _ => self
                .counts
                .rows()
                .into_iter()
                .filter(|(name, count)| *count == 0 && *name != "leases_outlived")
                .map(|(name, _)| name)
                .collect(),
        };
        if !never.is_empty() {
            println!("never happened: {never:?}");
        }
        self.violations.is_empty() && self.undecided.is_empty() && never.is_empty()
    }
}

macro_rules! counts {
    ($($(#[doc = $doc:literal])* $name:ident),* $(,)?) => {
        /// How often what has happened.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub(crate) struct Counts {
            $($(#[doc = $doc])* pub(crate) $name: u64,)*
        }

        impl Counts {
            pub(crate) fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }

            pub(crate) fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

counts! {
    events, messages, operations, failed, unknown, refusals, retries,
    reads_by_leaders, reads_by_followers, reads_collapsed, dirty_reads,
    session_reads, bounded_reads, any_reads, reads_behind, reads_unproved, tokens_handed_on,
    checks, leases_checked, elections, group_changes, offices, starts, renewals, truncations,
    /// Leases that still seemed to hold when others had gone on: never with honest clocks.
    leases_outlived,
    /// Leaders killed, cut off or paused for longer than a lease.
    leaders_lost,
    lost, duplicated, held, store_unknown, store_late, watch_events_lost, sessions_ended, readers_held_up, deaths_at_start,
    clean_ends, storage_failures, histories_begun, stores_restored, stores_found_old, rebuilds, tokens_lost, histories_kept_whole, recoveries_by_controllers, recoveries_by_operators, recoveries_outdated, recoveries_refused,
    kills, power_losses, wipes, disasters, backups_put_back, pauses, disk_hangs, links_cut_one_way, nodes_isolated, splits, splits_from_store, links_held, links_slow, ambushes, followers_estranged, kills_beside_a_hang, floors_raised,
    clients_cut_off, clients_deaf, reads_unrouted, store_cut_off, store_outages, hour_set, disk_errors, disks_full, bits_flipped, elections_forced, transfers, stops,
}
