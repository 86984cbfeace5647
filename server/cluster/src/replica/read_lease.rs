//! A follower's right to answer linearizable reads.

use std::time::Duration;

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::{Lsn, Tick};

/// The lease as its holder sees it. Every acknowledgement asks for one; a grant names the request it answers and counts from the
/// time that request was *sent*, so that a grant that sat in a socket is worth nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ReadLease {
    until: Tick,
    /// Requests sent at this time or before are not outstanding: a grant that answers one of them is void.
    void_until: Tick,
}

impl ReadLease {
    /// A lease for one epoch, in which nothing was asked for yet.
    pub(crate) fn new(now: Tick) -> Self {
        Self { until: Tick::ZERO, void_until: now }
    }

    pub(crate) fn until(&self) -> Tick {
        self.until
    }

    /// Gives the lease up, with every grant still on its way.
    pub(crate) fn void(&mut self, now: Tick) {
        *self = Self::new(if is_broken(Rule::C3) { self.void_until } else { now });
    }

    /// A grant has arrived. Returns whether the lease had ended before: then whoever began to read under it must begin anew.
    pub(crate) fn grant(&mut self, now: Tick, requested_at: Tick, duration: Duration) -> bool {
        if requested_at <= self.void_until || requested_at > now {
            return false;
        }
        let lapsed = now >= self.until;
        let from = if is_broken(Rule::C2) { now } else { requested_at };
        self.until = self.until.max(from + duration);
        lapsed
    }
}

/// How old a replica's applied state is at most, for reads of bounded staleness.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Freshness {
    as_of: Option<Tick>,
    /// A promise that holds once everything below is applied. One at a time: under a steady stream of writes the newest would never
    /// be reached.
    waiting: Option<(Lsn, Tick)>,
}

impl Freshness {
    /// What is known of earlier epochs.
    pub(crate) fn since(as_of: Option<Tick>) -> Self {
        Self { as_of, waiting: None }
    }

    pub(crate) fn as_of(&self) -> Option<Tick> {
        self.as_of
    }

    /// A leader that held its lease had committed nothing beyond `high_watermark` at `sent_at` of this node's clock.
    pub(crate) fn promise(&mut self, high_watermark: Lsn, sent_at: Tick, applied: Lsn) {
        if high_watermark <= applied || is_broken(Rule::C53) {
            self.as_of = self.as_of.max(Some(sent_at));
        } else {
            self.waiting.get_or_insert((high_watermark, sent_at));
        }
    }

    pub(crate) fn applied(&mut self, applied: Lsn) {
        if let Some((_, sent_at)) = self.waiting.take_if(|(high_watermark, _)| *high_watermark <= applied) {
            self.as_of = self.as_of.max(Some(sent_at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Tick {
        Tick::from_millis(millis)
    }

    const HALF_SECOND: Duration = Duration::from_millis(500);

    /// C2: a grant that sat in a socket for longer than it lasts.
    #[test]
    fn a_grant_counts_from_the_request() {
        let mut lease = ReadLease::new(ms(0));
        lease.grant(ms(5000), ms(10), HALF_SECOND);
        assert!(lease.until() < ms(5000));
    }

    /// C3: a grant on its way is void once the lease was revoked.
    #[test]
    fn a_revoked_lease_is_not_revived() {
        let mut lease = ReadLease::new(ms(0));
        assert!(lease.grant(ms(20), ms(10), HALF_SECOND));
        lease.void(ms(30));
        lease.grant(ms(31), ms(25), HALF_SECOND);
        assert_eq!(lease.until(), Tick::ZERO);
        lease.grant(ms(45), ms(40), HALF_SECOND);
        assert_eq!(lease.until(), ms(540));
    }

    #[test]
    fn a_lapse_is_noticed() {
        let mut lease = ReadLease::new(ms(0));
        lease.grant(ms(20), ms(10), HALF_SECOND);
        assert!(!lease.grant(ms(100), ms(90), HALF_SECOND), "still valid");
        assert!(lease.grant(ms(700), ms(690), HALF_SECOND), "it had ended at 590");
    }

    /// C53: hearing of a commit is not having applied it.
    #[test]
    fn state_is_fresh_once_it_is_applied() {
        let mut freshness = Freshness::default();
        freshness.promise(Lsn(10), ms(5), Lsn(8));
        assert_eq!(freshness.as_of(), None);
        freshness.promise(Lsn(12), ms(6), Lsn(8));
        freshness.applied(Lsn(10));
        assert_eq!(freshness.as_of(), Some(ms(5)));
        freshness.promise(Lsn(10), ms(9), Lsn(10));
        assert_eq!(freshness.as_of(), Some(ms(9)));
    }
}
