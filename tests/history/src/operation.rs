//! One operation of a client on one key, and what became of it.

use std::fmt;
use std::sync::Arc;

/// A key or a value. Cheap to clone.
pub type Text = Arc<str>;

/// One operation on one key.
///
/// Times are nanoseconds of one clock that all clients share and that never goes back. They are only compared with each other: a
/// simulator may as well count events. Of two operations of different clients, the one that ends before the other *begins* comes
/// first; at the same instant, they overlap. Those of one session come one after the other even then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who asked. One client does one thing at a time; a program with many tasks is many clients.
    pub client: u32,
    /// Whose reads must not go back behind what it has read and written; the client itself if nothing is said.
    pub session: Option<u32>,
    /// The key.
    pub key: Text,
    /// What was asked for.
    pub action: Action,
    /// What became of it.
    pub outcome: Outcome,
    /// What a read promised; writes are always linearizable.
    pub policy: Policy,
    /// When it was asked for.
    pub start: u64,
    /// When the client was answered, or gave up. Says nothing about an operation whose outcome is unknown.
    pub end: u64,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Answers the value.
    Get,
    /// Sets the value, whatever was there.
    Set(Text),
    /// Sets the value if there is none; answers how many were set.
    SetIfAbsent(Text),
    /// Sets the value if there is one; answers how many were set.
    SetIfPresent(Text),
    /// Sets the value, and answers the one that was there.
    GetSet(Text),
    /// Sets the value if the expected one is there; answers how many were set.
    CompareAndSet {
        /// What must be there.
        expected: Text,
        /// What shall be there.
        value: Text,
    },
    /// Removes the key; answers how many there were.
    Delete,
    /// Removes the key if it has this value; answers how many were removed.
    DeleteIf(Text),
    /// Removes the key, and answers the value that was there.
    GetDelete,
    /// Adds to a number, a missing one counting as 0; answers the new number.
    Increment(i64),
}

/// What became of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done, and this is the answer.
    Ok(Answer),
    /// It was certainly not done, and never will be.
    Failed,
    /// It may be done at any time after it began, or never.
    Unknown,
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// That it is done.
    Done,
    /// A value, or that there is none.
    Value(Option<Text>),
    /// A count, or a number.
    Number(i64),
}

/// What a read promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// The value at a moment between its start and its end.
    #[default]
    Linearizable,
    /// A value no older than what its session has read and written before.
    Session,
    /// A value that was there at most so many nanoseconds before its start.
    Bounded(u64),
    /// A value that was there at some time.
    Any,
}

impl Operation {
    /// An operation that begins at `start`, of which nothing is heard.
    pub fn new(client: u32, key: impl Into<Text>, action: Action, start: u64) -> Self {
        Self {
            client,
            session: None,
            key: key.into(),
            action,
            outcome: Outcome::Unknown,
            policy: Policy::Linearizable,
            start,
            end: u64::MAX,
        }
    }

    /// The same, with this answer.
    #[must_use]
    pub fn answered(self, answer: Answer, end: u64) -> Self {
        Self { outcome: Outcome::Ok(answer), end, ..self }
    }

    /// The same, refused: it was certainly not done.
    #[must_use]
    pub fn failed(self, end: u64) -> Self {
        Self { outcome: Outcome::Failed, end, ..self }
    }

    /// The same, given up at `end` without knowing whether it was done.
    #[must_use]
    pub fn unknown(self, end: u64) -> Self {
        Self { outcome: Outcome::Unknown, end, ..self }
    }

    /// The same under another promise.
    #[must_use]
    pub fn policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// The same in a session that several clients may share.
    #[must_use]
    pub fn session(self, session: u32) -> Self {
        Self { session: Some(session), ..self }
    }

    /// Whether it changes nothing, whatever is answered.
    #[must_use]
    pub fn is_read(&self) -> bool {
        matches!(self.action, Action::Get)
    }

    /// Whether it is held to the strictest promise.
    pub(crate) fn is_strict(&self) -> bool {
        !self.is_read() || self.policy == Policy::Linearizable
    }

    /// The value this would write.
    pub(crate) fn written(&self) -> Option<&Text> {
        match &self.action {
            Action::Set(value)
            | Action::SetIfAbsent(value)
            | Action::SetIfPresent(value)
            | Action::GetSet(value)
            | Action::CompareAndSet { value, .. } => Some(value),
            Action::Get | Action::Delete | Action::DeleteIf(_) | Action::GetDelete | Action::Increment(_) => None,
        }
    }

    /// The value that was there, as far as the answer tells.
    pub(crate) fn seen(&self) -> Option<&Text> {
        match (&self.action, &self.outcome) {
            (Action::Get | Action::GetSet(_) | Action::GetDelete, Outcome::Ok(Answer::Value(value))) => value.as_ref(),
            (
                Action::CompareAndSet { expected: value, .. } | Action::DeleteIf(value),
                Outcome::Ok(Answer::Number(1)),
            ) => Some(value),
            _ => None,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}: {}", self.client, self.action)?;
        match &self.outcome {
            Outcome::Ok(answer) => write!(f, " -> {answer} [{}, {}]", self.start, self.end)?,
            Outcome::Failed => write!(f, " failed [{}, {}]", self.start, self.end)?,
            Outcome::Unknown => write!(f, " -> unknown [{}, ...]", self.start)?,
        }
        match self.policy {
            Policy::Linearizable => Ok(()),
            Policy::Session => write!(f, " (session {})", self.session.unwrap_or(self.client)),
            Policy::Bounded(bound) => write!(f, " (at most {bound} old)"),
            Policy::Any => f.write_str(" (of any age)"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get => f.write_str("get"),
            Self::Set(value) => write!(f, "set {value:?}"),
            Self::SetIfAbsent(value) => write!(f, "set if absent {value:?}"),
            Self::SetIfPresent(value) => write!(f, "set if present {value:?}"),
            Self::GetSet(value) => write!(f, "get and set {value:?}"),
            Self::CompareAndSet { expected, value } => write!(f, "set {value:?} if {expected:?}"),
            Self::Delete => f.write_str("delete"),
            Self::DeleteIf(value) => write!(f, "delete if {value:?}"),
            Self::GetDelete => f.write_str("get and delete"),
            Self::Increment(by) => write!(f, "increment by {by}"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Value(Some(value)) => write!(f, "{value:?}"),
            Self::Value(None) => f.write_str("nothing"),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}
