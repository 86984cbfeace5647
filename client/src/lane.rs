//! A lane: one long-lived stream to a node, shared by all requests that go there.
//!
//! Its task packs whatever waits into one frame whenever the stream takes one. Nothing is delayed in order to be packed: while the
//! stream is free a request leaves alone, while it is busy the next frame fills up by itself. Replies come in any order and find
//! their requests by number; a caller who has gone away is a reply that nobody takes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use simplekv_types::{ClientId, GroupTime, limits};
use smallvec::SmallVec;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::debug;

use crate::backoff::Backoff;
use crate::error::TransportError;
use crate::session::Answered;
use crate::slot_cache::SlotCache;
use crate::stats::Stats;
use crate::transport::{Frame, LaneLink, ReplyFrame, Transport, WireOp};

/// Most operations in a frame.
const FRAME_OPS_MAX: usize = 256;
/// A frame is closed once it holds this many bytes; a larger operation travels alone. Operations handed over together are parted only
/// if no node would take them in one frame, so a frame may exceed both limits by one such parcel.
const FRAME_BYTES_MAX: usize = 256 << 10;

/// How often to look for abandoned requests while nothing leaves.
const TIDY_INTERVAL: Duration = Duration::from_millis(100);

/// One request on its way to a node.
#[derive(Debug)]
pub(crate) struct Op {
    /// `id` is given by the lane.
    pub(crate) wire: WireOp,
    pub(crate) client: ClientId,
    /// The most bytes it takes in a frame.
    pub(crate) bytes: usize,
    pub(crate) passage: Arc<Passage>,
    pub(crate) waiter: oneshot::Sender<Delivery>,
}

impl Op {
    /// Tells that it was not sent, unless its caller has taken it back.
    fn return_unsent(self, delivery: Delivery) {
        if self.passage.withdraw() {
            let _ = self.waiter.send(delivery);
        }
    }
}

/// Whether a request has left. Shared between the lane, which sends it, and the caller, who may take it back before.
#[derive(Debug, Default)]
pub(crate) struct Passage(AtomicU8);

const WAITING: u8 = 0;
const SENT: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Passage {
    /// Takes the request back. `false`: it has left and may have reached the node.
    pub(crate) fn withdraw(&self) -> bool {
        self.settle(WITHDRAWN)
    }

    fn depart(&self) -> bool {
        self.settle(SENT)
    }

    /// The two ends race; exactly one wins.
    fn settle(&self, state: u8) -> bool {
        self.0.compare_exchange(WAITING, state, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// What a lane brings back.
#[derive(Debug)]
pub(crate) enum Delivery {
    Replied {
        answered: Answered,
        group_time: GroupTime,
        /// Whether changes of what was read will be told.
        tracked: bool,
    },
    /// The stream could not be opened, or ended.
    Lost {
        sent: bool,
        error: TransportError,
    },
    /// Answered, but nobody can read the answer.
    Unreadable(TransportError),
    /// Not sent: those handed over with it filled the frame.
    Held,
    /// Not sent: the node takes no frame of this size.
    TooLarge {
        size: usize,
        limit: usize,
    },
}

/// Requests that are handed over together, travel in one frame and are executed in this order. Almost always one. What does not fit
/// into one frame is held back.
pub(crate) type Parcel = SmallVec<[Op; 1]>;

/// The queue into a lane. The task behind it ends when all of these are gone and nothing is in flight.
#[derive(Debug)]
pub(crate) struct Lane {
    queue: mpsc::Sender<Parcel>,
    /// Whether the last attempt to connect failed, or the stream ended and was not opened again since.
    is_down: Arc<AtomicBool>,
}

/// What the lanes of a client share.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) slots: Arc<SlotCache>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) backoff: Backoff,
}

impl Lane {
    /// Starts a lane. It connects when the first request comes.
    pub(crate) fn start(address: Arc<str>, capacity: usize, surroundings: Surroundings) -> Self {
        let (queue, waiting) = mpsc::channel(capacity);
        let is_down = Arc::new(AtomicBool::new(false));
        let task = Task {
            address,
            surroundings,
            queue: waiting,
            waiting: Vec::new(),
            in_flight: HashMap::default(),
            next_id: 1,
            is_down: Arc::clone(&is_down),
        };
        tokio::spawn(task.run());
        Self { queue, is_down }
    }

    /// Hands over requests. `false`: the queue is full, and the requests are gone.
    pub(crate) fn submit(&self, parcel: Parcel) -> bool {
        self.queue.try_send(parcel).is_ok()
    }

    pub(crate) fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }
}

struct InFlight {
    /// `None` if it is not a write with an identity.
    attempt: Option<u32>,
    waiter: oneshot::Sender<Delivery>,
}

struct Task {
    address: Arc<str>,
    surroundings: Surroundings,
    queue: mpsc::Receiver<Parcel>,
    /// Taken from the queue, not yet packed.
    waiting: Vec<Parcel>,
    /// Sent on the present stream, not yet answered.
    in_flight: HashMap<u64, InFlight, foldhash::fast::FixedState>,
    next_id: u64,
    is_down: Arc<AtomicBool>,
}

impl Task {
    async fn run(mut self) {
        let mut failures = 0;
        while !self.waiting.is_empty() || self.queue.recv_many(&mut self.waiting, FRAME_OPS_MAX).await > 0 {
            match self.open().await {
                Ok(link) => {
                    failures = 0;
                    self.set_down(false);
                    let error = self.serve(link).await;
                    self.fail_in_flight(error);
                }
                Err(error) => {
                    self.set_down(true);
                    self.refuse_for_a_while(failures, error).await;
                    failures += 1;
                }
            }
        }
    }

    async fn open(&mut self) -> Result<LaneLink, TransportError> {
        let mut opening = self.surroundings.transport.open_lane(Arc::clone(&self.address));
        loop {
            match tokio::time::timeout(TIDY_INTERVAL, &mut opening).await {
                Ok(opened) => return opened,
                Err(_) => self.tidy(),
            }
        }
    }

    /// Drops requests that nobody waits for any more, so that they do not take up the queue while nothing leaves.
    fn tidy(&mut self) {
        while let Ok(parcel) = self.queue.try_recv() {
            self.waiting.push(parcel);
        }
        self.waiting.retain(|parcel| parcel.iter().any(|op| !op.waiter.is_closed()));
        if self.queue.is_closed() {
            self.in_flight.retain(|_, request| !request.waiter.is_closed());
        }
    }

    /// Runs the stream until it ends; says why it did.
    async fn serve(&mut self, link: LaneLink) -> Option<TransportError> {
        let LaneLink { frames, frame_bytes_max, mut replies } = link;
        let mut is_open = true;
        let mut tidying = tokio::time::interval(TIDY_INTERVAL);
        tidying.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let must_send = !self.waiting.is_empty();
            if !is_open && !must_send && self.in_flight.is_empty() {
                return None;
            }
            tokio::select! {
                // Replies first: they free what the others wait for, and an unread stream of replies would stop the node.
                biased;
                frame = futures::StreamExt::next(&mut replies) => match frame {
                    Some(Ok(frame)) => self.deliver(frame),
                    Some(Err(error)) => return Some(error),
                    None => return Some(self.error("the node closed the stream")),
                },
                permit = frames.reserve(), if must_send => match permit {
                    Ok(permit) => if let Some(frame) = self.pack(frame_bytes_max) { permit.send(frame) },
                    Err(_) => return Some(self.error("the stream is closed")),
                },
                count = self.queue.recv_many(&mut self.waiting, FRAME_OPS_MAX), if is_open && !must_send => {
                    is_open = count > 0;
                }
                // The stream takes nothing: the node does not read. Or nothing more is coming, and the node may never answer the rest.
                _ = tidying.tick(), if must_send || !is_open => self.tidy(),
            }
        }
    }

    /// A frame of what waits, in order. `None` if nothing of it is to be sent.
    fn pack(&mut self, bytes_max: usize) -> Option<Frame> {
        while self.waiting.len() < FRAME_OPS_MAX {
            let Ok(parcel) = self.queue.try_recv() else { break };
            self.waiting.push(parcel);
        }
        let client = self.waiting.first()?.first()?.client;
        let room = bytes_max.saturating_sub(Frame::HEAD_BYTES);
        let (mut taken, mut count, mut bytes) = (0, 0, 0);
        for parcel in &self.waiting {
            count += parcel.len();
            bytes += parcel.iter().map(|op| op.bytes).sum::<usize>();
            // The frame has one client's id; a write under a foreign one travels in a frame of its own.
            let is_ours = parcel.iter().all(|op| op.client == client);
            if taken > 0 && (count > FRAME_OPS_MAX || bytes > FRAME_BYTES_MAX.min(room) || !is_ours) {
                break;
            }
            taken += 1;
        }
        let mut ops = Vec::with_capacity(count);
        let (mut bytes, mut is_full) = (0, false);
        for op in self.waiting.drain(..taken).flatten() {
            if op.waiter.is_closed() {
                continue;
            }
            if op.bytes > room {
                let size = op.bytes;
                op.return_unsent(Delivery::TooLarge { size, limit: room });
                continue;
            }
            is_full |= ops.len() == limits::FRAME_OPS_MAX || bytes + op.bytes > room;
            if is_full {
                op.return_unsent(Delivery::Held);
                continue;
            }
            if !op.passage.depart() {
                continue;
            }
            bytes += op.bytes;
            let Op { mut wire, waiter, .. } = op;
            wire.id = self.next_id;
            self.next_id += 1;
            let attempt = wire.dedupe.map(|dedupe| dedupe.attempt);
            self.in_flight.insert(wire.id, InFlight { attempt, waiter });
            ops.push(wire);
        }
        self.forget_abandoned();
        if ops.is_empty() {
            return None;
        }
        self.surroundings.stats.frames.increment();
        self.surroundings.stats.ops.add(ops.len() as u64);
        Some(Frame { client, map_version: self.surroundings.slots.load().slot_map_version(), ops })
    }

    /// A node that keeps the stream but never answers some requests must not make the table grow for ever.
    fn forget_abandoned(&mut self) {
        if self.in_flight.len() == self.in_flight.capacity() {
            self.in_flight.retain(|_, request| !request.waiter.is_closed());
        }
    }

    fn deliver(&mut self, frame: ReplyFrame) {
        for answer in frame.replies {
            let Some(request) = self.in_flight.remove(&answer.id) else { continue };
            // Only the newest attempt's answer counts. An earlier attempt had a number of its own, so one that comes under this number
            // is the node's error; nothing is known then, and the attempt times out.
            if request.attempt.is_none_or(|attempt| attempt == answer.attempt) {
                let delivery = match answer.reply {
                    Ok(reply) => {
                        let answered = Answered { reply, seen: answer.seen };
                        Delivery::Replied { answered, group_time: answer.group_time, tracked: answer.tracked }
                    }
                    Err(reason) => Delivery::Unreadable(self.error(&format!("unreadable answer: {reason}"))),
                };
                // The caller may have gone away; then the answer is nobody's.
                let _ = request.waiter.send(delivery);
            }
        }
        self.surroundings.slots.request_version(frame.topology_version);
    }

    fn fail_in_flight(&mut self, error: Option<TransportError>) {
        let Some(error) = error else { return };
        self.set_down(true);
        debug!(address = %self.address, reason = %error.reason, in_flight = self.in_flight.len(), "lane lost");
        for (_, request) in self.in_flight.drain() {
            let _ = request.waiter.send(Delivery::Lost { sent: true, error: error.clone() });
        }
    }

    /// The node could not be reached: whoever asks for it before the pause is over is told at once, instead of waiting for a
    /// connection that was just refused. Their own pauses decide when they come back.
    async fn refuse_for_a_while(&mut self, failures: u32, error: TransportError) {
        debug!(address = %self.address, reason = %error.reason, "cannot open a lane");
        let end = Instant::now() + self.surroundings.backoff.draw(failures);
        loop {
            for op in self.waiting.drain(..).flatten() {
                op.return_unsent(Delivery::Lost { sent: false, error: error.clone() });
            }
            let more = self.queue.recv_many(&mut self.waiting, FRAME_OPS_MAX);
            match tokio::time::timeout_at(end, more).await {
                Ok(0) | Err(_) => return,
                Ok(_) => (),
            }
        }
    }

    fn set_down(&self, down: bool) {
        self.is_down.store(down, Ordering::Relaxed);
        let stats = &self.surroundings.stats;
        if down { stats.disconnects.increment() } else { stats.connects.increment() }
    }

    fn error(&self, reason: &str) -> TransportError {
        TransportError { address: Arc::clone(&self.address), reason: Arc::from(reason) }
    }
}
