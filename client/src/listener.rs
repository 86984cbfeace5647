//! Waiting for what happens at nodes: one stream to each, shared by all who wait there.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dashmap::DashMap;
use futures::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use crate::transport::{ListenAsk, Transport};

/// A stream on which nobody has waited for this long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// What a node said, or did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It has happened, or may have.
    Happened,
    /// The node cannot be asked, or not any more.
    Nothing,
}

/// The streams of a client.
pub(crate) struct Listener {
    transport: Arc<dyn Transport>,
    streams: DashMap<Arc<str>, mpsc::UnboundedSender<Ask>>,
    next_id: AtomicU64,
}

#[derive(Debug)]
enum Ask {
    Wait { id: u64, keys: Vec<Bytes>, happened: oneshot::Sender<()> },
    Stop { id: u64 },
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

    /// Waits until the node at this address says that one of the keys has elements.
    pub(crate) async fn elements(&self, address: &Arc<str>, keys: Vec<Bytes>) -> Heard {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (happened, heard) = oneshot::channel();
        let asks = self.stream(address);
        let _stop = StopOnDrop { id, asks: asks.clone() };
        // To a stream that has just ended: `heard` ends, too.
        let _ = asks.send(Ask::Wait { id, keys, happened });
        match heard.await {
            Ok(()) => Heard::Happened,
            Err(_) => Heard::Nothing,
        }
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
    let mut waiting: HashMap<u64, oneshot::Sender<()>> = HashMap::new();
    loop {
        tokio::select! {
            ask = tokio::time::timeout(IDLE, asks.recv()) => {
                let sent = match ask {
                    Ok(None) => return,
                    Ok(Some(Ask::Wait { id, keys, happened })) => {
                        waiting.insert(id, happened);
                        link.asks.send(ListenAsk::Wait { id, keys })
                    }
                    Ok(Some(Ask::Stop { id })) if waiting.remove(&id).is_some() => {
                        link.asks.send(ListenAsk::Stop { id })
                    }
                    Err(_) if waiting.is_empty() => return,
                    Ok(Some(Ask::Stop { .. })) | Err(_) => Ok(()),
                };
                if sent.is_err() {
                    return;
                }
            }
            event = link.events.next() => match event {
                Some(Ok(id)) => {
                    if let Some(happened) = waiting.remove(&id) {
                        let _ = happened.send(());
                    }
                }
                Some(Err(error)) => return debug!(%error, "a node is not heard any more"),
                None => return,
            },
        }
    }
}
