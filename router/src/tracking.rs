//! Which connections keep copies of what they have read, over the whole cluster.
//!
//! The client tells what changes at nodes. A connection's reads carry that they are tracked, so a node has taken a key down before it
//! reads it, and this table has before the request is begun.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;
use simplekv_client::{Client, Stale};
use simplekv_resp::session::TrackingTerms;
use simplekv_resp::tracking::{Table, Told, Wake};
use simplekv_resp::{Body, Command, Request};
use tokio::sync::Notify;

/// The connections of a router.
#[derive(Debug, Default)]
pub(crate) struct Tracking {
    table: Arc<Mutex<Table<Bell>>>,
    /// Once anybody has tracked anything.
    cluster: OnceLock<simplekv_client::Tracking>,
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
    table: Arc<Mutex<Table<Bell>>>,
    id: u64,
    bell: Bell,
}

impl Tracking {
    /// A connection that tracks nothing yet.
    pub(crate) fn tracker(&self, id: u64) -> Tracker {
        let bell = Bell::default();
        self.table.lock().join(id, bell.clone());
        Tracker { table: Arc::clone(&self.table), id, bell }
    }

    /// Whether there is a connection of this number.
    pub(crate) fn has(&self, id: u64) -> bool {
        self.table.lock().has(id)
    }

    /// A connection tracks on these terms from now on, or not any more. Resolves once all nodes tell what that takes.
    pub(crate) fn set_terms(
        &self,
        client: &Client,
        tracker: &Tracker,
        terms: Option<TrackingTerms>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let tracks = terms.is_some();
        let mut table = self.table.lock();
        table.set_terms(tracker.id, terms);
        let cluster = self.cluster.get_or_init(|| {
            let table = Arc::clone(&self.table);
            client.track(move |stale| hear(&mut table.lock(), stale))
        });
        let prefixes: BTreeSet<Bytes> = table.prefixes().cloned().collect();
        // While nobody else can change them.
        cluster.set_prefixes(prefixes);
        drop(table);
        let cluster = cluster.clone();
        async move {
            if tracks {
                cluster.ready().await;
            }
        }
    }
}

fn hear(table: &mut Table<Bell>, stale: Stale<'_>) {
    match stale {
        Stale::Keys(keys) => keys.iter().for_each(|key| table.changed(key, None)),
        Stale::Read(words) => {
            if let Ok(Request { body: Body::Data(command), .. }) = Request::parse(words.iter().cloned().collect()) {
                table.give_up(&command);
            }
        }
        _ => table.everything(),
    }
}

impl Tracker {
    /// Takes down what a command is going to read.
    pub(crate) fn read(&self, command: &Command) {
        self.table.lock().read(self.id, command);
    }

    /// Has what a command is going to read told as if it changed behind that.
    pub(crate) fn read_untracked(&self, command: &Command) {
        let mut table = self.table.lock();
        table.read(self.id, command);
        table.give_up(command);
    }

    /// Tracks nothing any more.
    pub(crate) fn stop(&self) {
        self.table.lock().set_terms(self.id, None);
    }

    /// Waits for something to be told.
    pub(crate) async fn next(&self) -> Told {
        loop {
            if let Some(told) = self.table.lock().take(self.id) {
                return told;
            }
            self.bell.0.notified().await;
        }
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.table.lock().leave(self.id);
    }
}
