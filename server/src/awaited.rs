//! WAIT and WAITAOF: until what was written is in enough places.

use std::time::Duration;

use simplekv_resp::control::Wait;
use simplekv_types::{Failure, Position, Reply};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::group::{Spread, can_tell};
use crate::history::Standing;
use crate::hosted::Order;
use crate::shared::Shared;

const NOT_TOLD: Failure = Failure::command(
    "ERR WAITAOF cannot be used with followers here: what they have on disk they tell only under the flush policy `always`",
);

/// Waits for one group's log. `None` if this node does not lead the group, or has stopped doing so.
pub(crate) async fn group(
    shared: &Shared,
    wait: &Wait,
    position: Position,
    deadline: Option<Instant>,
) -> Option<Reply> {
    if !can_tell(wait, shared.config().flush) {
        return Some(NOT_TOLD.into());
    }
    let hosted = shared.hosted(position.group)?;
    if hosted.judge(&position) == Standing::Contradicts {
        return Some(Failure::TokenLost { group: position.group }.into());
    }
    let (done, spread) = oneshot::channel();
    hosted.tell(Order::Spread { done });
    let mut spread = spread.await.ok()?;
    let is_enough = |spread: &Spread| !spread.leads || spread.satisfies(wait, position.end);
    // Whether it came in time or not: how far it has come by now is the answer.
    let enough = async { spread.wait_for(is_enough).await.map(drop).is_ok() };
    match deadline {
        Some(deadline) => _ = tokio::time::timeout_at(deadline, enough).await,
        None => _ = enough.await,
    }
    let spread = spread.borrow();
    spread.leads.then(|| spread.reply(wait, position.end))
}

/// When waiting ends; `None` for never.
pub(crate) fn deadline(wait: &Wait) -> Option<Instant> {
    let timeout = Some(wait.timeout_ms).filter(|millis| *millis > 0).map(Duration::from_millis)?;
    // A time that no clock will ever show is for ever.
    Instant::now().checked_add(timeout)
}

/// Waits for the logs of all groups that were written; the least of the answers.
pub(crate) async fn all(shared: &Shared, wait: &Wait, written: &[Position]) -> Reply {
    let until = deadline(wait);
    let mut positions = written.to_vec();
    if positions.is_empty() {
        // Whoever has written nothing asks who is there.
        let led = shared.routing().led_by(shared.node()).collect::<Vec<_>>();
        positions.extend(led.into_iter().map(Position::start));
    }
    let answers = positions.into_iter().map(|position| async move {
        let answer = group(shared, wait, position, until).await;
        answer.unwrap_or(Reply::Error(Failure::NoLeader { group: position.group }))
    });
    simplekv_resp::control::least(futures::future::join_all(answers).await, wait)
}
