//! Which leadership wrote which part of the log.

use simplekv_types::{Epoch, Lsn};

/// The epochs of a log with the LSN each begins at.
///
/// Two logs that agree on the epoch of a record agree on everything before it: the comparison of logs needs nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Epochs {
    /// Invariant: strictly ascending in both.
    starts: Vec<(Epoch, Lsn)>,
}

impl Epochs {
    /// The epochs of a recovered log; whatever is out of order is left out.
    pub(crate) fn new(starts: Vec<(Epoch, Lsn)>) -> Self {
        let mut epochs = Self::default();
        for (epoch, start) in starts {
            epochs.push(epoch, start);
        }
        epochs
    }

    /// Each epoch with the LSN it begins at, in order.
    pub(crate) fn starts(&self) -> &[(Epoch, Lsn)] {
        &self.starts
    }

    /// Epoch of the last record, [`Epoch::ZERO`] in an empty log.
    pub(crate) fn last(&self) -> Epoch {
        self.starts.last().map_or(Epoch::ZERO, |(epoch, _)| *epoch)
    }

    /// Epoch of the record before `end`; [`Epoch::ZERO`] if there is none.
    pub(crate) fn before(&self, end: Lsn) -> Epoch {
        self.entry_before(end).map_or(Epoch::ZERO, |(epoch, _)| epoch)
    }

    /// First LSN of the epoch that holds the record before `end`.
    pub(crate) fn start_before(&self, end: Lsn) -> Lsn {
        self.entry_before(end).map_or(Lsn::ZERO, |(_, start)| start)
    }

    /// Epoch of the record at `lsn`, which must be in the log.
    pub(crate) fn at(&self, lsn: Lsn) -> Epoch {
        self.before(lsn + 1)
    }

    /// First LSN that belongs to an epoch after `epoch`, if there is one.
    pub(crate) fn end_of(&self, epoch: Epoch) -> Option<Lsn> {
        let after = self.starts.partition_point(|(other, _)| *other <= epoch);
        self.starts.get(after).map(|(_, start)| *start)
    }

    /// A batch of `epoch` was appended at `base`.
    pub(crate) fn push(&mut self, epoch: Epoch, base: Lsn) {
        if self.starts.last().is_none_or(|(last, start)| *last < epoch && *start < base) {
            self.starts.push((epoch, base));
        }
    }

    /// Everything from `log_end` on is gone.
    pub(crate) fn truncate(&mut self, log_end: Lsn) {
        self.starts.retain(|(_, start)| *start < log_end);
    }

    fn entry_before(&self, end: Lsn) -> Option<(Epoch, Lsn)> {
        let after = self.starts.partition_point(|(_, start)| *start < end);
        self.starts.get(after.checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_has_the_epoch_that_wrote_it() {
        let epochs = Epochs::new(vec![(Epoch(1), Lsn(0)), (Epoch(4), Lsn(10)), (Epoch(5), Lsn(11))]);
        let found: Vec<u64> = (0..13).map(|lsn| epochs.at(Lsn(lsn)).0).collect();
        assert_eq!(found, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4, 5, 5]);
        assert_eq!(epochs.before(Lsn(0)), Epoch::ZERO);
        assert_eq!(epochs.before(Lsn(10)), Epoch(1));
        assert_eq!(epochs.start_before(Lsn(11)), Lsn(10));
        assert_eq!(epochs.end_of(Epoch(3)), Some(Lsn(10)));
        assert_eq!(epochs.end_of(Epoch(5)), None);
    }

    #[test]
    fn truncation_forgets_the_epochs_it_drops() {
        let mut epochs = Epochs::new(vec![(Epoch(1), Lsn(0)), (Epoch(4), Lsn(10))]);
        epochs.truncate(Lsn(10));
        assert_eq!(epochs.last(), Epoch(1));
        epochs.push(Epoch(6), Lsn(10));
        assert_eq!((epochs.last(), epochs.at(Lsn(10))), (Epoch(6), Epoch(6)));
    }
}
