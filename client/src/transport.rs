//! How frames reach a node: the one seam between the client and a wire.

pub(crate) mod grpc;
mod wire;

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use futures::future::BoxFuture;
use simplekv_types::{ClientId, Dedupe, GroupId, GroupTime, ReadPolicy, Reply, SlotMapVersion};
use tokio::sync::mpsc;

use crate::error::TransportError;
use crate::topology::Topology;

/// A way to reach nodes. Implementations bound the time of every call by themselves.
pub(crate) trait Transport: Send + Sync + 'static {
    /// Opens a lane to the node at this address.
    fn open_lane(&self, address: Arc<str>) -> BoxFuture<'static, Result<LaneLink, TransportError>>;

    /// Asks one node for the topology.
    fn topology(&self, address: Arc<str>) -> BoxFuture<'static, Result<Topology, TransportError>>;

    /// Asks one node to push the topology whenever it changes, beginning with the present one.
    fn watch(&self, address: Arc<str>, known: u64) -> BoxFuture<'static, Result<Updates, TransportError>>;
}

/// An open lane: a stream of frames to a node and one of replies back. Dropping both ends closes it.
pub(crate) struct LaneLink {
    pub(crate) frames: mpsc::Sender<Frame>,
    pub(crate) replies: Pin<Box<dyn Stream<Item = Result<ReplyFrame, TransportError>> + Send>>,
}

/// Pushed topologies.
pub(crate) type Updates = Pin<Box<dyn Stream<Item = Result<Update, TransportError>> + Send>>;

#[derive(Debug)]
pub(crate) enum Update {
    /// A sign of life.
    Unchanged,
    Changed(Topology),
}

/// Operations that travel together.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) client: ClientId,
    pub(crate) map_version: SlotMapVersion,
    pub(crate) ops: Vec<WireOp>,
}

/// One operation as a node gets it.
#[derive(Clone, Debug)]
pub(crate) struct WireOp {
    pub(crate) id: u64,
    pub(crate) args: Arc<[Bytes]>,
    pub(crate) read: ReadPolicy,
    pub(crate) dedupe: Option<Dedupe>,
    pub(crate) timeout_ms: u32,
    /// For commands without keys.
    pub(crate) group: Option<GroupId>,
}

/// Replies that arrived together.
#[derive(Debug)]
pub(crate) struct ReplyFrame {
    pub(crate) replies: Vec<OpReply>,
    /// The topology version the node knows.
    pub(crate) topology_version: u64,
}

/// The reply to one operation.
#[derive(Debug)]
pub(crate) struct OpReply {
    pub(crate) id: u64,
    pub(crate) reply: Reply,
    pub(crate) group_time: GroupTime,
    pub(crate) attempt: u32,
}
