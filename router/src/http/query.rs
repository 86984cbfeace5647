//! What a query may say.

use std::ops::RangeInclusive;
use std::time::Duration;

use axum::http::{StatusCode, Uri};
use simplekv_client::ReadPolicy;
use simplekv_types::ParsePolicyError;

use super::path::unescape;
use crate::error::Problem;

/// What a query may say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) ttl: Option<Lifetime>,
    pub(super) read: Option<ReadPolicy>,
}

/// How long a key that is written will live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// As long as it would have.
    Keep,
    /// This long from now.
    For(Duration),
}

impl Query {
    pub(super) fn of(uri: &Uri) -> Result<Self, Problem> {
        let mut query = Self::default();
        for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = text(value).ok_or_else(|| bad_query(format!("`{name}` has a value that is no text")))?;
            match name {
                "ttl" => query.ttl = Some(lifetime(&value)?),
                "read" => query.read = Some(policy(&value)?),
                _ => return Err(bad_query(format!("`{name}` is not known here"))),
            }
        }
        Ok(query)
    }

    pub(super) fn refuse_ttl(&self) -> Result<(), Problem> {
        self.ttl.map_or(Ok(()), |_| Err(bad_query("`ttl` is for PUT")))
    }

    pub(super) fn refuse_read(&self) -> Result<(), Problem> {
        self.read.map_or(Ok(()), |_| Err(bad_query("`read` is for GET")))
    }
}

/// The text that an escaped one stands for. In a query, unlike in a path, many programs write a blank as `+`.
pub(super) fn text(escaped: &str) -> Option<String> {
    String::from_utf8(unescape(&escaped.replace('+', " "))?).ok()
}

/// Seconds with or without a fraction, or `keep`.
fn lifetime(text: &str) -> Result<Lifetime, Problem> {
    if text == "keep" {
        return Ok(Lifetime::Keep);
    }
    let ttl = text.parse().ok().and_then(seconds).map(Lifetime::For);
    ttl.ok_or_else(|| bad_query("`ttl` is `keep` or a number of seconds, at least 0.001"))
}

/// A time to live as clients say it: at least a millisecond, which is what it is kept in, and within what a clock can be added to.
pub(super) fn seconds(seconds: f64) -> Option<Duration> {
    const LIMITS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(1_000_000_000_000);
    Duration::try_from_secs_f64(seconds).ok().filter(|ttl| LIMITS.contains(ttl))
}

pub(super) fn policy(text: &str) -> Result<ReadPolicy, Problem> {
    text.trim().parse().map_err(|error: ParsePolicyError| bad_query(error.to_string()))
}

pub(super) fn bad_query(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_query", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_only_what_is_known() {
        let query = |text: &str| Query::of(&format!("/v2/keys/k?{text}").parse().unwrap());
        assert_eq!(query("").unwrap(), Query::default());
        assert_eq!(query("ttl=1.5").unwrap().ttl, Some(Lifetime::For(Duration::from_millis(1500))));
        assert_eq!(query("ttl=keep").unwrap().ttl, Some(Lifetime::Keep));
        assert_eq!(query("read=any").unwrap().read, Some(ReadPolicy::Any));
        let bounded = ReadPolicy::Bounded { max_lag: Duration::from_millis(100) };
        for text in ["read=bounded=100ms", "read=+bounded%3D100ms"] {
            assert_eq!(query(text).unwrap().read, Some(bounded), "{text}");
        }
        for text in ["ttl=", "ttl=0", "ttl=-1", "ttl=nan", "ttl=1e13", "ttl=1e300", "read=maybe", "read=%ff", "tll=1"] {
            assert!(query(text).is_err(), "{text}");
        }
    }
}
