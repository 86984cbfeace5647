//! Which connections keep copies of what they have read, over the whole cluster.
//!
//! The client tells what changes at nodes. A connection's reads carry that they are tracked, so a node has taken a key down before it
//! reads it, and this table has before the request is begun.

use std::sync::{Arc, OnceLock};

use futures::FutureExt;
use parking_lot::Mutex;
use simplekv_client::{Client, Stale};
use simplekv_resp::session::TrackingTerms;
use simplekv_resp::tracking::{Table, Told, Wake};
use simplekv_resp::{Body, Command, Request};
use tokio::sync::Notify;

/// The connections of a router.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tracking {
    table: Arc<Mutex<Table<Bell>>>,
    /// Once anybody has tracked anything.
    cluster: Arc<OnceLock<simplekv_client::Tracking>>,
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
    tracking: Tracking,
    id: u64,
    bell: Bell,
}

impl Tracking {
    /// A connection that tracks nothing yet.
    pub(crate) fn tracker(&self, id: u64) -> Tracker {
        let bell = Bell::default();
        self.table.lock().join(id, bell.clone());
        Tracker { tracking: self.clone(), id, bell }
    }

    /// Whether there is a connection of this number.
    pub(crate) fn has(&self, id: u64) -> bool {
        self.table.lock().has(id)
    }

    /// Changes the table, and what the nodes are to tell with it.
    fn change(&self, change: impl FnOnce(&mut Table<Bell>)) {
        let mut table = self.table.lock();
        change(&mut table);
        if let Some(cluster) = self.cluster.get() {
            // While nobody else can change them.
            cluster.set_prefixes(table.prefixes().cloned().collect());
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
    /// Tracks on these terms from now on, or not any more. Resolves once all nodes tell what that takes.
    pub(crate) fn set_terms(
        &self,
        client: &Client,
        terms: Option<TrackingTerms>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let Tracking { table, cluster } = &self.tracking;
        let tracks = terms.is_some();
        let cluster = cluster.get_or_init(|| {
            let table = Arc::clone(table);
            client.track(move |stale| hear(&mut table.lock(), stale))
        });
        self.tracking.change(|table| table.set_terms(self.id, terms));
        let cluster = cluster.clone();
        async move {
            if tracks {
                cluster.ready().await;
            }
        }
    }

    /// Takes down what a command is going to read.
    pub(crate) fn read(&self, command: &Command) {
        self.tracking.table.lock().read(self.id, command);
    }

    /// Has what a command is going to read told as if it changed behind that.
    pub(crate) fn read_untracked(&self, command: &Command) {
        let mut table = self.tracking.table.lock();
        table.read(self.id, command);
        table.give_up(command);
    }

    /// Tracks nothing any more.
    pub(crate) fn stop(&self) {
        self.tracking.change(|table| table.set_terms(self.id, None));
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
        self.tracking.change(|table| table.leave(self.id));
    }
}
