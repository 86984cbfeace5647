//! The Redis protocol port.

mod alone;
mod busy;
mod connection;
mod ears;
mod parted;
mod pipeline;
mod questions;
mod scan;
mod task;
mod told;
mod wide;
mod within;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tracing::debug;

pub(crate) use self::alone::Alone;
use crate::listener::Place;
use crate::shared::Shared;
use connection::Connection;

/// Serves one connection until it ends.
pub(crate) async fn serve(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr) {
    shared.metrics.connections_accepted.inc();
    let Some(_place) = Place::take(&shared) else { return refuse(stream).await };
    let local = stream.local_addr().map(|address| address.to_string()).unwrap_or_default();
    let connection = Connection::new(shared, peer.to_string(), local);
    if let Err(end) = connection.serve(stream).await {
        debug!(peer = %peer, reason = %end, "connection ended");
    }
}

async fn refuse(mut stream: TcpStream) {
    // It may be gone already, and it must not hold us up.
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(simplekv_resp::TOO_MANY_CLIENTS)).await;
}
