//! A router's settings, checked.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use axum::http::HeaderValue;
use simplekv_resp::SlowLog;

/// Where a router listens, whom it asks, and what it lets clients do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterConfig {
    /// gRPC addresses of nodes, as `host:port`. One that answers is enough to find the others.
    pub seeds: Vec<String>,
    /// Where Redis clients connect. Port 0 takes any free one.
    pub resp_listen: SocketAddr,
    /// Where HTTP clients connect. Port 0 takes any free one.
    pub http_listen: SocketAddr,
    /// Where gRPC clients connect; `None`: nowhere. Port 0 takes any free one.
    pub grpc_listen: Option<SocketAddr>,
    /// From where pages of browsers may call over gRPC-Web.
    pub origins: Vec<Origin>,
    /// What clients may do.
    pub limits: Limits,
}

/// Where a page of a browser comes from, as the browser says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Anywhere.
    Any,
    /// This scheme, host and port: `https://shop.example`.
    Exact(HeaderValue),
}

impl FromStr for Origin {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let wrong = || NoOrigin(text.to_owned());
        let (scheme, host) = text.split_once("://").ok_or_else(wrong)?;
        // Browsers leave out paths and lower their case: anything else would never be the same as what they send.
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c));
        let is_host = !host.is_empty() && host.chars().all(|c| c.is_ascii_graphic() && !"/?#@*,".contains(c));
        if !is_scheme || !is_host || host.contains(|c: char| c.is_ascii_uppercase()) {
            return Err(wrong());
        }
        HeaderValue::from_str(text).map(Self::Exact).map_err(|_| wrong())
    }
}

/// A text that is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an origin, like https://shop.example or http://localhost:3000, or *, found `{0}`")]
pub struct NoOrigin(String);

/// What clients may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of one request. A larger one ends its connection, or its call.
    pub request_bytes: usize,
    /// Most connections, of all protocols together. Further ones are told so and closed.
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
    /// From how long on a command of the Redis protocol is remembered, in microseconds; negative: never.
    pub slowlog_slower_than: i64,
    /// How many such commands are remembered.
    pub slowlog_length: usize,
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
            slowlog_slower_than: SlowLog::SLOWER_THAN_DEFAULT,
            slowlog_length: SlowLog::LENGTH_DEFAULT,
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
    /// Settings with default limits, for a router without gRPC.
    #[must_use]
    pub fn new(seeds: Vec<String>, resp_listen: SocketAddr, http_listen: SocketAddr) -> Self {
        let (grpc_listen, origins) = (None, Vec::new());
        Self { seeds, resp_listen, http_listen, grpc_listen, origins, limits: Limits::default() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_calls_it() {
        for good in ["https://shop.example", "http://localhost:3000", "http://[::1]:8080", "app://x"] {
            assert_eq!(good.parse(), Ok(Origin::Exact(HeaderValue::from_static(good))));
        }
        assert_eq!("*".parse(), Ok(Origin::Any));
        for bad in
            ["", "shop.example", "https://", "https://a/", "https://a/b", "HTTPS://a", "https://A", "https://*.a"]
        {
            assert_eq!(bad.parse::<Origin>(), Err(NoOrigin(bad.to_owned())));
        }
    }
}
