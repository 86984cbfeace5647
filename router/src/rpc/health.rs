//! Whether the router serves, for those who ask or watch.
//!
//! Read off the topology when it is needed: a reporter would have to be told by a task of its own, and its watchers would hold up the
//! end of the router.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use simplekv_client::Topology;
use simplekv_proto::v1::kv_server;
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::{limits, status};
use crate::shared::Shared;

/// Whose health is told: the router's as a whole and that of its service. They share their fate.
const KNOWN: [&str; 2] = ["", kv_server::SERVICE_NAME];

/// `grpc.health.v1.Health`.
#[derive(Debug)]
pub(super) struct HealthService {
    shared: Arc<Shared>,
}

impl HealthService {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

#[tonic::async_trait]
impl Health for HealthService {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        limits::has_arrived(request.extensions());
        if !KNOWN.contains(&&*request.get_ref().service) {
            return Err(status::unknown_service());
        }
        Ok(Response::new(response(health(&self.shared))))
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        limits::has_arrived(request.extensions());
        let (shared, topologies) = (Arc::clone(&self.shared), self.shared.topologies());
        let is_known = KNOWN.contains(&&*request.get_ref().service);
        let watched = Watched { shared, topologies, is_known, told: None };
        let told = stream::unfold(watched, |mut watched| async move { Some((Ok(watched.next().await?), watched)) });
        Ok(Response::new(told.boxed()))
    }
}

/// A health somebody watches.
struct Watched {
    shared: Arc<Shared>,
    topologies: watch::Receiver<Arc<Topology>>,
    /// Of a service that is not here the protocol wants to be told that, for as long as somebody watches.
    is_known: bool,
    told: Option<ServingStatus>,
}

impl Watched {
    /// The next status that is another than the one before; `None` when the router stops and that has been told.
    async fn next(&mut self) -> Option<HealthCheckResponse> {
        loop {
            self.topologies.mark_unchanged();
            let is_stopping = self.shared.stopping.is_cancelled();
            let status = if self.is_known { health(&self.shared) } else { ServingStatus::ServiceUnknown };
            if self.told != Some(status) {
                self.told = Some(status);
                return Some(response(status));
            }
            if is_stopping {
                return None;
            }
            tokio::select! {
                changed = self.topologies.changed() => changed.ok()?,
                () = self.shared.stopping.cancelled() => (),
            }
        }
    }
}

fn health(shared: &Shared) -> ServingStatus {
    if shared.unready().is_none() { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
