//! The gRPC port: one operation a call, for programs in any language, and for pages in browsers, over gRPC-Web.
//!
//! It serves the service `Kv` as a node does, but for all keys, whoever has them. A call's words are handed to the client as the slices
//! of the message they arrived in, and values of answers to the message that is sent: neither is looked into. Beside it stand
//! topology, from which smart clients find the nodes, health, and reflection.

mod deadline;
mod health;
mod kv;
mod limits;
mod status;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, Method};
use simplekv_proto::v1::DESCRIPTORS;
use simplekv_proto::v1::kv_server::{self, KvServer};
use simplekv_proto::v1::topology_server::{self, TopologyServer};
use tonic::service::Routes;
use tonic_health::pb::health_server::{self, HealthServer};
use tonic_reflection::pb;
use tonic_reflection::server::Builder;
use tonic_web::GrpcWebLayer;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::config::Origin;
use crate::shared::Shared;

/// What the port serves, as it says when asked.
const SERVICES: [&str; 5] = [
    kv_server::SERVICE_NAME,
    topology_server::SERVICE_NAME,
    health_server::SERVICE_NAME,
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];
/// What a page is told of an answer besides its body.
const TOLD_TO_PAGES: [HeaderName; 3] = [
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
];
/// How long a browser remembers that a page may call.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// The routes of the gRPC port. Pages of these origins may call.
pub(crate) fn routes(shared: &Arc<Shared>, origins: &[Origin]) -> Router {
    let kv = KvServer::new(kv::KvService::new(Arc::clone(shared)))
        .max_decoding_message_size(shared.limits.request_bytes + limits::ROOM);
    let health = HealthServer::new(health::HealthService::new(Arc::clone(shared)));
    let topology = TopologyServer::new(topology::TopologyService::new(Arc::clone(shared)));
    // Most tools know one version of reflection only, and not all of them the same.
    let newer = reflection().build_v1().expect("the compiled descriptors are valid");
    let older = reflection().build_v1alpha().expect("the compiled descriptors are valid");
    let routes = Routes::new(kv).add_service(topology).add_service(health).add_service(newer).add_service(older);
    let routes =
        routes.into_axum_router().fallback(|| async { status::unknown_method().into_http::<axum::body::Body>() });
    let held = axum::middleware::from_fn_with_state(Arc::clone(shared), limits::hold);
    let routes = routes.layer(held).layer(GrpcWebLayer::new());
    match cors(origins) {
        Some(cors) => routes.layer(cors),
        None => routes,
    }
}

fn reflection() -> Builder<'static> {
    let builder = Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(pb::v1alpha::FILE_DESCRIPTOR_SET)
        .include_reflection_service(false);
    SERVICES.into_iter().fold(builder, Builder::with_service_name)
}

/// What browsers are told of who may call; nothing if no page may: then they let none.
fn cors(origins: &[Origin]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let exact = origins.iter().map(|origin| match origin {
        Origin::Any => None,
        Origin::Exact(origin) => Some(origin.clone()),
    });
    let origins = exact.collect::<Option<Vec<_>>>().map_or_else(AllowOrigin::any, AllowOrigin::list);
    let cors = CorsLayer::new().allow_origin(origins).allow_methods([Method::POST]);
    Some(cors.allow_headers(AllowHeaders::mirror_request()).expose_headers(TOLD_TO_PAGES).max_age(REMEMBERED))
}
