//! Where the answers to a parcel arrive: filled by the lane it went with, emptied by whoever sent it.
//!
//! One for all operations of a parcel, so that answers which arrive together cost one wake-up. Whether the parcel has left stands here as
//! well: the lane, which sends it, and the sender, who may take it back, race for that, and exactly one wins.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use simplekv_types::{GroupTime, Reply};
use smallvec::SmallVec;
use tokio::time::Instant;

use crate::attempt::{Outcome, is_result};
use crate::error::TransportError;
use crate::session::Answered;

/// What a lane brings back of one operation.
#[derive(Debug)]
pub(crate) enum Delivery {
    Replied {
        answered: Answered,
        group_time: GroupTime,
        /// The attempt that is answered, as the node understood it.
        attempt: u32,
        /// Whether changes of what was read will be told.
        tracked: bool,
    },
    /// The stream could not be opened, or ended.
    Lost { sent: bool, error: TransportError },
    /// Answered, but nobody can read the answer.
    Unreadable(TransportError),
    /// Not sent: those handed over with it filled the frame.
    Held,
    /// Not sent: the node takes no frame of this size.
    TooLarge { size: usize, limit: usize },
}

/// One place for each operation of a parcel.
type Places = SmallVec<[Option<Delivery>; 1]>;

#[derive(Debug)]
struct State {
    stage: Stage,
    places: Places,
    /// How many places are empty.
    missing: usize,
    /// Whether the lane will not bring anything any more.
    is_left_alone: bool,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Sent,
    /// Nobody takes anything out any more.
    Closed,
}

/// The sender's end.
#[derive(Debug)]
pub(crate) struct Inbox(Arc<Mutex<State>>);

/// The lane's end.
#[derive(Debug)]
pub(crate) struct Courier(Arc<Mutex<State>>);

/// The two ends of an inbox for so many operations.
pub(crate) fn inbox(count: usize) -> (Inbox, Courier) {
    let mut places = Places::with_capacity(count);
    places.resize_with(count, || None);
    let state = State { stage: Stage::Waiting, places, missing: count, is_left_alone: false, waker: None };
    let state = Arc::new(Mutex::new(state));
    (Inbox(Arc::clone(&state)), Courier(state))
}

impl Courier {
    /// The parcel leaves. `false` if it was taken back, or nobody waits for it any more.
    pub(crate) fn depart(&self) -> bool {
        let mut state = self.0.lock();
        let may_leave = state.stage == Stage::Waiting;
        if may_leave {
            state.stage = Stage::Sent;
        }
        may_leave
    }

    /// Whether nobody waits for anything any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.lock().stage == Stage::Closed
    }

    /// Fills places; the first that is brought to a place stays. Whether nothing more is waited for.
    pub(crate) fn bring(&self, deliveries: impl IntoIterator<Item = (usize, Delivery)>) -> bool {
        let mut guard = self.0.lock();
        let state = &mut *guard;
        for (at, delivery) in deliveries {
            if state.stage != Stage::Closed
                && let Some(place @ None) = state.places.get_mut(at)
            {
                *place = Some(delivery);
                state.missing -= 1;
            }
        }
        if state.stage == Stage::Closed {
            return true;
        }
        if state.missing > 0 {
            return false;
        }
        let waker = state.waker.take();
        drop(guard);
        waker.into_iter().for_each(Waker::wake);
        true
    }

    /// Fills every empty place with the same.
    pub(crate) fn bring_everywhere(&self, delivery: impl Fn() -> Delivery) {
        let count = self.0.lock().places.len();
        self.bring((0..count).map(|at| (at, delivery())));
    }
}

impl Drop for Courier {
    /// The lane is gone, as when the runtime shuts down: who waits is told.
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_left_alone = true;
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Inbox {
    /// Whether nothing more will come.
    pub(crate) fn poll_full(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.missing == 0 || state.is_left_alone {
            return Poll::Ready(());
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Waits until nothing more will come, or the time is up, and empties the inbox. A parcel that has not left by then never will.
    pub(crate) async fn empty_at(self, until: Instant) -> Returned {
        let full = std::future::poll_fn(|context| self.poll_full(context));
        let _ = tokio::time::timeout_at(until, full).await;
        self.empty()
    }

    /// Takes out what is there. A parcel that has not left by then never will.
    pub(crate) fn empty(&self) -> Returned {
        let mut state = self.0.lock();
        let was_sent = state.stage == Stage::Sent;
        state.stage = Stage::Closed;
        Returned { was_sent, places: std::mem::take(&mut state.places) }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let returned = self.empty();
        // Outside of the lock: a large answer takes its time.
        drop(returned);
    }
}

/// What came back of a parcel.
#[derive(Debug)]
pub(crate) struct Returned {
    was_sent: bool,
    places: Places,
}

/// What came back of one operation.
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    /// The group's time, if it was answered.
    pub(crate) time: Option<GroupTime>,
    pub(crate) seen: Option<simplekv_types::Position>,
    /// Whether changes of what was read will be told.
    pub(crate) tracked: bool,
}

impl Verdict {
    /// Whether it ends its request: it was evaluated, and this is its result.
    pub(crate) fn is_an_end(&self) -> bool {
        match &self.outcome {
            Outcome::Answered(Reply::Error(failure)) => is_result(failure.code()),
            Outcome::Answered(_) => true,
            _ => false,
        }
    }
}

impl Returned {
    /// Takes what came of the operation at a place. `attempt` is the number it was sent under, if it has an identity.
    ///
    /// Only the newest attempt's answer counts. An earlier one had a number of its own, so one that comes under this number is the node's
    /// error: nothing is known then.
    pub(crate) fn take(&mut self, at: usize, attempt: Option<u32>) -> Verdict {
        let nothing = Outcome::TimedOut { sent: self.was_sent };
        let mut told_of = false;
        let (outcome, time, seen) = match self.places.get_mut(at).and_then(Option::take) {
            Some(Delivery::Replied { answered, group_time, attempt: told, tracked })
                if attempt.is_none_or(|own| own == told) =>
            {
                told_of = tracked;
                (Outcome::Answered(answered.reply), Some(group_time), answered.seen)
            }
            Some(Delivery::Lost { sent, error }) => (Outcome::Lost { sent, error }, None, None),
            Some(Delivery::Unreadable(error)) => (Outcome::Unreadable(error), None, None),
            Some(Delivery::Held) => (Outcome::Held, None, None),
            Some(Delivery::TooLarge { size, limit }) => (Outcome::TooLarge { size, limit }, None, None),
            // No answer in time; or the lane's task is gone because the runtime is shutting down.
            Some(Delivery::Replied { .. }) | None => (nothing, None, None),
        };
        Verdict { outcome, time, seen, tracked: told_of }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replied(number: i64) -> Delivery {
        let answered = Answered::from(Reply::Int(number));
        Delivery::Replied { answered, group_time: GroupTime(7), attempt: 1, tracked: false }
    }

    fn is_full(inbox: &Inbox) -> bool {
        inbox.poll_full(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn it_is_full_once_every_place_is() {
        let (inbox, courier) = inbox(2);
        assert!(courier.depart());
        assert!(!courier.bring([(1, replied(1)), (1, replied(9)), (5, replied(9))]), "one is missing");
        assert!(!is_full(&inbox));
        assert!(courier.bring([(0, replied(0))]));
        assert!(is_full(&inbox));
        let mut returned = inbox.empty();
        let mut take = |at| returned.take(at, Some(1)).outcome;
        assert!(matches!(take(0), Outcome::Answered(Reply::Int(0))));
        assert!(matches!(take(1), Outcome::Answered(Reply::Int(1))), "the first that came");
        assert!(matches!(take(1), Outcome::TimedOut { sent: true }), "taken");
    }

    #[test]
    fn what_is_taken_back_does_not_leave_and_what_left_is_not_taken_back() {
        let (inbox_, courier) = inbox(1);
        let mut returned = inbox_.empty();
        assert!(!courier.depart());
        assert!(matches!(returned.take(0, None).outcome, Outcome::TimedOut { sent: false }));
        let (inbox_, courier) = inbox(1);
        assert!(courier.depart());
        assert!(matches!(inbox_.empty().take(0, None).outcome, Outcome::TimedOut { sent: true }));
        assert!(courier.bring([(0, replied(1))]), "nobody waits for it");
    }

    #[test]
    fn a_sender_who_is_gone_keeps_nothing_from_being_forgotten() {
        let (inbox, courier) = inbox(1);
        assert!(!courier.is_closed());
        drop(inbox);
        assert!(courier.is_closed() && !courier.depart());
    }

    #[test]
    fn a_lane_that_is_gone_leaves_nobody_waiting() {
        let (inbox, courier) = inbox(2);
        courier.depart();
        courier.bring([(0, replied(0))]);
        drop(courier);
        assert!(is_full(&inbox));
        let mut returned = inbox.empty();
        assert!(matches!(returned.take(0, Some(1)).outcome, Outcome::Answered(_)));
        assert!(matches!(returned.take(1, Some(1)).outcome, Outcome::TimedOut { sent: true }));
    }

    #[test]
    fn an_answer_to_another_attempt_says_nothing() {
        let (inbox, courier) = inbox(1);
        courier.depart();
        courier.bring([(0, replied(0))]);
        assert!(matches!(inbox.empty().take(0, Some(2)).outcome, Outcome::TimedOut { sent: true }));
    }
}
