//! How far a model goes.

use crate::properties::Witness;

/// Everything that is counted. What is not bounded here may happen at any time, any number of times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Replicas of the group, all in sync at the beginning.
    pub(crate) replicas: u32,
    /// In-sync replicas that must hold a record.
    pub(crate) min_in_sync: u32,
    /// Epochs. The model begins in the first, with its leader at work.
    pub(crate) epochs: u64,
    /// Writes of clients.
    pub(crate) writes: u8,
    /// How often a millisecond passes. Leases and heartbeats are as long.
    pub(crate) ticks: u8,
    /// How long a follower may be silent before it lags, in microseconds. Less than a millisecond means: whoever has not answered
    /// since time last passed.
    pub(crate) lag_us: u64,
    /// Processes that end and are started again.
    pub(crate) restarts: u8,
    /// How many of these find their disk empty.
    pub(crate) wipes: u8,
    /// Changes of the in-sync set by leaders.
    pub(crate) changes: u8,
    /// Requests to the metadata store whose outcome the asker never learns.
    pub(crate) unknowns: u8,
    /// Messages on their way on one link, in each direction. When one more is sent the oldest is lost.
    pub(crate) room: usize,
    /// Whether messages arrive in the order in which they were sent, as far as they arrive.
    pub(crate) in_order: bool,
}

/// A model that is explored to its end.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) name: &'static str,
    pub(crate) bounds: Bounds,
    /// What must happen somewhere in it, or it shows nothing.
    pub(crate) reaches: &'static [Witness],
}

const THREE: Bounds = Bounds {
    replicas: 3,
    min_in_sync: 2,
    epochs: 2,
    writes: 1,
    ticks: 0,
    lag_us: 1000,
    restarts: 0,
    wipes: 0,
    changes: 0,
    unknowns: 0,
    room: 2,
    in_order: true,
};
const TWO: Bounds = Bounds { replicas: 2, min_in_sync: 1, ..THREE };

/// All of them, the small ones first.
pub(crate) const SCOPES: [Scope; 9] = [
    Scope {
        name: "failover",
        bounds: THREE,
        reaches: &[
            Witness::LaterWrite,
            Witness::FollowerRead,
            Witness::DeposedLease,
            Witness::Truncation,
            Witness::LeftOut,
        ],
    },
    Scope {
        name: "epochs",
        bounds: Bounds { epochs: 3, ticks: 1, ..TWO },
        reaches: &[Witness::LaterWrite, Witness::FollowerRead, Witness::DeposedLease, Witness::Truncation],
    },
    Scope {
        name: "reorder",
        bounds: Bounds { ticks: 1, in_order: false, ..TWO },
        reaches: &[Witness::LaterWrite, Witness::FollowerRead, Witness::DeposedLease, Witness::Truncation],
    },
    Scope {
        name: "crash",
        bounds: Bounds { ticks: 1, restarts: 1, ..TWO },
        reaches: &[Witness::LaterWrite, Witness::FollowerRead, Witness::DeposedLease, Witness::Truncation],
    },
    Scope {
        name: "in-sync",
        bounds: Bounds { ticks: 2, lag_us: 500, changes: 2, ..TWO },
        reaches: &[Witness::LaterWrite, Witness::FollowerRead, Witness::Change, Witness::Join],
    },
    Scope {
        name: "outcomes",
        bounds: Bounds { ticks: 1, lag_us: 500, changes: 2, unknowns: 1, ..TWO },
        reaches: &[Witness::LaterWrite, Witness::FollowerRead, Witness::Change, Witness::Join],
    },
    Scope {
        name: "wiped",
        bounds: Bounds { min_in_sync: 2, ticks: 1, restarts: 1, wipes: 1, changes: 1, ..TWO },
        reaches: &[Witness::LaterWrite, Witness::FollowerRead, Witness::DeposedLease, Witness::Join],
    },
    Scope {
        name: "crash-of-three",
        bounds: Bounds { restarts: 1, ..THREE },
        reaches: &[Witness::LaterWrite, Witness::FollowerRead, Witness::DeposedLease, Witness::Truncation],
    },
    Scope {
        name: "leases",
        bounds: Bounds { ticks: 1, ..THREE },
        reaches: &[
            Witness::LaterWrite,
            Witness::FollowerRead,
            Witness::DeposedLease,
            Witness::Truncation,
            Witness::LeftOut,
        ],
    },
];
