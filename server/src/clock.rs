//! The node's clocks. Only this module reads them; everything that decides is handed the reading.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use simplekv_types::{GroupTime, Tick};

use crate::group::Clock;

/// Now, on the clock that goes on while the machine sleeps: a lease must not outlive a suspended laptop, and `Instant` stops there.
#[must_use]
pub fn now() -> Tick {
    let time = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    Tick(seconds * 1_000_000_000 + nanos)
}

/// The wall clock in milliseconds since the Unix epoch. A leader proposes it as group time; nothing else may look at it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place where wall time enters")]
pub fn wall_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The machine's clocks, for what is driven with a clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Tick {
        now()
    }

    fn wall(&self) -> GroupTime {
        GroupTime(wall_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_does_not_go_back() {
        let first = now();
        assert!(now() >= first);
        assert!(wall_millis() > 1_600_000_000_000);
    }
}
