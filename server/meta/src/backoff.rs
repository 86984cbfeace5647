//! How long to wait before the store is tried again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// Growing, jittered delays without end.
#[derive(Debug)]
pub(crate) struct Delays(ExponentialBackoff);

/// Delays from the beginning: 50 ms at first, at most about 4 s, each doubled and jittered so that nodes do not return together.
pub(crate) fn delays() -> Delays {
    Delays(
        ExponentialBuilder::new()
            .with_min_delay(FIRST)
            .with_max_delay(LONGEST)
            .with_jitter()
            .without_max_times()
            .build(),
    )
}

/// A time that is about as long, so that nodes which begin something together do not repeat it together.
pub(crate) fn about(time: Duration) -> Duration {
    // The jitter adds up to as much again.
    let least = time * 2 / 3;
    let builder = ExponentialBuilder::new().with_min_delay(least).with_max_delay(least).with_jitter();
    builder.build().next().unwrap_or(time)
}

impl Delays {
    pub(crate) fn next_delay(&mut self) -> Duration {
        self.0.next().unwrap_or(LONGEST)
    }
}
