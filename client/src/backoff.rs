//! The pauses between attempts. The only place of the client that sleeps for one.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::slot_cache::SlotCache;
use crate::topology::Topology;

/// Exponential backoff with full jitter: the `n`th pause is drawn evenly from zero to `first · 2ⁿ`, at most `ceiling`.
///
/// Full jitter, because what fails many requests at once (a dead leader) would otherwise bring them all back at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Greatest first pause.
    pub first: Duration,
    /// Greatest pause.
    pub ceiling: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(5), ceiling: Duration::from_millis(500) }
    }
}

impl Backoff {
    /// The longest the `step`th pause (from 0) may be.
    pub(crate) fn bound(&self, step: u32) -> Duration {
        self.first.saturating_mul(1_u32.checked_shl(step).unwrap_or(u32::MAX)).min(self.ceiling)
    }

    /// Draws the `step`th pause.
    pub(crate) fn draw(&self, step: u32) -> Duration {
        self.bound(step).mul_f64(rand::random::<f64>())
    }

    /// Sleeps for the `step`th pause.
    pub(crate) async fn rest(&self, step: u32) {
        tokio::time::sleep(self.draw(step)).await;
    }

    /// Sleeps for the `step`th pause, but not beyond `until`, and not beyond the arrival of a topology other than `seen` that
    /// satisfies `enough`.
    ///
    /// `over_budget` adds the greatest pause: too large a share of the requests are retries, so these come later, but they do come.
    pub(crate) async fn pause(
        &self,
        step: u32,
        over_budget: bool,
        until: Instant,
        slots: &SlotCache,
        seen: &Arc<Topology>,
        enough: impl Fn(&Topology) -> bool,
    ) {
        let extra = if over_budget { self.ceiling } else { Duration::ZERO };
        let end = (Instant::now() + self.draw(step) + extra).min(until);
        let mut topologies = slots.subscribe();
        let arrival = topologies.wait_for(|topology| !Arc::ptr_eq(topology, seen) && enough(topology));
        // Whether it arrived or the time is up, the caller looks at the topology again.
        let _ = tokio::time::timeout_at(end, arrival).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_ceiling() {
        let backoff = Backoff::default();
        let bounds: Vec<u128> = (0..9).map(|step| backoff.bound(step).as_millis()).collect();
        assert_eq!(bounds, [5, 10, 20, 40, 80, 160, 320, 500, 500]);
        assert_eq!(backoff.bound(u32::MAX), backoff.ceiling);
    }

    #[test]
    fn every_pause_is_within_its_bound() {
        let backoff = Backoff::default();
        for step in 0..64 {
            assert!(backoff.draw(step) <= backoff.bound(step));
        }
    }
}
