//! What the process around a connection knows: all that a session must be told to answer for it.

use std::borrow::Cow;

use simplekv_types::{ClusterId, Failure, GroupId, NodeId, SlotRange};

use crate::clients::Clients;
use crate::control::Credentials;
use crate::slow_log::SlowLog;

/// The Redis version whose behaviour clients may expect.
pub const REDIS_VERSION: &str = "7.4.0";

/// Whether clients are to route requests themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// A router: every key is reached through it.
    #[default]
    Standalone,
    /// A node: it answers MOVED for keys that are elsewhere.
    Cluster,
}

impl Mode {
    /// What HELLO and INFO call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Cluster => "cluster",
        }
    }
}

/// What became of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is right.
    Accepted,
    /// It is wrong, or there is no such user.
    Refused,
    /// None is needed.
    NotNeeded,
}

/// Who copies from whom, as ROLE and INFO tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleFacts {
    /// The node leads (or is a router).
    Leader {
        /// The end of its log, over all groups it leads.
        log_end: u64,
        /// Its followers.
        followers: Vec<FollowerFacts>,
    },
    /// The node only follows.
    Follower {
        /// The leader's host.
        host: String,
        /// The leader's port.
        port: u16,
        /// Whether it is heard.
        is_connected: bool,
        /// The end of the follower's log.
        log_end: u64,
    },
}

/// A follower as its leader knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowerFacts {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The end of its log.
    pub log_end: u64,
}

impl Default for RoleFacts {
    fn default() -> Self {
        Self::Leader { log_end: 0, followers: Vec::new() }
    }
}

/// The figures of INFO.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InfoFacts {
    /// A name for this run of the process: 40 hexadecimal digits.
    pub run_id: String,
    /// The process' number.
    pub process_id: u32,
    /// The port of the Redis protocol.
    pub port: u16,
    /// How long the process has been running, in seconds.
    pub uptime_secs: u64,
    /// Where its configuration was read, if anywhere.
    pub config_file: String,
    /// Connections.
    pub connected_clients: u64,
    /// Most connections.
    pub max_clients: u64,
    /// Connections that wait for something to be there.
    pub blocked_clients: u64,
    /// Connections that are told when what they have read changes.
    pub tracking_clients: u64,
    /// Channels somebody here listens to.
    pub channels: u64,
    /// Patterns somebody here listens to.
    pub patterns: u64,
    /// Memory in use by data and buffers, in bytes.
    pub used_memory: u64,
    /// Memory of the process, in bytes.
    pub resident_memory: u64,
    /// The most memory that was in use, in bytes.
    pub peak_memory: u64,
    /// Memory of the machine, in bytes.
    pub system_memory: u64,
    /// Most memory that may be used, in bytes; 0 for no limit.
    pub max_memory: u64,
    /// Whether the node still loads its data.
    pub is_loading: bool,
    /// When its log reaches the disk.
    pub flush_policy: simplekv_types::FlushPolicy,
    /// Bytes of its data files.
    pub disk_bytes: u64,
    /// When data last reached the disk: Unix time in seconds.
    pub last_flush: u64,
    /// Connections so far.
    pub total_connections: u64,
    /// Requests so far.
    pub total_commands: u64,
    /// Requests in the last second.
    pub commands_per_sec: u64,
    /// Bytes read from clients so far.
    pub input_bytes: u64,
    /// Bytes written to clients so far.
    pub output_bytes: u64,
    /// Connections refused so far.
    pub rejected_connections: u64,
    /// Keys that lapsed so far.
    pub expired_keys: u64,
    /// Reads that found their key.
    pub keyspace_hits: u64,
    /// Reads that did not.
    pub keyspace_misses: u64,
    /// Requests answered with an error.
    pub error_replies: u64,
    /// Seconds the process ran in the kernel.
    pub cpu_sys_secs: f64,
    /// Seconds it ran outside.
    pub cpu_user_secs: f64,
    /// Who copies from whom.
    pub role: RoleFacts,
    /// Whether clients are to route requests themselves.
    pub mode: Mode,
    /// Keys.
    pub keys: u64,
    /// Keys that will lapse.
    pub keys_with_expiry: u64,
    /// Sections of our own: a title, and names with values.
    pub more: Vec<(&'static str, Vec<(&'static str, String)>)>,
}

/// The cluster as CLUSTER answers it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterFacts {
    /// Which of the nodes answers.
    pub myself: usize,
    /// All nodes.
    pub nodes: Vec<NodeFacts>,
    /// All groups.
    pub groups: Vec<GroupFacts>,
}

/// A node as clients reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// 40 hexadecimal digits; see [`node_id`].
    pub id: String,
    /// Host of its Redis protocol port.
    pub host: String,
    /// That port.
    pub port: u16,
    /// Whether it seems alive.
    pub is_up: bool,
}

/// A group, its nodes by their places in [`ClusterFacts::nodes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupFacts {
    /// 40 hexadecimal digits; see [`group_id`].
    pub id: String,
    /// Its slots, in order.
    pub slots: Vec<SlotRange>,
    /// Who leads it.
    pub leader: Option<usize>,
    /// Who follows in sync: clients may read there.
    pub followers: Vec<usize>,
    /// Its epoch.
    pub epoch: u64,
    /// The end of its log.
    pub log_end: u64,
}

/// A node's id in Redis' form: the cluster's 32 digits, then the node's 8.
#[must_use]
pub fn node_id(cluster: ClusterId, node: NodeId) -> String {
    format!("{cluster}{:08x}", node.0)
}

/// A group's id in Redis' form: the group's 8 digits, then the cluster's 32. No node has it.
#[must_use]
pub fn group_id(cluster: ClusterId, group: GroupId) -> String {
    format!("{:08x}{cluster}", group.0)
}

/// What a session asks the process around it. Asked only when a request needs the answer.
pub trait Facts {
    /// Unix time in microseconds.
    fn now_micros(&self) -> u64;

    /// Whether clients are to route requests themselves.
    fn mode(&self) -> Mode;

    /// Who copies from whom.
    fn role(&self) -> RoleFacts;

    /// The figures of INFO.
    fn info(&self) -> InfoFacts;

    /// The cluster; `None` if this is no place to ask.
    fn cluster(&self) -> Option<ClusterFacts>;

    /// The cluster for people who ask where a key is, also where clients are not to find their way by it.
    fn places(&self) -> Option<ClusterFacts> {
        self.cluster()
    }

    /// Judges a password.
    fn check(&self, credentials: &Credentials) -> Verdict;

    /// Settings CONFIG GET answers besides, and instead of, the usual ones.
    fn settings(&self) -> Vec<(&'static str, Cow<'static, str>)> {
        Vec::new()
    }

    /// Changes a setting.
    ///
    /// # Errors
    /// [`Failure::Command`] if there is no such setting, or it cannot change at run time.
    fn change_setting(&self, name: &str, _value: &[u8]) -> Result<(), Failure> {
        Err(Failure::Command(
            format!("ERR CONFIG SET failed (possibly related to argument '{name}') - can't set immutable config")
                .into(),
        ))
    }

    /// Sets the counters of INFO to 0.
    fn reset_stats(&self) {}

    /// All connections; `None` if they do not know of each other.
    fn clients(&self) -> Option<&Clients> {
        None
    }

    /// Requests that took long; `None` if nobody measures.
    fn slow_log(&self) -> Option<&SlowLog> {
        None
    }
}
