//! Keeps a decoded copy of the cluster's records current.
//!
//! List, then watch from there, and list again every so often: a watch is a hint, stores have lost events of it. The copy of a
//! record is never replaced by an older one. When the store itself shows something older, it was restored from a backup; the
//! mirror then says so and follows no more.

mod copy;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use simplekv_types::Revision;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use self::copy::{Copy, Regression};
use crate::backoff::{Delays, about, delays};
use crate::{ClusterView, Freshness, Keys, Listing, MetaError, MetaStore, Watch, WatchEvent, pace};

/// Most events that are taken in before the view is shown.
const EVENTS_AT_ONCE_MAX: usize = 1024;

/// How a [`Mirror`] behaves.
#[derive(Clone, Copy, Debug)]
pub struct MirrorOptions {
    /// Everything is listed anew this often, or less often in a large cluster: see [`pace::relist_interval`].
    pub relist_interval: Duration,
}

impl Default for MirrorOptions {
    /// Every 60 s.
    fn default() -> Self {
        Self { relist_interval: Duration::from_secs(60) }
    }
}

/// A copy of the cluster's records that follows the store. It ends with its last clone.
#[derive(Clone, Debug)]
pub struct Mirror {
    view: watch::Receiver<Arc<ClusterView>>,
    refresh: Arc<Notify>,
    _task: Arc<Task>,
}

impl Mirror {
    /// Begins to follow the records under `keys`. Returns at once, with a view in which nothing is known; must be called within a
    /// tokio runtime.
    #[must_use]
    pub fn start(store: Arc<dyn MetaStore>, keys: Keys, options: MirrorOptions) -> Self {
        let (out, view) = watch::channel(Arc::default());
        let refresh = Arc::new(Notify::new());
        let copy = Copy::new(keys);
        let follower =
            Follower { store, options, refresh: Arc::clone(&refresh), out, copy, is_watching: true, delays: delays() };
        Self { view, refresh, _task: Arc::new(Task(tokio::spawn(follower.run()))) }
    }

    /// What is known now.
    #[must_use]
    pub fn view(&self) -> Arc<ClusterView> {
        Arc::clone(&self.view.borrow())
    }

    /// A receiver of every change of the view. Changes that come faster than they are looked at are seen as one.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<ClusterView>> {
        self.view.clone()
    }

    /// Lists everything soon, for whoever has reason to believe that the view is behind.
    pub fn refresh(&self) {
        self.refresh.notify_one();
    }

    /// Waits for a view that satisfies `wanted`; the present one counts. Waits for ever if none does.
    pub async fn until(&self, wanted: impl Fn(&ClusterView) -> bool) -> Arc<ClusterView> {
        let mut view = self.view.clone();
        let found = view.wait_for(|view| wanted(view)).await.map(|view| Arc::clone(&view));
        match found {
            Ok(view) => view,
            Err(_) => pending().await, // the runtime is going down
        }
    }

    /// Waits for a view that has seen a revision, as of a write of one's own.
    pub async fn seen(&self, revision: Revision) -> Arc<ClusterView> {
        self.until(|view| view.revision >= revision).await
    }
}

#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Follower {
    store: Arc<dyn MetaStore>,
    options: MirrorOptions,
    refresh: Arc<Notify>,
    out: watch::Sender<Arc<ClusterView>>,
    copy: Copy,
    /// False while the watch is interrupted.
    is_watching: bool,
    /// Between lists that fail.
    delays: Delays,
}

/// Why one watch is not followed any longer.
enum End {
    /// It has ended; a list and another watch carry on.
    Watch,
    /// Following makes no sense any more.
    Regressed(Regression),
}

impl Follower {
    async fn run(mut self) {
        loop {
            let revision = match self.begin().await {
                Ok(revision) => revision,
                Err(regression) => return self.stop(regression).await,
            };
            let watch = self.store.watch(&self.copy.keys().all(), revision);
            match self.follow(watch).await {
                End::Watch => (),
                End::Regressed(regression) => return self.stop(regression).await,
            }
        }
    }

    /// Lists until it works. Returns the revision to watch from.
    async fn begin(&mut self) -> Result<Revision, Regression> {
        self.is_watching = true; // until the watch says otherwise
        loop {
            match self.list().await {
                Ok(listing) => {
                    let revision = listing.revision;
                    self.on_listing(listing)?;
                    return Ok(revision);
                }
                Err(error) => {
                    let wait = self.on_list_failed(&error);
                    sleep_until(wait).await;
                }
            }
        }
    }

    async fn follow(&mut self, mut watch: Watch) -> End {
        let mut list_at = Instant::now() + self.relist_interval();
        let mut listing: Option<BoxFuture<'static, Result<Listing, MetaError>>> = None;
        loop {
            let (is_listing, refresh) = (listing.is_some(), Arc::clone(&self.refresh));
            let wanted = tokio::select! {
                event = watch.next() => match self.on_events(event, &mut watch) {
                    None => return End::Watch,
                    Some(wanted) => wanted,
                },
                listed = settled(&mut listing) => {
                    listing = None;
                    match listed.map(|listed| self.on_listing(listed)) {
                        Ok(Ok(())) => list_at = Instant::now() + self.relist_interval(),
                        Ok(Err(regression)) => return End::Regressed(regression),
                        Err(error) => list_at = self.on_list_failed(&error),
                    }
                    false
                }
                () = sleep_until(list_at), if !is_listing => true,
                () = refresh.notified(), if !is_listing => true,
            };
            if wanted {
                // Also in place of one that is under way: it may have begun before the interruption.
                listing = Some(self.list());
            }
        }
    }

    fn relist_interval(&self) -> Duration {
        let least = self.options.relist_interval;
        let interval = pace::relist_interval(least, self.copy.view().live.len(), self.copy.bytes());
        if interval == least { least } else { about(interval) }
    }

    fn list(&mut self) -> BoxFuture<'static, Result<Listing, MetaError>> {
        self.copy.begin_listing();
        let (store, prefix) = (Arc::clone(&self.store), self.copy.keys().all());
        async move { store.list(&prefix).await }.boxed()
    }

    /// Takes in an event and those that are here already, and shows once what they made: in a large cluster that is the larger work.
    /// Returns whether everything should be listed now; `None` if the watch has ended.
    fn on_events(&mut self, first: Option<WatchEvent>, watch: &mut Watch) -> Option<bool> {
        let (mut next, mut wanted, mut taken) = (Some(first), false, 0);
        while let Some(event) = next {
            match event {
                Some(WatchEvent::Compacted { .. }) | None => {
                    self.show();
                    return None;
                }
                Some(event) => wanted |= self.on_event(event),
            }
            taken += 1;
            next = if taken < EVENTS_AT_ONCE_MAX { watch.next().now_or_never() } else { None };
        }
        self.show();
        Some(wanted)
    }

    /// Returns whether everything should be listed now.
    fn on_event(&mut self, event: WatchEvent) -> bool {
        match event {
            WatchEvent::Changed { revision, changes } => {
                self.copy.on_changes(revision, &changes);
            }
            WatchEvent::Interrupted { reason } => {
                tracing::warn!(reason, "the metadata store does not answer; going on with what is known");
                self.is_watching = false;
                self.become_stale();
            }
            WatchEvent::Progress { .. } => {
                let is_back = !std::mem::replace(&mut self.is_watching, true);
                // Only a list can tell whether it is still the same store.
                return is_back;
            }
            WatchEvent::Compacted { .. } => (),
        }
        false
    }

    fn on_listing(&mut self, listing: Listing) -> Result<(), Regression> {
        self.delays = delays();
        self.copy.on_listing(listing)?;
        if self.is_watching {
            self.copy.set_freshness(Freshness::Current);
        }
        self.show();
        Ok(())
    }

    /// Returns when to try again.
    fn on_list_failed(&mut self, error: &MetaError) -> Instant {
        let delay = self.delays.next_delay();
        tracing::debug!(%error, ?delay, "the metadata store could not be listed");
        self.become_stale();
        Instant::now() + delay
    }

    fn become_stale(&mut self) {
        // A view of which nothing is known is not stale, and one that was stale stays so since then.
        if self.copy.view().freshness == Freshness::Current {
            self.copy.set_freshness(Freshness::Stale { since: Instant::now() });
            self.show();
        }
    }

    fn show(&self) {
        self.out.send_if_modified(|shown| {
            let is_new = **shown != *self.copy.view();
            if is_new {
                *shown = Arc::new(self.copy.view().clone());
            }
            is_new
        });
    }

    /// Shows the regression for as long as the mirror lives.
    async fn stop(mut self, regression: Regression) {
        let Regression { known, found, what } = regression;
        tracing::error!(%known, %found, what, "the metadata store has gone back in time; not following it any more");
        self.copy.set_freshness(Freshness::Regressed { known, found });
        self.show();
        pending().await
    }
}

/// The listing's result; never, if none is under way. Cancel safe.
async fn settled(listing: &mut Option<BoxFuture<'static, Result<Listing, MetaError>>>) -> Result<Listing, MetaError> {
    match listing {
        Some(listing) => listing.await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
