//! For those who watch the router.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use crate::metrics;
use crate::shared::Shared;

pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics::text(&shared))
}

/// Alive: able to answer this.
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// Ready: able to find the owner of every key.
pub(super) async fn readyz(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    if let Some(reason) = shared.unready() {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{reason}\n"));
    }
    let topology = shared.topology();
    let leaderless = topology.groups().iter().filter(|group| group.leader.is_none());
    let notes: String = leaderless.map(|group| format!("degraded: {} has no leader\n", group.id)).collect();
    (StatusCode::OK, format!("ready\n{notes}"))
}
