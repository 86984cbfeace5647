//! The HTTP port: keys in three manners, metrics, health, and a page that shows the cluster.

mod batch;
mod etag;
mod execute;
mod health;
mod keys;
mod kv_store;
mod page;
mod path;
mod query;
mod routes;
mod session;
mod write;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::error_handling::HandleErrorLayer;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::{BoxError, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tower::ServiceBuilder;
use tracing::debug;

use crate::error::Problem;
use crate::listener::Place;
use crate::shared::Shared;

/// Most streams of one HTTP/2 connection at a time.
const STREAMS_MAX: u32 = 256;
/// Most streams that were taken back before they were begun. Whoever calls much also cancels much; beyond this it is an attack.
const TAKEN_BACK_MAX: usize = 1000;
/// How often a silent HTTP/2 connection is asked whether anybody is there, and how long an answer may take. A client that vanished must
/// not keep its place for ever.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);
const SIGN_OF_LIFE_PATIENCE: Duration = Duration::from_secs(10);

/// What serves one connection of a port with these routes.
pub(crate) fn serve(
    shared: Arc<Shared>,
    routes: Router,
) -> impl Fn(TcpStream, SocketAddr) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    move |stream, peer| {
        let (shared, routes) = (Arc::clone(&shared), routes.clone());
        Box::pin(connection(shared, routes, stream, peer))
    }
}

/// The routes of the HTTP port.
pub(crate) fn routes(shared: &Arc<Shared>) -> Router {
    let limits = &shared.limits;
    // The cluster has its own deadline; this one is for clients that send their bodies slowly.
    let patience = limits.request_timeout + limits.partial_request_timeout;
    let timely = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(|_: BoxError| async {
            Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the request took too long")
        }))
        .timeout(patience);
    routes::router()
        .layer(DefaultBodyLimit::max(limits.request_bytes))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "no_such_path", "there is nothing at this path") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path knows other methods")
        })
        .layer(timely)
        .with_state(Arc::clone(shared))
}

async fn connection(shared: Arc<Shared>, routes: Router, mut stream: TcpStream, peer: SocketAddr) {
    shared.metrics.connections_accepted.inc();
    let Some(_place) = Place::take(&shared) else {
        let text =
            b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\nretry-after: 1\r\n\r\n";
        // It may be gone already, and it must not hold us up.
        let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(text)).await;
        return;
    };
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(shared.limits.partial_request_timeout);
    let mut http2 = server.http2();
    http2.timer(TokioTimer::new()).keep_alive_interval(SIGN_OF_LIFE).keep_alive_timeout(SIGN_OF_LIFE_PATIENCE);
    http2.max_concurrent_streams(STREAMS_MAX).max_pending_accept_reset_streams(TAKEN_BACK_MAX);
    let serving = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = shared.stopping.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        debug!(peer = %peer, error, "connection ended");
    }
}
