//! `POST /v1/execute`: the transactions of the in-memory store some users come from, with its statuses and its words.
//!
//! That store called every transaction atomic and kept it to each of its nodes. Here the commands on keys of one group are one frame of
//! its log, so nobody sees some of them done; the groups' parts are done one after the other. Every answer says so, and who needs more
//! says that, and is refused before anything is done where it cannot be had.

mod input;

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use simplekv_client::{Error, GroupId, Place, Session, Slot};
use tokio::time::Instant;

use self::input::Command;
use super::keys::body;
use super::session::{count, session, tell};
use crate::error::Problem;
use crate::shared::Shared;

const ATOMIC: HeaderName = HeaderName::from_static("simplekv-atomic");
const PER_GROUP: HeaderValue = HeaderValue::from_static("per-group");
const REQUIRED: HeaderValue = HeaderValue::from_static("required");
/// How often the rest of a request is cut anew because slots changed hands meanwhile.
const CUTS_MAX: usize = 8;

#[derive(Serialize)]
struct Results {
    results: Vec<String>,
}

pub(super) async fn run(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let session = session(&shared, request.headers());
    let required = is_required(request.headers());
    let answered = match (&session, &required) {
        (Ok(session), Ok(required)) => serve(&shared, session, *required, request).await,
        (Err(problem), _) | (_, Err(problem)) => Err(Refusal::unread(problem)),
    };
    let answered = answered.map(|results| Json(Results { results }).into_response());
    let mut response = answered.unwrap_or_else(Refusal::into_response);
    response.headers_mut().insert(ATOMIC, if required == Ok(true) { REQUIRED } else { PER_GROUP });
    if let Ok(session) = session {
        tell(&session.token(), &mut response);
    }
    count(&shared, &response);
    response
}

/// Whether all commands have to be done as one, or none.
fn is_required(headers: &HeaderMap) -> Result<bool, Problem> {
    match headers.get(ATOMIC).map(HeaderValue::as_bytes) {
        None => Ok(false),
        Some(word) if word.eq_ignore_ascii_case(b"per-group") => Ok(false),
        Some(word) if word.eq_ignore_ascii_case(b"required") => Ok(true),
        Some(_) => {
            let detail = "SimpleKV-Atomic is `required` or `per-group`";
            Err(Problem::new(StatusCode::BAD_REQUEST, "bad_condition", detail))
        }
    }
}

async fn serve(shared: &Shared, session: &Session, required: bool, request: Request) -> Result<Vec<String>, Refusal> {
    let body = body(request).await.map_err(|problem| Refusal::unread(&problem))?;
    let commands = input::read(&body)?;
    let until = Instant::now() + shared.limits.request_timeout;
    // What belongs together is not known before the groups are.
    shared.known_topology().await;
    Work { shared, session, commands: &commands, until }.run(required).await
}

/// A request under way.
struct Work<'a> {
    shared: &'a Shared,
    session: &'a Session,
    commands: &'a [Command],
    /// When all of it has to be done.
    until: Instant,
}

/// Where the result of a command will be.
enum Awaited<'a> {
    Value(Place<Option<Bytes>>),
    Written(Place<bool>, &'a str),
}

impl Work<'_> {
    async fn run(&self, required: bool) -> Result<Vec<String>, Refusal> {
        let mut results = vec![String::new(); self.commands.len()];
        let all: Vec<usize> = (0..self.commands.len()).collect();
        let mut parts = if required { VecDeque::from([all]) } else { self.cut(&all) };
        let (mut done, mut cuts) = (0, 0);
        while let Some(part) = parts.pop_front() {
            match self.run_part(&part).await {
                Ok(answers) => {
                    for (at, answer) in part.iter().zip(answers) {
                        let answer = answer.map_err(|error| self.refusal(error, *at, part.len() > 1 || done > 0))?;
                        if let Some(result) = results.get_mut(*at) {
                            *result = answer;
                        }
                    }
                    done += 1;
                }
                Err(error @ Error::SeveralGroups { .. }) if required => return Err(Refusal::conflict(&error)),
                // Slots have moved since it was cut; nothing of it was done.
                Err(Error::SeveralGroups { .. }) if cuts < CUTS_MAX => {
                    cuts += 1;
                    self.cut(&part).into_iter().rev().for_each(|part| parts.push_front(part));
                }
                Err(error) => return Err(Refusal::failed(&Problem::from(error), done > 0)),
            }
        }
        Ok(results)
    }

    /// Commands by the groups of their keys, in the order in which the groups occur. Those of a slot that nobody is known to own stay by
    /// themselves.
    fn cut(&self, commands: &[usize]) -> VecDeque<Vec<usize>> {
        let topology = self.shared.topology();
        let mut parts: VecDeque<(Result<GroupId, Slot>, Vec<usize>)> = VecDeque::new();
        for &at in commands {
            let Some(command) = self.commands.get(at) else { continue };
            let slot = Slot::of_key(command.key().as_bytes());
            let owner = topology.owner(slot).map(|group| group.id).ok_or(slot);
            match parts.iter_mut().find(|(known, _)| *known == owner) {
                Some((_, part)) => part.push(at),
                None => parts.push_back((owner, vec![at])),
            }
        }
        parts.into_iter().map(|(_, part)| part).collect()
    }

    /// Does some of the commands as one.
    async fn run_part(&self, part: &[usize]) -> Result<Vec<Result<String, Error>>, Error> {
        // A group's part counts as what it is, a request, as that of a Redis command over several groups does.
        let _permit = self.shared.parts.acquire().await;
        let mut atomic = self.session.atomic().timeout(self.until.saturating_duration_since(Instant::now()));
        let mut awaited = Vec::with_capacity(part.len());
        for command in part.iter().filter_map(|&at| self.commands.get(at)) {
            awaited.push(match command {
                Command::Get { key } => Awaited::Value(atomic.add(self.session.get(key))),
                Command::Set { key, value } => Awaited::Written(atomic.add(self.session.set(key, value)), value),
            });
        }
        let nothing_is_watched = || Error::Unexpected { command: "ATOMIC", got: "a change of nothing".into() };
        let mut results = atomic.commit().await?.done().ok_or_else(nothing_is_watched)?;
        let answer = |awaited| match awaited {
            // What is not text was written through another door.
            Awaited::Value(place) => results.take(place).map(|value| {
                let value = value.unwrap_or_default();
                String::from_utf8_lossy(&value).into_owned()
            }),
            Awaited::Written(place, value) => results.take(place).map(|_| value.to_owned()),
        };
        Ok(awaited.into_iter().map(answer).collect())
    }

    /// What is said of a command that failed by itself.
    fn refusal(&self, error: Error, at: usize, others_done: bool) -> Refusal {
        let key = self.commands.get(at).map_or("", Command::key);
        Refusal::failed(&Problem::from(error).about(&format!("'{key}'")), others_done)
    }
}

/// Why a request was not done, in that store's words.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    status: StatusCode,
    error: String,
}

impl Refusal {
    fn bad(error: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error: error.into() }
    }

    fn unread(problem: &Problem) -> Self {
        Self { status: problem.status(), error: format!("could not bind request: {}", problem.detail()) }
    }

    fn conflict(error: &Error) -> Self {
        Self { status: StatusCode::CONFLICT, error: error.to_string() }
    }

    /// It has one status for all that may go wrong. `others_done`: whether some of the commands were done.
    fn failed(problem: &Problem, others_done: bool) -> Self {
        let others = if others_done { " (others of the commands were done)" } else { "" };
        let error = format!("could not execute command: {}{others}", problem.detail());
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, error }
    }

    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            error: String,
        }
        (self.status, Json(Body { error: self.error })).into_response()
    }
}
