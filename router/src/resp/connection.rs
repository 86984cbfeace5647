//! One connection of the Redis protocol.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures::FutureExt;
use simplekv_client::Message;
use simplekv_resp::clients::KnownClient;
use simplekv_resp::control::tracking::TrackingRequest;
use simplekv_resp::control::{ClientCommand, Wait};
use simplekv_resp::session::message;
use simplekv_resp::tracking::Told;
use simplekv_resp::{
    Answer, Args, Body, Collected, Command, Control, Keys, Parser, ProtocolError, Request, RequestLimits, Session,
    encode,
};
use simplekv_types::{ReadPolicy, Reply, SessionToken};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::ReadHalf;
use tokio::time::{Instant, Sleep};

use super::ears::Ears;
use super::pipeline::{Pipeline, Turn};
use super::questions;
use super::task::Task;
use super::told::Signals;
use super::within::{NOT_THROUGH_A_ROUTER, Within};
use crate::facts::{RouterFacts, now_micros};
use crate::metrics::Class;
use crate::shared::{Listed, Shared};
use crate::tracking::Tracker;

/// Room made for what the client sends next.
const READ_BYTES: usize = 16 << 10;
/// Replies are encoded up to this much ahead of what the client has taken.
const WRITE_AHEAD_BYTES: usize = 256 << 10;

/// Places taken at a time while there is more to take up.
const PLACES_AT_ONCE: u32 = 16;
/// A client is told that it tracks after so long at the latest. What it reads from nodes that cannot be heard is told to be stale.
const TRACKING_PATIENCE: Duration = Duration::from_secs(1);

/// Why a connection was ended by us, or broke.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("it sent half a request and stalled")]
    PartialRequest,
    #[error("it did not read its replies")]
    UnreadReplies,
    #[error("it was silent for too long")]
    Idle,
    #[error("another connection ended it")]
    Killed,
}

/// A request that may not begin yet. Nothing behind it is taken up until it may.
enum Held {
    Task {
        turn: Turn,
        task: Task,
    },
    /// Answered once everything before it has been.
    Last {
        turn: Turn,
        last: Last,
    },
    /// WATCH, before the keys are asked for.
    Watch {
        turn: Turn,
        keys: Keys,
    },
    /// WATCH, until it is known what they are: the next request may be an EXEC that needs it.
    Watching {
        turn: Turn,
        keys: Keys,
    },
}

/// What concerns everything that stands before it.
enum Last {
    /// WAIT, WAITAOF.
    Wait(Wait),
    /// CLIENT READ.
    Read { policy: ReadPolicy, token: Option<SessionToken> },
    /// CLIENT TOKEN.
    Token,
}

pub(super) struct Connection {
    shared: Arc<Shared>,
    /// The same moment on two clocks.
    accepted: (Instant, u64),
    listed: Listed,
    signals: Arc<Signals>,
    parser: Parser,
    input: BytesMut,
    output: BytesMut,
    pipeline: Pipeline,
    ears: Ears,
    tracker: Tracker,
    /// The last request whose reads are tracked.
    last_tracked: Option<Turn>,
    /// What has become of copies that the client may be about to get: told behind the reply of this turn.
    held_stale: Option<(Turn, Told)>,
    held: Option<Held>,
    /// Places taken of those the router has. Invariant: at least as many as requests are outstanding.
    places: usize,
    /// Nothing more is taken up; what was, is answered.
    is_closing: bool,
    /// Whether the held request waits for the end of a pause.
    is_paused: bool,
    /// Whether no whole request is left in `input`. Only then is more read: what has been read is executed even if nothing follows it,
    /// and `input` holds at most one unfinished request and what came with it.
    is_drained: bool,
    /// Since when half a request has been here.
    partial_since: Option<Instant>,
    /// Since when the client has taken none of the bytes that wait for it.
    unread_since: Option<Instant>,
    last_heard: Instant,
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>, peer: String, local: String) -> Self {
        let number = shared.number_connection();
        let limits = RequestLimits {
            request_bytes: shared.limits.request_bytes,
            argument_bytes: shared.limits.request_bytes,
            ..RequestLimits::default()
        };
        let signals = Arc::new(Signals::default());
        let listed = shared.list(KnownClient::new(number, peer, local, now_micros(), signals.tell()));
        let pipeline = Pipeline::new(Arc::clone(&shared), Arc::clone(listed.seat.client()));
        *signals.unblocked.lock() = Arc::clone(pipeline.unblocked());
        let accepted = (Instant::now(), listed.seat.client().connected_micros());
        Self {
            listed,
            signals,
            accepted,
            parser: Parser::new(limits),
            input: BytesMut::new(),
            output: BytesMut::new(),
            pipeline,
            ears: Ears::new(),
            tracker: shared.tracking.tracker(number),
            last_tracked: None,
            held_stale: None,
            held: None,
            places: 0,
            is_closing: false,
            is_paused: false,
            is_drained: true,
            partial_since: None,
            unread_since: None,
            last_heard: Instant::now(),
            shared,
        }
    }

    /// Serves the connection until it ends, or another one ends it.
    pub(super) async fn serve(self, stream: TcpStream) -> Result<(), End> {
        let signals = Arc::clone(&self.signals);
        signals.ended.run_until_cancelled(self.serve_to_its_end(stream)).await.unwrap_or(Err(End::Killed))
    }

    async fn serve_to_its_end(mut self, mut stream: TcpStream) -> Result<(), End> {
        let (shared, signals) = (Arc::clone(&self.shared), Arc::clone(&self.signals));
        let (mut reader, mut writer) = stream.split();
        let mut alarm = Box::pin(tokio::time::sleep(self.patience()));
        loop {
            self.take_up();
            // Replies that are handed out make room for requests that have arrived already. Others get their turn in between.
            let goes_on = self.hand_out() && self.may_take_up();
            self.tell_stale_at_once();
            if self.is_closing && self.pipeline.is_blocked() {
                // Whoever goes away while it waits, or has to, takes nothing any more.
                self.pipeline.stop_waiting();
            }
            if self.is_closing && self.pipeline.len() == 0 && self.output.is_empty() {
                return Ok(writer.shutdown().await?);
            }
            let (wants_bytes, wants_place) = (self.wants_bytes(), self.wants_place());
            let paused_until = self.shared.clients.paused_until(true).unwrap_or(0);
            if wants_bytes {
                self.input.reserve(READ_BYTES);
            }
            tokio::select! {
                biased;
                written = writer.write_buf(&mut self.output), if !self.output.is_empty() => self.on_written(written?),
                () = self.pipeline.progress(), if self.pipeline.outstanding() > 0 || self.pipeline.is_blocked() => (),
                read = reader.read_buf(&mut self.input), if wants_bytes => self.on_read(read?),
                permit = shared.admission.acquire(), if wants_place => if let Ok(permit) = permit {
                    permit.forget();
                    self.places += 1;
                },
                Some(message) = self.ears.next(), if self.output.len() < WRITE_AHEAD_BYTES => self.tell(&message),
                told = self.tracker.next(), if self.held_stale.is_none() && self.output.len() < WRITE_AHEAD_BYTES => {
                    self.on_stale(told);
                }
                () = shared.stopping.cancelled(), if !self.is_closing => self.is_closing = true,
                () = &mut alarm => {
                    self.is_closing |= self.pipeline.is_blocked() && has_gone(&reader);
                    self.check_patience(&mut alarm)?;
                }
                () = tokio::task::yield_now(), if goes_on => (),
                () = pause_over(paused_until, &signals), if self.is_paused => (),
            }
        }
    }

    /// Takes up requests that have arrived, as many as may begin.
    fn take_up(&mut self) {
        self.give_back_places();
        loop {
            if let Some(held) = self.held.take() {
                self.is_paused = false;
                self.begin(held);
            }
            if !self.may_take_up() {
                break;
            }
            match self.parser.next(&mut self.input) {
                Ok(Some(args)) => {
                    self.partial_since = None;
                    self.request(args);
                }
                Ok(None) => {
                    self.is_drained = true;
                    // A request without words ends without a trace; nothing is missing behind it.
                    match self.input.is_empty() {
                        true => self.partial_since = None,
                        false => _ = self.partial_since.get_or_insert_with(Instant::now),
                    }
                    break;
                }
                Err(error) => self.on_protocol_error(error),
            }
        }
        self.pipeline.flush();
        self.give_back_places();
    }

    /// Whether the next request may be taken up, if it is here.
    fn may_take_up(&self) -> bool {
        !self.is_closing && self.held.is_none() && !self.pipeline.is_blocked() && self.has_room()
    }

    fn has_room(&self) -> bool {
        let is_short = self.pipeline.len() < self.shared.limits.pipeline && self.output.len() < WRITE_AHEAD_BYTES;
        let to_come = self.untaken_bytes().saturating_add(self.pipeline.expected_bytes());
        is_short && to_come < self.shared.limits.output_bytes
    }

    /// Bytes of replies the client has not taken, those included that wait for one before them.
    fn untaken_bytes(&self) -> usize {
        self.output.len() + self.pipeline.waiting_bytes()
    }

    fn request(&mut self, args: Args) {
        let mut session = self.listed.session.lock();
        if session.is_collecting() {
            drop(session);
            return self.collect(args);
        }
        if session.tracking().is_none()
            && let Some(spec) = simplekv_resp::plain(&args)
            && session.admit(spec).is_ok()
        {
            let (is_heard, protocol) = (session.hears(None), session.protocol());
            drop(session);
            let task = Task::plain(spec, args);
            let turn = self.pipeline.take_turn(protocol, is_heard, task.class());
            self.measure(&task);
            return self.begin(Held::Task { turn, task });
        }
        let words = args.clone();
        let parsed = Request::parse(args).and_then(|request| session.admit(request.spec).map(|()| request));
        let is_heard = session.hears(parsed.as_ref().ok());
        let control = match parsed.map(|request| request.body) {
            Ok(Body::Control(control)) => control,
            Ok(Body::Data(command)) => {
                let (protocol, track) = (session.protocol(), session.tracks_reads());
                drop(session);
                if track {
                    self.track(&command);
                }
                return match Task::of(command, words, track) {
                    Ok(task) => {
                        let turn = self.pipeline.take_turn(protocol, is_heard, task.class());
                        self.measure(&task);
                        if track {
                            self.last_tracked = Some(turn);
                        }
                        self.begin(Held::Task { turn, task });
                    }
                    Err(failure) => {
                        let turn = self.pipeline.take_turn(protocol, is_heard, Class::Invalid);
                        self.pipeline.answer(turn, failure.into());
                    }
                };
            }
            Err(failure) => {
                let turn = self.pipeline.take_turn(session.protocol(), is_heard, Class::Invalid);
                return self.pipeline.answer(turn, failure.into());
            }
        };
        drop(session);
        self.control(control, is_heard);
    }

    /// Takes up a request after MULTI.
    fn collect(&mut self, args: Args) {
        let mut session = self.listed.session.lock();
        let is_heard = session.hears(None);
        let collected = session.collect(args);
        let (protocol, track) = (session.protocol(), session.tracks_reads());
        drop(session);
        match collected {
            Collected::Now(control) => self.control(control, is_heard),
            Collected::Answered(reply) => {
                let turn = self.pipeline.take_turn(protocol, is_heard, Class::Control);
                self.pipeline.answer(turn, reply);
            }
            Collected::Exec(transaction) => {
                let atomic = if track { transaction.atomic() } else { None };
                if let Some(atomic) = &atomic {
                    self.tracker.read_untracked(atomic);
                }
                let shared = Arc::clone(&self.shared);
                let within = Within { shared, session: Arc::clone(&self.listed.session) };
                let client = self.pipeline.session().clone();
                let conclude = |transaction, done| within.conclude(client, transaction, done).boxed();
                match Task::exec(transaction, conclude) {
                    Ok(task) => {
                        let turn = self.pipeline.take_turn(protocol, is_heard, task.class());
                        self.measure(&task);
                        self.last_tracked = atomic.map(|_| turn).or(self.last_tracked);
                        self.begin(Held::Task { turn, task });
                    }
                    Err(answered) => {
                        let turn = self.pipeline.take_turn(protocol, is_heard, Class::Control);
                        self.pipeline.answer_later(turn, answered);
                    }
                }
            }
        }
    }

    /// Has the newest request measured, if anybody wants to know.
    fn measure(&mut self, task: &Task) {
        if self.shared.slow_log.threshold().is_some()
            && let Some(words) = task.words()
        {
            self.pipeline.measure(words, self.last_heard);
        }
    }

    fn control(&mut self, control: Control, is_heard: bool) {
        let mut session = self.listed.session.lock();
        let answer = session.answer(&control, &RouterFacts { shared: &self.shared });
        // HELLO's own reply is in the protocol it chooses.
        let protocol = session.protocol();
        drop(session);
        let turn = self.pipeline.take_turn(protocol, is_heard, Class::Control);
        match (answer, control) {
            (Answer::Reply(_), Control::Client(ClientCommand::Read { policy, token })) => {
                self.begin(Held::Last { turn, last: Last::Read { policy, token } });
            }
            (Answer::Reply(_), Control::Client(ClientCommand::Token)) => {
                self.begin(Held::Last { turn, last: Last::Token });
            }
            (Answer::Reply(reply), Control::Reset) => {
                self.ears.close();
                self.tracker.stop();
                self.pipeline.reset_session();
                self.pipeline.answer(turn, reply);
            }
            (Answer::Reply(reply), _) => self.pipeline.answer(turn, reply),
            (Answer::Close(reply), _) => {
                self.pipeline.answer(turn, reply);
                self.is_closing = true;
            }
            (Answer::NotMine, Control::Wait(wait)) => self.begin(Held::Last { turn, last: Last::Wait(wait) }),
            (Answer::NotMine, Control::PubSub(query)) => {
                let session = self.pipeline.session().clone();
                self.pipeline.answer_later(turn, questions::pubsub(session, query));
            }
            (Answer::NotMine, Control::Subscribe { naming, names }) => {
                let (new, reply) = self.listed.session.lock().subscribe(naming, &names);
                let ready = self.ears.subscribe(self.pipeline.session(), naming, new);
                self.pipeline.answer_later(turn, async move {
                    ready.await;
                    reply
                });
            }
            (Answer::NotMine, Control::Unsubscribe { naming, names }) => {
                let (ended, reply) = self.listed.session.lock().unsubscribe(naming, &names);
                self.ears.unsubscribe(naming, &ended);
                self.pipeline.answer(turn, reply);
            }
            (Answer::NotMine, Control::Publish { naming, channel, message }) => {
                self.begin(Held::Task { turn, task: Task::Publish { naming, channel, message } });
            }
            (Answer::NotMine, Control::Client(ClientCommand::Tracking(request))) => self.set_terms(turn, &request),
            (Answer::NotMine, Control::Watch { keys }) => {
                let allowed = self.listed.session.lock().may_watch(keys.len());
                match allowed {
                    Ok(()) => self.begin(Held::Watch { turn, keys }),
                    Err(failure) => self.pipeline.answer(turn, failure.into()),
                }
            }
            (Answer::NotMine, _) => self.pipeline.answer(turn, NOT_THROUGH_A_ROUTER.into()),
        }
    }

    /// Does what CLIENT TRACKING asks for.
    fn set_terms(&mut self, turn: Turn, request: &TrackingRequest) {
        let tracking = &self.shared.tracking;
        let tracked = self.listed.session.lock().track(request, |id| tracking.has(id));
        match tracked {
            Ok(terms) => {
                // What is told of the past, now that nodes are heard, comes behind the answer.
                self.last_tracked = Some(turn);
                let ready = self.tracker.set_terms(&self.shared.client, terms);
                self.pipeline.answer_later(turn, async move {
                    let _ = tokio::time::timeout(TRACKING_PATIENCE, ready).await;
                    Reply::Ok
                });
            }
            Err(failure) => self.pipeline.answer(turn, failure.into()),
        }
    }

    /// Before a command is begun: has the client told when what it reads changes.
    fn track(&self, command: &Command) {
        match command {
            // Asked again, a transaction is answered what it read at first; whatever it reads is told to have changed since.
            Command::Atomic(_) => self.tracker.read_untracked(command),
            command => self.tracker.read(command),
        }
    }

    /// Copies have become stale. Of those that the client is about to get it is told behind the replies: it would throw away what it
    /// does not have yet, and keep what comes. What is taken up from now on is read later.
    fn on_stale(&mut self, told: Told) {
        match self.last_tracked.filter(|turn| !self.pipeline.is_over(*turn)) {
            Some(turn) => self.held_stale = Some((turn, told)),
            None => self.tell_stale(&told),
        }
    }

    /// Tells what can be told by now. One that always has something to ask is told in between.
    fn tell_stale_at_once(&mut self) {
        if let Some((_, told)) = self.held_stale.take_if(|(turn, _)| self.pipeline.is_over(*turn)) {
            self.tell_stale(&told);
        }
        if self.held_stale.is_none()
            && self.output.len() < WRITE_AHEAD_BYTES
            && let Some(told) = self.tracker.next_at_once()
        {
            self.on_stale(told);
        }
    }

    fn tell_stale(&mut self, told: &Told) {
        let mut session = self.listed.session.lock();
        let lost: Vec<Option<Reply>> = told.lost.iter().map(|to| session.lost_redirect(*to)).collect();
        let stale = [session.stale(&told.own), session.stale_of_others(&told.of_others)];
        for reply in stale.into_iter().chain(lost).flatten() {
            encode::reply(&reply, session.protocol(), &mut self.output);
        }
    }

    /// Tells what was said in a channel.
    fn tell(&mut self, said: &Message) {
        let protocol = self.listed.session.lock().protocol();
        let push = message(said.naming, &said.name, &said.channel, &said.message);
        encode::reply(&push, protocol, &mut self.output);
    }

    /// Begins a request, or holds it if it may not begin yet.
    fn begin(&mut self, held: Held) {
        match held {
            // What only reads passes a pause of writes.
            Held::Task { turn, task } if self.shared.clients.paused_until(task.is_write()).is_some_and(is_to_come) => {
                self.is_paused = true;
                self.held = Some(Held::Task { turn, task });
            }
            Held::Last { turn, last: Last::Wait(wait) }
                if self.pipeline.outstanding() == 0 && !self.pipeline.is_blocked() =>
            {
                let groups = self.shared.topology().groups().iter().map(|group| group.id).collect();
                self.pipeline.wait_for(turn, questions::wait(self.pipeline.session().clone(), wait, groups));
            }
            Held::Last { turn, last } if self.pipeline.outstanding() == 0 && !self.pipeline.is_blocked() => {
                let reply = self.conclude(last);
                self.pipeline.answer(turn, reply);
            }
            Held::Task { turn, task: task @ Task::Blocking { .. } } if self.pipeline.may_begin(&task) => {
                self.pipeline.begin(turn, task);
            }
            Held::Task { turn, task } if self.pipeline.may_begin(&task) && self.take_place() => {
                self.pipeline.begin(turn, task);
            }
            Held::Watch { turn, keys }
                if self.pipeline.outstanding() == 0 && !self.pipeline.is_blocked() && self.take_place() =>
            {
                self.pipeline.ask_versions(&keys);
                self.held = Some(Held::Watching { turn, keys });
            }
            Held::Watching { turn, keys } => match self.pipeline.take_versions() {
                None => self.held = Some(Held::Watching { turn, keys }),
                Some(versions) => {
                    let reply = match Session::watched(keys, versions) {
                        Ok(watched) => {
                            self.listed.session.lock().watch(watched);
                            Reply::Ok
                        }
                        Err(reply) => reply,
                    };
                    self.pipeline.answer(turn, reply);
                }
            },
            held => self.held = Some(held),
        }
    }

    /// Everything before it has been answered.
    fn conclude(&mut self, last: Last) -> Reply {
        match last {
            // Begun above: it is not answered at once.
            Last::Wait(_) => Reply::Null,
            Last::Read { policy, token } => {
                self.pipeline.set_read_policy(policy);
                token.iter().for_each(|token| self.pipeline.session().merge(token));
                Reply::Ok
            }
            Last::Token => Reply::text(self.pipeline.session().token().to_string()),
        }
    }

    /// Makes sure of a place for one more request. `false` if the router has none left.
    fn take_place(&mut self) -> bool {
        if self.places > self.pipeline.outstanding() {
            return true;
        }
        // More are coming, most likely; what turns out to be too many is given back at the end of this turn.
        let wanted = if self.input.is_empty() { 1 } else { PLACES_AT_ONCE };
        for count in [wanted, 1] {
            if let Ok(permits) = self.shared.admission.try_acquire_many(count) {
                permits.forget();
                self.places += count as usize;
                return true;
            }
        }
        false
    }

    fn wants_place(&self) -> bool {
        match &self.held {
            Some(Held::Task { task, .. }) => {
                self.pipeline.may_begin(task) && self.places <= self.pipeline.outstanding()
            }
            Some(Held::Watch { .. }) => self.pipeline.outstanding() == 0 && self.places == 0,
            Some(Held::Watching { .. } | Held::Last { .. }) | None => false,
        }
    }

    /// Gives back the places of requests that have been answered, but for one that a held request waited for.
    fn give_back_places(&mut self) {
        let needed = self.pipeline.outstanding() + usize::from(self.held.is_some() && !self.pipeline.is_blocked());
        if let Some(surplus) = self.places.checked_sub(needed)
            && surplus > 0
        {
            self.shared.admission.add_permits(surplus);
            self.places = needed;
        }
    }

    /// Encodes replies that are due. Whether there were any, even if nobody wants to hear them.
    fn hand_out(&mut self) -> bool {
        let mut any = false;
        // Replies of one kind mostly follow each other, and the counters are everybody's.
        let mut alike = (Class::Control, false, 0);
        while self.output.len() < WRITE_AHEAD_BYTES {
            let Some(due) = self.pipeline.next_due() else { break };
            any = true;
            let is_error = matches!(due.reply, Reply::Error(_));
            let (class, with_error, count) = alike;
            alike = match (class, with_error) == (due.class, is_error) {
                true => (class, with_error, count + 1),
                false => {
                    self.shared.metrics.answered(class, with_error, count);
                    (due.class, is_error, 1)
                }
            };
            if due.is_heard {
                encode::reply(&due.reply, due.protocol, &mut self.output);
            }
        }
        self.shared.metrics.answered(alike.0, alike.1, alike.2);
        match self.output.is_empty() {
            true => self.unread_since = None,
            false => _ = self.unread_since.get_or_insert_with(Instant::now),
        }
        any
    }

    fn wants_bytes(&self) -> bool {
        // Of a client that waits it matters whether it goes away, whatever it sends meanwhile.
        self.is_drained && self.may_take_up() || self.pipeline.is_blocked() && self.input.len() < READ_BYTES
    }

    fn on_read(&mut self, count: usize) {
        self.last_heard = Instant::now();
        let (accepted, micros) = self.accepted;
        let since = u64::try_from((self.last_heard - accepted).as_micros()).unwrap_or(0);
        self.listed.seat.client().heard(micros + since);
        self.is_drained = false;
        self.shared.metrics.bytes_in.inc_by(count as u64);
        // The client may have closed only its half and wait for the answers to what it sent.
        self.is_closing |= count == 0;
    }

    fn on_written(&mut self, count: usize) {
        self.unread_since = None;
        self.shared.metrics.bytes_out.inc_by(count as u64);
    }

    fn on_protocol_error(&mut self, error: ProtocolError) {
        self.shared.metrics.protocol_errors.inc();
        let protocol = self.listed.session.lock().protocol();
        let turn = self.pipeline.take_turn(protocol, true, Class::Invalid);
        self.pipeline.answer(turn, Reply::Error(error.into()));
        self.is_closing = true;
    }

    /// How often to look whether the client tries our patience.
    fn patience(&self) -> Duration {
        let limits = &self.shared.limits;
        let shortest = limits.idle_timeout.unwrap_or(Duration::MAX).min(limits.partial_request_timeout);
        (shortest / 8).max(Duration::from_millis(5))
    }

    /// Ends the connection if its client takes too long for anything.
    fn check_patience(&mut self, alarm: &mut Pin<Box<Sleep>>) -> Result<(), End> {
        let now = Instant::now();
        alarm.as_mut().reset(now + self.patience());
        let limits = &self.shared.limits;
        let is_over = |since: Option<Instant>, limit: Duration| since.is_some_and(|since| now - since >= limit);
        // A client that takes its replies may be sent any number of bytes. One that has stopped is waited for less long the more of
        // them it leaves here.
        let unread = match self.untaken_bytes() > limits.output_bytes {
            true => limits.partial_request_timeout / 4,
            false => limits.partial_request_timeout,
        };
        if is_over(self.unread_since, unread) {
            self.shared.metrics.slow_readers.inc();
            return Err(End::UnreadReplies);
        }
        // Whose bytes we do not read cannot be late with them.
        if self.wants_bytes() && is_over(self.partial_since, limits.partial_request_timeout) {
            return Err(End::PartialRequest);
        }
        // Whoever listens may do so in silence.
        let is_silent = self.pipeline.len() == 0 && self.output.is_empty() && self.ears.is_empty();
        match limits.idle_timeout {
            Some(idle) if is_silent && now - self.last_heard >= idle => Err(End::Idle),
            _ => Ok(()),
        }
    }
}

/// Whether a time has not come yet.
fn is_to_come(until_micros: u64) -> bool {
    until_micros > now_micros()
}

/// Waits until a pause is over.
async fn pause_over(until_micros: u64, signals: &Signals) {
    let left = Duration::from_micros(until_micros.saturating_sub(now_micros()));
    let _ = tokio::time::timeout(left, signals.resumed.notified()).await;
}

/// Whether the client has closed its side, however much of what it sent is not read.
fn has_gone(reader: &ReadHalf<'_>) -> bool {
    let ready = reader.ready(Interest::READABLE).now_or_never();
    ready.is_some_and(|ready| ready.map_or(true, |ready| ready.is_read_closed()))
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.admission.add_permits(self.places);
    }
}
