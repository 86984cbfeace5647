//! From the client's errors to what each protocol calls them. The only place that makes an error of either protocol from one.

use std::fmt;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use simplekv_client::Error;
use simplekv_types::{Failure, Reply};

/// The reply a Redis client gets. A write that may have been done says UNCERTAIN, whatever happened: these clients cannot ask again
/// under the same identity, so this is all they will ever know.
pub(crate) fn reply(error: Error) -> Reply {
    Reply::Error(failure(error))
}

fn failure(error: Error) -> Failure {
    let text = error.to_string();
    match error {
        Error::OutcomeUnknown { source, .. } => Failure::Uncertain { reason: source.to_string().into() },
        // The parts that were done stay done.
        Error::Partial { .. } => Failure::Uncertain { reason: text.into() },
        Error::Unexpected { .. } => Failure::Uncertain { reason: text.into() },
        // What kept it from being done until the time was up says more than that the time is up.
        Error::Timeout { last, .. } => match *last {
            Error::NoLeader { group } => Failure::NoLeader { group },
            Error::SlotUnserved { slot } => Failure::SlotUnserved { slot },
            Error::NotEnoughInSync { have, need } => Failure::NoReplicas { in_sync: have, required: need },
            Error::Overloaded { what } => Failure::Busy { what },
            Error::Server(failure) => without_address(failure),
            last => Failure::Timeout { what: last.to_string().into() },
        },
        Error::NoLeader { group } => Failure::NoLeader { group },
        Error::SlotUnserved { slot } => Failure::SlotUnserved { slot },
        Error::NotEnoughInSync { have, need } => Failure::NoReplicas { in_sync: have, required: need },
        Error::TokenLost { group } => Failure::TokenLost { group },
        Error::WrongType => Failure::WrongType,
        Error::CrossSlot { .. } => Failure::CrossSlot,
        Error::SeveralGroups { first, second } => simplekv_resp::several_groups(first.as_ref(), second.as_ref()),
        Error::TooLarge { what, size, limit } => Failure::TooLarge { what, size, limit },
        Error::Overloaded { what } => Failure::Busy { what },
        Error::Server(failure) => without_address(failure),
        Error::Closed => Failure::NotServing { reason: "the router is stopping".into() },
        Error::NoSeed { .. } | Error::Config { .. } | Error::Transport(_) | Error::NoAnswer { .. } => {
            Failure::NotServing { reason: text.into() }
        }
        other => Failure::Command(format!("ERR {other}").into()),
    }
}

/// A failure that names no node. Clients of a router know of none, and many of them would follow a redirect past it.
fn without_address(failure: Failure) -> Failure {
    match failure {
        Failure::NotLeader { group, .. } => Failure::NoLeader { group },
        Failure::Moved { slot, .. } => Failure::TryAgain { slot },
        other => other,
    }
}

/// An error as HTTP clients get it: `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    /// Stable, for programs.
    code: &'static str,
    /// For people.
    detail: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into() }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The same, saying what part of the request it is about.
    pub(crate) fn about(self, part: &str) -> Self {
        Self { detail: format!("{part}: {}", self.detail), ..self }
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is no such key")
    }

    fn of(failure: &Failure) -> Self {
        let told = failure.code().told();
        let status = StatusCode::from_u16(told.http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, told.name, failure.to_string())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.code, self.detail)
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::of(&failure)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::of(&failure(error))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            title: &'a str,
            status: u16,
            code: &'a str,
            detail: &'a str,
        }
        let title = self.status.canonical_reason().unwrap_or("Error");
        let body = Body { title, status: self.status.as_u16(), code: self.code, detail: &self.detail };
        let body = serde_json::to_string(&body).unwrap_or_default();
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use simplekv_client::{GroupId, NodeId, Slot};
    use simplekv_types::{Epoch, FailureCode, SlotMapVersion};

    use super::*;

    fn timeout(last: Error) -> Error {
        Error::Timeout { elapsed: Duration::from_secs(10), attempts: 3, last: Box::new(last) }
    }

    fn unknown(source: Error) -> Error {
        Error::OutcomeUnknown { id: None, source: Box::new(source) }
    }

    #[test]
    fn a_write_in_doubt_is_uncertain_and_nothing_else_is() {
        let in_doubt = [
            unknown(Error::NoLeader { group: GroupId(1) }),
            Error::Partial { parts: 2, failed: 1, source: Box::new(Error::WrongType) },
        ];
        for error in in_doubt {
            assert!(error.may_have_applied());
            assert!(failure(error).may_have_applied());
        }
        for error in [timeout(Error::NoLeader { group: GroupId(1) }), Error::Closed, Error::Overloaded { what: "x" }] {
            assert!(!error.may_have_applied());
            assert!(!failure(error).may_have_applied());
        }
    }

    #[test]
    fn a_timeout_tells_what_was_waited_for() {
        let last = Error::NoLeader { group: GroupId(1) };
        assert_eq!(failure(timeout(last)), Failure::NoLeader { group: GroupId(1) });
        let last = Error::NoAnswer { after: Duration::from_millis(500) };
        assert_eq!(failure(timeout(last)), Failure::Timeout { what: "no answer within 500ms".into() });
    }

    #[test]
    fn nobody_is_sent_past_the_router() {
        let (slot, group, node) = (Slot::MIN, GroupId(1), Some(NodeId(2)));
        let address = "10.0.0.2:7411".to_owned();
        let moved = Failure::Moved { slot, group, node, address: address.clone(), version: SlotMapVersion(1) };
        let elsewhere = Failure::NotLeader { slot, group, leader: node, address, epoch: Epoch(1) };
        for wrap in [timeout, |last| last] {
            assert_eq!(failure(wrap(Error::Server(moved.clone()))), Failure::TryAgain { slot });
            assert_eq!(failure(wrap(Error::Server(elsewhere.clone()))), Failure::NoLeader { group });
        }
    }

    #[test]
    fn every_failure_has_the_status_and_the_name_of_the_table() {
        for code in FailureCode::ALL {
            let problem = Problem::from(code.example());
            assert_eq!((problem.status.as_u16(), problem.code), (code.told().http, code.told().name));
        }
    }

    #[test]
    fn http_statuses_say_who_is_to_act() {
        for (error, status) in [
            (Error::WrongType, 409),
            (Error::TokenLost { group: GroupId(1) }, 412),
            (Error::TooLarge { what: "value", size: 2, limit: 1 }, 413),
            (Error::NotEnoughInSync { have: 1, need: 2 }, 503),
            (timeout(Error::NoLeader { group: GroupId(1) }), 503),
            (unknown(Error::Closed), 504),
            (Error::Server(Failure::command("ERR value is not an integer")), 400),
        ] {
            assert_eq!(Problem::from(error.clone()).status.as_u16(), status, "{error}");
        }
    }
}
