//! How many retries there may be: a share of the requests that are answered.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tower::retry::budget::{Budget as _, TpsBudget};

/// Answered requests are put down in bundles of so many: each time it is done costs a look at the clock and a lock.
const BUNDLE: usize = 16;
/// Retries that one answered request allows.
const SHARE: f32 = 0.2;

/// The retries of a client. A fifth of the requests, and ten a second: enough for redirects gone wrong, too little for a storm.
#[derive(Debug)]
pub(crate) struct Budget {
    bundles: TpsBudget,
    answered: AtomicUsize,
}

impl Budget {
    pub(crate) fn new() -> Self {
        let bundles = TpsBudget::new(Duration::from_secs(10), 10, SHARE * BUNDLE as f32);
        Self { bundles, answered: AtomicUsize::new(0) }
    }

    /// So many requests were answered.
    pub(crate) fn deposit(&self, count: usize) {
        let before = self.answered.fetch_add(count, Ordering::Relaxed);
        // The sum may wrap around; a bundle more or less in a lifetime does not matter.
        let bundles = (before.wrapping_add(count) / BUNDLE).saturating_sub(before / BUNDLE);
        (0..bundles).for_each(|_| self.bundles.deposit());
    }

    /// Takes one retry out. `false` if there is none left.
    pub(crate) fn withdraw(&self) -> bool {
        self.bundles.withdraw()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn five_answers_allow_one_retry() {
        let budget = Budget::new();
        let reserve = (0..10_000).take_while(|_| budget.withdraw()).count();
        assert_eq!(reserve, 100, "ten a second, for ten seconds");
        (0..1600).for_each(|_| budget.deposit(1));
        budget.deposit(1600);
        let earned = (0..10_000).take_while(|_| budget.withdraw()).count();
        assert!((635..=645).contains(&earned), "{earned} of 3200 answers");
    }
}
