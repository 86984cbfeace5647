//! What went wrong, for the person at the terminal and for the script: what failed, what is true now, what to do next.

use std::process::ExitCode;
use std::time::Duration;

use tonic::{Code, Status};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok = 0,
    Error = 1,
    Usage = 2,
    /// Looked at, and not healthy.
    Unhealthy = 3,
    /// The cluster is not in the state the command needs, or has changed meanwhile.
    Precondition = 4,
    /// Waited in vain. What was asked for may still happen.
    TimedOut = 6,
    /// Nobody there could do it now: no node answered, or one that cannot reach what it needs itself.
    Unreachable = 7,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// What failed, and why.
    pub(crate) what: String,
    /// What is true now.
    pub(crate) now: String,
    /// What to do or run next.
    pub(crate) next: String,
}

/// Whether a request can change the cluster, and hence whether its unknown outcome matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Look,
    Change,
}

impl Failure {
    pub(crate) fn new(exit: Exit, what: impl Into<String>, now: impl Into<String>, next: impl Into<String>) -> Self {
        Self { exit, what: what.into(), now: now.into(), next: next.into() }
    }

    pub(crate) fn precondition(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Exit::Precondition, what, NOTHING_CHANGED, next)
    }

    /// The program could not even begin.
    pub(crate) fn from_start(error: std::io::Error) -> Self {
        Self::new(
            Exit::Error,
            format!("cannot start: {error}"),
            NOTHING_CHANGED,
            "free some memory or file descriptors",
        )
    }

    /// The answer came and could not be printed.
    pub(crate) fn unprinted(error: &std::io::Error) -> Self {
        Self::new(
            Exit::Error,
            format!("cannot print the answer: {error}"),
            "the command itself succeeded; if it was to change something, that is changed",
            "make room for the output, then look with `simplekv-admin status`",
        )
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(
            Exit::Interrupted,
            "interrupted",
            "a change that was already sent may still be made",
            "look with `simplekv-admin status`",
        )
    }

    pub(crate) fn bad_address(server: &str) -> Self {
        Self::new(
            Exit::Usage,
            format!("`{server}` is not an address"),
            NOTHING_CHANGED,
            "give the admin address of a node as --server host:port, e.g. 127.0.0.1:7412",
        )
    }

    pub(crate) fn unreachable(server: &str, reason: &str) -> Self {
        Self::new(
            Exit::Unreachable,
            format!("cannot reach {server}: {reason}"),
            NOTHING_CHANGED,
            "check that a node runs there and that this is its admin port; --server names another node",
        )
    }

    pub(crate) fn timed_out(server: &str, after: Duration, purpose: Purpose) -> Self {
        let now = match purpose {
            Purpose::Look => NOTHING_CHANGED,
            Purpose::Change => "the change may or may not have been made",
        };
        let next = "look with `simplekv-admin status`, on another node with --server; --timeout waits longer";
        Self::new(Exit::TimedOut, format!("{server} did not answer within {after:?}"), now, next)
    }

    /// A node's refusal. It says itself what failed.
    pub(crate) fn refused(server: &str, status: &Status, purpose: Purpose) -> Self {
        let what = match status.message() {
            "" => format!("{server} answered {}", status.code()),
            message => message.to_owned(),
        };
        let unknown = match purpose {
            Purpose::Look => NOTHING_CHANGED,
            Purpose::Change => "the change may or may not have been made",
        };
        let (exit, now, next) = match status.code() {
            Code::FailedPrecondition | Code::AlreadyExists | Code::Aborted => {
                (Exit::Precondition, NOTHING_CHANGED, "compare with `simplekv-admin status`, then decide again")
            }
            Code::InvalidArgument | Code::OutOfRange => {
                (Exit::Usage, NOTHING_CHANGED, "correct the arguments; --help lists them")
            }
            Code::NotFound => {
                (Exit::Error, NOTHING_CHANGED, "see what there is with `simplekv-admin list-groups` and `list-nodes`")
            }
            Code::Unimplemented => (
                Exit::Error,
                NOTHING_CHANGED,
                "use a simplekv-admin of the nodes' version, or check that this is an admin port",
            ),
            Code::DeadlineExceeded | Code::Cancelled => {
                (Exit::TimedOut, unknown, "look with `simplekv-admin status`; --timeout waits longer")
            }
            Code::Unavailable => (
                Exit::Unreachable,
                unknown,
                "try again, or ask another node with --server; `simplekv-admin health` says whether the metadata store is reachable",
            ),
            _ => (Exit::Error, unknown, "look with `simplekv-admin status`; the node's log has more"),
        };
        Self::new(exit, what, now, next)
    }

    /// A node said something that cannot be true.
    pub(crate) fn malformed(what: impl std::fmt::Display) -> Self {
        Self::new(
            Exit::Error,
            format!("the node's answer cannot be understood: {what}"),
            "the cluster itself may be fine",
            "use a simplekv-admin of the nodes' version, or ask another node with --server",
        )
    }
}

const NOTHING_CHANGED: &str = "nothing was changed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_outcome_of_a_change_is_said() {
        let late = Failure::timed_out("n1", Duration::from_secs(10), Purpose::Change);
        assert_eq!(late.exit, Exit::TimedOut);
        assert_eq!(late.now, "the change may or may not have been made");
        let refused = Failure::refused("n1", &Status::unknown("lost"), Purpose::Change);
        assert_eq!(refused.now, "the change may or may not have been made");
        assert_eq!(Failure::refused("n1", &Status::unknown("lost"), Purpose::Look).now, NOTHING_CHANGED);
    }

    #[test]
    fn refusals_keep_the_nodes_words_and_get_their_exit_code() {
        for (status, exit) in [
            (Status::already_exists("the cluster exists"), Exit::Precondition),
            (Status::invalid_argument("g1 has no replicas"), Exit::Usage),
            (Status::not_found("there is no g9"), Exit::Error),
            (Status::unavailable("the metadata store cannot be reached"), Exit::Unreachable),
        ] {
            let failure = Failure::refused("n1", &status, Purpose::Change);
            assert_eq!((failure.exit, failure.what.as_str()), (exit, status.message()));
        }
    }
}
