//! Commands that are tried again when there may be something to be found.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use simplekv_types::{Reply, Slot};
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::transport::ListenAsk;
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
        // A time that no clock will ever show is for ever.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let time_is_up = async {
            match deadline {
                Some(deadline) => _ = tokio::time::timeout_at(deadline, std::future::pending::<()>()).await,
                None => std::future::pending().await,
            }
        };
        self.execute_until(tries, keys, time_is_up, options).await
    }

    /// As [`Client::execute_when_there`], until `stop` completes: that ends the waiting, and never a try that is under way.
    ///
    /// # Errors
    /// As [`Client::execute`]'s for the try that failed.
    pub async fn execute_until(
        &self,
        tries: &[(Slot, Arc<[Bytes]>)],
        keys: &[Bytes],
        stop: impl Future<Output = ()>,
        options: Options,
    ) -> Result<Reply> {
        tokio::pin!(stop);
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
                let was_calm = self.elements(keys).await && began.elapsed() >= CALM;
                // Woken for nothing time and again: who wakes us has another picture of the cluster, or others are always faster.
                if !was_calm {
                    self.core().config.backoff.rest(step).await;
                }
                was_calm
            };
            let was_calm = tokio::select! {
                was_calm = waiting => was_calm,
                () = self.core().ended() => return Err(Error::Closed),
                () = &mut stop => return Ok(Reply::NullArray),
            };
            step = if was_calm { 0 } else { step + 1 };
        }
    }

    /// Waits until a leader says that one of the keys has elements. `false` if that cannot be heard, or not any more.
    async fn elements(&self, keys: &[Bytes]) -> bool {
        let mut topologies = self.core().slots.subscribe();
        let topology = Arc::clone(&topologies.borrow_and_update());
        let mut asked: Vec<(Arc<str>, Vec<Bytes>)> = Vec::with_capacity(1);
        for key in keys {
            let leader = topology.owner(Slot::of_key(key)).and_then(|group| topology.node(group.leader?));
            let Some(node) = leader else { return false };
            match asked.iter_mut().find(|(address, _)| **address == node.addresses.grpc) {
                Some((_, keys)) => keys.push(key.clone()),
                None => asked.push((Arc::from(&*node.addresses.grpc), vec![key.clone()])),
            }
        }
        if asked.is_empty() {
            return false;
        }
        let listener = &self.core().listener;
        let waits = asked.into_iter().map(|(address, keys)| {
            let mut told = listener.ask(&address, |id| ListenAsk::Wait { id, keys });
            async move { told.next().await.is_some() }.boxed()
        });
        tokio::select! {
            (is_told, ..) = futures::future::select_all(waits) => is_told,
            // The keys may have another leader, whatever the one that was asked thinks.
            changed = topologies.changed() => changed.is_ok(),
        }
    }
}
