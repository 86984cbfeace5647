//! A client's settings: collected by the builder, checked once.

use std::sync::Arc;
use std::time::Duration;

use simplekv_types::ReadPolicy;

use crate::backoff::Backoff;
use crate::error::{Error, Result};
use crate::near_cache::NearCache;

/// gRPC port of a node unless an address names another.
const DEFAULT_PORT: u16 = 7410;
/// Copies are kept for no longer.
const TTL_MAX: Duration = Duration::from_secs(365 * 86_400);
const SCHEME: &str = "simplekv://";

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// For a connection to a node. Default 1 s.
    pub connect: Duration,
    /// For one attempt of a request; then it is tried again. Default 500 ms.
    pub attempt: Duration,
    /// For a request over all its attempts. Default 10 s.
    pub total: Duration,
    /// For one answer about the topology. Independent of the callers' deadlines. Default 2 s.
    pub topology: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            attempt: Duration::from_millis(500),
            total: Duration::from_secs(10),
            topology: Duration::from_secs(2),
        }
    }
}

/// Checked settings.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Where to ask for the topology first, as `host:port`. At least one.
    pub(crate) seeds: Vec<Arc<str>>,
    pub(crate) read_policy: ReadPolicy,
    /// Where this client is; empty if it does not say.
    pub(crate) zone: String,
    pub(crate) timeouts: Timeouts,
    pub(crate) backoff: Backoff,
    /// How often a group that is there may refuse a request before that is the answer.
    pub(crate) refusals_max: u32,
    pub(crate) lanes_per_node: usize,
    pub(crate) in_flight_per_node: usize,
    pub(crate) in_flight_total: usize,
    pub(crate) share_reads: bool,
    pub(crate) near_cache: Option<NearCache>,
}

impl Config {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            seeds: Vec::new(),
            read_policy: ReadPolicy::default(),
            zone: String::new(),
            timeouts: Timeouts::default(),
            backoff: Backoff::default(),
            refusals_max: 4,
            lanes_per_node: cores.min(4),
            in_flight_per_node: 4096,
            in_flight_total: 16384,
            share_reads: true,
            near_cache: None,
        }
    }

    /// # Errors
    /// [`Error::Config`] naming the first setting that cannot be.
    pub(crate) fn check(&self) -> Result<()> {
        let Timeouts { connect, attempt, total, topology } = self.timeouts;
        for (field, value) in [
            ("timeouts.connect", connect),
            ("timeouts.attempt", attempt),
            ("timeouts.total", total),
            ("timeouts.topology", topology),
            ("backoff.ceiling", self.backoff.ceiling),
        ] {
            if value.is_zero() {
                return Err(wrong(field, "must be longer than nothing"));
            }
        }
        for (field, count) in [
            ("seeds", self.seeds.len()),
            ("lanes_per_node", self.lanes_per_node),
            ("max_in_flight.per_node", self.in_flight_per_node),
            ("max_in_flight.total", self.in_flight_total),
        ] {
            if count == 0 {
                return Err(wrong(field, "at least one is needed"));
            }
        }
        match self.near_cache {
            Some(NearCache { bytes: 0, .. }) => Err(wrong("near_cache.bytes", "must be more than nothing")),
            Some(NearCache { ttl, .. }) if ttl.is_zero() => Err(wrong("near_cache.ttl", "must be longer than nothing")),
            // Longer than the cache's own clock can count.
            Some(NearCache { ttl, .. }) if ttl > TTL_MAX => Err(wrong("near_cache.ttl", "must be at most a year")),
            _ => Ok(()),
        }
    }
}

/// Reads `simplekv://host[:port][,host[:port]…]`; the scheme may be left out.
///
/// # Errors
/// [`Error::Config`] if there is no host, a port is not a number, or there is anything else.
pub(crate) fn seeds(url: &str) -> Result<Vec<Arc<str>>> {
    let list = url.strip_prefix(SCHEME).unwrap_or(url).trim_end_matches('/');
    if list.contains("://") {
        return Err(wrong("url", format!("`{url}` does not begin with {SCHEME}")));
    }
    list.split(',').map(str::trim).map(address).collect()
}

/// `host[:port]` with the default port filled in.
pub(crate) fn address(text: &str) -> Result<Arc<str>> {
    let is_bare_ipv6 = text.starts_with('[') && text.ends_with(']');
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !is_bare_ipv6 => {
            (host, port.parse().map_err(|_| wrong("url", format!("`{port}` in `{text}` is not a port")))?)
        }
        _ => (text, DEFAULT_PORT),
    };
    let is_clean = host.starts_with('[') || !host.contains(':');
    if host.is_empty() || !is_clean || host.contains(['/', '?', '#', '@', ' ']) {
        return Err(wrong("url", format!("`{text}` is not host:port")));
    }
    Ok(format!("{host}:{port}").into())
}

fn wrong(field: &'static str, reason: impl Into<String>) -> Error {
    Error::Config { field, reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_read_with_and_without_ports() {
        let read = |url: &str| seeds(url).map(|seeds| seeds.join(" ")).map_err(|error| error.to_string());
        assert_eq!(read("simplekv://a:1,b"), Ok("a:1 b:7410".into()));
        assert_eq!(read("127.0.0.1:7410"), Ok("127.0.0.1:7410".into()));
        assert_eq!(read("simplekv://[::1]:9, [::2]"), Ok("[::1]:9 [::2]:7410".into()));
        for url in ["", "simplekv://", "http://a:1", "a:x", "a:70000", "::1", "a:1,,b:1", "a:1?zone=x", "u@h:1"] {
            assert!(seeds(url).is_err(), "{url}");
        }
    }

    #[test]
    fn impossible_settings_name_the_setting() {
        let mut config = Config::new();
        config.seeds = seeds("a").unwrap();
        assert!(config.check().is_ok());
        config.timeouts.attempt = Duration::ZERO;
        assert!(config.check().unwrap_err().to_string().contains("timeouts.attempt"));
    }
}
