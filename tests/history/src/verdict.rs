//! What a history was found to be.

use std::fmt;

use crate::operation::Text;

/// The judgement of one history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Operations looked at.
    pub operations: usize,
    /// Different keys among them.
    pub keys: usize,
    /// Operations that certainly were not done.
    pub failed: usize,
    /// Operations whose outcome nobody knows.
    pub unknown: usize,
    /// Decisions tried, over all keys: what the judgement has cost.
    pub steps: u64,
    /// Keys for which the search was given up: nothing is said about them.
    pub undecided: Vec<Text>,
    /// What cannot have happened in a store that keeps its promises; at most one per key.
    pub violations: Vec<Violation>,
}

/// Something that must not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which promise is broken.
    pub kind: Kind,
    /// On which key.
    pub key: Text,
    /// The operations that show it, as places in the history, by their start.
    pub operations: Vec<usize>,
    /// What is wrong with them, in several lines, for people.
    pub reason: String,
}

/// A broken promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A read answered a value that nobody wrote.
    NeverWritten,
    /// A read answered the value of a write that was refused.
    FromFailedWrite,
    /// A read answered the value of a write that began only after the read had ended.
    FromFuture,
    /// An increment took effect more than once.
    CountedTwice,
    /// An acknowledged increment is missing.
    Uncounted,
    /// No order of the operations explains all answers and keeps real time.
    Linearizability,
    /// A session read something older than what it had read or written before.
    Session,
    /// A read answered something older than it promised.
    Bounded,
    /// A read answered something that was never there.
    Uncommitted,
}

impl Verdict {
    /// Whether everything was decided and nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.undecided.is_empty() && self.violations.is_empty()
    }
}

impl Kind {
    /// A short name that never changes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NeverWritten => "never_written",
            Self::FromFailedWrite => "from_failed_write",
            Self::FromFuture => "from_future",
            Self::CountedTwice => "counted_twice",
            Self::Uncounted => "uncounted",
            Self::Linearizability => "linearizability",
            Self::Session => "session",
            Self::Bounded => "bounded",
            Self::Uncommitted => "uncommitted",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Figures in one line, then one paragraph for each violation and one line for each key without a judgement.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "operations={} keys={} failed={} unknown={} violations={} undecided={}",
            self.operations,
            self.keys,
            self.failed,
            self.unknown,
            self.violations.len(),
            self.undecided.len()
        )?;
        for violation in &self.violations {
            write!(f, "\n{violation}")?;
        }
        for key in &self.undecided {
            write!(f, "\nkey {key:?}: undecided, the search was given up")?;
        }
        Ok(())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {:?}: {}: {}", self.key, self.kind, self.reason)
    }
}
