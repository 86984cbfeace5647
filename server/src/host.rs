//! The task of one group: feeds it what arrives and starts what it wants done.

use std::sync::Arc;
use std::time::Duration;

use simplekv_cluster::migration::MoveEvent;
use simplekv_cluster::{Alarm, Event, MetadataOutcome, MetadataRequest, Timing, TransferOutcome};
use simplekv_meta::{Cas, GroupChange, RecordError, Records, Versioned};
use simplekv_types::peer::Envelope;
use simplekv_types::{FlushPolicy, GroupId, GroupRecord, Lsn, Tick};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::clock::{self, SystemClock};
use crate::flush::{Done, FlushThread, Mark};
use crate::group::{Answer, Group, MoveOutput, Output, Respond, Spread, Submission};
use crate::hosted::Order;
use crate::moves;
use crate::peers::Peers;

/// Inputs taken in one turn at most, of each kind.
const TURN: usize = 256;

/// Who waits for a submission's answers.
pub(crate) type Responder = oneshot::Sender<Vec<Answer>>;

impl Respond for Responder {
    fn respond(self, answers: Vec<Answer>) {
        // Whoever asked has stopped waiting: its connection is gone or its time is up.
        let _ = self.send(answers);
    }

    fn is_wanted(&self) -> bool {
        !self.is_closed()
    }
}

/// What reaches a group's task.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) submissions: mpsc::Receiver<Submission<Responder>>,
    pub(crate) messages: mpsc::Receiver<Envelope>,
    pub(crate) orders: mpsc::UnboundedReceiver<Order>,
}

/// What a group's task works with.
#[derive(Debug)]
pub(crate) struct Means {
    pub(crate) id: GroupId,
    pub(crate) flush: FlushPolicy,
    pub(crate) records: Records,
    pub(crate) peers: Peers,
    /// Weak, so that the task does not keep its own inbox open.
    pub(crate) orders: mpsc::WeakUnboundedSender<Order>,
    pub(crate) flushes: FlushThread,
    /// Tells the node what concerns more than this group.
    pub(crate) news: mpsc::UnboundedSender<News>,
}

/// What a group tells its node.
#[derive(Debug)]
pub(crate) enum News {
    /// Its leader wants to be replaced.
    RequestElection { group: GroupId, epoch: simplekv_types::Epoch, unheard: Vec<simplekv_types::Member> },
    /// It cannot go on; `distrust`: because storage failed, which nobody may trust again.
    Failed { group: GroupId, what: String, distrust: bool },
    /// A replica has acknowledged more than it turned out to hold.
    StorageLied { member: simplekv_types::Member },
    /// Its replica here has no part in its history any more.
    Rebuild { group: GroupId, lineage: simplekv_types::Lineage },
    /// Its append path hangs, or works again.
    Stalled { group: GroupId, stalled: bool },
}

/// Starts the thread that flushes a group's log and tells the group so.
pub(crate) fn start_flushes(
    group: GroupId,
    gap: Duration,
    flusher: simplekv_engine::Flusher,
    orders: mpsc::WeakUnboundedSender<Order>,
) -> std::io::Result<FlushThread> {
    let done = move |done| {
        let event = match done {
            Done::Flushed(Mark { log_end, truncations }) => Event::Flushed { log_end, truncations },
            Done::Probed(id) => Event::Probed { id },
            Done::Failed(failure) => {
                let failure: simplekv_engine::FlushError = failure;
                error!(%group, error = %failure, "flushing the log failed");
                Event::StorageFailed
            }
        };
        send(&orders, Order::Event(event));
    };
    FlushThread::start(format!("flush-{group}"), gap, move || flusher.flush().map(drop), done)
}

/// Sends an order to a group's task. One whose inbox is closed belongs to a stopping node.
fn send(orders: &mpsc::WeakUnboundedSender<Order>, order: Order) {
    if let Some(orders) = orders.upgrade() {
        let _ = orders.send(order);
    }
}

/// Tells the node if its group's task panics: a replica that nobody drives must not look alive.
struct Watch {
    group: GroupId,
    news: mpsc::UnboundedSender<News>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let what = "an invariant is broken, see the log".to_owned();
            let _ = self.news.send(News::Failed { group: self.group, what, distrust: false });
        }
    }
}

/// Runs until every sender of the inbox is gone, then closes the log. `None` if it could not be flushed, else where it ends.
pub(crate) async fn run(mut group: Group<Responder>, mut inbox: Inbox, means: Means) -> Option<Lsn> {
    let _watch = Watch { group: means.id, news: means.news.clone() };
    let mut task = Task { means, transfers: Vec::new(), stops: Vec::new(), stalled: false, spread: None };
    let mut submissions = Vec::with_capacity(TURN);
    let mut messages = Vec::with_capacity(TURN);
    let timer = tokio::time::sleep(Duration::ZERO);
    tokio::pin!(timer);
    loop {
        arm(timer.as_mut(), group.next_deadline());
        tokio::select! {
            biased;
            order = inbox.orders.recv() => match order {
                Some(order) => task.obey(&mut group, order),
                None => break,
            },
            _ = inbox.messages.recv_many(&mut messages, TURN) => (),
            _ = inbox.submissions.recv_many(&mut submissions, TURN) => {
                // Whoever else is ready to write gets the chance to share this turn's write and flush.
                if submissions.len() < TURN {
                    tokio::task::yield_now().await;
                    while submissions.len() < TURN && let Ok(submission) = inbox.submissions.try_recv() {
                        submissions.push(submission);
                    }
                }
            }
            () = &mut timer => (),
        }
        for envelope in messages.drain(..) {
            group.step(&SystemClock, Event::Received(envelope));
        }
        if !submissions.is_empty() {
            group.submit(&SystemClock, submissions.drain(..));
        }
        if group.next_deadline().is_some_and(|deadline| deadline <= clock::now()) {
            group.tick(&SystemClock);
        }
        task.start_outputs(&mut group);
    }
    // The flush thread ends first: nothing may flush beside the last flush.
    let id = task.means.id;
    drop(task);
    match tokio::task::spawn_blocking(move || group.close()).await {
        Ok(Ok(log_end)) => Some(log_end),
        Ok(Err(failure)) => {
            error!(group = %id, error = %failure, "the log was not flushed at the end");
            None
        }
        Err(_) => None,
    }
}

/// Sets the timer if it would ring too late. One that rings too early costs a look at the clock, setting it costs a lock.
fn arm(timer: std::pin::Pin<&mut tokio::time::Sleep>, deadline: Option<Tick>) {
    let Some(deadline) = deadline else { return };
    let at = Instant::now() + deadline.since(clock::now());
    if timer.is_elapsed() || at < timer.deadline() {
        timer.reset(at);
    }
}

struct Task {
    means: Means,
    transfers: Vec<oneshot::Sender<TransferOutcome>>,
    stops: Vec<oneshot::Sender<()>>,
    stalled: bool,
    /// While somebody looks.
    spread: Option<watch::Sender<Spread>>,
}

impl Task {
    fn obey(&mut self, group: &mut Group<Responder>, order: Order) {
        match order {
            Order::Event(event) => group.step(&SystemClock, event),
            Order::Slots(slots) => {
                let slots = slots.as_ref().map(|(map, version)| (&**map, *version));
                group.slots_read(&SystemClock, slots);
            }
            Order::Map(map, version) => group.slot_map_seen(&SystemClock, map, version),
            Order::Move(event) => group.step_moves(&SystemClock, event),
            Order::WhenApplied { end, done } => group.when_applied(end, done),
            Order::Report { done } => drop(done.send(group.report(&SystemClock))),
            Order::Spread { done } => {
                let spread = self.spread.get_or_insert_with(|| watch::Sender::new(group.spread()));
                let _ = done.send(spread.subscribe());
            }
            Order::Transfer { to, done } => {
                self.transfers.push(done);
                group.step(&SystemClock, Event::Transfer { to });
            }
            Order::Stop { done } => {
                self.stops.push(done);
                group.step(&SystemClock, Event::Stop);
            }
        }
    }

    fn start_outputs(&mut self, group: &mut Group<Responder>) {
        while let Some(output) = group.next_output() {
            self.start(output);
        }
        self.tell_spread(group);
        let stalled = group.is_stalled();
        if stalled != self.stalled {
            self.stalled = stalled;
            self.tell(News::Stalled { group: self.means.id, stalled });
        }
    }

    /// Costs a look at an option unless somebody waits for it.
    fn tell_spread(&mut self, group: &Group<Responder>) {
        let Some(spread) = &self.spread else { return };
        if spread.is_closed() {
            self.spread = None;
            return;
        }
        let now = group.spread();
        spread.send_if_modified(|known| {
            let is_news = *known != now;
            *known = now;
            is_news
        });
    }

    fn start(&mut self, output: Output) {
        let group = self.means.id;
        match output {
            Output::Send(envelope) => self.means.peers.send(envelope),
            Output::Flush { log_end, truncations } => self.means.flushes.request(Mark { log_end, truncations }),
            Output::Probe { id } => self.probe(id),
            Output::Metadata { id, request } => self.ask_metadata(id, request),
            Output::ReadSlots => self.read_slots(),
            Output::Move(wanted) => self.start_move(wanted),
            Output::RequestElection { epoch, unheard } => self.tell(News::RequestElection { group, epoch, unheard }),
            Output::Rebuild { lineage } => self.tell(News::Rebuild { group, lineage }),
            Output::TransferEnded(outcome) => {
                // Whoever asked last waits longest; an older one was answered by what came between.
                for done in self.transfers.drain(..) {
                    let _ = done.send(outcome);
                }
            }
            Output::ReadyToStop => {
                for done in self.stops.drain(..) {
                    let _ = done.send(());
                }
            }
            Output::Alarm(alarm) => {
                warn!(%group, ?alarm, "the replica reports something that should not happen");
                if let Alarm::StorageLied { member, .. } = alarm {
                    self.tell(News::StorageLied { member });
                }
            }
            Output::RoleChanged { epoch, role, leader } => {
                info!(%group, %epoch, ?role, leader = leader.map(tracing::field::display), "role changed");
            }
            Output::Failed { what, distrust } => {
                error!(%group, error = what, distrust, "this replica cannot go on");
                self.tell(News::Failed { group, what, distrust });
            }
        }
    }

    /// Under [`FlushPolicy::Always`] an acknowledgement waits for the disk, so the probe does too.
    fn probe(&self, id: u64) {
        if self.means.flush == FlushPolicy::Always {
            self.means.flushes.probe(id);
        } else {
            send(&self.means.orders, Order::Event(Event::Probed { id }));
        }
    }

    fn tell(&self, news: News) {
        // A node that no longer listens is stopping.
        let _ = self.means.news.send(news);
    }

    fn ask_metadata(&self, id: simplekv_cluster::RequestId, request: MetadataRequest) {
        let (records, group, orders) = (self.means.records.clone(), self.means.id, self.means.orders.clone());
        tokio::spawn(async move {
            let outcome = ask(&records, group, request).await;
            send(&orders, Order::Event(Event::Metadata { id, outcome }));
        });
    }

    fn start_move(&self, wanted: MoveOutput) {
        let (group, orders) = (self.means.id, self.means.orders.clone());
        match wanted {
            MoveOutput::Send { to, message } => self.means.peers.send_move(to, message),
            MoveOutput::Metadata { id, request } => {
                let records = self.means.records.clone();
                tokio::spawn(async move {
                    let outcome = moves::ask(&records, request, None).await;
                    send(&orders, Order::Move(MoveEvent::Answered { id, outcome }));
                });
            }
            MoveOutput::Read { migration, pull, read } => {
                tokio::task::spawn_blocking(move || {
                    let found = read.run().unwrap_or_else(|failure| {
                        error!(%group, %migration, error = %failure, "what moves to another group cannot be read");
                        None
                    });
                    send(&orders, Order::Move(MoveEvent::Read { migration, pull, found }));
                });
            }
            MoveOutput::Alarm(alarm) => {
                warn!(%group, ?alarm, "a move of slots has met something that should not happen");
            }
        }
    }

    fn read_slots(&self) {
        let (records, orders) = (self.means.records.clone(), self.means.orders.clone());
        tokio::spawn(async move {
            let slots = match records.slots().await {
                Ok(slots) => {
                    slots.map(|slots| (Arc::new(slots.record), simplekv_types::SlotMapVersion(slots.modified.0)))
                }
                Err(failure) => {
                    warn!(error = %failure, "the slot map cannot be read, trying again");
                    // The group asks again at once.
                    tokio::time::sleep(Timing::default().metadata_retry).await;
                    None
                }
            };
            send(&orders, Order::Slots(slots));
        });
    }
}

/// Does once what a replica asks of the metadata store, and tells what is known of it.
pub(crate) async fn ask(records: &Records, group: GroupId, request: MetadataRequest) -> MetadataOutcome {
    match request {
        MetadataRequest::ReadGroup => match records.group(group).await {
            Ok(found) => MetadataOutcome::Read(found.map(versioned)),
            Err(failure) => {
                warn!(%group, error = %failure, "the group's record cannot be read");
                MetadataOutcome::Failed
            }
        },
        MetadataRequest::ChangeGroup(change) => {
            let change = GroupChange {
                group,
                expected: change.expected,
                record: change.record,
                registrations: change.registrations,
                silent: change.silent,
                office: None,
            };
            change_group(records, &change).await
        }
    }
}

/// Executes one change of a group's record.
pub(crate) async fn change_group(records: &Records, change: &GroupChange) -> MetadataOutcome {
    match records.change_group(change).await {
        Ok(Cas::Done { revision }) => MetadataOutcome::Succeeded { revision },
        Ok(Cas::Lost(conflict)) => MetadataOutcome::Lost { current: conflict.group.map(versioned) },
        Err(failure) => {
            warn!(group = %change.group, error = %failure, "the group's record was not changed");
            outcome_of(&failure)
        }
    }
}

fn outcome_of(failure: &RecordError) -> MetadataOutcome {
    if failure.may_have_applied() { MetadataOutcome::Unknown } else { MetadataOutcome::Failed }
}

fn versioned(found: Versioned<GroupRecord>) -> (GroupRecord, simplekv_types::Revision) {
    (found.record, found.modified)
}
