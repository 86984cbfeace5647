//! Where the leader's log ended a while ago.

use std::collections::VecDeque;
use std::time::Duration;

use simplekv_types::{Lsn, Tick};

use super::core::before;

/// Samples per lag time: the answer is exact up to this fraction of it, erring in favour of the follower.
const SAMPLES: u32 = 16;

/// The ends a leader's log had within the last lag time, so that a follower can be measured against what it had time to fetch and
/// not against what was just written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PastEnds {
    lag_time: Duration,
    /// Samples, oldest first: before this time, and since the sample before it at the latest, the log ended here.
    samples: VecDeque<(Tick, Lsn)>,
    end: Lsn,
    appended_at: Tick,
}

impl PastEnds {
    /// A log that ends at `end` and has done so for ever.
    pub(crate) fn new(lag_time: Duration, end: Lsn) -> Self {
        Self { lag_time, samples: VecDeque::new(), end, appended_at: Tick::ZERO }
    }

    /// The log now ends at `end`.
    pub(crate) fn push(&mut self, now: Tick, end: Lsn) {
        if self.samples.back().is_none_or(|(at, _)| now >= *at + self.lag_time / SAMPLES) {
            self.samples.push_back((now, self.end));
            let since = before(now, self.lag_time);
            // One sample from before the lag time stays, to answer for its beginning.
            while self.samples.get(1).is_some_and(|(at, _)| *at <= since) {
                self.samples.pop_front();
            }
        }
        self.end = end;
        self.appended_at = now;
    }

    /// Where the log ended one lag time before `now`, at most a sixteenth of it earlier.
    pub(crate) fn one_lag_time_ago(&self, now: Tick) -> Lsn {
        let then = before(now, self.lag_time);
        if self.appended_at <= then {
            return self.end;
        }
        let after = self.samples.iter().position(|(at, _)| *at > then);
        match after {
            Some(index) => {
                let earlier = index.checked_sub(1).and_then(|i| self.samples.get(i));
                match (earlier, self.samples.get(index)) {
                    // Nothing was appended since the sampling interval that began with `earlier` ended.
                    (Some((at, _)), Some((_, end))) if then >= *at + self.lag_time / SAMPLES => *end,
                    (Some((_, end)), _) | (None, Some((_, end))) => *end,
                    (None, None) => self.end,
                }
            }
            None => self.samples.back().map_or(self.end, |(_, end)| *end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Tick {
        Tick::from_millis(millis)
    }

    #[test]
    fn a_steady_log_is_remembered_to_a_sixteenth() {
        let mut ends = PastEnds::new(Duration::from_millis(400), Lsn(0));
        for at in 1..=2000 {
            ends.push(ms(at), Lsn(at));
            assert!(ends.samples.len() <= 19);
            let found = ends.one_lag_time_ago(ms(at)).0;
            let exact = at.saturating_sub(400);
            assert!(found <= exact && exact - found <= 25, "at {at}: {found} for {exact}");
        }
    }

    /// C72: a log that stands still ended a lag time ago where it ends now.
    #[test]
    fn an_idle_log_ends_where_it_ends() {
        let mut ends = PastEnds::new(Duration::from_millis(400), Lsn(5));
        assert_eq!(ends.one_lag_time_ago(ms(1)), Lsn(5));
        ends.push(ms(1000), Lsn(9));
        assert_eq!(ends.one_lag_time_ago(ms(1399)), Lsn(5));
        assert_eq!(ends.one_lag_time_ago(ms(1400)), Lsn(9));
    }
}
