//! A cluster in the test's own process: real gRPC services on loopback ports, one runtime per node so that a node can die at once,
//! and one shared map of keys behind them. Nodes refuse what a real node would refuse; a script may make them do anything else.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected should fail there")]

mod keyspace;
mod node;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use simplekv_client::{Client, ClientBuilder, Failure, Position, ReadPolicy, Reply, Slot, Timeouts};
use simplekv_proto::v1;
use simplekv_types::Dedupe;
use tokio::sync::watch;

use keyspace::Keyspace;
use node::RunningNode;

/// The greatest frame a node takes, in bytes.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

/// An operation as a node saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub node: u32,
    /// The client's identity.
    pub client: Vec<u8>,
    /// The words, as text.
    pub args: Vec<String>,
    pub dedupe: Option<Dedupe>,
    pub is_read: bool,
    pub group: u32,
    pub map_version: u64,
    /// Which replicas may answer; the default for a write.
    pub policy: ReadPolicy,
    /// What the answer must not be older than.
    pub floor: Option<Position>,
}

impl Seen {
    /// The name in upper case.
    pub fn name(&self) -> &str {
        self.args.first().map_or("", String::as_str)
    }

    pub fn attempt(&self) -> u32 {
        self.dedupe.map_or(0, |dedupe| dedupe.attempt)
    }
}

/// What a node does with an operation.
pub enum Verdict {
    /// What a real node would do.
    Serve,
    /// Refuses it.
    Refuse(Failure),
    /// Answers this.
    Answer(Reply),
    /// Answers without doing it, as if another attempt had been made.
    AnswerAsAttempt(u32),
    /// Says nothing.
    Ignore,
    /// Does it, and says nothing.
    ServeSilently,
    /// Ends the stream without doing it.
    HangUp,
    /// Does it, and ends the stream before the answer.
    ServeAndHangUp,
    /// Does it, and says that it was read or written here.
    ServeAt(Position),
}

type Script = Box<dyn FnMut(&Seen) -> Verdict + Send>;

/// What all nodes share.
pub struct World {
    pub topology: watch::Sender<v1::TopologyUpdate>,
    pub keys: Mutex<Keyspace>,
    pub seen: Mutex<Vec<Seen>>,
    pub frames: Mutex<Vec<usize>>,
    script: Mutex<Script>,
    /// While false, no node answers anything.
    pub answers: watch::Sender<bool>,
    pub topology_requests: Mutex<u32>,
    /// Nodes that refuse to push the topology.
    pub push: Mutex<bool>,
}

pub struct MockCluster {
    pub world: Arc<World>,
    nodes: Vec<(u32, SocketAddr, Option<RunningNode>)>,
}

impl MockCluster {
    /// `groups` lists each group's replicas, its leader first; the slots are spread over the groups.
    pub fn start(n_nodes: u32, groups: &[&[u32]]) -> Self {
        let mut update = v1::TopologyUpdate {
            version: 1,
            cluster_id: vec![7; 16].into(),
            slot_map_version: 1,
            slots: spread(groups.len()),
            groups: groups.iter().zip(1..).map(|(replicas, id)| group(id, replicas)).collect(),
            ..v1::TopologyUpdate::default()
        };
        let listeners: Vec<_> = (1..=n_nodes).map(|id| (id, node::listen(None))).collect();
        update.nodes = listeners
            .iter()
            .map(|(id, listener)| {
                let grpc = listener.local_addr().unwrap().to_string();
                v1::Node { id: *id, grpc, live: true, ..v1::Node::default() }
            })
            .collect();
        let world = Arc::new(World {
            topology: watch::Sender::new(update),
            keys: Mutex::default(),
            seen: Mutex::default(),
            frames: Mutex::default(),
            script: Mutex::new(Box::new(|_| Verdict::Serve)),
            answers: watch::Sender::new(true),
            topology_requests: Mutex::default(),
            push: Mutex::new(true),
        });
        let nodes = listeners
            .into_iter()
            .map(|(id, listener)| {
                let address = listener.local_addr().unwrap();
                (id, address, Some(RunningNode::start(id, listener, Arc::clone(&world))))
            })
            .collect();
        Self { world, nodes }
    }

    pub fn address(&self, node: u32) -> SocketAddr {
        self.nodes.iter().find(|(id, ..)| *id == node).unwrap().1
    }

    pub fn seeds(&self) -> String {
        let addresses: Vec<String> = self.nodes.iter().map(|(_, address, _)| address.to_string()).collect();
        format!("simplekv://{}", addresses.join(","))
    }

    /// A client with short attempts, so that tests of lost answers are quick.
    pub fn builder(&self) -> ClientBuilder {
        let mut timeouts = Timeouts::default();
        timeouts.attempt = Duration::from_millis(200);
        Client::builder().url(self.seeds()).timeouts(timeouts).lanes_per_node(1)
    }

    pub async fn client(&self) -> Client {
        self.builder().build().await.unwrap()
    }

    pub fn script(&self, script: impl FnMut(&Seen) -> Verdict + Send + 'static) {
        *self.world.script.lock() = Box::new(script);
    }

    /// Ends a node's process: its connections break, its port is closed.
    pub fn kill(&mut self, node: u32) {
        let (_, _, running) = self.nodes.iter_mut().find(|(id, ..)| *id == node).unwrap();
        running.take().unwrap().kill();
    }

    /// Ends a node's process and puts something in its place that accepts connections and never says anything.
    pub fn replace_by_silence(&mut self, node: u32) -> std::net::TcpListener {
        self.kill(node);
        node::listen(Some(self.address(node)))
    }

    pub fn restart(&mut self, node: u32) {
        let (id, address, running) = self.nodes.iter_mut().find(|(id, ..)| *id == node).unwrap();
        *running = Some(RunningNode::start(*id, node::listen(Some(*address)), Arc::clone(&self.world)));
    }

    /// Changes the topology and pushes it.
    pub fn change(&self, change: impl FnOnce(&mut v1::TopologyUpdate)) {
        self.world.topology.send_modify(|update| {
            change(update);
            update.version += 1;
        });
    }

    /// Elects a leader in a new epoch.
    pub fn elect(&self, group: u32, leader: u32) {
        self.change(|update| {
            let group = update.groups.iter_mut().find(|known| known.id == group).unwrap();
            group.leader = leader;
            group.epoch += 1;
        });
    }

    /// Gives a slot to another group.
    pub fn move_slot(&self, slot: Slot, group: u32) {
        self.change(|update| {
            let number = u32::from(slot.number());
            let mut slots = Vec::new();
            for owner in &update.slots {
                if !(owner.first..=owner.last).contains(&number) {
                    slots.push(*owner);
                    continue;
                }
                if owner.first < number {
                    slots.push(v1::SlotOwner { last: number - 1, ..*owner });
                }
                if number < owner.last {
                    slots.push(v1::SlotOwner { first: number + 1, ..*owner });
                }
            }
            slots.push(v1::SlotOwner { first: number, last: number, group });
            update.slots = slots;
            update.slot_map_version += 1;
        });
    }

    /// Whether nodes push the topology; if not, clients have to learn from redirects and by asking.
    pub fn push(&self, push: bool) {
        *self.world.push.lock() = push;
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.world.seen.lock().clone()
    }

    /// Operations of this name that reached a node.
    pub fn seen_named(&self, name: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|op| op.name() == name).collect()
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

impl World {
    fn verdict(&self, op: &Seen) -> Verdict {
        self.seen.lock().push(op.clone());
        (self.script.lock())(op)
    }
}

/// Waits until something holds; fails the test if it does not within 10 s.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), wait).await.is_ok(), "waited in vain: {what}");
}

/// A key whose slot belongs to the `group`th of `n_groups` groups over which the slots are spread.
pub fn key_of_group(group: usize, n_groups: usize, number: usize) -> String {
    let wanted = spread(n_groups)[group - 1];
    (0..)
        .map(|i| format!("key-{i}"))
        .filter(|key| {
            let slot = u32::from(Slot::of_key(key.as_bytes()).number());
            (wanted.first..=wanted.last).contains(&slot)
        })
        .nth(number)
        .unwrap()
}

fn spread(n_groups: usize) -> Vec<v1::SlotOwner> {
    let bound = |i: usize| u32::try_from(i * 16384 / n_groups).unwrap();
    (0..n_groups)
        .map(|i| v1::SlotOwner { first: bound(i), last: bound(i + 1) - 1, group: u32::try_from(i + 1).unwrap() })
        .collect()
}

fn group(id: u32, replicas: &[u32]) -> v1::Group {
    v1::Group {
        id,
        epoch: 1,
        leader: replicas[0],
        in_sync: replicas.to_vec(),
        replicas: replicas.to_vec(),
        min_in_sync: 1,
        group_time: 1_000_000,
    }
}
