//! What a run went through: a fault that never happened was not tested.

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
    checks, leases_checked, elections, group_changes, offices, starts, renewals, truncations,
    /// Leaders killed, cut off or paused for longer than a lease.
    leaders_lost,
    lost, duplicated, held, store_unknown, store_late, watch_events_lost, sessions_ended, readers_held_up, deaths_at_start,
    clean_ends, storage_failures,
    kills, power_losses, wipes, backups_put_back, pauses, disk_hangs, links_cut_one_way, nodes_isolated, splits, links_held,
    clients_cut_off, store_cut_off, store_outages, hour_set, disk_errors, disks_full, bits_flipped, elections_forced, transfers, stops,
}
