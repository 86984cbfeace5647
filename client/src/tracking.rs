//! What nodes say of keys that were read there: one stream to each node, and whoever keeps copies listens to all of them.
//!
//! A request that is tracked carries the number of the stream to the node it is sent to. The node takes down what is read, then reads, and
//! says in its answer whether it will tell of changes. So whoever keeps copies has to notice two things: what is told between the
//! moment its request *began* and the answer, and that an answer will not be followed by anything. Both reach the same ears, the second
//! as [`Stale::Read`], before the answer does.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use dashmap::DashMap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::Client;
use crate::core::Core;
use crate::topology::{Group, Node, Topology};
use crate::transport::{ListenAsk, ListenEvent};

/// Copies that are no longer good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stale<'a> {
    /// Of these keys.
    Keys(&'a [Bytes]),
    /// Of all keys: too much has changed, a node cannot be heard any more, or is heard again, or keys have another leader.
    Everything,
    /// Of all that this request reads: nobody will tell when it changes. Told before the request's answer is given.
    Read(&'a [Bytes]),
}

type Ear = Arc<dyn Fn(Stale<'_>) + Send + Sync>;

/// Whoever wants to hear of changes.
#[derive(Default)]
pub(crate) struct Trackers {
    ears: RwLock<Vec<Ear>>,
    /// By address.
    nodes: DashMap<Arc<str>, Arc<Stream>>,
    wanted: watch::Sender<Wanted>,
    progress: Notify,
    follower: Mutex<Option<AbortHandle>>,
}

/// What keys begin with of which all changes are to be told.
#[derive(Clone, Debug, Default)]
struct Wanted {
    version: u64,
    prefixes: BTreeSet<Bytes>,
}

/// The stream from one node.
#[derive(Debug, Default)]
struct Stream {
    /// What operations are to carry; 0 while the node is not heard.
    number: AtomicU64,
    /// One more than the version of the prefixes that the node tells of; 0 while it is not heard.
    told: AtomicU64,
}

/// Hears of changes, of as long as the client lives.
#[derive(Clone, Debug)]
pub struct Tracking {
    client: Client,
}

impl Tracking {
    /// From now on all changes of keys are told that begin with one of these, whether this client has read them or not. Every replica
    /// tells them when it shows them, so a change is told several times.
    pub fn set_prefixes(&self, prefixes: BTreeSet<Bytes>) {
        self.client.core().trackers.wanted.send_if_modified(|wanted| {
            let differs = wanted.prefixes != prefixes;
            if differs {
                *wanted = Wanted { version: wanted.version + 1, prefixes };
            }
            differs
        });
    }

    /// Waits until every node that is up says that it tells what is asked for. It need not be waited for: what is read before is told
    /// to be stale at once.
    pub async fn ready(&self) {
        let core = self.client.core();
        loop {
            let progress = core.trackers.progress.notified();
            let mut progress = std::pin::pin!(progress);
            progress.as_mut().enable();
            if core.trackers.is_ready(core) {
                return;
            }
            tokio::select! {
                () = progress => (),
                () = core.ended() => return,
            }
        }
    }
}

impl Client {
    /// Has `ear` told of changes of what is read with [`Options::track`](crate::Options::track), by any clone of this client, for as
    /// long as the client lives. It is called from whatever task hears of them and must not wait.
    pub fn track(&self, ear: impl Fn(Stale<'_>) + Send + Sync + 'static) -> Tracking {
        self.core().trackers.ears.write().push(Arc::new(ear));
        self.core().hear_nodes();
        Tracking { client: self.clone() }
    }
}

impl Core {
    /// Begins to listen to the nodes, once.
    pub(crate) fn hear_nodes(self: &Arc<Self>) {
        let mut follower = self.trackers.follower.lock();
        if follower.is_none() {
            *follower = Some(tokio::spawn(follow(Arc::clone(self))).abort_handle());
        }
    }
}

impl Trackers {
    pub(crate) fn listen(&self, ear: impl Fn(Stale<'_>) + Send + Sync + 'static) {
        self.ears.write().push(Arc::new(ear));
    }

    /// The number that an operation sent to this address is to carry; 0 if the node is not heard.
    pub(crate) fn number(&self, address: &str) -> u64 {
        self.nodes.get(address).map_or(0, |stream| stream.number.load(Ordering::SeqCst))
    }

    pub(crate) fn tell(&self, stale: Stale<'_>) {
        self.ears.read().iter().for_each(|ear| ear(stale));
    }

    /// Listens to nobody any more.
    pub(crate) fn stop(&self) {
        if let Some(follower) = self.follower.lock().take() {
            follower.abort();
        }
    }

    fn is_ready(&self, core: &Core) -> bool {
        let version = self.wanted.borrow().version;
        let topology = core.slots.load();
        let mut live = topology.nodes().iter().filter(|node| node.live).peekable();
        live.peek().is_some()
            && live.all(|node| {
                let stream = self.nodes.get(&*node.addresses.grpc);
                stream.is_some_and(|stream| stream.told.load(Ordering::SeqCst) > version)
            })
    }
}

/// Whether somebody may change keys of which nodes have told nothing. Each node says so itself, unless it cannot be reached any more.
fn may_hide_changes(before: &Topology, now: &Topology) -> bool {
    let has_died = |node: &Node| node.live && now.node(node.id).is_none_or(|node| !node.live);
    let has_passed = |group: &Group| {
        now.group(group.id).is_none_or(|now| {
            let loses = |node| !now.in_sync.contains(node);
            now.epoch != group.epoch || now.leader != group.leader || group.in_sync.iter().any(loses)
        })
    };
    !before.is_unknown()
        && (now.slot_map_version() != before.slot_map_version()
            || before.nodes().iter().any(has_died)
            || before.groups().iter().any(has_passed))
}

/// Keeps a stream to every node.
async fn follow(core: Arc<Core>) {
    let mut topologies = core.slots.subscribe();
    let mut before = Arc::clone(&topologies.borrow());
    let mut streams = JoinSet::new();
    let mut running: HashMap<Arc<str>, AbortHandle> = HashMap::new();
    loop {
        let topology = Arc::clone(&topologies.borrow_and_update());
        let addresses: BTreeSet<&str> = topology.nodes().iter().map(|node| &*node.addresses.grpc).collect();
        let streams_before = running.len();
        running.retain(|address, stream| {
            let stays = addresses.contains(&**address);
            if !stays {
                stream.abort();
                core.trackers.nodes.remove(address);
            }
            stays
        });
        if running.len() < streams_before || may_hide_changes(&before, &topology) {
            core.trackers.tell(Stale::Everything);
        }
        before = Arc::clone(&topology);
        for address in addresses {
            if !running.contains_key(address) {
                let (address, stream) = (Arc::<str>::from(address), Arc::<Stream>::default());
                core.trackers.nodes.insert(Arc::clone(&address), Arc::clone(&stream));
                let task = streams.spawn(hear(Arc::clone(&core), Arc::clone(&address), stream));
                running.insert(address, task);
            }
        }
        core.trackers.progress.notify_waiters();
        tokio::select! {
            changed = topologies.changed() => if changed.is_err() { return },
            () = core.ended() => return,
        }
    }
}

/// Hears one node, for ever.
async fn hear(core: Arc<Core>, address: Arc<str>, stream: Arc<Stream>) {
    let trackers = &core.trackers;
    let mut wanted = trackers.wanted.subscribe();
    let mut step = 0;
    loop {
        let Wanted { version, prefixes } = wanted.borrow_and_update().clone();
        let mut told =
            core.listener.ask(&address, |id| ListenAsk::Track { id, prefixes: prefixes.into_iter().collect() });
        let mut asked = VecDeque::from([version]);
        loop {
            let event = tokio::select! {
                event = told.next() => event,
                changed = wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let Wanted { version, prefixes } = wanted.borrow_and_update().clone();
                    told.ask_again(|id| ListenAsk::Track { id, prefixes: prefixes.into_iter().collect() });
                    asked.push_back(version);
                    continue;
                }
            };
            match event {
                Some(ListenEvent::Tracking { tracker }) => {
                    step = 0;
                    if stream.number.swap(tracker, Ordering::SeqCst) != tracker {
                        // Whatever was read while nobody was heard.
                        trackers.tell(Stale::Everything);
                    }
                    let version = asked.pop_front().unwrap_or_default();
                    stream.told.store(version + 1, Ordering::SeqCst);
                    trackers.progress.notify_waiters();
                }
                Some(ListenEvent::Stale { keys }) => trackers.tell(Stale::Keys(&keys)),
                Some(ListenEvent::StaleEverything) => trackers.tell(Stale::Everything),
                Some(_) | None => break,
            }
        }
        // Before it is told: what begins afterwards is not tracked there.
        stream.told.store(0, Ordering::SeqCst);
        if stream.number.swap(0, Ordering::SeqCst) != 0 {
            trackers.tell(Stale::Everything);
        }
        tokio::select! {
            () = core.config.backoff.rest(step) => (),
            () = core.ended() => return,
        }
        step += 1;
    }
}
