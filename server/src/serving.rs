//! What a replica may answer right now, for the many tasks that read beside the one that writes.
//!
//! The group's task publishes; a reader asks before it reads and, with a fresh reading of the clock, again after it has read. A pause
//! after the second answer is harmless: the read took effect before it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use simplekv_types::Tick;
use simplekv_types::mutants::{Rule, is_broken};

/// The published right to answer linearizable reads from applied state.
#[derive(Debug, Default)]
pub struct Serving {
    /// Whether it is the leader's right. A follower's is narrower: what it has appended and not applied may be committed already, so a
    /// read has to wait for that. Invariant: the same for a whole generation.
    leads: AtomicBool,
    /// End of the lease, on this node's clock; 0 without one, `u64::MAX` when nobody else could be elected.
    lease_until: AtomicU64,
    /// Changes whenever the right was lost, so that a read cannot begin under one lease and end under another.
    generation: AtomicU64,
    /// Everything committed by this time of this node's clock is applied here. A leader's lies in the future while its lease lasts, and
    /// holds for every time that has come. 0 if nothing is known.
    fresh_as_of: AtomicU64,
}

/// A read that began under a lease.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    generation: u64,
    leads: bool,
}

impl Begun {
    /// Whether the lease is the leader's.
    #[must_use]
    pub fn leads(self) -> bool {
        self.leads
    }
}

impl Serving {
    /// Publishes the lease of generation `generation`, valid until `until`, which is the leader's or a follower's. Called by the
    /// group's task only.
    pub(crate) fn publish(&self, generation: u64, leads: bool, until: Tick) {
        if self.generation.load(Ordering::Relaxed) != generation || self.leads.load(Ordering::Relaxed) != leads {
            // Nobody may see the new generation with the old lease, nor the old one with the new lease.
            self.lease_until.store(0, Ordering::SeqCst);
            self.leads.store(leads, Ordering::SeqCst);
            self.generation.store(generation, Ordering::SeqCst);
        }
        self.lease_until.store(until.0, Ordering::SeqCst);
    }

    /// Publishes by when everything committed is applied here; after it is. Called by the group's task only.
    pub(crate) fn publish_freshness(&self, as_of: Option<Tick>) {
        self.fresh_as_of.store(as_of.map_or(0, |as_of| as_of.0), Ordering::SeqCst);
    }

    /// Before reading: by when everything committed is in the state that is going to be read; `None` if that is not known. `now` must
    /// have been read from the clock before.
    #[must_use]
    pub fn fresh_as_of(&self, now: Tick) -> Option<Tick> {
        let as_of = Tick(self.fresh_as_of.load(Ordering::SeqCst));
        (as_of > Tick::ZERO).then_some(as_of.min(now))
    }

    /// Before reading: `None` if there is no lease.
    #[must_use]
    pub fn begin(&self, now: Tick) -> Option<Begun> {
        let generation = self.generation.load(Ordering::SeqCst);
        let leads = self.leads.load(Ordering::SeqCst);
        self.holds(now).then_some(Begun { generation, leads })
    }

    /// After reading: whether what was read may be answered. `now` must have been read from the clock after the data. One call
    /// serves a batch of reads that all began with `begun`.
    #[must_use]
    pub fn confirms(&self, begun: Begun, now: Tick) -> bool {
        if is_broken(Rule::C4) {
            return true;
        }
        self.holds(now) && (self.begun_then(begun) || is_broken(Rule::C6))
    }

    fn begun_then(&self, begun: Begun) -> bool {
        let generation = self.generation.load(Ordering::SeqCst);
        generation == begun.generation && self.leads.load(Ordering::SeqCst) == begun.leads
    }

    /// Whether this replica is the leader, with or without a lease.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leads.load(Ordering::Relaxed)
    }

    /// Whether the leader's lease holds at `now`.
    #[must_use]
    pub fn leads(&self, now: Tick) -> bool {
        self.holds(now) && self.leads.load(Ordering::SeqCst)
    }

    fn holds(&self, now: Tick) -> bool {
        now.0 < self.lease_until.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Tick = Tick::from_millis(100);
    const LATER: Tick = Tick::from_millis(200);

    #[test]
    fn a_read_that_outlived_its_lease_is_not_confirmed() {
        let serving = Serving::default();
        assert!(serving.begin(NOW).is_none(), "no lease yet");
        serving.publish(1, true, LATER);
        let begun = serving.begin(NOW).unwrap();
        assert!(serving.confirms(begun, NOW));
        assert!(!serving.confirms(begun, LATER), "the lease ends before its last instant");
        serving.publish(1, true, Tick::ZERO);
        assert!(!serving.confirms(begun, NOW));
    }

    #[test]
    fn a_read_does_not_span_two_leases() {
        let serving = Serving::default();
        serving.publish(1, true, LATER);
        let begun = serving.begin(NOW).unwrap();
        serving.publish(2, true, LATER);
        assert!(!serving.confirms(begun, NOW));
        assert!(serving.begin(NOW).is_some());
    }

    #[test]
    fn a_leader_is_fresh_by_now_and_a_follower_by_what_it_heard() {
        let serving = Serving::default();
        assert_eq!(serving.fresh_as_of(NOW), None);
        serving.publish_freshness(Some(LATER));
        assert_eq!(serving.fresh_as_of(NOW), Some(NOW), "what is still to come cannot have been committed yet");
        serving.publish_freshness(Some(NOW));
        assert_eq!(serving.fresh_as_of(LATER), Some(NOW));
        serving.publish_freshness(None);
        assert_eq!(serving.fresh_as_of(NOW), None);
    }

    #[test]
    fn a_followers_lease_is_not_the_leaders() {
        let serving = Serving::default();
        serving.publish(1, false, LATER);
        let begun = serving.begin(NOW).unwrap();
        assert!(!begun.leads() && !serving.leads(NOW) && serving.confirms(begun, NOW));
        serving.publish(2, true, LATER);
        assert!(serving.leads(NOW) && !serving.confirms(begun, NOW), "it leads now; the read began before");
    }
}
