//! What a machine's clocks show.

use simplekv_server::group::Clock;
use simplekv_types::{GroupTime, Tick};

/// Nanoseconds of the world.
pub(crate) type Nanos = u64;

pub(crate) const fn ms(millis: u64) -> Nanos {
    millis * 1_000_000
}

/// Milliseconds since the Unix epoch at the beginning of the world, by a clock that is right.
const BEGINNING: u64 = 1_700_000_000_000;

/// The clocks of one machine: one that never stops or falls, at its own rate from its own beginning, and one of the hour, which is set
/// now and then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    /// The first one's reading, in nanoseconds, at the beginning of the world.
    pub(crate) offset: u64,
    /// How much faster than the world it runs, in millionths.
    pub(crate) ppm: i64,
    /// How far the clock of the hour is wrong, in milliseconds.
    pub(crate) hour_ahead: i64,
}

impl Clocks {
    pub(crate) fn tick(&self, real: Nanos) -> Tick {
        let elapsed = i128::from(real) * (1_000_000 + i128::from(self.ppm)) / 1_000_000;
        Tick(self.offset + u64::try_from(elapsed).expect("a clock does not run backwards"))
    }

    /// The first real time at which the clock shows at least `tick`.
    pub(crate) fn real(&self, tick: Tick) -> Nanos {
        let elapsed = i128::from(tick.0.saturating_sub(self.offset));
        let rate = 1_000_000 + i128::from(self.ppm);
        u64::try_from((elapsed * 1_000_000 + rate - 1) / rate).expect("a clock does not run backwards")
    }

    pub(crate) fn hour(&self, real: Nanos) -> GroupTime {
        GroupTime((BEGINNING + real / 1_000_000).saturating_add_signed(self.hour_ahead))
    }

    pub(crate) fn read(&self, real: Nanos) -> Reading {
        Reading { now: self.tick(real), hour: self.hour(real) }
    }
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) now: Tick,
    pub(crate) hour: GroupTime,
}

impl Clock for Reading {
    fn now(&self) -> Tick {
        self.now
    }

    fn wall(&self) -> GroupTime {
        self.hour
    }
}
