//! A whole cluster and everything around it, one happening after the other.

mod checks;
mod clients;
mod disks;
mod groups;
mod happening;
mod metadata;
mod moves;
mod nodes;
mod recovery;
mod requests;
mod standing;
mod starting;

use std::collections::BTreeMap;

use simplekv_cluster::{
    ControllerEvent, Event, GroupChange, MetadataOutcome, MetadataRequest, NodeFacts, RequestId, Timing, Window,
};
use simplekv_meta::SessionId;
use simplekv_server::group::Answer;
use simplekv_types::peer::Envelope;
use simplekv_types::{
    ClusterId, ClusterRecord, Epoch, FlushPolicy, GroupId, GroupRecord, GroupTime, Lineage, Lsn, Member, NodeId,
    NodeRecord, RecoveryPolicy, Reply, Revision, RunId, SlotMap, StorageId,
};

pub(crate) use happening::{Ask, Asker, Happening, Seen};

use crate::client::{Client, Patience, Request, Workload};
use crate::clock::{Clocks, Nanos, ms};
use crate::faults;
use crate::history::History;
use crate::machine::Machine;
use crate::network::{Network, Passage, Place};
use crate::oracle::{Oracle, Shadow};
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
    /// Whether groups may lose all their in-sync replicas, and who decides how they go on.
    pub(crate) disasters: Option<RecoveryPolicy>,
    /// Whether the metadata store is put back to an older state.
    pub(crate) restores: bool,
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
    /// Something happens to those whom a change of a group's record is about, right after it.
    pub(crate) ambush: u64,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Nanos,
    pub(crate) queue: Queue<Happening>,
    pub(crate) settings: Settings,
    pub(crate) rng: Rng,
    pub(crate) troubles: Troubles,
    /// Whatever faults were still to come do not come any more.
    pub(crate) is_at_peace: bool,
    pub(crate) network: Network,
    pub(crate) machines: BTreeMap<NodeId, Machine>,
    pub(crate) store: Store,
    pub(crate) store_down: bool,
    pub(crate) backup: recovery::Backup,
    /// When each open session ends unless it is kept alive.
    sessions: BTreeMap<SessionId, Nanos>,
    /// The topologies the store has shown, newest last.
    topologies: Vec<std::sync::Arc<simplekv_client::Topology>>,
    pub(crate) clients: Vec<Client>,
    pub(crate) oracles: BTreeMap<GroupId, Oracle>,
    /// The last run of each incarnation that took part.
    begun: BTreeMap<StorageId, RunId>,
    /// What the logs of incarnations held that have no process at present, or never will again.
    pub(crate) left_behind: BTreeMap<(GroupId, Member), Shadow>,
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
                recovery: settings.disasters.unwrap_or_default(),
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
            is_at_peace: false,
            network: Network::default(),
            machines,
            store,
            store_down: false,
            backup: recovery::Backup::default(),
            sessions: BTreeMap::new(),
            topologies: Vec::new(),
            clients,
            oracles: ids.iter().map(|&id| (id, Oracle::default())).collect(),
            begun: BTreeMap::new(),
            left_behind: BTreeMap::new(),
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
        let node = what.suspended_with();
        if let Some(machine) = node.and_then(|node| self.machines.get(&node))
            && machine.paused_until > self.now
        {
            // Its threads go on in any order.
            let until = machine.paused_until + self.rng.below(100_000);
            self.queue.push(until, what);
            return;
        }
        self.carry_out(what);
        if let Some(machine) = node.and_then(|node| self.machines.get_mut(&node)) {
            machine.last_happening = self.now;
        }
    }

    fn carry_out(&mut self, what: Happening) {
        match what {
            Happening::Start { node } => self.start(node),
            Happening::Host { node, run, file } => self.host(node, run, *file),
            Happening::Kill { .. } | Happening::PowerLoss { .. } | Happening::Elect { .. } if self.is_at_peace => (),
            Happening::Kill { node } => faults::kill(self, node),
            Happening::PowerLoss { node } => faults::power_loss(self, node),
            Happening::Mend => self.mend_links(),
            Happening::Elect { group, candidate } => {
                let mut rng = Rng::new(self.rng.next());
                faults::elect(self, group, Some(candidate), &mut rng);
            }
            Happening::Deliver(envelope) => self.deliver(envelope),
            Happening::Wake { node, run, group } => self.wake(node, run, group),
            Happening::Tell { node, run, group, event } => self.tell(node, run, group, event),
            Happening::FlushBegins { node, run, group } => self.flush_begins(node, run, group),
            Happening::FlushEnds { node, run, group, mark, probe, synced } => {
                self.flush_ends(node, run, group, mark, probe, synced);
            }
            Happening::Execute { asker, id, ask, answer } => self.execute(asker, id, ask, answer),
            Happening::SlotsRead { node, run, group, found } => self.slots_read(node, run, group, found),
            Happening::TellMove { node, run, group, event } => self.tell_move(node, run, group, event),
            Happening::DeliverMove { node, group, message } => self.deliver_move(node, group, message),
            Happening::ExecuteMove { node, run, group, id, request, answer } => {
                self.execute_move(node, run, group, id, request, answer);
            }
            Happening::Decide { group, to, shown } => self.decide_recovery(group, to, &shown),
            Happening::Recover { change } => self.execute_recovery(&change),
            Happening::Inspect { node, run, group, found } => self.inspected(node, run, group, found),
            Happening::Rebuild { node, run, group, lineage } => self.rebuild(node, run, group, lineage),
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
            Happening::Confirm { node, run, request, read } => self.confirm(node, run, request, read),
            Happening::OutOfPatience { node, number } => self.out_of_patience(node, number),
            Happening::Answered { client, flight, attempt, answer, group } => {
                self.answered(client, flight, attempt, answer, group);
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
