//! One replica of one group, joined together: the protocol, the log, and what commands do to data.
//!
//! Synchronous and without a clock, a socket or a task of its own. Whoever drives it hands in writes ([`Group::submit`]) and events
//! ([`Group::step`]), then takes all [`Output`]s and starts them. The log is written inside these calls; everything that would have to
//! be waited for leaves as an output and comes back as an event. The server's task and the simulator drive the same code.

use std::collections::VecDeque;
use std::sync::Arc;

use simplekv_cluster::migration::{MoveTiming, Step, StepKind};
use simplekv_cluster::{Admission, Alarm, Dedupe, Event, MetadataRequest, Replica, RequestId, Role, TransferOutcome};
use simplekv_engine::{BatchBuilder, BatchStart, Engine, FlushError, Reader};
use simplekv_resp::Command;
use simplekv_types::peer::Envelope;
use simplekv_types::{
    ClientId, Epoch, GroupId, GroupTime, Lineage, Lsn, Member, MigrationId, NodeId, Slot, SlotMap, SlotMapVersion, Tick,
};

use crate::history::History;
use crate::hosted::Published;
use crate::prefetch::prefetch;
use crate::serving::Begun;
use crate::view::AppliedView;

mod batches;
mod drafts;
mod effects;
mod evaluate;
mod failure;
mod holding;
mod moving;
mod reading;
mod reaping;
mod replayed;
mod report;
mod rest;
mod slot_set;
mod slots;
mod spread;
mod tracked;
mod turn;
mod waiting;

pub use moving::MoveOutput;
pub use moving::reading::{MoveRead, MoveReadError};
pub(crate) use moving::reading::{each_record, leaving};
pub use reading::{Held, Looked, Proof, Terms, Wanted, hold_still};
pub use replayed::{ReplayError, Replayed, recovered};
pub use report::{MoveReport, Report};
pub use slot_set::SlotSet;
pub use slots::{OwnedSlots, Ownership};
pub use spread::{Spread, can_tell};
pub use waiting::{Answer, Respond};

use drafts::Drafts;
use failure::Failed;
use holding::Holding;
use moving::Moving;
use reaping::Reaping;
use rest::Rest;
use tracked::Tracked;
use waiting::{Outcome, Waiting};

/// The clocks as the driver reads them.
pub trait Clock {
    /// The node's own clock, which never stops or falls.
    fn now(&self) -> Tick;
    /// The wall clock, in milliseconds since the Unix epoch.
    fn wall(&self) -> GroupTime;
}

/// Commands that are executed in one turn, one after the other, and answered together.
#[derive(Debug)]
pub struct Submission<R> {
    /// The commands. Keys of other groups are the submitter's mistake.
    pub requests: Vec<GroupRequest>,
    /// Who is told.
    pub respond: R,
}

/// One command for a group's leader.
#[derive(Clone, Debug)]
pub struct GroupRequest {
    /// What to do.
    pub command: Command,
    /// What makes a retry of it harmless.
    pub dedupe: Option<(ClientId, simplekv_types::Dedupe)>,
    /// A read that trusts no clock: it is answered when a record appended after it was asked is committed.
    pub barrier: bool,
    /// The connection that asks, if it does not want to hear of what it changes itself.
    pub origin: Option<u64>,
}

/// Something to be started outside.
#[derive(Debug)]
pub enum Output {
    /// Send to a peer; may be lost.
    Send(Envelope),
    /// Flush the log, then step [`Event::Flushed`] with the newest of these.
    Flush {
        /// To be repeated.
        log_end: Lsn,
        /// To be repeated.
        truncations: u64,
    },
    /// Step [`Event::Probed`] once the way to the disk has proved open.
    Probe {
        /// To be repeated.
        id: u64,
    },
    /// Ask the metadata store, then step [`Event::Metadata`].
    Metadata {
        /// To be repeated.
        id: RequestId,
        /// What to ask.
        request: MetadataRequest,
    },
    /// Read the slot map linearizably, then call [`Group::slots_read`].
    ReadSlots,
    /// Tell the controller that this leader wants to be replaced.
    RequestElection {
        /// The epoch to be ended.
        epoch: Epoch,
        /// In-sync replicas it cannot hear.
        unheard: Vec<Member>,
    },
    /// The replica has no part in the group's history any more: its files are to be put away, and a new one begun with this lineage.
    Rebuild {
        /// The group's history now.
        lineage: Lineage,
    },
    /// Something that a move of slots wants.
    Move(MoveOutput),
    /// A transfer asked for has ended.
    TransferEnded(TransferOutcome),
    /// The replica has handed over what it could: the process may end.
    ReadyToStop,
    /// For the log.
    Alarm(Alarm),
    /// For the log.
    RoleChanged {
        /// The epoch.
        epoch: Epoch,
        /// The new role.
        role: Role,
        /// Who leads, if that is known.
        leader: Option<NodeId>,
    },
    /// The replica cannot go on: the node must end.
    Failed {
        /// What failed.
        what: String,
        /// Whether the node must stop trusting its storage.
        distrust: bool,
    },
}

/// One replica of one group.
#[derive(Debug)]
pub struct Group<R> {
    id: GroupId,
    replica: Replica,
    engine: Engine,
    reader: Reader,
    dedupe: Dedupe,
    builder: BatchBuilder,
    drafts: Drafts,
    value_bytes_max: usize,
    /// The batch the builder is filling.
    open: Option<Admission>,
    published: Arc<Published>,
    slots: OwnedSlots,
    reading_slots: bool,
    /// What was published last of them.
    ownership: Arc<Ownership>,
    moving: Moving,
    /// The slot map as the node knows it, which may be old.
    map: (Arc<SlotMap>, SlotMapVersion),
    holding: Holding<R>,
    /// Invariant: in the order of `until`.
    waiting: VecDeque<Waiting<R>>,
    /// How many have to wait before those that nobody wants any more are dropped.
    look_for_unwanted: usize,
    /// Who is told once everything below an LSN is applied.
    awaiting: Vec<(Lsn, R)>,
    /// The history published last.
    history: Arc<History>,
    /// Ends and sizes of the batches proposed here and not applied yet.
    uncommitted: VecDeque<(Lsn, usize)>,
    uncommitted_bytes: usize,
    /// Events that answer effects which were executed on the spot.
    followups: VecDeque<Followup>,
    outputs: VecDeque<Output>,
    /// When the next due key asks for a tick; `None` while there is none or another replica leads.
    expiry: Option<Tick>,
    rest: Rest,
    reaping: Reaping,
    tracked: Tracked,
    failed: bool,
    /// What is committed and, by a broken rule, not applied at once.
    put_off: Option<Lsn>,
}

#[derive(Debug)]
enum Followup {
    EpochPersisted(Epoch),
    SentLess { to: NodeId, end: Lsn },
}

/// Uncommitted bytes beyond which a leader refuses further writes.
const UNCOMMITTED_BYTES_MAX: usize = 64 << 20;
/// So many submissions may wait before those that nobody waits for any more are looked for.
const WAITING_MIN: usize = 1024;

impl<R: Respond> Group<R> {
    /// A replica on what its engine recovered.
    ///
    /// `replayed` has seen every record of the log.
    #[must_use]
    pub fn new(
        id: GroupId,
        replica: Replica,
        engine: Engine,
        replayed: Replayed,
        published: Arc<Published>,
        value_bytes_max: usize,
    ) -> Self {
        let start = BatchStart {
            lineage: Lineage(0),
            epoch: Epoch::ZERO,
            base: Lsn::ZERO,
            time: GroupTime::ZERO,
            high_watermark: Lsn::ZERO,
        };
        let Replayed { mut dedupe, mut slots, .. } = replayed;
        dedupe.apply_to(engine.applied(), engine.applied_time());
        slots.apply_to(engine.applied()).expect("what follows when it is appended follows when it is applied");
        let ownership = Arc::new(Ownership::new(&slots, replica.serving().lineage));
        published.owned.store(Arc::clone(&ownership));
        let history = Arc::new(History::new(replica.serving().lineage, slots.version(), replica.epochs()));
        published.history.store(Arc::clone(&history));
        let tracked = Tracked::new(Arc::clone(&published.tracking));
        Self {
            id,
            reader: engine.reader(),
            replica,
            engine,
            dedupe,
            builder: BatchBuilder::new(start, value_bytes_max),
            drafts: Drafts::default(),
            value_bytes_max,
            open: None,
            published,
            slots,
            reading_slots: false,
            ownership,
            moving: Moving::new(id, MoveTiming::default()),
            map: Default::default(),
            holding: Holding::default(),
            waiting: VecDeque::new(),
            look_for_unwanted: WAITING_MIN,
            awaiting: Vec::new(),
            history,
            uncommitted: VecDeque::new(),
            uncommitted_bytes: 0,
            followups: VecDeque::new(),
            outputs: VecDeque::new(),
            expiry: None,
            rest: Rest::default(),
            reaping: Reaping::default(),
            tracked,
            failed: false,
            put_off: None,
        }
    }

    /// The next thing to start outside; `None` when there is nothing more.
    pub fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The protocol's part of it.
    #[must_use]
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// The storage's part of it.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// When [`Group::tick`] is next needed.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        let own = [
            self.expiry,
            self.rest.at,
            self.reaping.at,
            self.moving.next_deadline(),
            self.holding.next_deadline(),
            self.tracked.deadline(),
        ];
        self.replica.next_deadline().into_iter().chain(own.into_iter().flatten()).min()
    }

    /// Flushes everything and says so in the log. The end of the replica's life in this process; tells where its log ends.
    ///
    /// # Errors
    /// What was written may not be on disk.
    pub fn close(self) -> Result<Lsn, FlushError> {
        let log_end = self.engine.log_end();
        self.engine.close().map(|()| log_end)
    }

    /// Something happened.
    pub fn step(&mut self, clock: &impl Clock, event: Event) {
        match event {
            // What was to become durable may not have: whatever the replica makes of it, the node must know.
            Event::StorageFailed => self.fail(clock, Failed::storage("the log cannot be flushed")),
            event => self.step_replica(clock, event),
        }
        self.settle(clock);
    }

    /// Time has passed.
    pub fn tick(&mut self, clock: &impl Clock) {
        let now = clock.now();
        if self.replica.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.step_replica(clock, Event::Tick);
        }
        if self.expiry.is_some_and(|due| due <= now) {
            self.expiry = None;
            self.append_tick(clock);
        }
        self.look_after_rest(clock, now);
        self.reap(now);
        self.tracked.tick(now);
        self.settle(clock);
    }

    /// One turn of the writer: everything that waited is evaluated in order, written together, and answered once it is committed.
    pub fn submit(&mut self, clock: &impl Clock, submissions: impl IntoIterator<Item = Submission<R>>) {
        for Submission { requests, respond } in submissions {
            self.prefetch(&requests);
            let outcomes: Vec<Outcome> = requests.iter().map(|request| self.execute(clock, request)).collect();
            if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Held)) {
                self.hold(clock, requests, outcomes, respond);
            } else {
                self.answer_when_committed(clock, outcomes, respond);
            }
        }
        self.close_batch(clock);
        self.forget_unwanted();
        self.settle(clock);
    }

    /// Everything of a submission is executed.
    fn answer_when_committed(&mut self, clock: &impl Clock, outcomes: Vec<Outcome>, respond: R) {
        let own = outcomes.iter().map(Outcome::until).max().unwrap_or(Lsn::ZERO);
        // Never before an earlier submission: the queue is in the order of `until`. One with nothing to wait for does not
        // join it: a refusal that says "nothing was done" is of no use after the caller's patience has ended.
        let until = self.waiting.back().map_or(own, |last| own.max(last.until));
        let waiting = Waiting { until, outcomes, respond };
        if own <= self.engine.applied() {
            self.answer(clock, waiting);
        } else {
            self.waiting.push_back(waiting);
        }
    }

    /// Has the processor fetch what these commands will look at.
    fn prefetch(&self, requests: &[GroupRequest]) {
        if requests.len() > 1 {
            let view = AppliedView::new(self.reader.guard(), self.id, self.slots.writable());
            let slot = |command: &Command| command.keys().next().map_or(Slot::MIN, |key| Slot::of_key(key));
            prefetch(&view, requests.iter().map(|request| (slot(&request.command), &request.command)));
        }
    }

    /// Responds, without answers, once everything below `end` is applied: whoever waits reads for itself. Never if that does not happen.
    pub fn when_applied(&mut self, end: Lsn, respond: R) {
        if end <= self.engine.applied() {
            return respond.respond(Vec::new());
        }
        // Those who gave up go first: their patience is short, and what they wait for may never come.
        self.awaiting.retain(|(_, respond)| respond.is_wanted());
        self.awaiting.push((end, respond));
    }

    /// The slot map as read linearizably after [`Output::ReadSlots`]; `None` if it could not be read.
    ///
    /// Only the first leader of a group's life records what the slot map gave it when it was created. Whatever slots come later come
    /// by a move, whose own records say so.
    pub fn slots_read(&mut self, clock: &impl Clock, slots: Option<(&SlotMap, SlotMapVersion)>) {
        self.reading_slots = false;
        if let Some((slots, version)) = slots
            && self.slots.is_unrecorded()
            && self.open_batch(clock).is_ok()
        {
            let (migration, slots) = (MigrationId::FOUNDING, slots.ranges_of(self.id).collect());
            let step = Step { migration, slots, kind: StepKind::Own { version } };
            self.push_step(step).expect("at most 16384 ranges fit a record");
            self.close_batch(clock);
        }
        self.settle(clock);
    }

    /// The slot map as the node knows it now.
    pub fn slot_map_seen(&mut self, clock: &impl Clock, map: Arc<SlotMap>, version: SlotMapVersion) {
        if version > self.map.1 {
            self.map = (map, version);
            self.holding.look_again();
        }
        self.settle(clock);
    }

    fn step_replica(&mut self, clock: &impl Clock, event: Event) {
        if let Some(high_watermark) = self.put_off.take()
            && let Err(failed) = self.apply(high_watermark)
        {
            self.fail(clock, failed);
            return;
        }
        // Read after the event was taken: a reading older than a message's arrival would date its answer too early.
        let now = clock.now();
        self.replica.step(now, event);
        while let Some(effect) = self.replica.next_effect() {
            if let Err(failed) = self.perform(effect) {
                self.fail(clock, failed);
                return;
            }
        }
    }

    /// Steps what follows from what was done, then publishes and answers.
    fn settle(&mut self, clock: &impl Clock) {
        while let Some(followup) = self.followups.pop_front() {
            let event = match followup {
                Followup::EpochPersisted(epoch) => Event::EpochPersisted { epoch, wall: clock.wall() },
                Followup::SentLess { to, end } => Event::SentLess { to, end },
            };
            self.step_replica(clock, event);
        }
        self.look_after_moves(clock);
        self.publish();
        self.look_after_held(clock);
        self.release(clock);
        self.look_after_slots();
        self.look_after_expiry(clock);
        self.rest.note(clock, self.engine.log_end());
        self.plan_reaping(clock);
    }

    /// The replica cannot go on: nothing of what was still to be done may be done.
    fn fail(&mut self, clock: &impl Clock, Failed { what, distrust }: Failed) {
        while self.replica.next_effect().is_some() {}
        if self.failed {
            return;
        }
        self.failed = true;
        self.outputs.push_back(Output::Failed { what, distrust });
        self.step_replica(clock, Event::StorageFailed);
        self.publish();
        self.abandon("the node's storage failed");
    }

    fn publish(&mut self) {
        self.publish_ownership();
        self.publish_leases();
        self.publish_history();
        self.published.serving.publish_freshness(self.replica.serving().fresh_as_of);
    }

    /// At once, and in the middle of a step: what else the replica says already may rest on effects that are still to come.
    fn withdraw(&mut self) {
        self.published.serving.publish_freshness(None);
        self.publish_leases();
    }

    /// Before anybody hears that what ends an ownership is in this log, and after what gives one is applied.
    fn publish_ownership(&mut self) {
        let lineage = self.replica.serving().lineage;
        if self.slots.take_news() || self.ownership.lineage() != lineage {
            self.ownership = Arc::new(Ownership::new(&self.slots, lineage));
            self.published.owned.store(Arc::clone(&self.ownership));
            self.published.waiters.wake_all();
            self.holding.look_again();
        }
    }

    /// Before what it tells of is applied: a position must not be judged by less than is visible.
    fn publish_history(&mut self) {
        let (lineage, slots, epochs) = (self.replica.serving().lineage, self.slots.version(), self.replica.epochs());
        if !self.history.is(lineage, slots, epochs) {
            self.history = Arc::new(History::new(lineage, slots, epochs));
            self.published.history.store(Arc::clone(&self.history));
        }
    }

    fn publish_leases(&mut self) {
        let serving = self.replica.serving();
        let (leads, until) = match serving.role {
            Role::Leader => (true, serving.leader_lease_until),
            Role::Follower | Role::Halted => (false, serving.read_lease_until),
        };
        self.published.serving.publish(serving.generation, leads, until);
        // After that: whoever reads from now on does so under the new lease.
        self.tracked.lease(serving.generation, leads, until);
    }

    /// Answers everything that is committed.
    fn release(&mut self, clock: &impl Clock) {
        let applied = self.engine.applied();
        for (_, respond) in self.awaiting.extract_if(.., |(end, _)| *end <= applied) {
            respond.respond(Vec::new());
        }
        if self.waiting.front().is_none_or(|first| first.until > applied) {
            return;
        }
        let now = clock.now();
        let time = self.engine.applied_time();
        while let Some(waiting) = self.waiting.pop_front_if(|first| first.until <= applied) {
            waiting.answer(self.id, time, &self.history, |follower| self.is_true_still(follower, now));
        }
    }

    /// Answers a submission that has nothing to wait for.
    fn answer(&self, clock: &impl Clock, waiting: Waiting<R>) {
        let now = clock.now();
        let time = self.engine.applied_time();
        waiting.answer(self.id, time, &self.history, |follower| self.is_true_still(follower, now));
    }

    /// Whether what was read from the log, and is committed by now, may be answered. A leader that leads again or still has missed
    /// nothing in between; a follower may have been out of the set meanwhile.
    fn is_true_still(&self, follower: Option<Begun>, now: Tick) -> bool {
        let serving = &self.published.serving;
        follower.map_or_else(|| serving.leads(now), |begun| serving.confirms(begun, now))
    }

    /// While nothing can be committed callers give up and come again: what they left behind must not pile up.
    fn forget_unwanted(&mut self) {
        if self.waiting.len() >= self.look_for_unwanted {
            self.waiting.retain(|waiting| waiting.respond.is_wanted());
            self.look_for_unwanted = WAITING_MIN.max(self.waiting.len() * 2);
        }
    }

    /// Tells everybody who waits that nothing more will be known here.
    fn abandon(&mut self, reason: &'static str) {
        let (applied, time) = (self.engine.applied(), self.engine.applied_time());
        for waiting in self.waiting.drain(..) {
            waiting.abandon(self.id, time, applied, &self.history, reason);
        }
        self.abandon_held(reason);
    }

    fn abandon_held(&mut self, reason: &'static str) {
        let (applied, time) = (self.engine.applied(), self.engine.applied_time());
        for (outcomes, respond) in self.holding.take() {
            let waiting = Waiting { until: Lsn::ZERO, outcomes, respond };
            waiting.abandon(self.id, time, applied, &self.history, reason);
        }
    }

    /// Once in a group's life its leader has to find out which slots it was created with.
    fn look_after_slots(&mut self) {
        if self.slots.is_unrecorded() && !self.reading_slots && self.replica.serving().activated {
            self.reading_slots = true;
            self.outputs.push_back(Output::ReadSlots);
        }
    }
}

#[cfg(test)]
mod tests;
