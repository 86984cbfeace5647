//! A session as an etcd lease, kept alive.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::Client;
use tokio::time::{Instant, sleep_until};

use super::endpoints::Endpoints;
use super::failure::{self, Failure};
use crate::SessionState;
use crate::backoff::{Delays, delays};
use crate::pace::keep_alive_interval;
use crate::session::{CloseRequest, SessionTask};

/// Keeps a lease alive until its session is closed, dropped or lost. `asked_at`: before the lease was granted.
pub(super) async fn keep(endpoints: Arc<Endpoints>, lease: i64, ttl: Duration, asked_at: Instant, task: SessionTask) {
    Keeper { endpoints, lease, ttl, valid_until: asked_at + trusted(ttl), delays: delays(), task }.run(asked_at).await;
}

struct Keeper {
    endpoints: Arc<Endpoints>,
    lease: i64,
    ttl: Duration,
    /// Until then nobody can have seen the lease end. Counted from when the last answered keep-alive was *sent*.
    valid_until: Instant,
    /// Between failed keep-alives.
    delays: Delays,
    task: SessionTask,
}

/// What a keep-alive found.
enum Found {
    Renewed,
    Gone,
}

impl Keeper {
    async fn run(mut self, asked_at: Instant) {
        let mut due = asked_at + self.period();
        loop {
            tokio::select! {
                request = self.task.close.recv() => {
                    if let Some(closed) = request {
                        self.close(closed).await;
                    }
                    return;
                }
                () = sleep_until(due) => (),
            }
            let sent_at = Instant::now();
            due = sent_at + self.period();
            if !*self.task.paused.borrow() {
                match self.renew().await {
                    Ok(Found::Renewed) => {
                        self.valid_until = sent_at + trusted(self.ttl);
                        self.delays = delays();
                    }
                    Ok(Found::Gone) => return self.show(SessionState::Lost),
                    Err(_) => due = Instant::now() + self.delays.next_delay().min(self.period()),
                }
            }
            // etcd may have extended the lease, or may not have noticed: doubtful is not lost.
            let is_valid = Instant::now() < self.valid_until;
            self.show(if is_valid { SessionState::Alive } else { SessionState::Doubtful });
        }
    }

    fn period(&self) -> Duration {
        keep_alive_interval(self.ttl)
    }

    /// Sends one keep-alive, on a stream of its own: a long-lived one can fall silent when etcd changes its leader.
    async fn renew(&self) -> Result<Found, Failure> {
        let member = self.endpoints.preferred();
        let lease = self.lease;
        self.endpoints.attempt(member, self.period(), move |client| renew(client, lease)).await
    }

    async fn close(self, closed: CloseRequest) {
        let lease = self.lease;
        // Revoked twice is revoked: the second time the lease is not known any more.
        let revoke = move |client: Client| async move { client.lease_client().revoke(lease).await };
        let result = match self.endpoints.repeat(revoke).await {
            Ok(_) | Err(Failure::SessionUnknown(_)) => Ok(()),
            Err(failure) => Err(failure::of_txn(failure, None)),
        };
        self.show(SessionState::Lost);
        // Whoever asked may have given up waiting.
        let _ = closed.send(result);
    }

    fn show(&self, state: SessionState) {
        self.task.state.send_if_modified(|shown| std::mem::replace(shown, state) != state);
    }
}

async fn renew(client: Client, lease: i64) -> Result<Found, etcd_client::Error> {
    match client.lease_client().keep_alive(lease).await {
        Ok(_stream) => Ok(Found::Renewed),
        // Also said when the stream breaks.
        Err(etcd_client::Error::LeaseKeepAliveError(_)) => {
            let left = client.lease_client().time_to_live(lease, None).await?.ttl();
            Ok(if left > 0 { Found::Renewed } else { Found::Gone })
        }
        Err(error) => Err(error),
    }
}

/// How much of a time to live is counted on: clocks differ, and the answer took its way.
fn trusted(ttl: Duration) -> Duration {
    ttl - ttl / 10
}
