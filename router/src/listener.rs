//! Accepting connections, for all ports.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::shared::Shared;

/// Connections the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;
/// How long to leave off accepting when accepting failed: most likely there are no file descriptors left, and trying again at once
/// would only burn the processor that is needed to close some.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Binds a port.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A router that is restarted must not wait for the connections of its predecessor to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// One connection's place among those allowed.
pub(crate) struct Place {
    shared: Arc<Shared>,
}

impl Place {
    /// `None` if all places are taken.
    pub(crate) fn take(shared: &Arc<Shared>) -> Option<Self> {
        let open = shared.metrics.connections.inc();
        let place = Self { shared: Arc::clone(shared) };
        let limit = i64::try_from(shared.limits.connections).unwrap_or(i64::MAX);
        if open < limit {
            return Some(place);
        }
        shared.metrics.connections_refused.inc();
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.metrics.connections.dec();
    }
}

/// Accepts connections until stopped, each in a task of its own among `tasks`.
pub(crate) async fn accept<F>(
    listener: TcpListener,
    stopping: CancellationToken,
    tasks: TaskTracker,
    serve: impl Fn(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopping.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Replies are written whole; waiting for more to send with them would only delay them.
                if stream.set_nodelay(true).is_ok() {
                    tasks.spawn(serve(stream, peer));
                }
            }
            Err(error) if is_about_one_connection(&error) => (),
            Err(error) => {
                warn!(error = %error, "cannot accept connections, waiting");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
}

/// A connection that went away before it was accepted says nothing about the next.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
