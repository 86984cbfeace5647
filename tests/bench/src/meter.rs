//! What a load measured.

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

/// Latencies of one task or of all.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    /// In microseconds.
    latencies: Histogram<u64>,
    errors: u64,
    last_error: Option<String>,
}

impl Meter {
    pub(crate) fn new() -> Result<Self> {
        // A microsecond to a minute, in steps of 1 %.
        Ok(Self { latencies: Histogram::new_with_bounds(1, 60_000_000, 2)?, errors: 0, last_error: None })
    }

    /// `count` operations took this long together with others.
    pub(crate) fn record(&mut self, took: Duration, count: u64) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latencies.saturating_record_n(micros.max(1), count);
    }

    pub(crate) fn fail(&mut self, reason: impl fmt::Display) {
        self.errors += 1;
        self.last_error = Some(reason.to_string());
    }

    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        self.latencies.add(&other.latencies)?;
        self.errors += other.errors;
        self.last_error = self.last_error.take().or_else(|| other.last_error.clone());
        Ok(())
    }

    /// The latency that this share of the operations kept within, in microseconds.
    pub(crate) fn micros_at(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64
    }

    pub(crate) fn count(&self) -> u64 {
        self.latencies.len()
    }

    /// One line: operations a second and latencies.
    pub(crate) fn summary(&self, elapsed: Duration) -> String {
        let at = |quantile: f64| self.latencies.value_at_quantile(quantile) as f64 / 1000.0;
        let mut line = format!(
            "{:.0} ops/s  p50 {:.2} ms  p99 {:.2} ms  p99.9 {:.2} ms  max {:.2} ms  errors {}",
            self.count() as f64 / elapsed.as_secs_f64(),
            at(0.5),
            at(0.99),
            at(0.999),
            self.latencies.max() as f64 / 1000.0,
            self.errors,
        );
        if let Some(error) = &self.last_error {
            line.push_str(&format!(" (the last: {error})"));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_summed_up() {
        let mut all = Meter::new().unwrap();
        let mut one = Meter::new().unwrap();
        one.record(Duration::from_millis(2), 99);
        one.record(Duration::from_millis(400), 1);
        one.fail("refused");
        all.merge(&one).unwrap();
        all.merge(&one).unwrap();
        let summary = all.summary(Duration::from_secs(2));
        assert!(summary.starts_with("100 ops/s  p50 2.0"), "{summary}");
        assert!(summary.ends_with("errors 2 (the last: refused)"), "{summary}");
    }
}
