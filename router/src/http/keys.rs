//! `/v2/keys/{key}`: values as they are, without any wrapping.
//!
//! Which replicas may answer a GET is said by `?read=` or the header `X-SimpleKV-Read`. `X-SimpleKV-Session` brings the token of an
//! earlier response; every response that read or wrote something brings the next.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::etag::{self, Preconditions, Tag};
use super::path::key;
use super::query::Query;
use super::session::{answer, policy_of, session};
use super::write::{self, Done};
use crate::error::Problem;
use crate::shared::Shared;

const PREFIX: &str = "/v2/keys/";
/// A copy may be kept, and must be asked about before it is used: with its tag that costs a 304.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

pub(super) async fn get(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response {
    let session = session(&shared, &headers);
    answer(&shared, &session, async {
        let session = session.as_ref().map_err(Problem::clone)?;
        let (key, query, conditions) = (key(&uri, PREFIX)?, Query::of(&uri)?, Preconditions::of(&headers)?);
        query.refuse_ttl()?;
        let policy = policy_of(&query, &headers)?.unwrap_or(shared.client.read_policy());
        let value = session.get(key).read(policy).await?.ok_or_else(Problem::not_found)?;
        let tag = Tag::of(&value);
        if !conditions.match_holds(Some(&tag)) {
            return Err(etag::unmet());
        }
        let about = [(header::ETAG, tag.header()), (header::CACHE_CONTROL, ASK_AGAIN)];
        if !conditions.none_match_holds(Some(&tag)) {
            return Ok((StatusCode::NOT_MODIFIED, about).into_response());
        }
        Ok((about, [(header::CONTENT_TYPE, "application/octet-stream")], Body::from(value)).into_response())
    })
    .await
}

pub(super) async fn put(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let session = session(&shared, request.headers());
    answer(&shared, &session, async {
        let session = session.as_ref().map_err(Problem::clone)?;
        let (key, query) = (key(request.uri(), PREFIX)?, Query::of(request.uri())?);
        let conditions = Preconditions::of(request.headers())?;
        query.refuse_read()?;
        refuse_coding(request.headers())?;
        let value = body(request).await?;
        let tag = Tag::of(&value);
        let status = match write::set(session, key, value, query.ttl, &conditions).await? {
            Done::Created => StatusCode::CREATED,
            Done::Replaced | Done::Unknown => StatusCode::NO_CONTENT,
        };
        Ok((status, [(header::ETAG, tag.header())]).into_response())
    })
    .await
}

pub(super) async fn delete(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response {
    let session = session(&shared, &headers);
    answer(&shared, &session, async {
        let session = session.as_ref().map_err(Problem::clone)?;
        let (key, query, conditions) = (key(&uri, PREFIX)?, Query::of(&uri)?, Preconditions::of(&headers)?);
        query.refuse_ttl()?;
        query.refuse_read()?;
        match write::delete(session, key, &conditions).await? {
            true => Ok(StatusCode::NO_CONTENT.into_response()),
            false => Err(Problem::not_found()),
        }
    })
    .await
}

/// A value is bytes and nothing else: that they were packed would be forgotten.
fn refuse_coding(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get(header::CONTENT_ENCODING) {
        Some(coding) if !coding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            let detail = "Content-Encoding is not kept with a value: send the bytes that GET shall answer";
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_coding", detail))
        }
        _ => Ok(()),
    }
}

/// The request's whole body, within the limit.
pub(super) async fn body(request: Request) -> Result<Bytes, Problem> {
    Bytes::from_request(request, &()).await.map_err(|rejection: BytesRejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", rejection.body_text())
        }
        status => Problem::new(status, "bad_body", rejection.body_text()),
    })
}
