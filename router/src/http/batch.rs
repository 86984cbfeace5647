//! `POST /v2/batch`: many operations in one request.
//!
//! Not a transaction. The operations on one slot are executed in their order; those on different slots at the same time. Each has its
//! own result, with the status that the same request alone would have had.

mod operation;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use simplekv_client::{Kind, Options, ReadPolicy, Session};
use simplekv_types::Slot;

use self::operation::{Operation, Outcome, Step};
use super::keys::body;
use super::query::Query;
use super::session::{answer, policy_of, session};
use crate::error::Problem;
use crate::shared::Shared;

/// Most operations of a batch.
const OPERATIONS_MAX: usize = 1000;
/// Slots whose operations are under way at a time.
const SLOTS_AT_ONCE: usize = 16;
/// Operations on one slot that travel together.
const STEPS_AT_ONCE: usize = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    operations: Vec<Operation>,
}

#[derive(Serialize)]
struct Results {
    results: Vec<Outcome>,
}

pub(super) async fn run(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (uri, headers) = (request.uri().clone(), request.headers().clone());
    let session = session(&shared, &headers);
    answer(&shared, &session, async {
        let session = session.as_ref().map_err(Problem::clone)?;
        let query = Query::of(&uri)?;
        query.refuse_ttl()?;
        let policy = policy_of(&query, &headers)?.unwrap_or(shared.client.read_policy());
        expect_json(&headers)?;
        let steps = steps(&body(request).await?)?;
        let work =
            Work { shared: &shared, session, options: Options::default().read(policy), told: AtomicUsize::new(0) };
        Ok(Json(Results { results: work.run(steps).await }).into_response())
    })
    .await
}

fn expect_json(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| String::from_utf8_lossy(kind.as_bytes()).into_owned());
    let kind = kind.as_deref().and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let detail = "a batch is sent with Content-Type: application/json";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail))
}

/// What the batch asks; nothing of it is done unless all of it can be understood.
fn steps(body: &[u8]) -> Result<Vec<Step>, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "bad_body", detail);
    let batch: Batch = serde_json::from_slice(body).map_err(|error| bad(error.to_string()))?;
    if batch.operations.len() > OPERATIONS_MAX {
        let detail = format!("{} operations, {OPERATIONS_MAX} are allowed", batch.operations.len());
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail));
    }
    let numbered = batch.operations.into_iter().enumerate();
    numbered
        .map(|(at, operation)| operation.step().map_err(|problem| problem.about(&format!("operations[{at}]"))))
        .collect()
}

struct Work<'a> {
    shared: &'a Shared,
    session: &'a Session,
    options: Options,
    /// Bytes of the values answered so far.
    told: AtomicUsize,
}

impl Work<'_> {
    async fn run(&self, steps: Vec<Step>) -> Vec<Outcome> {
        let mut by_slot: BTreeMap<Slot, Vec<(usize, Step)>> = BTreeMap::new();
        for (at, step) in steps.into_iter().enumerate() {
            by_slot.entry(Slot::of_key(&step.key)).or_default().push((at, step));
        }
        let slots = by_slot.into_iter().map(|(slot, steps)| self.run_slot(slot, steps));
        let mut outcomes: Vec<(usize, Outcome)> =
            futures::stream::iter(slots).buffer_unordered(SLOTS_AT_ONCE).collect::<Vec<_>>().await.concat();
        outcomes.sort_by_key(|(at, _)| *at);
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }

    async fn run_slot(&self, slot: Slot, steps: Vec<(usize, Step)>) -> Vec<(usize, Outcome)> {
        let mut outcomes = Vec::with_capacity(steps.len());
        let mut options = self.options;
        let mut steps = steps.into_iter().peekable();
        while steps.peek().is_some() {
            let together: Vec<_> = steps.by_ref().take(STEPS_AT_ONCE).collect();
            // Values are not asked for that nobody will be told.
            let full = self.told.load(Ordering::Relaxed) >= self.shared.limits.output_bytes;
            let (left_out, asked): (Vec<_>, Vec<_>) = together.into_iter().partition(|(_, step)| full && step.tells());
            outcomes.extend(left_out.into_iter().map(|(at, _)| (at, Outcome::from(no_room()))));
            // A slot's part counts as what it is, a request, as that of a Redis command over several slots does.
            let _permit = self.shared.parts.acquire().await;
            let commands = asked.iter().map(|(_, step)| (step.args.clone().into(), step.kind)).collect();
            let replies = self.session.execute_in_order(slot, commands, options).await;
            for ((at, step), reply) in asked.into_iter().zip(replies) {
                if step.kind == Kind::Write {
                    // What comes behind it has to see it, whatever else it may miss.
                    options = options.read(ReadPolicy::Linearizable);
                }
                let outcome = step.outcome(reply);
                self.told.fetch_add(outcome.bytes(), Ordering::Relaxed);
                outcomes.push((at, outcome));
            }
        }
        outcomes
    }
}

fn no_room() -> Problem {
    let detail = "the values of the batch together exceed what one response may hold";
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_understood_whole_or_not_at_all() {
        let problem = |body: &str| steps(body.as_bytes()).map(drop).unwrap_err().to_string();
        assert!(problem("{").starts_with("400 bad_body: EOF"));
        assert!(problem("[]").contains("bad_body"));
        assert!(problem(r#"{"operations":[{"op":"get"}]}"#).contains("missing field `key`"));
        assert!(problem(r#"{"operations":[{"op":"fetch","key":"a"}]}"#).contains("unknown variant `fetch`"));
        assert!(problem(r#"{"operations":[{"op":"get","key":"a","ttl":1}]}"#).contains("unknown field `ttl`"));
        let second = r#"{"operations":[{"op":"get","key":"a"},{"op":"get","key":""}]}"#;
        assert_eq!(problem(second), "400 bad_key: operations[1]: the key is empty");
        let many = format!(r#"{{"operations":[{}]}}"#, vec![r#"{"op":"get","key":"a"}"#; 1001].join(","));
        assert!(problem(&many).starts_with("413 too_large"));
        assert_eq!(steps(br#"{"operations":[]}"#).unwrap().len(), 0);
    }

    #[test]
    fn a_batch_comes_as_json() {
        let kind = |text: &'static str| {
            expect_json(&HeaderMap::from_iter([(header::CONTENT_TYPE, axum::http::HeaderValue::from_static(text))]))
        };
        assert!(kind("application/json").is_ok() && kind("Application/JSON; charset=utf-8").is_ok());
        assert!(kind("text/plain").is_err() && expect_json(&HeaderMap::new()).is_err());
    }
}
