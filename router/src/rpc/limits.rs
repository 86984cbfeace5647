//! What every call is held to, whatever it calls.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use simplekv_proto::convert::status_of;
use simplekv_types::Failure;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Extensions, Status};

use super::status;
use crate::shared::Shared;

/// Room in a message for what is around a command's words: a session token, which may be long, and the like.
pub(super) const ROOM: usize = 128 << 10;

/// Whether a request has arrived whole.
#[derive(Clone, Debug)]
struct Arrived(CancellationToken);

/// Says that the request with these extensions has arrived whole. How long it takes from there on is its own business.
pub(super) fn has_arrived(extensions: &Extensions) {
    if let Some(Arrived(arrived)) = extensions.get() {
        arrived.cancel();
    }
}

/// Answers a call, counts it, and refuses one that takes too long to arrive. What was refused for its length is told in the words of the
/// table: the library that reads messages knows nothing of it.
pub(super) async fn hold(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let arrived = CancellationToken::new();
    request.extensions_mut().insert(Arrived(arrived.clone()));
    let late = async {
        if tokio::time::timeout(shared.limits.partial_request_timeout, arrived.cancelled()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    let response = tokio::select! {
        response = next.run(request) => response,
        () = late => status_of(&Failure::Timeout { what: "the request did not arrive whole".into() }).into_http(),
    };
    // A call that did not fail says so behind its answer, not here.
    let failed = response.extensions().get::<Status>();
    shared.metrics.grpc_calls.inc();
    if failed.is_some_and(is_ours) {
        shared.metrics.grpc_errors.inc();
    }
    match failed {
        Some(told) if told.code() == Code::OutOfRange => {
            status::too_long(told, shared.limits.request_bytes).into_http()
        }
        _ => response,
    }
}

/// Whether a call failed for reasons that do not lie in it.
fn is_ours(status: &Status) -> bool {
    use Code::{DataLoss, DeadlineExceeded, Internal, ResourceExhausted, Unavailable, Unknown};
    matches!(status.code(), Unknown | DeadlineExceeded | ResourceExhausted | Internal | Unavailable | DataLoss)
}
