//! What happens to this replica, told to those who keep copies of what they read from it.

use std::collections::VecDeque;
use std::sync::Arc;

use simplekv_engine::record::{Element, Put, Record, SlotChangeKind};
use simplekv_engine::{Applied, Change};
use simplekv_types::{Lsn, Tick};

use crate::tracking::Tracking;

/// Tells it. Who reads under a lease can count on hearing of a change; when the lease is lost, or has changed hands, nobody knows what
/// is missed until there is another: then everything is told. The same when this is dropped, that is, when the replica ends.
#[derive(Debug)]
pub(super) struct Tracked {
    tracking: Arc<Tracking>,
    /// The lease as it was published last: its generation, and whether it is the leader's.
    lease: (u64, bool),
    until: Tick,
    /// Whether its end has been told.
    has_lapsed: bool,
    /// Which records not applied yet stem from connections that do not want to hear of them, in order.
    origins: VecDeque<Origin>,
}

#[derive(Debug)]
struct Origin {
    from: Lsn,
    until: Lsn,
    by: u64,
}

impl Tracked {
    pub(super) fn new(tracking: Arc<Tracking>) -> Self {
        Self { tracking, lease: (0, false), until: Tick::ZERO, has_lapsed: true, origins: VecDeque::new() }
    }

    /// What is applied changes. While readers are kept out: whoever still read what was before has taken it down.
    pub(super) fn see(&mut self, change: &Change<'_>) {
        match change {
            Change::Expired { key } => self.tracking.changed(key, None),
            Change::Applied(applied) => self.see_record(applied),
        }
    }

    fn see_record(&mut self, applied: &Applied<'_>) {
        match &applied.record {
            Record::Put(Put { key, .. })
            | Record::Delete { key, .. }
            | Record::ElementPut { element: Element { key, .. }, .. }
            | Record::ElementDelete(Element { key, .. })
            | Record::Intent { key, .. } => {
                while self.origins.pop_front_if(|first| first.until <= applied.lsn).is_some() {}
                let origin = self.origins.front().filter(|first| first.from <= applied.lsn);
                self.tracking.changed(key, origin.map(|origin| origin.by));
            }
            Record::Slots(change) => match change.kind {
                SlotChangeKind::Pin | SlotChangeKind::ImportCursor => (),
                _ => self.tracking.everything(),
            },
            Record::EpochStart { .. } | Record::Tick | Record::Dedupe(_) => (),
        }
    }

    /// A connection that does not want to hear of it has appended these records.
    pub(super) fn wrote(&mut self, by: u64, from: Lsn, until: Lsn) {
        self.origins.push_back(Origin { from, until, by });
    }

    /// Everything from `log_end` on was truncated.
    pub(super) fn truncate_to(&mut self, log_end: Lsn) {
        while self.origins.pop_back_if(|last| last.until > log_end).is_some() {}
    }

    /// Everything below is applied.
    pub(super) fn applied(&mut self, end: Lsn) {
        while self.origins.pop_front_if(|first| first.until <= end).is_some() {}
    }

    /// A lease was published.
    pub(super) fn lease(&mut self, generation: u64, leads: bool, until: Tick) {
        if (generation, leads) != self.lease {
            self.lease = (generation, leads);
            self.tracking.everything();
        }
        if until != self.until {
            self.until = until;
            self.has_lapsed = until == Tick::ZERO && self.has_lapsed;
        }
    }

    /// When it is to be looked whether the lease has ended.
    pub(super) fn deadline(&self) -> Option<Tick> {
        (!self.has_lapsed && self.tracking.is_used()).then_some(self.until)
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Tick) {
        if !self.has_lapsed && self.until <= now {
            self.has_lapsed = true;
            self.tracking.everything();
        }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.tracking.everything();
    }
}
