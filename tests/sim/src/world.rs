//! A whole cluster and everything around it, one happening after the other.

mod checks;
mod clients;
mod disks;
mod groups;
mod metadata;
mod nodes;
mod requests;

use std::collections::BTreeMap;

use simplekv_cluster::{
    ControllerEvent, Event, GroupChange, MetadataOutcome, MetadataRequest, NodeFacts, RequestId, Timing, Window,
};
use simplekv_meta::SessionId;
use simplekv_server::Begun;
use simplekv_server::group::Answer;
use simplekv_types::peer::Envelope;
use simplekv_types::{
    ClusterId, ClusterRecord, Epoch, FlushPolicy, GroupId, GroupRecord, GroupTime, Lineage, Lsn, Member, NodeId,
    NodeRecord, RecoveryPolicy, Reply, Revision, RunId, SlotMap, StorageId,
};

use crate::client::{Client, Patience, Request, Workload};
use crate::clock::{Clocks, Nanos, ms};
use crate::history::History;
use crate::machine::Machine;
use crate::network::{Network, Passage, Place};
use crate::oracle::Oracle;
use crate::queue::Queue;
use crate::report::Counts;
use crate::rng::Rng;
use crate::store::Store;

pub(crate) const CLUSTER: ClusterId = ClusterId(1);

/// How a world is made.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) nodes: u32,
    pub(crate) groups: u32,
    pub(crate) min_in_sync: u32,
    /// Length of the leaders' leases at the beginning.
    pub(crate) lease_ms: u64,
    pub(crate) flush: FlushPolicy,
    pub(crate) read_leases: bool,
    pub(crate) window: Window,
    pub(crate) segment_bytes: u64,
    pub(crate) timing: Timing,
    /// How far the rate of a clock may be off, in millionths.
    pub(crate) ppm: u64,
    pub(crate) clients: usize,
    pub(crate) workload: Workload,
    pub(crate) patience: Patience,
}

/// How unreliable the metadata store and those around it are, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Troubles {
    /// A request to the store is lost, executed without an answer, or executed late.
    pub(crate) store: u64,
    /// A watch loses an event.
    pub(crate) watch: u64,
    /// A process dies at one of the steps of its start.
    pub(crate) start: u64,
    /// A reading thread is held up between reading and answering.
    pub(crate) reader: u64,
}

/// Something that happens.
#[derive(Debug)]
pub(crate) enum Happening {
    Start { node: NodeId },
    Deliver(Envelope),
    Wake { node: NodeId, run: RunId, group: GroupId },
    Tell { node: NodeId, run: RunId, group: GroupId, event: Event },
    FlushBegins { node: NodeId, run: RunId, group: GroupId },
    FlushEnds { node: NodeId, run: RunId, group: GroupId, mark: Option<(Lsn, u64)>, probe: Option<u64>, synced: bool },
    Execute { asker: Asker, id: RequestId, ask: Ask, answer: bool },
    SlotsRead { node: NodeId, run: RunId, group: GroupId, found: bool },
    RegisterLate { node: NodeId, expected: Revision, record: NodeRecord },
    Seen { node: NodeId, run: RunId, seen: Seen },
    Relist { node: NodeId, run: RunId },
    KeepAlive { node: NodeId, run: RunId },
    SessionDue { session: SessionId },
    TellController { node: NodeId, run: RunId, event: ControllerEvent },
    Arrive { node: NodeId, request: Request },
    Confirm { node: NodeId, run: RunId, group: GroupId, request: Request, begun: Begun, answer: Answer },
    OutOfPatience { node: NodeId, number: u64 },
    Answered { client: usize, flight: u64, attempt: u32, reply: Reply, time: GroupTime, group: GroupId },
    Lost { client: usize, flight: u64, attempt: u32, sent: bool },
    AttemptEnds { client: usize, flight: u64, attempt: u32 },
    PauseEnds { client: usize, flight: u64, pause: u32 },
    Think { client: usize, task: usize },
    Topology { client: usize, version: Revision },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    Replica { node: NodeId, run: RunId, group: GroupId },
    Controller { node: NodeId, run: RunId },
}

#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Replica(GroupId, MetadataRequest),
    Controller(GroupId, GroupChange, simplekv_meta::Office),
}

/// What a watch tells.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    Group(GroupId, GroupRecord, Revision),
    Nodes(Vec<NodeFacts>),
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Nanos,
    pub(crate) queue: Queue<Happening>,
    pub(crate) settings: Settings,
    pub(crate) rng: Rng,
    pub(crate) troubles: Troubles,
    pub(crate) network: Network,
    pub(crate) machines: BTreeMap<NodeId, Machine>,
    pub(crate) store: Store,
    pub(crate) store_down: bool,
    /// When each open session ends unless it is kept alive.
    sessions: BTreeMap<SessionId, Nanos>,
    /// The topologies the store has shown, newest last.
    topologies: Vec<std::sync::Arc<simplekv_client::Topology>>,
    pub(crate) clients: Vec<Client>,
    pub(crate) oracles: BTreeMap<GroupId, Oracle>,
    pub(crate) history: History,
    /// Requests a group works on.
    pending: BTreeMap<u64, requests::Pending>,
    next_number: u64,
    next_storage: u128,
    /// What is held in sockets.
    held: Vec<(Place, Place, Happening)>,
    pub(crate) counts: Counts,
    /// What happened, for the reader; `None` if nobody reads it.
    pub(crate) trace: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(settings: Settings, mut rng: Rng) -> Self {
        let placed = |group: u32| -> Vec<NodeId> {
            (0..settings.nodes).map(|n| NodeId(1 + (n + group - 1) % settings.nodes)).collect()
        };
        let record = |group: u32| {
            let replicas = placed(group);
            GroupRecord {
                epoch: Epoch::ZERO,
                leader: None,
                in_sync: Vec::new(),
                fence: Vec::new(),
                lease_ms: settings.lease_ms,
                fence_ms: 0,
                replicas,
                min_in_sync: settings.min_in_sync,
                lineage: Lineage(0),
                recovering: false,
                recovery: RecoveryPolicy::default(),
            }
        };
        let ids: Vec<GroupId> = (1..=settings.groups).map(GroupId).collect();
        let groups: Vec<(GroupId, GroupRecord)> = ids.iter().map(|&id| (id, record(id.0))).collect();
        let cluster = ClusterRecord { cluster: CLUSTER, format: ClusterRecord::FORMAT };
        let store = Store::new(&cluster, &groups, &SlotMap::spread(&ids));
        let ppm = i64::try_from(settings.ppm).expect("a rate");
        let mut machines = BTreeMap::new();
        for node in 1..=settings.nodes {
            let ppm = i64::try_from(rng.below(2 * settings.ppm + 1)).expect("a rate") - ppm;
            let hour_ahead = i64::try_from(rng.below(4000)).expect("small") - 2000;
            let clocks = Clocks { offset: rng.range(ms(10_000), ms(1_000_000)), ppm, hour_ahead };
            machines.insert(NodeId(node), Machine::new(NodeId(node), clocks));
        }
        let clients = (0..settings.clients).map(|number| Client::new(number, &settings, &mut rng)).collect();
        let mut world = Self {
            now: 0,
            queue: Queue::new(),
            rng,
            troubles: Troubles::default(),
            network: Network::default(),
            machines,
            store,
            store_down: false,
            sessions: BTreeMap::new(),
            topologies: Vec::new(),
            clients,
            oracles: ids.iter().map(|&id| (id, Oracle::default())).collect(),
            history: History::default(),
            pending: BTreeMap::new(),
            next_number: 1,
            next_storage: 1000,
            held: Vec::new(),
            counts: Counts::default(),
            trace: None,
            settings,
        };
        let nodes: Vec<NodeId> = world.machines.keys().copied().collect();
        for node in nodes {
            let after = world.rng.below(ms(100));
            world.schedule(after, Happening::Start { node });
        }
        world.publish_topology();
        for client in 0..world.clients.len() {
            world.wake_tasks(client);
        }
        world
    }

    pub(crate) fn groups(&self) -> Vec<GroupId> {
        self.oracles.keys().copied().collect()
    }

    /// Lets the world go on for a while.
    pub(crate) fn run(&mut self, time: Nanos) {
        let until = self.now + time;
        while let Some((at, what)) = self.queue.pop(until) {
            self.now = at;
            self.counts.events += 1;
            self.happen(what);
        }
        self.now = until;
    }

    /// Lets the world go on until something holds, looking every few milliseconds. False if it never does.
    pub(crate) fn run_until(&mut self, end: Nanos, holds: impl Fn(&Self) -> bool) -> bool {
        while self.now < end {
            if holds(self) {
                return true;
            }
            self.run(ms(20));
        }
        holds(self)
    }

    pub(crate) fn schedule(&mut self, after: Nanos, what: Happening) {
        self.queue.push(self.now + after, what);
    }

    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>12.3} {}", self.now as f64 / 1e6, what()));
        }
    }

    /// Sends something through the network; `what` is made once for each time it arrives.
    pub(crate) fn send(&mut self, from: Place, to: Place, what: impl Fn() -> Happening) -> bool {
        match self.network.send(&mut self.rng, from, to) {
            Passage::Arrives { after, again } => {
                self.schedule(after, what());
                if let Some(again) = again {
                    self.counts.duplicated += 1;
                    self.schedule(again, what());
                }
                true
            }
            Passage::Held => {
                self.counts.held += 1;
                self.held.push((from, to, what()));
                true
            }
            Passage::Lost => {
                self.counts.lost += 1;
                false
            }
        }
    }

    /// All links work again; what was held in sockets arrives.
    pub(crate) fn mend_links(&mut self) {
        self.network.mend();
        for (_, _, what) in std::mem::take(&mut self.held) {
            let after = self.rng.below(ms(5));
            self.schedule(after, what);
        }
    }

    fn happen(&mut self, what: Happening) {
        if let Some(node) = what.suspended_with()
            && let Some(machine) = self.machines.get(&node)
            && machine.paused_until > self.now
        {
            let until = machine.paused_until;
            self.queue.push(until, what);
            return;
        }
        match what {
            Happening::Start { node } => self.start(node),
            Happening::Deliver(envelope) => self.deliver(envelope),
            Happening::Wake { node, run, group } => self.wake(node, run, group),
            Happening::Tell { node, run, group, event } => self.tell(node, run, group, event),
            Happening::FlushBegins { node, run, group } => self.flush_begins(node, run, group),
            Happening::FlushEnds { node, run, group, mark, probe, synced } => {
                self.flush_ends(node, run, group, mark, probe, synced);
            }
            Happening::Execute { asker, id, ask, answer } => self.execute(asker, id, ask, answer),
            Happening::SlotsRead { node, run, group, found } => self.slots_read(node, run, group, found),
            Happening::RegisterLate { node, expected, record } => {
                let _ = self.store.register(node, expected, &record);
                self.publish_nodes();
            }
            Happening::Seen { node, run, seen } => self.see(node, run, seen),
            Happening::Relist { node, run } => self.relist(node, run),
            Happening::KeepAlive { node, run } => self.keep_alive(node, run),
            Happening::SessionDue { session } => self.session_due(session),
            Happening::TellController { node, run, event } => self.tell_controller(node, run, event),
            Happening::Arrive { node, request } => self.arrive(node, request),
            Happening::Confirm { node, run, group, request, begun, answer } => {
                self.confirm(node, run, group, request, begun, answer);
            }
            Happening::OutOfPatience { node, number } => self.out_of_patience(node, number),
            Happening::Answered { client, flight, attempt, reply, time, group } => {
                self.answered(client, flight, attempt, reply, time, group);
            }
            Happening::Lost { client, flight, attempt, sent } => self.lost(client, flight, attempt, sent),
            Happening::AttemptEnds { client, flight, attempt } => self.attempt_ends(client, flight, attempt),
            Happening::PauseEnds { client, flight, pause } => self.pause_ends(client, flight, pause),
            Happening::Think { client, task } => self.begin_task(client, task),
            Happening::Topology { client, version } => self.take_topology(client, version),
        }
    }

    /// What an asker without an answer is told.
    fn unknown(ask: &Ask) -> MetadataOutcome {
        match ask {
            Ask::Replica(_, MetadataRequest::ReadGroup) => MetadataOutcome::Failed,
            _ => MetadataOutcome::Unknown,
        }
    }
}

impl Happening {
    /// The node whose process has to run for it.
    fn suspended_with(&self) -> Option<NodeId> {
        match self {
            Self::Deliver(envelope) => Some(envelope.to),
            Self::Wake { node, .. }
            | Self::Tell { node, .. }
            | Self::FlushBegins { node, .. }
            | Self::SlotsRead { node, .. }
            | Self::Seen { node, .. }
            | Self::Relist { node, .. }
            | Self::KeepAlive { node, .. }
            | Self::TellController { node, .. }
            | Self::Arrive { node, .. }
            | Self::Confirm { node, .. }
            | Self::OutOfPatience { node, .. } => Some(*node),
            _ => None,
        }
    }
}

impl World {
    /// The node a group's record names, if it runs.
    pub(crate) fn leader(&self, group: GroupId) -> Option<NodeId> {
        let leader = self.store.group(group).0.leader?;
        self.machines.get(&leader.node).filter(|machine| machine.run() == Some(leader.run)).map(|machine| machine.id)
    }

    pub(crate) fn count_if_leader(&mut self, node: NodeId) {
        let leads = self.machines.get(&node).and_then(|machine| machine.process.as_ref()).is_some_and(|p| p.leads());
        self.counts.leaders_lost += u64::from(leads);
    }

    /// Whether the disk has everything that was acknowledged.
    pub(crate) fn flushes_all(&self) -> bool {
        self.settings.flush == FlushPolicy::Always
    }

    pub(crate) fn restart_all(&mut self) {
        let down: Vec<NodeId> =
            self.machines.values().filter(|machine| machine.process.is_none()).map(|machine| machine.id).collect();
        for node in down {
            self.start(node);
        }
    }

    pub(crate) fn is_stopping(&self, node: NodeId) -> bool {
        self.machines.get(&node).and_then(|machine| machine.process.as_ref()).is_some_and(|process| process.stopping)
    }

    /// Somebody with the right to do so changes a group's record, whatever others believe.
    pub(crate) fn change_by_force(&mut self, change: &simplekv_meta::GroupChange) {
        let outcome = self.store.change_group(change);
        self.note(|| format!("store: by force {} {outcome:?}", change.record.epoch));
        self.check_in_sync(change.group);
        self.publish_group(change.group);
        self.publish_topology();
    }

    /// Whether the recorded leader leads and takes writes.
    pub(crate) fn is_serving(&self, group: GroupId) -> bool {
        let leader = self.leader(group).and_then(|leader| self.machines.get(&leader)?.hosted(group));
        leader.is_some_and(|hosted| hosted.group.replica().serving().activated)
    }

    pub(crate) fn is_in_sync(&self, group: GroupId) -> bool {
        let (record, _) = self.store.group(group);
        let there = |member: &Member| {
            let machine = self.machines.get(&member.node).filter(|machine| machine.paused_until <= self.now);
            machine.and_then(|machine| machine.process.as_ref()).is_some_and(|p| p.sender.storage == member.storage)
        };
        record.in_sync.len() == self.machines.len()
            && record.in_sync.iter().all(there)
            && record.fence.is_empty()
            && self.is_serving(group)
    }

    /// Clients finish what they are at and begin nothing new.
    pub(crate) fn retire_clients(&mut self) {
        self.clients.iter_mut().for_each(|client| client.tasks = 0);
    }

    /// Whether no client waits for anything.
    pub(crate) fn is_quiet(&self) -> bool {
        self.clients.iter().all(|client| client.flights.is_empty())
    }

    /// How long clients may have to wait when one node fails.
    pub(crate) fn longest_outage(&self) -> Nanos {
        ms(30_000)
    }
}
