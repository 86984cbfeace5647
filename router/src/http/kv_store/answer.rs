//! What the store answers, in its own words.

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use simplekv_client::{Error, SessionToken};

use super::context;
use crate::error::Problem;

/// An answer; the fields in the original's order, those without a value left out.
#[derive(Debug, Default, Serialize)]
pub(super) struct Answer {
    #[serde(skip)]
    pub(super) status: StatusCode,
    /// Whether the same request may fare better in a moment.
    #[serde(skip)]
    pub(super) again: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<&'static str>,
    #[serde(rename = "doesExist", skip_serializing_if = "Option::is_none")]
    pub(super) exists: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) replaced: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shards: Option<Vec<u32>>,
    #[serde(rename = "key-count", skip_serializing_if = "Option::is_none")]
    pub(super) key_count: Option<u64>,
    #[serde(rename = "shard-id", skip_serializing_if = "Option::is_none")]
    pub(super) shard_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) replicas: Option<Vec<String>>,
    /// Who was asked on the client's behalf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) address: Option<String>,
    /// `null` where nobody was asked.
    #[serde(rename = "causal-context")]
    pub(super) context: Option<Map<String, Value>>,
}

impl Answer {
    pub(super) fn ok(message: &str) -> Self {
        Self { message: Some(message.to_owned()), ..Self::default() }
    }

    pub(super) fn created() -> Self {
        Self { status: StatusCode::CREATED, replaced: Some(false), ..Self::ok("Added successfully") }
    }

    pub(super) fn missing() -> Self {
        let (status, error) = (StatusCode::NOT_FOUND, Some("Key does not exist"));
        Self { status, error, exists: Some(false), ..Self::default() }
    }

    pub(super) fn response(mut self, method: &Method, context: Option<&SessionToken>) -> Response {
        self.context = context.map(context::show);
        if self.error.is_some() {
            self.message = Some(format!("Error in {method}"));
        }
        let body = serde_json::to_string(&self).unwrap_or_default() + "\n";
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        if self.again {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Why a request was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    status: StatusCode,
    error: &'static str,
    again: bool,
}

impl Trouble {
    pub(super) const NOT_PARSED: Self = Self::new(StatusCode::BAD_REQUEST, "Failed to parse request body");
    pub(super) const KEY_MISSING: Self = Self::new(StatusCode::BAD_REQUEST, "Key is missing");
    pub(super) const KEY_TOO_LONG: Self = Self::new(StatusCode::BAD_REQUEST, "Key is too long");
    pub(super) const VALUE_MISSING: Self = Self::new(StatusCode::BAD_REQUEST, "Value is missing");
    pub(super) const NO_SUCH_SHARD: Self = Self::new(StatusCode::NOT_FOUND, "Shard does not exist");
    pub(super) const NO_TEXT: Self = Self::new(StatusCode::NOT_ACCEPTABLE, "Value is not text, read it under /v2/keys");
    pub(super) const TOO_LARGE: Self = Self::new(StatusCode::PAYLOAD_TOO_LARGE, "Request is too large");
    pub(super) const MAIN_IS_DOWN: Self = Self::passing("Main instance is down");
    const UNAVAILABLE: Self = Self::passing("Unable to satisfy request");
    /// What the context names is gone, and waiting does not bring it back.
    const LOST: Self = Self { again: false, ..Self::UNAVAILABLE };
    const UNCERTAIN: Self = Self::new(StatusCode::GATEWAY_TIMEOUT, "Request may or may not have been done");
    const WRONG_TYPE: Self = Self::new(StatusCode::CONFLICT, "Key holds something other than a value");

    pub(super) const fn new(status: StatusCode, error: &'static str) -> Self {
        Self { status, error, again: false }
    }

    const fn passing(error: &'static str) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, error, again: true }
    }
}

/// The original knows two ways to fail: the node in charge cannot be reached, or it cannot do what is asked.
impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Self {
        match problem.code() {
            "uncertain" => Self::UNCERTAIN,
            "too_large" => Self::TOO_LARGE,
            "wrong_type" => Self::WRONG_TYPE,
            "no_leader" | "slot_unserved" | "not_serving" | "timeout" => Self::MAIN_IS_DOWN,
            "token_lost" => Self::LOST,
            "corrupt" => Self::new(StatusCode::INTERNAL_SERVER_ERROR, Self::UNAVAILABLE.error),
            _ => Self::UNAVAILABLE,
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Problem::from(error).into()
    }
}

impl From<Trouble> for Answer {
    fn from(Trouble { status, error, again }: Trouble) -> Self {
        Self { status, again, error: Some(error), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use simplekv_client::GroupId;
    use simplekv_types::FailureCode;

    use super::*;

    #[test]
    fn an_answer_has_the_fields_of_the_original_in_their_order() {
        let mut answer = Answer { address: Some("a:1".into()), ..Answer::created() };
        answer.context = Some(Map::new());
        let told = serde_json::to_string(&answer).unwrap();
        assert_eq!(told, r#"{"message":"Added successfully","replaced":false,"address":"a:1","causal-context":{}}"#);
        let told = serde_json::to_string(&Answer::missing()).unwrap();
        assert_eq!(told, r#"{"error":"Key does not exist","doesExist":false,"causal-context":null}"#);
    }

    #[test]
    fn a_write_that_may_have_been_done_is_never_called_undone() {
        for code in FailureCode::ALL {
            let trouble = Trouble::from(Problem::from(code.example()));
            assert_eq!(trouble == Trouble::UNCERTAIN, code.told().may_have_applied, "{code:?}");
        }
        assert_eq!(Trouble::from(Error::TokenLost { group: GroupId(1) }), Trouble::LOST);
        assert_eq!(Trouble::from(Error::NoAnswer { after: std::time::Duration::ZERO }), Trouble::MAIN_IS_DOWN);
    }
}
