//! What clients were told, held against what the cluster says afterwards.

use std::collections::BTreeMap;
use std::fmt;

/// The writes of one writer: SETs of keys used once, and INCRs of one counter.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The value of each acknowledged SET, by key.
    set: BTreeMap<String, String>,
    /// Values of SETs whose outcome is unknown.
    perhaps_set: BTreeMap<String, String>,
    incremented: u64,
    perhaps_incremented: u64,
    errors: u64,
}

/// The difference between promise and truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Writes that were acknowledged.
    pub acked: u64,
    /// Acknowledged writes that are not there.
    pub lost: u64,
    /// Effects beyond what was sent: an INCR counted twice, a value never written.
    pub duplicated: u64,
    /// Requests that failed, acknowledged by nobody.
    pub client_errors: u64,
}

impl Ledger {
    /// A SET was acknowledged.
    pub fn was_set(&mut self, key: String, value: String) {
        self.set.insert(key, value);
    }

    /// A SET failed, and may have been done.
    pub fn perhaps_was_set(&mut self, key: String, value: String) {
        self.errors += 1;
        self.perhaps_set.insert(key, value);
    }

    /// An INCR was acknowledged.
    pub fn was_incremented(&mut self) {
        self.incremented += 1;
    }

    /// An INCR failed, and may have been done.
    pub fn perhaps_was_incremented(&mut self) {
        self.errors += 1;
        self.perhaps_incremented += 1;
    }

    /// A request failed and was certainly not done.
    pub fn failed(&mut self) {
        self.errors += 1;
    }

    /// The keys of all SETs, acknowledged or not, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let keys: std::collections::BTreeSet<&str> =
            self.set.keys().chain(self.perhaps_set.keys()).map(String::as_str).collect();
        keys.into_iter()
    }

    /// Compares with what is there now: a value for each key of [`Ledger::keys`] that has one, and the counter.
    pub fn judge(&self, found: &BTreeMap<String, String>, counter: u64) -> Verdict {
        let mut verdict = Verdict { acked: self.set.len() as u64 + self.incremented, ..Verdict::default() };
        verdict.client_errors = self.errors;
        verdict.lost = self.set.iter().filter(|(key, value)| found.get(*key) != Some(value)).count() as u64;
        let never_written = |(key, value): &(&String, &String)| {
            self.set.get(*key) != Some(*value) && self.perhaps_set.get(*key) != Some(*value)
        };
        verdict.duplicated = found.iter().filter(never_written).count() as u64;
        verdict.lost += self.incremented.saturating_sub(counter);
        verdict.duplicated += counter.saturating_sub(self.incremented + self.perhaps_incremented);
        verdict
    }
}

impl Verdict {
    /// Whether every promise was kept.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicated == 0
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            acked: self.acked + other.acked,
            lost: self.lost + other.lost,
            duplicated: self.duplicated + other.duplicated,
            client_errors: self.client_errors + other.client_errors,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acked, lost, duplicated, client_errors } = self;
        write!(f, "acked={acked} lost={lost} duplicated={duplicated} client_errors={client_errors}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.was_set("a".to_owned(), "1".to_owned());
        ledger.perhaps_was_set("b".to_owned(), "2".to_owned());
        ledger.was_incremented();
        ledger.was_incremented();
        ledger.perhaps_was_incremented();
        ledger
    }

    #[test]
    fn kept_promises_are_clean_whatever_became_of_the_unknown() {
        let clean = Verdict { acked: 3, client_errors: 2, ..Verdict::default() };
        assert_eq!(ledger().judge(&found(&[("a", "1")]), 2), clean);
        assert_eq!(ledger().judge(&found(&[("a", "1"), ("b", "2")]), 3), clean);
    }

    #[test]
    fn a_missing_and_an_overwritten_value_are_lost() {
        assert_eq!(ledger().judge(&found(&[]), 2).lost, 1);
        let overwritten = ledger().judge(&found(&[("a", "9")]), 2);
        assert_eq!((overwritten.lost, overwritten.duplicated), (1, 1));
    }

    #[test]
    fn counters_tell_lost_from_repeated_increments() {
        assert_eq!(ledger().judge(&found(&[("a", "1")]), 1).lost, 1);
        assert_eq!(ledger().judge(&found(&[("a", "1")]), 4).duplicated, 1);
        assert_eq!(ledger().judge(&found(&[("a", "1")]), 4).to_string(), "acked=3 lost=0 duplicated=1 client_errors=2");
    }
}
