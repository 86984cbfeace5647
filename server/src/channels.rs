//! Who listens to which channels, and what is said there.
//!
//! A message goes to whoever listens at that moment, at most once. A listener that does not take its messages is given up, for
//! nobody else is to wait for it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use simplekv_resp::control::pubsub::PubSubQuery;
use simplekv_resp::glob;
use simplekv_types::{Naming, Reply};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Bytes of messages that one listener may leave untaken.
const UNTAKEN_BYTES_MAX: usize = 32 << 20;
/// Counted for each message besides its own bytes.
const MESSAGE_BYTES: usize = 128;

/// The channels of one node.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    tables: Mutex<Tables>,
    /// Given to the next listener.
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct Tables {
    named: HashMap<(Naming, Bytes), Vec<Queue>>,
    patterns: Vec<(Bytes, Queue)>,
}

/// Where a listener's messages wait.
#[derive(Clone, Debug)]
struct Queue {
    listener: u64,
    /// Ends with a `None`.
    messages: mpsc::UnboundedSender<Option<Message>>,
    untaken: Arc<AtomicUsize>,
}

/// A message for one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) naming: Naming,
    /// What the listener has subscribed to: the channel, or a pattern.
    pub(crate) name: Bytes,
    pub(crate) channel: Bytes,
    pub(crate) message: Bytes,
}

/// Something said in a channel of the whole cluster, on its way to the other nodes.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) channel: Bytes,
    pub(crate) message: Bytes,
    /// Its share of the bytes that may be on their way, given back once the last node has been sent it or has missed it.
    pub(crate) room: OwnedSemaphorePermit,
}

impl Message {
    fn bytes(&self) -> usize {
        MESSAGE_BYTES + self.channel.len() + self.message.len()
    }
}

/// One that listens, until this is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    channels: Arc<Channels>,
    queue: Queue,
    messages: mpsc::UnboundedReceiver<Option<Message>>,
    names: Vec<(Naming, Bytes)>,
}

impl Channels {
    /// Somebody who listens to nothing yet.
    pub(crate) fn listener(self: &Arc<Self>) -> Listener {
        let (sender, messages) = mpsc::unbounded_channel();
        let listener = self.next.fetch_add(1, Ordering::Relaxed);
        let queue = Queue { listener, messages: sender, untaken: Arc::default() };
        Listener { channels: Arc::clone(self), queue, messages, names: Vec::new() }
    }

    /// Says something in a channel. Returns how many heard it.
    pub(crate) fn publish(&self, naming: Naming, channel: &Bytes, message: &Bytes) -> usize {
        let mut heard = 0;
        let mut deaf = Vec::new();
        let mut tell = |name: &Bytes, naming: Naming, queue: &Queue| {
            let message = Message { naming, name: name.clone(), channel: channel.clone(), message: message.clone() };
            let bytes = message.bytes();
            if queue.untaken.fetch_add(bytes, Ordering::Relaxed) + bytes > UNTAKEN_BYTES_MAX {
                deaf.push(queue.clone());
            } else if queue.messages.send(Some(message)).is_ok() {
                heard += 1;
            }
        };
        let mut tables = self.tables.lock();
        for queue in tables.named.get(&(naming, channel.clone())).into_iter().flatten() {
            tell(channel, naming, queue);
        }
        if naming == Naming::Channel {
            for (pattern, queue) in &tables.patterns {
                if glob::matches(pattern, channel) {
                    tell(pattern, Naming::Pattern, queue);
                }
            }
        }
        for queue in deaf {
            let _ = queue.messages.send(None);
            tables.give_up(queue.listener);
        }
        heard
    }

    /// How many channels of the whole cluster, and how many patterns, are listened to here.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let tables = self.tables.lock();
        let channels = tables.named.keys().filter(|(naming, _)| *naming == Naming::Channel).count();
        (channels, tables.patterns.iter().map(|(pattern, _)| pattern).collect::<HashSet<_>>().len())
    }

    /// Answers PUBSUB for the listeners of this node.
    pub(crate) fn answer(&self, query: &PubSubQuery) -> Reply {
        let tables = self.tables.lock();
        let int = |count: usize| Reply::Int(i64::try_from(count).unwrap_or(i64::MAX));
        match query {
            PubSubQuery::Channels { naming, pattern } => {
                let is_meant = |name: &Bytes| pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, name));
                let names = tables.named.keys().filter(|(other, name)| other == naming && is_meant(name));
                Reply::Array(names.map(|(_, name)| Reply::Bulk(name.clone())).collect())
            }
            PubSubQuery::NumSub { naming, channels } => {
                let count = |channel: &Bytes| int(tables.named.get(&(*naming, channel.clone())).map_or(0, Vec::len));
                let pair = |channel: &Bytes| [Reply::Bulk(channel.clone()), count(channel)];
                Reply::Array(channels.iter().flat_map(pair).collect())
            }
            PubSubQuery::NumPat => {
                let mut patterns: Vec<&Bytes> = tables.patterns.iter().map(|(pattern, _)| pattern).collect();
                patterns.sort_unstable();
                patterns.dedup();
                int(patterns.len())
            }
        }
    }
}

impl Tables {
    fn give_up(&mut self, listener: u64) {
        self.named.retain(|_, queues| {
            queues.retain(|queue| queue.listener != listener);
            !queues.is_empty()
        });
        self.patterns.retain(|(_, queue)| queue.listener != listener);
    }
}

impl Listener {
    pub(crate) fn subscribe(&mut self, naming: Naming, name: &Bytes) {
        let mut tables = self.channels.tables.lock();
        match naming {
            Naming::Pattern => tables.patterns.push((name.clone(), self.queue.clone())),
            _ => tables.named.entry((naming, name.clone())).or_default().push(self.queue.clone()),
        }
        self.names.push((naming, name.clone()));
    }

    pub(crate) fn unsubscribe(&mut self, naming: Naming, name: &Bytes) {
        self.names.retain(|(other, known)| (*other, known) != (naming, name));
        self.forget(naming, name);
    }

    /// The next message. `None` if this listener was given up.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        let message = self.messages.recv().await.flatten()?;
        self.queue.untaken.fetch_sub(message.bytes(), Ordering::Relaxed);
        Some(message)
    }

    fn forget(&self, naming: Naming, name: &Bytes) {
        let mut tables = self.channels.tables.lock();
        let mine = self.queue.listener;
        if naming == Naming::Pattern {
            tables.patterns.retain(|(pattern, queue)| queue.listener != mine || pattern != name);
            return;
        }
        let key = (naming, name.clone());
        if let Some(queues) = tables.named.get_mut(&key) {
            queues.retain(|queue| queue.listener != mine);
            if queues.is_empty() {
                tables.named.remove(&key);
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        for (naming, name) in std::mem::take(&mut self.names) {
            self.forget(naming, &name);
        }
    }
}
