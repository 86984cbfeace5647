//! What a client counts about itself.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        #[derive(Debug, Default)]
        pub(crate) struct Stats {
            $(pub(crate) $name: Counter,)*
        }

        /// Totals since the client was made.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct ClientStats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Stats {
            pub(crate) fn snapshot(&self) -> ClientStats {
                ClientStats { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Requests made by callers; a command split over slots counts once per part.
    requests,
    /// Requests that ended with an error of the client's, not counting errors that are a command's result.
    failures,
    /// Attempts made after a pause.
    retries,
    /// Attempts made at once because a node said who is to be asked.
    redirects,
    /// Retries delayed because too large a share of the requests were retries.
    retries_over_budget,
    /// Reads sent for all who shared them.
    shared_reads_led,
    /// Reads answered by one that somebody else led.
    shared_reads_joined,
    /// Frames written to nodes.
    frames,
    /// Operations in those frames.
    ops,
    /// Requests refused because too many were in flight.
    overloaded,
    /// Lanes connected.
    connects,
    /// Lanes that could not be connected, or ended.
    disconnects,
    /// Reads answered by the near-cache.
    near_hits,
    /// Reads that might have been and had to be asked for, because there was no copy.
    near_misses,
    /// Copies that were not used because the session had seen more, and answers that were not kept because their key may have changed
    /// on the way.
    near_bypasses,
    /// Copies thrown away because their key changed; once for all of them when nobody knew which.
    near_invalidations,
    /// Topologies asked for.
    topology_refreshes,
    /// Topologies taken over.
    topology_changes,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }
}
