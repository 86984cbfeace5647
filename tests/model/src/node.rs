//! One node: a directory, and the process that drives its replica.

use std::collections::VecDeque;
use std::time::Duration;

use simplekv_cluster::{
    Appending, Config, Effect, Event, MetadataOutcome, MetadataRequest, Replica, Role, Serving, Status, Timing, Window,
};
use simplekv_types::peer::{Envelope, Message, Sender};
use simplekv_types::{ClusterId, FlushPolicy, GroupTime, Lsn, Member, NodeId, Revision, RunId, Tick};

use crate::bounds::Bounds;
use crate::disk::{Disk, index};
use crate::history::Breach;
use crate::state::{Request, Surroundings};

const CLUSTER: ClusterId = ClusterId(1);
pub(crate) const GROUP: simplekv_types::GroupId = simplekv_types::GroupId(1);
/// How long leases are, and how often time passes: a lease ends with the millisecond it began in, unless it is renewed.
pub(crate) const LEASE_MS: u64 = 1;
/// Longer than a model runs: what waits for this never happens, and is done by an action if at all.
const NEVER: Duration = Duration::from_secs(3600);

/// Nothing here depends on what time it is.
const WALL: GroupTime = GroupTime(1);

/// A node with its only process: one that has ended and was not started again is one that nothing arrives at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) run: RunId,
    pub(crate) disk: Disk,
    replica: Replica,
    pub(crate) status: Status,
    pub(crate) serving: Serving,
    /// First LSN not applied.
    pub(crate) applied: Lsn,
    /// Writes whose clients wait, with the end of their batch.
    waiting: Vec<(Lsn, u8)>,
    /// What it was told last: the revision of the record, and that of the newest registration.
    pub(crate) seen: (Revision, Revision),
}

/// What its driver has still to tell a replica in this step.
type Inbox = VecDeque<Event>;

/// Clocks of different nodes have nothing in common but their rate.
pub(crate) fn clock(node: NodeId, now: u8) -> Tick {
    Tick::from_millis(u64::from(node.0) * 1_000_000 + u64::from(now))
}

fn config(identity: Sender, bounds: &Bounds) -> Config {
    let timing = Timing {
        heartbeat: Duration::from_millis(LEASE_MS),
        lag_time: Duration::from_micros(bounds.lag_us),
        suspect_after: NEVER,
        suspect_interval: NEVER,
        candidate_stagger: NEVER,
        read_lease: Duration::from_millis(LEASE_MS),
        drift_ppm: 0,
        lease_margin: Duration::ZERO,
        probe_interval: NEVER,
        probe_limit: NEVER,
        activation_limit: NEVER,
        transfer_limit: NEVER,
        metadata_retry: Duration::from_millis(1),
        flush_interval: NEVER,
        session_ttl: NEVER,
        inspect_interval: NEVER,
    };
    Config {
        cluster: CLUSTER,
        group: GROUP,
        identity,
        flush: FlushPolicy::Replicated,
        timing,
        window: Window::default(),
        grant_read_leases: true,
    }
}

impl Node {
    /// A process begins on what it finds.
    pub(crate) fn start(id: NodeId, run: RunId, mut disk: Disk, now: u8, bounds: &Bounds) -> Self {
        disk.truncations = 0;
        let identity = Sender { node: id, storage: disk.storage, run };
        let replica = Replica::new(clock(id, now), config(identity, bounds), disk.recovered());
        let (status, serving) = (replica.status(), replica.serving());
        let applied = status.high_watermark;
        let (waiting, seen) = (Vec::new(), (Revision(0), Revision(0)));
        Self { id, run, disk, replica, status, serving, applied, waiting, seen }
    }

    pub(crate) fn member(&self) -> Member {
        Member { node: self.id, storage: self.disk.storage }
    }

    /// Whether time alone has given it something to do.
    pub(crate) fn is_due(&self, now: u8) -> bool {
        self.replica.next_deadline().is_some_and(|at| at <= clock(self.id, now))
    }

    /// Something happens to the replica.
    pub(crate) fn step(&mut self, around: &mut Surroundings<'_>, event: Event) {
        let mut inbox = Inbox::from([event]);
        while let Some(event) = inbox.pop_front() {
            self.replica.step(clock(self.id, around.now), event);
            while let Some(effect) = self.replica.next_effect() {
                self.execute(around, effect, &mut inbox);
            }
        }
        self.status = self.replica.status();
        self.serving = self.replica.serving();
        if self.replica.halted().is_some() {
            around.history.breach(Breach::Halted);
        }
    }

    /// A client writes. Returns whether the write was admitted.
    pub(crate) fn write(&mut self, around: &mut Surroundings<'_>, write: u8) -> bool {
        let Ok(admission) = self.replica.admit(clock(self.id, around.now), WALL) else { return false };
        let header = admission.header(1);
        self.waiting.push((header.end(), write));
        self.step(around, Event::Proposed(header));
        true
    }

    fn execute(&mut self, around: &mut Surroundings<'_>, effect: Effect, inbox: &mut Inbox) {
        match effect {
            Effect::PersistEpoch { epoch, .. } => {
                self.disk.epoch = self.disk.epoch.max(epoch);
                inbox.push_back(Event::EpochPersisted { epoch, wall: WALL });
            }
            Effect::Truncate { log_end } => {
                let dropped = self.disk.truncate(log_end);
                around.history.drop_records(&dropped);
            }
            Effect::Append(appending) => self.append(appending),
            Effect::Apply { high_watermark } => self.apply(around, high_watermark),
            Effect::Send(envelope) => around.network.send(envelope, around.bounds.room),
            Effect::SendLog { envelope, from, upto, .. } => self.send_log(around, envelope, from, upto),
            Effect::Metadata { id, request: MetadataRequest::ReadGroup } => {
                let outcome = MetadataOutcome::Read(Some(around.store.read()));
                inbox.push_back(Event::Metadata { id, outcome });
            }
            Effect::Metadata { id, request: MetadataRequest::ChangeGroup(change) } => {
                around.requests.push(Request { node: self.id, run: self.run, id, change: *change, awaited: true });
            }
            Effect::Probe { id } => inbox.push_back(Event::Probed { id }),
            Effect::RoleChanged { epoch, role, .. } => {
                self.waiting.clear();
                if role == Role::Leader {
                    around.history.lead(epoch, self.id, self.run);
                }
            }
            // The state after the step is all that a reader sees of it, and what was written is on disk.
            Effect::WithdrawLeases | Effect::Flush { .. } => (),
            // Elections come from the model, and nobody is asked to hand over or to stop.
            Effect::RequestElection { .. } | Effect::TransferEnded(_) | Effect::ReadyToStop => (),
            Effect::FetchSnapshot { .. } | Effect::Rebuild { .. } => panic!("every log is whole, in one lineage"),
            Effect::Alarm(_) => (),
        }
    }

    fn append(&mut self, appending: Appending) {
        match appending {
            Appending::Proposed(header) => {
                let (_, write) = *self.waiting.last().expect("a client waits for what is proposed");
                self.disk.append(header.with_records(vec![write].into()));
            }
            Appending::EpochStart(header) => self.disk.append(header.with_records(bytes::Bytes::new())),
            Appending::Received(batches) => batches.into_iter().for_each(|batch| self.disk.append(batch)),
        }
    }

    fn apply(&mut self, around: &mut Surroundings<'_>, high_watermark: Lsn) {
        for (place, entry) in self.disk.entries().enumerate().take(index(high_watermark)).skip(index(self.applied)) {
            around.history.commit(place, entry);
        }
        self.applied = high_watermark;
        let status = self.replica.status();
        if status.role == Role::Follower && status.verified_end < high_watermark {
            around.history.breach(Breach::Unverified);
        }
        let answered = self.waiting.iter().filter(|(end, _)| *end <= high_watermark);
        answered.for_each(|(_, write)| around.history.acknowledge(*write));
        self.waiting.retain(|(end, _)| *end > high_watermark);
    }

    fn send_log(&self, around: &mut Surroundings<'_>, mut envelope: Envelope, from: Lsn, upto: Lsn) {
        let Message::Append(append) = &mut envelope.message else { panic!("only an append carries records") };
        append.batches = self.disk.read(from, upto);
        around.network.send(envelope, around.bounds.room);
    }
}
