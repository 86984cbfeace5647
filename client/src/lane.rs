//! A lane: one long-lived stream to a node, shared by all requests that go there.
//!
//! Its task packs whatever waits into one frame whenever the stream takes one. Nothing is delayed in order to be packed: while the
//! stream is free a request leaves alone, while it is busy the next frame fills up by itself. Replies come in any order and find
//! their requests by number; a caller who has gone away is a reply that nobody takes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use simplekv_proto::{OpReply, ReplyFrame, RequestFrame};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::debug;

use crate::backoff::Backoff;
use crate::error::TransportError;
use crate::inbox::{Courier, Delivery};
use crate::parcel::Parcel;
use crate::session::Answered;
use crate::slot_cache::SlotCache;
use crate::stats::Stats;
use crate::transport::{LaneLink, Transport};

/// Most operations in a frame.
const FRAME_OPS_MAX: usize = 256;
/// A frame is closed once it holds this many bytes; a larger operation travels alone. Operations handed over together are parted only
/// if no node would take them in one frame, so a frame may exceed both limits by one such parcel.
const FRAME_BYTES_MAX: usize = 256 << 10;

/// How often to look for abandoned requests while nothing leaves.
const TIDY_INTERVAL: Duration = Duration::from_millis(100);

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

struct Task {
    address: Arc<str>,
    surroundings: Surroundings,
    queue: mpsc::Receiver<Parcel>,
    /// Taken from the queue, not yet packed.
    waiting: Vec<Parcel>,
    /// Sent on the present stream, not yet answered, by the parcel's number.
    in_flight: HashMap<u64, Courier, foldhash::fast::FixedState>,
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
        self.waiting.retain(|parcel| !parcel.is_abandoned());
        if self.queue.is_closed() {
            self.in_flight.retain(|_, courier| !courier.is_closed());
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
                    Some(Ok(frame)) => if let Err(error) = self.deliver(&frame) { return Some(error) },
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
    fn pack(&mut self, bytes_max: usize) -> Option<RequestFrame> {
        while self.waiting.len() < FRAME_OPS_MAX {
            let Ok(parcel) = self.queue.try_recv() else { break };
            self.waiting.push(parcel);
        }
        let client = self.waiting.first()?.client;
        let room = Parcel::room(bytes_max);
        let (mut taken, mut count, mut bytes) = (0, 0, 0);
        for parcel in &self.waiting {
            count += parcel.len();
            bytes += parcel.bytes();
            // The frame has one client's id; a write under a foreign one travels in a frame of its own.
            let is_ours = parcel.client == client;
            if taken > 0 && (count > FRAME_OPS_MAX || bytes > FRAME_BYTES_MAX.min(room) || !is_ours) {
                break;
            }
            taken += 1;
        }
        self.forget_abandoned(taken);
        let version = self.surroundings.slots.load().slot_map_version();
        let mut frame = RequestFrame::new(bytes::Bytes::copy_from_slice(&client.0.to_be_bytes()), version.0);
        let mut loaded = 0;
        for parcel in self.waiting.drain(..taken) {
            self.in_flight.extend(parcel.load(room, &mut frame, &mut loaded));
        }
        if frame.is_empty() {
            return None;
        }
        self.surroundings.stats.frames.increment();
        self.surroundings.stats.ops.add(frame.len() as u64);
        Some(frame)
    }

    /// A node that keeps the stream but never answers some requests must not make the table grow for ever.
    fn forget_abandoned(&mut self, more: usize) {
        if self.in_flight.len() + more > self.in_flight.capacity() {
            self.in_flight.retain(|_, courier| !courier.is_closed());
        }
    }

    /// # Errors
    /// What came is no frame of replies. Those that could be read were delivered.
    fn deliver(&mut self, frame: &ReplyFrame) -> Result<(), TransportError> {
        let Self { address, in_flight, .. } = self;
        let error = |reason: String| TransportError { address: Arc::clone(address), reason: Arc::from(reason) };
        let delivery = |reply: OpReply| match reply.reply {
            Ok(value) => {
                let answered = Answered { reply: value, seen: reply.seen };
                let OpReply { group_time, attempt, tracked, .. } = reply;
                Delivery::Replied { answered, group_time, attempt, tracked }
            }
            Err(reason) => Delivery::Unreadable(error(format!("unreadable answer: {reason}"))),
        };
        let mut broken = None;
        let mut replies =
            frame.replies().map_while(|reply| reply.map_err(|reason| broken = Some(reason)).ok()).peekable();
        while let Some(first) = replies.peek() {
            // The answers to one parcel stand together.
            let (number, _) = Parcel::address(first.id);
            let of_parcel = std::iter::from_fn(|| {
                let reply = replies.next_if(|reply| Parcel::address(reply.id).0 == number)?;
                Some((Parcel::address(reply.id).1, delivery(reply)))
            });
            match in_flight.get(&number) {
                // The caller may have gone away; then the answers are nobody's.
                None => of_parcel.for_each(drop),
                Some(courier) => {
                    if courier.bring(of_parcel) {
                        in_flight.remove(&number);
                    }
                }
            }
        }
        drop(replies);
        self.surroundings.slots.request_version(frame.topology_version);
        broken.map_or(Ok(()), |reason| Err(self.error(&reason.to_string())))
    }

    fn fail_in_flight(&mut self, error: Option<TransportError>) {
        let Some(error) = error else { return };
        self.set_down(true);
        debug!(address = %self.address, reason = %error.reason, in_flight = self.in_flight.len(), "lane lost");
        for (_, courier) in self.in_flight.drain() {
            courier.bring_everywhere(|| Delivery::Lost { sent: true, error: error.clone() });
        }
    }

    /// The node could not be reached: whoever asks for it before the pause is over is told at once, instead of waiting for a
    /// connection that was just refused. Their own pauses decide when they come back.
    async fn refuse_for_a_while(&mut self, failures: u32, error: TransportError) {
        debug!(address = %self.address, reason = %error.reason, "cannot open a lane");
        let end = Instant::now() + self.surroundings.backoff.draw(failures);
        loop {
            for parcel in self.waiting.drain(..) {
                parcel.return_unsent(|| Delivery::Lost { sent: false, error: error.clone() });
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
