//! One operation of a batch: how it is written, what it asks of the cluster, and what its result looks like.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use simplekv_client::{Kind, Reply, Result};

use crate::error::Problem;
use crate::http::etag::Tag;
use crate::http::{path, query, write};

/// An operation as clients write it.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Operation {
    Get {
        key: String,
    },
    Set {
        key: String,
        value: Option<String>,
        base64: Option<String>,
        ttl: Option<f64>,
        #[serde(default)]
        keep_ttl: bool,
        #[serde(default)]
        if_absent: bool,
        #[serde(default)]
        if_present: bool,
    },
    Delete {
        key: String,
    },
    /// Sets how long the key will live.
    Expire {
        key: String,
        ttl: f64,
    },
    /// Lets it live for ever.
    Persist {
        key: String,
    },
    /// How long it will live.
    Ttl {
        key: String,
    },
    /// Adds to the number it holds.
    Increment {
        key: String,
        #[serde(default = "one")]
        by: i64,
    },
}

fn one() -> i64 {
    1
}

/// What an operation asks of the cluster.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) key: Bytes,
    pub(super) args: Vec<Bytes>,
    pub(super) kind: Kind,
    asks: Asks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    Value,
    /// Whether it was written.
    Set,
    /// Whether the key was there.
    Existence,
    Ttl,
    Number,
}

impl Operation {
    pub(super) fn step(self) -> Result<Step, Problem> {
        match self {
            Self::Get { key } => step("GET", key, Kind::Read, Asks::Value, vec![]),
            Self::Delete { key } => step("DEL", key, Kind::Write, Asks::Existence, vec![]),
            Self::Persist { key } => step("PERSIST", key, Kind::Write, Asks::Existence, vec![]),
            Self::Ttl { key } => step("PTTL", key, Kind::Read, Asks::Ttl, vec![]),
            Self::Expire { key, ttl } => step("PEXPIRE", key, Kind::Write, Asks::Existence, vec![millis(ttl)?]),
            Self::Increment { key, by } => step("INCRBY", key, Kind::Write, Asks::Number, vec![by.to_string().into()]),
            Self::Set { key, value, base64, ttl, keep_ttl, if_absent, if_present } => {
                let mut more = vec![bytes_of(value, base64)?];
                match (ttl, keep_ttl) {
                    (Some(_), true) => return Err(bad_operation("either `ttl` or `keep_ttl`")),
                    (Some(ttl), false) => more.extend([Bytes::from_static(b"PX"), millis(ttl)?]),
                    (None, true) => more.push(Bytes::from_static(b"KEEPTTL")),
                    (None, false) => (),
                }
                match (if_absent, if_present) {
                    (true, true) => return Err(bad_operation("either `if_absent` or `if_present`")),
                    (true, false) => more.push(Bytes::from_static(b"NX")),
                    (false, true) => more.push(Bytes::from_static(b"XX")),
                    (false, false) => (),
                }
                step("SET", key, Kind::Write, Asks::Set, more)
            }
        }
    }
}

fn step(name: &'static str, key: String, kind: Kind, asks: Asks, more: Vec<Bytes>) -> Result<Step, Problem> {
    let key = Bytes::from(path::check(key.into_bytes())?);
    let args = [Bytes::from_static(name.as_bytes()), key.clone()].into_iter().chain(more).collect();
    Ok(Step { key, args, kind, asks })
}

fn bytes_of(value: Option<String>, base64: Option<String>) -> Result<Bytes, Problem> {
    match (value, base64) {
        (Some(text), None) => Ok(text.into()),
        (None, Some(base64)) => {
            let bytes = BASE64.decode(base64).map_err(|error| bad_operation(&format!("`base64`: {error}")))?;
            Ok(bytes.into())
        }
        _ => Err(bad_operation("a value is given by `value`, as text, or by `base64`")),
    }
}

fn millis(ttl: f64) -> Result<Bytes, Problem> {
    let ttl = query::seconds(ttl).ok_or_else(|| bad_operation("`ttl` is a number of seconds, at least 0.001"))?;
    Ok(ttl.as_millis().to_string().into())
}

fn bad_operation(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_body", detail)
}

/// The result of an operation.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Outcome {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// The value, if it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    /// In seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl Outcome {
    /// About how many bytes it takes in the response.
    pub(super) fn bytes(&self) -> usize {
        self.value.as_ref().or(self.base64.as_ref()).map_or(0, String::len)
    }

    fn status(status: StatusCode) -> Self {
        Self { status: status.as_u16(), ..Self::default() }
    }

    fn value(value: &Bytes) -> Self {
        let etag = Some(Tag::of(value).to_string());
        let found = Self { etag, ..Self::status(StatusCode::OK) };
        match std::str::from_utf8(value) {
            Ok(text) => Self { value: Some(text.to_owned()), ..found },
            Err(_) => Self { base64: Some(BASE64.encode(value)), ..found },
        }
    }
}

impl From<Problem> for Outcome {
    fn from(problem: Problem) -> Self {
        let (code, detail) = (Some(problem.code()), Some(problem.detail().to_owned()));
        Self { code, detail, ..Self::status(problem.status()) }
    }
}

impl Step {
    /// Whether its result is as large as a value.
    pub(super) fn tells(&self) -> bool {
        self.asks == Asks::Value
    }

    pub(super) fn outcome(&self, reply: Result<Reply>) -> Outcome {
        let done = Outcome::status(StatusCode::NO_CONTENT);
        match (self.asks, reply) {
            (_, Err(error)) => Problem::from(error).into(),
            (_, Ok(Reply::Error(failure))) => Problem::from(failure).into(),
            (Asks::Value, Ok(Reply::Bulk(value))) => Outcome::value(&value),
            (Asks::Value, Ok(Reply::Null)) | (Asks::Ttl, Ok(Reply::Int(-2))) => Problem::not_found().into(),
            (Asks::Set, Ok(Reply::Ok)) => done,
            (Asks::Set, Ok(Reply::Null)) => crate::http::etag::unmet().into(),
            (Asks::Existence, Ok(Reply::Int(0))) => Problem::not_found().into(),
            (Asks::Existence, Ok(Reply::Int(_))) => done,
            (Asks::Ttl, Ok(Reply::Int(-1))) => Outcome::status(StatusCode::OK),
            #[expect(clippy::cast_precision_loss, reason = "a thousand centuries have 2^52 milliseconds")]
            (Asks::Ttl, Ok(Reply::Int(millis))) => {
                Outcome { ttl: Some(millis as f64 / 1000.0), ..Outcome::status(StatusCode::OK) }
            }
            (Asks::Number, Ok(Reply::Int(number))) => {
                Outcome { number: Some(number), ..Outcome::status(StatusCode::OK) }
            }
            (_, Ok(other)) => write::unexpected("a batch's operation", &other).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(json: &str) -> Result<Step, Problem> {
        serde_json::from_str::<Operation>(json).unwrap().step()
    }

    #[test]
    fn an_operation_is_a_command() {
        for (json, command) in [
            (r#"{"op":"get","key":"a b"}"#, "GET|a b"),
            (r#"{"op":"set","key":"a","value":""}"#, "SET|a|"),
            (r#"{"op":"set","key":"a","base64":"dg==","ttl":1.5,"if_absent":true}"#, "SET|a|v|PX|1500|NX"),
            (r#"{"op":"set","key":"a","value":"v","keep_ttl":true,"if_present":true}"#, "SET|a|v|KEEPTTL|XX"),
            (r#"{"op":"delete","key":"a"}"#, "DEL|a"),
            (r#"{"op":"expire","key":"a","ttl":60}"#, "PEXPIRE|a|60000"),
            (r#"{"op":"increment","key":"a"}"#, "INCRBY|a|1"),
            (r#"{"op":"increment","key":"a","by":-3}"#, "INCRBY|a|-3"),
        ] {
            assert_eq!(step(json).unwrap().args.join(&b'|'), command.as_bytes(), "{json}");
        }
        for json in [
            r#"{"op":"set","key":"a"}"#,
            r#"{"op":"set","key":"a","value":"v","base64":"dg=="}"#,
            r#"{"op":"set","key":"a","base64":"!"}"#,
            r#"{"op":"set","key":"a","value":"v","ttl":1,"keep_ttl":true}"#,
            r#"{"op":"set","key":"a","value":"v","if_absent":true,"if_present":true}"#,
            r#"{"op":"expire","key":"a","ttl":-1}"#,
        ] {
            assert!(step(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_result_says_what_the_request_alone_would_have() {
        let told = |json, reply| serde_json::to_string(&step(json).unwrap().outcome(Ok(reply))).unwrap();
        let (get, ttl) = (r#"{"op":"get","key":"a"}"#, r#"{"op":"ttl","key":"a"}"#);
        let etag = r#""etag":"\"4c94485e0c21ae6c41ce1dfe7b6bface\"""#;
        assert_eq!(told(get, Reply::fixed("v")), format!(r#"{{"status":200,"value":"v",{etag}}}"#));
        assert!(told(get, Reply::Bulk(Bytes::from_static(b"\xff"))).contains(r#""base64":"/w==""#));
        assert!(told(get, Reply::Null).starts_with(r#"{"status":404,"code":"not_found""#));
        assert!(told(get, Reply::Ok).starts_with(r#"{"status":504,"code":"uncertain""#));
        assert_eq!(told(ttl, Reply::Int(1500)), r#"{"status":200,"ttl":1.5}"#);
        assert_eq!(told(ttl, Reply::Int(-1)), r#"{"status":200}"#);
        let set = r#"{"op":"set","key":"a","value":"v","if_absent":true}"#;
        assert!(told(set, Reply::Null).starts_with(r#"{"status":412,"code":"precondition_failed""#));
    }
}
