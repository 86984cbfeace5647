//! The Redis protocol port of a node, as a node of a Redis Cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::metrics::Metrics;
use crate::shared::Shared;

mod connection;
mod facts;
mod listening;
mod signals;
mod watch;

/// How long to leave off accepting when the process has no file descriptors left.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Serves until stopped; then waits for the connections to end.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let stopping = shared.stopping().clone();
    let connections = TaskTracker::new();
    let numbers = AtomicU64::new(1);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopping.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                // Ended by the node, or by another connection.
                let ended = stopping.child_token();
                let connection = accept(Arc::clone(&shared), stream, number, ended.clone());
                connections.spawn(ended.run_until_cancelled_owned(connection));
            }
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

async fn accept(shared: Arc<Shared>, stream: TcpStream, number: u64, ended: CancellationToken) {
    let metrics = shared.metrics();
    let open = metrics.resp_connections.fetch_add(1, Ordering::Relaxed);
    Metrics::add(&metrics.resp_accepted, 1);
    let _open = OpenConnection { shared: &shared };
    if open >= shared.limits().connections as u64 {
        Metrics::add(&metrics.rejected, 1);
        connection::refuse(stream, simplekv_resp::TOO_MANY_CLIENTS).await;
        return;
    }
    if let Err(error) = connection::run(&shared, stream, number, ended).await {
        debug!(connection = number, %error, "connection ended");
    }
}

struct OpenConnection<'a> {
    shared: &'a Shared,
}

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        Metrics::subtract(&self.shared.metrics().resp_connections, 1);
    }
}
