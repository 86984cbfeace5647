//! Who keeps copies of what it has read from nodes, and is told when that changes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use simplekv_proto::v1;
use simplekv_resp::Command;
use simplekv_resp::session::{Stale, TrackingTerms};
use simplekv_resp::tracking::{Table, Wake};
use tokio::sync::{Notify, watch};

/// Those of all nodes.
#[derive(Default)]
pub(super) struct Readers {
    table: Arc<Mutex<Table<Bell>>>,
    next: AtomicU64,
    /// Nodes that tell nothing.
    mute: watch::Sender<BTreeSet<u32>>,
}

#[derive(Clone, Default)]
struct Bell(Arc<Notify>);

impl Wake for Bell {
    fn wake(&self) {
        self.0.notify_one();
    }
}

/// A client that is told by one node, until this is dropped.
pub(super) struct Reader {
    table: Arc<Mutex<Table<Bell>>>,
    id: u64,
    bell: Bell,
}

impl Readers {
    pub(super) fn reader(&self, node: u32) -> Reader {
        // No node knows the readers of another.
        let id = (self.next.fetch_add(1, Ordering::Relaxed) << 32) | u64::from(node);
        let bell = Bell::default();
        self.table.lock().join(id, bell.clone());
        Reader { table: Arc::clone(&self.table), id, bell }
    }

    /// Before a node does a command. Whether this reader will be told of changes.
    pub(super) fn read(&self, node: u32, id: u64, command: &Command) -> bool {
        id & u64::from(u32::MAX) == u64::from(node) && self.table.lock().read(id, command)
    }

    pub(super) fn changed<'a>(&self, keys: impl IntoIterator<Item = &'a [u8]>) {
        let mut table = self.table.lock();
        keys.into_iter().for_each(|key| table.changed(key, None));
    }

    pub(super) fn everything(&self) {
        self.table.lock().everything();
    }

    pub(super) fn is_tracked(&self, key: &[u8]) -> bool {
        self.table.lock().is_read(key)
    }

    pub(super) fn set_mute(&self, node: u32, is_mute: bool) {
        self.mute.send_if_modified(|mute| if is_mute { mute.insert(node) } else { mute.remove(&node) });
    }

    /// Waits until a node tells nothing any more.
    pub(super) async fn falls_silent(&self, node: u32) {
        // An error means that the cluster is gone, and this node with it.
        let _ = self.mute.subscribe().wait_for(|mute| mute.contains(&node)).await;
    }
}

impl Reader {
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn track(&self, prefixes: Vec<Bytes>) {
        let prefixes = (!prefixes.is_empty()).then(|| prefixes.into_iter().collect());
        self.table.lock().set_terms(self.id, Some(TrackingTerms { prefixes, ..TrackingTerms::default() }));
    }

    pub(super) fn stop(&self) {
        self.table.lock().set_terms(self.id, None);
    }

    pub(super) async fn next(&self) -> v1::Stale {
        loop {
            self.bell.0.notified().await;
            let told = self.table.lock().take(self.id);
            match told.map(|told| told.own) {
                Some(Stale::Everything) => return v1::Stale { keys: Vec::new(), everything: true },
                Some(Stale::Keys(keys)) => return v1::Stale { keys: keys.into_iter().collect(), everything: false },
                None => (),
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.table.lock().leave(self.id);
    }
}
