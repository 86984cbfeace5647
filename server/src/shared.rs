//! What everything in a node shares: where things are, what is hosted here, and how much is under way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use parking_lot::Mutex;
use simplekv_meta::ClusterView;
use simplekv_proto::v1;
use simplekv_resp::command::{GeoCommand, HashCommand, ListCommand, SetOfCommand, ZsetCommand};
use simplekv_resp::{Clients, Command, Keys, SlowLog};
use simplekv_types::{ClusterId, Failure, GroupId, Naming, NodeId, RunId, Slot, SlotMapVersion, Tick, limits};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::channels::{Channels, Said};
use crate::clock;
use crate::config::{Config, Limits};
use crate::hosted::Hosted;
use crate::load::Load;
use crate::metrics::Metrics;
use crate::routing::Routing;
use crate::tracking::Tracking;
use crate::waiters::Waiter;

/// Bytes of messages that may be on their way to the channels of other nodes.
const SPREAD_BYTES_MAX: usize = 64 << 20;

/// One node's shared state. Readers never wait for each other.
#[derive(Debug)]
pub(crate) struct Shared {
    config: Config,
    /// The same picture twice: to be read on every request, and to be waited for.
    routing: ArcSwap<Routing>,
    changes: watch::Sender<Arc<Routing>>,
    /// The difference between two pictures that was told last.
    difference: Mutex<Option<v1::TopologyUpdate>>,
    view: watch::Receiver<Arc<ClusterView>>,
    hosted: ArcSwap<BTreeMap<GroupId, Arc<Hosted>>>,
    in_flight: Arc<AtomicUsize>,
    metrics: Metrics,
    load: Load,
    channels: Arc<Channels>,
    clients: Arc<Clients>,
    slow_log: SlowLog,
    tracking: Arc<Tracking>,
    /// Takes what is said here to the other nodes. Empty before the node has started.
    spread: OnceLock<mpsc::Sender<Said>>,
    /// How many more bytes may be on their way there.
    spread_room: Arc<Semaphore>,
    started: Instant,
    run: OnceLock<RunId>,
    stopping: CancellationToken,
}

/// A share of the requests a node may have under way; given back when dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    count: usize,
    total: Arc<AtomicUsize>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.total.fetch_sub(self.count, Ordering::Relaxed);
    }
}

impl Shared {
    pub(crate) fn new(config: Config, view: watch::Receiver<Arc<ClusterView>>, stopping: CancellationToken) -> Self {
        let routing = Arc::new(Routing::of(&view.borrow()));
        let slow_log = SlowLog::new(config.limits.slowlog_slower_than, config.limits.slowlog_length);
        Self {
            config,
            routing: ArcSwap::new(Arc::clone(&routing)),
            changes: watch::Sender::new(routing),
            difference: Mutex::default(),
            view,
            hosted: ArcSwap::default(),
            in_flight: Arc::default(),
            metrics: Metrics::default(),
            load: Load::default(),
            channels: Arc::default(),
            clients: Arc::default(),
            slow_log,
            tracking: Arc::default(),
            spread: OnceLock::new(),
            spread_room: Arc::new(Semaphore::new(SPREAD_BYTES_MAX)),
            started: Instant::now(),
            run: OnceLock::new(),
            stopping,
        }
    }

    pub(crate) fn node(&self) -> NodeId {
        self.config.node
    }

    /// The run this process has registered as; `None` before.
    pub(crate) fn run(&self) -> Option<RunId> {
        self.run.get().copied()
    }

    /// This process has registered.
    pub(crate) fn begin_run(&self, run: RunId) {
        self.run.set(run).expect("a process registers once");
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.config.limits
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What is asked of which slots and keys.
    pub(crate) fn load(&self) -> &Load {
        &self.load
    }

    /// The metadata as last seen.
    pub(crate) fn view(&self) -> Arc<ClusterView> {
        Arc::clone(&self.view.borrow())
    }

    /// Tells each change of the metadata.
    pub(crate) fn view_changes(&self) -> watch::Receiver<Arc<ClusterView>> {
        self.view.clone()
    }

    pub(crate) fn channels(&self) -> &Arc<Channels> {
        &self.channels
    }

    /// The connections of the Redis protocol.
    pub(crate) fn clients(&self) -> &Arc<Clients> {
        &self.clients
    }

    /// Their commands that took long.
    pub(crate) fn slow_log(&self) -> &SlowLog {
        &self.slow_log
    }

    /// Who keeps copies of what it has read here.
    pub(crate) fn tracking(&self) -> &Arc<Tracking> {
        &self.tracking
    }

    /// From now on what is said here is said everywhere.
    pub(crate) fn spread_by(&self, spread: mpsc::Sender<Said>) {
        self.spread.set(spread).expect("a node starts once");
    }

    /// Says something in a channel of the whole cluster. Returns how many of this node's listeners heard it.
    pub(crate) fn say(&self, channel: &Bytes, message: &Bytes) -> usize {
        if let Some(spread) = self.spread.get() {
            // To nodes that cannot keep up it is lost, as it is to listeners.
            // One that is longer than all of them may be has to be alone.
            let bytes = (channel.len() + message.len()).min(SPREAD_BYTES_MAX) as u32;
            if let Ok(room) = Arc::clone(&self.spread_room).try_acquire_many_owned(bytes) {
                let _ = spread.try_send(Said { channel: channel.clone(), message: message.clone(), room });
            }
        }
        self.channels.publish(Naming::Channel, channel, message)
    }

    /// Why this node is not the one that fans out in a sharded channel, if it is not.
    pub(crate) fn channel_is_elsewhere(&self, channel: &[u8]) -> Option<Failure> {
        let (routing, slot) = (self.routing(), Slot::of_key(channel));
        match routing.owner(slot) {
            Some(group) if self.hosted(group).is_none() => Some(routing.moved(slot)),
            Some(group) if routing.led_elsewhere(group, self.node()) => {
                Some(routing.not_leader(slot, group, self.node()))
            }
            Some(_) => None,
            None => Some(Failure::SlotUnserved { slot }),
        }
    }

    /// Cancelled when the node stops: whatever serves somebody ends.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn routing(&self) -> Guard<Arc<Routing>> {
        self.routing.load()
    }

    /// Tells each change of the routing picture.
    pub(crate) fn routing_changes(&self) -> watch::Receiver<Arc<Routing>> {
        self.changes.subscribe()
    }

    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        self.routing.load().cluster
    }

    pub(crate) fn topology_version(&self) -> u64 {
        self.routing.load().version
    }

    /// The topology as clients get it.
    pub(crate) fn topology(&self) -> v1::TopologyUpdate {
        self.topology_of(&self.routing.load())
    }

    /// One picture of the topology as clients get it.
    pub(crate) fn topology_of(&self, routing: &Routing) -> v1::TopologyUpdate {
        self.with_group_times(|time| routing.update(time))
    }

    /// What clients get that have an earlier picture of this node's. Almost all of them have the same: it is made once.
    pub(crate) fn difference(&self, before: &Routing, now: &Routing) -> v1::TopologyUpdate {
        let mut latest = self.difference.lock();
        match &*latest {
            Some(made) if (made.since, made.version) == (before.version, now.version) => made.clone(),
            _ => {
                let made = self.with_group_times(|time| now.update_since(before, time));
                latest.insert(made).clone()
            }
        }
    }

    fn with_group_times<T>(&self, make: impl FnOnce(&dyn Fn(GroupId) -> u64) -> T) -> T {
        let hosted = self.hosted.load();
        // The time a group's next batch will about have: that of the last one stands still while nothing is written.
        let wall = clock::wall_millis();
        make(&|group| hosted.get(&group).map_or(wall, |hosted| hosted.time().0.max(wall)))
    }

    /// Replaces the routing picture if the view shows anything new to clients.
    pub(crate) fn follow(&self, view: &ClusterView) {
        let next = Routing::of(view);
        if next.differs(&self.routing.load()) {
            let next = Arc::new(next);
            self.routing.store(Arc::clone(&next));
            self.changes.send_replace(next);
        }
    }

    /// Returns once this node knows a slot map at least as new. Whoever has seen a newer one has it from the metadata store, as this node
    /// soon will.
    pub(crate) async fn knows_slot_map(&self, version: SlotMapVersion) {
        // A node that stops answers nobody any more.
        let _ = self.routing_changes().wait_for(|routing| routing.slot_map_version >= version).await;
    }

    /// The group to ask here for a slot that belongs to `owner` by the slot map: the log knows before the map does.
    pub(crate) fn holder(&self, slot: Slot, owner: GroupId) -> GroupId {
        let hosted = self.hosted.load();
        if hosted.contains_key(&owner) {
            return owner;
        }
        let holds = |group: &&Arc<Hosted>| group.published().owned.load().shows(slot);
        hosted.values().find(holds).map_or(owner, |group| group.id())
    }

    pub(crate) fn hosted(&self, group: GroupId) -> Option<Arc<Hosted>> {
        self.hosted.load().get(&group).cloned()
    }

    pub(crate) fn all_hosted(&self) -> Vec<Arc<Hosted>> {
        self.hosted.load().values().cloned().collect()
    }

    /// Whether every slot has a leader, and this node answers for those it leads.
    pub(crate) fn serves(&self, now: Tick) -> bool {
        let routing = self.routing.load();
        let led = routing.groups.iter().filter(|(_, record)| record.leader.is_some_and(|l| l.node == self.config.node));
        routing.is_complete()
            && led.map(|(&group, _)| group).all(|group| {
                self.hosted(group).is_some_and(|hosted| {
                    let owned = hosted.published().owned.load();
                    hosted.published().serving.leads(now)
                        && routing.slots.ranges_of(group).all(|range| owned.shows(range.first()))
                })
            })
    }

    /// Adds or removes hosted groups.
    pub(crate) fn change_hosted(&self, change: impl Fn(&mut BTreeMap<GroupId, Arc<Hosted>>)) {
        self.hosted.rcu(|current| {
            let mut next = BTreeMap::clone(current);
            change(&mut next);
            next
        });
    }

    /// Room for `count` more requests, or `None` if the node has enough under way.
    pub(crate) fn take_in_flight(&self, count: usize) -> Option<InFlight> {
        let before = self.in_flight.fetch_add(count, Ordering::Relaxed);
        let taken = InFlight { count, total: Arc::clone(&self.in_flight) };
        (before + count <= self.config.limits.inflight_requests).then_some(taken)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Waits for elements of keys, which belong to one group; `None` if it is not hosted here.
    pub(crate) fn wait_for<'a>(&self, keys: impl Iterator<Item = &'a Bytes>) -> Option<Waiter> {
        let keys: Keys = keys.cloned().collect();
        let owner = self.routing().owner(Slot::of_key(keys.first()?))?;
        Some(self.hosted(owner)?.published().waiters.wait(keys))
    }

    /// Refuses what is too large to be stored before anything is done about it.
    pub(crate) fn check_size(&self, command: &Command) -> Result<(), Failure> {
        let too_large =
            |what, size: usize, limit: usize| Failure::TooLarge { what, size: size as u64, limit: limit as u64 };
        for key in command.keys() {
            if key.len() > limits::KEY_BYTES_MAX {
                return Err(too_large("key", key.len(), limits::KEY_BYTES_MAX));
            }
        }
        let limit = self.config.limits.value_bytes;
        match largest_value(command) {
            size if size > limit => Err(too_large("value", size, limit)),
            _ => Ok(()),
        }
    }
}

/// The longest value a command brings along. What it makes of values already stored is checked when it is executed.
pub(crate) fn largest_value(command: &Command) -> usize {
    match command {
        Command::Set(set) => set.value.len(),
        Command::SetNx { value, .. } | Command::Append { value, .. } | Command::SetRange { value, .. } => value.len(),
        Command::List { ask: ListCommand::Push { elements, .. }, .. } => longest(elements.iter()),
        Command::List { ask: ListCommand::Set { element, .. } | ListCommand::Insert { element, .. }, .. } => {
            element.len()
        }
        Command::SetOf { ask: SetOfCommand::Add { members }, .. } => longest(members.iter()),
        Command::Zset { ask: ZsetCommand::Add { pairs, .. }, .. } => longest(pairs.iter().map(|(_, member)| member)),
        Command::Zset { ask: ZsetCommand::IncrBy { member, .. }, .. } => member.len(),
        Command::Geo { ask: GeoCommand::Add { places, .. }, .. } => longest(places.iter().map(|(_, member)| member)),
        Command::Hash { ask: HashCommand::SetNx { field, value }, .. } => field.len().max(value.len()),
        Command::Hash { ask: HashCommand::Set { pairs, .. }, .. } => {
            longest(pairs.iter().flat_map(|(field, value)| [field, value]))
        }
        Command::Atomic(atomic) => atomic.commands.iter().map(largest_value).max().unwrap_or(0),
        Command::MSet { pairs } | Command::MSetNx { pairs } => longest(pairs.iter().map(|(_, value)| value)),
        _ => 0,
    }
}

fn longest<'a>(values: impl Iterator<Item = &'a Bytes>) -> usize {
    values.map(Bytes::len).max().unwrap_or(0)
}
