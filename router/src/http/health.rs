//! For those who watch the router.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use simplekv_types::SLOT_COUNT;

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

/// Ready: able to find the owner of every key. A group without a leader does not make the router unready: no other router would be
/// any better.
pub(super) async fn readyz(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let topology = shared.topology();
    if shared.stopping.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "not ready\nthe router is stopping\n".to_owned());
    }
    if topology.is_unknown() {
        return (StatusCode::SERVICE_UNAVAILABLE, "not ready\nno node has told the topology yet\n".to_owned());
    }
    let unowned = usize::from(SLOT_COUNT).saturating_sub(topology.slot_counts().iter().sum());
    if unowned > 0 {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{unowned} slots belong to no group\n"));
    }
    let leaderless = topology.groups().iter().filter(|group| group.leader.is_none());
    let notes: String = leaderless.map(|group| format!("degraded: {} has no leader\n", group.id)).collect();
    (StatusCode::OK, format!("ready\n{notes}"))
}
