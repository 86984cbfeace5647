//! Commands that are tried again when there may be something to be found.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use simplekv_types::{Reply, Slot};
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::listener::Heard;
use crate::{Client, Kind, Options};

/// After so long a wait, having found nothing is not taken for a sign that something is wrong.
const CALM: Duration = Duration::from_millis(100);

impl Client {
    /// Tries writes one after the other until one of them finds something, that is, answers neither [`Reply::Null`] nor
    /// [`Reply::NullArray`]; then waits for one of `keys` to get elements, and tries again. [`Reply::NullArray`] when the time is up;
    /// without a `timeout` that is never.
    ///
    /// At most one of them has an effect. Dropping the future ends the waiting; a try that is under way may still be done.
    ///
    /// # Errors
    /// As [`Client::execute`]'s for the try that failed.
    pub async fn execute_when_there(
        &self,
        tries: &[(Slot, Arc<[Bytes]>)],
        keys: &[Bytes],
        timeout: Option<Duration>,
        options: Options,
    ) -> Result<Reply> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let mut step = 0;
        loop {
            for (slot, args) in tries {
                match self.execute(*slot, Arc::clone(args), Kind::Write, options).await? {
                    Reply::Null | Reply::NullArray => (),
                    found => return Ok(found),
                }
            }
            let began = Instant::now();
            let waiting = async {
                let heard = self.elements(keys).await;
                // Woken for nothing time and again: who wakes us has another picture of the cluster, or others are always faster.
                if heard == Heard::Nothing || began.elapsed() < CALM {
                    self.core().config.backoff.rest(step).await;
                }
            };
            let waited = async {
                tokio::select! {
                    () = waiting => Ok(()),
                    () = self.core().ended() => Err(Error::Closed),
                }
            };
            match deadline {
                None => waited.await?,
                Some(deadline) => match tokio::time::timeout_at(deadline, waited).await {
                    Ok(waited) => waited?,
                    Err(_) => return Ok(Reply::NullArray),
                },
            }
            step = if began.elapsed() < CALM { step + 1 } else { 0 };
        }
    }

    /// Waits until a leader says that one of the keys has elements.
    async fn elements(&self, keys: &[Bytes]) -> Heard {
        let topology = Arc::clone(&self.core().slots.load());
        let mut asked: Vec<(Arc<str>, Vec<Bytes>)> = Vec::with_capacity(1);
        for key in keys {
            let leader = topology.owner(Slot::of_key(key)).and_then(|group| topology.node(group.leader?));
            let Some(node) = leader else { return Heard::Nothing };
            match asked.iter_mut().find(|(address, _)| **address == node.addresses.grpc) {
                Some((_, keys)) => keys.push(key.clone()),
                None => asked.push((Arc::from(&*node.addresses.grpc), vec![key.clone()])),
            }
        }
        if asked.is_empty() {
            return Heard::Nothing;
        }
        let listener = &self.core().listener;
        let waits = asked.iter().map(|(address, keys)| listener.elements(address, keys.clone()).boxed());
        futures::future::select_all(waits).await.0
    }
}
