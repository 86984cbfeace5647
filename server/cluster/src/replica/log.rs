//! The ends of a replica's log.

use simplekv_types::mutants::{Rule, is_broken};
use simplekv_types::{Batch, Epoch, FlushPolicy, GroupTime, Lsn, Tick};

use super::epochs::Epochs;
use crate::config::{Recovered, Timing};
use crate::event::BatchHeader;

/// Where the log begins and ends, and how much of it is on disk. The records themselves are the driver's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Log {
    /// First LSN that can still be read as raw batches. Invariant: at most `end`.
    pub(crate) start: Lsn,
    /// First LSN not written. Always between two batches.
    pub(crate) end: Lsn,
    /// First LSN not known durable *to this process*. Bytes that an earlier process only wrote are in the page cache at best; they
    /// count once this process has flushed them. Invariant: at most `end`.
    pub(crate) flushed_end: Lsn,
    /// What the last flush asked for covers. Invariant: between `flushed_end` and `end`.
    flush_asked: Lsn,
    /// When the flush was asked for that has been awaited longest.
    flush_since: Option<Tick>,
    /// When the oldest record was written that no flush was asked for.
    unflushed_since: Option<Tick>,
    /// How often the log was truncated by this process. A flush that began before a truncation says nothing about what was written
    /// in the same place after it.
    pub(crate) truncations: u64,
    /// Which epoch wrote what.
    pub(crate) epochs: Epochs,
    /// Group time of the last batch, or of one that was truncated since: a floor for the next.
    pub(crate) last_time: GroupTime,
}

impl Log {
    pub(crate) fn new(recovered: Recovered) -> Self {
        let durable = if is_broken(Rule::C57) { recovered.log_end } else { recovered.flushed_end };
        let flushed_end = durable.min(recovered.log_end);
        Self {
            start: recovered.log_start,
            end: recovered.log_end,
            flushed_end,
            flush_asked: flushed_end,
            flush_since: None,
            unflushed_since: None,
            truncations: 0,
            epochs: Epochs::new(recovered.epochs),
            last_time: recovered.last_time,
        }
    }

    /// Epoch of the last record.
    pub(crate) fn last_epoch(&self) -> Epoch {
        self.epochs.last()
    }

    /// First LSN this replica may not call its own yet.
    pub(crate) fn own_end(&self, policy: FlushPolicy) -> Lsn {
        match policy {
            FlushPolicy::Always => self.flushed_end,
            FlushPolicy::Replicated | FlushPolicy::Os => self.end,
        }
    }

    /// A batch of this replica's own epoch is written.
    pub(crate) fn write(&mut self, now: Tick, header: &BatchHeader) {
        self.extend(now, header.epoch, header.base, header.end(), header.time);
    }

    /// A batch of the leader is written.
    pub(crate) fn write_received(&mut self, now: Tick, batch: &Batch) {
        self.extend(now, batch.epoch, batch.base, batch.end(), batch.time);
    }

    fn extend(&mut self, now: Tick, epoch: Epoch, base: Lsn, end: Lsn, time: GroupTime) {
        assert_eq!(base, self.end, "a batch is appended where the log ends");
        assert!(epoch >= self.last_epoch(), "epochs never fall along a log");
        self.epochs.push(epoch, base);
        self.end = end;
        self.last_time = time;
        self.unflushed_since.get_or_insert(now);
    }

    /// Everything from `log_end` on is dropped.
    pub(crate) fn truncate(&mut self, log_end: Lsn) {
        assert!(log_end < self.end && log_end >= self.start, "truncation to {log_end} of {}..{}", self.start, self.end);
        self.epochs.truncate(log_end);
        self.end = log_end;
        self.flushed_end = self.flushed_end.min(log_end);
        // What was asked for before is reported under another number of truncations and will not count.
        self.flush_asked = self.flushed_end;
        self.flush_since = None;
        self.truncations += 1;
    }

    /// Whether a flush should be asked for now; if so it is taken as asked.
    pub(crate) fn ask_flush(&mut self, now: Tick, policy: FlushPolicy, timing: &Timing) -> bool {
        let due = match policy {
            FlushPolicy::Always => true,
            FlushPolicy::Replicated => self.flush_due(policy, timing).is_some_and(|due| due <= now),
            FlushPolicy::Os => false,
        };
        if !due || self.flush_asked >= self.end {
            return false;
        }
        self.flush_asked = self.end;
        self.flush_since.get_or_insert(now);
        self.unflushed_since = None;
        true
    }

    /// When a flush must be asked for at the latest.
    pub(crate) fn flush_due(&self, policy: FlushPolicy, timing: &Timing) -> Option<Tick> {
        (policy == FlushPolicy::Replicated && self.flush_asked < self.end)
            .then(|| self.unflushed_since.unwrap_or(Tick::ZERO) + timing.flush_interval)
    }

    /// A flush has completed.
    pub(crate) fn flushed(&mut self, now: Tick, log_end: Lsn, truncations: u64) {
        if truncations != self.truncations {
            return;
        }
        self.flushed_end = self.flushed_end.max(log_end.min(self.end));
        self.flush_asked = self.flush_asked.max(self.flushed_end);
        // Later flushes are still awaited, but this one proves that the disk answers.
        self.flush_since = (self.flushed_end < self.flush_asked).then_some(now);
    }

    /// Since when a flush has been awaited without any having completed.
    pub(crate) fn flush_since(&self) -> Option<Tick> {
        self.flush_since
    }

    /// Whether the record before `end` is here and of `epoch`. `end` may be zero: nothing agrees with nothing.
    pub(crate) fn agrees(&self, end: Lsn, epoch: Epoch) -> bool {
        end <= self.end && self.epochs.before(end) == epoch
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use simplekv_types::Lineage;

    use super::*;

    fn header(base: u64, count: u32) -> BatchHeader {
        BatchHeader {
            lineage: Lineage(0),
            epoch: Epoch(1),
            base: Lsn(base),
            count,
            time: GroupTime(1),
            high_watermark: Lsn(0),
        }
    }

    #[test]
    fn a_flush_from_before_a_truncation_proves_nothing() {
        let timing = Timing::default();
        let mut log = Log::new(Recovered::empty(Lineage(0)));
        log.write(Tick(1), &header(0, 10));
        assert!(log.ask_flush(Tick(1), FlushPolicy::Always, &timing));
        let before = log.truncations;
        log.truncate(Lsn(4));
        log.write(Tick(2), &header(4, 6));
        log.flushed(Tick(3), Lsn(10), before);
        assert_eq!(log.flushed_end, Lsn(0));
        assert!(log.ask_flush(Tick(3), FlushPolicy::Always, &timing), "the new bytes still need a flush");
        log.flushed(Tick(4), Lsn(10), log.truncations);
        assert_eq!((log.flushed_end, log.flush_since()), (Lsn(10), None));
    }

    #[test]
    fn only_own_flushes_make_recovered_bytes_durable() {
        let timing = Timing::default();
        let recovered = Recovered { log_end: Lsn(10), flushed_end: Lsn(3), ..Recovered::empty(Lineage(0)) };
        let mut log = Log::new(recovered);
        assert_eq!(log.own_end(FlushPolicy::Always), Lsn(3));
        assert_eq!(log.own_end(FlushPolicy::Replicated), Lsn(10));
        assert!(log.ask_flush(Tick(1), FlushPolicy::Always, &timing));
    }

    #[test]
    fn relaxed_flushes_wait_for_company() {
        let timing = Timing::default();
        let mut log = Log::new(Recovered::empty(Lineage(0)));
        log.write(Tick::from_millis(10), &header(0, 1));
        assert!(!log.ask_flush(Tick::from_millis(10), FlushPolicy::Replicated, &timing));
        assert_eq!(
            log.flush_due(FlushPolicy::Replicated, &timing),
            Some(Tick::from_millis(10) + Duration::from_millis(200))
        );
        assert!(log.ask_flush(Tick::from_millis(210), FlushPolicy::Replicated, &timing));
        assert!(!log.ask_flush(Tick::from_millis(500), FlushPolicy::Os, &timing));
    }
}
