//! Identical reads that wait at the same time share one answer, where their read policy's promise allows it.
//!
//! What a read may return is decided by when its flight was *sent*: a flight in the air may carry the state from before a write
//! that was acknowledged before I asked. So a linearizable read joins only a flight that has not been sent. Per key there are two
//! flights, the current one in the air and the next one, which collects whoever comes meanwhile and leaves when the current one
//! lands. A hot key thus costs one request per round trip, however many ask for it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use simplekv_types::{ReadPolicy, Reply};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::Target;
use crate::error::{Error, Result};

/// What makes two reads identical. The policy is part of it: answers are never shared between different promises.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FlightKey {
    pub(crate) target: Target,
    pub(crate) policy: ReadPolicy,
    pub(crate) args: Arc<[Bytes]>,
}

/// Which flights a read may join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Join {
    /// One that has not been sent.
    Unsent,
    /// One sent at most this long ago, or not yet.
    SentWithin(Duration),
    /// Any.
    Any,
}

impl Join {
    /// The rule a read policy's promise allows.
    pub(crate) fn of(policy: ReadPolicy) -> Self {
        match policy {
            // The answer's age is judged by the node when it answers; what the flight adds counts from when it was sent.
            ReadPolicy::Bounded { max_lag } => Self::SentWithin(max_lag),
            ReadPolicy::Any => Self::Any,
            // A session read may join a flight with at least its own token; tokens do not travel yet, so it is held to the strictest
            // rule, as is a policy this code does not know.
            _ => Self::Unsent,
        }
    }
}

type Outcome = Result<Reply>;
type Waiter = oneshot::Sender<Outcome>;

/// What a read that asks to share is.
pub(crate) enum Flight {
    /// The one to send. Whoever gets this must run [`Lead::run`] in a task of its own.
    Lead(Lead, oneshot::Receiver<Outcome>),
    /// One that shares the answer of another.
    Wait(oneshot::Receiver<Outcome>),
}

/// The flights of a client.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    keys: DashMap<FlightKey, Pair, foldhash::fast::RandomState>,
}

/// The two flights of one key. It is in the table exactly while `current` is in the air.
#[derive(Debug)]
struct Pair {
    sent: Instant,
    current: Vec<Waiter>,
    next: Vec<Waiter>,
}

impl Flights {
    /// Joins a flight, or begins one.
    pub(crate) fn join(self: &Arc<Self>, key: FlightKey, rule: Join) -> Flight {
        let (waiter, landed) = oneshot::channel();
        match self.keys.entry(key) {
            Entry::Occupied(mut pair) => {
                let pair = pair.get_mut();
                let may_join_current = match rule {
                    Join::Unsent => false,
                    Join::SentWithin(age) => pair.sent.elapsed() <= age,
                    Join::Any => true,
                };
                if may_join_current {
                    pair.current.push(waiter)
                } else {
                    pair.next.push(waiter)
                }
                Flight::Wait(landed)
            }
            Entry::Vacant(vacant) => {
                let key = vacant.key().clone();
                vacant.insert(Pair { sent: Instant::now(), current: vec![waiter], next: Vec::new() });
                Flight::Lead(Lead { flights: Arc::clone(self), key, is_in_the_air: true }, landed)
            }
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
    /// Invariant: while set, the key is in the table, and no other lead flies it.
    is_in_the_air: bool,
}

impl Lead {
    pub(crate) async fn run<F: Future<Output = Outcome>>(mut self, fetch: impl Fn(&FlightKey) -> F) {
        while self.is_in_the_air {
            let outcome = fetch(&self.key).await;
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
            unreachable!("the key stays in the table while its lead flies")
        };
        let pair = entry.get_mut();
        pair.next.retain(|waiter| !waiter.is_closed());
        let next = std::mem::take(&mut pair.next);
        let landed = std::mem::replace(&mut pair.current, next);
        pair.sent = Instant::now();
        if pair.current.is_empty() {
            entry.remove();
            self.is_in_the_air = false;
        }
        landed
    }
}

impl Drop for Lead {
    /// If the task is ended in flight, those who wait must not wait for ever: dropping their waiters tells them.
    fn drop(&mut self) {
        if self.is_in_the_air {
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
