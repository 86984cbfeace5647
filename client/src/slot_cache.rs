//! The topology the client routes by: never replaced by an older one, pushed by a node, mended at once by redirects.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use simplekv_types::Failure;
use tokio::sync::{Notify, watch};
use tracing::{debug, warn};

use crate::topology::{Topology, process_millis};

/// The newest topology. Reading it takes no lock.
#[derive(Debug)]
pub(crate) struct SlotCache {
    current: ArcSwap<Topology>,
    /// Same content as `current`, for those who wait for a change. Its lock orders the writers: `current` is stored under it.
    changes: watch::Sender<Arc<Topology>>,
    /// The version a refresh should bring, because a node said it has it; `u64::MAX` if just a newer look is wanted.
    wanted: AtomicU64,
    wake: Notify,
}

impl SlotCache {
    pub(crate) fn new() -> Self {
        let unknown = Arc::new(Topology::unknown());
        Self {
            current: ArcSwap::new(Arc::clone(&unknown)),
            changes: watch::Sender::new(unknown),
            wanted: AtomicU64::new(0),
            wake: Notify::new(),
        }
    }

    pub(crate) fn load(&self) -> Guard<Arc<Topology>> {
        self.current.load()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Topology>> {
        self.changes.subscribe()
    }

    /// Takes a topology over if it is newer. Group times are taken over in any case.
    pub(crate) fn install(&self, topology: Topology) -> bool {
        self.replace(|current| {
            if current.is_unknown() {
                return Some(topology);
            }
            if topology.cluster() != current.cluster() {
                warn!(ours = %current.cluster(), theirs = %topology.cluster(), "ignoring the topology of another cluster");
                return None;
            }
            for group in topology.groups() {
                if let Some(known) = current.group(group.id) {
                    known.clock.observe(group.time(), process_millis());
                }
            }
            (topology.version() > current.version()).then(|| topology.succeeding(current))
        })
    }

    /// Applies what a redirect says about one slot or group, if it is news.
    pub(crate) fn learn(&self, failure: &Failure) -> bool {
        self.replace(|current| current.learning(failure))
    }

    fn replace(&self, next: impl FnOnce(&Topology) -> Option<Topology>) -> bool {
        self.changes.send_if_modified(|current| {
            let Some(next) = next(current) else { return false };
            debug!(version = next.version(), slots = %next.slot_map_version(), "topology changed");
            *current = Arc::new(next);
            self.current.store(Arc::clone(current));
            true
        })
    }

    /// Asks for a fresh look at the topology, soon and once for all who ask.
    pub(crate) fn request_refresh(&self) {
        self.request_version(u64::MAX);
    }

    /// Asks for a refresh unless a topology of at least this version is here, or is pushed before the refresh is due.
    pub(crate) fn request_version(&self, version: u64) {
        if version > self.load().version() && self.wanted.fetch_max(version, Ordering::Relaxed) == 0 {
            self.wake.notify_one();
        }
    }

    /// Waits until a refresh is asked for.
    pub(crate) async fn refresh_requested(&self) {
        self.wake.notified().await;
    }

    /// Takes the requests made so far. Returns whether the topology is still older than they want.
    pub(crate) fn take_request(&self) -> bool {
        self.wanted.swap(0, Ordering::Relaxed) > self.load().version()
    }
}

#[cfg(test)]
mod tests {
    use simplekv_types::{Epoch, GroupId, NodeId, SlotMapVersion};

    use super::*;
    use crate::topology::tests::{slot, two_groups};

    #[test]
    fn an_older_topology_never_replaces_a_newer_one() {
        let cache = SlotCache::new();
        assert!(cache.install(two_groups(5)));
        assert!(!cache.install(two_groups(4)));
        assert!(!cache.install(two_groups(5)));
        assert_eq!(cache.load().version(), 5);
        assert!(cache.install(two_groups(6)));
    }

    #[test]
    fn another_clusters_topology_is_ignored() {
        let cache = SlotCache::new();
        cache.install(two_groups(5));
        let other = Topology::new(9, simplekv_types::ClusterId(2), SlotMapVersion(9), [], Vec::new(), Vec::new());
        assert!(!cache.install(other));
    }

    #[test]
    fn redirects_are_applied_at_once() {
        let cache = SlotCache::new();
        cache.install(two_groups(5));
        let moved = Failure::Moved {
            slot: slot(1),
            group: GroupId(2),
            node: Some(NodeId(2)),
            address: String::new(),
            version: SlotMapVersion(6),
        };
        assert!(cache.learn(&moved));
        assert!(!cache.learn(&moved), "known by now");
        assert_eq!(cache.load().owner(slot(1)).unwrap().id, GroupId(2));
        let not_leader = Failure::NotLeader {
            slot: slot(0),
            group: GroupId(1),
            leader: Some(NodeId(2)),
            address: String::new(),
            epoch: Epoch(2),
        };
        assert!(cache.learn(&not_leader));
        assert_eq!(cache.load().owner(slot(0)).unwrap().leader, Some(NodeId(2)));
    }

    #[test]
    fn a_refresh_is_not_due_once_the_wanted_version_was_pushed() {
        let cache = SlotCache::new();
        cache.install(two_groups(5));
        cache.request_version(6);
        assert!(cache.install(two_groups(6)));
        assert!(!cache.take_request());
        cache.request_refresh();
        assert!(cache.take_request());
        assert!(!cache.take_request(), "taken");
    }
}
