//! One connection: requests are executed in the order they came, as many together as have arrived.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use simplekv_resp::clients::KnownClient;
use simplekv_resp::command::{Blocking, ObjectQuestion};
use simplekv_resp::control::Wait;
use simplekv_resp::session::{Answer as SessionAnswer, Session};
use simplekv_resp::tracking::Told;
use simplekv_resp::{
    Args, Body, Collected, Command, Control, Keys, Parser, ProtocolError, Request, RequestLimits, Transaction, encode,
};
use simplekv_types::{Failure, Naming, ReadPolicy, Reply, SessionToken};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::facts::NodeView;
use super::listening::{Ears, Heard};
use super::signals::Signals;
use super::watch::StopWatch;
use crate::dispatch::{Door, Operation, Seen};
use crate::group::Answer;
use crate::keyspace;
use crate::metrics::Metrics;
use crate::shared::Shared;
use crate::{awaited, budget};

/// Requests taken together at most.
const TOGETHER: usize = 1024;
/// Room made for what the client sends next.
const READ_BYTES: usize = 16 << 10;
/// How often to look whether a client that waits, and has sent more than is read meanwhile, has gone.
const GONE_INTERVAL: Duration = Duration::from_secs(1);
/// Replies are sent once they have grown to this size, and when there is nothing more to do.
const WRITE_BYTES: usize = 256 << 10;

/// Tells a client why it is not served.
pub(super) async fn refuse(mut stream: TcpStream, text: &[u8]) {
    // It may be gone already.
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(text)).await;
}

/// Serves a connection until either side ends it.
pub(super) async fn run(shared: &Shared, stream: TcpStream, number: u64, ended: CancellationToken) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let text = |address: io::Result<std::net::SocketAddr>| address.map(|a| a.to_string()).unwrap_or_default();
    let (peer, local) = (text(stream.peer_addr()), text(stream.local_addr()));
    let view = NodeView::new(shared);
    let signals = Arc::new(Signals::default());
    let client = KnownClient::new(number, peer, local, view.now_micros(), signals.tell(ended));
    let seat = shared.clients().seat(client);
    let session = Session::of(Arc::clone(seat.client()), false);
    let limits = RequestLimits {
        request_bytes: shared.limits().request_bytes,
        argument_bytes: shared.limits().request_bytes,
        ..RequestLimits::default()
    };
    let parser = Parser::new(limits);
    let input = BytesMut::with_capacity(READ_BYTES);
    let mut connection = Connection {
        shared,
        view,
        stream,
        session,
        parser,
        input,
        output: BytesMut::new(),
        operations: Vec::new(),
        asked: Vec::new(),
        words: Vec::new(),
        is_measured: false,
        watch: StopWatch::new(seat.client().connected_micros()),
        written: SessionToken::new(),
        signals,
        partial_since: None,
        ears: Ears::new(shared, number),
    };
    while connection.turn().await? {}
    // Whoever is seen here is still served.
    drop(seat);
    connection.send().await
}

/// What is to be known of a data command when it has been executed.
#[derive(Clone, Copy)]
struct Asked {
    /// Whether the client wants to hear the reply.
    is_heard: bool,
    is_write: bool,
}

struct Connection<'a> {
    shared: &'a Shared,
    view: NodeView<'a>,
    stream: TcpStream,
    session: Session,
    parser: Parser,
    input: BytesMut,
    output: BytesMut,
    /// Data commands to be executed together, and what is to be known of each afterwards.
    operations: Vec<Result<Operation, Failure>>,
    asked: Vec<Asked>,
    /// Their words, if they are measured.
    words: Vec<Args>,
    is_measured: bool,
    watch: StopWatch,
    /// What the connection has written.
    written: SessionToken,
    signals: Arc<Signals>,
    /// Since when a request has been arriving.
    partial_since: Option<Instant>,
    ears: Ears<'a>,
}

impl Connection<'_> {
    /// Executes what has arrived, then waits for more. False when the connection is to be closed.
    async fn turn(&mut self) -> io::Result<bool> {
        for _ in 0..TOGETHER {
            match self.parser.next(&mut self.input) {
                Ok(Some(args)) => {
                    if !self.take(args).await? {
                        return Ok(false);
                    }
                }
                Ok(None) => {
                    self.execute().await?;
                    // One that always has something to ask is told in between.
                    if let Some(heard) = self.ears.next_at_once()
                        && !self.tell(heard)
                    {
                        return Ok(false);
                    }
                    self.send().await?;
                    return self.receive().await;
                }
                Err(error) => {
                    self.execute().await?;
                    self.protocol_error(&error);
                    return Ok(false);
                }
            }
        }
        self.execute().await?;
        Ok(true)
    }

    /// Takes up one request. False when the connection is to be closed.
    async fn take(&mut self, args: Args) -> io::Result<bool> {
        self.partial_since = None;
        if self.session.is_collecting() {
            return self.collect(args).await;
        }
        if self.operations.is_empty() {
            self.is_measured = self.shared.slow_log().threshold().is_some();
        }
        // Of what is not understood nothing is kept: it may be a password in the wrong place.
        let mut words = if self.is_measured { args.clone() } else { Args::new() };
        let parsed = Request::parse(args).and_then(|request| self.session.admit(request.spec).map(|()| request));
        let heard = self.session.hears(parsed.as_ref().ok());
        let mut is_write = false;
        match parsed {
            Err(failure) => {
                words.clear();
                self.operations.push(Err(failure));
            }
            Ok(Request { body: Body::Data(Command::Blocking(blocking)), .. }) => {
                self.execute().await?;
                return self.block(blocking, heard).await;
            }
            Ok(Request { body: Body::Data(command), .. }) => {
                is_write = command.is_write();
                if command.is_keyspace_wide() && !is_write {
                    // It sees what stands before it.
                    self.execute().await?;
                }
                // Redis Cluster's clients ask a follower only after READONLY, and expect to be redirected otherwise.
                let default = match self.session.reads_followers() {
                    true => ReadPolicy::Linearizable,
                    false => ReadPolicy::Leader,
                };
                let policy = self.session.read_policy().unwrap_or(default);
                self.track(&command);
                self.operations.push(Ok(Operation { policy, origin: self.origin(), ..Operation::plain(command) }));
            }
            Ok(Request { body: Body::Control(control), .. }) => {
                // It may be about what stands before it: everything in its place.
                self.execute().await?;
                let stays = match control {
                    Control::Watch { keys } => {
                        let reply = self.watch(keys).await;
                        self.reply(&reply, heard);
                        true
                    }
                    Control::Wait(wait) => {
                        self.send().await?;
                        let Some(reply) = self.wait(&wait).await? else { return Ok(false) };
                        self.reply(&reply, heard);
                        true
                    }
                    control => self.control(&control, heard),
                };
                self.watch.skip();
                self.send_if_long().await?;
                return Ok(stays);
            }
        }
        if self.is_measured {
            if self.words.is_empty() {
                self.watch.begin();
            }
            self.words.push(words);
        }
        self.asked.push(Asked { is_heard: heard, is_write });
        Ok(true)
    }

    /// Takes up one request after MULTI. False when the connection is to be closed.
    async fn collect(&mut self, args: Args) -> io::Result<bool> {
        let heard = self.session.hears(None);
        let stays = match self.session.collect(args) {
            Collected::Answered(reply) => {
                self.reply(&reply, heard);
                true
            }
            Collected::Exec(transaction) => {
                let reply = self.exec(transaction).await;
                self.reply(&reply, heard);
                true
            }
            Collected::Now(control) => self.control(&control, heard),
        };
        self.send_if_long().await?;
        Ok(stays)
    }

    /// Does what was collected since MULTI. Nothing stands before it: MULTI has seen to that.
    async fn exec(&mut self, mut transaction: Transaction) -> Reply {
        self.wait_out_pause(true).await;
        let is_measured = self.shared.slow_log().threshold().is_some();
        if is_measured {
            self.watch.restart();
        }
        let done = match transaction.atomic() {
            None => Reply::Array(Vec::new()),
            Some(atomic) => {
                self.track(&atomic);
                let operation = Operation { origin: self.origin(), ..Operation::plain(atomic) };
                self.ask([operation]).await.pop().unwrap_or(Reply::NullArray)
            }
        };
        if is_measured {
            self.keep_if_slow(|| transaction.atomic().map(|atomic| atomic.to_args()));
        }
        if !matches!(done, Reply::Array(_)) {
            return done;
        }
        transaction.answer(|control| match self.session.answer(control, &self.view) {
            SessionAnswer::Reply(reply) | SessionAnswer::Close(reply) => reply,
            SessionAnswer::NotMine => self
                .ears
                .answer(&mut self.session, control)
                .unwrap_or_else(|| own_answer(self.shared, &self.view, control)),
        });
        transaction.conclude(done)
    }

    /// Tries until there is something to be found, the time is up, or the keys are another node's. False when the client is gone.
    async fn block(&mut self, blocking: Blocking, heard: bool) -> io::Result<bool> {
        self.send().await?;
        self.wait_out_pause(true).await;
        self.signals.forget();
        // A time that no clock will ever show is for ever.
        let deadline = blocking.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let waiter = self.shared.wait_for(blocking.awaited());
        let command = Command::Blocking(blocking);
        let mut routing = self.shared.routing_changes();
        let mut looks = tokio::time::interval(GONE_INTERVAL);
        let reply = loop {
            routing.mark_unchanged();
            let operation = Operation { origin: self.origin(), ..Operation::plain(command.clone()) };
            let reply = self.ask([operation]).await.pop().unwrap_or(Blocking::NOTHING);
            let Some(waiter) = waiter.as_ref().filter(|_| Blocking::is_nothing(&reply)) else { break reply };
            self.session.client().set_blocked(true);
            let time_is_up = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = waiter.woken() => (),
                // The group may have another leader: trying tells where it is.
                changed = routing.changed() => if changed.is_err() { return Ok(false) },
                () = time_is_up => break Blocking::NOTHING,
                reason = self.signals.unblocked() => break reason.reply(),
                // Nobody knows for how long it will wait, and until then it would keep what is no longer true.
                heard = self.ears.next() => {
                    if !self.tell(heard) {
                        return Ok(false);
                    }
                    self.send().await?;
                }
                () = self.shared.stopping().cancelled() => return Ok(false),
                // What the client sends now waits; what matters is whether it goes away.
                read = self.stream.read_buf(&mut self.input), if self.input.len() < READ_BYTES => {
                    if read? == 0 {
                        return Ok(false);
                    }
                }
                // What it has sent says nothing about whether it is still there.
                _ = looks.tick(), if self.input.len() >= READ_BYTES => {
                    let ready = self.stream.ready(Interest::READABLE).now_or_never();
                    if ready.is_some_and(|ready| ready.map_or(true, |ready| ready.is_read_closed())) {
                        return Ok(false);
                    }
                }
            }
        };
        self.session.client().set_blocked(false);
        self.watch.skip();
        self.reply(&reply, heard);
        Ok(true)
    }

    /// Waits until what the connection has written is in enough places. `None` when the client is gone.
    async fn wait(&mut self, wait: &Wait) -> io::Result<Option<Reply>> {
        let written = self.written.positions().to_vec();
        let waiting = awaited::all(self.shared, wait, &written);
        tokio::pin!(waiting);
        loop {
            tokio::select! {
                reply = &mut waiting => return Ok(Some(reply)),
                heard = self.ears.next() => {
                    if !self.tell(heard) {
                        return Ok(None);
                    }
                    self.send().await?;
                }
                // What the client sends now waits; what matters is whether it goes away.
                read = self.stream.read_buf(&mut self.input), if self.input.len() < READ_BYTES => {
                    if read? == 0 {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Waits until CLIENT PAUSE lets a command pass.
    async fn wait_out_pause(&mut self, is_write: bool) {
        while let Some(until) = self.shared.clients().paused_until(is_write) {
            let Some(left) = until.checked_sub(self.view.now_micros()).filter(|left| *left > 0) else { return };
            tokio::select! {
                () = tokio::time::sleep(Duration::from_micros(left)) => (),
                () = self.signals.resumed() => (),
            }
            self.watch.skip();
        }
    }

    /// Remembers what was measured, if it took long.
    fn keep_if_slow(&mut self, words: impl FnOnce() -> Option<Args>) {
        let took = self.watch.lap();
        let log = self.shared.slow_log();
        if log.threshold().is_some_and(|threshold| took >= threshold)
            && let Some(words) = words()
        {
            log.keep(&words, took, self.session.client(), self.view.now_micros());
        }
    }

    /// Before a command is executed: has the connection told when what it reads changes, if it wants to be.
    fn track(&self, command: &Command) {
        if self.session.tracks_reads() {
            self.ears.read(command);
        }
    }

    /// Who is not to be told of what it changes.
    fn origin(&self) -> Option<u64> {
        self.session.ignores_own_changes().then(|| self.session.id())
    }

    /// Learns what keys are, so that EXEC can tell whether they have changed.
    async fn watch(&mut self, keys: Keys) -> Reply {
        if let Err(failure) = self.session.may_watch(keys.len()) {
            return failure.into();
        }
        let question = ObjectQuestion::Version;
        let version = |key: &Bytes| Operation {
            policy: ReadPolicy::Leader,
            ..Operation::plain(Command::Object { key: key.clone(), question })
        };
        let versions = self.ask(keys.iter().map(version)).await;
        match Session::watched(keys, versions) {
            Ok(watched) => {
                self.session.watch(watched);
                Reply::Ok
            }
            Err(reply) => reply,
        }
    }

    /// Executes operations of our own.
    async fn ask(&mut self, operations: impl IntoIterator<Item = Operation>) -> Vec<Reply> {
        let operations = operations.into_iter().map(Ok).collect();
        let answers = self.shared.execute(Door::Resp, operations).finish(self.shared).await;
        let reply = |answer: Answer| {
            for seen in answer.seen {
                self.session.observe(seen);
                self.written.observe(seen);
            }
            answer.reply
        };
        answers.into_iter().map(reply).collect()
    }

    fn reply(&mut self, reply: &Reply, heard: bool) {
        if heard {
            encode::reply(reply, self.session.protocol(), &mut self.output);
        }
    }

    fn control(&mut self, control: &Control, heard: bool) -> bool {
        if matches!(control, Control::Reset) {
            self.ears.close();
        }
        let (reply, stays) = match self.session.answer(control, &self.view) {
            SessionAnswer::Reply(reply) => (reply, true),
            SessionAnswer::Close(reply) => (reply, false),
            SessionAnswer::NotMine => match self.ears.answer(&mut self.session, control) {
                Some(reply) => (reply, true),
                None => (own_answer(self.shared, &self.view, control), true),
            },
        };
        self.reply(&reply, heard);
        stays
    }

    /// Executes the data commands taken up so far and sends or keeps their replies.
    async fn execute(&mut self) -> io::Result<()> {
        while !self.operations.is_empty() {
            let count = match self.operations.len() {
                1 => 1,
                _ => budget::fitting(self.shared, &self.operations, self.shared.limits().output_bytes),
            };
            let later = self.operations.split_off(count);
            let operations = std::mem::replace(&mut self.operations, later);
            self.execute_together(operations).await?;
        }
        Ok(())
    }

    async fn execute_together(&mut self, mut operations: Vec<Result<Operation, Failure>>) -> io::Result<()> {
        let metrics = self.shared.metrics();
        Metrics::add(&metrics.resp_commands, operations.len() as u64);
        let later = self.asked.split_off(operations.len());
        let asked = std::mem::replace(&mut self.asked, later);
        let later = self.words.split_off(operations.len().min(self.words.len()));
        let words = std::mem::replace(&mut self.words, later);
        let is_write = asked.iter().any(|asked| asked.is_write);
        if self.shared.clients().paused_until(is_write).is_some() {
            self.wait_out_pause(is_write).await;
            self.watch.begin();
        }
        if self.session.read_policy().is_some_and(|policy| !policy.is_linearizable()) {
            // As of now: what stood before these has been answered.
            let seen = Arc::new(self.session.token().clone());
            for operation in operations.iter_mut().flatten() {
                operation.session = Some(Seen::All(Arc::clone(&seen)));
            }
        }
        let answers = self.shared.execute(Door::Resp, operations).finish(self.shared).await;
        if !words.is_empty() {
            self.keep_slow(&words);
        }
        let failed = answers.iter().filter(|answer| matches!(answer.reply, Reply::Error(_))).count();
        if failed > 0 {
            Metrics::add(&metrics.failed_commands, failed as u64);
        }
        for (answer, Asked { is_heard, is_write }) in answers.into_iter().zip(asked) {
            for seen in &answer.seen {
                self.session.observe(*seen);
                if is_write {
                    self.written.observe(*seen);
                }
            }
            if is_heard {
                encode::reply(&answer.reply, self.session.protocol(), &mut self.output);
                self.send_if_long().await?;
            }
        }
        Ok(())
    }

    /// Remembers commands that were executed together, if that took long: each of them waited for all.
    fn keep_slow(&mut self, words: &[Args]) {
        let took = self.watch.lap();
        let log = self.shared.slow_log();
        if log.threshold().is_some_and(|threshold| took >= threshold) {
            let now = self.view.now_micros();
            for words in words.iter().filter(|words| !words.is_empty()) {
                log.keep(words, took, self.session.client(), now);
            }
        }
    }

    /// Sends the replies so far if they are many.
    async fn send_if_long(&mut self) -> io::Result<()> {
        if self.output.len() > WRITE_BYTES { self.send().await } else { Ok(()) }
    }

    fn protocol_error(&mut self, error: &ProtocolError) {
        Metrics::add(&self.shared.metrics().failed_commands, 1);
        encode::reply(&Reply::Error(Failure::from(error.clone())), self.session.protocol(), &mut self.output);
    }

    /// Sends the replies so far. A client that does not read them is cut off.
    async fn send(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        let patience = self.shared.limits().partial_request_timeout;
        match tokio::time::timeout(patience, self.stream.write_all(&self.output)).await {
            Ok(written) => written?,
            Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read its replies")),
        }
        self.output.clear();
        Ok(())
    }

    /// Tells what was heard. False if the connection is to be closed.
    fn tell(&mut self, heard: Heard) -> bool {
        let mut next = Some(heard);
        while let Some(heard) = next {
            match heard {
                Heard::Message(reply) => self.reply(&reply, true),
                Heard::Elsewhere(channels) => {
                    let reply = self.ears.unsubscribe(&mut self.session, Naming::Shard, &channels);
                    self.reply(&reply, true);
                }
                Heard::Stale(told) => self.tell_stale(&told),
                Heard::GivenUp => return false,
            }
            next = if self.output.len() < WRITE_BYTES { self.ears.next_at_once() } else { None };
        }
        true
    }

    fn tell_stale(&mut self, told: &Told) {
        let lost = told.lost.iter().filter_map(|to| self.session.lost_redirect(*to));
        let lost: Vec<Reply> = lost.collect();
        let stale = [self.session.stale(&told.own), self.session.stale_of_others(&told.of_others)];
        stale.into_iter().flatten().chain(lost).for_each(|reply| self.reply(&reply, true));
    }

    /// Waits for more bytes, or something to be told. False at the end of the stream.
    async fn receive(&mut self) -> io::Result<bool> {
        self.input.reserve(READ_BYTES);
        let limits = self.shared.limits();
        let begun = match self.input.is_empty() {
            true => None,
            // However slowly it drips in: the request as a whole has this long.
            false => Some(*self.partial_since.get_or_insert_with(Instant::now)),
        };
        self.partial_since = begun;
        let deadline = match begun {
            Some(begun) => Some(begun + limits.partial_request_timeout),
            None => limits.idle_timeout.map(|patience| Instant::now() + patience),
        };
        // Whoever listens may do so in silence.
        let deadline = deadline.filter(|_| begun.is_some() || !self.session.is_subscribed());
        let read = self.stream.read_buf(&mut self.input);
        let late = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            count = read => {
                let now_micros = self.watch.restart();
                self.session.client().heard(now_micros);
                Ok(count? > 0)
            }
            heard = self.ears.next() => Ok(self.tell(heard)),
            () = late => {
                // Whoever asked nothing is told nothing: it would be taken for the answer to the next request.
                if begun.is_some() {
                    encode::error("ERR the request did not arrive in time, closing", &mut self.output);
                }
                Ok(false)
            }
        }
    }
}

/// What takes more than a session knows.
fn own_answer(shared: &Shared, view: &NodeView<'_>, control: &Control) -> Reply {
    match control {
        // Inside of a transaction there is nothing to wait for: what was acknowledged before is on every in-sync replica already.
        Control::Wait(_) => Reply::Int(view.followers_in_sync()),
        Control::Cluster(command) => keyspace::answer_slots(shared, command)
            .map_or(Reply::Error(Failure::command("ERR unsupported")), |answer| answer.reply),
        _ => Reply::Error(Failure::command("ERR unsupported")),
    }
}
