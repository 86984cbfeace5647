//! What a metadata store promises, whatever stands behind it.
//!
//! The semantics are etcd's: one revision for the whole store, one more at each change of anything; every key knows the revision
//! it was created at and the one it was last changed at. A transaction is a set of comparisons and, if all hold, a set of changes
//! that share one revision. Nothing here retries a transaction: its caller alone knows what a second execution would mean.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use simplekv_types::Revision;

use crate::{Session, Watch};

/// Most operations, and most comparisons, in one transaction: etcd's own default.
pub const TXN_OPS_MAX: usize = 128;
/// Most bytes of keys and values in one transaction. etcd refuses requests of 1.5 MiB, framing included.
pub const TXN_BYTES_MAX: usize = 1_400_000;

/// A store of small records with linearizable reads and compare-and-set.
///
/// Every call ends within the store's own time limit, also while nothing answers. Dropping the future of a call gives up waiting;
/// the call may still take effect.
pub trait MetaStore: fmt::Debug + Send + Sync + 'static {
    /// The entry of `key`, not older than anything acknowledged before the call. `None` if there is none.
    ///
    /// # Errors
    /// [`MetaError::Unavailable`] if no linearizable answer could be had, [`MetaError::Invalid`] for an empty key.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, MetaError>>;

    /// All entries whose keys begin with `prefix`, in key order, as of one revision that is not older than anything acknowledged
    /// before the call.
    ///
    /// # Errors
    /// [`MetaError::Unavailable`] if no linearizable answer could be had, [`MetaError::Invalid`] for an empty prefix.
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Listing, MetaError>>;

    /// Executes a transaction at most once.
    ///
    /// # Errors
    /// [`MetaError::Unavailable`]: it was not executed and never will be. [`MetaError::Unknown`]: it was executed, or was not, or
    /// will yet be; read to find out. [`MetaError::SessionLost`] and [`MetaError::Invalid`]: refused.
    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnOutcome, MetaError>>;

    /// Every change below `prefix` after the revision `after`, in order. Reconnects by itself; never fails, but see
    /// [`WatchEvent::Compacted`](crate::WatchEvent::Compacted).
    ///
    /// A watch is a hint: stores have lost, repeated and reordered events. Whoever needs the truth lists again from time to time.
    fn watch(&self, prefix: &str, after: Revision) -> Watch;

    /// Opens a session: keys put in it vanish when it is closed, or about `ttl` after its last keep-alive. The store may choose
    /// a longer `ttl` (etcd: whole seconds, at least one and a half election timeouts).
    ///
    /// # Errors
    /// [`MetaError::Unavailable`] if the store cannot be reached, [`MetaError::Invalid`] for a `ttl` of zero.
    fn open_session(&self, ttl: Duration) -> BoxFuture<'_, Result<Session, MetaError>>;
}

/// A key as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// Revision at which the key came into being; deleting and putting it again gives it another one.
    pub created: Revision,
    /// Revision of its last change. Invariant: at least `created`.
    pub modified: Revision,
    /// The session the key vanishes with.
    pub session: Option<SessionId>,
}

/// What a prefix held at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The entries in key order.
    pub entries: Vec<Entry>,
    /// The revision of the whole store they were read at.
    pub revision: Revision,
}

/// Names a session in puts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key was last changed at this revision; revision 0: it does not exist.
    Modified {
        /// The key compared.
        key: String,
        /// Its expected revision.
        revision: Revision,
    },
    /// The key was created at this revision; revision 0: it does not exist.
    Created {
        /// The key compared.
        key: String,
        /// Its expected revision.
        revision: Revision,
    },
    /// The key exists.
    Exists {
        /// The key compared.
        key: String,
    },
}

impl Compare {
    /// The key was last changed at `revision`; revision 0: it does not exist.
    #[must_use]
    pub fn modified(key: impl Into<String>, revision: Revision) -> Self {
        Self::Modified { key: key.into(), revision }
    }

    /// The key was created at `revision`; revision 0: it does not exist.
    #[must_use]
    pub fn created(key: impl Into<String>, revision: Revision) -> Self {
        Self::Created { key: key.into(), revision }
    }

    /// The key exists.
    #[must_use]
    pub fn exists(key: impl Into<String>) -> Self {
        Self::Exists { key: key.into() }
    }

    /// The key does not exist.
    #[must_use]
    pub fn missing(key: impl Into<String>) -> Self {
        Self::Modified { key: key.into(), revision: Revision(0) }
    }

    /// The key compared.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Modified { key, .. } | Self::Created { key, .. } | Self::Exists { key } => key,
        }
    }

    /// Whether the condition holds for the key's current entry.
    #[must_use]
    pub fn holds(&self, entry: Option<&Entry>) -> bool {
        match self {
            Self::Modified { revision, .. } => entry.map_or(Revision(0), |e| e.modified) == *revision,
            Self::Created { revision, .. } => entry.map_or(Revision(0), |e| e.created) == *revision,
            Self::Exists { .. } => entry.is_some(),
        }
    }
}

/// A change of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Creates or replaces a key.
    Put {
        /// The key.
        key: String,
        /// Its new value.
        value: Bytes,
        /// The session it shall vanish with. Without one an earlier session lets go of the key.
        session: Option<SessionId>,
    },
    /// Removes a key; no change if it does not exist.
    Delete {
        /// The key.
        key: String,
    },
}

impl Op {
    /// The key changed.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// Comparisons and, if all of them hold, changes: atomically, at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold. At most [`TXN_OPS_MAX`].
    pub compares: Vec<Compare>,
    /// What is then done. At most [`TXN_OPS_MAX`], no key twice. May be empty: then the transaction is a consistent check.
    pub ops: Vec<Op>,
}

impl Txn {
    /// A transaction that checks and does nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition.
    #[must_use]
    pub fn when(mut self, compare: Compare) -> Self {
        self.compares.push(compare);
        self
    }

    /// Adds several conditions.
    #[must_use]
    pub fn when_all(mut self, compares: impl IntoIterator<Item = Compare>) -> Self {
        self.compares.extend(compares);
        self
    }

    /// Creates or replaces a key.
    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.ops.push(Op::Put { key: key.into(), value: value.into(), session: None });
        self
    }

    /// Creates or replaces a key that vanishes with the session.
    #[must_use]
    pub fn put_in(mut self, session: SessionId, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.ops.push(Op::Put { key: key.into(), value: value.into(), session: Some(session) });
        self
    }

    /// Removes a key.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.ops.push(Op::Delete { key: key.into() });
        self
    }

    /// Checks what every store demands, before anything is sent.
    ///
    /// # Errors
    /// [`MetaError::Invalid`] if there are too many comparisons, operations or bytes, an empty key, or a key changed twice.
    pub fn check(&self) -> Result<(), MetaError> {
        let invalid = |reason: String| Err(MetaError::Invalid { reason });
        if self.compares.len() > TXN_OPS_MAX || self.ops.len() > TXN_OPS_MAX {
            let (compares, ops) = (self.compares.len(), self.ops.len());
            return invalid(format!(
                "{compares} comparisons and {ops} operations, at most {TXN_OPS_MAX} of each are allowed"
            ));
        }
        if self.compares.iter().map(Compare::key).chain(self.ops.iter().map(Op::key)).any(str::is_empty) {
            return invalid("a key is empty".to_owned());
        }
        let mut changed = BTreeSet::new();
        let mut bytes = self.compares.iter().map(|compare| compare.key().len()).sum::<usize>();
        for op in &self.ops {
            if !changed.insert(op.key()) {
                return invalid(format!("`{}` is changed twice", op.key()));
            }
            bytes += op.key().len() + if let Op::Put { value, .. } = op { value.len() } else { 0 };
        }
        if bytes > TXN_BYTES_MAX {
            return invalid(format!("{bytes} bytes of keys and values, at most {TXN_BYTES_MAX} are allowed"));
        }
        Ok(())
    }
}

/// What became of a transaction that was certainly executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOutcome {
    /// Every comparison held and the changes were made.
    Succeeded {
        /// The revision of every key put. If nothing changed (no operations, or deletes of missing keys): the store's revision.
        revision: Revision,
    },
    /// A comparison did not hold; nothing was changed.
    Lost(Lost),
}

/// Why a transaction was lost: what the compared keys hold instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The existing entries of the compared keys, each once, in key order. A key that is not here does not exist.
    pub current: Vec<Entry>,
    /// The store's revision they were read at.
    pub revision: Revision,
}

impl Lost {
    /// What a compared key holds.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.current.iter().find(|entry| entry.key == key)
    }
}

/// Why a call failed, named by what is known of its effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// The store could not be reached, or refused before doing anything. The call had no effect and never will.
    #[error("metadata store unavailable: {reason}")]
    Unavailable {
        /// What was tried.
        reason: String,
    },
    /// The call was sent, its answer was not seen. It may have taken effect, or may yet.
    #[error("outcome unknown: {reason}")]
    Unknown {
        /// What happened.
        reason: String,
    },
    /// A put names a session that has ended. Nothing was changed.
    #[error("session {session} has ended")]
    SessionLost {
        /// The session.
        session: SessionId,
    },
    /// The store refuses this call, also when repeated: malformed, too large, or not permitted. Nothing was changed.
    #[error("refused by the metadata store: {reason}")]
    Invalid {
        /// Why.
        reason: String,
    },
}

impl MetaError {
    /// Whether the call may nevertheless have taken effect, now or later.
    #[must_use]
    pub fn may_have_applied(&self) -> bool {
        match self {
            Self::Unknown { .. } => true,
            Self::Unavailable { .. } | Self::SessionLost { .. } | Self::Invalid { .. } => false,
        }
    }
}

/// Refuses an empty key or prefix: etcd takes both for something else.
pub(crate) fn check_not_empty(key: &str, what: &str) -> Result<(), MetaError> {
    if key.is_empty() { Err(MetaError::Invalid { reason: format!("the {what} is empty") }) } else { Ok(()) }
}
