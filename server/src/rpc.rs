//! The gRPC port of a node: clients' lanes, unary calls, topology, and the other replicas.

use std::sync::Arc;
use std::time::Duration;

use simplekv_proto::v1::data_server::{self, DataServer};
use simplekv_proto::v1::kv_server::{self, KvServer};
use simplekv_proto::v1::replication_server::{self, ReplicationServer};
use simplekv_proto::v1::topology_server::{self, TopologyServer};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server;
use tonic_health::server::HealthReporter;
use tracing::error;

use crate::clock;
use crate::controller::Orders;
use crate::shared::Shared;

pub(crate) mod admin;
mod data;
mod kv;
mod listen;
pub(crate) mod reflection;
mod replication;
pub(crate) mod status;
mod topology;

/// Room for everything around the largest value in a message.
const MESSAGE_ROOM: usize = 1 << 20;
/// Most bytes of batches in one message between replicas, with room around them.
const PEER_MESSAGE_BYTES: usize = 640 << 20;

/// What the port serves, as it says when asked.
const SERVICES: [&str; 5] = [
    data_server::SERVICE_NAME,
    kv_server::SERVICE_NAME,
    topology_server::SERVICE_NAME,
    replication_server::SERVICE_NAME,
    health_server::SERVICE_NAME,
];
/// Whose health is told: the port's as a whole, and that of the services clients use. They share their fate.
const HEALTH_OF: [&str; 3] = ["", data_server::SERVICE_NAME, kv_server::SERVICE_NAME];

/// How often health is looked at. What a group's task publishes is read by every request and announced to nobody.
const HEALTH_INTERVAL: Duration = Duration::from_millis(100);

/// Serves until stopped.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>, orders: Orders) {
    let stopping = shared.stopping().clone();
    let message = shared.limits().request_bytes + MESSAGE_ROOM;
    let data = DataServer::new(data::DataService::new(Arc::clone(&shared), message))
        .max_decoding_message_size(message)
        .max_encoding_message_size(usize::MAX);
    let kv = KvServer::new(kv::KvService::new(Arc::clone(&shared))).max_decoding_message_size(message);
    let replication = ReplicationServer::new(replication::ReplicationService::new(Arc::clone(&shared), orders))
        .max_decoding_message_size(PEER_MESSAGE_BYTES);
    let topology = TopologyServer::new(topology::TopologyService::new(Arc::clone(&shared)));
    let (reporter, health) = tonic_health::server::health_reporter();
    tokio::spawn(tell_health(Arc::clone(&shared), reporter));
    let (reflection, older_reflection) = reflection::services(&SERVICES);
    let served = Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(Duration::from_secs(5)))
        .http2_keepalive_timeout(Some(Duration::from_secs(3)))
        .max_concurrent_streams(1024)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20)
        .http2_max_pending_accept_reset_streams(Some(1000))
        .add_service(data)
        .add_service(kv)
        .add_service(topology)
        .add_service(replication)
        .add_service(health)
        .add_service(reflection)
        .add_service(older_reflection)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopping.cancelled_owned())
        .await;
    if let Err(failure) = served {
        error!(error = %failure, "the gRPC port is closed");
    }
}

/// Says whether this node serves, to whoever asks or watches: it does once every slot has a leader, until it stops.
async fn tell_health(shared: Arc<Shared>, reporter: HealthReporter) {
    let mut told = None;
    while !shared.stopping().is_cancelled() {
        let serves = shared.serves(clock::now());
        if told != Some(serves) {
            told = Some(serves);
            tell(&reporter, if serves { ServingStatus::Serving } else { ServingStatus::NotServing }).await;
        }
        tokio::time::sleep(HEALTH_INTERVAL).await;
    }
    tell(&reporter, ServingStatus::NotServing).await;
}

async fn tell(reporter: &HealthReporter, status: ServingStatus) {
    for service in HEALTH_OF {
        reporter.set_service_status(service, status).await;
    }
}
