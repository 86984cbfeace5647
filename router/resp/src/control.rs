//! Commands about the connection, the server and the cluster, typed.

use bytes::Bytes;
use simplekv_types::{Failure, Naming, ReadPolicy, Reply, SessionToken, Slot};

use crate::command::Keys;
use crate::control::pubsub::PubSubQuery;
use crate::control::tracking::TrackingRequest;
use crate::encode::Protocol;
use crate::parser::Args;

pub(crate) mod cluster;
pub(crate) mod connection;
pub mod pubsub;
pub(crate) mod scripting;
pub(crate) mod server;
pub mod tracking;
pub(crate) mod transactions;

/// A command that is not about data.
#[derive(Clone, Debug, PartialEq)]
pub enum Control {
    /// HELLO.
    Hello(Hello),
    /// AUTH.
    Auth(Credentials),
    /// PING.
    Ping {
        /// What to answer instead of `PONG`.
        message: Option<Bytes>,
    },
    /// ECHO.
    Echo {
        /// What to answer.
        message: Bytes,
    },
    /// QUIT.
    Quit,
    /// RESET.
    Reset,
    /// SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE.
    Subscribe {
        /// What the names mean.
        naming: Naming,
        /// Channels or patterns; at least one.
        names: Keys,
    },
    /// UNSUBSCRIBE, PUNSUBSCRIBE, SUNSUBSCRIBE.
    Unsubscribe {
        /// What the names mean.
        naming: Naming,
        /// Channels or patterns; none means all.
        names: Keys,
    },
    /// PUBLISH, SPUBLISH.
    Publish {
        /// What the name means; never [`Naming::Pattern`].
        naming: Naming,
        /// The channel.
        channel: Bytes,
        /// What is said.
        message: Bytes,
    },
    /// PUBSUB.
    PubSub(PubSubQuery),
    /// MULTI.
    Multi,
    /// EXEC.
    Exec,
    /// DISCARD.
    Discard,
    /// WATCH.
    Watch {
        /// The keys; at least one.
        keys: Keys,
    },
    /// UNWATCH.
    Unwatch,
    /// SELECT.
    Select {
        /// The database; there is only 0.
        database: i64,
    },
    /// CLIENT.
    Client(ClientCommand),
    /// COMMAND.
    Command(CommandQuery),
    /// CONFIG.
    Config(ConfigCommand),
    /// INFO.
    Info {
        /// Which sections, lower case; none: the default ones.
        sections: Vec<String>,
    },
    /// TIME.
    Time,
    /// ROLE.
    Role,
    /// WAIT, WAITAOF.
    Wait(Wait),
    /// LASTSAVE.
    LastSave,
    /// MODULE LIST.
    ModuleList,
    /// ACL WHOAMI.
    AclWhoAmI,
    /// SLOWLOG.
    SlowLog(SlowLogCommand),
    /// LATENCY.
    Latency(LatencyCommand),
    /// SCRIPT.
    Script(ScriptCommand),
    /// MEMORY, as far as it is not about a key.
    Memory(MemoryQuery),
    /// DEBUG.
    Debug,
    /// LOLWUT.
    Lolwut,
    /// CLUSTER.
    Cluster(ClusterCommand),
    /// READONLY: the connection may be answered by a follower.
    ReadOnly,
    /// READWRITE: the connection wants the leader.
    ReadWrite,
    /// ASKING: no slot is ever served by two, so it changes nothing.
    Asking,
    /// `… HELP` of a command with subcommands.
    Help {
        /// The command's name, as the table writes it.
        of: &'static str,
    },
}

/// HELLO with its options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The protocol to go on with.
    pub protocol: Option<Protocol>,
    /// AUTH.
    pub auth: Option<Credentials>,
    /// SETNAME.
    pub name: Option<Bytes>,
}

/// Who a client says it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user, if one was named; else `default` is meant.
    pub user: Option<Bytes>,
    /// The password.
    pub password: Bytes,
}

impl std::fmt::Debug for Credentials {
    /// Leaves out the password: requests are logged.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// CLIENT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCommand {
    /// SETINFO.
    SetInfo {
        /// Which of the two.
        attribute: LibraryAttribute,
        /// Its value, printable.
        value: String,
    },
    /// SETNAME.
    SetName {
        /// The name, printable; empty to have none.
        name: String,
    },
    /// GETNAME.
    GetName,
    /// ID.
    Id,
    /// INFO.
    Info,
    /// LIST.
    List(ClientFilter),
    /// KILL.
    Kill(Kill),
    /// UNBLOCK.
    Unblock {
        /// The connection.
        id: u64,
        /// What it is told.
        reason: UnblockReason,
    },
    /// PAUSE.
    Pause(Pause),
    /// UNPAUSE.
    Unpause,
    /// NO-EVICT.
    NoEvict(bool),
    /// NO-TOUCH.
    NoTouch(bool),
    /// REPLY.
    Reply(ReplyMode),
    /// READ: which replicas may answer the connection's reads from now on.
    Read {
        /// What its reads are promised.
        policy: ReadPolicy,
        /// What another session has seen, that this one goes on with.
        token: Option<SessionToken>,
    },
    /// TOKEN: what the connection has seen so far.
    Token,
    /// ROUTE: where a key is.
    Route {
        /// The key.
        key: Bytes,
    },
    /// TRACKING: to be told when what was read changes.
    Tracking(TrackingRequest),
    /// CACHING: whether what the next request reads is tracked; `None` if that is not what was said.
    Caching(Option<bool>),
    /// GETREDIR.
    GetRedir,
    /// TRACKINGINFO.
    TrackingInfo,
}

/// Which connections are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFilter {
    /// Only these; none: all.
    pub ids: Vec<u64>,
    /// Only those of a kind.
    pub kind: Option<ClientKind>,
    /// Only those of a user.
    pub user: Option<String>,
    /// Only the one from this address.
    pub address: Option<String>,
    /// Only those to this address of ours.
    pub local_address: Option<String>,
    /// Only those that have been connected for so many seconds.
    pub min_age_secs: Option<u64>,
}

/// What a connection is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// Requests.
    Normal,
    /// A leader's to its follower.
    Master,
    /// A follower's to its leader.
    Replica,
    /// Listening to channels.
    PubSub,
}

/// CLIENT KILL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    /// Whom.
    pub filter: ClientFilter,
    /// Whether the connection that says so is left out.
    pub skips_me: bool,
    /// Whether it is said by an address alone, and answered in the older way.
    pub is_by_address: bool,
}

/// What a connection that is unblocked is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnblockReason {
    /// As if its time were up.
    Timeout,
    /// An error.
    Error,
}

impl UnblockReason {
    /// The answer to what waited.
    #[must_use]
    pub fn reply(self) -> Reply {
        match self {
            Self::Timeout => Reply::NullArray,
            Self::Error => Reply::Error(Failure::command("UNBLOCKED client unblocked via CLIENT UNBLOCK")),
        }
    }
}

/// CLIENT PAUSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// For how long, in milliseconds.
    pub millis: u64,
    /// Whether commands that only read go on.
    pub writes_only: bool,
}

/// What WAIT and WAITAOF wait for: that the connection's last writes are in so many places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Whether on disk, which WAITAOF asks, or held at all.
    pub on_disk: bool,
    /// Whether the leader counts.
    pub local: bool,
    /// How many followers.
    pub replicas: u64,
    /// How long to wait for them, in milliseconds; 0 is for ever.
    pub timeout_ms: u64,
}

/// The answer to WAIT or WAITAOF, made of those for each group: the least of them, or the first that is an error.
#[must_use]
pub fn least(answers: impl IntoIterator<Item = Reply>, wait: &Wait) -> Reply {
    let numbers = |reply: &Reply| match reply {
        Reply::Int(replicas) => Some([i64::from(wait.on_disk), *replicas]),
        Reply::Array(parts) => match parts.as_slice() {
            [Reply::Int(local), Reply::Int(replicas)] => Some([*local, *replicas]),
            _ => None,
        },
        _ => None,
    };
    let mut least: Option<[i64; 2]> = None;
    for answer in answers {
        let Some([local, replicas]) = numbers(&answer) else { return answer };
        least = Some(match least {
            None => [local, replicas],
            Some([one, other]) => [local.min(one), replicas.min(other)],
        });
    }
    let [local, replicas] = least.unwrap_or_default();
    match wait.on_disk {
        true => Reply::Array(vec![Reply::Int(local), Reply::Int(replicas)]),
        false => Reply::Int(replicas),
    }
}

impl Wait {
    /// The words of the command.
    #[must_use]
    pub fn to_args(&self) -> Vec<Bytes> {
        let number = |number: u64| Bytes::from(number.to_string());
        let (replicas, timeout) = (number(self.replicas), number(self.timeout_ms));
        match self.on_disk {
            true => vec![Bytes::from_static(b"WAITAOF"), number(u64::from(self.local)), replicas, timeout],
            false => vec![Bytes::from_static(b"WAIT"), replicas, timeout],
        }
    }
}

/// MEMORY, as far as it is not about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryQuery {
    /// DOCTOR.
    Doctor,
    /// MALLOC-STATS.
    MallocStats,
    /// PURGE.
    Purge,
    /// STATS.
    Stats,
}

/// What CLIENT SETINFO sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LibraryAttribute {
    /// LIB-NAME.
    Name,
    /// LIB-VER.
    Version,
}

/// Which replies a client wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyMode {
    /// All.
    On,
    /// None.
    Off,
    /// Not the next one.
    Skip,
}

/// COMMAND.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandQuery {
    /// All rows.
    All,
    /// COUNT.
    Count,
    /// INFO of these, or of all.
    Info {
        /// The names.
        names: Args,
    },
    /// DOCS of these, or of all.
    Docs {
        /// The names.
        names: Args,
    },
    /// LIST.
    List {
        /// Which names.
        filter: ListFilter,
    },
    /// GETKEYS, GETKEYSANDFLAGS.
    GetKeys {
        /// The request whose keys are asked for.
        args: Args,
        /// Whether also what it does to them.
        with_use: bool,
    },
}

/// Which names COMMAND LIST lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListFilter {
    /// All.
    None,
    /// FILTERBY MODULE: there are no modules.
    Module,
    /// FILTERBY ACLCAT.
    Category(Bytes),
    /// FILTERBY PATTERN.
    Pattern(Bytes),
}

/// CONFIG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigCommand {
    /// GET.
    Get {
        /// Glob patterns of names; at least one.
        patterns: Args,
    },
    /// SET.
    Set {
        /// Names, in lower case, and values; at least one pair.
        settings: Vec<(String, Bytes)>,
    },
    /// RESETSTAT.
    ResetStat,
    /// REWRITE.
    Rewrite,
}

/// SLOWLOG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowLogCommand {
    /// GET.
    Get {
        /// At most so many, the newest first; `None` is all of them.
        count: Option<u64>,
    },
    /// LEN.
    Len,
    /// RESET.
    Reset,
}

impl SlowLogCommand {
    /// How many entries SLOWLOG GET answers unless told otherwise.
    pub const COUNT_DEFAULT: u64 = 10;
}

/// LATENCY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LatencyCommand {
    /// LATEST.
    Latest,
    /// HISTORY.
    History {
        /// The event.
        event: Bytes,
    },
    /// RESET.
    Reset,
    /// DOCTOR.
    Doctor,
    /// GRAPH.
    Graph {
        /// The event.
        event: Bytes,
    },
    /// HISTOGRAM.
    Histogram {
        /// Of these commands, or of all.
        names: Args,
    },
}

/// SCRIPT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptCommand {
    /// LOAD.
    Load {
        /// The script.
        text: Bytes,
    },
    /// EXISTS.
    Exists {
        /// SHA-1 hashes of scripts, as text.
        hashes: Args,
    },
    /// FLUSH.
    Flush,
}

/// CLUSTER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterCommand {
    /// SLOTS.
    Slots,
    /// SHARDS.
    Shards,
    /// NODES.
    Nodes,
    /// INFO.
    Info,
    /// MYID.
    MyId,
    /// MYSHARDID.
    MyShardId,
    /// KEYSLOT.
    KeySlot {
        /// The key.
        key: Bytes,
    },
    /// LINKS.
    Links,
    /// REPLICAS, SLAVES.
    Replicas {
        /// The id of their leader.
        node: Bytes,
    },
    /// COUNT-FAILURE-REPORTS.
    CountFailureReports {
        /// The node's id.
        node: Bytes,
    },
    /// COUNTKEYSINSLOT.
    CountKeysInSlot {
        /// The slot.
        slot: Slot,
    },
    /// GETKEYSINSLOT.
    GetKeysInSlot {
        /// The slot.
        slot: Slot,
        /// How many keys at most.
        count: u64,
    },
    /// SLOT-STATS.
    SlotStats(SlotStats),
}

/// Which slots SLOT-STATS is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotStats {
    /// SLOTSRANGE.
    Range(simplekv_types::SlotRange),
    /// ORDERBY KEY-COUNT, the only figure that is kept for every slot.
    ByKeyCount {
        /// How many slots at most.
        limit: u64,
        /// Whether the emptiest come first.
        ascending: bool,
    },
}
