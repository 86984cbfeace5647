//! gRPC: each lane is a bidirectional stream on a connection of its own, so that lanes run in parallel and one that ends takes
//! nothing else along.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use simplekv_proto::v1::data_client::DataClient;
use simplekv_proto::v1::topology_client::TopologyClient;
use simplekv_proto::{FRAME_BYTES_MAX, v1};
use simplekv_types::limits::LANE_MESSAGE_BYTES_MAX;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};

use super::{LaneLink, ListenLink, Transport, Updates, wire};
use crate::error::TransportError;
use crate::topology::Topology;

/// Frames waiting between a lane and its stream. One, so that what waits waits in the lane, where it is packed together.
const FRAMES_WAITING: usize = 1;
/// A watched node sends something every 5 s; after three times that it counts as dead.
const WATCH_SILENCE_MAX: Duration = Duration::from_secs(15);

/// The transport that speaks gRPC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grpc {
    /// For a TCP connection and the answer to its first request.
    pub(crate) connect: Duration,
    /// For one answer of the topology service. Not the caller's: a short deadline must not keep the client from learning.
    pub(crate) topology: Duration,
}

impl Grpc {
    async fn channel(self, address: &Arc<str>) -> Result<Channel, TransportError> {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| lost(address, error))?;
        let endpoint = endpoint
            .connect_timeout(self.connect)
            // A peer that vanished without a word is noticed within 8 s even if nothing is asked of it.
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(3))
            .keep_alive_while_idle(true)
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20)
            .tcp_nodelay(true);
        endpoint.connect().await.map_err(|error| lost(address, error))
    }

    async fn open_lane(self, address: Arc<str>) -> Result<LaneLink, TransportError> {
        let connect = async {
            let mut client = DataClient::new(self.channel(&address).await?)
                .max_decoding_message_size(LANE_MESSAGE_BYTES_MAX)
                .max_encoding_message_size(LANE_MESSAGE_BYTES_MAX);
            let (frames, waiting) = mpsc::channel(FRAMES_WAITING);
            let stream = client.call(ReceiverStream::new(waiting)).await;
            let response = stream.map_err(|status| lost(&address, status))?;
            let frame_bytes_max = frame_bytes_max(response.metadata());
            Ok((frames, frame_bytes_max, response.into_inner()))
        };
        let (frames, frame_bytes_max, replies) = within(self.connect * 2, &address, connect).await?;
        let replies = replies.map(move |frame| frame.map_err(|status| lost(&address, status))).boxed();
        Ok(LaneLink { frames, frame_bytes_max, replies })
    }

    async fn listen(self, address: Arc<str>) -> Result<ListenLink, TransportError> {
        let connect = async {
            let mut client = DataClient::new(self.channel(&address).await?);
            let (asks, waiting) = mpsc::unbounded_channel();
            let stream = client.listen(UnboundedReceiverStream::new(waiting).map(wire::listen)).await;
            Ok((asks, stream.map_err(|status| lost(&address, status))?.into_inner()))
        };
        let (asks, events) = within(self.connect * 2, &address, connect).await?;
        let events = events.map(move |event| event.map(wire::event).map_err(|status| lost(&address, status)));
        Ok(ListenLink { asks, events: events.boxed() })
    }

    async fn ask(self, address: Arc<str>) -> Result<Topology, TransportError> {
        let answer = async {
            let mut client = TopologyClient::new(self.channel(&address).await?).max_decoding_message_size(usize::MAX);
            let reply = client.get(v1::GetTopologyRequest {}).await.map_err(|status| lost(&address, status))?;
            let update = reply.into_inner();
            if !wire::has_cluster(&update) {
                return Err(lost(&address, "there is no cluster yet"));
            }
            wire::topology(update).map_err(|malformed| lost(&address, malformed))
        };
        within(self.topology, &address, answer).await
    }

    async fn watch(self, address: Arc<str>, version: u64) -> Result<Updates, TransportError> {
        let open = async {
            let mut client = TopologyClient::new(self.channel(&address).await?).max_decoding_message_size(usize::MAX);
            let stream = client.watch(v1::WatchTopologyRequest { version, differences: true }).await;
            Ok(stream.map_err(|status| lost(&address, status))?.into_inner())
        };
        let updates = within(self.topology, &address, open).await?;
        let updates = tokio_stream::StreamExt::timeout(updates, WATCH_SILENCE_MAX).map(move |update| match update {
            Ok(Ok(update)) => wire::update(update).map_err(|malformed| lost(&address, malformed)),
            Ok(Err(status)) => Err(lost(&address, status)),
            Err(_) => Err(lost(&address, "no sign of life")),
        });
        Ok(updates.boxed())
    }
}

impl Transport for Grpc {
    fn open_lane(&self, address: Arc<str>) -> BoxFuture<'static, Result<LaneLink, TransportError>> {
        Grpc::open_lane(*self, address).boxed()
    }

    fn listen(&self, address: Arc<str>) -> BoxFuture<'static, Result<ListenLink, TransportError>> {
        Grpc::listen(*self, address).boxed()
    }

    fn topology(&self, address: Arc<str>) -> BoxFuture<'static, Result<Topology, TransportError>> {
        self.ask(address).boxed()
    }

    fn watch(&self, address: Arc<str>, known: u64) -> BoxFuture<'static, Result<Updates, TransportError>> {
        Grpc::watch(*self, address, known).boxed()
    }
}

/// What the node says it takes; one that says nothing takes whatever there can be.
fn frame_bytes_max(metadata: &MetadataMap) -> usize {
    let told = metadata.get(FRAME_BYTES_MAX).and_then(|value| value.to_str().ok()?.parse().ok());
    told.unwrap_or(LANE_MESSAGE_BYTES_MAX).min(LANE_MESSAGE_BYTES_MAX)
}

async fn within<T>(
    limit: Duration,
    address: &Arc<str>,
    work: impl Future<Output = Result<T, TransportError>>,
) -> Result<T, TransportError> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(lost(address, format!("no answer within {limit:?}"))),
    }
}

fn lost(address: &Arc<str>, reason: impl Display) -> TransportError {
    TransportError { address: Arc::clone(address), reason: wire::shared(reason.to_string()) }
}
