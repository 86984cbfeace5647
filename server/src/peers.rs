//! Outgoing messages to the other replicas: one link per group and node, each with a stream of its own.
//!
//! A link is a lossy wire, as the protocol expects of a network: what does not fit its queue, or waits while the other side cannot be
//! reached, is dropped, and the protocol repeats what matters. So a dead peer costs nothing but its own link.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use parking_lot::Mutex;
use simplekv_cluster::migration::{MoveEvent, MoveMessage};
use simplekv_proto::v1;
use simplekv_proto::v1::replication_client::ReplicationClient;
use simplekv_types::peer::Envelope;
use simplekv_types::{GroupId, NodeId};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tracing::{debug, info};

use crate::channels::Said;
use crate::hosted::Order;
use crate::metrics::Metrics;
use crate::moves::wire;
use crate::routing::Routing;
use crate::shared::Shared;

/// Messages waiting on one link. The protocol bounds what a leader sends ahead, so a full queue means a stalled peer.
const QUEUE: usize = 1024;
/// Messages sent in one frame at most.
const FRAME: usize = 64;
/// Frames given to the transport ahead of its own flow control.
const FRAMES_AHEAD: usize = 4;

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Link {
    Group(GroupId),
    /// What is said in channels: it must not hold up any group.
    Channels,
    /// What leaders of different groups say of slots that move between them: the same.
    Moves,
}

#[derive(Debug)]
enum Outgoing {
    Envelope(Envelope),
    /// With its share of what may be on its way.
    Said(v1::Said, Arc<OwnedSemaphorePermit>),
    Move(v1::MoveMessage),
}

/// The links of one node.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    inner: Arc<Links>,
}

#[derive(Debug)]
struct Links {
    node: Arc<Shared>,
    routing: watch::Receiver<Arc<Routing>>,
    links: Mutex<HashMap<(NodeId, Link), mpsc::Sender<Outgoing>>>,
}

impl Peers {
    /// No links yet; each is opened by the first message over it.
    pub(crate) fn new(node: Arc<Shared>) -> Self {
        let routing = node.routing_changes();
        Self { inner: Arc::new(Links { node, routing, links: Mutex::default() }) }
    }

    /// Sends, or drops if the link is stalled. Never waits.
    pub(crate) fn send(&self, envelope: Envelope) {
        let (to, link) = (envelope.to, Link::Group(envelope.group));
        self.send_over(to, link, Outgoing::Envelope(envelope));
    }

    /// Sends to whoever leads a group, or drops if that is not known or cannot be done.
    pub(crate) fn send_move(&self, to: GroupId, message: MoveMessage) {
        let node = &self.inner.node;
        let Some((leader, cluster)) = node.routing().leader(to).0.zip(node.cluster()) else { return };
        if leader != node.node() {
            return self.send_over(leader, Link::Moves, Outgoing::Move(wire::leave(cluster, to, message)));
        }
        if let Some(group) = node.hosted(to) {
            group.tell(Order::Move(MoveEvent::Received(message)));
        }
    }

    /// Tells all other nodes what is said in channels, as long as anything is.
    pub(crate) async fn spread(self, mut said: mpsc::Receiver<Said>) {
        while let Some(Said { channel, message, room }) = said.recv().await {
            let Some(cluster) = self.inner.node.cluster() else { continue };
            let cluster_id = Bytes::copy_from_slice(&cluster.0.to_be_bytes());
            let room = Arc::new(room);
            let others = self.inner.node.routing().other_nodes(self.inner.node.node());
            for node in others {
                let said =
                    v1::Said { cluster_id: cluster_id.clone(), channel: channel.clone(), message: message.clone() };
                self.send_over(node, Link::Channels, Outgoing::Said(said, Arc::clone(&room)));
            }
        }
    }

    fn send_over(&self, to: NodeId, link: Link, outgoing: Outgoing) {
        Metrics::add(&self.inner.node.metrics().peer_messages, 1);
        let mut links = self.inner.links.lock();
        let link = links.entry((to, link)).or_insert_with(|| {
            let (sender, queue) = mpsc::channel(QUEUE);
            tokio::spawn(run(to, self.inner.routing.clone(), queue));
            sender
        });
        if link.try_send(outgoing).is_err() {
            debug!("a peer's queue is full, message dropped");
        }
    }
}

/// Ends when the [`Peers`] that opened the link is gone.
async fn run(node: NodeId, routing: watch::Receiver<Arc<Routing>>, mut queue: mpsc::Receiver<Outgoing>) {
    let backoff = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(10))
        .with_max_delay(Duration::from_millis(500))
        .with_jitter()
        .without_max_times();
    let mut delays = backoff.build();
    loop {
        match connect(node, &routing).await {
            Ok(mut client) => {
                let sent = deliver(&mut client, &mut queue).await;
                if sent.frames > 0 {
                    delays = backoff.build();
                }
                match sent.end {
                    End::NodeStops => return,
                    End::Broken(reason) => info!(peer = %node, %reason, "replication stream ended"),
                }
            }
            Err(reason) => debug!(peer = %node, %reason, "peer cannot be reached"),
        }
        let pause = tokio::time::sleep(delays.next().unwrap_or(Duration::from_millis(500)));
        tokio::pin!(pause);
        // What waited for a link that is down is stale by the time it is up.
        loop {
            tokio::select! {
                () = &mut pause => break,
                stale = queue.recv() => if stale.is_none() { return },
            }
        }
    }
}

async fn connect(node: NodeId, routing: &watch::Receiver<Arc<Routing>>) -> Result<ReplicationClient<Channel>, String> {
    let address = routing.borrow().grpc_address(node).ok_or("its address is not known")?;
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| error.to_string())?
        .connect_timeout(Duration::from_secs(1))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(5))
        .keep_alive_timeout(Duration::from_secs(3))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20);
    let channel = endpoint.connect().await.map_err(|error| error.to_string())?;
    Ok(ReplicationClient::new(channel))
}

struct Sent {
    frames: u64,
    end: End,
}

enum End {
    NodeStops,
    Broken(String),
}

async fn deliver(client: &mut ReplicationClient<Channel>, queue: &mut mpsc::Receiver<Outgoing>) -> Sent {
    let (frames, outgoing) = mpsc::channel::<v1::PeerFrame>(FRAMES_AHEAD);
    let call = client.deliver(ReceiverStream::new(outgoing));
    tokio::pin!(call);
    let mut sent = Sent { frames: 0, end: End::NodeStops };
    let mut waiting = Vec::with_capacity(FRAME);
    loop {
        tokio::select! {
            // The other side answers only by ending the call.
            outcome = &mut call => {
                sent.end = End::Broken(outcome.err().map_or_else(|| "closed by the peer".to_owned(), |status| status.message().to_owned()));
                return sent;
            }
            count = queue.recv_many(&mut waiting, FRAME) => {
                if count == 0 {
                    return sent;
                }
                let mut frame = v1::PeerFrame::default();
                for outgoing in waiting.drain(..) {
                    match outgoing {
                        Outgoing::Envelope(envelope) => frame.envelopes.push(envelope.into()),
                        Outgoing::Said(said, _room) => frame.said.push(said),
                        Outgoing::Move(message) => frame.moves.push(message),
                    }
                }
                // Waits while the peer's flow control says so; the queue behind fills up and drops meanwhile.
                if frames.send(frame).await.is_err() {
                    sent.end = End::Broken("the stream is closed".to_owned());
                    return sent;
                }
                sent.frames += 1;
            }
        }
    }
}
