//! Listening to channels, and saying something there.

use std::sync::Arc;

use bytes::Bytes;
use simplekv_types::{Naming, Slot};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::core::Core;
use crate::error::{Error, Result};
use crate::transport::{ListenAsk, ListenEvent};
use crate::{Client, Key, Value};

/// Messages of one subscription that wait to be taken. A node keeps more of them, though not for ever.
const MESSAGES_UNTAKEN_MAX: usize = 1024;

/// Something that was said in a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// What the subscription's name means.
    pub naming: Naming,
    /// What was subscribed to: the channel, or a pattern.
    pub name: Bytes,
    /// Where it was said.
    pub channel: Bytes,
    /// What was said.
    pub message: Bytes,
}

/// A subscription, until it is dropped. Its messages arrive at most once: what is said while a connection is lost or another node takes
/// over, or while too many messages are not taken, is lost.
#[derive(Debug)]
pub struct Subscription {
    messages: mpsc::Receiver<Message>,
    listening: Listening,
}

impl Subscription {
    /// Waits until a node has said that it tells what is said from now on.
    pub async fn ready(&mut self) {
        self.listening.ready().await;
    }

    /// The next message; `None` once the client is closed.
    pub async fn next(&mut self) -> Option<Message> {
        self.messages.recv().await
    }
}

/// A subscription whose messages go to a queue of the caller's, until it is dropped.
#[derive(Debug)]
pub struct Listening {
    is_ready: watch::Receiver<bool>,
    task: AbortHandle,
}

impl Listening {
    /// As [`Subscription::ready`].
    pub async fn ready(&mut self) {
        // An error means that the client is closed: nothing will be ready.
        let _ = self.is_ready.wait_for(|is_ready| *is_ready).await;
    }

    /// What [`Listening::ready`] waits for, to be waited for elsewhere.
    pub fn when_ready(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut is_ready = self.is_ready.clone();
        async move {
            let _ = is_ready.wait_for(|is_ready| *is_ready).await;
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    /// Listens to a channel, or to all channels whose names match a pattern.
    ///
    /// ```
    /// # simplekv_testing::example(async |kv| {
    /// use simplekv_client::Naming;
    ///
    /// let mut news = kv.subscribe(Naming::Pattern, "news:*");
    /// news.ready().await;
    /// kv.publish(Naming::Channel, "news:sport", "a goal").await?;
    /// let message = news.next().await.expect("the client is open");
    /// assert_eq!((&*message.channel, &*message.message), (&b"news:sport"[..], &b"a goal"[..]));
    /// # Ok(())
    /// # });
    /// ```
    #[must_use]
    pub fn subscribe(&self, naming: Naming, name: impl Into<Key>) -> Subscription {
        let (sender, messages) = mpsc::channel(MESSAGES_UNTAKEN_MAX);
        Subscription { messages, listening: self.listen(naming, name, sender) }
    }

    /// As [`Client::subscribe`], into a queue that others may share. While it is full, further messages wait at the node, and are lost
    /// if they become too many.
    #[must_use]
    pub fn listen(&self, naming: Naming, name: impl Into<Key>, messages: mpsc::Sender<Message>) -> Listening {
        let (ready, is_ready) = watch::channel(false);
        let listening = listen(Arc::clone(self.core()), naming, name.into().into_bytes(), messages, ready);
        Listening { is_ready, task: tokio::spawn(listening).abort_handle() }
    }

    /// Says something in a channel: at most once to whoever listens. Returns how many of those heard it who listen at the node it was
    /// said at, which is where the cluster's own clients do; in a channel of the whole cluster there may be others.
    ///
    /// # Errors
    /// [`Error::Timeout`] if no node could be told in time; [`Error::OutcomeUnknown`] if the answer was lost.
    pub async fn publish(&self, naming: Naming, channel: impl Into<Key>, message: impl Into<Value>) -> Result<u64> {
        let (channel, message) = (channel.into().into_bytes(), message.into().into_bytes());
        let (core, slot) = (self.core(), Slot::of_key(&channel));
        let unserved = || Error::SlotUnserved { slot };
        let began = Instant::now();
        for step in 0..PUBLISH_TRIES {
            let total = core.config.timeouts.total;
            let has_leader = |topology: &crate::topology::Topology| leader(topology, slot).is_some();
            let topology = core.topology_with(total, unserved(), has_leader).await?;
            let Some(address) = leader(&topology, slot) else { continue };
            let (channel, message) = (channel.clone(), message.clone());
            let mut told = core.listener.ask(&address, |id| ListenAsk::Publish { id, naming, channel, message });
            match tokio::time::timeout(total, told.next()).await {
                Ok(Some(ListenEvent::Heard { by })) => return Ok(by),
                // It was not said: the channel is another node's.
                Ok(Some(_)) => core.config.backoff.rest(step).await,
                Ok(None) | Err(_) => {
                    let source = Box::new(Error::NoAnswer { after: began.elapsed() });
                    return Err(Error::OutcomeUnknown { id: None, source });
                }
            }
        }
        Err(unserved())
    }
}

/// How often a message is offered to nodes that do not fan out in its channel any more.
const PUBLISH_TRIES: u32 = 8;

fn leader(topology: &crate::topology::Topology, slot: Slot) -> Option<Arc<str>> {
    let node = topology.node(topology.owner(slot)?.leader?)?;
    Some(Arc::from(&*node.addresses.grpc))
}

async fn listen(
    core: Arc<Core>,
    naming: Naming,
    name: Bytes,
    messages: mpsc::Sender<Message>,
    ready: watch::Sender<bool>,
) {
    // Wherever one listens, a channel of the whole cluster is heard; where it is spoken to by the same rule, speakers learn who hears.
    let slot = Slot::of_key(&name);
    let mut step = 0;
    loop {
        if let Some(address) = leader(&core.slots.load(), slot) {
            let mut told = core.listener.ask(&address, |id| ListenAsk::Subscribe { id, naming, name: name.clone() });
            while let Some(event) = told.next().await {
                match event {
                    ListenEvent::Listening => {
                        step = 0;
                        ready.send_replace(true);
                    }
                    ListenEvent::Message { channel, message } => {
                        let message = Message { naming, name: name.clone(), channel, message };
                        if messages.send(message).await.is_err() {
                            return;
                        }
                    }
                    _ => break,
                }
            }
        }
        tokio::select! {
            () = core.config.backoff.rest(step) => (),
            () = core.ended() => return,
        }
        step += 1;
    }
}
