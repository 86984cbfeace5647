//! One connection's state, and the answers that need nothing but it and a few facts about the process.
//!
//! A node and a router drive the same session. For each request, in order: ask [`Session::hears`] whether the client wants to see the
//! reply, [`Session::admit`] whether it may ask at all, then [`Session::answer`] for control commands. What comes back as
//! [`Answer::NotMine`] and all data commands are the driver's. While [`Session::is_collecting`], requests go to [`Session::collect`]
//! instead.

use std::borrow::Cow;

use simplekv_types::{Failure, Naming, Position, ReadPolicy, Reply, SessionToken};

use crate::command::{Body, Request, Watched};
use crate::control::{ClientCommand, Control, Credentials, Hello, LibraryAttribute, ReplyMode, scripting};
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
    id: u64,
    /// The client's address and ours, as `host:port`.
    address: String,
    local_address: String,
    connected_micros: u64,
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
    /// What it last asked, for CLIENT LIST.
    last_command: &'static str,
    /// What waits for EXEC, since MULTI.
    collection: Option<Collection>,
    /// What keys were when WATCH named them. Invariant: no key twice.
    watched: Vec<Watched>,
    /// What it listens to.
    subscriptions: Subscriptions,
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
    /// A connection that was just accepted. `needs_auth`: whether it may do nothing before it has authenticated.
    #[must_use]
    pub fn new(id: u64, address: String, local_address: String, needs_auth: bool, now_micros: u64) -> Self {
        Self {
            id,
            address,
            local_address,
            connected_micros: now_micros,
            name: String::new(),
            library_name: String::new(),
            library_version: String::new(),
            protocol: Protocol::default(),
            user: (!needs_auth).then(|| DEFAULT_USER.to_owned()),
            hearing: Hearing::All,
            reads_followers: false,
            read_policy: None,
            token: SessionToken::new(),
            last_command: "NULL",
            collection: None,
            watched: Vec::new(),
            subscriptions: Subscriptions::default(),
            tracking: Tracking::default(),
        }
    }

    /// The connection's number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What the connection was named by its client.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The client's address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
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
        self.last_command = spec.name;
        if self.collection.is_none() && spec.name != "multi" && !spec.name.starts_with("client") {
            self.tracking.begin_request();
        }
        self.may_ask(spec)?;
        if self.user.is_some() || spec.flags.contains(Flags::NO_AUTH) { Ok(()) } else { Err(NO_AUTH) }
    }

    /// Answers a control command.
    pub fn answer(&mut self, control: &Control, facts: &dyn Facts) -> Answer {
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
            Control::Client(ClientCommand::Caching(wanted)) => self.tracking.set_caching(*wanted),
            Control::Client(command) => Ok(self.client(command, facts)),
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
            Control::Wait { .. } => return Answer::NotMine,
            Control::Config(_)
            | Control::Time
            | Control::Role
            | Control::LastSave
            | Control::ModuleList
            | Control::SlowLog(_)
            | Control::Latency(_) => server::answer(control, facts),
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
        Reply::Int(i64::try_from(self.id).unwrap_or(i64::MAX))
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
        let fresh =
            Self::new(self.id, self.address.clone(), self.local_address.clone(), needs_auth, self.connected_micros);
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

    fn client(&mut self, command: &ClientCommand, facts: &dyn Facts) -> Reply {
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
            ClientCommand::Info => Reply::Text(format!("{}\n", self.line(facts.now_micros())).into()),
            ClientCommand::List { ids, normal } => Reply::Text(self.list(ids, *normal, facts).into()),
            ClientCommand::Read { policy, token } => {
                self.read_policy = Some(*policy);
                token.iter().for_each(|token| self.token.merge(token));
                Reply::Ok
            }
            ClientCommand::Token => Reply::text(self.token.to_string()),
            ClientCommand::Route { key } => {
                facts.places().map_or(Reply::Error(route::UNKNOWN), |places| route::answer(key, &places))
            }
            ClientCommand::GetRedir => Reply::Int(self.tracking.redirect()),
            ClientCommand::TrackingInfo => self.tracking.info(),
            // They take more, and were answered before.
            ClientCommand::Tracking(_) | ClientCommand::Caching(_) => Reply::Ok,
            ClientCommand::NoEvict(_) | ClientCommand::NoTouch(_) | ClientCommand::Reply(_) => Reply::Ok,
        }
    }

    fn list(&self, ids: &[u64], normal: bool, facts: &dyn Facts) -> String {
        let mut lines = facts.other_clients();
        lines.retain(|(id, _)| *id != self.id);
        lines.push((self.id, self.line(facts.now_micros())));
        lines.retain(|(id, _)| normal && (ids.is_empty() || ids.contains(id)));
        lines.sort_unstable();
        lines.into_iter().map(|(_, line)| line + "\n").collect()
    }

    /// The connection's line in CLIENT LIST, without its end.
    #[must_use]
    pub fn line(&self, now_micros: u64) -> String {
        let Self { id, address, local_address, name, library_name, library_version, last_command, .. } = self;
        let age = now_micros.saturating_sub(self.connected_micros) / 1_000_000;
        let mut flags: String = self.reads_followers.then_some('r').into_iter().chain(self.tracking.flags()).collect();
        if flags.is_empty() {
            flags.push('N');
        }
        let redirect = self.tracking.redirect();
        let user = self.user.as_deref().unwrap_or("(none)");
        let watched = self.watched.len();
        let [sub, psub, ssub] =
            [Naming::Channel, Naming::Pattern, Naming::Shard].map(|naming| self.subscriptions.count(naming));
        let protocol = self.protocol.number();
        format!(
            "id={id} addr={address} laddr={local_address} fd=-1 name={name} age={age} idle=0 flags={flags} db=0 sub={sub} psub={psub} ssub={ssub} \
             multi=-1 watch={watched} qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r \
             cmd={last_command} user={user} redir={redirect} resp={protocol} lib-name={library_name} lib-ver={library_version}"
        )
    }
}

#[cfg(test)]
mod tests;
