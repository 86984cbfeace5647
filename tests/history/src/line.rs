//! One operation as one line of JSON.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value as Json;

use crate::operation::{Action, Answer, Operation, Outcome, Policy, Text};

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It is no JSON, or not of this shape.
    #[error("column {column}: {reason}")]
    Json {
        /// Where, counted from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// The operation has no such field, or needs it.
    #[error("`{op}` {problem}")]
    Operation {
        /// The operation.
        op: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// It ends before it begins.
    #[error("ends at {end}, before its start at {start}")]
    EndsBeforeStart {
        /// When it begins.
        start: u64,
        /// When it ends.
        end: u64,
    },
}

impl From<serde_json::Error> for LineError {
    fn from(error: serde_json::Error) -> Self {
        // Which line it is in says whoever knows the file.
        let text = error.to_string();
        let reason = text.rsplit_once(" at line ").map_or(&*text, |(reason, _)| reason);
        Self::Json { column: error.column(), reason: reason.to_owned() }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    client: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<u32>,
    #[serde(borrow)]
    key: Cow<'a, str>,
    op: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arg: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(borrow)]
    expected: Option<Cow<'a, str>>,
    status: Status,
    /// `null` is an answer too.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    result: Option<Json>,
    start: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<Promise>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bound: Option<u64>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Name {
    Get,
    Set,
    SetNx,
    SetXx,
    GetSet,
    Cas,
    Del,
    DelIf,
    GetDel,
    Incr,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Fail,
    Unknown,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Promise {
    Linearizable,
    Session,
    Bounded,
    Any,
}

fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

/// The operation a line describes.
pub(crate) fn parse(text: &str) -> Result<Operation, LineError> {
    let mut line: Line<'_> = serde_json::from_str(text)?;
    let name = line.op;
    let wrong = |problem| LineError::Operation { op: name.text().to_owned(), problem };
    let action = line.action().map_err(wrong)?;
    if line.arg.is_some() {
        return Err(wrong("takes no `arg`"));
    }
    if line.expected.is_some() {
        return Err(wrong("takes no `expected`"));
    }
    let outcome = line.outcome(&action).map_err(wrong)?;
    let end = match (&outcome, line.end) {
        (Outcome::Unknown, end) => end.unwrap_or(u64::MAX),
        (_, Some(end)) => end,
        (_, None) => return Err(wrong("needs an `end`, since its outcome is known")),
    };
    if end < line.start {
        return Err(LineError::EndsBeforeStart { start: line.start, end });
    }
    let policy = line.policy().map_err(wrong)?;
    if policy != Policy::Linearizable && !matches!(action, Action::Get) {
        return Err(wrong("is always linearizable, only `get` has a `policy`"));
    }
    let Line { client, session, key, start, .. } = line;
    Ok(Operation { client, session, key: key.into(), action, outcome, policy, start, end })
}

/// The line that describes the operation, without its end.
pub(crate) fn write(operation: &Operation) -> Result<String, serde_json::Error> {
    let text = |value: &Text| Some(Json::from(&**value));
    let (op, arg, expected) = match &operation.action {
        Action::Get => (Name::Get, None, None),
        Action::Set(value) => (Name::Set, text(value), None),
        Action::SetIfAbsent(value) => (Name::SetNx, text(value), None),
        Action::SetIfPresent(value) => (Name::SetXx, text(value), None),
        Action::GetSet(value) => (Name::GetSet, text(value), None),
        Action::CompareAndSet { expected, value } => (Name::Cas, text(value), Some(expected)),
        Action::Delete => (Name::Del, None, None),
        Action::DeleteIf(expected) => (Name::DelIf, None, Some(expected)),
        Action::GetDelete => (Name::GetDel, None, None),
        Action::Increment(by) => (Name::Incr, Some(Json::from(*by)), None),
    };
    let (status, result) = match &operation.outcome {
        Outcome::Ok(Answer::Done) => (Status::Ok, None),
        Outcome::Ok(Answer::Value(value)) => {
            (Status::Ok, Some(value.as_ref().map_or(Json::Null, |v| Json::from(&**v))))
        }
        Outcome::Ok(Answer::Number(number)) => (Status::Ok, Some(Json::from(*number))),
        Outcome::Failed => (Status::Fail, None),
        Outcome::Unknown => (Status::Unknown, None),
    };
    let (policy, bound) = match operation.policy {
        Policy::Linearizable => (None, None),
        Policy::Session => (Some(Promise::Session), None),
        Policy::Bounded(bound) => (Some(Promise::Bounded), Some(bound)),
        Policy::Any => (Some(Promise::Any), None),
    };
    let end = (operation.end != u64::MAX).then_some(operation.end);
    let Operation { client, session, ref key, start, .. } = *operation;
    let (key, expected) = (Cow::from(&**key), expected.map(|expected| Cow::from(&**expected)));
    serde_json::to_string(&Line { client, session, key, op, arg, expected, status, result, start, end, policy, bound })
}

impl Name {
    fn text(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::SetNx => "setnx",
            Self::SetXx => "setxx",
            Self::GetSet => "getset",
            Self::Cas => "cas",
            Self::Del => "del",
            Self::DelIf => "delif",
            Self::GetDel => "getdel",
            Self::Incr => "incr",
        }
    }
}

impl Line<'_> {
    /// Takes `arg` and `expected` as far as the operation has them.
    fn action(&mut self) -> Result<Action, &'static str> {
        Ok(match self.op {
            Name::Get => Action::Get,
            Name::Set => Action::Set(self.value()?),
            Name::SetNx => Action::SetIfAbsent(self.value()?),
            Name::SetXx => Action::SetIfPresent(self.value()?),
            Name::GetSet => Action::GetSet(self.value()?),
            Name::Cas => Action::CompareAndSet { expected: self.expected()?, value: self.value()? },
            Name::Del => Action::Delete,
            Name::DelIf => Action::DeleteIf(self.expected()?),
            Name::GetDel => Action::GetDelete,
            Name::Incr => match self.arg.take() {
                None => Action::Increment(1),
                Some(by) => Action::Increment(by.as_i64().ok_or("needs a whole number as `arg`")?),
            },
        })
    }

    fn value(&mut self) -> Result<Text, &'static str> {
        match self.arg.take() {
            Some(Json::String(text)) => Ok(text.into()),
            _ => Err("needs a text as `arg`"),
        }
    }

    fn expected(&mut self) -> Result<Text, &'static str> {
        self.expected.take().map(Into::into).ok_or("needs a text as `expected`")
    }

    fn outcome(&mut self, action: &Action) -> Result<Outcome, &'static str> {
        match (&self.status, self.result.take()) {
            (Status::Ok, result) => answer(action, result).map(Outcome::Ok),
            (_, Some(_)) => Err("has a `result` although its status is not `ok`"),
            (Status::Fail, None) => Ok(Outcome::Failed),
            (Status::Unknown, None) => Ok(Outcome::Unknown),
        }
    }

    fn policy(&self) -> Result<Policy, &'static str> {
        match (&self.policy, self.bound) {
            (Some(Promise::Bounded), Some(bound)) => Ok(Policy::Bounded(bound)),
            (Some(Promise::Bounded), None) => Err("is bounded and needs a `bound`"),
            (_, Some(_)) => Err("has a `bound` although its policy is not `bounded`"),
            (None | Some(Promise::Linearizable), None) => Ok(Policy::Linearizable),
            (Some(Promise::Session), None) => Ok(Policy::Session),
            (Some(Promise::Any), None) => Ok(Policy::Any),
        }
    }
}

fn answer(action: &Action, result: Option<Json>) -> Result<Answer, &'static str> {
    match (action, result) {
        (Action::Set(_), None) => Ok(Answer::Done),
        (Action::Set(_), Some(_)) => Err("answers nothing and has no `result`"),
        (Action::Get | Action::GetSet(_) | Action::GetDelete, Some(Json::Null)) => Ok(Answer::Value(None)),
        (Action::Get | Action::GetSet(_) | Action::GetDelete, Some(Json::String(text))) => {
            Ok(Answer::Value(Some(text.into())))
        }
        (Action::Get | Action::GetSet(_) | Action::GetDelete, _) => Err("needs a text or null as `result`"),
        (Action::Increment(_), Some(Json::Number(number))) => {
            number.as_i64().map(Answer::Number).ok_or("needs a whole number as `result`")
        }
        (Action::Increment(_), _) => Err("needs a whole number as `result`"),
        (_, Some(Json::Number(number))) if matches!(number.as_i64(), Some(0 | 1)) => {
            Ok(Answer::Number(number.as_i64().unwrap_or(0)))
        }
        (_, _) => Err("needs 0 or 1 as `result`"),
    }
}
