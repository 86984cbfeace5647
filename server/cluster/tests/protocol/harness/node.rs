//! One node: a directory, a clock, and at times a process.

use simplekv_cluster::{Event, Replica, Serving};
use simplekv_types::{Lsn, Member, NodeId, RunId, Tick};

use super::disk::Disk;

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) clock: Clock,
    pub(crate) disk: Disk,
    pub(crate) process: Option<Process>,
    /// How often the machine was started.
    pub(crate) boots: u64,
    /// The process is stopped until then.
    pub(crate) paused_until: u64,
    /// Flushes and probes are stuck until then.
    pub(crate) disk_hangs_until: u64,
}

impl Node {
    /// Whether this disk is the listed incarnation and has lost nothing it acknowledged.
    pub(crate) fn keeps_promises_of(&self, member: Member) -> bool {
        self.id == member.node && self.disk.identity.storage == member.storage && !self.disk.lossy
    }
}

/// A clock that runs at its own rate from its own beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Its reading, in nanoseconds, at the beginning of the world.
    pub(crate) offset: u64,
    /// How much faster than real time it runs, in millionths.
    pub(crate) ppm: i64,
}

impl Clock {
    pub(crate) fn read(&self, real: u64) -> Tick {
        let elapsed = i128::from(real) * (1_000_000 + i128::from(self.ppm)) / 1_000_000;
        Tick(self.offset + u64::try_from(elapsed).unwrap())
    }

    /// The first real time at which it shows at least `tick`.
    pub(crate) fn real(&self, tick: Tick) -> u64 {
        let elapsed = i128::from(tick.0.saturating_sub(self.offset));
        let rate = 1_000_000 + i128::from(self.ppm);
        u64::try_from((elapsed * 1_000_000 + rate - 1) / rate).unwrap()
    }
}

/// One run of a node.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) run: RunId,
    pub(crate) replica: Replica,
    /// What reading threads see.
    pub(crate) published: Serving,
    pub(crate) applied: Lsn,
    /// Writes that wait for their commit: the end of their batch, and what they wrote.
    pub(crate) waiting: Vec<(Lsn, u64)>,
    /// When the driver will next send a tick.
    pub(crate) wake_at: Option<u64>,
    /// It was told that it will be ended.
    pub(crate) stopping: bool,
    /// What could not be sent as asked.
    pub(crate) sent_less: Vec<Event>,
}
