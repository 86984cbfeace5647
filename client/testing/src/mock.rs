//! A cluster in the test's own process: real gRPC services on loopback ports, one runtime per node so that a node can die at once,
//! and one shared map of keys behind them. Nodes refuse what a real node would refuse; a script may make them do anything else.

mod events;
mod keyspace;
mod layout;
mod node;
mod questions;
mod readers;
mod services;
mod verdict;
mod world;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use simplekv_client::{Client, ClientBuilder, Slot, Timeouts};
use simplekv_proto::v1;

pub use keyspace::Keyspace;
pub use layout::key_of_group;
pub use verdict::{Seen, Verdict};
pub use world::World;

use node::RunningNode;

/// The greatest frame a node takes, in bytes.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

/// How long [`until`] waits: far longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster of nodes that answer as real ones do, unless they are told otherwise. It ends when it is dropped.
///
/// Nodes are numbered from 1, and so are groups. Nothing happens by itself: nobody is elected because a node is gone, and time stands
/// still for keys that expire. The test says when.
pub struct MockCluster {
    /// What all nodes share.
    pub world: Arc<World>,
    nodes: Vec<(u32, SocketAddr, Option<RunningNode>)>,
}

impl std::fmt::Debug for MockCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nodes = self.nodes.iter().map(|(id, address, running)| (id, (address, running.is_some())));
        f.debug_map().entries(nodes).finish()
    }
}

impl MockCluster {
    /// Two groups with replicas on three nodes: node 1 leads group 1, node 2 leads group 2.
    #[must_use]
    pub fn three_nodes() -> Self {
        Self::start(3, &[&[1, 2, 3], &[2, 3, 1]])
    }

    /// `groups` lists each group's replicas, its leader first; the slots are spread over the groups in their order.
    ///
    /// # Panics
    /// If the system has no ports left, or a group has no replica.
    #[must_use]
    pub fn start(n_nodes: u32, groups: &[&[u32]]) -> Self {
        let listeners: Vec<_> = (1..=n_nodes).map(|id| (id, node::listen(None))).collect();
        let addresses: Vec<_> = listeners.iter().map(|(id, listener)| (*id, node::address_of(listener))).collect();
        let world = Arc::new(World::new(layout::topology(&addresses, groups)));
        let nodes = listeners
            .into_iter()
            .map(|(id, listener)| {
                let address = node::address_of(&listener);
                (id, address, Some(RunningNode::start(id, listener, Arc::clone(&world))))
            })
            .collect();
        Self { world, nodes }
    }

    /// Where a node is reached.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn address(&self, node: u32) -> SocketAddr {
        let known = self.nodes.iter().find(|(id, ..)| *id == node);
        known.unwrap_or_else(|| panic!("there is no node {node}")).1
    }

    /// The URL for [`Client::connect`].
    #[must_use]
    pub fn seeds(&self) -> String {
        let addresses: Vec<String> = self.nodes.iter().map(|(_, address, _)| address.to_string()).collect();
        format!("simplekv://{}", addresses.join(","))
    }

    /// A client whose attempts are short, 200 ms, so that tests of lost answers are quick, and with one lane per node. A test that counts
    /// what nodes were asked gives it [`Timeouts`] of its own: on a busy machine even an answer that is not lost may take longer.
    pub fn builder(&self) -> ClientBuilder {
        let mut timeouts = Timeouts::default();
        timeouts.attempt = Duration::from_millis(200);
        Client::builder().url(self.seeds()).timeouts(timeouts).lanes_per_node(1)
    }

    /// What [`MockCluster::builder`] builds.
    ///
    /// # Panics
    /// If no node answers.
    pub async fn client(&self) -> Client {
        self.builder().build().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Has nodes do with each request what this says. It must not ask the cluster anything itself.
    pub fn script(&self, script: impl FnMut(&Seen) -> Verdict + Send + 'static) {
        self.world.set_script(Box::new(script));
    }

    /// Has a node do this with the next request that comes, and with those after it what the script says. What is said several times
    /// is done in its order, one request each.
    ///
    /// ```
    /// # simplekv_testing::example(async |_| {
    /// use simplekv_testing::{MockCluster, Verdict};
    ///
    /// let cluster = MockCluster::three_nodes();
    /// let kv = cluster.client().await;
    /// cluster.next(Verdict::HangUp);
    /// cluster.next(Verdict::ServeAndHangUp);
    /// assert_eq!(kv.incr("visits").await?, 1);
    /// assert_eq!(kv.incr("visits").await?, 2);
    /// # Ok(())
    /// # });
    /// ```
    pub fn next(&self, verdict: Verdict) {
        self.world.plan(None, verdict);
    }

    /// As [`MockCluster::next`], with the next request of this command. Its name is the one that is sent: the client's `incr` is an
    /// INCRBY.
    pub fn next_named(&self, name: &str, verdict: Verdict) {
        self.world.plan(Some(name.to_ascii_uppercase()), verdict);
    }

    /// Has every answer arrive so much later.
    pub fn set_latency(&self, latency: Duration) {
        self.world.set_latency(latency);
    }

    /// Lets time pass for the keys that expire.
    ///
    /// ```
    /// # simplekv_testing::example(async |_| {
    /// use std::time::Duration;
    ///
    /// let cluster = simplekv_testing::MockCluster::three_nodes();
    /// let kv = cluster.client().await;
    /// kv.set("session:1", "alice").ttl(Duration::from_secs(60)).await?;
    /// cluster.advance(Duration::from_secs(59));
    /// assert!(kv.exists("session:1").await?);
    /// cluster.advance(Duration::from_secs(1));
    /// assert!(!kv.exists("session:1").await?);
    /// # Ok(())
    /// # });
    /// ```
    pub fn advance(&self, time: Duration) {
        self.world.keys.lock().advance(time);
        self.world.readers.everything();
        self.world.tell_of_change();
    }

    /// Writes a key as somebody else would: whoever keeps a copy of it is told.
    ///
    /// ```
    /// # simplekv_testing::example(async |_| {
    /// use simplekv_client::NearCache;
    ///
    /// let cluster = simplekv_testing::MockCluster::three_nodes();
    /// let kv = cluster.builder().near_cache(NearCache::default()).build().await?;
    /// kv.set("k", "1").await?;
    /// assert_eq!(kv.get("k").cached().await?.as_deref(), Some(&b"1"[..]));
    /// cluster.change_key("k", "2");
    /// // Until the news arrives.
    /// while kv.get("k").cached().await?.as_deref() != Some(&b"2"[..]) {
    ///     tokio::task::yield_now().await;
    /// }
    /// # Ok(())
    /// # });
    /// ```
    pub fn change_key(&self, key: &'static str, value: &'static str) {
        self.world.keys.lock().insert(key, value);
        self.world.readers.changed([key.as_bytes()]);
        self.world.tell_of_change();
    }

    /// Whether a node is to tell anybody when this key changes.
    #[must_use]
    pub fn is_tracked(&self, key: &str) -> bool {
        self.world.readers.is_tracked(key.as_bytes())
    }

    /// Has a node tell nobody any more what changes there of what was read, or has it do so again.
    pub fn stop_telling(&self, node: u32, stop: bool) {
        self.world.readers.set_mute(node, stop);
    }

    /// Ends a node's process: its connections break, its port is closed. Nobody takes over before [`MockCluster::elect`] says so.
    ///
    /// # Panics
    /// If there is no such node, or it does not run.
    pub fn kill(&mut self, node: u32) {
        let running = self.nodes.iter_mut().find(|(id, ..)| *id == node).and_then(|(_, _, running)| running.take());
        running.unwrap_or_else(|| panic!("node {node} does not run")).kill();
    }

    /// Ends a node's process and puts something in its place that accepts connections and never says anything.
    ///
    /// # Panics
    /// As [`MockCluster::kill`].
    pub fn replace_by_silence(&mut self, node: u32) -> std::net::TcpListener {
        self.kill(node);
        node::listen(Some(self.address(node)))
    }

    /// Starts a node again that was killed, at its old address.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn restart(&mut self, node: u32) {
        let known = self.nodes.iter_mut().find(|(id, ..)| *id == node);
        let (id, address, running) = known.unwrap_or_else(|| panic!("there is no node {node}"));
        *running = Some(RunningNode::start(*id, node::listen(Some(*address)), Arc::clone(&self.world)));
    }

    /// Has a node take connections and requests, and do nothing about them until [`MockCluster::resume`].
    pub fn hang(&self, node: u32) {
        self.world.hung.send_if_modified(|hung| hung.insert(node));
    }

    /// Has a node go on, with what it was asked meanwhile first.
    pub fn resume(&self, node: u32) {
        self.world.hung.send_if_modified(|hung| hung.remove(&node));
    }

    /// Changes the topology, as it stands on the wire, and pushes it.
    pub fn change(&self, change: impl FnOnce(&mut v1::TopologyUpdate)) {
        self.world.topology.send_modify(|update| {
            change(update);
            update.version += 1;
        });
    }

    /// Elects a leader in a new epoch; 0 leaves the group without one.
    ///
    /// # Panics
    /// If there is no such group.
    pub fn elect(&self, group: u32, leader: u32) {
        self.change(|update| {
            let known = update.groups.iter_mut().find(|known| known.id == group);
            let group = known.unwrap_or_else(|| panic!("there is no group {group}"));
            group.leader = leader;
            group.epoch += 1;
        });
    }

    /// Gives a slot to another group, that of a key for instance: `cluster.move_slot(Slot::of_key(b"user:1"), 2)`.
    pub fn move_slot(&self, slot: Slot, group: u32) {
        self.change(|update| layout::give(update, slot, group));
    }

    /// Whether nodes push the topology; if not, clients have to learn from redirects and by asking.
    pub fn push(&self, push: bool) {
        *self.world.push.lock() = push;
    }

    /// What nodes were asked so far, every attempt by itself.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.world.seen.lock().clone()
    }

    /// Of these the ones of this command.
    #[must_use]
    pub fn seen_named(&self, name: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|op| op.name().eq_ignore_ascii_case(name)).collect()
    }

    /// Forgets what nodes were asked so far.
    pub fn forget_seen(&self) {
        self.world.seen.lock().clear();
    }
}

impl Drop for MockCluster {
    fn drop(&mut self) {
        for (_, _, running) in &mut self.nodes {
            if let Some(running) = running.take() {
                running.kill();
            }
        }
    }
}

/// Waits until something holds.
///
/// # Panics
/// If it does not within a minute.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        let mut looks = tokio::time::interval(Duration::from_millis(1));
        while !holds() {
            looks.tick().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "waited in vain: {what}");
}
