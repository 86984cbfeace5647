//! Who has seen everything, and believes nobody.

use std::collections::BTreeMap;

use simplekv_engine::LogReader;
use simplekv_types::{Batch, Epoch, GroupId, Lineage, Lsn, NodeId, RunId};

use crate::clock::Nanos;
use crate::rng::Rng;
use crate::truth::Truth;

/// A batch, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) epoch: Epoch,
    content: u64,
}

impl Trace {
    pub(crate) fn of(batch: &Batch) -> Self {
        let mut sum = Rng::new(batch.base.0 ^ batch.time.0.rotate_left(32) ^ u64::from(batch.count));
        let mut content = sum.next();
        for chunk in batch.records.chunks(8) {
            let mut word = [0; 8];
            word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            content = Rng::new(content ^ u64::from_le_bytes(word)).next();
        }
        Self { epoch: batch.epoch, content }
    }
}

/// What one replica's log holds: its batches by their ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shadow {
    batches: BTreeMap<Lsn, Trace>,
    /// Up to here it was compared with what is committed.
    pub(crate) applied: Lsn,
    /// In this history.
    lineage: Lineage,
}

/// A replica has applied its log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applying {
    pub(crate) who: NodeId,
    pub(crate) group: GroupId,
    /// The history it takes part in.
    pub(crate) lineage: Lineage,
    /// And the epoch.
    pub(crate) epoch: Epoch,
    /// Up to here.
    pub(crate) applied: Lsn,
    pub(crate) now: Nanos,
}

impl Shadow {
    pub(crate) fn end(&self) -> Lsn {
        self.batches.last_key_value().map_or(Lsn::ZERO, |(end, _)| *end)
    }

    pub(crate) fn ending(&self, end: Lsn) -> Option<Trace> {
        self.batches.get(&end).copied()
    }

    /// Follows the log. Returns what was dropped from its end.
    pub(crate) fn follow(&mut self, log: &LogReader, log_end: Lsn, last_epoch: Epoch) -> Vec<(Lsn, Trace)> {
        let last = self.batches.last_key_value();
        if self.end() == log_end && last.is_none_or(|(_, last)| last.epoch == last_epoch) {
            return Vec::new();
        }
        if log_end >= self.end() && self.last_is_there(log) {
            self.batches.extend(read(log, self.end(), log_end));
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.batches, read(log, Lsn::ZERO, log_end).collect());
        before.into_iter().filter(|(end, trace)| self.batches.get(end) != Some(trace)).collect()
    }

    fn last_is_there(&self, log: &LogReader) -> bool {
        let Some((end, last)) = self.batches.last_key_value() else { return true };
        let before = self.batches.range(..end).next_back().map_or(Lsn::ZERO, |(end, _)| *end);
        log.read(before, 1)
            .is_ok_and(|found| found.first().is_some_and(|batch| batch.end() == *end && Trace::of(batch) == *last))
    }
}

/// The batches of a log below `end`, from one of their beginnings on.
fn batches(log: &LogReader, from: Lsn, end: Lsn) -> Vec<Batch> {
    let mut found: Vec<Batch> = Vec::new();
    let mut next = from;
    while next < end {
        let Ok(read) = log.read(next, 1 << 20) else { break };
        let Some(last) = read.last() else { break };
        next = last.end();
        found.extend(read.into_iter().filter(|batch| batch.end() <= end));
    }
    found
}

fn read(log: &LogReader, from: Lsn, log_end: Lsn) -> impl Iterator<Item = (Lsn, Trace)> {
    batches(log, from, log_end).into_iter().map(|batch| (batch.end(), Trace::of(&batch)))
}

/// What has happened in one group, seen from outside.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// The latest history anybody has begun. What was acknowledged in those before may be lost.
    pub(crate) lineage: Lineage,
    /// The epoch it began with.
    begun_in: Epoch,
    /// The epoch the next history begins with.
    pub(crate) begins_in: Epoch,
    /// Whether the next history begins with all of this one.
    pub(crate) loses_nothing: bool,
    /// Each batch by its end, with the epoch in which it was first applied.
    committed: BTreeMap<Lsn, (Trace, Epoch)>,
    /// Which process led which epoch.
    leaders: BTreeMap<Epoch, (NodeId, RunId)>,
    /// The greatest epoch whose gate has opened anywhere.
    pub(crate) greatest_open: Epoch,
    pub(crate) truth: Truth,
}

impl Oracle {
    /// First LSN not committed.
    pub(crate) fn committed_end(&self) -> Lsn {
        self.committed.last_key_value().map_or(Lsn::ZERO, |(end, _)| *end)
    }

    /// The epoch of the last committed record.
    pub(crate) fn committed_epoch(&self) -> Epoch {
        self.committed.last_key_value().map_or(Epoch::ZERO, |(_, (trace, _))| trace.epoch)
    }

    /// Returns whether the replica is the first to have applied this much of the present history.
    pub(crate) fn apply(&mut self, applying: Applying, shadow: &mut Shadow, log: &LogReader) -> bool {
        let Applying { who, group, lineage, epoch, applied, now } = applying;
        if lineage < self.lineage {
            return false;
        }
        if lineage > self.lineage {
            (self.lineage, self.begun_in) = (lineage, self.begins_in);
            if !std::mem::take(&mut self.loses_nothing) {
                (self.committed, self.truth) = (BTreeMap::new(), Truth::default());
            }
        }
        if shadow.lineage != lineage {
            (shadow.lineage, shadow.applied) = (lineage, Lsn::ZERO);
        }
        let known = self.committed_end();
        let fresh: Vec<(Lsn, Trace)> = shadow
            .batches
            .range((std::ops::Bound::Excluded(shadow.applied), std::ops::Bound::Included(applied)))
            .map(|(end, trace)| (*end, *trace))
            .collect();
        for (end, trace) in fresh {
            match self.committed.get(&end) {
                Some((committed, _)) => {
                    assert_eq!(*committed, trace, "{who} applies another batch of {group} at {end}")
                }
                None => {
                    assert!(end > self.committed_end(), "{who} applies {group} up to {end}, inside another's batch");
                    self.committed.insert(end, (trace, epoch));
                }
            }
        }
        shadow.applied = shadow.applied.max(applied);
        self.truth.commit(&batches(log, known, self.committed_end()), now);
        self.committed_end() > known
    }

    /// Nothing committed may ever be dropped, except by who was left behind in an epoch before: whatever it holds proves nothing.
    pub(crate) fn drop_batches(&self, who: NodeId, group: GroupId, epoch: Epoch, dropped: &[(Lsn, Trace)]) {
        for (end, trace) in dropped {
            let is_committed = |(committed, by): &(Trace, Epoch)| committed == trace && *by <= epoch;
            let keeps = !self.committed.get(end).is_some_and(is_committed);
            assert!(keeps, "{who} truncates what {group} has committed up to {end}");
        }
    }

    /// Whether what was acknowledged in histories before may be read no more: nothing is committed in a new one before all leases of
    /// those before have ended.
    pub(crate) fn is_past(&self, lineage: Lineage) -> bool {
        lineage < self.lineage && self.greatest_open >= self.begun_in
    }

    pub(crate) fn lead(&mut self, group: GroupId, epoch: Epoch, node: NodeId, run: RunId) {
        let leader = *self.leaders.entry(epoch).or_insert((node, run));
        assert_eq!(leader, (node, run), "two lead epoch {epoch} of {group}");
    }

    /// Whether a log holds everything committed: it does if it holds the last of it, since logs that agree on a batch agree on
    /// everything before.
    pub(crate) fn is_held_by(&self, log: &Shadow) -> bool {
        self.committed.last_key_value().is_none_or(|(end, (trace, _))| log.ending(*end) == Some(*trace))
    }
}
