//! How long a group acknowledged nothing.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use simplekv_types::GroupId;

/// Silences shorter than this are the scheduler's, not the cluster's.
const NOTABLE: Duration = Duration::from_millis(20);
/// The last acknowledgements before a kill may still be read from the sockets for this long after it, and the silence may have begun
/// this long before.
const SLACK: Duration = Duration::from_millis(100);

/// When groups acknowledged, as seen by all writers together.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    groups: Mutex<BTreeMap<GroupId, Acknowledged>>,
}

#[derive(Debug)]
struct Acknowledged {
    last: Instant,
    count: u64,
    /// Beginning and length of each notable silence, in order.
    silences: Vec<(Instant, Duration)>,
}

impl Gaps {
    /// A write of the group was acknowledged now.
    pub(crate) fn acknowledged(&self, group: GroupId, now: Instant) {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = groups.entry(group).or_insert(Acknowledged { last: now, count: 0, silences: Vec::new() });
        let silence = now.saturating_duration_since(entry.last);
        if silence >= NOTABLE {
            entry.silences.push((entry.last, silence));
        }
        entry.last = entry.last.max(now);
        entry.count += 1;
    }

    /// How many writes of the group have been acknowledged.
    pub(crate) fn count(&self, group: GroupId) -> u64 {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.get(&group).map_or(0, |entry| entry.count)
    }

    /// The longest silence of the group around and after this moment; nothing if there was none worth noting.
    pub(crate) fn longest_since(&self, group: GroupId, moment: Instant) -> Duration {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let silences = groups.get(&group).map_or(&[][..], |entry| &entry.silences);
        let after = silences.iter().filter(|(begun, length)| *begun + SLACK >= moment && *begun + *length > moment);
        after.map(|(_, length)| *length).max().unwrap_or_default()
    }

    /// How long each silence of any group lasted that lasted so long at least.
    pub(crate) fn silences(&self, at_least: Duration) -> Vec<Duration> {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let all = groups.values().flat_map(|entry| &entry.silences).map(|(_, length)| *length);
        all.filter(|length| *length >= at_least).collect()
    }
}

/// Median and maximum in whole milliseconds.
pub(crate) fn summary(gaps: &[Duration]) -> (u128, u128) {
    let mut sorted: Vec<u128> = gaps.iter().map(Duration::as_millis).collect();
    sorted.sort_unstable();
    let median = sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(0);
    (median, sorted.last().copied().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const G1: GroupId = GroupId(1);

    #[test]
    fn the_silence_after_a_kill_is_found_and_earlier_ones_are_not() {
        let gaps = Gaps::default();
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        for millis in [0, 900, 910, 920, 2020, 2030, 2080] {
            gaps.acknowledged(G1, at(millis));
        }
        gaps.acknowledged(GroupId(2), at(5000));
        assert_eq!(gaps.count(G1), 7);
        assert_eq!(
            gaps.longest_since(G1, at(925)),
            Duration::from_millis(1100),
            "killed just after an acknowledgement"
        );
        assert_eq!(gaps.longest_since(G1, at(2029)), Duration::from_millis(50));
        assert_eq!(gaps.longest_since(GroupId(3), at(0)), Duration::ZERO);
        assert_eq!(gaps.silences(Duration::from_millis(100)), [900, 1100].map(Duration::from_millis));
    }

    #[test]
    fn the_summary_is_median_and_maximum() {
        assert_eq!(summary(&[3, 1, 2].map(Duration::from_millis)), (2, 3));
        assert_eq!(summary(&[4, 1, 2, 3].map(Duration::from_millis)), (2, 4));
        assert_eq!(summary(&[]), (0, 0));
    }
}
