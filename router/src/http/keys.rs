//! `/v2/keys/{key}`: values as they are, without any wrapping.
//!
//! Which replicas may answer a GET is said by `?read=` or the header `X-SimpleKV-Read`. `X-SimpleKV-Session` brings the token of an
//! earlier response; every response that read or wrote something brings the next.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use simplekv_client::{Error, InvalidToken, ReadPolicy, Session, SessionToken};
use simplekv_types::ParsePolicyError;
use simplekv_types::limits::KEY_BYTES_MAX;

use crate::error::Problem;
use crate::shared::Shared;

const PREFIX: &str = "/v2/keys/";
const SESSION: HeaderName = HeaderName::from_static("x-simplekv-session");
const READ: HeaderName = HeaderName::from_static("x-simplekv-read");

pub(super) async fn get(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response {
    let session = session(&shared, &headers);
    answer(&shared, &session, async {
        let session = session.as_ref().map_err(Problem::clone)?;
        let (key, query) = (key(&uri)?, Query::of(&uri)?);
        query.refuse_ttl()?;
        let policy = policy_of(&query, &headers)?.unwrap_or(shared.client.read_policy());
        let value = session.get(key).read(policy).await?.ok_or_else(Problem::not_found)?;
        Ok(([(header::CONTENT_TYPE, "application/octet-stream")], Body::from(value)).into_response())
    })
    .await
}

pub(super) async fn put(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let session = session(&shared, request.headers());
    answer(&shared, &session, async {
        let session = session.as_ref().map_err(Problem::clone)?;
        let (key, query) = (key(request.uri())?, Query::of(request.uri())?);
        query.refuse_read()?;
        let value = Bytes::from_request(request, &()).await.map_err(body_problem)?;
        let set = session.set(key, value);
        match query.ttl {
            None => set.await?,
            Some(ttl) => set.ttl(ttl).await?,
        };
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}

pub(super) async fn delete(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response {
    let session = session(&shared, &headers);
    answer(&shared, &session, async {
        let session = session.as_ref().map_err(Problem::clone)?;
        let (key, query) = (key(&uri)?, Query::of(&uri)?);
        query.refuse_ttl()?;
        query.refuse_read()?;
        match session.del(key).await? {
            true => Ok(StatusCode::NO_CONTENT.into_response()),
            false => Err(Problem::not_found()),
        }
    })
    .await
}

/// Answers with what came of the work, and the token its session ends with.
async fn answer(
    shared: &Shared,
    session: &Result<Session, Problem>,
    work: impl Future<Output = Result<Response, Problem>>,
) -> Response {
    let result = work.await;
    shared.metrics.http_requests.inc();
    let mut response = result.unwrap_or_else(|problem| {
        if problem.is_ours() {
            shared.metrics.http_errors.inc();
        }
        problem.into_response()
    });
    let token = session.as_ref().map(Session::token).unwrap_or_default();
    if !token.is_empty()
        && let Ok(token) = HeaderValue::try_from(token.to_string())
    {
        response.headers_mut().insert(SESSION, token);
    }
    response
}

/// The session that the request's token names, or a new one.
fn session(shared: &Shared, headers: &HeaderMap) -> Result<Session, Problem> {
    Ok(shared.client.resume(token(headers)?))
}

/// The token the request brings. None, or an empty one, begins a session.
fn token(headers: &HeaderMap) -> Result<SessionToken, Problem> {
    let text = headers.get(SESSION).map(|header| String::from_utf8_lossy(header.as_bytes())).unwrap_or_default();
    match text.trim() {
        "" => Ok(SessionToken::new()),
        text => text.parse().map_err(|error: InvalidToken| {
            Problem::new(StatusCode::BAD_REQUEST, "bad_session", format!("X-SimpleKV-Session: {error}"))
        }),
    }
}

/// Which replicas may answer; `None` if the request does not say. One with a token goes on with its session.
fn policy_of(query: &Query, headers: &HeaderMap) -> Result<Option<ReadPolicy>, Problem> {
    let header = headers.get(READ).map(|header| policy(&String::from_utf8_lossy(header.as_bytes()))).transpose()?;
    let session = headers.contains_key(SESSION).then_some(ReadPolicy::SESSION);
    Ok(query.read.or(header).or(session))
}

fn body_problem(rejection: BytesRejection) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", rejection.body_text())
        }
        status => Problem::new(status, "bad_body", rejection.body_text()),
    }
}

/// The key is what follows the prefix, its escapes resolved. It need not be text.
fn key(uri: &Uri) -> Result<Vec<u8>, Problem> {
    let bad = |detail: &str| Problem::new(StatusCode::BAD_REQUEST, "bad_key", detail);
    let escaped = uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let key = unescape(escaped).ok_or_else(|| bad("the key has an incomplete % escape"))?;
    match key.len() {
        0 => Err(bad("the key is empty")),
        size if size > KEY_BYTES_MAX => {
            Err(Error::TooLarge { what: "key", size: size as u64, limit: KEY_BYTES_MAX as u64 }.into())
        }
        _ => Ok(key),
    }
}

/// Resolves `%41`. `None` if an escape is not two hexadecimal digits.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
    }
    Some(bytes)
}

/// What a query may say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    ttl: Option<Duration>,
    read: Option<ReadPolicy>,
}

impl Query {
    fn of(uri: &Uri) -> Result<Self, Problem> {
        let mut query = Self::default();
        for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "ttl" => query.ttl = Some(ttl(value)?),
                "read" => query.read = Some(policy(value)?),
                _ => return Err(bad_query(format!("`{name}` is not known here"))),
            }
        }
        Ok(query)
    }

    fn refuse_ttl(&self) -> Result<(), Problem> {
        self.ttl.map_or(Ok(()), |_| Err(bad_query("`ttl` is for PUT")))
    }

    fn refuse_read(&self) -> Result<(), Problem> {
        self.read.map_or(Ok(()), |_| Err(bad_query("`read` is for GET")))
    }
}

/// Seconds, with or without a fraction.
fn ttl(text: &str) -> Result<Duration, Problem> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds
        .filter(|ttl| *ttl >= Duration::from_millis(1))
        .ok_or_else(|| bad_query("`ttl` is a number of seconds above 0"))
}

fn policy(text: &str) -> Result<ReadPolicy, Problem> {
    text.trim().parse().map_err(|error: ParsePolicyError| bad_query(error.to_string()))
}

fn bad_query(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_query", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_be_any_bytes() {
        let key = |path: &str| super::key(&format!("/v2/keys/{path}").parse().unwrap());
        assert_eq!(key("user:1"), Ok(b"user:1".to_vec()));
        assert_eq!(key("a/b//c"), Ok(b"a/b//c".to_vec()));
        assert_eq!(key("%00%ff%2F+%7Bt%7D"), Ok(b"\0\xff/+{t}".to_vec()));
        for path in ["", "%", "%4", "%4g"] {
            assert!(key(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_request_with_a_token_goes_on_with_its_session_unless_it_says_otherwise() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            let named = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            pairs.iter().map(named).collect()
        };
        let policy = |read, pairs: &[_]| policy_of(&Query { ttl: None, read }, &headers(pairs));
        assert_eq!(policy(None, &[]), Ok(None));
        assert_eq!(policy(None, &[("x-simplekv-session", "s1")]), Ok(Some(ReadPolicy::SESSION)));
        let both = [("x-simplekv-session", "s1"), ("x-simplekv-read", "leader")];
        assert_eq!(policy(None, &both), Ok(Some(ReadPolicy::Leader)));
        assert_eq!(policy(Some(ReadPolicy::Any), &both), Ok(Some(ReadPolicy::Any)));
        assert!(policy(None, &[("x-simplekv-read", "maybe")]).is_err());
        assert!(token(&headers(&[("x-simplekv-session", "s2")])).is_err());
        assert_eq!(token(&headers(&[("x-simplekv-session", "")])), Ok(SessionToken::new()));
        assert_eq!(token(&headers(&[])), Ok(SessionToken::new()));
    }

    #[test]
    fn a_query_says_only_what_is_known() {
        let query = |text: &str| Query::of(&format!("/v2/keys/k?{text}").parse().unwrap());
        assert_eq!(query("").unwrap(), Query::default());
        assert_eq!(query("ttl=1.5").unwrap().ttl, Some(Duration::from_millis(1500)));
        assert_eq!(query("read=any").unwrap().read, Some(ReadPolicy::Any));
        let bounded = ReadPolicy::Bounded { max_lag: Duration::from_millis(100) };
        assert_eq!(query("read=bounded=100ms").unwrap().read, Some(bounded));
        for text in ["ttl=", "ttl=0", "ttl=-1", "ttl=nan", "ttl=1e300", "read=maybe", "tll=1"] {
            assert!(query(text).is_err(), "{text}");
        }
    }
}
