//! A group as the rest of its node sees it: something to read from and something to hand writes to.

use std::sync::Arc;

use arc_swap::ArcSwap;
use simplekv_cluster::migration::MoveEvent;
use simplekv_cluster::{Event, TransferOutcome};
use simplekv_engine::Reader;
use simplekv_types::peer::Envelope;
use simplekv_types::{Failure, GroupId, GroupTime, Lsn, NodeId, Position, SlotMap, SlotMapVersion};
use tokio::sync::{mpsc, oneshot, watch};

use crate::group::{Ownership, Report, Spread, Submission};
use crate::history::{History, Standing};
use crate::host::Responder;
use crate::serving::Serving;
use crate::tracking::Tracking;
use crate::waiters::Waiters;

/// Submissions waiting for a group's turn; beyond, requests are refused before anything is done.
pub(crate) const SUBMISSIONS: usize = 1024;
/// Messages of peers waiting for a group's turn; beyond, their streams wait.
pub(crate) const MESSAGES: usize = 256;

/// What a group's task publishes after each step.
#[derive(Debug, Default)]
pub struct Published {
    /// The right to answer linearizable reads.
    pub serving: Serving,
    /// The slots this group owns, by its log.
    pub owned: ArcSwap<Ownership>,
    /// The history the applied log belongs to.
    pub history: ArcSwap<History>,
    /// Who waits for elements of the group's keys.
    pub waiters: Arc<Waiters>,
    /// Who keeps copies of what it has read at this node.
    pub tracking: Arc<Tracking>,
}

/// One hosted group.
#[derive(Debug)]
pub(crate) struct Hosted {
    id: GroupId,
    reader: Reader,
    published: Arc<Published>,
    submissions: mpsc::Sender<Submission<Responder>>,
    messages: mpsc::Sender<Envelope>,
    events: mpsc::UnboundedSender<Order>,
}

/// What the node asks of a group's task.
#[derive(Debug)]
pub(crate) enum Order {
    /// Something happened to the replica. Bounded by what the replica itself has asked for, and by the pace of the metadata.
    Event(Event),
    /// The slot map, read linearizably for a group that owned nothing yet.
    Slots(Option<(Arc<SlotMap>, SlotMapVersion)>),
    /// The slot map as the node knows it now.
    Map(Arc<SlotMap>, SlotMapVersion),
    /// Something concerns the group's moves. Bounded by what the group itself has asked for and made room for, and by the pace of the
    /// metadata.
    Move(MoveEvent),
    /// A session waits for everything below to be applied. Bounded by the requests a node may have under way.
    WhenApplied { end: Lsn, done: Responder },
    /// Somebody wants to know how the replica is.
    Report { done: oneshot::Sender<Report> },
    /// Somebody wants to see how far the log spreads. Told for as long as anybody looks.
    Spread { done: oneshot::Sender<watch::Receiver<Spread>> },
    /// An operator wants another leader.
    Transfer { to: Option<NodeId>, done: oneshot::Sender<TransferOutcome> },
    /// The node stops; answered when the replica has handed over.
    Stop { done: oneshot::Sender<()> },
}

impl Hosted {
    pub(crate) fn new(
        id: GroupId,
        reader: Reader,
        published: Arc<Published>,
        submissions: mpsc::Sender<Submission<Responder>>,
        messages: mpsc::Sender<Envelope>,
        events: mpsc::UnboundedSender<Order>,
    ) -> Self {
        Self { id, reader, published, submissions, messages, events }
    }

    pub(crate) fn id(&self) -> GroupId {
        self.id
    }

    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    pub(crate) fn published(&self) -> &Published {
        &self.published
    }

    /// Group time of the applied state.
    pub(crate) fn time(&self) -> GroupTime {
        self.reader.applied_time()
    }

    /// What this replica is now to a session that has seen this of the group.
    pub(crate) fn judge(&self, seen: &Position) -> Standing {
        let guard = self.reader.guard();
        self.published.history.load().judge(seen, guard.applied())
    }

    /// Hands writes to the group's task.
    ///
    /// # Errors
    /// Nothing was done: the queue is full, or the node stops.
    pub(crate) fn submit(&self, submission: Submission<Responder>) -> Result<(), Failure> {
        self.submissions.try_send(submission).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Failure::Busy { what: "too many requests in flight" },
            mpsc::error::TrySendError::Closed(_) => Failure::NotServing { reason: "the node is stopping".into() },
        })
    }

    /// Takes a peer's message, waiting while the group is busy.
    pub(crate) async fn receive(&self, envelope: Envelope) {
        // A closed queue is a stopping node: to the peer, a lost message.
        let _ = self.messages.send(envelope).await;
    }

    /// Tells the group's task something. Lost if the node stops.
    pub(crate) fn tell(&self, order: Order) {
        let _ = self.events.send(order);
    }
}
