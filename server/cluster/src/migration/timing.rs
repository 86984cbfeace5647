//! How long slot moves wait, and how much they carry at once.

use std::time::Duration;

/// Times and bounds of slot moves. Safety rests on none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoveTiming {
    /// A source fences only if it asked less than this before whether its move stands, and was told so. Default 1 s.
    pub look_age: Duration,
    /// A fence that has led to nothing is resolved after this: the source aborts its move if it still can. Default 500 ms.
    pub abort_after: Duration,
    /// How often a fenced source, or a target that waits for the metadata store, looks at its move. Default 100 ms.
    pub look_interval: Duration,
    /// How often a leader looks for moves that it was not told of. Default 5 s.
    pub relist_interval: Duration,
    /// A target that has heard nothing from its source for this long begins another pull. Default 1 s.
    pub pull_silence: Duration,
    /// How often a target tells its source how far it has come, if nothing else makes it. Default 100 ms.
    pub progress_interval: Duration,
    /// A step that was not taken in is tried again after this. Default 20 ms.
    pub append_retry: Duration,
    /// A source fences only if the group times of both sides are no further apart, in milliseconds: the target must follow. Default 1000.
    pub clock_gap_ms: u64,
    /// A source fences only if the target lacks no more records than this. Default 2000.
    pub fence_lag: u64,
    /// The pin in a source's log is moved on when it is this many records behind. Default 100 000.
    pub pin_lag: u64,
    /// Frames on their way to a target that its log does not hold yet. At least 1. Default 8.
    pub window: u64,
    /// Bytes of records in a frame; a larger record travels alone. Default 256 KiB.
    pub frame_bytes: usize,
}

impl Default for MoveTiming {
    fn default() -> Self {
        Self {
            look_age: Duration::from_secs(1),
            abort_after: Duration::from_millis(500),
            look_interval: Duration::from_millis(100),
            relist_interval: Duration::from_secs(5),
            pull_silence: Duration::from_secs(1),
            progress_interval: Duration::from_millis(100),
            append_retry: Duration::from_millis(20),
            clock_gap_ms: 1000,
            fence_lag: 2000,
            pin_lag: 100_000,
            window: 8,
            frame_bytes: 256 << 10,
        }
    }
}

/// How the controller carries out jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoverTiming {
    /// How often it looks. Default 500 ms.
    pub interval: Duration,
    /// The pause after a move of a job was aborted; doubled with each further one, up to 64 times. Default 1 s.
    pub retry: Duration,
    /// Most slots in one move. At least 1. Default 64.
    pub slots: usize,
    /// Most moves a group takes part in at once. At least 1. Default 2.
    pub per_group: usize,
    /// Most moves at once. At least 1. Default 8.
    pub at_once: usize,
}

impl Default for MoverTiming {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(500),
            retry: Duration::from_secs(1),
            slots: 64,
            per_group: 2,
            at_once: 8,
        }
    }
}
