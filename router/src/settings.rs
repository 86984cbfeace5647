//! What the program `simplekv-router` is told: the keys as people write them, and what they mean.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use simplekv_conf::{Loaded, Problem, Problems};
use simplekv_resp::SlowLog;
use tracing_subscriber::EnvFilter;

use crate::config::{Limits, NoOrigin, Origin, RouterConfig, Transactions, UnknownTransactions};

/// Every key with its default, in the sections of `conf/router.toml`, which says what each is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "conf/router.toml documents each key")]
pub struct RawSettings {
    pub listen: RawListen,
    pub cluster: RawCluster,
    pub limits: RawLimits,
    pub redis: RawRedis,
    pub grpc: RawGrpc,
    pub runtime: RawRuntime,
    pub log: RawLog,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "conf/router.toml documents each key")]
pub struct RawListen {
    pub resp: String,
    pub http: String,
    pub grpc: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "conf/router.toml documents each key")]
pub struct RawCluster {
    pub seeds: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "conf/router.toml documents each key")]
pub struct RawLimits {
    pub request_bytes: u64,
    pub connections: u32,
    pub output_bytes: u64,
    pub request_timeout_ms: u64,
    pub partial_request_timeout_ms: u64,
    pub idle_timeout_ms: u64,
    pub shutdown_grace_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "conf/router.toml documents each key")]
pub struct RawRedis {
    pub transactions: String,
    pub slowlog_log_slower_than: i64,
    pub slowlog_max_len: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "conf/router.toml documents each key")]
pub struct RawGrpc {
    pub origins: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "conf/router.toml documents each key")]
pub struct RawRuntime {
    pub threads: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "conf/router.toml documents each key")]
pub struct RawLog {
    pub filter: String,
    pub format: String,
}

impl Default for RawSettings {
    fn default() -> Self {
        let limits = Limits::default();
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            listen: RawListen {
                resp: "127.0.0.1:7379".into(),
                http: "127.0.0.1:7380".into(),
                grpc: "127.0.0.1:7381".into(),
            },
            cluster: RawCluster { seeds: vec!["127.0.0.1:7410".into()] },
            limits: RawLimits {
                request_bytes: limits.request_bytes as u64,
                connections: u32::try_from(limits.connections).unwrap_or(u32::MAX),
                output_bytes: limits.output_bytes as u64,
                request_timeout_ms: millis(limits.request_timeout),
                partial_request_timeout_ms: millis(limits.partial_request_timeout),
                idle_timeout_ms: limits.idle_timeout.map_or(0, millis),
                shutdown_grace_ms: millis(limits.shutdown_grace),
            },
            redis: RawRedis {
                transactions: "one-group".into(),
                slowlog_log_slower_than: limits.slowlog_slower_than,
                slowlog_max_len: u32::try_from(limits.slowlog_length).unwrap_or(u32::MAX),
            },
            grpc: RawGrpc { origins: Vec::new() },
            runtime: RawRuntime { threads: 0 },
            log: RawLog { filter: "info".into(), format: "auto".into() },
        }
    }
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

/// The program's settings, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The router's own.
    pub router: RouterConfig,
    /// Worker threads; 0 means one per core.
    pub threads: usize,
    /// A `tracing` filter, such as `info,simplekv_router=debug`.
    pub log_filter: String,
    /// How log lines look.
    pub log_format: LogFormat,
}

impl Settings {
    /// Checks what each value means.
    ///
    /// # Errors
    /// Everything that is wrong, together.
    pub fn check(loaded: &Loaded<RawSettings>) -> Result<Self, Problems> {
        let raw = &loaded.values;
        let mut check = Check { loaded, problems: Vec::new() };
        let resp = check.address("listen.resp", &raw.listen.resp);
        let http = check.address("listen.http", &raw.listen.http);
        let grpc = (!raw.listen.grpc.is_empty()).then(|| check.address("listen.grpc", &raw.listen.grpc));
        let origins = check.origins(&raw.grpc.origins);
        if raw.cluster.seeds.is_empty() {
            check.refuse("cluster.seeds", "at least one address is needed");
        }
        if let Some(seed) = raw.cluster.seeds.iter().find(|seed| !is_address(seed)) {
            check.refuse("cluster.seeds", format!("expected host:port, found `{seed}`"));
        }
        for (key, value, least) in [
            ("limits.request_bytes", raw.limits.request_bytes, 1024),
            ("limits.connections", raw.limits.connections.into(), 1),
            ("limits.output_bytes", raw.limits.output_bytes, 1024),
            ("limits.request_timeout_ms", raw.limits.request_timeout_ms, 1),
            ("limits.partial_request_timeout_ms", raw.limits.partial_request_timeout_ms, 1),
        ] {
            if value < least {
                check.refuse(key, format!("must be at least {least}, found {value}"));
            }
        }
        let transactions = raw.redis.transactions.parse().unwrap_or_else(|error: UnknownTransactions| {
            check.refuse("redis.transactions", error.to_string());
            Transactions::default()
        });
        check.slow_log(&raw.redis);
        let log_format = match raw.log.format.as_str() {
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
        let mut router = RouterConfig::new(raw.cluster.seeds.clone(), resp, http);
        router.limits = Limits {
            transactions,
            slowlog_slower_than: raw.redis.slowlog_log_slower_than,
            slowlog_length: raw.redis.slowlog_max_len as usize,
            ..raw.limits.checked()
        };
        (router.grpc_listen, router.origins) = (grpc, origins);
        let (threads, log_filter) = (raw.runtime.threads as usize, raw.log.filter.clone());
        Ok(Self { router, threads, log_filter, log_format })
    }
}

impl RawLimits {
    fn checked(&self) -> Limits {
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Limits {
            request_bytes: bytes(self.request_bytes),
            connections: self.connections as usize,
            output_bytes: bytes(self.output_bytes),
            request_timeout: Duration::from_millis(self.request_timeout_ms),
            partial_request_timeout: Duration::from_millis(self.partial_request_timeout_ms),
            idle_timeout: (self.idle_timeout_ms > 0).then(|| Duration::from_millis(self.idle_timeout_ms)),
            shutdown_grace: Duration::from_millis(self.shutdown_grace_ms),
            ..Limits::default()
        }
    }
}

/// Whether a text is a host and a port, an IPv6 address in brackets.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_ipv6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).is_some_and(|host| host.contains(':'));
    let is_name = !host.is_empty() && !host.contains([':', '/', '?', '#', '@', ' ', ',', '[', ']']);
    (is_ipv6 || is_name) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

struct Check<'a> {
    loaded: &'a Loaded<RawSettings>,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn refuse(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(self.loaded.problem(key, message));
    }

    fn slow_log(&mut self, raw: &RawRedis) {
        if raw.slowlog_log_slower_than < -1 {
            self.refuse("redis.slowlog_log_slower_than", "must be at least -1, which remembers nothing");
        }
        if raw.slowlog_max_len as usize > SlowLog::LENGTH_MAX {
            self.refuse("redis.slowlog_max_len", format!("must be at most {}", SlowLog::LENGTH_MAX));
        }
    }

    fn address(&mut self, key: &str, text: &str) -> SocketAddr {
        text.parse().unwrap_or_else(|_| {
            self.refuse(key, format!("expected an IP address with a port, like 0.0.0.0:7379, found `{text}`"));
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    fn origins(&mut self, texts: &[String]) -> Vec<Origin> {
        texts.iter().map(|text| text.parse()).collect::<Result<_, _>>().unwrap_or_else(|error: NoOrigin| {
            self.refuse("grpc.origins", error.to_string());
            Vec::new()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(flags: &[(&str, &str)]) -> Result<Settings, Problems> {
        let flags: Vec<_> = flags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        simplekv_conf::load_checked(None, [], &flags, Settings::check).map(|(settings, _)| settings)
    }

    #[test]
    fn the_file_says_what_the_defaults_are() {
        let file = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../conf/router.toml"));
        let loaded = simplekv_conf::load::<RawSettings>(Some(file), [], &[]).unwrap();
        assert_eq!(loaded.values, RawSettings::default());
        let keys: toml::Table = toml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        assert_eq!(keys, toml::Table::try_from(RawSettings::default()).unwrap(), "every key is in the file");
        assert_eq!(Settings::check(&loaded).unwrap().router.limits, Limits::default());
    }

    #[test]
    fn all_bad_values_are_told_together() {
        let bad = [("listen.resp", "nowhere"), ("limits.connections", "0"), ("log.format", "loud")];
        assert_eq!(settings(&bad).unwrap_err().0.len(), 3);
        let told = settings(&[("redis.transactions", "any")]).unwrap_err().to_string();
        assert!(told.contains("expected one-group or per-group, found `any`"), "{told}");
        let allowed = settings(&[("redis.transactions", "per-group")]).unwrap();
        assert_eq!(allowed.router.limits.transactions, Transactions::PerGroup);
        assert!(settings(&[("listen.rasp", "1")]).is_err());
        let bad = [("limits.connections", "-1"), ("limits.output_bytes", "x"), ("log.filter", "simplekv=loud")];
        let problems = settings(&bad).unwrap_err().to_string();
        for (key, _) in bad {
            assert!(problems.contains(&format!("{key} (flag for {key}): ")), "{key} in {problems}");
        }
    }

    #[test]
    fn grpc_may_be_left_off_and_be_open_to_pages() {
        let router = |flags| settings(flags).map(|settings| settings.router);
        let usual = router(&[]).unwrap();
        assert_eq!((usual.grpc_listen, usual.origins), (Some(SocketAddr::from(([127, 0, 0, 1], 7381))), Vec::new()));
        assert_eq!(router(&[("listen.grpc", "")]).unwrap().grpc_listen, None);
        let open = router(&[("grpc.origins", "https://shop.example, http://localhost:3000")]).unwrap();
        assert_eq!(open.origins, ["https://shop.example", "http://localhost:3000"].map(|text| text.parse().unwrap()));
        let told = router(&[("grpc.origins", "shop.example"), ("listen.grpc", "7381")]).unwrap_err().to_string();
        assert!(told.contains("expected an origin") && told.contains("listen.grpc"), "{told}");
    }

    #[test]
    fn a_seed_is_a_host_and_a_port() {
        for good in ["db1:7410", "10.0.0.1:7410,db2:1", "[::1]:7410"] {
            assert!(settings(&[("cluster.seeds", good)]).is_ok(), "{good}");
        }
        for bad in ["db1", "db1:", ":7410", "db1:70000", "db1:7410,db2:x", "http://db1:7410", "::1:7410", "db1:0"] {
            let problems = settings(&[("cluster.seeds", bad)]).unwrap_err();
            assert!(problems.to_string().contains("cluster.seeds"), "{bad}: {problems}");
        }
    }
}
