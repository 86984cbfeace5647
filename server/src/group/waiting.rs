//! Answers that wait for their commit.

use std::borrow::Cow;

use simplekv_types::{Failure, GroupId, GroupTime, Lsn, Position, Reply};
use smallvec::{SmallVec, smallvec};

use crate::history::History;
use crate::serving::Begun;

/// The answer to one command.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The reply.
    pub reply: Reply,
    /// The group's time when it was made; zero if no group was involved.
    pub time: GroupTime,
    /// Where it was read, or what had to be applied for its write to be there: of each group that was involved.
    pub seen: SmallVec<[Position; 1]>,
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        Self { reply: Reply::Error(failure), time: GroupTime::ZERO, seen: SmallVec::new() }
    }
}

/// Who is told the answers of a submission.
pub trait Respond {
    /// Tells them, in the order of the requests. Never waits.
    fn respond(self, answers: Vec<Answer>);
    /// Whether somebody still waits.
    fn is_wanted(&self) -> bool;
}

/// A command's reply together with what has to be true before it may be given.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Refused before anything was appended or looked at. Final.
    Refused(Failure),
    /// Nothing was done yet: its slots are changing hands.
    Held,
    /// Read from the log as it stood: true once that is committed, if this replica then still leads, or if the follower's lease under
    /// which it was read has lasted until then.
    Observed { reply: Reply, until: Lsn, follower: Option<Begun> },
    /// Read from the log as it stood, behind which something was appended: true once that is committed, whoever leads then.
    Confirmed { reply: Reply, until: Lsn },
    /// Appended: true once committed, whoever leads then.
    Appended { reply: Reply, until: Lsn },
}

impl Outcome {
    /// What has to be applied first.
    pub(super) fn until(&self) -> Lsn {
        match self {
            Self::Refused(_) | Self::Held => Lsn::ZERO,
            Self::Observed { until, .. } | Self::Confirmed { until, .. } | Self::Appended { until, .. } => *until,
        }
    }
}

/// A submission whose commands are all executed, waiting for their commit.
#[derive(Debug)]
pub(super) struct Waiting<R> {
    /// At least the greatest of the outcomes'.
    pub(super) until: Lsn,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) respond: R,
}

impl<R: Respond> Waiting<R> {
    /// Everything is committed. `true_still`: whether what was read, under a follower's lease or none, may be answered now, after
    /// everything was read.
    pub(super) fn answer(
        self,
        group: GroupId,
        time: GroupTime,
        history: &History,
        true_still: impl Fn(Option<Begun>) -> bool,
    ) {
        let answer = |outcome| match outcome {
            Outcome::Refused(failure) => failure.into(),
            Outcome::Held => Failure::NoLeader { group }.into(),
            Outcome::Observed { follower, .. } if !true_still(follower) => Failure::NoLeader { group }.into(),
            Outcome::Observed { reply, until, .. }
            | Outcome::Confirmed { reply, until }
            | Outcome::Appended { reply, until } => {
                Answer { reply, time, seen: smallvec![history.position(group, until)] }
            }
        };
        self.respond.respond(self.outcomes.into_iter().map(answer).collect());
    }

    /// The role ended with only part of it committed.
    pub(super) fn abandon(
        self,
        group: GroupId,
        time: GroupTime,
        applied: Lsn,
        history: &History,
        reason: &'static str,
    ) {
        let answer = |outcome| match outcome {
            Outcome::Refused(failure) => failure.into(),
            Outcome::Confirmed { reply, until } | Outcome::Appended { reply, until } if until <= applied => {
                Answer { reply, time, seen: smallvec![history.position(group, until)] }
            }
            Outcome::Held | Outcome::Observed { .. } | Outcome::Confirmed { .. } => Failure::NoLeader { group }.into(),
            Outcome::Appended { .. } => Failure::Uncertain { reason: Cow::Borrowed(reason) }.into(),
        };
        self.respond.respond(self.outcomes.into_iter().map(answer).collect());
    }
}
