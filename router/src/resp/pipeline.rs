//! Requests of one connection under way: answered in order, and executed in order as far as anybody could tell.
//!
//! What has been read together is handed to the client together. Requests for different slots proceed at the same time, those for one slot
//! in order; what comes while others for its slot are under way waits for them, unless all of it only reads. A request for several slots
//! waits for what it could conflict with, and holds up what comes after it until it may begin.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use simplekv_client::{Answers, Ask, Kind, Options, ReadPolicy, Session};
use simplekv_resp::clients::KnownClient;
use simplekv_resp::command::ObjectQuestion;
use simplekv_resp::{Args, Command, Keys, Protocol};
use simplekv_types::{Reply, Slot};
use tokio::time::Instant;

use super::busy::Busy;
use super::task::{Task, Words};
use super::told::Unblocked;
use super::wide;
use crate::error;
use crate::facts::now_micros;
use crate::metrics::Class;
use crate::shared::Shared;

/// Most requests that are sent together, and the bytes beyond which no more are added.
const TOGETHER_MAX: usize = 256;
const TOGETHER_BYTES_MAX: usize = 128 << 10;

/// Keys of one WATCH that are asked for at a time.
const VERSIONS_AT_ONCE: usize = 16;

/// What a reply is taken to come to before any has come: enough that the first requests of a connection cannot all ask for values of
/// the largest size at once.
const REPLY_BYTES_AT_FIRST: usize = 1 << 20;

/// A place in the order of a connection's replies.
pub(super) type Turn = u64;

/// A reply that is waited for, or waits for those before it.
struct Pending {
    reply: Option<Reply>,
    /// What the request was to be answered in: HELLO changes it for those after it.
    protocol: Protocol,
    /// Whether the client wants to see the reply.
    is_heard: bool,
    class: Class,
    /// Since when, and what was asked, if that is measured.
    measured: Option<Measured>,
}

struct Measured {
    began: Instant,
    words: Words,
}

/// A reply that is due.
pub(super) struct Due {
    pub(super) reply: Reply,
    pub(super) protocol: Protocol,
    pub(super) is_heard: bool,
    pub(super) class: Class,
}

/// A request for one slot that has not been sent.
struct Queued {
    turn: Turn,
    slot: Slot,
    words: Args,
    kind: Kind,
    share: bool,
    track: bool,
}

/// Requests that were sent together, and their answers to come.
struct Set {
    answers: Answers,
    /// In the order in which they were sent.
    asked: Vec<Asked>,
}

#[derive(Clone, Copy)]
struct Asked {
    turn: Turn,
    slot: Slot,
    kind: Kind,
    is_answered: bool,
}

/// What has come to its end.
enum Finished {
    Wide { turn: Turn, is_write: bool, reply: Reply },
    Versions { replies: Vec<Reply> },
    Blocking { turn: Turn, reply: Reply },
}

/// The requests of one connection.
pub(super) struct Pipeline {
    shared: Arc<Shared>,
    client: Arc<KnownClient>,
    /// Says that what waits is to wait no longer.
    unblocked: Arc<Unblocked>,
    /// What the connection has read and written.
    session: Session,
    options: Options,
    /// Replies from `first` on.
    pending: VecDeque<Pending>,
    first: Turn,
    /// Bytes of replies that wait for one before them.
    waiting_bytes: usize,
    /// What replies of the cluster came to of late: the largest, forgotten by an eighth with each that comes.
    recent_bytes: usize,
    running: FuturesUnordered<BoxFuture<'static, Finished>>,
    /// Requests for one slot that are under way.
    sets: Vec<Set>,
    busy: Busy,
    /// Requests for one slot that wait for the next [`Pipeline::flush`], or for others for their slot.
    waiting: VecDeque<Queued>,
    /// Single-slot writes that run or wait.
    writes: usize,
    /// Single-slot requests that run or wait.
    singles: usize,
    wide_reads: usize,
    wide_writes: usize,
    /// What WATCH asked for.
    versions: Option<Vec<Reply>>,
    /// Whether a request waits for something to be there. It takes no place of the router's and may wait for ever; nothing else runs.
    is_blocked: bool,
}

impl Pipeline {
    /// The connection's number chooses the lane: its requests share a lane to each node, so that what was read together is packed together.
    pub(super) fn new(shared: Arc<Shared>, client: Arc<KnownClient>) -> Self {
        let lane = usize::try_from(client.id()).unwrap_or(0);
        Self {
            session: shared.client.session(),
            options: Options::default().lane(lane).read(shared.client.read_policy()),
            shared,
            client,
            unblocked: Arc::default(),
            pending: VecDeque::new(),
            first: 0,
            waiting_bytes: 0,
            recent_bytes: REPLY_BYTES_AT_FIRST,
            running: FuturesUnordered::new(),
            sets: Vec::new(),
            busy: Busy::default(),
            waiting: VecDeque::new(),
            writes: 0,
            singles: 0,
            wide_reads: 0,
            wide_writes: 0,
            versions: None,
            is_blocked: false,
        }
    }

    /// From now on reads are promised this. Nothing may be outstanding: what was asked before was asked under another promise.
    pub(super) fn set_read_policy(&mut self, policy: ReadPolicy) {
        debug_assert_eq!(self.outstanding(), 0, "a request is read as it was asked");
        self.options.read = Some(policy);
    }

    /// What the connection has read and written, as far as that has ended.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Forgets what was read and written, and who may answer reads. What is outstanding ends as it began, or better.
    pub(super) fn reset_session(&mut self) {
        self.session = self.shared.client.session();
        self.options.read = Some(self.shared.client.read_policy());
    }

    /// Whether the reply of this turn, and so of all before it, was taken.
    pub(super) fn is_over(&self, turn: Turn) -> bool {
        turn < self.first
    }

    /// Requests whose replies are not due yet.
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Bytes of replies that wait for one before them.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Bytes of replies the cluster will probably send to what it has been asked.
    pub(super) fn expected_bytes(&self) -> usize {
        self.outstanding().saturating_mul(self.recent_bytes)
    }

    /// Requests the cluster has not answered yet.
    pub(super) fn outstanding(&self) -> usize {
        self.singles + self.wide_reads + self.wide_writes
    }

    /// Forgets the request that waits, and everything behind it.
    pub(super) fn stop_waiting(&mut self) {
        debug_assert_eq!(self.outstanding(), 0, "who waits does so alone");
        self.running.clear();
        self.pending.clear();
        self.waiting_bytes = 0;
        self.is_blocked = false;
        self.client.set_blocked(false);
    }

    /// Whether nothing goes on before somebody else does something.
    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Takes the next turn for a request.
    pub(super) fn take_turn(&mut self, protocol: Protocol, is_heard: bool, class: Class) -> Turn {
        self.pending.push_back(Pending { reply: None, protocol, is_heard, class, measured: None });
        self.first + self.pending.len() as Turn - 1
    }

    /// Remembers what the newest request was, so that it can be told if it takes long.
    pub(super) fn measure(&mut self, words: Words, began: Instant) {
        if let Some(pending) = self.pending.back_mut() {
            pending.measured = Some(Measured { began, words });
        }
    }

    /// Answers a request without the cluster.
    pub(super) fn answer(&mut self, turn: Turn, reply: Reply) {
        let at = usize::try_from(turn - self.first).expect("a pipeline fits in memory");
        let pending = self.pending.get_mut(at).expect("a turn is pending until its reply was taken");
        self.waiting_bytes += reply.memory_bytes();
        pending.reply = Some(reply);
        if let Some(measured) = pending.measured.take() {
            let (log, took) = (&self.shared.slow_log, measured.began.elapsed());
            if log.threshold().is_some_and(|threshold| took >= threshold) {
                log.keep(&measured.words, took, &self.client, now_micros());
            }
        }
    }

    /// Whether a request may join those under way.
    pub(super) fn may_begin(&self, task: &Task) -> bool {
        if self.is_blocked {
            return false;
        }
        match (task, task.is_write()) {
            (Task::Blocking { .. } | Task::Publish { .. }, _) => self.outstanding() == 0,
            (Task::Single { .. }, false) => self.wide_writes == 0,
            (Task::Single { .. }, true) => self.wide_writes == 0 && self.wide_reads == 0,
            (Task::Wide { .. }, false) => self.writes == 0 && self.wide_writes == 0,
            (Task::Wide { .. }, true) => self.singles == 0 && self.wide_reads == 0 && self.wide_writes == 0,
        }
    }

    /// Takes up a request that may begin. One for a single slot is sent at the next [`Pipeline::flush`].
    pub(super) fn begin(&mut self, turn: Turn, task: Task) {
        debug_assert!(self.may_begin(&task), "a request must not overtake one it conflicts with");
        match task {
            Task::Single { slot, words, kind, share, track } => {
                self.singles += 1;
                self.writes += usize::from(kind == Kind::Write);
                self.waiting.push_back(Queued { turn, slot, words, kind, share, track });
            }
            Task::Publish { naming, channel, message } => {
                let session = self.session.clone();
                self.answer_later(turn, async move {
                    let heard = session.publish(naming, channel, message).await;
                    heard.map_or_else(error::reply, |by| Reply::Int(i64::try_from(by).unwrap_or(i64::MAX)))
                });
            }
            Task::Blocking { tries, keys, timeout } => {
                self.is_blocked = true;
                self.unblocked.forget();
                self.client.set_blocked(true);
                let (session, options, unblocked) = (self.session.clone(), self.options, Arc::clone(&self.unblocked));
                let future = async move {
                    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
                    let stop = async {
                        match deadline {
                            Some(deadline) => _ = tokio::time::timeout_at(deadline, unblocked.told()).await,
                            None => unblocked.told().await,
                        }
                    };
                    let found = session.execute_until(&tries, &keys, stop, options).await;
                    let reply = match (found, unblocked.take()) {
                        (Ok(Reply::NullArray), Some(reason)) => reason.reply(),
                        (found, _) => found.unwrap_or_else(error::reply),
                    };
                    Finished::Blocking { turn, reply }
                };
                self.running.push(future.boxed());
            }
            Task::Wide { command, kind, conclude, track } => {
                let is_write = kind == Kind::Write;
                *(if is_write { &mut self.wide_writes } else { &mut self.wide_reads }) += 1;
                let (shared, session, options) =
                    (Arc::clone(&self.shared), self.session.clone(), self.options.track(track));
                let future = async move {
                    let reply = wide::run(&shared, &session, command, kind, options, conclude.is_some()).await;
                    let reply = match conclude {
                        Some(conclude) => conclude(reply).await,
                        None => reply,
                    };
                    Finished::Wide { turn, is_write, reply }
                };
                self.running.push(future.boxed());
            }
        }
    }

    /// Answers a request with what comes of this, before anything behind it begins.
    pub(super) fn answer_later(&mut self, turn: Turn, reply: impl Future<Output = Reply> + Send + 'static) {
        self.wide_writes += 1;
        self.running.push(async move { Finished::Wide { turn, is_write: true, reply: reply.await } }.boxed());
    }

    /// Answers a request with what comes of this, which may never be: it takes no place of the router's, and nothing goes on before. Nothing
    /// may be outstanding.
    pub(super) fn wait_for(&mut self, turn: Turn, reply: impl Future<Output = Reply> + Send + 'static) {
        debug_assert_eq!(self.outstanding(), 0, "who waits does so alone");
        self.is_blocked = true;
        self.running.push(async move { Finished::Blocking { turn, reply: reply.await } }.boxed());
    }

    /// Says to what waits that it is to wait no longer.
    pub(super) fn unblocked(&self) -> &Arc<Unblocked> {
        &self.unblocked
    }

    /// Asks what keys are, for WATCH. Nothing may be outstanding, and nothing may begin before [`Pipeline::take_versions`] tells.
    pub(super) fn ask_versions(&mut self, keys: &Keys) {
        debug_assert_eq!(self.outstanding(), 0, "a key is watched as those before left it");
        self.wide_writes += 1;
        let (session, options) = (self.session.clone(), self.options.read(ReadPolicy::Leader));
        let keys = keys.clone();
        let future = async move {
            let version = |key: &Bytes| {
                let command = Command::Object { key: key.clone(), question: ObjectQuestion::Version };
                let words: Words = command.to_args().into_iter().collect();
                let (slot, session) = (Slot::of_key(key), session.clone());
                async move { session.execute(slot, words, Kind::Read, options).await.unwrap_or_else(error::reply) }
            };
            let versions: Vec<_> = keys.iter().map(version).collect();
            Finished::Versions { replies: futures::stream::iter(versions).buffered(VERSIONS_AT_ONCE).collect().await }
        };
        self.running.push(future.boxed());
    }

    /// What keys are, once it is known.
    pub(super) fn take_versions(&mut self) -> Option<Vec<Reply>> {
        self.versions.take()
    }

    /// Sends what was taken up, as far as it need not wait for what is under way.
    pub(super) fn flush(&mut self) {
        while let Some(set) = self.next_set() {
            self.sets.push(set);
        }
    }

    /// Sends the first requests that wait, as many as may be sent together. `None` if none may be sent now.
    fn next_set(&mut self) -> Option<Set> {
        if self.waiting.is_empty() {
            return None;
        }
        if !self.sets.is_empty() {
            let asked = self.sets.iter().flat_map(|set| &set.asked);
            self.busy.keep(asked.filter(|asked| !asked.is_answered).map(|asked| (asked.slot, asked.kind)));
        }
        let (mut asks, mut asked, mut bytes) =
            (Vec::with_capacity(self.waiting.len().min(TOGETHER_MAX)), Vec::new(), 0);
        asked.reserve(asks.capacity());
        let (mut left, mut passed_over, mut is_full) = (VecDeque::new(), HashSet::new(), false);
        for queued in std::mem::take(&mut self.waiting) {
            let Queued { turn, slot, kind, .. } = queued;
            let size: usize = queued.words.iter().map(Bytes::len).sum();
            is_full |= asks.len() == TOGETHER_MAX || !asks.is_empty() && bytes + size > TOGETHER_BYTES_MAX;
            // Nothing overtakes what waits for the same slot.
            if is_full || !passed_over.is_empty() && passed_over.contains(&slot) || self.busy.holds_up(slot, kind) {
                passed_over.insert(slot);
                left.push_back(queued);
                continue;
            }
            bytes += size;
            asks.push(Ask::new(slot, queued.words, kind).share(queued.share).track(queued.track));
            asked.push(Asked { turn, slot, kind, is_answered: false });
        }
        self.waiting = left;
        if asks.is_empty() {
            return None;
        }
        asked.iter().for_each(|asked| self.busy.begin(asked.slot, asked.kind));
        Some(Set { answers: self.session.execute_together(asks, self.options), asked })
    }

    /// Waits until something has come to its end, and takes everything that has.
    pub(super) async fn progress(&mut self) {
        std::future::poll_fn(|context| self.poll_progress(context)).await;
        self.flush();
    }

    fn poll_progress(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut any = false;
        while let Poll::Ready(Some(finished)) = self.running.poll_next_unpin(context) {
            self.finish(finished);
            any = true;
        }
        let mut at = 0;
        while let Some(set) = self.sets.get_mut(at) {
            match set.answers.poll_next_unpin(context) {
                Poll::Ready(Some((place, result))) => {
                    any = true;
                    if let Some(asked) = set.asked.get_mut(place) {
                        asked.is_answered = true;
                        let Asked { turn, slot, kind, .. } = *asked;
                        self.busy.end(slot, kind);
                        self.singles -= 1;
                        self.writes -= usize::from(kind == Kind::Write);
                        self.relay(turn, result.unwrap_or_else(error::reply));
                    }
                }
                Poll::Ready(None) => drop(self.sets.swap_remove(at)),
                Poll::Pending => at += 1,
            }
        }
        if self.sets.is_empty() {
            self.busy.forget();
        }
        if any { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The next reply in order, if it is due.
    pub(super) fn next_due(&mut self) -> Option<Due> {
        self.pending.front()?.reply.as_ref()?;
        let Pending { reply, protocol, is_heard, class, .. } = self.pending.pop_front()?;
        self.first += 1;
        let reply = reply?;
        self.waiting_bytes -= reply.memory_bytes();
        Some(Due { reply, protocol, is_heard, class })
    }

    /// Answers a request with what the cluster said.
    fn relay(&mut self, turn: Turn, reply: Reply) {
        self.recent_bytes = reply.memory_bytes().max(self.recent_bytes - self.recent_bytes / 8);
        self.answer(turn, reply);
    }

    fn finish(&mut self, finished: Finished) {
        match finished {
            Finished::Wide { turn, is_write, reply } => {
                *(if is_write { &mut self.wide_writes } else { &mut self.wide_reads }) -= 1;
                self.relay(turn, reply);
            }
            Finished::Blocking { turn, reply } => {
                self.is_blocked = false;
                self.client.set_blocked(false);
                self.relay(turn, reply);
            }
            Finished::Versions { replies } => {
                self.wide_writes -= 1;
                self.versions = Some(replies);
            }
        }
    }
}
