//! How frames reach a node: the one seam between the client and a wire.
//!
//! Frames are the contract's own: their operations and replies are written and read in place.

pub(crate) mod grpc;
pub(crate) mod wire;

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use futures::future::BoxFuture;
use simplekv_proto::{ReplyFrame, RequestFrame};
use simplekv_types::{Naming, Position, Reply};
use tokio::sync::mpsc;

use crate::error::TransportError;
use crate::topology::{Difference, Topology};

/// A way to reach nodes. Implementations bound the time of every call by themselves.
pub(crate) trait Transport: Send + Sync + 'static {
    /// Opens a lane to the node at this address.
    fn open_lane(&self, address: Arc<str>) -> BoxFuture<'static, Result<LaneLink, TransportError>>;

    /// Asks one node for the topology.
    fn topology(&self, address: Arc<str>) -> BoxFuture<'static, Result<Topology, TransportError>>;

    /// Opens a stream on which the node at this address says what it was asked to say when it happens.
    fn listen(&self, address: Arc<str>) -> BoxFuture<'static, Result<ListenLink, TransportError>>;

    /// Asks one node to push the topology whenever it changes, beginning with the present one unless its version is known.
    fn watch(&self, address: Arc<str>, known: u64) -> BoxFuture<'static, Result<Updates, TransportError>>;
}

/// An open lane: a stream of frames to a node and one of replies back. Dropping both ends closes it.
pub(crate) struct LaneLink {
    pub(crate) frames: mpsc::Sender<RequestFrame>,
    /// The greatest frame the node takes, in bytes.
    pub(crate) frame_bytes_max: usize,
    pub(crate) replies: Pin<Box<dyn Stream<Item = Result<ReplyFrame, TransportError>> + Send>>,
}

/// An open stream of what a node was asked to tell. Dropping both ends closes it.
pub(crate) struct ListenLink {
    pub(crate) asks: mpsc::UnboundedSender<ListenAsk>,
    pub(crate) events: Events,
}

/// What a node tells, each with the number of what it was asked for.
pub(crate) type Events = Pin<Box<dyn Stream<Item = Result<(u64, ListenEvent), TransportError>> + Send>>;

/// What a node is asked to tell.
#[derive(Debug)]
pub(crate) enum ListenAsk {
    /// Once, when one of the keys has elements.
    Wait { id: u64, keys: Vec<Bytes> },
    /// Everything that is said in a channel.
    Subscribe { id: u64, naming: Naming, name: Bytes },
    /// Whether this was heard, which it is to say.
    Publish { id: u64, naming: Naming, channel: Bytes, message: Bytes },
    /// What it knows, once.
    Question { id: u64, args: Vec<Bytes>, seen: Option<Position> },
    /// What changes of what is read with the number it answers, and of keys that begin so.
    Track { id: u64, prefixes: Vec<Bytes> },
    /// Not any more.
    Stop { id: u64 },
}

impl ListenAsk {
    pub(crate) fn id(&self) -> u64 {
        match *self {
            Self::Wait { id, .. }
            | Self::Subscribe { id, .. }
            | Self::Publish { id, .. }
            | Self::Question { id, .. }
            | Self::Track { id, .. }
            | Self::Stop { id } => id,
        }
    }
}

impl ListenEvent {
    /// Whether nothing more is told about the same thing.
    pub(crate) fn is_last(&self) -> bool {
        match self {
            Self::Woken | Self::Heard { .. } | Self::Answer { .. } | Self::Ended => true,
            Self::Listening
            | Self::Message { .. }
            | Self::Tracking { .. }
            | Self::Stale { .. }
            | Self::StaleEverything => false,
        }
    }
}

/// What a node tells.
#[derive(Clone, Debug)]
pub(crate) enum ListenEvent {
    /// One of the keys has elements, or may have.
    Woken,
    /// What is said from now on is told.
    Listening,
    /// Something was said.
    Message { channel: Bytes, message: Bytes },
    /// What was to be said was said, and so many heard it.
    Heard { by: u64 },
    /// What it was asked.
    Answer { reply: Reply },
    /// What is read with this number from now on is tracked.
    Tracking { tracker: u64 },
    /// Of what was read, these keys have changed.
    Stale { keys: Vec<Bytes> },
    /// Anything that was read may have changed.
    StaleEverything,
    /// Nothing more is told.
    Ended,
}

/// Pushed topologies.
pub(crate) type Updates = Pin<Box<dyn Stream<Item = Result<Update, TransportError>> + Send>>;

#[derive(Debug)]
pub(crate) enum Update {
    /// A sign of life.
    Unchanged,
    Changed(Topology),
    /// What has become different since the last update, or since the version that the watch began with.
    Differs(Difference),
}
