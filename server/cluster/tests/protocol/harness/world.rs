//! The group and everything around it, one happening after the other.

mod checks;
mod driver;
mod network;
mod processes;
mod recovery;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use simplekv_cluster::{
    Config, Controller, ControllerEffect, ControllerEvent, Decision, Effect, Event, MetadataOutcome, MetadataRequest,
    Recovery, Refusal, Remains, Replica, RequestId, Role, StartFacts, Timing, Window, Wish, has_ended, recover,
    resume_or_renew,
};
use simplekv_types::peer::{Envelope, Message, Sender};
use simplekv_types::{
    Batch, ClusterId, Epoch, FlushPolicy, GroupId, GroupRecord, GroupTime, Lineage, Lsn, Member, NodeId,
    RecoveryPolicy, RunId, StorageId,
};

use super::disk::Disk;
use super::metadata::Metadata;
use super::node::{Clock, Node, Process};
use super::oracle::{Oracle, content};
use super::rng::Rng;

pub(crate) use self::store::name;

const CLUSTER: ClusterId = ClusterId(1);
const GROUP: GroupId = GroupId(1);
/// The store tells an asker that it does not know after this long.
const METADATA_TIMEOUT: u64 = ms(500);

pub(crate) const fn ms(millis: u64) -> u64 {
    millis * 1_000_000
}

/// How a world is made.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) nodes: u32,
    /// The first so many are in sync at the beginning.
    pub(crate) in_sync: u32,
    pub(crate) min_in_sync: u32,
    pub(crate) flush: FlushPolicy,
    pub(crate) grant_read_leases: bool,
    pub(crate) controller: bool,
    /// Who decides how the group goes on after everybody lost data.
    pub(crate) recovery: RecoveryPolicy,
    pub(crate) window: Window,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            nodes: 3,
            in_sync: 3,
            min_in_sync: 2,
            flush: FlushPolicy::Replicated,
            grant_read_leases: true,
            controller: false,
            recovery: RecoveryPolicy::Manual,
            window: Window::default(),
        }
    }
}

/// How unreliable things are, in thousandths.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) drop: u64,
    pub(crate) duplicate: u64,
    pub(crate) delay: u64,
    pub(crate) metadata: u64,
    pub(crate) stale_hints: u64,
}

/// What becomes of messages from one node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Up,
    Cut,
    /// Messages wait in a socket.
    Held,
}

/// What becomes of the next change of the group's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Done,
    /// Executed, but the asker never learns it.
    ReplyLost,
    /// Never executed, and the asker does not know.
    RequestLost,
    /// Certainly not executed.
    Refused,
    /// The asker gives up long before it is executed.
    Late,
}

#[derive(Clone, Debug)]
enum Happening {
    Deliver(Envelope),
    Wake { node: NodeId, at: u64 },
    Told { node: NodeId, run: RunId, event: Event },
    Persisted { node: NodeId, run: RunId, epoch: Epoch, lineage: Lineage, wall: GroupTime },
    Rebuild { node: NodeId, run: RunId, lineage: Lineage },
    Flushed { node: NodeId, run: RunId, log_end: Lsn, truncations: u64, asked_at: u64 },
    Execute { asker: Asker, id: RequestId, request: MetadataRequest, answer: bool },
    SessionEnds { node: NodeId, run: RunId },
    SessionBegins { node: NodeId, run: RunId },
    Resume { node: NodeId },
    Relist,
    ControllerTold(ControllerEvent),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    Replica { node: NodeId, run: RunId },
    Controller,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    pub(crate) settings: Settings,
    pub(crate) faults: Faults,
    rng: Option<Rng>,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) metadata: Metadata,
    pub(crate) oracle: Oracle,
    links: BTreeMap<(NodeId, NodeId), Link>,
    held: Vec<Envelope>,
    /// The last messages, for delivering again.
    pub(crate) sent: Vec<Envelope>,
    pub(crate) fate: Fate,
    pub(crate) metadata_down: bool,
    /// How long after its asker gave up the next late change is executed.
    pub(crate) next_late_by: Option<u64>,
    /// Whether changes are told to nodes as they happen.
    pub(crate) watch_works: bool,
    controller: Option<Controller>,
    next_storage: u128,
    next_nonce: u64,
    next_write: u64,
    /// What happened, for the reader.
    pub(crate) trace: Vec<String>,
    /// Whether every message is noted.
    pub(crate) verbose: bool,
    pub(crate) lease_reads: u64,
    pub(crate) elections: u64,
}

impl World {
    /// A world with all nodes running, at a second to the first election; with chance if there is a generator.
    pub(crate) fn new(settings: Settings, rng: Option<Rng>) -> Self {
        let member = |node: u32| Member { node: NodeId(node), storage: StorageId(u128::from(node) << 96) };
        let record = GroupRecord {
            epoch: Epoch::ZERO,
            leader: None,
            in_sync: (1..=settings.in_sync).map(member).collect(),
            fence: Vec::new(),
            lease_ms: 1000,
            fence_ms: 0,
            replicas: (1..=settings.nodes).map(NodeId).collect(),
            min_in_sync: settings.min_in_sync,
            lineage: Lineage(0),
            recovering: false,
            recovery: settings.recovery,
        };
        let mut world = Self {
            now: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            faults: Faults::default(),
            rng,
            nodes: BTreeMap::new(),
            metadata: Metadata::new(record),
            oracle: Oracle::default(),
            links: BTreeMap::new(),
            held: Vec::new(),
            sent: Vec::new(),
            fate: Fate::Done,
            metadata_down: false,
            next_late_by: None,
            watch_works: true,
            controller: settings.controller.then(|| Controller::new(Timing::default())),
            next_storage: 100,
            next_nonce: 1,
            next_write: 1,
            trace: Vec::new(),
            verbose: false,
            lease_reads: 0,
            elections: 0,
            settings,
        };
        for id in 1..=world.settings.nodes {
            let clock = world.clock(id);
            let disk = Disk::new(member(id).storage, world.settings.flush, 1);
            let node =
                Node { id: NodeId(id), clock, disk, process: None, boots: 1, paused_until: 0, disk_hangs_until: 0 };
            world.nodes.insert(NodeId(id), node);
        }
        for id in 1..=world.settings.nodes {
            world.start(NodeId(id), true);
        }
        world.schedule(ms(1000), Happening::Relist);
        world.tell_controller(ControllerEvent::TookOffice);
        world
    }

    fn clock(&mut self, id: u32) -> Clock {
        let offset = u64::from(id) * 1_000_000_000_000;
        let ppm = self.rng.as_mut().map_or(0, |rng| i64::try_from(rng.below(20_001)).unwrap() - 10_000);
        Clock { offset, ppm }
    }

    pub(crate) fn note(&mut self, line: String) {
        self.trace.push(line);
    }

    fn schedule(&mut self, at: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((at.max(self.now), self.sequence), happening);
    }

    fn chance(&mut self, per_mille: u64) -> bool {
        per_mille > 0 && self.rng.as_mut().is_some_and(|rng| rng.chance(per_mille))
    }

    /// `usual` without chance, otherwise something around it.
    fn around(&mut self, usual: u64) -> u64 {
        self.rng.as_mut().map_or(usual, |rng| rng.range(usual / 4, usual * 2))
    }

    /// Lets everything happen that is due within the next `duration`.
    pub(crate) fn run(&mut self, duration: u64) {
        self.run_until(self.now + duration, |_| false);
    }

    /// Lets things happen until `done`, or until `end`.
    pub(crate) fn run_until(&mut self, end: u64, done: impl Fn(&Self) -> bool) -> bool {
        loop {
            if done(self) {
                return true;
            }
            let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end) else { break };
            self.now = self.now.max(entry.key().0);
            let happening = entry.remove();
            self.happen(happening);
        }
        self.now = self.now.max(end);
        false
    }

    fn happen(&mut self, happening: Happening) {
        if let Some(node) = happening.node()
            && let Some(paused_until) = self.nodes.get(&node).map(|node| node.paused_until)
            && paused_until > self.now
            && !matches!(happening, Happening::Resume { .. })
        {
            return self.schedule(paused_until, happening);
        }
        match happening {
            Happening::Deliver(envelope) => {
                if self.verbose {
                    self.note(format!(
                        "{} ns: {} -> {}: {:?}",
                        self.now, envelope.from.node.0, envelope.to.0, envelope.message
                    ));
                }
                let (node, run) = (envelope.to, self.run_of(envelope.to));
                self.step(node, run, Event::Received(envelope));
            }
            Happening::Wake { node, at } => {
                let process = self.nodes.get_mut(&node).and_then(|node| node.process.as_mut());
                if let Some(process) = process.filter(|process| process.wake_at == Some(at)) {
                    process.wake_at = None;
                    let run = process.run;
                    self.step(node, Some(run), Event::Tick);
                }
            }
            Happening::Told { node, run, event } => self.step(node, Some(run), event),
            Happening::Persisted { node: id, run, epoch, lineage, wall } => {
                if let Some(node) = self.nodes.get_mut(&id)
                    && node.process.as_ref().is_some_and(|process| process.run == run)
                {
                    node.disk.epoch = node.disk.epoch.max(epoch);
                    node.disk.lineage = node.disk.lineage.max(lineage);
                    self.step(id, Some(run), Event::EpochPersisted { epoch, wall });
                }
            }
            Happening::Rebuild { node, run, lineage } => self.rebuild(node, run, lineage),
            Happening::Flushed { node, run, log_end, truncations, asked_at } => {
                self.flushed(node, run, log_end, truncations, asked_at);
            }
            Happening::Execute { asker, id, request, answer } => self.execute(asker, id, &request, answer),
            Happening::SessionEnds { node, run } => {
                if self.metadata.live.get(&node) == Some(&run) && self.run_of(node) != Some(run) {
                    self.metadata.live.remove(&node);
                    self.publish_nodes();
                }
            }
            Happening::SessionBegins { node, run } => {
                if self.run_of(node) == Some(run) {
                    self.metadata.live.insert(node, run);
                    self.publish_nodes();
                }
            }
            Happening::Resume { node } => self.check_read(node),
            Happening::Relist => {
                self.publish_nodes();
                self.publish_record();
                self.schedule(self.now + ms(1000), Happening::Relist);
                self.tell_controller(ControllerEvent::Tick);
            }
            Happening::ControllerTold(event) => self.tell_controller(event),
        }
    }

    pub(crate) fn run_of(&self, node: NodeId) -> Option<RunId> {
        self.process(node).map(|process| process.run)
    }

    pub(crate) fn process(&self, node: NodeId) -> Option<&Process> {
        self.nodes.get(&node).and_then(|node| node.process.as_ref())
    }
}

impl Happening {
    /// The node whose process this happens to.
    fn node(&self) -> Option<NodeId> {
        match self {
            Self::Deliver(envelope) => Some(envelope.to),
            Self::Wake { node, .. }
            | Self::Told { node, .. }
            | Self::Persisted { node, .. }
            | Self::Rebuild { node, .. }
            | Self::Flushed { node, .. }
            | Self::Resume { node } => Some(*node),
            Self::Execute { .. }
            | Self::SessionEnds { .. }
            | Self::SessionBegins { .. }
            | Self::Relist
            | Self::ControllerTold(_) => None,
        }
    }
}
