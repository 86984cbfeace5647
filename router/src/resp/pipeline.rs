//! Requests of one connection under way: answered in order, and executed in order as far as anybody could tell.
//!
//! Requests for different slots proceed at the same time. Within a slot, what has been read together is sent together and executed in
//! order; what comes while that is under way waits for it, unless all of it only reads. A request for several slots waits for what
//! it could conflict with, and holds up what comes after it until it may begin.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use simplekv_client::{Kind, Options, ReadPolicy, Session};
use simplekv_resp::command::ObjectQuestion;
use simplekv_resp::{Command, Keys, Protocol};
use simplekv_types::{Reply, Slot};
use smallvec::SmallVec;

use super::task::{Task, Words};
use super::wide;
use crate::error;
use crate::metrics::Class;
use crate::shared::Shared;

/// Most requests for one slot that are sent together, and the bytes beyond which no more are added.
const TOGETHER_MAX: usize = 128;
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
}

/// A reply that is due.
pub(super) struct Due {
    pub(super) reply: Reply,
    pub(super) protocol: Protocol,
    pub(super) is_heard: bool,
}

struct Queued {
    turn: Turn,
    words: Words,
    kind: Kind,
    share: bool,
    track: bool,
}

/// Requests for one slot. Invariant: a slot is in the table exactly while something of it runs or waits.
#[derive(Default)]
struct SlotQueue {
    /// Reads under way, each on its own.
    reads: usize,
    /// Whether requests that are executed in order are under way.
    in_order: bool,
    waiting: VecDeque<Queued>,
}

/// What has come to its end.
enum Finished {
    Read { slot: Slot, turn: Turn, reply: Reply },
    InOrder { slot: Slot, writes: usize, replies: SmallVec<[(Turn, Reply); 1]> },
    Wide { turn: Turn, is_write: bool, reply: Reply },
    Versions { replies: Vec<Reply> },
    Blocking { turn: Turn, reply: Reply },
}

/// The requests of one connection.
pub(super) struct Pipeline {
    shared: Arc<Shared>,
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
    slots: HashMap<Slot, SlotQueue, foldhash::fast::RandomState>,
    /// Slots that got requests since the last [`Pipeline::flush`].
    fresh: Vec<Slot>,
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
    /// `number` is the connection's: its requests share a lane to each node, so that what was read together is packed together.
    pub(super) fn new(shared: Arc<Shared>, number: u64) -> Self {
        let lane = usize::try_from(number).unwrap_or(0);
        Self {
            session: shared.client.session(),
            options: Options::default().lane(lane).read(shared.client.read_policy()),
            shared,
            pending: VecDeque::new(),
            first: 0,
            waiting_bytes: 0,
            recent_bytes: REPLY_BYTES_AT_FIRST,
            running: FuturesUnordered::new(),
            slots: HashMap::default(),
            fresh: Vec::new(),
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
    }

    /// Whether nothing goes on before somebody else does something.
    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Takes the next turn for a request.
    pub(super) fn take_turn(&mut self, protocol: Protocol, is_heard: bool, class: Class) -> Turn {
        self.pending.push_back(Pending { reply: None, protocol, is_heard, class });
        self.first + self.pending.len() as Turn - 1
    }

    /// Answers a request without the cluster.
    pub(super) fn answer(&mut self, turn: Turn, reply: Reply) {
        let at = usize::try_from(turn - self.first).expect("a pipeline fits in memory");
        let pending = self.pending.get_mut(at).expect("a turn is pending until its reply was taken");
        self.waiting_bytes += reply.memory_bytes();
        pending.reply = Some(reply);
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

    /// Takes up a request that may begin. Those for one slot are sent at the next [`Pipeline::flush`].
    pub(super) fn begin(&mut self, turn: Turn, task: Task) {
        debug_assert!(self.may_begin(&task), "a request must not overtake one it conflicts with");
        match task {
            Task::Single { slot, words, kind, share, track } => {
                self.singles += 1;
                self.writes += usize::from(kind == Kind::Write);
                let queue = self.slots.entry(slot).or_default();
                queue.waiting.push_back(Queued { turn, words, kind, share, track });
                if queue.waiting.len() == 1 {
                    self.fresh.push(slot);
                }
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
                let (session, options) = (self.session.clone(), self.options);
                let future = async move {
                    let found = session.execute_when_there(&tries, &keys, timeout, options).await;
                    Finished::Blocking { turn, reply: found.unwrap_or_else(error::reply) }
                };
                self.running.push(future.boxed());
            }
            Task::Wide { command, kind, conclude, track } => {
                let is_write = kind == Kind::Write;
                *(if is_write { &mut self.wide_writes } else { &mut self.wide_reads }) += 1;
                let (shared, session, options) = (Arc::clone(&self.shared), self.session.clone(), self.options.track(track));
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

    /// Sends what was taken up.
    pub(super) fn flush(&mut self) {
        for slot in std::mem::take(&mut self.fresh) {
            self.advance(slot);
        }
    }

    /// Waits until something has come to its end, and takes everything that has.
    pub(super) async fn progress(&mut self) {
        let mut finished = self.running.next().await;
        while let Some(end) = finished {
            self.finish(end);
            finished = self.running.next().now_or_never().flatten();
        }
        self.flush();
    }

    /// The next reply in order, if it is due.
    pub(super) fn next_due(&mut self) -> Option<Due> {
        self.pending.front()?.reply.as_ref()?;
        let Pending { reply, protocol, is_heard, class } = self.pending.pop_front()?;
        self.first += 1;
        let reply = reply?;
        self.waiting_bytes -= reply.memory_bytes();
        self.shared.metrics.answered(class, matches!(reply, Reply::Error(_)));
        Some(Due { reply, protocol, is_heard })
    }

    /// Answers a request with what the cluster said.
    fn relay(&mut self, turn: Turn, reply: Reply) {
        self.recent_bytes = reply.memory_bytes().max(self.recent_bytes - self.recent_bytes / 8);
        self.answer(turn, reply);
    }

    fn finish(&mut self, finished: Finished) {
        match finished {
            Finished::Read { slot, turn, reply } => {
                self.singles -= 1;
                self.relay(turn, reply);
                if let Some(queue) = self.slots.get_mut(&slot) {
                    queue.reads -= 1;
                }
                self.advance(slot);
            }
            Finished::InOrder { slot, writes, replies } => {
                self.writes -= writes;
                for (turn, reply) in replies {
                    self.singles -= 1;
                    self.relay(turn, reply);
                }
                if let Some(queue) = self.slots.get_mut(&slot) {
                    queue.in_order = false;
                }
                self.advance(slot);
            }
            Finished::Wide { turn, is_write, reply } => {
                *(if is_write { &mut self.wide_writes } else { &mut self.wide_reads }) -= 1;
                self.relay(turn, reply);
            }
            Finished::Blocking { turn, reply } => {
                self.is_blocked = false;
                self.relay(turn, reply);
            }
            Finished::Versions { replies } => {
                self.wide_writes -= 1;
                self.versions = Some(replies);
            }
        }
    }

    /// Sends what waits for a slot, as far as it need not wait for what is under way there.
    fn advance(&mut self, slot: Slot) {
        let Some(queue) = self.slots.get_mut(&slot) else { return };
        if queue.in_order {
            return;
        }
        let reads = queue.waiting.iter().take_while(|queued| queued.kind == Kind::Read).count();
        // Reads that something in order follows go with it: one round trip instead of two.
        if reads == queue.waiting.len() || queue.reads > 0 {
            for queued in queue.waiting.drain(..reads) {
                queue.reads += 1;
                let future = read(self.session.clone(), slot, queued, self.options);
                self.running.push(future.boxed());
            }
        } else {
            queue.in_order = true;
            let together = together(&mut queue.waiting);
            let future = in_order(self.session.clone(), slot, together, self.options);
            self.running.push(future.boxed());
        }
        if !queue.in_order && queue.reads == 0 && queue.waiting.is_empty() {
            self.slots.remove(&slot);
        }
    }
}

/// The first requests that wait, as many as may be sent together.
fn together(waiting: &mut VecDeque<Queued>) -> SmallVec<[Queued; 1]> {
    let mut bytes = 0;
    let is_small = |queued: &&Queued| {
        let before = bytes;
        bytes += queued.words.iter().map(bytes::Bytes::len).sum::<usize>();
        before == 0 || bytes <= TOGETHER_BYTES_MAX
    };
    let count = waiting.iter().take(TOGETHER_MAX).take_while(is_small).count();
    waiting.drain(..count).collect()
}

async fn read(session: Session, slot: Slot, queued: Queued, options: Options) -> Finished {
    let Queued { turn, words, share, track, .. } = queued;
    let result = session.execute(slot, words, Kind::Read, options.share(share).track(track)).await;
    Finished::Read { slot, turn, reply: result.unwrap_or_else(error::reply) }
}

async fn in_order(session: Session, slot: Slot, mut queued: SmallVec<[Queued; 1]>, options: Options) -> Finished {
    let writes = queued.iter().filter(|queued| queued.kind == Kind::Write).count();
    if queued.len() == 1
        && let Some(Queued { turn, words, kind, track, .. }) = queued.pop()
    {
        let result = session.execute(slot, words, kind, options.share(false).track(track)).await;
        let replies = std::iter::once((turn, result.unwrap_or_else(error::reply))).collect();
        return Finished::InOrder { slot, writes, replies };
    }
    // Of one that is not, too much is tracked: that costs little.
    let options = options.track(queued.iter().any(|queued| queued.track));
    let turns: SmallVec<[Turn; 8]> = queued.iter().map(|queued| queued.turn).collect();
    let commands = queued.into_iter().map(|queued| (queued.words, queued.kind)).collect();
    let results = session.execute_in_order(slot, commands, options).await;
    let replies = turns.into_iter().zip(results.into_iter().map(|result| result.unwrap_or_else(error::reply)));
    Finished::InOrder { slot, writes, replies: replies.collect() }
}
