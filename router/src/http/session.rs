//! What a request says of its session and its reads, and what its response says of them.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use simplekv_client::{InvalidToken, ReadPolicy, Session, SessionToken};

use super::query::{self, Query};
use crate::error::Problem;
use crate::shared::Shared;

pub(super) const SESSION: HeaderName = HeaderName::from_static("x-simplekv-session");
const READ: HeaderName = HeaderName::from_static("x-simplekv-read");

/// The session that the request's token names, or a new one.
pub(super) fn session(shared: &Shared, headers: &HeaderMap) -> Result<Session, Problem> {
    Ok(shared.client.resume(token(headers)?))
}

/// The token the request brings. None, or an empty one, begins a session.
pub(super) fn token(headers: &HeaderMap) -> Result<SessionToken, Problem> {
    let text = headers.get(SESSION).map(|header| String::from_utf8_lossy(header.as_bytes())).unwrap_or_default();
    match text.trim() {
        "" => Ok(SessionToken::new()),
        text => text.parse().map_err(|error: InvalidToken| {
            Problem::new(StatusCode::BAD_REQUEST, "bad_session", format!("X-SimpleKV-Session: {error}"))
        }),
    }
}

/// Which replicas may answer; `None` if the request does not say. One with a token goes on with its session.
pub(super) fn policy_of(query: &Query, headers: &HeaderMap) -> Result<Option<ReadPolicy>, Problem> {
    let header =
        headers.get(READ).map(|header| query::policy(&String::from_utf8_lossy(header.as_bytes()))).transpose()?;
    let session = headers.contains_key(SESSION).then_some(ReadPolicy::SESSION);
    Ok(query.read.or(header).or(session))
}

/// Answers with what came of the work, and the token its session ends with.
pub(super) async fn answer(
    shared: &Shared,
    session: &Result<Session, Problem>,
    work: impl Future<Output = Result<Response, Problem>>,
) -> Response {
    let mut response = work.await.unwrap_or_else(IntoResponse::into_response);
    count(shared, &response);
    if let Ok(session) = session {
        tell(&session.token(), &mut response);
    }
    response
}

/// Counts an answered request.
pub(super) fn count(shared: &Shared, response: &Response) {
    shared.metrics.http_requests.inc();
    if response.status().is_server_error() {
        shared.metrics.http_errors.inc();
    }
}

/// Hands the token to the client, unless it says nothing.
pub(super) fn tell(token: &SessionToken, response: &mut Response) {
    if !token.is_empty()
        && let Ok(token) = HeaderValue::try_from(token.to_string())
    {
        response.headers_mut().insert(SESSION, token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
