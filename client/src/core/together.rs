//! Requests that were made together: what one pass sorts, one frame to each node carries, and one wake-up brings back.
//!
//! Only what nearly always happens is done here: a first attempt, and an answer that ends it. Everything else goes on as any other
//! request does, from where it is: [`Core::run_on`] decides what follows from an outcome, here as there.

use std::collections::VecDeque;
use std::future::Pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, Stream, StreamExt};
use simplekv_proto::Manner;
use simplekv_types::{Dedupe, GroupTime, Position, ReadPolicy, Reply, Seq};
use smallvec::{SmallVec, smallvec};
use tokio::time::{Instant, Timeout};

use super::run::{Request, Requests};
use super::sorting::{Apart, Bound, Cargo, Entry, Role, Sorted, args};
use super::{Core, Write, floor_of};
use crate::attempt::Outcome;
use crate::balance::Underway;
use crate::error::{Error, Result};
use crate::inbox::{Inbox, Verdict};
use crate::near_cache::Writings;
use crate::parcel::Content;
use crate::pool::Places;
use crate::sequence::WriteNumbers;
use crate::session::{Answered, Ledger};
use crate::topology::process_millis;
use crate::{Ask, Kind, Options, Target};

/// Most bytes an operation takes besides its words, nearly always.
const AROUND_WORDS: usize = 64;

/// The answers to requests that were made together: see [`Client::execute_together`](crate::Client::execute_together).
///
/// Each comes with the place of its request among those that were made, in the order in which they arrive. They are a
/// [`Stream`](futures::Stream) as well.
#[must_use = "dropping the answers lets go of the requests"]
pub struct Answers {
    core: Arc<Core>,
    session: Option<Arc<Ledger>>,
    options: Options,
    policy: ReadPolicy,
    began: Instant,
    bounds: Vec<Bound>,
    /// Sent and not come back.
    shipments: SmallVec<[Shipment; 2]>,
    /// When the first attempts have taken too long. `Some` while there is a shipment.
    alarm: Option<Pin<Box<Timeout<Pending<()>>>>>,
    /// What goes its own way.
    apart: FuturesUnordered<BoxFuture<'static, Ended>>,
    /// Answers nobody has taken yet.
    ready: VecDeque<(usize, Result<Reply>)>,
    echoes: Vec<(u32, u32)>,
    /// Of the answers that are still to come.
    _places: Option<Places>,
    /// Copies of what is written are no good before nor behind it.
    _writings: Option<Writings>,
}

/// Requests that went their own way, and their ends.
type Ended = SmallVec<[(u32, Result<Answered>); 1]>;

/// A parcel on its way, and what is known of what is in it.
struct Shipment {
    cargo: Cargo,
    content: Content,
    numbers: Option<WriteNumbers>,
    inbox: Inbox,
    underway: Underway,
    /// At this client, and on the lane.
    _places: [Places; 2],
}

/// A cargo that has come back, or never left.
struct Landed<'a> {
    cargo: Cargo,
    content: &'a Content,
    numbers: Option<WriteNumbers>,
    underway: &'a Underway,
}

/// Where something stands in a cargo: its place, and that of its number among the writes'.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    place: usize,
    number: usize,
}

impl Place {
    fn pass(&mut self, entry: &Entry) {
        self.place += 1;
        self.number += usize::from(entry.role == Role::Write);
    }
}

impl Core {
    /// Runs requests together.
    pub(crate) fn execute_together(
        self: &Arc<Self>,
        asks: Vec<Ask>,
        options: Options,
        session: Option<&Arc<Ledger>>,
    ) -> Answers {
        self.stats.requests.add(asks.len() as u64);
        let mut answers = Answers {
            core: Arc::clone(self),
            session: session.cloned(),
            options,
            policy: self.policy(&options, session),
            began: Instant::now(),
            bounds: Vec::new(),
            shipments: SmallVec::new(),
            alarm: None,
            apart: FuturesUnordered::new(),
            ready: VecDeque::with_capacity(asks.len()),
            echoes: Vec::new(),
            _places: None,
            _writings: self.near.as_ref().map(|near| near.write_all(&asks)),
        };
        match self.admit(asks.len()) {
            Ok(places) => answers.begin(asks, places),
            Err(error) => (0..asks.len() as u32).for_each(|ask| answers.end(ask, Err(error.clone()))),
        }
        answers
    }
}

impl Answers {
    fn begin(&mut self, mut asks: Vec<Ask>, mut places: Places) {
        let Sorted { bounds, cargoes, apart, echoes } =
            self.core.sort(&asks, self.options, self.policy, self.session.as_ref());
        (self.bounds, self.echoes) = (bounds, echoes);
        for cargo in cargoes {
            // A read may have turned out to be somebody else's as well, and left nothing behind.
            if !cargo.entries.is_empty() {
                let own = places.split(cargo.entries.len());
                self.ship(cargo, &asks, own);
            }
        }
        for one in apart {
            self.set_apart(one, &mut asks, &mut places);
        }
        self._places = Some(places);
        if let Some(timeout) = self.shipments.iter().map(|shipment| shipment.cargo.timeout).max() {
            self.alarm = Some(Box::pin(tokio::time::timeout_at(self.began + timeout, std::future::pending())));
        }
    }

    /// Packs a cargo and hands it to a lane of its node.
    fn ship(&mut self, cargo: Cargo, asks: &[Ask], places: Places) {
        let words = |entry: &Entry| asks.get(entry.ask as usize).map_or(&[][..], |ask| &ask.words[..]);
        let bytes_of = |entry| AROUND_WORDS + words(entry).iter().map(|word| word.len() + 2).sum::<usize>();
        let writes = cargo.entries.iter().filter(|entry| entry.role == Role::Write).count();
        let numbers = (writes > 0).then(|| self.core.sequence.begin_together(writes));
        let mut packing = self.core.packing(cargo.entries.len(), cargo.entries.iter().map(bytes_of).sum());
        let mut number = 0;
        for entry in &cargo.entries {
            let (model, manner) = self.model(entry);
            let mut manner = *manner;
            if let (Role::Write, Some(numbers), Some(id)) = (entry.role, &numbers, model.request_id()) {
                let (seq, ack_below) = (numbers.number(number), numbers.ack_below);
                manner.dedupe = Some(Dedupe { seq, ack_below, deadline: id.deadline, attempt: 1 });
                number += 1;
            }
            packing.push(words(entry), &manner);
        }
        let (parcel, content, inbox) = packing.seal(self.core.sequence.client());
        let topology = self.core.slots.load();
        let lane = topology.node(cargo.to).and_then(|node| self.core.pool.submit(node, self.options.lane, parcel));
        let underway = self.core.balance.begin(cargo.to, cargo.entries.len());
        match lane {
            Some(on_lane) => {
                let _places = [places, on_lane];
                self.shipments.push(Shipment { cargo, content, numbers, inbox, underway, _places });
            }
            None => {
                let full = || Outcome::Full { what: "too many requests in flight at the node" };
                let verdict = |_, _| Verdict { outcome: full(), time: None, seen: None, tracked: false };
                self.settle(Landed { cargo, content: &content, numbers, underway: &underway }, verdict);
            }
        }
    }

    /// Begins what does not go with the others.
    fn set_apart(&mut self, one: Apart, asks: &mut [Ask], places: &mut Places) {
        let (core, session, options) = (Arc::clone(&self.core), self.session.clone(), self.options);
        match one {
            Apart::Shared(ask, key, rule) => {
                let own = places.split(1);
                self.apart.push(
                    async move {
                        let _places = own;
                        let ended: Ended =
                            smallvec![(ask, core.share(key, rule, options.lane, session.as_ref()).await)];
                        ended
                    }
                    .boxed(),
                );
            }
            Apart::Row(slot, row) => {
                let has_write = row.iter().any(|at| asks.get(*at as usize).is_some_and(|ask| ask.kind == Kind::Write));
                let mut requests = Requests::new();
                for ask in row
                    .iter()
                    .filter_map(|at| asks.get_mut(*at as usize).map(|ask| (args(&mut ask.words), ask.kind, ask.track)))
                {
                    let (words, kind, track) = ask;
                    let options = options.track(options.track || track);
                    let floor = floor_of(self.session.as_ref());
                    let mut request = core.request(Target::Slot(slot), words, kind, &options, floor, self.policy);
                    match has_write {
                        true => request.follow_the_writes(),
                        false => request = request.alone(),
                    }
                    requests.push(request);
                }
                let own = places.split(row.len());
                self.go_on(row.into(), requests, Some(own));
            }
        }
    }

    /// Has requests go on by themselves, from where they are.
    fn go_on(&mut self, asks: SmallVec<[u32; 1]>, requests: Requests, places: Option<Places>) {
        let (core, lane, began) = (Arc::clone(&self.core), self.options.lane, self.began);
        self.apart.push(
            async move {
                let _places = places;
                let results = core.run_on(requests, lane, began).await;
                asks.into_iter().zip(results).collect::<Ended>()
            }
            .boxed(),
        );
    }

    /// Takes down what came of a request, and of those that wanted the same.
    fn end(&mut self, ask: u32, result: Result<Answered>) {
        let result = self.core.conclude(result, self.session.as_ref());
        self.hand_out(ask, result);
    }

    fn hand_out(&mut self, ask: u32, result: Result<Reply>) {
        if !self.echoes.is_empty() {
            let of_the_same = self.echoes.iter().filter(|(known, _)| *known == ask);
            self.ready.extend(of_the_same.map(|(_, echo)| (*echo as usize, result.clone())));
        }
        self.ready.push_back((ask as usize, result));
    }

    /// Takes what came back of a cargo, row by row.
    fn settle(&mut self, mut landed: Landed<'_>, mut take: impl FnMut(usize, Option<u32>) -> Verdict) {
        let (mut ended, mut any_read, mut sight, mut place) = (0, false, Sight::default(), Place::default());
        let entries = std::mem::take(&mut landed.cargo.entries);
        for row in entries.chunk_by(|_, next| next.is_joined) {
            let (mut verdicts, first) = (SmallVec::<[Verdict; 1]>::new(), place);
            for entry in row {
                verdicts.push(take(place.place, (entry.role == Role::Write).then_some(1)));
                place.pass(entry);
            }
            if !verdicts.iter().all(Verdict::is_an_end) {
                self.try_again(&mut landed, row, first, verdicts);
                continue;
            }
            for (entry, verdict) in row.iter().zip(verdicts) {
                any_read |= entry.role != Role::Write;
                ended += 1;
                self.see(entry, &verdict, &mut sight);
                if let Outcome::Answered(reply) = verdict.outcome {
                    self.hand_out(entry.ask, Ok(reply));
                }
            }
        }
        if any_read {
            landed.underway.answered();
        }
        self.core.budget.deposit(ended);
    }

    /// Takes down where an answer was read or written, and when. Nearly always it is where the one before was.
    fn see(&self, entry: &Entry, verdict: &Verdict, latest: &mut Sight) {
        let now = Sight { bound: entry.bound, time: verdict.time, seen: verdict.seen };
        if *latest == now {
            return;
        }
        let group = self.bounds.get(usize::from(entry.bound)).and_then(Bound::group);
        if let (Some(time), Some(group)) = (now.time, group)
            && let Some(group) = self.core.slots.load().group(group)
        {
            group.clock.observe(time, process_millis());
        }
        if let (Some(ledger), Some(seen)) = (&self.session, now.seen) {
            ledger.observe(seen);
        }
        *latest = now;
    }

    /// A row that has not come to its end goes on as any request does.
    fn try_again(&mut self, landed: &mut Landed<'_>, row: &[Entry], first: Place, verdicts: SmallVec<[Verdict; 1]>) {
        let mut place = first;
        let mut requests = Requests::new();
        for (entry, verdict) in row.iter().zip(verdicts) {
            let numbers = landed.numbers.as_mut().filter(|_| entry.role == Role::Write);
            let number = numbers.map(|numbers| numbers.let_go(numbers.number(place.number)));
            let seq = number.as_ref().map_or(Seq(0), |number| number.seq);
            let write =
                number.map(|number| Write { ack_below: number.ack_below, attempts_before: 0, _number: Some(number) });
            if let (Some(time), Some(group)) = (verdict.time, self.core.slots.load().owner(entry.slot)) {
                group.clock.observe(time, process_millis());
            }
            let words = landed.content.words(place.place).into_iter().collect();
            let (model, _) = self.model(entry);
            let request = model.likewise(entry.slot, words, write, verdict).numbered(seq);
            self.core.judge(landed.cargo.to, landed.underway, &request);
            requests.push(request);
            place.pass(entry);
        }
        self.go_on(row.iter().map(|entry| entry.ask).collect(), requests, None);
    }

    /// What a request sent like this looks like, and how it was sent.
    fn model(&self, entry: &Entry) -> (&Request, &Manner) {
        self.bounds.get(usize::from(entry.bound)).expect("it is bound somewhere").model(entry.role)
    }

    /// The next answer: which of the requests, counted from 0, and what came of it. `None` once all are answered.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<(usize, Result<Reply>)> {
        std::future::poll_fn(|context| self.poll_answer(context)).await
    }

    /// All answers, in the order of the requests.
    pub async fn all(mut self) -> Vec<Result<Reply>> {
        let mut answers = Vec::new();
        while let Some((at, result)) = self.next().await {
            if answers.len() <= at {
                answers.resize_with(at + 1, || Err(Error::Closed));
            }
            if let Some(answer) = answers.get_mut(at) {
                *answer = result;
            }
        }
        answers
    }

    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Option<(usize, Result<Reply>)>> {
        if self.ready.is_empty() {
            self.poll_shipments(context);
            while let Poll::Ready(Some(ended)) = self.apart.poll_next_unpin(context) {
                ended.into_iter().for_each(|(ask, result)| self.end(ask, result));
            }
        }
        match self.ready.pop_front() {
            Some(answer) => Poll::Ready(Some(answer)),
            None if self.shipments.is_empty() && self.apart.is_empty() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Settles what has come back, or has taken too long.
    fn poll_shipments(&mut self, context: &mut Context<'_>) {
        let mut is_late = false;
        if let Some(alarm) = &mut self.alarm {
            is_late = alarm.poll_unpin(context).is_ready();
        }
        let mut at = 0;
        while let Some(shipment) = self.shipments.get(at) {
            if shipment.inbox.poll_full(context).is_pending() && !is_late {
                at += 1;
                continue;
            }
            let Shipment { cargo, content, numbers, inbox, underway, _places } = self.shipments.swap_remove(at);
            let mut returned = inbox.empty();
            let landed = Landed { cargo, content: &content, numbers, underway: &underway };
            self.settle(landed, |place, attempt| returned.take(place, attempt));
        }
        if self.shipments.is_empty() {
            self.alarm = None;
        }
    }
}

/// Where and when an answer was read or written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sight {
    bound: u16,
    time: Option<GroupTime>,
    seen: Option<Position>,
}

impl Stream for Answers {
    type Item = (usize, Result<Reply>);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_answer(context)
    }
}

impl std::fmt::Debug for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answers")
            .field("ready", &self.ready.len())
            .field("shipments", &self.shipments.len())
            .field("apart", &self.apart.len())
            .finish_non_exhaustive()
    }
}
