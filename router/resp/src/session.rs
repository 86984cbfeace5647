//! One connection's state, and the answers that need nothing but it and a few facts about the process.
//!
//! A node and a router drive the same session. For each request, in order: ask [`Session::hears`] whether the client wants to see the
//! reply, [`Session::admit`] whether it may ask at all, then [`Session::answer`] for control commands. What comes back as
//! [`Answer::NotMine`] and all data commands are the driver's. While [`Session::is_collecting`], requests go to [`Session::collect`]
//! instead.

use std::borrow::Cow;
use std::sync::Arc;

use simplekv_types::{Failure, Naming, Position, ReadPolicy, Reply, SessionToken};

use crate::clients::{Clients, Described, KnownClient};
use crate::command::{Body, Request, Watched};
use crate::control::{
    ClientCommand, ClientFilter, Control, Credentials, Hello, Kill, LibraryAttribute, ReplyMode, scripting,
};
use crate::encode::Protocol;
use crate::facts::{Facts, REDIS_VERSION, RoleFacts, Verdict};
use crate::table::{Flags, Spec};
use crate::{info, reference, route, views};

mod server;
mod subscriptions;
mod tracking;
mod transaction;

use subscriptions::Subscriptions;
pub use subscriptions::message;
use tracking::Tracking;
pub use tracking::{Stale, TrackingTerms};
use transaction::Collection;
pub use transaction::{Collected, Transaction};

/// What a session says to a control command.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// This.
    Reply(Reply),
    /// This, after which the connection is to be closed.
    Close(Reply),
    /// It takes more than a session knows: WAIT, and what looks at keys.
    NotMine,
}

/// Which replies are still to be withheld.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearing {
    All,
    NotNext,
    Nothing,
}

/// One connection.
#[derive(Clone, Debug)]
pub struct Session {
    /// What of it others see.
    client: Arc<KnownClient>,
    name: String,
    library_name: String,
    library_version: String,
    protocol: Protocol,
    /// Who the client has proved to be, or need not prove to be; `None` before that.
    user: Option<String>,
    hearing: Hearing,
    reads_followers: bool,
    /// What CLIENT READ chose.
    read_policy: Option<ReadPolicy>,
    /// What the connection has seen.
    token: SessionToken,
    /// What waits for EXEC, since MULTI.
    collection: Option<Collection>,
    /// What keys were when WATCH named them. Invariant: no key twice.
    watched: Vec<Watched>,
    /// What it listens to.
    subscriptions: Subscriptions,
    is_not_evicted: bool,
    does_not_touch: bool,
    /// What it is to be told of changes.
    tracking: Tracking,
}

const NO_AUTH: Failure = Failure::command("NOAUTH Authentication required.");
const NO_AUTH_HELLO: Failure = Failure::command(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be \
     used to authenticate the client and select the RESP protocol version at the same time",
);
const WRONG_PASSWORD: Failure = Failure::command("WRONGPASS invalid username-password pair or user is disabled.");
const NO_PASSWORD_SET: Failure = Failure::command(
    "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
);

/// The user of a connection that needs no password.
const DEFAULT_USER: &str = "default";

impl Session {
    /// A connection that was just accepted, and that no other knows of. `needs_auth`: whether it may do nothing before it has
    /// authenticated.
    #[must_use]
    pub fn new(id: u64, address: String, local_address: String, needs_auth: bool, now_micros: u64) -> Self {
        let client = KnownClient::new(id, address, local_address, now_micros, Box::new(|_| ()));
        Self::of(Arc::new(client), needs_auth)
    }

    /// As [`Session::new`], for one that others see.
    #[must_use]
    pub fn of(client: Arc<KnownClient>, needs_auth: bool) -> Self {
        let session = Self {
            client,
            name: String::new(),
            library_name: String::new(),
            library_version: String::new(),
            protocol: Protocol::default(),
            user: (!needs_auth).then(|| DEFAULT_USER.to_owned()),
            hearing: Hearing::All,
            reads_followers: false,
            read_policy: None,
            token: SessionToken::new(),
            collection: None,
            watched: Vec::new(),
            subscriptions: Subscriptions::default(),
            is_not_evicted: false,
            does_not_touch: false,
            tracking: Tracking::default(),
        };
        session.describe();
        session
    }

    /// What of it others see.
    #[must_use]
    pub fn client(&self) -> &Arc<KnownClient> {
        &self.client
    }

    /// Lets others see what has changed.
    fn describe(&self) {
        let subscribed =
            [Naming::Channel, Naming::Pattern, Naming::Shard].map(|naming| self.subscriptions.count(naming));
        self.client.set_queued(self.collection.as_ref().map(Collection::len));
        self.client.describe(|described| {
            described.name.clone_from(&self.name);
            described.library_name.clone_from(&self.library_name);
            described.library_version.clone_from(&self.library_version);
            described.user.clone_from(&self.user);
            *described = Described {
                protocol: self.protocol,
                reads_followers: self.reads_followers,
                subscribed,
                watched: self.watched.len(),
                is_not_evicted: self.is_not_evicted,
                does_not_touch: self.does_not_touch,
                tracking: self.tracking.seen_by_others(),
                ..std::mem::take(described)
            };
        });
    }

    /// The connection's number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.client.id()
    }

    /// What the connection was named by its client.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The client's address.
    #[must_use]
    pub fn address(&self) -> &str {
        self.client.address()
    }

    /// The protocol replies are to be encoded in. HELLO's own reply is in the protocol it chooses.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether the client may do more than authenticate. Its requests deserve other limits then.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.user.is_some()
    }

    /// Whether the client asked with READONLY to be answered by followers.
    #[must_use]
    pub fn reads_followers(&self) -> bool {
        self.reads_followers
    }

    /// What the client chose with CLIENT READ for its reads; `None` if it did not, or chose READONLY or READWRITE since.
    #[must_use]
    pub fn read_policy(&self) -> Option<ReadPolicy> {
        self.read_policy
    }

    /// What the connection has seen: what CLIENT TOKEN answers.
    #[must_use]
    pub fn token(&self) -> &SessionToken {
        &self.token
    }

    /// The connection has read or written this.
    pub fn observe(&mut self, position: Position) {
        self.token.observe(position);
    }

    /// The connection has seen what another session has.
    pub fn merge(&mut self, token: &SessionToken) {
        self.token.merge(token);
    }

    /// Whether the client wants to see the reply of the request now to be done. To be asked once for each request, in order;
    /// without one for a request that could not be parsed.
    pub fn hears(&mut self, request: Option<&Request>) -> bool {
        if let Some(Body::Control(Control::Client(ClientCommand::Reply(mode)))) = request.map(|request| &request.body) {
            self.hearing = match (mode, self.hearing) {
                (ReplyMode::On, _) => Hearing::All,
                (ReplyMode::Off, _) | (ReplyMode::Skip, Hearing::Nothing) => Hearing::Nothing,
                (ReplyMode::Skip, _) => Hearing::NotNext,
            };
            return *mode == ReplyMode::On;
        }
        let is_reset = request.is_some_and(|request| matches!(request.body, Body::Control(Control::Reset)));
        match self.hearing {
            Hearing::All => true,
            // It ends the silence it is sent in.
            Hearing::Nothing if is_reset => true,
            Hearing::Nothing => false,
            Hearing::NotNext => {
                self.hearing = Hearing::All;
                false
            }
        }
    }

    /// Whether the client may ask this.
    ///
    /// # Errors
    /// `NOAUTH` if it has to authenticate first.
    pub fn admit(&mut self, spec: &'static Spec) -> Result<(), Failure> {
        self.client.asked(spec);
        if self.collection.is_none() && spec.name != "multi" && !spec.name.starts_with("client") {
            self.tracking.begin_request();
        }
        self.may_ask(spec)?;
        if self.user.is_some() || spec.flags.contains(Flags::NO_AUTH) { Ok(()) } else { Err(NO_AUTH) }
    }

    /// Answers a control command.
    pub fn answer(&mut self, control: &Control, facts: &dyn Facts) -> Answer {
        let answer = self.decide(control, facts);
        match control {
            Control::Ping { .. } | Control::Echo { .. } | Control::Publish { .. } | Control::Asking => (),
            _ => self.describe(),
        }
        answer
    }

    fn decide(&mut self, control: &Control, facts: &dyn Facts) -> Answer {
        let reply = match control {
            Control::Hello(hello) => self.hello(hello, facts),
            Control::Auth(credentials) => self.authenticate(credentials, facts).map(|()| Reply::Ok),
            Control::Ping { message } if self.is_listening() => {
                let message = message.clone().unwrap_or_default();
                Ok(Reply::Array(vec![Reply::fixed("pong"), Reply::Bulk(message)]))
            }
            Control::Ping { message } => Ok(message.clone().map_or(Reply::Status("PONG"), Reply::Bulk)),
            Control::Echo { message } => Ok(Reply::Bulk(message.clone())),
            Control::Quit => return Answer::Close(Reply::Ok),
            Control::Reset => Ok(self.reset(facts)),
            Control::Multi => {
                self.collection = Some(Collection::default());
                Ok(Reply::Ok)
            }
            Control::Exec => Err(Failure::command("ERR EXEC without MULTI")),
            Control::Discard => Err(Failure::command("ERR DISCARD without MULTI")),
            Control::Unwatch => {
                self.watched = Vec::new();
                Ok(Reply::Ok)
            }
            Control::Watch { .. }
            | Control::Subscribe { .. }
            | Control::Unsubscribe { .. }
            | Control::Publish { .. }
            | Control::PubSub(_)
            | Control::Client(ClientCommand::Tracking(_)) => return Answer::NotMine,
            Control::Select { database: 0 } | Control::Asking => Ok(Reply::Ok),
            Control::Select { .. } => Err(Failure::command("ERR DB index is out of range")),
            Control::Client(ClientCommand::Kill(kill)) => return self.kill(kill, facts),
            Control::Client(ClientCommand::Caching(wanted)) => self.tracking.set_caching(*wanted),
            Control::Client(command) => Ok(self.change_client(command, facts)),
            Control::Command(query) => Ok(reference::answer(query)),
            Control::Help { of } => Ok(reference::help(of)),
            Control::Script(command) => scripting::answer(command),
            Control::ReadOnly => self.set_reads_followers(true, facts),
            Control::ReadWrite => self.set_reads_followers(false, facts),
            Control::AclWhoAmI => Ok(Reply::text(self.user.as_deref().unwrap_or(DEFAULT_USER))),
            Control::Info { sections } => Ok(Reply::Text(info::text(&facts.info(), sections).into())),
            Control::Cluster(command) => match facts.cluster() {
                None => Err(views::DISABLED),
                Some(cluster) => match views::answer(command, &cluster) {
                    None => return Answer::NotMine,
                    Some(reply) => Ok(reply),
                },
            },
            Control::Wait(_) => return Answer::NotMine,
            Control::Config(_)
            | Control::Time
            | Control::Role
            | Control::LastSave
            | Control::ModuleList
            | Control::SlowLog(_)
            | Control::Latency(_)
            | Control::Memory(_)
            | Control::Debug
            | Control::Lolwut => server::answer(control, facts),
        };
        Answer::Reply(reply.unwrap_or_else(Reply::Error))
    }

    fn hello(&mut self, hello: &Hello, facts: &dyn Facts) -> Result<Reply, Failure> {
        if let Some(credentials) = &hello.auth {
            self.authenticate(credentials, facts)?;
        }
        if self.user.is_none() {
            return Err(NO_AUTH_HELLO);
        }
        if let Some(name) = &hello.name {
            self.name = String::from_utf8_lossy(name).into_owned();
        }
        if let Some(protocol) = hello.protocol {
            self.protocol = protocol;
        }
        let role = match facts.role() {
            RoleFacts::Leader { .. } => "master",
            RoleFacts::Follower { .. } => "replica",
        };
        Ok(Reply::Map(vec![
            (Reply::fixed("server"), Reply::fixed("redis")),
            (Reply::fixed("version"), Reply::fixed(REDIS_VERSION)),
            (Reply::fixed("proto"), Reply::Int(i64::from(self.protocol.number()))),
            (Reply::fixed("id"), self.number()),
            (Reply::fixed("mode"), Reply::fixed(facts.mode().name())),
            (Reply::fixed("role"), Reply::fixed(role)),
            (Reply::fixed("modules"), Reply::Array(Vec::new())),
        ]))
    }

    fn number(&self) -> Reply {
        Reply::Int(i64::try_from(self.client.id()).unwrap_or(i64::MAX))
    }

    fn authenticate(&mut self, credentials: &Credentials, facts: &dyn Facts) -> Result<(), Failure> {
        match facts.check(credentials) {
            Verdict::Accepted => {
                let name = credentials.user.as_deref().map(String::from_utf8_lossy);
                self.user = Some(name.map_or_else(|| DEFAULT_USER.to_owned(), Cow::into_owned));
                Ok(())
            }
            Verdict::Refused => Err(WRONG_PASSWORD),
            Verdict::NotNeeded => match credentials.user.as_deref() {
                None => Err(NO_PASSWORD_SET),
                // A user without a password may give any.
                Some(name) if name == DEFAULT_USER.as_bytes() => {
                    self.user = Some(DEFAULT_USER.to_owned());
                    Ok(())
                }
                Some(_) => Err(WRONG_PASSWORD),
            },
        }
    }

    /// As good as new; a client that had to authenticate must do so again.
    fn reset(&mut self, facts: &dyn Facts) -> Reply {
        let nobody = Credentials { user: None, password: bytes::Bytes::new() };
        let needs_auth = facts.check(&nobody) != Verdict::NotNeeded;
        let fresh = Self::of(Arc::clone(&self.client), needs_auth);
        *self = Self {
            library_name: std::mem::take(&mut self.library_name),
            library_version: std::mem::take(&mut self.library_version),
            ..fresh
        };
        Reply::Status("RESET")
    }

    fn set_reads_followers(&mut self, reads_followers: bool, facts: &dyn Facts) -> Result<Reply, Failure> {
        if facts.cluster().is_none() {
            return Err(views::DISABLED);
        }
        self.reads_followers = reads_followers;
        self.read_policy = None;
        Ok(Reply::Ok)
    }

    fn change_client(&mut self, command: &ClientCommand, facts: &dyn Facts) -> Reply {
        match command {
            ClientCommand::SetInfo { attribute, value } => {
                match attribute {
                    LibraryAttribute::Name => self.library_name.clone_from(value),
                    LibraryAttribute::Version => self.library_version.clone_from(value),
                }
                Reply::Ok
            }
            ClientCommand::SetName { name } => {
                self.name.clone_from(name);
                Reply::Ok
            }
            ClientCommand::GetName if self.name.is_empty() => Reply::Null,
            ClientCommand::GetName => Reply::text(&*self.name),
            ClientCommand::Id => self.number(),
            ClientCommand::Info => Reply::Text(format!("{}\n", self.client.line(facts.now_micros())).into()),
            ClientCommand::List(filter) => Reply::Text(self.list(filter, facts).into()),
            ClientCommand::Unblock { id, reason } => {
                let was_blocked = facts.clients().is_some_and(|clients| clients.unblock(*id, *reason));
                Reply::Int(i64::from(was_blocked))
            }
            ClientCommand::Pause(pause) => {
                facts.clients().iter().for_each(|clients| clients.pause(*pause, facts.now_micros()));
                Reply::Ok
            }
            ClientCommand::Unpause => {
                facts.clients().iter().for_each(|clients| clients.resume());
                Reply::Ok
            }
            ClientCommand::Read { policy, token } => {
                self.read_policy = Some(*policy);
                token.iter().for_each(|token| self.token.merge(token));
                Reply::Ok
            }
            ClientCommand::Token => Reply::text(self.token.to_string()),
            ClientCommand::Route { key } => {
                facts.places().map_or(Reply::Error(route::UNKNOWN), |places| route::answer(key, &places))
            }
            ClientCommand::NoEvict(is_on) => {
                self.is_not_evicted = *is_on;
                Reply::Ok
            }
            ClientCommand::NoTouch(is_on) => {
                self.does_not_touch = *is_on;
                Reply::Ok
            }
            ClientCommand::GetRedir => Reply::Int(self.tracking.redirect()),
            ClientCommand::TrackingInfo => self.tracking.info(),
            // They take more, and were answered before.
            ClientCommand::Tracking(_)
            | ClientCommand::Caching(_)
            | ClientCommand::Reply(_)
            | ClientCommand::Kill(_) => Reply::Ok,
        }
    }

    fn list(&self, filter: &ClientFilter, facts: &dyn Facts) -> String {
        let now = facts.now_micros();
        facts
            .clients()
            .map_or_else(Vec::new, |clients| clients.found(filter, now))
            .iter()
            .map(|client| client.line(now) + "\n")
            .collect()
    }

    fn kill(&self, kill: &Kill, facts: &dyn Facts) -> Answer {
        let find = |filter: &ClientFilter| {
            facts.clients().map_or_else(Vec::new, |clients| clients.found(filter, facts.now_micros()))
        };
        if let Some(user) = kill.filter.user.as_deref().filter(|user| *user != DEFAULT_USER)
            && !find(&ClientFilter::default()).iter().any(|client| client.is_of(user))
        {
            return Answer::Reply(Reply::Error(Failure::Command(format!("ERR No such user '{user}'").into())));
        }
        let mut found = find(&kill.filter);
        found.retain(|client| !kill.skips_me || client.id() != self.client.id());
        let others = found.iter().filter(|client| client.id() != self.client.id());
        others.for_each(|client| Clients::end(client));
        let reply = match (kill.is_by_address, found.len()) {
            (true, 0) => Reply::Error(Failure::command("ERR No such client")),
            (true, _) => Reply::Ok,
            (false, count) => Reply::Int(i64::try_from(count).unwrap_or(i64::MAX)),
        };
        // It is answered before it ends.
        let is_among_them = found.iter().any(|client| client.id() == self.client.id());
        if is_among_them { Answer::Close(reply) } else { Answer::Reply(reply) }
    }
}

#[cfg(test)]
mod tests;
