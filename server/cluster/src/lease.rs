//! Lengths of leases under clocks that do not run at the same rate.
//!
//! A lease is anchored at the holder's own send time of the request it answers, so the two clocks are never compared, only their
//! rates: whoever waits for another's lease to end waits longer than it by the worst ratio of two clocks, whoever derives a lease
//! from its own makes it shorter by the same.

use std::time::Duration;

use simplekv_types::mutants::{Rule, is_broken};

use crate::config::Timing;

const MILLION: u128 = 1_000_000;

fn nanos(value: u128) -> Duration {
    Duration::from_nanos(u64::try_from(value).unwrap_or(u64::MAX))
}

/// How long this node must wait, by its clock, to be sure that `length` has passed by any other: rounded up.
pub(crate) fn outlasts(timing: &Timing, length: Duration) -> Duration {
    let drift = if is_broken(Rule::C8) { 0 } else { u128::from(timing.drift_ppm) };
    nanos((length.as_nanos() * (MILLION + drift)).div_ceil(MILLION - drift))
}

/// How long another node may count, by its clock, and be sure that `length` has not passed by this node's: rounded down.
pub(crate) fn outlasted_by(timing: &Timing, length: Duration) -> Duration {
    let drift = if is_broken(Rule::C8) { 0 } else { u128::from(timing.drift_ppm) };
    nanos(length.as_nanos() * (MILLION - drift) / (MILLION + drift))
}

/// How long after its last acknowledgement to an older leader a new leader must keep its gate closed.
pub(crate) fn gate_wait(timing: &Timing, lease: Duration) -> Duration {
    outlasts(timing, lease) + timing.lease_margin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_longer_than_the_lease_on_the_fastest_clock() {
        let timing = Timing::default();
        let wait = gate_wait(&timing, Duration::from_millis(1000));
        assert_eq!(wait.as_millis(), 1025);
        // A clock 1 % slow against one 1 % fast: the waiting clock is the fast one, the lease is counted by the slow one.
        let waited_really = outlasts(&timing, Duration::from_millis(1000)).as_secs_f64() / 1.01;
        assert!(waited_really >= 1.0 / 0.99 - 1e-9);
    }

    #[test]
    fn a_sub_lease_ends_before_the_lease_it_derives_from() {
        let timing = Timing::default();
        let length = Duration::from_millis(500);
        assert!(outlasts(&timing, outlasted_by(&timing, length)) <= length);
    }
}
