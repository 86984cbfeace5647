//! What a node is told: the keys as people write them, and the checked form the node runs on.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use simplekv_conf::{Loaded, Problem, Problems};
use simplekv_resp::SlowLog;
use simplekv_types::{FlushPolicy, NodeAddresses, NodeId, limits};
use tracing_subscriber::EnvFilter;

/// Every key with its default, in the sections of `conf/simplekv.toml`, which says what each is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "conf/simplekv.toml documents each key")]
pub struct RawConfig {
    pub node: RawNode,
    pub listen: RawListen,
    pub advertise: RawAdvertise,
    pub etcd: RawEtcd,
    pub storage: RawStorage,
    pub limits: RawLimits,
    pub redis: RawRedis,
    pub runtime: RawRuntime,
    pub log: RawLog,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "conf/simplekv.toml documents each key")]
pub struct RawNode {
    pub id: u32,
    pub zone: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "conf/simplekv.toml documents each key")]
pub struct RawListen {
    pub grpc: String,
    pub resp: String,
    pub admin: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "conf/simplekv.toml documents each key")]
pub struct RawAdvertise {
    pub grpc: String,
    pub resp: String,
    pub admin: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "conf/simplekv.toml documents each key")]
pub struct RawEtcd {
    pub endpoints: Vec<String>,
    pub prefix: String,
    pub session_ttl_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "conf/simplekv.toml documents each key")]
pub struct RawStorage {
    pub dir: String,
    pub flush: String,
    pub flush_interval_ms: u64,
    pub segment_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "conf/simplekv.toml documents each key")]
pub struct RawLimits {
    pub value_bytes: u64,
    pub request_bytes: u64,
    pub connections: u32,
    pub inflight_requests: u32,
    pub output_bytes: u64,
    pub request_timeout_ms: u64,
    pub partial_request_timeout_ms: u64,
    pub idle_timeout_ms: u64,
    pub shutdown_grace_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "conf/simplekv.toml documents each key")]
pub struct RawRedis {
    pub slowlog_log_slower_than: i64,
    pub slowlog_max_len: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "conf/simplekv.toml documents each key")]
pub struct RawRuntime {
    pub threads: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "conf/simplekv.toml documents each key")]
pub struct RawLog {
    pub filter: String,
    pub format: String,
}

impl Default for RawConfig {
    fn default() -> Self {
        Self {
            node: RawNode { id: 1, zone: String::new() },
            listen: RawListen {
                grpc: "127.0.0.1:7410".into(),
                resp: "127.0.0.1:7411".into(),
                admin: "127.0.0.1:7412".into(),
            },
            advertise: RawAdvertise::default(),
            etcd: RawEtcd { endpoints: vec!["127.0.0.1:2379".into()], prefix: "/skv".into(), session_ttl_ms: 3000 },
            storage: RawStorage {
                dir: "data/n1".into(),
                flush: FlushPolicy::Always.to_string(),
                flush_interval_ms: 200,
                segment_bytes: 128 << 20,
            },
            limits: RawLimits {
                value_bytes: limits::VALUE_BYTES_DEFAULT as u64,
                request_bytes: 64 << 20,
                connections: 10_000,
                inflight_requests: 65_536,
                output_bytes: 64 << 20,
                request_timeout_ms: 10_000,
                partial_request_timeout_ms: 30_000,
                idle_timeout_ms: 0,
                shutdown_grace_ms: 10_000,
            },
            redis: RawRedis {
                slowlog_log_slower_than: SlowLog::SLOWER_THAN_DEFAULT,
                slowlog_max_len: SlowLog::LENGTH_DEFAULT as u32,
            },
            runtime: RawRuntime { threads: 0 },
            log: RawLog { filter: "info".into(), format: "auto".into() },
        }
    }
}

/// A node's configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which node this is.
    pub node: NodeId,
    /// Its failure domain; empty for none.
    pub zone: String,
    /// Where it listens.
    pub listen: Listen,
    /// Where others reach it. A port of 0 is replaced by the port the listener got.
    pub advertise: NodeAddresses,
    /// Where the metadata store is; unused when the embedding program brings one.
    pub etcd: Etcd,
    /// The data directory.
    pub data_dir: PathBuf,
    /// When the log reaches the disk.
    pub flush: FlushPolicy,
    /// Longest time between flushes under [`FlushPolicy::Replicated`].
    pub flush_interval: Duration,
    /// Size at which a segment is sealed, in bytes.
    pub segment_bytes: u64,
    /// What is refused rather than served badly.
    pub limits: Limits,
    /// Worker threads; 0 means one per core.
    pub threads: usize,
    /// What is logged.
    pub log: Log,
}

/// Where a node listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// gRPC: data lanes and replication.
    pub grpc: SocketAddr,
    /// Redis protocol.
    pub resp: SocketAddr,
    /// Admin service, metrics and health.
    pub admin: SocketAddr,
}

/// Where the metadata store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etcd {
    /// `host:port` of its members.
    pub endpoints: Vec<String>,
    /// What its keys begin with.
    pub prefix: String,
    /// How long the node's session outlives its last sign of life.
    pub session_ttl: Duration,
}

/// Limits of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest value, in bytes.
    pub value_bytes: usize,
    /// Longest request, all its arguments together, in bytes.
    pub request_bytes: usize,
    /// Most client connections at a time.
    pub connections: usize,
    /// Most requests in flight at a time, over all connections.
    pub inflight_requests: usize,
    /// Most unsent bytes of replies of one connection.
    pub output_bytes: usize,
    /// How long a request may wait for its commit.
    pub request_timeout: Duration,
    /// How long a request may take to arrive whole.
    pub partial_request_timeout: Duration,
    /// How long a connection may be silent; `None` for ever.
    pub idle_timeout: Option<Duration>,
    /// How long a stopping node waits for the work it has begun.
    pub shutdown_grace: Duration,
    /// From how long on a command is remembered, in microseconds; negative: never.
    pub slowlog_slower_than: i64,
    /// How many such commands are remembered.
    pub slowlog_length: usize,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A `tracing` filter, such as `info,simplekv_server=debug`.
    pub filter: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `Pretty` on a terminal, else `Json`.
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self::load(None, [], &[]).expect("the defaults are a valid configuration")
    }
}

impl Config {
    /// Reads and checks a node's configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it, together.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        flags: &[(String, String)],
    ) -> Result<Self, Problems> {
        simplekv_conf::load_checked(file, environment, flags, Self::check).map(|(config, _)| config)
    }

    /// Checks what each value means and how they go together.
    ///
    /// # Errors
    /// Everything that is wrong, together.
    pub fn check(loaded: &Loaded<RawConfig>) -> Result<Self, Problems> {
        let (raw, mut check) = (&loaded.values, Check { loaded, problems: Vec::new() });
        if raw.node.id == 0 {
            check.refuse("node.id", "nodes are numbered from 1");
        }
        let listen = Listen {
            grpc: check.address("listen.grpc", &raw.listen.grpc),
            resp: check.address("listen.resp", &raw.listen.resp),
            admin: check.address("listen.admin", &raw.listen.admin),
        };
        let advertise = NodeAddresses {
            grpc: check.advertised("advertise.grpc", &raw.advertise.grpc, listen.grpc),
            resp: check.advertised("advertise.resp", &raw.advertise.resp, listen.resp),
            admin: check.advertised("advertise.admin", &raw.advertise.admin, listen.admin),
        };
        if raw.etcd.endpoints.is_empty() {
            check.refuse("etcd.endpoints", "at least one endpoint is needed");
        }
        if !raw.etcd.prefix.starts_with('/') || raw.etcd.prefix.ends_with('/') {
            check.refuse("etcd.prefix", "must begin with `/` and not end with one");
        }
        check.at_least("etcd.session_ttl_ms", raw.etcd.session_ttl_ms, 2000);
        let flush = raw.storage.flush.parse().unwrap_or_else(|message: String| {
            check.refuse("storage.flush", message);
            FlushPolicy::Always
        });
        if raw.storage.dir.is_empty() {
            check.refuse("storage.dir", "a directory is needed");
        }
        check.at_least("storage.flush_interval_ms", raw.storage.flush_interval_ms, 1);
        check.between("storage.segment_bytes", raw.storage.segment_bytes, 1 << 20, 2 << 30);
        check.between("limits.value_bytes", raw.limits.value_bytes, 1, limits::VALUE_BYTES_MAX as u64);
        if raw.limits.request_bytes < raw.limits.value_bytes {
            check.refuse("limits.request_bytes", "is less than limits.value_bytes: no such value could be set");
        }
        check.at_least("limits.connections", raw.limits.connections.into(), 1);
        check.at_least("limits.inflight_requests", raw.limits.inflight_requests.into(), 1);
        check.at_least("limits.output_bytes", raw.limits.output_bytes, 1 << 16);
        check.at_least("limits.request_timeout_ms", raw.limits.request_timeout_ms, 1);
        check.at_least("limits.partial_request_timeout_ms", raw.limits.partial_request_timeout_ms, 1);
        check.redis(&raw.redis);
        let format = match raw.log.format.as_str() {
            "auto" => LogFormat::Auto,
            "pretty" => LogFormat::Pretty,
            "json" => LogFormat::Json,
            other => {
                check.refuse("log.format", format!("expected auto, pretty or json, found `{other}`"));
                LogFormat::Auto
            }
        };
        if let Err(error) = EnvFilter::try_new(&raw.log.filter) {
            check.refuse("log.filter", format!("not a filter: {error}"));
        }
        if !check.problems.is_empty() {
            return Err(Problems(check.problems));
        }
        Ok(Self {
            node: NodeId(raw.node.id),
            zone: raw.node.zone.clone(),
            listen,
            advertise,
            etcd: Etcd {
                endpoints: raw.etcd.endpoints.clone(),
                prefix: raw.etcd.prefix.clone(),
                session_ttl: Duration::from_millis(raw.etcd.session_ttl_ms),
            },
            data_dir: PathBuf::from(&raw.storage.dir),
            flush,
            flush_interval: Duration::from_millis(raw.storage.flush_interval_ms),
            segment_bytes: raw.storage.segment_bytes,
            limits: raw.limits.checked(&raw.redis),
            threads: raw.runtime.threads as usize,
            log: Log { filter: raw.log.filter.clone(), format },
        })
    }
}

impl RawLimits {
    fn checked(&self, redis: &RawRedis) -> Limits {
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Limits {
            value_bytes: bytes(self.value_bytes),
            request_bytes: bytes(self.request_bytes),
            connections: self.connections as usize,
            inflight_requests: self.inflight_requests as usize,
            output_bytes: bytes(self.output_bytes),
            request_timeout: Duration::from_millis(self.request_timeout_ms),
            partial_request_timeout: Duration::from_millis(self.partial_request_timeout_ms),
            idle_timeout: (self.idle_timeout_ms > 0).then(|| Duration::from_millis(self.idle_timeout_ms)),
            shutdown_grace: Duration::from_millis(self.shutdown_grace_ms),
            slowlog_slower_than: redis.slowlog_log_slower_than,
            slowlog_length: redis.slowlog_max_len as usize,
        }
    }
}

/// Whether a host is an address to listen on that nobody can connect to.
fn is_wildcard(host: &str) -> bool {
    host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}

struct Check<'a> {
    loaded: &'a Loaded<RawConfig>,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn refuse(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(self.loaded.problem(key, message));
    }

    fn at_least(&mut self, key: &str, value: u64, least: u64) {
        if value < least {
            self.refuse(key, format!("must be at least {least}, found {value}"));
        }
    }

    fn between(&mut self, key: &str, value: u64, least: u64, most: u64) {
        if value < least || value > most {
            self.refuse(key, format!("must be {least} to {most}, found {value}"));
        }
    }

    fn redis(&mut self, raw: &RawRedis) {
        if raw.slowlog_log_slower_than < -1 {
            self.refuse("redis.slowlog_log_slower_than", "must be at least -1, which remembers nothing");
        }
        self.between("redis.slowlog_max_len", raw.slowlog_max_len.into(), 0, SlowLog::LENGTH_MAX as u64);
    }

    fn address(&mut self, key: &str, text: &str) -> SocketAddr {
        text.parse().unwrap_or_else(|_| {
            self.refuse(key, format!("expected an IP address with a port, like 0.0.0.0:7410, found `{text}`"));
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    /// What others are told: as configured, or where we listen. A wildcard would send every client to itself.
    fn advertised(&mut self, key: &str, text: &str, listen: SocketAddr) -> String {
        if !text.is_empty() {
            match text.rsplit_once(':').filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) {
                None => self.refuse(key, format!("expected host:port, found `{text}`")),
                Some((host, _)) if is_wildcard(host) => {
                    self.refuse(key, format!("others cannot connect to {host}, name an address they can"));
                }
                Some(_) => (),
            }
            return text.to_owned();
        }
        if listen.ip().is_unspecified() {
            self.refuse(
                key,
                format!("must be set when the node listens on {}: others cannot connect to that", listen.ip()),
            );
        }
        listen.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(flags: &[(&str, &str)]) -> Result<Config, Problems> {
        let flags: Vec<_> = flags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Config::load(None, [], &flags)
    }

    #[test]
    fn the_defaults_are_a_valid_configuration() {
        let config = load(&[]).unwrap();
        assert_eq!(config.node, NodeId(1));
        assert_eq!(config.flush, FlushPolicy::Always);
        assert_eq!(config.advertise.resp, "127.0.0.1:7411");
    }

    #[test]
    fn a_wildcard_is_never_advertised() {
        let problems = load(&[("listen.grpc", "0.0.0.0:7410")]).unwrap_err();
        assert!(problems.to_string().contains("advertise.grpc"), "{problems}");
        let config = load(&[("listen.grpc", "0.0.0.0:7410"), ("advertise.grpc", "db1:7410")]).unwrap();
        assert_eq!(config.advertise.grpc, "db1:7410");
        for wildcard in ["0.0.0.0:7410", "[::]:7410"] {
            let problems = load(&[("advertise.grpc", wildcard)]).unwrap_err();
            assert!(problems.to_string().contains("advertise.grpc"), "{problems}");
        }
    }

    #[test]
    fn segments_are_as_large_as_the_file_says() {
        assert!(load(&[("storage.segment_bytes", "2147483648")]).is_ok());
        assert!(load(&[("storage.segment_bytes", "2147483649")]).is_err());
        assert!(include_str!("../../conf/simplekv.toml").contains("1 MiB to 2 GiB."));
    }

    #[test]
    fn all_bad_values_are_told_together() {
        let bad =
            [("storage.flush", "sometimes"), ("node.id", "0"), ("listen.resp", "nowhere"), ("limits.value_bytes", "0")];
        let problems = load(&bad).unwrap_err();
        assert_eq!(problems.0.len(), 4, "{problems}");
        let bad = [("limits.connections", "-1"), ("limits.value_bytes", "many"), ("log.filter", "simplekv=loud")];
        let problems = load(&bad).unwrap_err();
        assert_eq!(problems.0.len(), 3, "{problems}");
        assert!(problems.to_string().contains("limits.connections (flag for limits.connections): "), "{problems}");
    }
}
