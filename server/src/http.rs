//! The admin port of a node: the admin service over gRPC, and metrics and health over plain HTTP, on one socket.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use simplekv_meta::Records;
use simplekv_proto::v1::admin_server::{self, AdminServer};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::error;

use crate::group::Report;
use crate::hosted::Order;
use crate::metrics::Moment;
use crate::rpc::admin::AdminService;
use crate::rpc::{reflection, status};
use crate::shared::Shared;

/// How long the groups may take, all together, to tell how they are. Shorter than another node waits for the answer: one group that
/// hangs must not make all others here look as if they did.
const REPORT_PATIENCE: Duration = Duration::from_millis(500);

/// Serves until stopped.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>, records: Records) {
    let stopping = shared.stopping().clone();
    let admin = AdminServer::new(AdminService::new(Arc::clone(&shared), records));
    let (reflection, older) = reflection::services(&[admin_server::SERVICE_NAME]);
    let grpc = tonic::service::Routes::new(admin).add_service(reflection).add_service(older).into_axum_router();
    let plain = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(shared);
    // gRPC's own answer to an unknown path is 200 with a status in a header: to whoever probes with HTTP that is a yes.
    let grpc = grpc.fallback(unknown);
    let served = axum::serve(listener, grpc.merge(plain)).with_graceful_shutdown(stopping.cancelled_owned()).await;
    if let Err(failure) = served {
        error!(error = %failure, "the admin port is closed");
    }
}

/// How each hosted replica is. One that does not answer in time is missing.
pub(crate) async fn reports(shared: &Shared) -> Vec<Report> {
    let asked: Vec<oneshot::Receiver<Report>> = shared
        .all_hosted()
        .iter()
        .map(|hosted| {
            let (done, report) = oneshot::channel();
            hosted.tell(Order::Report { done });
            report
        })
        .collect();
    gather(asked).await
}

/// What is answered in time. All were asked at once, so they share one deadline.
async fn gather<T>(asked: Vec<oneshot::Receiver<T>>) -> Vec<T> {
    let deadline = Instant::now() + REPORT_PATIENCE;
    let mut answers = Vec::with_capacity(asked.len());
    for answer in asked {
        // One that is there already is taken even after the deadline.
        answers.extend(tokio::time::timeout_at(deadline, answer).await.ok().and_then(Result::ok));
    }
    answers
}

async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let moment = Moment {
        in_flight: shared.in_flight(),
        metadata_current: shared.view().is_current(),
        topology_version: shared.topology_version(),
    };
    let text = shared.metrics().text(&reports(&shared).await, moment);
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}

/// Callers of gRPC get its "unimplemented", all others 404.
async fn unknown(request: axum::extract::Request) -> axum::response::Response {
    let speaks_grpc = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    match speaks_grpc {
        true => status::unknown_method().into_http(),
        false => (StatusCode::NOT_FOUND, "no such page: /metrics, /livez and /readyz are here\n").into_response(),
    }
}

async fn livez() -> &'static str {
    "ok\n"
}

/// Ready: the cluster exists and every group hosted here answers and knows its leader. Losing the metadata store does not make a node
/// unready: it goes on serving, and says that it is degraded.
async fn readyz(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let mut failing = Vec::new();
    let mut notes = String::new();
    if shared.cluster().is_none() {
        failing.push("there is no cluster yet".to_owned());
    }
    let hosted = shared.all_hosted().len();
    let reports = reports(&shared).await;
    if reports.len() < hosted {
        failing.push(format!("{} of {hosted} replicas do not answer", hosted - reports.len()));
    }
    for report in &reports {
        if report.leader.is_none() {
            failing.push(format!("{} has no leader", report.group));
        }
    }
    if !shared.view().is_current() {
        notes.push_str("degraded: the metadata store cannot be reached\n");
    }
    if failing.is_empty() {
        return (StatusCode::OK, format!("ready\n{notes}"));
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{}\n{notes}", failing.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::admin::PATIENCE;

    #[tokio::test(start_paused = true)]
    async fn groups_that_hang_do_not_hide_the_others() {
        let (mut hung, mut asked) = (Vec::new(), Vec::new());
        for number in 0..10 {
            let (done, answer) = oneshot::channel();
            asked.push(answer);
            if number % 2 == 0 { hung.push(done) } else { done.send(number).unwrap() }
        }
        let began = Instant::now();
        assert_eq!(gather(asked).await, [1, 3, 5, 7, 9]);
        assert!(began.elapsed() < PATIENCE, "whoever asked has given up after {PATIENCE:?}");
    }
}
