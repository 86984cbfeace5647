//! A metadata store within the process, for where one process is the whole cluster.
//!
//! Everything is in memory; each change replaces one file before it becomes visible. Group records change rarely, so simplicity
//! wins over speed. A session ends with the process: whoever is not there when the file is opened is not alive.

mod file;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use simplekv_types::Revision;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use self::file::{SaveError, StateFile};
use crate::pace::keep_alive_interval;
use crate::session::SessionTask;
use crate::store::check_not_empty;
use crate::{
    Change, Entry, Listing, MetaError, MetaStore, Model, Session, SessionId, SessionState, Txn, TxnOutcome, Watch,
    WatchEvent,
};

pub use self::file::OpenError;

/// How an [`EmbeddedStore`] behaves.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedOptions {
    /// How many revisions a watch can go back. At least 1.
    pub history: usize,
}

impl Default for EmbeddedOptions {
    /// 10 000 revisions.
    fn default() -> Self {
        Self { history: 10_000 }
    }
}

/// A metadata store in memory, with a file behind it or without. Clones share the store; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct EmbeddedStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// What is on disk; `None` for a store that dies with the process.
    file: Option<StateFile>,
    /// Held while a change is on its way to the file: changes reach file and memory in the same order.
    turn: tokio::sync::Mutex<()>,
    shared: Mutex<Shared>,
    /// The revision of `shared`, to wake watches.
    revision: watch::Sender<Revision>,
    options: EmbeddedOptions,
}

#[derive(Debug)]
struct Shared {
    /// Invariant: equal to the file's content, but for sessions without keys.
    model: Model,
    /// The changes of the latest revisions, in order. Invariant: every revision from `forgotten` (exclusive) to the model's.
    history: VecDeque<(Revision, Arc<[Change]>)>,
    /// Watches cannot begin before this revision.
    forgotten: Revision,
    /// Set once memory and file may differ. Nothing is answered any more: what the next start finds is not known.
    poisoned: Option<String>,
}

impl EmbeddedStore {
    /// An empty store that is forgotten with its last clone.
    #[must_use]
    pub fn in_memory(options: EmbeddedOptions) -> Self {
        Self::new(Model::default(), None, options)
    }

    /// The store saved in the file at `path`, or an empty one if there is none. Its directory must exist. Sessions of the process
    /// that wrote the file have ended. Reads the file before it returns.
    ///
    /// # Errors
    /// [`OpenError`] if another process has the file open, it cannot be read or written, or its content is not what was written.
    pub fn open(path: &Path, options: EmbeddedOptions) -> Result<Self, OpenError> {
        let (file, mut model) = StateFile::open(path)?;
        let before = model.revision();
        for session in model.sessions() {
            model.end_session(session);
        }
        if model.revision() != before {
            // Otherwise the same revision could come to stand for another change after the next start.
            file.save(&model).map_err(|error| OpenError::io(path, error.into_io()))?;
        }
        Ok(Self::new(model, Some(file), options))
    }

    /// The revision of the last change.
    #[must_use]
    pub fn revision(&self) -> Revision {
        *self.inner.revision.borrow()
    }

    fn new(model: Model, file: Option<StateFile>, options: EmbeddedOptions) -> Self {
        let forgotten = model.revision();
        let shared = Shared { model, history: VecDeque::new(), forgotten, poisoned: None };
        let revision = watch::Sender::new(forgotten);
        let (turn, shared) = (tokio::sync::Mutex::new(()), Mutex::new(shared));
        Self { inner: Arc::new(Inner { file, turn, shared, revision, options }) }
    }
}

impl MetaStore for EmbeddedStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, MetaError>> {
        async move {
            check_not_empty(key, "key")?;
            Ok(self.inner.shared.lock().usable()?.model.get(key))
        }
        .boxed()
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Listing, MetaError>> {
        async move {
            check_not_empty(prefix, "prefix")?;
            Ok(self.inner.shared.lock().usable()?.model.list(prefix))
        }
        .boxed()
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome, MetaError>> {
        Arc::clone(&self.inner).commit(move |model| model.txn(&txn)).boxed()
    }

    fn watch(&self, prefix: &str, after: Revision) -> Watch {
        let place = Place {
            store: Arc::downgrade(&self.inner),
            revision: self.inner.revision.subscribe(),
            prefix: prefix.to_owned(),
            after,
            begun: false,
            ended: false,
        };
        Watch::new(futures::stream::unfold(place, Place::step).boxed())
    }

    fn open_session(&self, ttl: Duration) -> BoxFuture<'_, Result<Session, MetaError>> {
        async move {
            if ttl.is_zero() {
                return Err(MetaError::Invalid { reason: "a session of no duration".to_owned() });
            }
            let id = Arc::clone(&self.inner).commit(|model| Ok((model.open_session(), Vec::new()))).await?;
            let (session, task) = Session::new(id, ttl);
            tokio::spawn(keep(Arc::downgrade(&self.inner), id, ttl, task));
            Ok(session)
        }
        .boxed()
    }
}

impl Inner {
    /// Makes a change: on disk, then in memory, then for the watches.
    async fn commit<R: Send + 'static>(
        self: Arc<Self>,
        change: impl FnOnce(&mut Model) -> Result<(R, Vec<Change>), MetaError> + Send + 'static,
    ) -> Result<R, MetaError> {
        if self.file.is_none() {
            let mut shared = self.shared.lock();
            let (result, changes) = change(&mut shared.usable()?.model)?;
            self.publish(&mut shared, changes);
            return Ok(result);
        }
        // In a task of its own: a caller that gives up must not leave file and memory apart.
        let committed = tokio::spawn(async move {
            let _turn = self.turn.lock().await;
            let mut next = self.shared.lock().usable()?.model.clone();
            let (result, changes) = change(&mut next)?;
            let next = if changes.is_empty() { next } else { Arc::clone(&self).save(next).await? };
            let mut shared = self.shared.lock();
            shared.model = next;
            self.publish(&mut shared, changes);
            Ok(result)
        });
        committed.await.unwrap_or_else(|error| Err(MetaError::Unknown { reason: error.to_string() }))
    }

    async fn save(self: Arc<Self>, model: Model) -> Result<Model, MetaError> {
        let store = Arc::clone(&self);
        let saved = tokio::task::spawn_blocking(move || {
            let file = store.file.as_ref().expect("only called for a store with a file");
            file.save(&model).map(|()| model)
        });
        match saved.await {
            Ok(Ok(model)) => Ok(model),
            Ok(Err(SaveError::NotReplaced(error))) => Err(MetaError::Unavailable { reason: error.to_string() }),
            Ok(Err(SaveError::Uncertain(error))) => Err(self.poison(error.to_string())),
            Err(error) => Err(self.poison(error.to_string())),
        }
    }

    fn poison(&self, reason: String) -> MetaError {
        tracing::error!(
            reason,
            "the embedded metadata store does not know what is on disk and answers nothing any more"
        );
        self.shared.lock().poisoned = Some(reason.clone());
        MetaError::Unknown { reason }
    }

    /// Records changes that are in the model and shows them to the watches. Called with the lock held: no watch may see the
    /// revision before the history.
    fn publish(&self, shared: &mut Shared, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let revision = shared.model.revision();
        debug_assert_eq!(revision.0, shared.history.back().map_or(shared.forgotten, |(last, _)| *last).0 + 1);
        shared.history.push_back((revision, changes.into()));
        while shared.history.len() > self.options.history.max(1) {
            if let Some((oldest, _)) = shared.history.pop_front() {
                shared.forgotten = oldest;
            }
        }
        self.revision.send_replace(revision);
    }
}

impl Shared {
    fn usable(&mut self) -> Result<&mut Self, MetaError> {
        match &self.poisoned {
            None => Ok(self),
            Some(reason) => Err(MetaError::Unavailable { reason: format!("stopped after a failed write: {reason}") }),
        }
    }

    /// The first revision after `after` with changes below `prefix`, or else the revision up to which there are none.
    fn next_change(&self, prefix: &str, after: Revision) -> Result<(Revision, Vec<Change>), Revision> {
        let newer = self.history.partition_point(|(revision, _)| *revision <= after);
        self.history
            .range(newer..)
            .find_map(|(revision, changes)| {
                let ours: Vec<Change> =
                    changes.iter().filter(|change| change.key().starts_with(prefix)).cloned().collect();
                (!ours.is_empty()).then_some((*revision, ours))
            })
            .ok_or_else(|| after.max(self.model.revision()))
    }
}

/// How far one watch has come.
struct Place {
    store: Weak<Inner>,
    revision: watch::Receiver<Revision>,
    prefix: String,
    /// Everything up to here was delivered.
    after: Revision,
    begun: bool,
    ended: bool,
}

impl Place {
    async fn step(mut self) -> Option<(WatchEvent, Self)> {
        if self.ended {
            return None;
        }
        loop {
            self.revision.borrow_and_update();
            let event = self.look(&*self.store.upgrade()?);
            if let Some(event) = event {
                return Some((event, self));
            }
            self.revision.changed().await.ok()?;
        }
    }

    fn look(&mut self, store: &Inner) -> Option<WatchEvent> {
        let shared = store.shared.lock();
        if self.after < shared.forgotten {
            self.ended = true;
            return Some(WatchEvent::Compacted { revision: Revision(shared.forgotten.0 + 1) });
        }
        if !self.begun {
            self.begun = true;
            return Some(WatchEvent::Progress { revision: self.after });
        }
        match shared.next_change(&self.prefix, self.after) {
            Ok((revision, changes)) => {
                self.after = revision;
                Some(WatchEvent::Changed { revision, changes })
            }
            Err(revision) => {
                self.after = revision;
                None
            }
        }
    }
}

/// Keeps a session alive as long as its [`Session`] is there, and ends it afterwards.
async fn keep(store: Weak<Inner>, id: SessionId, ttl: Duration, mut task: SessionTask) {
    let mut tick = tokio::time::interval(keep_alive_interval(ttl));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut renewed = Instant::now();
    let mut held = true;
    loop {
        let closing = tokio::select! {
            request = task.close.recv(), if held => {
                held = false;
                request
            }
            _ = tick.tick() => {
                if held && !*task.paused.borrow() {
                    renewed = Instant::now();
                }
                None
            }
        };
        if closing.is_none() && renewed.elapsed() < ttl {
            continue;
        }
        let Some(store) = store.upgrade() else { return };
        let ended = store.commit(move |model| Ok(((), model.end_session(id)))).await;
        if ended.is_ok() {
            task.state.send_replace(SessionState::Lost);
        }
        let is_over = ended.is_ok();
        if let Some(closing) = closing {
            // Nobody waits for the result any more if the receiver is gone.
            let _ = closing.send(ended);
        }
        if is_over {
            return;
        }
    }
}
