//! Runs requests: asks [`attempt`](crate::attempt) what to do, does it, and brings back what became of it.

mod run;
mod sorting;
mod together;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use simplekv_types::{Failure, GroupTime, ReadPolicy, Reply, Seq};
use smallvec::smallvec;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::debug;

use crate::airborne::Airborne;
use crate::attempt::{Access, Plan};
use crate::balance::Balance;
use crate::budget::Budget;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::lane::Surroundings;
use crate::listener::Listener;
use crate::near_cache::Copies;
use crate::parcel::Packing;
use crate::pool::{Bounds, Places, Pool};
use crate::sequence::{Sequence, WriteNumber};
use crate::session::{Answered, Floor, Ledger};
use crate::singleflight::{Flight, FlightKey, Flights, Join, asked_for, landed};
use crate::slot_cache::SlotCache;
use crate::stats::Stats;
use crate::topology::{Topology, process_millis};
use crate::tracking::Trackers;
use crate::transport::Transport;
use crate::{Kind, Options, RequestId, Target};
use run::Request;
pub use together::Answers;

/// Everything the clones of a client share.
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) slots: Arc<SlotCache>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) listener: Listener,
    pub(crate) trackers: Trackers,
    near: Option<Arc<Copies>>,
    sequence: Arc<Sequence>,
    flights: Arc<Flights>,
    airborne: Arc<Airborne>,
    balance: Arc<Balance>,
    budget: Budget,
    /// Of the next parcel.
    parcels: AtomicU64,
    in_flight: Arc<AtomicUsize>,
    /// Lets nobody in.
    is_closed: AtomicBool,
    /// Makes no more attempts.
    is_ended: AtomicBool,
    ending: Notify,
}

/// What a write carries besides its identity, which stands in its plan.
struct Write {
    ack_below: Seq,
    /// Added to the number of each attempt. A write whose id came from the caller may have been sent in an earlier life of it.
    attempts_before: u32,
    /// Keeps the number from counting as answered; `None` if the id came from the caller.
    _number: Option<WriteNumber>,
}

/// What a session's reads must not be older than.
fn floor_of(session: Option<&Arc<Ledger>>) -> Floor {
    session.map_or(Floor::Nothing, |ledger| Floor::Session(Arc::clone(ledger)))
}

fn is_get(args: &[Bytes]) -> bool {
    matches!(args, [name, _] if name.eq_ignore_ascii_case(b"GET"))
}

impl Core {
    pub(crate) fn new(config: Config, transport: Arc<dyn Transport>) -> Self {
        let slots = Arc::new(SlotCache::new());
        let stats = Arc::<Stats>::default();
        let listener = Listener::new(Arc::clone(&transport));
        let near = config.near_cache.map(|settings| Arc::new(Copies::new(settings, Arc::clone(&stats))));
        let trackers = Trackers::default();
        if let Some(copies) = near.clone() {
            trackers.listen(move |stale| copies.hear(stale));
        }
        let surroundings =
            Surroundings { transport, slots: Arc::clone(&slots), stats: Arc::clone(&stats), backoff: config.backoff };
        let bounds = Bounds { lanes_per_node: config.lanes_per_node, in_flight_per_node: config.in_flight_per_node };
        Self {
            config,
            slots,
            pool: Arc::new(Pool::new(surroundings, bounds)),
            stats,
            listener,
            trackers,
            near,
            sequence: Sequence::new(simplekv_types::ClientId(rand::random())),
            flights: Arc::default(),
            airborne: Airborne::new(),
            balance: Arc::new(Balance::new()),
            budget: Budget::new(),
            parcels: AtomicU64::new(1),
            in_flight: Arc::default(),
            is_closed: AtomicBool::new(false),
            is_ended: AtomicBool::new(false),
            ending: Notify::new(),
        }
    }

    /// Runs one request to its end.
    pub(crate) async fn execute(
        self: &Arc<Self>,
        target: Target,
        args: Arc<[Bytes]>,
        kind: Kind,
        options: Options,
        session: Option<&Arc<Ledger>>,
    ) -> Result<Reply> {
        self.stats.requests.increment();
        match self.near.as_deref() {
            Some(near) if kind == Kind::Write => {
                let _writing = near.write(&args);
                self.execute_far(target, Arc::clone(&args), kind, options, session).await
            }
            Some(near) if options.cached && is_get(&args) => {
                self.execute_near(near, target, args, options, session).await
            }
            _ => self.execute_far(target, args, kind, options, session).await,
        }
    }

    /// Answers a GET from a copy, or makes one.
    async fn execute_near(
        self: &Arc<Self>,
        near: &Copies,
        target: Target,
        args: Arc<[Bytes]>,
        options: Options,
        session: Option<&Arc<Ledger>>,
    ) -> Result<Reply> {
        let key = args.get(1).cloned().unwrap_or_default();
        let group = self.slots.load().group_of(target).map(|group| group.id);
        let floor = session.zip(group).map(|(ledger, group)| ledger.position(group));
        // Nobody can say what the answer must cover.
        let is_blind = session.is_some() && group.is_none();
        if !is_blind && let Some((reply, seen)) = near.get(&key, floor) {
            return self.conclude(Ok(Answered { reply, seen }), session);
        }
        let beginning = near.begin(&key);
        let policy = self.policy(&options, session);
        let result = match self.admit(1) {
            Ok(_places) => {
                let request = self.request(target, args, Kind::Read, &options.track(true), floor_of(session), policy);
                self.run_alone(request, options.lane).await
            }
            Err(error) => Err(error),
        };
        if let Ok(Answered { reply, seen }) = &result {
            near.put(&key, beginning, reply, *seen);
        }
        self.conclude(result, session)
    }

    async fn execute_far(
        self: &Arc<Self>,
        target: Target,
        args: Arc<[Bytes]>,
        kind: Kind,
        options: Options,
        session: Option<&Arc<Ledger>>,
    ) -> Result<Reply> {
        let policy = self.policy(&options, session);
        let result = match self.admit(1) {
            Ok(_places) => match self.may_share(kind, target, policy, &options, session) {
                Some(rule) => self.share(FlightKey::new(target, policy, args), rule, options.lane, session).await,
                None => {
                    let request = self.request(target, args, kind, &options, floor_of(session), policy);
                    self.run_alone(request, options.lane).await
                }
            },
            Err(error) => Err(error),
        };
        self.conclude(result, session)
    }

    /// Runs requests for one target, each seeing what those before it did. One that fails does not stop those after it.
    pub(crate) async fn execute_in_order(
        self: &Arc<Self>,
        target: Target,
        commands: Vec<(Arc<[Bytes]>, Kind)>,
        options: Options,
        session: Option<&Arc<Ledger>>,
    ) -> Vec<Result<Reply>> {
        self.stats.requests.add(commands.len() as u64);
        let policy = self.policy(&options, session);
        let written: Vec<Arc<[Bytes]>> = match self.near {
            Some(_) => {
                commands.iter().filter(|(_, kind)| *kind == Kind::Write).map(|(args, _)| Arc::clone(args)).collect()
            }
            None => Vec::new(),
        };
        let _writing: Vec<_> = self.near.iter().flat_map(|near| written.iter().map(|args| near.write(args))).collect();
        let results = match self.admit(commands.len()) {
            Ok(_places) => {
                let writes = commands.iter().any(|(_, kind)| *kind == Kind::Write);
                let request = |(args, kind)| {
                    let mut request = self.request(target, args, kind, &options, floor_of(session), policy);
                    if writes {
                        request.follow_the_writes();
                        return request;
                    }
                    // Nothing orders them but that they are read from one replica, one after the other.
                    request.alone()
                };
                self.run(commands.into_iter().map(request).collect(), options.lane).await
            }
            Err(error) => commands.iter().map(|_| Err(error.clone())).collect(),
        };
        results.into_iter().map(|result| self.conclude(result, session)).collect()
    }

    /// Which replicas may answer a read.
    fn policy(&self, options: &Options, session: Option<&Arc<Ledger>>) -> ReadPolicy {
        let default = if session.is_some() { ReadPolicy::SESSION } else { self.config.read_policy };
        options.read.unwrap_or(default)
    }

    fn admit(&self, wanted: usize) -> Result<Places> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(Error::Closed);
        }
        Places::take(&self.in_flight, wanted, self.config.in_flight_total).ok_or_else(|| {
            self.stats.overloaded.increment();
            Error::Overloaded { what: "too many requests in flight at this client" }
        })
    }

    /// Takes down what came of a request.
    fn conclude(&self, result: Result<Answered>, session: Option<&Arc<Ledger>>) -> Result<Reply> {
        match &result {
            Ok(answered) => {
                if let (Some(ledger), Some(seen)) = (session, answered.seen) {
                    ledger.observe(seen);
                }
            }
            Err(error) => {
                self.stats.failures.increment();
                debug!(error = %error, "request failed");
            }
        }
        result.map(|answered| answered.reply)
    }

    /// Which flights a request may join; `None` if it must make its own way. A read with a deadline of its own would impose it on those
    /// who share it.
    fn may_share(
        &self,
        kind: Kind,
        target: Target,
        policy: ReadPolicy,
        options: &Options,
        session: Option<&Arc<Ledger>>,
    ) -> Option<Join> {
        let is_plain = options.share && options.retry && options.timeout.is_none() && !options.track;
        if !self.config.share_reads || kind == Kind::Write || !is_plain {
            return None;
        }
        match (policy, session) {
            // What such a read may share depends on two promises at once.
            (ReadPolicy::Bounded { .. }, Some(_)) => None,
            (ReadPolicy::Session { .. }, Some(ledger)) => {
                // Without knowing whose answer it will be, nobody can say what that must cover.
                let group = self.slots.load().group_of(target)?.id;
                Some(Join::Covering(ledger.position(group)))
            }
            (policy, _) => Some(Join::of(policy)),
        }
    }

    async fn share(
        self: &Arc<Self>,
        key: FlightKey,
        rule: Join,
        lane: Option<usize>,
        session: Option<&Arc<Ledger>>,
    ) -> Result<Answered> {
        match self.flights.join(key.clone(), rule) {
            Flight::Alone(solo) => {
                self.stats.shared_reads_led.increment();
                self.fly(solo.key(), floor_of(session), lane).await
            }
            Flight::Lead(lead, answer) => {
                self.stats.shared_reads_led.increment();
                let core = Arc::clone(self);
                tokio::spawn(lead.run(move |key, seen| {
                    let (core, key) = (Arc::clone(&core), key.clone());
                    async move { core.fly(&key, seen.map_or(Floor::Nothing, Floor::Position), lane).await }
                }));
                self.own(landed(answer).await, &key, lane, session).await
            }
            Flight::Wait(answer) => {
                self.stats.shared_reads_joined.increment();
                let total = self.config.timeouts.total;
                // The flight before mine may take its whole time and leave mine none of my own.
                let landed = tokio::time::timeout(total, landed(answer)).await.unwrap_or_else(|_| {
                    let last = Box::new(Error::NoAnswer { after: total });
                    Err(Error::Timeout { elapsed: total, attempts: 0, last })
                });
                self.own(landed, &key, lane, session).await
            }
        }
    }

    /// What came of a shared flight, for one of those on it. That what was seen is lost may be true of another's session only.
    async fn own(
        &self,
        shared: Result<Answered>,
        key: &FlightKey,
        lane: Option<usize>,
        session: Option<&Arc<Ledger>>,
    ) -> Result<Answered> {
        match shared {
            Ok(Answered { reply: Reply::Error(Failure::TokenLost { .. }), .. }) => {
                self.fly(key, floor_of(session), lane).await
            }
            shared => shared,
        }
    }

    async fn fly(&self, key: &FlightKey, floor: Floor, lane: Option<usize>) -> Result<Answered> {
        let policy = asked_for(key.policy);
        let options = Options::default();
        let request = self.request(key.target, Arc::clone(&key.args), Kind::Read, &options, floor, policy);
        self.run_alone(request, lane).await
    }

    async fn run_alone(&self, request: Request, lane: Option<usize>) -> Result<Answered> {
        let mut results = self.run(smallvec![request.alone()], lane).await;
        results.pop().expect("a request has a result")
    }

    fn request(
        &self,
        target: Target,
        args: Arc<[Bytes]>,
        kind: Kind,
        options: &Options,
        floor: Floor,
        policy: ReadPolicy,
    ) -> Request {
        let (access, write) = match kind {
            Kind::Read => (Access::Read(policy), None),
            Kind::Write => {
                let (id, write) = self.write(options).unzip();
                (Access::Write(id), write)
            }
        };
        let mut request = Request::new(self.plan(access, target, options), args, write, floor);
        if options.track && kind == Kind::Read {
            request.track();
        }
        request
    }

    fn plan(&self, access: Access, target: Target, options: &Options) -> Plan {
        let total = options.timeout.unwrap_or(self.config.timeouts.total);
        // Without a second attempt the first may take all the time there is.
        let attempt = if options.retry { self.config.timeouts.attempt.min(total) } else { total };
        let refusals_max = self.config.refusals_max;
        Plan { access, target, retry: options.retry, refusals_max, total, attempt, spread: false }
    }

    /// A parcel for so many operations and about so many bytes.
    fn packing(&self, operations: usize, bytes: usize) -> Packing {
        Packing::new(self.parcels.fetch_add(1, Ordering::Relaxed), operations, bytes)
    }

    /// The identity of a write; `None` if it needs none because it is never repeated.
    fn write(&self, options: &Options) -> Option<(RequestId, Write)> {
        if let Some(id) = options.request_id {
            return Some((id, Write { ack_below: Seq(0), attempts_before: 1, _number: None }));
        }
        if !options.retry {
            return None;
        }
        let number = self.sequence.begin();
        // The deadline is set when the first attempt is made.
        let id = RequestId { client: self.sequence.client(), seq: number.seq, deadline: GroupTime::ZERO };
        Some((id, Write { ack_below: number.ack_below, attempts_before: 0, _number: Some(number) }))
    }

    /// A topology that satisfies `enough`, waited for like a request waits for somebody to go to.
    ///
    /// # Errors
    /// [`Error::Timeout`] with what `missing` says, if none came in time; [`Error::Closed`].
    pub(crate) async fn topology_with(
        &self,
        total: Duration,
        missing: Error,
        enough: impl Fn(&Topology) -> bool,
    ) -> Result<Arc<Topology>> {
        let began = Instant::now();
        let mut step = 0;
        loop {
            let topology = Arc::clone(&self.slots.load());
            if enough(&topology) {
                return Ok(topology);
            }
            if self.is_closed.load(Ordering::Relaxed) {
                return Err(Error::Closed);
            }
            let elapsed = began.elapsed();
            if elapsed >= total {
                return Err(Error::Timeout { elapsed, attempts: 0, last: Box::new(missing) });
            }
            self.slots.request_refresh();
            tokio::select! {
                () = self.config.backoff.pause(step, false, began + total, &self.slots, &topology, &enough) => (),
                () = self.ended() => (),
            }
            step += 1;
        }
    }

    fn observe(&self, target: Target, time: GroupTime) {
        if let Some(group) = self.slots.load().group_of(target) {
            group.clock.observe(time, process_millis());
        }
    }

    /// Lets no new request in, waits up to `grace` for those in flight, and closes the lanes. What is on its way to a node then still
    /// gets its answer; nothing is sent again.
    pub(crate) async fn close(&self, grace: Duration) {
        self.is_closed.store(true, Ordering::Relaxed);
        let _ = tokio::time::timeout(grace, self.drained()).await;
        self.is_ended.store(true, Ordering::Release);
        self.ending.notify_waiters();
        self.pool.clear();
        self.trackers.stop();
        self.listener.clear();
    }

    fn is_ended(&self) -> bool {
        self.is_ended.load(Ordering::Acquire)
    }

    /// Waits until no more attempts are made.
    pub(crate) async fn ended(&self) {
        let ending = self.ending.notified();
        if !self.is_ended() {
            ending.await;
        }
    }

    async fn drained(&self) {
        // Only on the way out, so a look now and then is cheaper than a signal on every request.
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        while self.in_flight.load(Ordering::Relaxed) > 0 {
            looks.tick().await;
        }
    }
}
