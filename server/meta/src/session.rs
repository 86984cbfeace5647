//! A claim to be alive, made to the metadata store.
//!
//! A hint for failure detection and nothing more: a store may end a session early or late. No safety argument may rest on one.

use std::future::Future;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::{MetaError, SessionId};

/// What is known about an open session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// Kept alive.
    Alive,
    /// No keep-alive was answered for so long that the store may have ended it; it may also revive.
    Doubtful,
    /// The store says it has ended, or it was closed. Final: its keys are gone.
    Lost,
}

/// An open session, kept alive by a task of its own.
///
/// Dropping it ends the keep-alive; its keys then vanish after its `ttl`. [`Session::close`] removes them at once.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    ttl: Duration,
    state: watch::Receiver<SessionState>,
    paused: watch::Sender<bool>,
    close: mpsc::Sender<CloseRequest>,
}

/// Where the result of closing goes.
pub(crate) type CloseRequest = oneshot::Sender<Result<(), MetaError>>;

/// The keep-alive task's end of a [`Session`].
#[derive(Debug)]
pub(crate) struct SessionTask {
    pub(crate) state: watch::Sender<SessionState>,
    pub(crate) paused: watch::Receiver<bool>,
    /// Yields `None` when the session was dropped.
    pub(crate) close: mpsc::Receiver<CloseRequest>,
}

impl Session {
    pub(crate) fn new(id: SessionId, ttl: Duration) -> (Self, SessionTask) {
        let (state_out, state) = watch::channel(SessionState::Alive);
        let (paused, paused_in) = watch::channel(false);
        let (close, close_in) = mpsc::channel(1);
        (Self { id, ttl, state, paused, close }, SessionTask { state: state_out, paused: paused_in, close: close_in })
    }

    /// The session's name, for puts.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// How long after the last keep-alive the store ends the session: what was asked for, or what the store made of it.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// What is known now.
    #[must_use]
    pub fn state(&self) -> SessionState {
        // A vanished task cannot keep anything alive any more.
        if self.state.has_changed().is_err() { SessionState::Lost } else { *self.state.borrow() }
    }

    /// A receiver of every change of the state.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<SessionState> {
        self.state.clone()
    }

    /// Completes once the session is [`SessionState::Lost`]. Does not borrow the session.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut state = self.state.clone();
        async move {
            // An error means that the task is gone, and with it the keep-alive.
            let _ = state.wait_for(|state| *state == SessionState::Lost).await;
        }
    }

    /// Stops (`true`) or resumes the keep-alive, for a node that must not look healthy. A session paused for longer than its
    /// `ttl` is lost.
    pub fn set_paused(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// Ends the session: its keys vanish at once.
    ///
    /// # Errors
    /// [`MetaError::Unavailable`] or [`MetaError::Unknown`] if the store did not confirm; the keys then vanish after the `ttl`.
    pub async fn close(self) -> Result<(), MetaError> {
        let (done, closed) = oneshot::channel();
        if self.close.send(done).await.is_err() {
            return Ok(()); // lost before: nothing is left to remove
        }
        closed.await.unwrap_or(Ok(()))
    }
}
