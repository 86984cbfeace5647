//! How far a group's log has spread, for those who wait until what they wrote is in more places.

use simplekv_cluster::Role;
use simplekv_resp::control::Wait;
use simplekv_types::{FlushPolicy, Lsn, Reply};

use super::{Group, Respond};

/// How far a group's log has spread, as its leader knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Whether this replica leads. One that does not knows of no other.
    pub leads: bool,
    /// First LSN it has not on disk.
    pub flushed_end: Lsn,
    /// First LSN that each of the others has not acknowledged; under [`FlushPolicy::Always`], that it has not on disk.
    pub held: Vec<Lsn>,
}

impl Spread {
    /// Whether the leader has everything below on disk, and how many others hold it.
    #[must_use]
    pub fn of(&self, end: Lsn) -> (bool, u64) {
        (self.leads && self.flushed_end >= end, self.held.iter().filter(|held| **held >= end).count() as u64)
    }

    /// Whether that is what is waited for.
    #[must_use]
    pub fn satisfies(&self, wait: &Wait, end: Lsn) -> bool {
        let (local, replicas) = self.of(end);
        (local || !wait.local) && replicas >= wait.replicas
    }

    /// The answer to whoever waits.
    #[must_use]
    pub fn reply(&self, wait: &Wait, end: Lsn) -> Reply {
        let (local, replicas) = self.of(end);
        let replicas = i64::try_from(replicas).unwrap_or(i64::MAX);
        match wait.on_disk {
            true => Reply::Array(vec![Reply::Int(i64::from(local)), Reply::Int(replicas)]),
            false => Reply::Int(replicas),
        }
    }
}

/// Whether a leader can tell what is waited for: what followers have on disk they say only if they acknowledge nothing else.
#[must_use]
pub fn can_tell(wait: &Wait, flush: FlushPolicy) -> bool {
    !wait.on_disk || wait.replicas == 0 || flush == FlushPolicy::Always
}

impl<R: Respond> Group<R> {
    /// How far its log has spread.
    #[must_use]
    pub fn spread(&self) -> Spread {
        let status = self.replica.status();
        let leads = status.role == Role::Leader;
        let held = status.followers.iter().map(|follower| follower.matched).collect();
        Spread { leads, flushed_end: status.flushed_end, held }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_there_once_enough_hold_it() {
        let spread = Spread { leads: true, flushed_end: Lsn(5), held: vec![Lsn(7), Lsn(4)] };
        let wait = |on_disk, local, replicas| Wait { on_disk, local, replicas, timeout_ms: 0 };
        for (end, local, replicas, reply) in [(4, 1, 2, 2), (5, 1, 1, 1), (6, 0, 1, 1), (8, 0, 0, 0)] {
            assert_eq!(spread.reply(&wait(false, false, 0), Lsn(end)), Reply::Int(reply));
            let both = Reply::Array(vec![Reply::Int(local), Reply::Int(replicas)]);
            assert_eq!(spread.reply(&wait(true, true, 0), Lsn(end)), both);
        }
        assert!(spread.satisfies(&wait(true, true, 1), Lsn(5)));
        assert!(!spread.satisfies(&wait(true, true, 1), Lsn(6)), "not on the leader's disk");
        assert!(spread.satisfies(&wait(false, false, 1), Lsn(6)));
        assert!(!spread.satisfies(&wait(false, false, 2), Lsn(5)));
    }

    #[test]
    fn what_followers_have_on_disk_is_known_if_they_acknowledge_nothing_else() {
        let wait = |on_disk, replicas| Wait { on_disk, local: true, replicas, timeout_ms: 0 };
        assert!(can_tell(&wait(false, 2), FlushPolicy::Os));
        assert!(can_tell(&wait(true, 0), FlushPolicy::Replicated));
        assert!(can_tell(&wait(true, 1), FlushPolicy::Always));
        assert!(!can_tell(&wait(true, 1), FlushPolicy::Replicated));
    }
}
