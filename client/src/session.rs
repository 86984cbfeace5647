//! Sessions: what a caller reads follows on what it has read and written, on whatever replica.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use parking_lot::Mutex;
use simplekv_types::{GroupId, Position, Reply, SessionToken};

use crate::Client;

/// A client whose reads see everything that was read and written through it, and never go back in time. See
/// [`Client::session`](crate::Client::session).
///
/// It has all methods of a [`Client`]. Reads that do not say themselves which replicas may answer them may be answered by any that has
/// caught up with the session ([`ReadPolicy::Session`](crate::ReadPolicy::Session)). Clones are the same session. What is begun before
/// something else has ended need not see it.
///
/// The promise can be handed on, to another process and over another protocol: [`Session::token`] says as text what the session has
/// seen, [`Client::resume`](crate::Client::resume) goes on from there. A write whose outcome is unknown is not part of it.
#[derive(Clone)]
pub struct Session {
    client: Client,
    ledger: Arc<Ledger>,
}

impl Session {
    pub(crate) fn new(client: &Client, token: SessionToken) -> Self {
        let ledger = Arc::new(Ledger(Mutex::new(token)));
        Self { client: client.within(Arc::clone(&ledger)), ledger }
    }

    /// What the session has seen by now.
    #[must_use]
    pub fn token(&self) -> SessionToken {
        self.ledger.0.lock().clone()
    }

    /// From now on the session has seen all that another has, too.
    pub fn merge(&self, token: &SessionToken) {
        self.ledger.0.lock().merge(token);
    }
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("token", &format_args!("{}", self.token())).finish_non_exhaustive()
    }
}

/// What a session has seen so far.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<SessionToken>);

impl Ledger {
    /// What was seen of a group.
    pub(crate) fn position(&self, group: GroupId) -> Position {
        self.0.lock().position(group)
    }

    pub(crate) fn observe(&self, position: Position) {
        self.0.lock().observe(position);
    }
}

/// An answer, and where it was read or written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answered {
    pub(crate) reply: Reply,
    /// `None` if no group was involved.
    pub(crate) seen: Option<Position>,
}

impl From<Reply> for Answered {
    fn from(reply: Reply) -> Self {
        Self { reply, seen: None }
    }
}

/// What a read must not be older than.
#[derive(Clone, Debug)]
pub(crate) enum Floor {
    /// Nothing in particular.
    Nothing,
    /// What the session has seen when the read is sent.
    Session(Arc<Ledger>),
    /// What those who share the read have seen.
    Position(Position),
}
