//! Identical reads that wait at the same time share one answer, where their read policy's promise allows it.
//!
//! What a read may return is decided by when its flight was *sent*: a flight in the air may carry the state from before a write
//! that was acknowledged before I asked. So a linearizable read joins only a flight that has not been sent. Per key there are two
//! flights, the current one in the air and the next one, which collects whoever comes meanwhile and leaves when the current one
//! lands. A hot key thus costs one request per round trip, however many ask for it.

use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use simplekv_types::{GroupId, Lsn, Position, ReadPolicy};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::Target;
use crate::error::{Error, Result};
use crate::session::Answered;

/// What makes two reads identical. The policy is part of it: answers are never shared between different promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FlightKey {
    /// Of the others: computed once, however often the flight is looked up.
    hash: u64,
    pub(crate) target: Target,
    pub(crate) policy: ReadPolicy,
    pub(crate) args: Arc<[Bytes]>,
}

impl FlightKey {
    pub(crate) fn new(target: Target, policy: ReadPolicy, args: Arc<[Bytes]>) -> Self {
        Self { hash: flight_hash(target, policy, &args), target, policy, args }
    }
}

/// A hash of what makes two reads identical.
pub(crate) fn flight_hash(target: Target, policy: ReadPolicy, args: &[Bytes]) -> u64 {
    /// Nobody outside can choose keys whose hashes collide.
    static SEED: LazyLock<foldhash::fast::RandomState> = LazyLock::new(Default::default);
    SEED.hash_one((target, policy, args))
}

impl Hash for FlightKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Takes a key's own hash for its hash.
#[derive(Debug, Default)]
struct Known(u64);

impl Hasher for Known {
    fn write(&mut self, _: &[u8]) {
        unreachable!("a key is one number to its hasher")
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Which flights a read may join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Join {
    /// One that has not been sent.
    Unsent,
    /// One sent at most this long ago, or not yet.
    SentWithin(Duration),
    /// One that sees at least this, whenever it was sent; or one that has not been sent, which then will.
    Covering(Position),
    /// Any.
    Any,
}

impl Join {
    /// The rule a read policy's promise allows.
    pub(crate) fn of(policy: ReadPolicy) -> Self {
        match policy {
            ReadPolicy::Bounded { max_lag } => Self::SentWithin(head_start(max_lag)),
            ReadPolicy::Any => Self::Any,
            // A session that has seen nothing could join any; one has no reason to read that way. A policy this code does not know is
            // held to the strictest rule.
            _ => Self::Unsent,
        }
    }
}

/// By how much a flight may have begun before a reader who joins it, if the answer may be this old.
fn head_start(max_lag: Duration) -> Duration {
    max_lag / 4
}

/// What a flight asks for, so that its answer keeps the promise of `policy` to everybody who may join it. A node judges the age of an
/// answer when it answers; for those who joined, what the flight took until then is added.
pub(crate) fn asked_for(policy: ReadPolicy) -> ReadPolicy {
    match policy {
        ReadPolicy::Bounded { max_lag } => ReadPolicy::Bounded { max_lag: max_lag - head_start(max_lag) },
        policy => policy,
    }
}

/// What a flight must see if what its readers have seen cannot be seen at once: of two groups, since the slot went from one to the
/// other while they gathered, or of two histories of one. No group has this number, so no group's answer will do but a linearizable
/// one.
const OF_SEVERAL_GROUPS: Position = Position::start(GroupId(0));

/// Whether one replica can show both.
fn may_be_one(one: Position, other: Position) -> bool {
    one.lineage == other.lineage || one.end == Lsn::ZERO || other.end == Lsn::ZERO
}

type Outcome = Result<Answered>;
type Waiter = oneshot::Sender<Outcome>;

/// How long those on the next flight wait for the current one to land. Normally it lands within a round trip; but whoever flies it
/// may leave off polling it, and those behind must not depend on that.
const PATIENCE: Duration = Duration::from_millis(50);

/// What a read that asks to share is.
pub(crate) enum Flight {
    /// The only one so far: fly alone and drop the value when the answer is here. Nobody has to be told.
    Alone(Solo),
    /// The first of those who wait for the next flight, or of those who may join this one: [`Lead::run`] must be run in a task of its
    /// own.
    Lead(Lead, oneshot::Receiver<Outcome>),
    /// One that shares the answer of another.
    Wait(oneshot::Receiver<Outcome>),
}

/// The flights of a client.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    keys: DashMap<FlightKey, Pair, BuildHasherDefault<Known>>,
    /// Number of the next flight, of whatever key.
    numbers: AtomicU64,
}

/// The two flights of one key. It is in the table while somebody flies the current one.
#[derive(Debug)]
struct Pair {
    /// Number of the current flight; tells a solo whether it still is the current one.
    number: u64,
    sent: Instant,
    current: Vec<Waiter>,
    next: Vec<Waiter>,
    /// What the current flight sees at least, and what the next one must.
    current_seen: Option<Position>,
    next_seen: Option<Position>,
    /// Tells the lead of the next flight that a solo has landed. `Some` exactly between the arrival of the first waiter behind a
    /// solo and the landing.
    landing: Option<oneshot::Sender<()>>,
}

impl Flights {
    /// Joins a flight, or begins one.
    pub(crate) fn join(self: &Arc<Self>, key: FlightKey, rule: Join) -> Flight {
        match self.keys.entry(key) {
            Entry::Occupied(mut pair) => {
                let key = pair.key().clone();
                self.join_pair(pair.get_mut(), key, rule)
            }
            Entry::Vacant(vacant) => {
                let key = vacant.key().clone();
                let (number, sent) = (self.number(), Instant::now());
                let pair = |current| Pair {
                    number,
                    sent,
                    current,
                    next: Vec::new(),
                    current_seen: None,
                    next_seen: None,
                    landing: None,
                };
                if matches!(rule, Join::Unsent | Join::Covering(_)) {
                    vacant.insert(pair(Vec::new()));
                    return Flight::Alone(Solo { flights: Arc::clone(self), key, number });
                }
                // Others may join in the air, so it must fly on whatever becomes of me.
                let (waiter, answer) = oneshot::channel();
                vacant.insert(pair(vec![waiter]));
                Flight::Lead(self.lead(key, None), answer)
            }
        }
    }

    fn join_pair(self: &Arc<Self>, pair: &mut Pair, key: FlightKey, rule: Join) -> Flight {
        let (waiter, answer) = oneshot::channel();
        let may_join_current = match rule {
            Join::Unsent => false,
            Join::SentWithin(age) => pair.sent.elapsed() <= age,
            Join::Covering(seen) => {
                pair.current_seen.is_some_and(|current| current.group == seen.group && current.covers(&seen))
            }
            Join::Any => true,
        };
        // A solo hands its answer to nobody else.
        let is_solo = pair.current.is_empty();
        if may_join_current && !is_solo {
            pair.current.push(waiter);
            return Flight::Wait(answer);
        }
        pair.next.push(waiter);
        if let Join::Covering(seen) = rule {
            pair.next_seen = Some(match pair.next_seen {
                None => seen,
                Some(next) if next.group == seen.group && may_be_one(next, seen) => next.and(seen),
                Some(_) => OF_SEVERAL_GROUPS,
            });
        }
        if !is_solo || pair.next.len() > 1 {
            return Flight::Wait(answer);
        }
        let (landing, landed) = oneshot::channel();
        pair.landing = Some(landing);
        Flight::Lead(self.lead(key, Some(landed)), answer)
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn lead(self: &Arc<Self>, key: FlightKey, behind: Option<oneshot::Receiver<()>>) -> Lead {
        Lead { flights: Arc::clone(self), key, behind, seen: None, is_on_duty: true }
    }
}

/// A read that flies alone.
pub(crate) struct Solo {
    flights: Arc<Flights>,
    key: FlightKey,
    number: u64,
}

impl Solo {
    pub(crate) fn key(&self) -> &FlightKey {
        &self.key
    }
}

impl Drop for Solo {
    /// Landed, or given up: either way the next flight need not wait any longer.
    fn drop(&mut self) {
        let Entry::Occupied(mut entry) = self.flights.keys.entry(self.key.clone()) else { return };
        let pair = entry.get_mut();
        // Those behind may have lost patience and be in the air themselves.
        if pair.number != self.number {
            return;
        }
        match pair.landing.take() {
            Some(landing) => _ = landing.send(()),
            None => _ = entry.remove(),
        }
    }
}

/// Flies the flights of one key, one after the other, until nobody waits for another.
///
/// It runs in a task of its own: the caller who happened to come first may go away or stop being polled, and those who share the
/// answer must not notice.
pub(crate) struct Lead {
    flights: Arc<Flights>,
    key: FlightKey,
    /// The landing of the solo in front, if there is one.
    behind: Option<oneshot::Receiver<()>>,
    /// What the flight now to be flown must see.
    seen: Option<Position>,
    /// Invariant: while set, the key is in the table, and no other lead is on it.
    is_on_duty: bool,
}

impl Lead {
    pub(crate) async fn run<F>(mut self, fetch: impl Fn(&FlightKey, Option<Position>) -> F)
    where
        F: Future<Output = Outcome>,
    {
        if let Some(landed) = self.behind.take() {
            // Landed, given up, or still in the air after a long time: we go.
            let _ = tokio::time::timeout(PATIENCE, landed).await;
            self.turn_around();
        }
        while self.is_on_duty {
            let outcome = fetch(&self.key, self.seen).await;
            for waiter in self.turn_around() {
                // A caller who has gone away takes no answer.
                let _ = waiter.send(outcome.clone());
            }
        }
    }

    /// Takes those who waited for the flight that has landed. The next flight is the current one from here on; without anybody on
    /// it, the key is gone.
    fn turn_around(&mut self) -> Vec<Waiter> {
        let Entry::Occupied(mut entry) = self.flights.keys.entry(self.key.clone()) else {
            unreachable!("the key stays in the table while a lead is on it")
        };
        let pair = entry.get_mut();
        pair.next.retain(|waiter| !waiter.is_closed());
        let next = std::mem::take(&mut pair.next);
        let landed = std::mem::replace(&mut pair.current, next);
        pair.sent = Instant::now();
        self.seen = pair.next_seen.take();
        pair.current_seen = self.seen;
        pair.number = self.flights.number();
        pair.landing = None;
        if pair.current.is_empty() {
            entry.remove();
            self.is_on_duty = false;
        }
        landed
    }
}

impl Drop for Lead {
    /// If the task is ended in flight, those who wait must not wait for ever: dropping their waiters tells them.
    fn drop(&mut self) {
        if self.is_on_duty {
            self.flights.keys.remove(&self.key);
        }
    }
}

/// The answer of a flight; an error if its task died.
pub(crate) async fn landed(landed: oneshot::Receiver<Outcome>) -> Outcome {
    landed.await.unwrap_or(Err(Error::Closed))
}

#[cfg(test)]
mod tests;
