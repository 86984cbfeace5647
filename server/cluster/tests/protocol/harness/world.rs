//! The group and everything around it, one happening after the other.

use std::collections::{BTreeMap, BTreeSet};

use simplekv_cluster::{
    Config, Controller, ControllerEffect, ControllerEvent, Decision, Effect, Event, MetadataOutcome, MetadataRequest, Refusal,
    Replica, RequestId, Role, StartFacts, Timing, Window, resume_or_renew,
};
use simplekv_types::peer::{Envelope, Message, Sender};
use simplekv_types::{
    Batch, ClusterId, Epoch, FlushPolicy, GroupId, GroupRecord, GroupTime, Lineage, Lsn, Member, NodeId, RunId, StorageId,
};

use super::disk::Disk;
use super::metadata::Metadata;
use super::node::{Clock, Node, Process};
use super::oracle::{Oracle, content};
use super::rng::Rng;

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
    Flushed { node: NodeId, run: RunId, log_end: Lsn, truncations: u64, asked_at: u64 },
    Execute { asker: Asker, id: RequestId, request: MetadataRequest, answer: bool },
    SessionEnds { node: NodeId, run: RunId },
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

    // ---- time ----------------------------------------------------------------------------------------------------------------

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
                    self.note(format!("{} ns: {} -> {}: {:?}", self.now, envelope.from.node.0, envelope.to.0, envelope.message));
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
            Happening::Told { node, run, event } => {
                if let Event::EpochPersisted { epoch, .. } = event
                    && let Some(node) = self.nodes.get_mut(&node)
                    && node.process.as_ref().is_some_and(|process| process.run == run)
                {
                    node.disk.epoch = node.disk.epoch.max(epoch);
                }
                self.step(node, Some(run), event);
            }
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

    // ---- the driver ----------------------------------------------------------------------------------------------------------

    /// Steps a replica and does what it wants. Nothing happens if that run is gone.
    pub(crate) fn step(&mut self, node: NodeId, run: Option<RunId>, event: Event) {
        self.drive(node, run, |replica, now| replica.step(now, event));
    }

    fn drive(&mut self, id: NodeId, run: Option<RunId>, act: impl FnOnce(&mut Replica, simplekv_types::Tick)) {
        // The event may have been for a run that is gone; whoever runs now must not see it.
        if run.is_none() || run != self.run_of(id) {
            return;
        }
        let Some(mut node) = self.nodes.remove(&id) else { return };
        if let Some(mut process) = node.process.take() {
            act(&mut process.replica, node.clock.read(self.now));
            self.execute_effects(&mut node, &mut process);
            process.published = process.replica.serving();
            self.wake(&node, &mut process);
            node.process = Some(process);
        }
        self.nodes.insert(id, node);
        self.check(id);
    }

    fn wake(&mut self, node: &Node, process: &mut Process) {
        let wake_at = process.replica.next_deadline().map(|tick| node.clock.real(tick).max(self.now));
        if wake_at != process.wake_at {
            process.wake_at = wake_at;
            if let Some(at) = wake_at {
                self.schedule(at, Happening::Wake { node: node.id, at });
            }
        }
    }

    fn execute_effects(&mut self, node: &mut Node, process: &mut Process) {
        let mut proposed = None;
        while let Some(effect) = process.replica.next_effect() {
            self.effect(node, process, effect, &mut proposed);
        }
    }

    fn effect(&mut self, node: &mut Node, process: &mut Process, effect: Effect, proposed: &mut Option<u64>) {
        let (id, run) = (node.id, process.run);
        match effect {
            Effect::WithdrawLeases => process.published = process.replica.serving(),
            Effect::PersistEpoch { epoch, .. } => {
                let delay = self.around(ms(1));
                let wall = self.wall(node);
                self.schedule(
                    self.now + delay,
                    Happening::Told { node: id, run, event: Event::EpochPersisted { epoch, wall } },
                );
            }
            Effect::Append(appending) => self.append(node, process, appending, proposed),
            Effect::Truncate { log_end } => {
                let dropped: Vec<Batch> = node.disk.log.iter().filter(|batch| batch.base >= log_end).cloned().collect();
                self.oracle.truncate(id, &dropped);
                assert!(log_end >= process.applied, "{id} truncates what it has applied");
                node.disk.truncate(log_end);
                self.note(format!("{}: truncate to {log_end}", id.0));
            }
            Effect::Flush { log_end, truncations } => {
                let at = (self.now + self.around(ms(1))).max(node.disk_hangs_until);
                self.schedule(at, Happening::Flushed { node: id, run, log_end, truncations, asked_at: self.now });
            }
            Effect::Apply { high_watermark } => self.apply(node, process, high_watermark),
            Effect::Send(envelope) => {
                self.check_message(node, process, &envelope);
                self.send(envelope);
            }
            Effect::SendLog { envelope, from, upto, max_bytes } => {
                self.send_log(node, process, envelope, from, upto, max_bytes);
            }
            Effect::Metadata { id: request_id, request } => {
                self.ask_metadata(Asker::Replica { node: id, run }, request_id, request);
            }
            Effect::Probe { id: probe } => {
                let at = (self.now + self.around(ms(1))).max(node.disk_hangs_until);
                self.schedule(at, Happening::Told { node: id, run, event: Event::Probed { id: probe } });
            }
            Effect::RoleChanged { epoch, role, leader } => {
                process.waiting.clear();
                if role == Role::Leader {
                    self.oracle.lead(epoch, id, run);
                }
                let leader = leader.map_or("nobody".to_owned(), |leader| leader.0.to_string());
                self.note(match role {
                    Role::Leader => format!("{}: leads epoch {epoch}", id.0),
                    Role::Follower => format!("{}: follows {leader} in epoch {epoch}", id.0),
                    Role::Halted => format!("{}: halted in epoch {epoch}", id.0),
                });
            }
            Effect::RequestElection { epoch, unheard } => {
                let unheard_nodes: Vec<u32> = unheard.iter().map(|member| member.node.0).collect();
                self.note(format!("{}: requests an election to end epoch {epoch}, cannot hear {unheard_nodes:?}", id.0));
                let from = self.identity(node, run);
                let event = ControllerEvent::ElectionRequested { group: GROUP, epoch, from, unheard };
                self.schedule(self.now + ms(2), Happening::ControllerTold(event));
            }
            Effect::FetchSnapshot { .. } => panic!("no log begins above 0 here"),
            Effect::TransferEnded(outcome) => self.note(format!("{}: transfer ended: {outcome:?}", id.0)),
            Effect::ReadyToStop => self.note(format!("{}: ready to stop", id.0)),
            Effect::Alarm(alarm) => self.note(format!("{}: alarm: {alarm:?}", id.0)),
        }
    }

    fn identity(&self, node: &Node, run: RunId) -> Sender {
        Sender { node: node.id, storage: node.disk.identity.storage, run }
    }

    fn wall(&self, node: &Node) -> GroupTime {
        // Wall clocks of different nodes are up to four seconds apart.
        GroupTime(1_700_000_000_000 + self.now / 1_000_000 + u64::from(node.id.0) * 1000)
    }

    fn append(
        &mut self,
        node: &mut Node,
        process: &Process,
        appending: simplekv_cluster::Appending,
        proposed: &mut Option<u64>,
    ) {
        use simplekv_cluster::Appending;
        assert!(process.replica.serving().role != Role::Halted);
        match appending {
            Appending::Proposed(header) => {
                let write = proposed.take().unwrap_or(self.next_write - 1);
                let mut records = write.to_be_bytes().to_vec();
                records.resize(8 + usize::try_from(write % 50).unwrap(), 0);
                node.disk.append(header.with_records(records.into()));
            }
            Appending::EpochStart(header) => {
                self.elections += 1;
                self.note(format!("{}: starts epoch {} at {}", node.id.0, header.epoch, header.base));
                node.disk.append(header.with_records(bytes::Bytes::new()));
            }
            Appending::Received(batches) => {
                for batch in batches {
                    node.disk.append(batch);
                }
            }
        }
    }

    fn apply(&mut self, node: &mut Node, process: &mut Process, high_watermark: Lsn) {
        let first = node.disk.log.partition_point(|batch| batch.end() <= process.applied);
        let mut news = false;
        for batch in node.disk.log[first..].iter().take_while(|batch| batch.end() <= high_watermark) {
            news |= self.oracle.apply(node.id, batch);
            process.applied = batch.end();
        }
        assert_eq!(process.applied, high_watermark, "the high watermark lies between two batches");
        self.note(format!("{}: high_watermark={high_watermark}", node.id.0));
        let (done, waiting): (Vec<_>, Vec<_>) = process.waiting.drain(..).partition(|(end, _)| *end <= high_watermark);
        process.waiting = waiting;
        for (_, write) in done {
            self.oracle.acknowledge(write);
            self.note(format!("{}: write {write} acknowledged", node.id.0));
        }
        if news {
            self.check_committed_is_held(node);
        }
    }

    /// What a message says is true by the time it is sent.
    fn check_message(&self, node: &Node, process: &Process, envelope: &Envelope) {
        let (id, published) = (node.id, process.published);
        let leases = published.leader_lease_until.max(published.read_lease_until);
        assert!(
            published.epoch == envelope.epoch || leases <= node.clock.read(self.now),
            "{id} speaks in epoch {} while its readers hold a lease of {}",
            envelope.epoch,
            published.epoch
        );
        match &envelope.message {
            Message::Append(append) => {
                let (said, applied) = (append.high_watermark, process.applied);
                assert!(said <= applied, "{id} tells of {said} committed, but has applied {applied}");
            }
            Message::AppendAck(ack) => {
                let always = self.settings.flush == FlushPolicy::Always;
                let has = if always { node.disk.durable_end } else { node.disk.log_end() };
                assert!(ack.verified_end <= has, "{id} acknowledges {} of {has}", ack.verified_end);
                assert!(node.disk.epoch >= envelope.epoch, "{id} acknowledges in an epoch it may forget");
            }
            Message::RevokeAck { .. } | Message::Leave => {
                assert!(published.read_lease_until <= node.clock.read(self.now), "{id} gives up a lease its readers hold");
            }
            _ => (),
        }
    }

    /// Every intact in-sync replica holds everything committed, on disk if that is the policy.
    fn check_committed_is_held(&self, current: &Node) {
        for member in &self.metadata.record.in_sync {
            let node = if member.node == current.id { Some(current) } else { self.nodes.get(&member.node) };
            let Some(node) = node.filter(|node| node.keeps_promises_of(*member)) else { continue };
            assert!(self.oracle.is_held_by(&node.disk), "{member} is in sync and lacks what is committed");
            if self.settings.flush == FlushPolicy::Always {
                let (durable, committed) = (node.disk.durable_end, self.oracle.committed_end());
                assert!(durable >= committed, "{member} has flushed {durable} of {committed} committed");
            }
        }
    }

    fn send_log(
        &mut self,
        node: &Node,
        process: &mut Process,
        mut envelope: Envelope,
        from: Lsn,
        upto: Lsn,
        max_bytes: usize,
    ) {
        let batches = node.disk.read(from, upto, max_bytes);
        let end = batches.last().map_or(from, Batch::end);
        let to = envelope.to;
        let Message::Append(append) = &mut envelope.message else { panic!("only an append carries records") };
        assert_eq!(append.prev_end, from);
        append.batches = batches;
        self.check_message(node, process, &envelope);
        self.send(envelope);
        if end < upto {
            // Told before anything else, as the driver must.
            process.replica.step(node.clock.read(self.now), Event::SentLess { to, end });
        }
    }

    fn flushed(&mut self, id: NodeId, run: RunId, log_end: Lsn, truncations: u64, asked_at: u64) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if node.disk_hangs_until > self.now {
            let at = node.disk_hangs_until;
            return self.schedule(at, Happening::Flushed { node: id, run, log_end, truncations, asked_at });
        }
        if node.process.as_ref().is_some_and(|process| process.run == run) {
            node.disk.flush_to(log_end, truncations);
            self.step(id, Some(run), Event::Flushed { log_end, truncations });
        }
    }

    // ---- messages ------------------------------------------------------------------------------------------------------------

    pub(crate) fn send(&mut self, envelope: Envelope) {
        self.sent.push(envelope.clone());
        if self.sent.len() > 2000 {
            self.sent.drain(..1000);
        }
        let (from, to) = (envelope.from.node.0, envelope.to.0);
        match envelope.message {
            Message::Revoke { id } => self.note(format!("{from}: asks {to} to give up its lease, attempt {id}")),
            Message::RevokeAck { id } => self.note(format!("{from}: gives up its lease, attempt {id}")),
            _ => (),
        }
        match self.link(envelope.from.node, envelope.to) {
            Link::Cut => return,
            Link::Held => return self.held.push(envelope),
            Link::Up => (),
        }
        if self.chance(self.faults.drop) {
            return;
        }
        let delay = if self.chance(self.faults.delay) { self.around(ms(200)) } else { self.around(ms(1)) };
        if self.chance(self.faults.duplicate) {
            let again = self.around(ms(300));
            self.schedule(self.now + again, Happening::Deliver(envelope.clone()));
        }
        self.schedule(self.now + delay, Happening::Deliver(envelope));
    }

    pub(crate) fn deliver_now(&mut self, envelope: Envelope) {
        self.happen(Happening::Deliver(envelope));
    }

    pub(crate) fn link(&self, from: NodeId, to: NodeId) -> Link {
        self.links.get(&(from, to)).copied().unwrap_or(Link::Up)
    }

    pub(crate) fn set_link(&mut self, from: NodeId, to: NodeId, link: Link) {
        self.links.insert((from, to), link);
        if link == Link::Up {
            let (free, held) = std::mem::take(&mut self.held).into_iter().partition(|m| m.from.node == from && m.to == to);
            self.held = held;
            let free: Vec<Envelope> = free;
            for envelope in free {
                self.schedule(self.now, Happening::Deliver(envelope));
            }
        }
    }

    pub(crate) fn heal_links(&mut self) {
        let all: Vec<_> = self.links.keys().copied().collect();
        for (from, to) in all {
            self.set_link(from, to, Link::Up);
        }
    }

    // ---- the metadata store --------------------------------------------------------------------------------------------------

    fn ask_metadata(&mut self, asker: Asker, id: RequestId, request: MetadataRequest) {
        let fate = self.fate_of(&request);
        if let MetadataRequest::ChangeGroup(change) = &request {
            let who = match asker {
                Asker::Replica { node, .. } => node.0.to_string(),
                Asker::Controller => "controller".to_owned(),
            };
            self.note(format!("{who}: proposes {}", describe(&change.record)));
        }
        let soon = self.now + self.around(ms(2));
        let timeout = self.now + METADATA_TIMEOUT;
        let unknown = if matches!(request, MetadataRequest::ReadGroup) {
            MetadataOutcome::Failed
        } else {
            MetadataOutcome::Unknown
        };
        let (execute_at, answer, outcome) = match fate {
            Fate::Done => (Some(soon), true, None),
            Fate::ReplyLost => (Some(soon), false, Some((timeout, unknown))),
            Fate::RequestLost => (None, false, Some((timeout, unknown))),
            Fate::Refused => (None, false, Some((soon, MetadataOutcome::Failed))),
            Fate::Late => {
                let late = self.next_late_by.take().unwrap_or_else(|| self.around(ms(1500)));
                (Some(timeout + late), false, Some((timeout, unknown)))
            }
        };
        if let Some((at, outcome)) = outcome {
            self.answer(at, asker, id, outcome);
        }
        if let Some(at) = execute_at {
            self.schedule(at, Happening::Execute { asker, id, request, answer });
        }
    }

    fn fate_of(&mut self, request: &MetadataRequest) -> Fate {
        if self.metadata_down {
            return Fate::RequestLost;
        }
        if self.chance(self.faults.metadata) {
            let rng = self.rng.as_mut().unwrap();
            return *rng.pick(&[Fate::ReplyLost, Fate::RequestLost, Fate::Refused, Fate::Late]).unwrap();
        }
        match request {
            MetadataRequest::ReadGroup => Fate::Done,
            MetadataRequest::ChangeGroup(_) => std::mem::replace(&mut self.fate, Fate::Done),
        }
    }

    fn answer(&mut self, at: u64, asker: Asker, id: RequestId, outcome: MetadataOutcome) {
        let happening = match asker {
            Asker::Replica { node, run } => Happening::Told { node, run, event: Event::Metadata { id, outcome } },
            Asker::Controller => Happening::ControllerTold(ControllerEvent::Metadata { id, outcome }),
        };
        self.schedule(at, happening);
    }

    fn execute(&mut self, asker: Asker, id: RequestId, request: &MetadataRequest, answer: bool) {
        let outcome = match request {
            MetadataRequest::ReadGroup => MetadataOutcome::Read(Some(self.metadata.read())),
            MetadataRequest::ChangeGroup(change) => {
                let outcome = self.metadata.change(change);
                if matches!(outcome, MetadataOutcome::Succeeded { .. }) {
                    self.note(format!("metadata: {}", describe(&self.metadata.record)));
                    self.check_in_sync_holds_committed();
                    self.publish_record();
                } else {
                    self.note("metadata: lost".to_owned());
                }
                outcome
            }
        };
        if answer {
            let at = self.now + self.around(ms(1));
            self.answer(at, asker, id, outcome);
        }
    }

    /// Somebody with the right to do so elects a node, whatever others believe.
    pub(crate) fn elect(&mut self, id: NodeId) {
        self.metadata.elect(id);
        self.note(format!("metadata: {}", describe(&self.metadata.record)));
        self.publish_record();
        if let (Some(run), false) = (self.run_of(id), self.watch_works) {
            let (record, revision) = self.metadata.read();
            let event = Event::RecordSeen { record, revision };
            self.schedule(self.now + ms(2), Happening::Told { node: id, run, event });
        }
    }

    /// The store is restored from a backup taken before the last election.
    pub(crate) fn regress(&mut self) {
        self.metadata.regress();
        self.note(format!("metadata: {}", describe(&self.metadata.record)));
        self.publish_record();
    }

    fn check_in_sync_holds_committed(&self) {
        for member in &self.metadata.record.in_sync {
            let node = self.nodes.get(&member.node).filter(|node| node.keeps_promises_of(*member));
            if let Some(node) = node.filter(|_| self.metadata.is_intact(*member)) {
                assert!(self.oracle.is_held_by(&node.disk), "{member} is put in sync and lacks what is committed");
            }
        }
    }

    /// Everybody's watch sees the record; some see it late or not at all.
    fn publish_record(&mut self) {
        let (record, revision) = self.metadata.read();
        for (node, run) in self.running() {
            if self.metadata_down || !self.watch_works || self.chance(self.faults.stale_hints) {
                continue;
            }
            let at = self.now + self.around(ms(2));
            let event = Event::RecordSeen { record: record.clone(), revision };
            self.schedule(at, Happening::Told { node, run, event });
        }
        let at = self.now + self.around(ms(2));
        let event = ControllerEvent::RecordSeen { group: GROUP, record: Some(record), revision };
        self.schedule(at, Happening::ControllerTold(event));
    }

    fn publish_nodes(&mut self) {
        let facts = self.metadata.facts();
        for (node, run) in self.running() {
            if self.metadata_down || !self.watch_works || self.chance(self.faults.stale_hints) {
                continue;
            }
            let at = self.now + self.around(ms(2));
            self.schedule(at, Happening::Told { node, run, event: Event::NodesSeen(facts.clone()) });
        }
        let at = self.now + self.around(ms(2));
        self.schedule(at, Happening::ControllerTold(ControllerEvent::NodesSeen(facts)));
    }

    fn running(&self) -> Vec<(NodeId, RunId)> {
        self.nodes.values().filter_map(|node| Some((node.id, node.process.as_ref()?.run))).collect()
    }

    fn tell_controller(&mut self, event: ControllerEvent) {
        let Some(controller) = self.controller.as_mut() else { return };
        controller.step(simplekv_types::Tick(self.now), event);
        let effects: Vec<ControllerEffect> = std::iter::from_fn(|| controller.next_effect()).collect();
        for effect in effects {
            match effect {
                ControllerEffect::ChangeGroup { id, change, .. } => {
                    self.ask_metadata(Asker::Controller, id, MetadataRequest::ChangeGroup(change));
                }
                ControllerEffect::TransferEnded { outcome, .. } => self.note(format!("controller: transfer {outcome:?}")),
            }
        }
    }

    // ---- processes -----------------------------------------------------------------------------------------------------------

    /// Starts a node's process, as the server does: decide who it is, register, then take part.
    pub(crate) fn start(&mut self, id: NodeId, fresh: bool) {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.process.is_none()) else { return };
        let registration = self.metadata.registrations.get(&id);
        let facts = StartFacts { boot_id: node.boots.to_string(), corrupt: false, poison_file: false };
        let decision = resume_or_renew(Some(&node.disk.identity), registration, &facts);
        if let Decision::Renew(reason) = decision
            && !fresh
        {
            self.next_storage += 1;
            node.disk.identity.storage = StorageId(self.next_storage << 96);
            node.disk.lossy = false;
            self.trace.push(format!("{}: another incarnation ({reason:?})", id.0));
        }
        node.disk.identity.next_nonce += 1;
        let (storage, nonce) = (node.disk.identity.storage, node.disk.identity.next_nonce);
        let run = self.metadata.register(id, storage, nonce, self.settings.flush);
        node.disk.identity.run = Some(run);
        node.disk.identity.boot_id = node.boots.to_string();
        node.disk.restart();
        let config = Config {
            cluster: CLUSTER,
            group: GROUP,
            identity: Sender { node: id, storage, run },
            flush: self.settings.flush,
            timing: Timing::default(),
            window: self.settings.window,
            grant_read_leases: self.settings.grant_read_leases,
        };
        let recovered = node.disk.recovered();
        let applied = recovered.high_watermark;
        let replica = Replica::new(node.clock.read(self.now), config, recovered);
        let published = replica.serving();
        node.process = Some(Process { run, replica, published, applied, waiting: Vec::new(), wake_at: None, stopping: false });
        let (record, revision) = self.metadata.read();
        let facts = self.metadata.facts();
        self.step(id, Some(run), Event::NodesSeen(facts));
        self.step(id, Some(run), Event::RecordSeen { record, revision });
        self.publish_nodes();
    }

    /// Kills a node's process. The page cache lives on.
    pub(crate) fn crash(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.paused_until = 0;
        let Some(process) = node.process.take() else { return };
        let ttl = self.around(ms(3000));
        self.schedule(self.now + ttl, Happening::SessionEnds { node: id, run: process.run });
    }

    /// Takes the power from a node: what was not flushed is gone.
    pub(crate) fn lose_power(&mut self, id: NodeId) {
        self.crash(id);
        if let Some(node) = self.nodes.get_mut(&id) {
            node.boots += 1;
            node.disk.lose_power();
            node.disk.lossy |= self.settings.flush != FlushPolicy::Always;
        }
    }

    /// Replaces a node's disk by an empty one.
    pub(crate) fn wipe(&mut self, id: NodeId) {
        self.crash(id);
        let flush = self.settings.flush;
        self.next_storage += 1;
        let storage = StorageId(self.next_storage << 96);
        if let Some(node) = self.nodes.get_mut(&id) {
            node.disk = Disk::new(storage, flush, node.boots);
        }
    }

    /// A disk that lies: records it has acknowledged as flushed are gone after the next start, and it does not say so.
    pub(crate) fn forget_tail(&mut self, id: NodeId, records: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            let end = node.disk.log_end() - Lsn(records);
            node.disk.truncate(Lsn(end));
            node.disk.lossy = true;
        }
    }

    /// What every message carries.
    pub(crate) fn address(&self) -> (ClusterId, GroupId, Lineage) {
        (CLUSTER, GROUP, Lineage(0))
    }

    /// Stops a process for a while, as a long page fault does.
    pub(crate) fn pause(&mut self, id: NodeId, duration: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.paused_until = self.now + duration;
            let at = node.paused_until;
            self.schedule(at, Happening::Resume { node: id });
        }
    }

    /// Whether somebody in sync still holds everything, so that the group must go on once all is well.
    pub(crate) fn is_recoverable(&self) -> bool {
        self.intact_members().next().is_some()
    }

    /// In-sync members whose disks keep their promises.
    pub(crate) fn intact_members(&self) -> impl Iterator<Item = Member> {
        let keeps = |member: &&Member| self.nodes.get(&member.node).is_some_and(|node| node.keeps_promises_of(**member));
        self.metadata.record.in_sync.iter().filter(keeps).copied()
    }

    /// Asks whoever leads to hand over.
    pub(crate) fn transfer(&mut self, from: NodeId, to: Option<NodeId>) {
        let run = self.run_of(from);
        self.step(from, run, Event::Transfer { to });
    }

    /// Tells a process that it will be ended.
    pub(crate) fn stop(&mut self, id: NodeId) {
        let run = self.run_of(id);
        if let Some(process) = self.nodes.get_mut(&id).and_then(|node| node.process.as_mut()) {
            process.stopping = true;
        }
        self.step(id, run, Event::Stop);
    }

    pub(crate) fn is_stopping(&self, id: NodeId) -> bool {
        self.process(id).is_some_and(|process| process.stopping)
    }

    /// Flushes and probes of a node do not complete for a while.
    pub(crate) fn hang_disk(&mut self, id: NodeId, duration: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.disk_hangs_until = self.now + duration;
        }
    }

    /// Whether all logs are the same and applied.
    pub(crate) fn has_converged(&self) -> bool {
        let committed = self.oracle.committed_end();
        self.nodes.values().all(|node| {
            let applied = node.process.as_ref().is_some_and(|process| process.applied == committed);
            applied && node.disk.log_end() == committed && self.oracle.is_held_by(&node.disk)
        })
    }

    // ---- clients -------------------------------------------------------------------------------------------------------------

    /// Writes at a node; the number of the write if it was appended.
    pub(crate) fn write(&mut self, id: NodeId, records: u32) -> Result<u64, Refusal> {
        let Some(node) = self.nodes.get(&id).filter(|node| node.paused_until <= self.now) else {
            return Err(Refusal::NotLeader { leader: None, epoch: Epoch::ZERO });
        };
        let wall = self.wall(node);
        let run = self.run_of(id);
        let write = self.next_write;
        let mut admitted = Err(Refusal::NotLeader { leader: None, epoch: Epoch::ZERO });
        self.next_write += 1;
        let Some(mut node) = self.nodes.remove(&id) else { return admitted.map(|_: ()| 0) };
        if let Some(process) = node.process.as_mut() {
            let now = node.clock.read(self.now);
            admitted = process.replica.admit(now, wall).map(|admission| {
                let header = admission.header(records);
                process.waiting.push((header.end(), write));
                process.replica.step(now, Event::Proposed(header));
            });
        }
        self.nodes.insert(id, node);
        self.drive(id, run, |_, _| ());
        admitted.map(|()| write)
    }

    // ---- checks --------------------------------------------------------------------------------------------------------------

    /// After each step of a node, everything that must hold in the group.
    fn check(&mut self, id: NodeId) {
        self.check_read(id);
        let Some(node) = self.nodes.get(&id) else { return };
        let Some(process) = node.process.as_ref() else { return };
        let status = process.replica.status();
        assert_eq!(status.log_end, node.disk.log_end(), "{id}: the replica and its log disagree");
        if status.role == Role::Leader {
            if status.gate_open {
                self.oracle.greatest_open = self.oracle.greatest_open.max(status.epoch);
            }
            if status.epoch == self.metadata.record.epoch {
                let required: BTreeSet<Member> = status.required_acks.iter().copied().collect();
                let listed = &self.metadata.record.in_sync;
                assert!(listed.iter().all(|member| required.contains(member)), "{id} does not wait for all of {listed:?}");
            }
            // A leader that was replaced without knowing is left behind, and none the worse for it.
            if status.activated && status.epoch >= self.oracle.committed_epoch() {
                assert!(self.oracle.is_held_by(&node.disk), "{id} leads epoch {} and lacks what is committed", status.epoch);
            }
        }
        self.check_verified(node, &status);
    }

    /// What a follower calls verified equals its leader's log.
    fn check_verified(&self, node: &Node, status: &simplekv_cluster::Status) {
        let leader = status.leader.and_then(|leader| self.nodes.get(&leader)).filter(|leader| leader.id != node.id);
        let Some(leader) = leader else { return };
        let leads = leader.process.as_ref().is_some_and(|process| {
            let serving = process.replica.serving();
            serving.role == Role::Leader && serving.epoch == status.epoch
        });
        let end = status.verified_end;
        if leads && end > Lsn::ZERO && status.role == Role::Follower {
            let is = |disk: &Disk| disk.batch_ending(end).map(|batch| (batch.epoch, content(batch)));
            assert!(is(&node.disk).is_some() && is(&node.disk) == is(&leader.disk), "{} verified {end} wrongly", node.id);
        }
    }

    /// A linearizable read right now, if the node may answer one.
    fn check_read(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get(&id) else { return };
        let Some(process) = node.process.as_ref().filter(|_| node.paused_until <= self.now) else { return };
        let (now, serving) = (node.clock.read(self.now), process.published);
        if !serving.may_answer(now, serving.generation) {
            return;
        }
        self.lease_reads += 1;
        let committed = self.oracle.committed_end();
        if now < serving.leader_lease_until {
            assert!(process.applied >= committed, "{id} reads at {} of {committed} committed under its lease", process.applied);
            assert!(serving.epoch >= self.oracle.greatest_open, "{id} holds the lease of {} beside a later gate", serving.epoch);
        } else {
            assert!(self.oracle.is_held_by(&node.disk), "{id} reads under a lease and lacks what is committed");
            let member = Member { node: id, storage: node.disk.identity.storage };
            let record = &self.metadata.record;
            assert!(record.is_in_sync(member) || record.epoch > serving.epoch, "{id} holds a lease out of sync");
        }
    }
}

impl Happening {
    /// The node whose process this happens to.
    fn node(&self) -> Option<NodeId> {
        match self {
            Self::Deliver(envelope) => Some(envelope.to),
            Self::Wake { node, .. } | Self::Told { node, .. } | Self::Flushed { node, .. } | Self::Resume { node } => {
                Some(*node)
            }
            Self::Execute { .. } | Self::SessionEnds { .. } | Self::Relist | Self::ControllerTold(_) => None,
        }
    }
}

fn describe(record: &GroupRecord) -> String {
    let members = |members: &[Member]| {
        let each: Vec<String> = members.iter().map(|member| name(*member)).collect();
        format!("({})", each.join(","))
    };
    let leader = record.leader.map_or("nobody".to_owned(), |leader| leader.node.0.to_string());
    let fence = members(&record.fence);
    format!("epoch={} leader={leader} in_sync={} fence={fence}", record.epoch, members(&record.in_sync))
}

/// A member as the stories call it: its node, with a mark for each disk after the first.
pub(crate) fn name(member: Member) -> String {
    let first = member.storage.0 >> 96 == u128::from(member.node.0);
    format!("{}{}", member.node.0, if first { "" } else { "'" })
}
