//! The group's time as its leader writes it into the log.
//!
//! It follows the leader's wall clock, never falls, and does not follow a jump: a wall clock that is suddenly more than ten seconds
//! ahead of what has passed is approached at twice the normal rate. Keys then live longer than they should; the alternative, keys
//! that die because an administrator corrected a clock, cannot be undone.

use std::time::Duration;

use simplekv_types::{GroupTime, Tick};

/// A wall clock further ahead than this, in milliseconds, has jumped.
const JUMP_MS: u64 = 10_000;

/// Follows the group's time, on leaders by writing it, on followers by hearing it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct GroupClock {
    /// The group's time at a reading of this node's own clock. `None` until the first is written or heard: there is nothing yet
    /// that a wall clock could have jumped from.
    anchor: Option<(GroupTime, Tick)>,
    slewing: bool,
}

impl GroupClock {
    /// The leader says what time it is.
    pub(crate) fn hear(&mut self, now: Tick, time: GroupTime) {
        self.anchor = Some((time, now));
    }

    /// The group's time now, if it passed as this node's clock does. For heartbeats.
    pub(crate) fn estimate(&self, now: Tick) -> GroupTime {
        self.anchor.map_or(GroupTime::ZERO, |(time, at)| time.plus_millis(whole_millis(now.since(at))))
    }

    /// The time of a batch written now: at least `floor`. The second value is how far the wall clock is ahead, when it is first
    /// found to have jumped.
    pub(crate) fn stamp(&mut self, now: Tick, wall: GroupTime, floor: GroupTime) -> (GroupTime, Option<Duration>) {
        let Some((from, at)) = self.anchor else {
            let time = wall.max(floor);
            self.anchor = Some((time, now));
            return (time, None);
        };
        let passed = whole_millis(now.since(at));
        let expected = from.plus_millis(passed);
        let ahead = wall.0.saturating_sub(expected.0);
        // Once it slews it does so until it has caught up, or it would make a jump of its own at the end.
        if ahead <= if self.slewing { passed } else { JUMP_MS } {
            self.slewing = false;
            let time = wall.max(floor);
            self.anchor = Some((time, now));
            return (time, None);
        }
        let time = from.plus_millis(passed.saturating_mul(2)).max(floor);
        // Fractions of a millisecond stay in the anchor, or a busy leader would never get ahead.
        self.anchor = Some((time, at + Duration::from_millis(passed)));
        let alarm = (!self.slewing).then(|| Duration::from_millis(ahead));
        self.slewing = true;
        (time, alarm)
    }
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Tick {
        Tick::from_millis(millis)
    }

    #[test]
    fn an_idle_hour_is_not_a_jump() {
        let mut clock = GroupClock::default();
        assert_eq!(clock.stamp(ms(0), GroupTime(1_000), GroupTime::ZERO), (GroupTime(1_000), None));
        let hour = 3_600_000;
        assert_eq!(clock.stamp(ms(hour), GroupTime(1_000 + hour), GroupTime(1_000)), (GroupTime(1_000 + hour), None));
    }

    #[test]
    fn a_jump_forward_is_followed_slowly_and_reported_once() {
        let mut clock = GroupClock::default();
        clock.stamp(ms(0), GroupTime(0), GroupTime::ZERO);
        let (time, alarm) = clock.stamp(ms(100), GroupTime(60_100), GroupTime::ZERO);
        assert_eq!((time, alarm), (GroupTime(200), Some(Duration::from_secs(60))));
        let mut last = time;
        for i in 1..=50_000_u64 {
            let (time, alarm) = clock.stamp(ms(100 + i), GroupTime(60_100 + i), last);
            assert_eq!(alarm, None);
            assert!(time >= last && time.0 - last.0 <= 2, "{last} then {time}");
            last = time;
        }
        for i in 50_001..=70_000_u64 {
            let (time, _) = clock.stamp(ms(100 + i), GroupTime(60_100 + i), last);
            assert!(time.0 - last.0 <= 2);
            last = time;
        }
        assert_eq!(last, GroupTime(130_100), "it has caught up");
    }

    #[test]
    fn a_jump_back_stops_the_clock() {
        let mut clock = GroupClock::default();
        clock.stamp(ms(0), GroupTime(50_000), GroupTime::ZERO);
        assert_eq!(clock.stamp(ms(10), GroupTime(10), GroupTime(50_000)).0, GroupTime(50_000));
    }

    #[test]
    fn a_busy_leader_slews_as_fast_as_an_idle_one() {
        let mut clock = GroupClock::default();
        clock.stamp(ms(0), GroupTime(0), GroupTime::ZERO);
        let mut last = GroupTime::ZERO;
        for i in 1..=10_000_u64 {
            (last, _) = clock.stamp(Tick(i * 100_000), GroupTime(3_600_000), last);
        }
        assert_eq!(last, GroupTime(2_000));
    }
}
