//! A router's settings, checked.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// Where a router listens, whom it asks, and what it lets clients do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterConfig {
    /// gRPC addresses of nodes, as `host:port`. One that answers is enough to find the others.
    pub seeds: Vec<String>,
    /// Where Redis clients connect. Port 0 takes any free one.
    pub resp_listen: SocketAddr,
    /// Where HTTP clients connect. Port 0 takes any free one.
    pub http_listen: SocketAddr,
    /// What clients may do.
    pub limits: Limits,
}

/// What clients may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of one request. A larger one ends its connection.
    pub request_bytes: usize,
    /// Most connections, of both protocols together. Further ones are told so and closed.
    pub connections: usize,
    /// Bytes of replies beyond which a connection's further requests wait, and a client that takes none of them is soon cut off.
    pub output_bytes: usize,
    /// Most requests under way at a time, of all connections together. Further ones wait.
    pub in_flight: usize,
    /// Most requests of one connection under way at a time. Further ones wait.
    pub pipeline: usize,
    /// How long a request may take in the cluster, over all attempts.
    pub request_timeout: Duration,
    /// How long a request may take to arrive, and replies to be taken.
    pub partial_request_timeout: Duration,
    /// A connection silent for this long is closed; `None`: never.
    pub idle_timeout: Option<Duration>,
    /// How long a stopping router waits for the requests it has begun.
    pub shutdown_grace: Duration,
    /// Which transactions of the Redis protocol are done.
    pub transactions: Transactions,
}

/// What becomes of MULTI … EXEC when its keys belong to several groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transactions {
    /// It is refused: what is done is done as one.
    #[default]
    OneGroup,
    /// Each group's part is done by itself, one after the other.
    PerGroup,
}

impl FromStr for Transactions {
    type Err = UnknownTransactions;

    fn from_str(text: &str) -> Result<Self, UnknownTransactions> {
        match text {
            "one-group" => Ok(Self::OneGroup),
            "per-group" => Ok(Self::PerGroup),
            other => Err(UnknownTransactions(other.to_owned())),
        }
    }
}

/// A word that names no way of doing transactions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one-group or per-group, found `{0}`")]
pub struct UnknownTransactions(String);

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes: 64 << 20,
            connections: 10_000,
            output_bytes: 64 << 20,
            in_flight: 16_384,
            pipeline: 1024,
            request_timeout: Duration::from_secs(10),
            partial_request_timeout: Duration::from_secs(30),
            idle_timeout: None,
            shutdown_grace: Duration::from_secs(10),
            transactions: Transactions::OneGroup,
        }
    }
}

/// A setting that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {reason}")]
pub struct ConfigError {
    /// The setting.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl RouterConfig {
    /// Settings with default limits.
    #[must_use]
    pub fn new(seeds: Vec<String>, resp_listen: SocketAddr, http_listen: SocketAddr) -> Self {
        Self { seeds, resp_listen, http_listen, limits: Limits::default() }
    }

    /// Checks all settings that can be checked without trying them.
    ///
    /// # Errors
    /// The first that cannot work.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Limits { request_bytes, connections, output_bytes, in_flight, pipeline, .. } = self.limits;
        let Limits { request_timeout, partial_request_timeout, .. } = self.limits;
        for (field, is_wrong, reason) in [
            ("cluster.seeds", self.seeds.is_empty(), "needs at least one address"),
            ("limits.request_bytes", request_bytes < 1024, "must be at least 1024"),
            ("limits.connections", connections == 0, "must be at least 1"),
            ("limits.output_bytes", output_bytes < 1024, "must be at least 1024"),
            ("limits.in_flight", in_flight == 0, "must be at least 1"),
            ("limits.pipeline", pipeline == 0, "must be at least 1"),
            ("limits.request_timeout_ms", request_timeout.is_zero(), "must be more than 0"),
            ("limits.partial_request_timeout_ms", partial_request_timeout.is_zero(), "must be more than 0"),
        ] {
            if is_wrong {
                return Err(ConfigError { field, reason });
            }
        }
        Ok(())
    }
}
