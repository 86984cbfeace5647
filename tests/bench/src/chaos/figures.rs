//! What a run comes to.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use simplekv_history::{Answer, Operation, Outcome, Verdict, check};

use crate::chaos::clients::is_only_write;
use crate::chaos::fault::Kind;
use crate::chaos::watch::Observed;

/// Silences of a group from this on are told.
pub(crate) const SILENCE: Duration = Duration::from_millis(100);

/// Everything that is told at the end.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// How often each kind of fault was tried, and how often something came of it.
    faults: BTreeMap<Kind, (u64, u64)>,
    recoveries: Vec<Duration>,
    pub(crate) silences: Vec<Duration>,
    pub(crate) observed: Observed,
    acked_writes: u64,
    reads: u64,
    lost: u64,
    verdict: Verdict,
}

impl Figures {
    /// A fault is over.
    pub(crate) fn note(&mut self, kind: Kind, happened: bool) {
        let (tried, happened_before) = self.faults.entry(kind).or_default();
        *tried += 1;
        *happened_before += u64::from(happened);
    }

    /// So many nodes were started with a clock that is wrong.
    pub(crate) fn false_clocks(&mut self, count: u64) {
        self.faults.insert(Kind::ClockRate, (count, count));
    }

    /// Everything had recovered after so long.
    pub(crate) fn recovered(&mut self, took: Duration) {
        self.recoveries.push(took);
    }

    /// Judges a history whose last operations read everything back.
    pub(crate) fn judge(&mut self, history: &[Operation]) {
        let is_done = |operation: &&Operation| matches!(operation.outcome, Outcome::Ok(_));
        self.reads = history.iter().filter(is_done).filter(|operation| operation.is_read()).count() as u64;
        self.acked_writes = history.iter().filter(is_done).count() as u64 - self.reads;
        let found: HashMap<&str, &Answer> = history
            .iter()
            .filter_map(|operation| match &operation.outcome {
                Outcome::Ok(answer) if operation.is_read() => Some((&*operation.key, answer)),
                _ => None,
            })
            .collect();
        let is_lost = |operation: &&Operation| {
            let simplekv_history::Action::Set(value) = &operation.action else { return false };
            found.get(&*operation.key) != Some(&&Answer::Value(Some(value.clone())))
        };
        let only = history.iter().filter(is_done).filter(|operation| is_only_write(operation));
        self.lost = only.filter(is_lost).count() as u64;
        self.verdict = check(history);
    }

    /// Whether every promise was kept, and everything happened that was to happen.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost == 0 && self.verdict.is_clean() && self.missing().is_empty() && self.has_happened(Kind::ClockRate)
    }

    /// Kinds that are dealt and of which nothing came.
    pub(crate) fn missing(&self) -> Vec<Kind> {
        Kind::DEALT.into_iter().filter(|kind| !self.has_happened(*kind)).collect()
    }

    fn has_happened(&self, kind: Kind) -> bool {
        self.faults.get(&kind).is_some_and(|(_, happened)| *happened > 0)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faults that happened, of those tried:")?;
        for (kind, (tried, happened)) in &self.faults {
            write!(f, " {}={happened}/{tried}", kind.name())?;
        }
        let mut missing: Vec<&str> = self.missing().into_iter().map(Kind::name).collect();
        missing.extend(Some(Kind::ClockRate.name()).filter(|_| !self.has_happened(Kind::ClockRate)));
        if !missing.is_empty() {
            write!(f, "\nFAULTS THAT NEVER HAPPENED: {}", missing.join(", "))?;
        }
        let (failovers, count) = (self.observed.failovers, self.silences.len());
        let [p50, p99, max] = quantiles(&self.silences);
        let least = SILENCE.as_millis();
        write!(f, "\nfailovers={failovers} write_gaps_of_{least}_ms_or_more={count}")?;
        write!(f, " write_gap_p50_ms={p50} write_gap_p99_ms={p99} write_gap_max_ms={max}")?;
        let [p50, _, max] = quantiles(&self.recoveries);
        write!(f, "\nrests={} recovery_p50_ms={p50} recovery_max_ms={max}", self.recoveries.len())?;
        let share = self.observed.follower_reads as f64 * 100.0 / self.reads.max(1) as f64;
        write!(f, "\nreads={} read_by_followers={share:.0}%", self.reads)?;
        write!(f, "\nacked={} lost={} {}", self.acked_writes, self.lost, self.verdict)
    }
}

/// Median, 99th percentile and maximum in whole milliseconds.
fn quantiles(durations: &[Duration]) -> [u128; 3] {
    let mut sorted: Vec<u128> = durations.iter().map(Duration::as_millis).collect();
    sorted.sort_unstable();
    let at = |share: f64| {
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(0)
    };
    [at(0.5), at(0.99), at(1.0)]
}

#[cfg(test)]
mod tests {
    use simplekv_history::Action;

    use super::*;

    fn set(key: &str, start: u64) -> Operation {
        Operation::new(1, key, Action::Set("v".into()), start).answered(Answer::Done, start + 1)
    }

    fn read_back(key: &str, value: Option<&str>) -> Operation {
        Operation::new(2, key, Action::Get, 100).answered(Answer::Value(value.map(Into::into)), 101)
    }

    #[test]
    fn a_write_that_is_not_there_at_the_end_is_lost() {
        let mut figures = Figures::default();
        figures.judge(&[set("u1:1", 0), set("u1:2", 10), read_back("u1:1", Some("v")), read_back("u1:2", None)]);
        assert_eq!((figures.lost, figures.acked_writes, figures.reads), (1, 2, 2));
        assert_eq!(figures.verdict.violations.len(), 1);
    }

    #[test]
    fn a_fault_that_never_happened_fails_the_run() {
        let mut figures = Figures::default();
        Kind::DEALT.iter().for_each(|&kind| figures.note(kind, true));
        assert!(figures.missing().is_empty() && !figures.is_clean());
        figures.false_clocks(1);
        assert!(figures.is_clean(), "{figures}");
        figures.faults.insert(Kind::SlowDisk, (3, 0));
        assert!(!figures.is_clean());
        assert!(figures.to_string().contains("NEVER HAPPENED: slow_disk"), "{figures}");
    }
}
