//! How long commands take, for the slow log.

use std::time::Duration;

use tokio::time::Instant;

/// Reads the clock once for what a client has sent together, and once more for the answers if anybody wants to know.
#[derive(Debug)]
pub(super) struct StopWatch {
    /// The same moment on two clocks.
    started: Instant,
    started_micros: u64,
    since: Instant,
    /// Whether something was done since that is not to be measured.
    is_stale: bool,
}

impl StopWatch {
    /// `now_micros` is Unix time.
    pub(super) fn new(now_micros: u64) -> Self {
        let now = Instant::now();
        Self { started: now, started_micros: now_micros, since: now, is_stale: false }
    }

    /// What follows begins now. Returns about the Unix time.
    pub(super) fn restart(&mut self) -> u64 {
        self.since = Instant::now();
        self.is_stale = false;
        self.started_micros + u64::try_from((self.since - self.started).as_micros()).unwrap_or(0)
    }

    /// What comes now is not to be measured.
    pub(super) fn skip(&mut self) {
        self.is_stale = true;
    }

    /// Something begins that is to be measured.
    pub(super) fn begin(&mut self) {
        if self.is_stale {
            self.restart();
        }
    }

    /// How long that took; what follows begins now.
    pub(super) fn lap(&mut self) -> Duration {
        let now = Instant::now();
        let took = now - self.since;
        (self.since, self.is_stale) = (now, false);
        took
    }
}
