//! What has happened in the whole group, seen by nobody in it.

use std::fmt;

use simplekv_types::{Batch, Epoch, NodeId, RunId};

use crate::disk::{Entry, entry, index};

/// What nobody may forget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    /// What was committed, by LSN: what any replica ever applied.
    pub(crate) committed: Vec<Entry>,
    /// Which process led which epoch.
    leaders: Vec<(Epoch, NodeId, RunId)>,
    /// The greatest epoch whose gate has opened.
    pub(crate) open: Epoch,
    /// Writes whose clients were told that they are done.
    pub(crate) acknowledged: Vec<u8>,
    /// The first thing that was done and must not be. Nothing is explored behind it.
    pub(crate) breach: Option<Breach>,
}

/// What must not be done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Breach {
    /// The core found its own state to be wrong, in these words.
    Assertion(String),
    /// Two replicas applied different records at one LSN, or one left a gap.
    Contradicted,
    /// A replica dropped a record that is committed.
    Dropped,
    /// Two processes lead one epoch.
    TwoLead,
    /// A follower applied what it has not verified.
    Unverified,
    /// A replica does nothing any more, although nothing is wrong with its disk or the metadata store.
    Halted,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Assertion(words) => f.write_str(words),
            other => write!(f, "{other:?}"),
        }
    }
}

impl History {
    pub(crate) fn breach(&mut self, breach: Breach) {
        self.breach.get_or_insert(breach);
    }

    /// A replica applies a record.
    pub(crate) fn commit(&mut self, place: usize, entry: Entry) {
        match self.committed.get(place) {
            Some(committed) if *committed == entry => (),
            None if place == self.committed.len() => self.committed.push(entry),
            Some(_) | None => self.breach(Breach::Contradicted),
        }
    }

    /// A replica drops records.
    pub(crate) fn drop_records(&mut self, dropped: &[Batch]) {
        if dropped.iter().any(|batch| self.committed.get(index(batch.base)) == Some(&entry(batch))) {
            self.breach(Breach::Dropped);
        }
    }

    pub(crate) fn acknowledge(&mut self, write: u8) {
        self.acknowledged.push(write);
    }

    pub(crate) fn lead(&mut self, epoch: Epoch, node: NodeId, run: RunId) {
        match self.leaders.iter().find(|(led, ..)| *led == epoch) {
            None => self.leaders.push((epoch, node, run)),
            Some(leader) if *leader == (epoch, node, run) => (),
            Some(_) => self.breach(Breach::TwoLead),
        }
    }

    /// Whether a log holds all that is committed.
    pub(crate) fn is_held_by(&self, log: &[Batch]) -> bool {
        log.len() >= self.committed.len() && log.iter().map(entry).zip(&self.committed).all(|(is, must)| is == *must)
    }
}
