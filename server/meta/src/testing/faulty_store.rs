//! A store that fails on demand.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use simplekv_types::Revision;
use tokio::sync::watch;

use crate::{Entry, Listing, MetaError, MetaStore, Session, Txn, TxnOutcome, Watch, WatchEvent};

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Nothing is answered, nothing takes effect, watches are interrupted.
    Outage,
    /// Transactions take effect, but their answers are lost.
    LostAnswers,
    /// Transactions do not take effect, and nobody is told.
    LostRequests,
    /// Watches swallow changes and pretend that all is well.
    LostEvents,
}

/// A store in front of another one, with faults that can be switched on and off. Clones share them.
#[derive(Clone, Debug)]
pub struct FaultyStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Mutex<Arc<dyn MetaStore>>,
    fault: watch::Sender<Fault>,
}

impl FaultyStore {
    /// A store without faults yet.
    #[must_use]
    pub fn new(store: Arc<dyn MetaStore>) -> Self {
        Self { shared: Arc::new(Shared { store: Mutex::new(store), fault: watch::Sender::default() }) }
    }

    /// Switches to a fault, or with [`Fault::None`] back to health.
    pub fn set(&self, fault: Fault) {
        self.shared.fault.send_replace(fault);
    }

    /// Puts another store in place of the one behind, as a restored backup. Only during an outage: open watches go over to it
    /// when the outage ends.
    pub fn replace(&self, store: Arc<dyn MetaStore>) {
        *self.shared.store.lock() = store;
    }

    fn store(&self) -> Arc<dyn MetaStore> {
        Arc::clone(&self.shared.store.lock())
    }

    fn check(&self) -> Result<Arc<dyn MetaStore>, MetaError> {
        match *self.shared.fault.borrow() {
            Fault::Outage => Err(MetaError::Unavailable { reason: "a fault".to_owned() }),
            _ => Ok(self.store()),
        }
    }
}

impl MetaStore for FaultyStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, MetaError>> {
        async move { self.check()?.get(key).await }.boxed()
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Listing, MetaError>> {
        async move { self.check()?.list(prefix).await }.boxed()
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome, MetaError>> {
        async move {
            let store = self.check()?;
            let fault = *self.shared.fault.borrow();
            match fault {
                Fault::LostRequests => Err(MetaError::Unknown { reason: "a lost request".to_owned() }),
                Fault::LostAnswers => {
                    store.txn(txn).await?;
                    Err(MetaError::Unknown { reason: "a lost answer".to_owned() })
                }
                Fault::None | Fault::Outage | Fault::LostEvents => store.txn(txn).await,
            }
        }
        .boxed()
    }

    fn watch(&self, prefix: &str, after: Revision) -> Watch {
        let watch = FaultyWatch {
            store: self.clone(),
            fault: self.shared.fault.subscribe(),
            prefix: prefix.to_owned(),
            after,
            inner: None,
            is_over: false,
        };
        Watch::new(futures::stream::unfold(watch, FaultyWatch::step).boxed())
    }

    fn open_session(&self, ttl: Duration) -> BoxFuture<'_, Result<Session, MetaError>> {
        async move { self.check()?.open_session(ttl).await }.boxed()
    }
}

struct FaultyWatch {
    store: FaultyStore,
    fault: watch::Receiver<Fault>,
    prefix: String,
    after: Revision,
    /// `None` before the first event and during an outage.
    inner: Option<Watch>,
    is_over: bool,
}

impl FaultyWatch {
    async fn step(mut self) -> Option<(WatchEvent, Self)> {
        if self.is_over {
            return None;
        }
        loop {
            let fault = *self.fault.borrow_and_update();
            if fault == Fault::Outage {
                if self.inner.take().is_some() {
                    return Some((WatchEvent::Interrupted { reason: "a fault".to_owned() }, self));
                }
                self.fault.changed().await.ok()?;
                continue;
            }
            let inner = self.inner.get_or_insert_with(|| self.store.store().watch(&self.prefix, self.after));
            let event = tokio::select! {
                event = inner.next() => event?,
                changed = self.fault.changed() => {
                    changed.ok()?;
                    continue;
                }
            };
            match &event {
                WatchEvent::Changed { revision, .. } => self.after = *revision,
                WatchEvent::Compacted { .. } => self.is_over = true,
                WatchEvent::Progress { .. } | WatchEvent::Interrupted { .. } => (),
            }
            if fault == Fault::LostEvents && matches!(event, WatchEvent::Changed { .. }) {
                continue;
            }
            return Some((event, self));
        }
    }
}
