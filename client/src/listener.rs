//! Waiting for what happens at nodes: one stream to each, shared by all who wait there.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use futures::StreamExt;
use tokio::sync::mpsc;
use tracing::debug;

use crate::transport::{ListenAsk, ListenEvent, Transport};

/// Events about one thing that wait to be taken; beyond, whoever does not take them is told nothing more.
const EVENTS_UNTAKEN_MAX: usize = 1024;
/// A stream on which nobody has waited for this long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// The streams of a client.
pub(crate) struct Listener {
    transport: Arc<dyn Transport>,
    streams: DashMap<Arc<str>, mpsc::UnboundedSender<Ask>>,
    next_id: AtomicU64,
}

/// What one of those who share a stream wants.
#[derive(Debug)]
enum Ask {
    Tell {
        ask: ListenAsk,
        events: mpsc::Sender<ListenEvent>,
    },
    /// Something else about what is told already.
    Again {
        ask: ListenAsk,
    },
    Stop {
        id: u64,
    },
}

/// What a node tells about one thing it was asked for. Ends when the node cannot be heard any more, or is not listened to fast enough.
/// What was asked for is taken back when this is dropped.
pub(crate) struct Told {
    events: mpsc::Receiver<ListenEvent>,
    stop: StopOnDrop,
}

impl Told {
    pub(crate) async fn next(&mut self) -> Option<ListenEvent> {
        self.events.recv().await
    }

    /// Changes what is asked for.
    pub(crate) fn ask_again(&self, ask: impl FnOnce(u64) -> ListenAsk) {
        let _ = self.stop.asks.send(Ask::Again { ask: ask(self.stop.id) });
    }
}

/// Takes back what was asked for when nobody waits for it any more.
struct StopOnDrop {
    id: u64,
    asks: mpsc::UnboundedSender<Ask>,
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        let _ = self.asks.send(Ask::Stop { id: self.id });
    }
}

impl Listener {
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport, streams: DashMap::new(), next_id: AtomicU64::new(1) }
    }

    /// Asks the node at this address to tell something.
    pub(crate) fn ask(&self, address: &Arc<str>, ask: impl FnOnce(u64) -> ListenAsk) -> Told {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, events) = mpsc::channel(EVENTS_UNTAKEN_MAX);
        let asks = self.stream(address);
        // To a stream that has just ended: nothing is told, which is how one hears of it.
        let _ = asks.send(Ask::Tell { ask: ask(id), events: sender });
        Told { events, stop: StopOnDrop { id, asks } }
    }

    /// Ends all streams; whoever waits hears nothing.
    pub(crate) fn clear(&self) {
        self.streams.clear();
    }

    fn stream(&self, address: &Arc<str>) -> mpsc::UnboundedSender<Ask> {
        let mut stream = self.streams.entry(Arc::clone(address)).or_insert_with(|| self.open(address));
        if stream.is_closed() {
            *stream = self.open(address);
        }
        stream.clone()
    }

    fn open(&self, address: &Arc<str>) -> mpsc::UnboundedSender<Ask> {
        let (sender, asks) = mpsc::unbounded_channel();
        tokio::spawn(run(Arc::clone(&self.transport), Arc::clone(address), asks));
        sender
    }
}

/// Everybody whose question is still here when this ends hears nothing.
async fn run(transport: Arc<dyn Transport>, address: Arc<str>, mut asks: mpsc::UnboundedReceiver<Ask>) {
    let mut link = match transport.listen(Arc::clone(&address)).await {
        Ok(link) => link,
        Err(error) => return debug!(%error, "a node cannot be listened to"),
    };
    let mut waiting: HashMap<u64, mpsc::Sender<ListenEvent>> = HashMap::new();
    loop {
        let sent = tokio::select! {
            ask = tokio::time::timeout(IDLE, asks.recv()) => match ask {
                Ok(None) => return,
                Ok(Some(Ask::Tell { ask, events })) => {
                    waiting.insert(ask.id(), events);
                    link.asks.send(ask)
                }
                Ok(Some(Ask::Again { ask })) if waiting.contains_key(&ask.id()) => link.asks.send(ask),
                Ok(Some(Ask::Stop { id })) if waiting.remove(&id).is_some() => link.asks.send(ListenAsk::Stop { id }),
                Err(_) if waiting.is_empty() => return,
                Ok(Some(Ask::Again { .. } | Ask::Stop { .. })) | Err(_) => Ok(()),
            },
            event = link.events.next() => match event {
                Some(Ok((id, event))) => {
                    let is_last = event.is_last();
                    let is_taken = waiting.get(&id).is_none_or(|events| events.try_send(event).is_ok());
                    if is_last || !is_taken {
                        waiting.remove(&id);
                    }
                    if is_last || is_taken { Ok(()) } else { link.asks.send(ListenAsk::Stop { id }) }
                }
                Some(Err(error)) => return debug!(%error, "a node is not heard any more"),
                None => return,
            },
        };
        if sent.is_err() {
            return;
        }
    }
}
