//! A log that rests says how far it is flushed.
//!
//! Every append says so of what was flushed before it. Behind the last one nothing would: damage to the end of a resting log could
//! not be told from a torn write, and a start would cut off records that had been acknowledged.

use std::time::Duration;

use simplekv_types::{Lsn, Tick};

use super::failure::Failed;
use super::{Clock, Group, Output, Respond};

/// A log rests when nothing was appended for so long.
const REST: Duration = Duration::from_secs(1);

/// When the log will have come to rest.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// `None` while there is nothing to say.
    pub(super) at: Option<Tick>,
    /// The last flush that was asked for, and the truncations before it.
    pub(super) flush: Option<(Lsn, u64)>,
    log_end: Lsn,
}

impl Rest {
    /// The log ends there now.
    pub(super) fn note(&mut self, clock: &impl Clock, log_end: Lsn) {
        if self.log_end != log_end {
            self.log_end = log_end;
            self.at = Some(clock.now() + REST);
        }
    }
}

impl<R: Respond> Group<R> {
    /// Writes down how far the log is flushed, once it rests, and has that flushed as well.
    pub(super) fn look_after_rest(&mut self, clock: &impl Clock, now: Tick) {
        if self.failed || self.rest.at.is_none_or(|at| at > now) {
            return;
        }
        self.rest.at = None;
        let Some((log_end, truncations)) = self.rest.flush else { return };
        if self.engine.flushed_end() < self.engine.log_end() {
            // The flush is still on its way.
            self.rest.at = Some(now + REST);
            return;
        }
        match self.engine.record_flush() {
            Ok(()) => self.outputs.push_back(Output::Flush { log_end, truncations }),
            Err(error) => self.fail(clock, Failed::from(error)),
        }
    }
}
