//! A metadata store that counts what it is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use simplekv_meta::{Entry, Listing, MetaError, MetaStore, Session, Txn, TxnOutcome, Watch};
use simplekv_types::Revision;

/// What a store was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) gets: u64,
    pub(crate) lists: u64,
    pub(crate) transactions: u64,
    pub(crate) watches: u64,
    pub(crate) sessions: u64,
}

/// A store in front of another one. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Counting {
    store: Arc<dyn MetaStore>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    gets: AtomicU64,
    lists: AtomicU64,
    transactions: AtomicU64,
    watches: AtomicU64,
    sessions: AtomicU64,
}

impl Counting {
    pub(crate) fn new(store: Arc<dyn MetaStore>) -> Self {
        Self { store, counters: Arc::default() }
    }

    pub(crate) fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { gets, lists, transactions, watches, sessions } = &*self.counters;
        Counts {
            gets: read(gets),
            lists: read(lists),
            transactions: read(transactions),
            watches: read(watches),
            sessions: read(sessions),
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl MetaStore for Counting {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, MetaError>> {
        count(&self.counters.gets);
        self.store.get(key)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Listing, MetaError>> {
        count(&self.counters.lists);
        self.store.list(prefix)
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome, MetaError>> {
        count(&self.counters.transactions);
        self.store.txn(txn)
    }

    fn watch(&self, prefix: &str, after: Revision) -> Watch {
        count(&self.counters.watches);
        self.store.watch(prefix, after)
    }

    fn open_session(&self, ttl: Duration) -> BoxFuture<'_, Result<Session, MetaError>> {
        count(&self.counters.sessions);
        self.store.open_session(ttl)
    }
}
