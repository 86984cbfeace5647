//! A stream of changes.

use std::fmt;

use futures::StreamExt;
use futures::stream::BoxStream;
use simplekv_types::Revision;

use crate::Entry;

/// Changes below a prefix, as long as it is asked for them. Dropping it ends the watch.
pub struct Watch {
    events: BoxStream<'static, WatchEvent>,
}

impl Watch {
    pub(crate) fn new(events: BoxStream<'static, WatchEvent>) -> Self {
        Self { events }
    }

    /// The next event; `None` once the watch has ended: after [`WatchEvent::Compacted`], or when the store is gone for good.
    ///
    /// Cancel safe: no event is lost when the returned future is dropped.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        self.events.next().await
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// What a watch reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// All changes of one revision below the prefix. Revisions rise from event to event.
    Changed {
        /// The revision.
        revision: Revision,
        /// The changes, no key twice.
        changes: Vec<Change>,
    },
    /// The store answers, and every change up to this revision has been delivered. Sent when the watch begins, after an
    /// interruption, and now and then.
    Progress {
        /// The revision.
        revision: Revision,
    },
    /// The store does not answer; the watch keeps trying and goes on where it was. Sent once per interruption.
    Interrupted {
        /// What went wrong.
        reason: String,
    },
    /// Changes that were not delivered yet are gone from the store's history: list, then watch anew. The last event.
    Compacted {
        /// The oldest revision still known.
        revision: Revision,
    },
}

/// One key's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key was created or replaced.
    Put(Entry),
    /// The key was deleted, or vanished with its session.
    Delete {
        /// The key.
        key: String,
    },
}

impl Change {
    /// The key that changed.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Delete { key } => key,
        }
    }
}
