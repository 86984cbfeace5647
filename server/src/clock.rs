//! The node's clocks. Only this module reads them; everything that decides is handed the reading.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use simplekv_types::{GroupTime, Tick};

use crate::group::Clock;

/// What the clock shows of a million nanoseconds.
static RATE: AtomicU32 = AtomicU32::new(TRUE_RATE);
const TRUE_RATE: u32 = 1_000_000;

/// Now, on the clock that goes on while the machine sleeps: a lease must not outlive a suspended laptop, and `Instant` stops there.
#[must_use]
pub fn now() -> Tick {
    let time = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    let nanos = seconds * 1_000_000_000 + nanos;
    match RATE.load(Ordering::Relaxed) {
        TRUE_RATE => Tick(nanos),
        rate => Tick(at_rate(nanos, rate)),
    }
}

fn at_rate(nanos: u64, rate: u32) -> u64 {
    u64::try_from(u128::from(nanos) * u128::from(rate) / u128::from(TRUE_RATE)).unwrap_or(u64::MAX)
}

/// Makes this process' clock show so many nanoseconds for a million. Must be called before anything has looked at it.
///
/// A test's way to a node whose clock runs fast or slow: `simplekv-faulty-server` calls it, no program that is meant for use does.
pub fn falsify_rate(shown_of_a_million: u32) {
    RATE.store(shown_of_a_million, Ordering::Relaxed);
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

    #[test]
    fn a_fast_clock_shows_more_and_a_slow_one_less() {
        let year = 365 * 86_400 * 1_000_000_000;
        assert_eq!(at_rate(year, TRUE_RATE), year);
        assert_eq!(at_rate(year, 1_010_000), year / 100 * 101);
        assert_eq!(at_rate(year, 990_000), year / 100 * 99);
    }
}
