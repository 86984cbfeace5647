//! What a connection hears of channels.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use simplekv_client::{Listening, Message, Session};
use simplekv_types::Naming;
use tokio::sync::mpsc;

/// Messages that wait to be encoded. More of them wait at the nodes.
const MESSAGES_WAITING_MAX: usize = 256;
/// A client is told that it listens after so long at the latest: if no node could be asked by then, one will be.
const READY_PATIENCE: Duration = Duration::from_secs(5);

/// The ears of one connection.
pub(super) struct Ears {
    listening: HashMap<(Naming, Bytes), Listening>,
    sender: mpsc::Sender<Message>,
    messages: mpsc::Receiver<Message>,
}

impl Ears {
    pub(super) fn new() -> Self {
        let (sender, messages) = mpsc::channel(MESSAGES_WAITING_MAX);
        Self { listening: HashMap::new(), sender, messages }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.listening.is_empty()
    }

    /// Begins to listen. Resolves once nodes have said that they tell everything from then on.
    pub(super) fn subscribe(
        &mut self,
        client: &Session,
        naming: Naming,
        names: Vec<Bytes>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let mut ready = Vec::with_capacity(names.len());
        for name in names {
            let listening = client.listen(naming, name.clone(), self.sender.clone());
            ready.push(listening.when_ready());
            self.listening.insert((naming, name), listening);
        }
        async move {
            let _ = tokio::time::timeout(READY_PATIENCE, futures::future::join_all(ready)).await;
        }
    }

    pub(super) fn unsubscribe(&mut self, naming: Naming, names: &[Bytes]) {
        for name in names {
            self.listening.remove(&(naming, name.clone()));
        }
    }

    pub(super) fn close(&mut self) {
        self.listening.clear();
    }

    /// The next message of a channel that is still listened to.
    pub(super) async fn next(&mut self) -> Option<Message> {
        loop {
            let message = self.messages.recv().await?;
            if self.listening.contains_key(&(message.naming, message.name.clone())) {
                return Some(message);
            }
        }
    }
}
