//! Asking nodes what they know of themselves and of their followers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use simplekv_types::{Position, Reply};
use tokio::time::Instant;

use crate::Client;
use crate::error::{Error, Result};
use crate::topology::Node;
use crate::transport::{ListenAsk, ListenEvent};

/// Nodes that are asked at a time.
const NODES_AT_ONCE: usize = 16;

impl Client {
    /// Asks every node that is alive the same, as far as nodes answer it: PUBSUB. The answers are in the order of the nodes.
    ///
    /// # Errors
    /// [`Error::NoAnswer`] if one of them does not say in time: without it the others' answers would pass for all.
    pub async fn ask_nodes(&self, args: &[Bytes]) -> Result<Vec<Reply>> {
        let core = self.core();
        let total = core.config.timeouts.total;
        let is_known = |topology: &crate::topology::Topology| !topology.is_unknown();
        let topology = core.topology_with(total, Error::NoAnswer { after: total }, is_known).await?;
        let live = topology.nodes().iter().filter(|node| node.live);
        let asked = live.map(|node| self.ask_node(node, args.to_vec(), None, Some(total)));
        let asked: Vec<_> = asked.collect();
        let answers: Vec<Result<Reply>> = futures::stream::iter(asked).buffered(NODES_AT_ONCE).collect().await;
        answers.into_iter().collect()
    }

    /// Asks the leader of a group for what is to be known of its followers: WAIT and WAITAOF, of what has this position. Without a
    /// `timeout` it may take any time.
    ///
    /// # Errors
    /// [`Error::NoLeader`] if the group has none or gets another one, [`Error::NoAnswer`] if it does not say in time.
    pub async fn ask_leader(&self, args: Vec<Bytes>, seen: Position, timeout: Option<Duration>) -> Result<Reply> {
        let no_leader = || Error::NoLeader { group: seen.group };
        let topology = Arc::clone(&self.core().slots.load());
        let leader = topology.group(seen.group).and_then(|group| topology.node(group.leader?)).ok_or_else(no_leader)?;
        match self.ask_node(leader, args, Some(seen), timeout).await {
            Err(Error::NoAnswer { .. }) if timeout.is_none() => Err(no_leader()),
            answered => answered,
        }
    }

    async fn ask_node(
        &self,
        node: &Node,
        args: Vec<Bytes>,
        seen: Option<Position>,
        timeout: Option<Duration>,
    ) -> Result<Reply> {
        let began = Instant::now();
        let address: Arc<str> = Arc::from(&*node.addresses.grpc);
        let mut told = self.core().listener.ask(&address, |id| ListenAsk::Question { id, args, seen });
        let answer = match timeout {
            Some(timeout) => tokio::time::timeout(timeout, told.next()).await.ok().flatten(),
            None => told.next().await,
        };
        match (answer, seen) {
            (Some(ListenEvent::Answer { reply }), _) => Ok(reply),
            (Some(_), Some(seen)) => Err(Error::NoLeader { group: seen.group }),
            _ => Err(Error::NoAnswer { after: began.elapsed() }),
        }
    }
}
