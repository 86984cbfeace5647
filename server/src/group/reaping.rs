//! What was deleted or has expired is taken apart bit by bit, also when nothing more is written.

use std::time::Duration;

use simplekv_types::Tick;

use super::{Clock, Group, Respond};

/// The pause between two bits, for those who wait for the writer.
const PAUSE: Duration = Duration::from_millis(1);

/// Whether there is more to take apart, and when that goes on.
#[derive(Debug, Default)]
pub(super) struct Reaping {
    pub(super) more: bool,
    pub(super) at: Option<Tick>,
}

impl<R: Respond> Group<R> {
    /// Plans to go on, if there is more.
    pub(super) fn plan_reaping(&mut self, clock: &impl Clock) {
        if self.reaping.more && self.reaping.at.is_none() {
            self.reaping.at = Some(clock.now() + PAUSE);
        }
    }

    /// Goes on, if it is time.
    pub(super) fn reap(&mut self, now: Tick) {
        if self.reaping.at.is_some_and(|at| at <= now) {
            self.reaping.at = None;
            let Self { engine, tracked, reaping, .. } = self;
            reaping.more = engine.apply_to(engine.applied(), &mut |change| tracked.see(&change));
        }
    }
}
