//! Who keeps copies of what it has read here, and is told when that changes.
//!
//! A reader takes down the keys before it reads them; whoever applies a change looks at the table while readers are kept out. So a
//! change is either in what was read, or finds the key taken down. When a replica here can no longer promise to hear of changes,
//! everything is told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::FutureExt;
use parking_lot::Mutex;
use simplekv_resp::Command;
use simplekv_resp::session::TrackingTerms;
use simplekv_resp::tracking::{Table, Told, Wake};
use tokio::sync::Notify;

/// The readers of one node.
#[derive(Debug, Default)]
pub struct Tracking {
    /// How many track: while nobody does, nothing is looked up.
    trackers: AtomicUsize,
    table: Mutex<Table<Bell>>,
}

#[derive(Clone, Debug, Default)]
struct Bell(Arc<Notify>);

impl Wake for Bell {
    fn wake(&self) {
        self.0.notify_one();
    }
}

/// A connection that may track, and be told, until this is dropped.
#[derive(Debug)]
pub(crate) struct Tracker {
    tracking: Arc<Tracking>,
    id: u64,
    bell: Bell,
}

impl Tracking {
    /// A connection that tracks nothing yet. No number is given twice.
    pub(crate) fn tracker(self: &Arc<Self>, id: u64) -> Tracker {
        let bell = Bell::default();
        self.table.lock().join(id, bell.clone());
        Tracker { tracking: Arc::clone(self), id, bell }
    }

    /// Whether there is a connection of this number.
    pub(crate) fn has(&self, id: u64) -> bool {
        self.table.lock().has(id)
    }

    /// Whether anybody tracks anything.
    pub(crate) fn is_used(&self) -> bool {
        self.trackers.load(Ordering::SeqCst) > 0
    }

    /// As [`Table::read`].
    pub(crate) fn read(&self, id: u64, command: &Command) -> bool {
        self.table.lock().read(id, command)
    }

    /// As [`Table::changed`].
    pub(crate) fn changed(&self, key: &[u8], by: Option<u64>) {
        if self.is_used() {
            self.table.lock().changed(key, by);
        }
    }

    /// As [`Table::everything`].
    pub(crate) fn everything(&self) {
        if self.is_used() {
            self.table.lock().everything();
        }
    }
}

impl Tracker {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Tracks on these terms from now on, or not any more. What was taken down stays.
    pub(crate) fn set_terms(&self, terms: Option<TrackingTerms>) {
        let mut table = self.tracking.table.lock();
        table.set_terms(self.id, terms);
        self.tracking.trackers.store(table.trackers(), Ordering::SeqCst);
    }

    /// Tracks as clients of the cluster do: what operations say is read for it, and all keys that begin so.
    pub(crate) fn track_prefixes(&self, prefixes: BTreeSet<Bytes>) {
        let prefixes = (!prefixes.is_empty()).then_some(prefixes);
        self.set_terms(Some(TrackingTerms { prefixes, ..TrackingTerms::default() }));
    }

    /// Waits for something to be told.
    pub(crate) async fn next(&self) -> Told {
        loop {
            // This first: it is asked for with each request of each connection, and all would queue for the table.
            self.bell.0.notified().await;
            if let Some(told) = self.take() {
                return told;
            }
        }
    }

    /// What is to be told already.
    pub(crate) fn next_at_once(&self) -> Option<Told> {
        self.bell.0.notified().now_or_never()?;
        self.take()
    }

    fn take(&self) -> Option<Told> {
        self.tracking.table.lock().take(self.id)
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        let mut table = self.tracking.table.lock();
        table.leave(self.id);
        self.tracking.trackers.store(table.trackers(), Ordering::SeqCst);
    }
}
