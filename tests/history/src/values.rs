//! What an operation needs to find, and what it leaves behind, in numbers instead of texts.
//!
//! Values that no answer tells apart are one: a search need not know in which order things were overwritten unseen.

use std::collections::HashMap;

use crate::operation::{Action, Answer, Text};

/// A value of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Value(pub(crate) u32);

/// What may stand at a key, as written in a history. A text that is a number as Redis writes numbers is that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Content<'a> {
    Absent,
    Number(i64),
    Text(&'a str),
}

/// What must be there for an operation to answer as it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need<V> {
    Any,
    Is(V),
    /// The number 0, or nothing.
    IsOrAbsent(V),
    Present,
    Differs(V),
    /// The answer is none that this operation can give.
    Never,
}

/// What an operation does if it finds what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change<V> {
    Becomes(V),
    Adds(i64),
}

/// The values that answers tell apart.
#[derive(Debug)]
pub(crate) struct Values<'a> {
    named: HashMap<Content<'a>, Value>,
    numbers: Vec<Option<i64>>,
}

impl Value {
    /// No value; what every key begins with.
    pub(crate) const ABSENT: Self = Self(0);
    /// Any value that no answer tells from others.
    pub(crate) const OTHER: Self = Self(1);

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

impl<'a> Values<'a> {
    pub(crate) fn new() -> Self {
        Self { named: HashMap::from([(Content::Absent, Value::ABSENT)]), numbers: vec![None, None] }
    }

    /// Tells this value from others from now on.
    pub(crate) fn tell(&mut self, content: Content<'a>) -> Value {
        let next = Value(u32::try_from(self.numbers.len()).unwrap_or(u32::MAX));
        let numbers = &mut self.numbers;
        *self.named.entry(content).or_insert_with(|| {
            numbers.push(match content {
                Content::Number(number) => Some(number),
                Content::Absent | Content::Text(_) => None,
            });
            next
        })
    }

    /// The value, as far as it is told from others.
    pub(crate) fn of(&self, content: Content<'a>) -> Value {
        self.named.get(&content).copied().unwrap_or(Value::OTHER)
    }

    /// The number a value is.
    pub(crate) fn number(&self, value: Value) -> Option<i64> {
        self.numbers.get(value.index()).copied().flatten()
    }

    pub(crate) fn count(&self) -> usize {
        self.numbers.len()
    }

    /// What is there after adding; `None` if what is there is no number.
    pub(crate) fn sum(&self, value: Value, by: i64) -> Option<Value> {
        let number = if value == Value::ABSENT { 0 } else { self.number(value)? };
        number.checked_add(by).map(|sum| self.of(Content::Number(sum)))
    }

    /// What must be there so that adding makes it this number.
    pub(crate) fn before_adding(&self, value: Value, by: i64) -> Option<Need<Value>> {
        let before = self.number(value)?.checked_sub(by)?;
        let value = self.named.get(&Content::Number(before)).copied();
        if before == 0 { Some(Need::IsOrAbsent(value.unwrap_or(Value::ABSENT))) } else { value.map(Need::Is) }
    }

    /// Tells apart the numbers from which those already told can be reached by adding any of `steps` up to `times` times. `false` if
    /// they are too many.
    pub(crate) fn close_under(&mut self, steps: &[i64], times: usize) -> bool {
        let mut reached: Vec<i64> = self.numbers.iter().filter_map(|number| *number).collect();
        for _ in 0..times {
            let mut next = Vec::new();
            for before in reached.iter().flat_map(|number| steps.iter().filter_map(|step| number.checked_sub(*step))) {
                if !self.named.contains_key(&Content::Number(before)) {
                    self.tell(Content::Number(before));
                    next.push(before);
                }
            }
            if next.is_empty() {
                break;
            }
            if self.numbers.len() > CLOSURE_MAX {
                return false;
            }
            reached = next;
        }
        true
    }
}

/// Numbers told apart at most for increments whose outcome is unknown.
const CLOSURE_MAX: usize = 1 << 20;

impl<'a> Content<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
        let is_plain = match digits {
            [b'0'] => text.len() == 1,
            [first, ..] => first.is_ascii_digit() && *first != b'0',
            [] => false,
        };
        match text.parse() {
            Ok(number) if is_plain => Self::Number(number),
            _ => Self::Text(text),
        }
    }

    fn of_optional(value: Option<&'a Text>) -> Self {
        value.map_or(Self::Absent, |text| Self::of(text))
    }
}

impl<V: Copy> Need<V> {
    pub(crate) fn map<W>(self, f: impl FnOnce(V) -> W) -> Need<W> {
        match self {
            Self::Any => Need::Any,
            Self::Is(value) => Need::Is(f(value)),
            Self::IsOrAbsent(value) => Need::IsOrAbsent(f(value)),
            Self::Present => Need::Present,
            Self::Differs(value) => Need::Differs(f(value)),
            Self::Never => Need::Never,
        }
    }
}

impl Need<Value> {
    pub(crate) fn holds(self, value: Value) -> bool {
        match self {
            Self::Any => true,
            Self::Is(wanted) => value == wanted,
            Self::IsOrAbsent(wanted) => value == wanted || value == Value::ABSENT,
            Self::Present => value != Value::ABSENT,
            Self::Differs(unwanted) => value != unwanted,
            Self::Never => false,
        }
    }

    /// Whether where this holds, `other` holds as well.
    pub(crate) fn implies(self, other: Self) -> bool {
        self == other
            || match self {
                Self::Is(value) => other.holds(value),
                Self::IsOrAbsent(value) => other.holds(value) && other.holds(Value::ABSENT),
                Self::Any | Self::Present | Self::Differs(_) => other == Self::Any,
                Self::Never => true,
            }
    }
}

/// What an answered operation found, and what it left if it changed anything.
pub(crate) fn answered<'a>(action: &'a Action, answer: &'a Answer) -> (Need<Content<'a>>, Option<Content<'a>>) {
    use Content::Absent;
    match (action, answer) {
        (Action::Get, Answer::Value(value)) => (Need::Is(Content::of_optional(value.as_ref())), None),
        (Action::Set(value), Answer::Done) => (Need::Any, Some(Content::of(value))),
        (Action::SetIfAbsent(value), Answer::Number(1)) => (Need::Is(Absent), Some(Content::of(value))),
        (Action::SetIfPresent(value), Answer::Number(1)) => (Need::Present, Some(Content::of(value))),
        (Action::SetIfAbsent(_), Answer::Number(0)) => (Need::Present, None),
        (Action::SetIfPresent(_) | Action::Delete, Answer::Number(0)) => (Need::Is(Absent), None),
        (Action::GetSet(value), Answer::Value(old)) => {
            (Need::Is(Content::of_optional(old.as_ref())), Some(Content::of(value)))
        }
        (Action::CompareAndSet { expected, value }, Answer::Number(1)) => {
            (Need::Is(Content::of(expected)), Some(Content::of(value)))
        }
        (Action::DeleteIf(expected), Answer::Number(1)) => (Need::Is(Content::of(expected)), Some(Absent)),
        (Action::CompareAndSet { expected, .. } | Action::DeleteIf(expected), Answer::Number(0)) => {
            (Need::Differs(Content::of(expected)), None)
        }
        (Action::Delete, Answer::Number(1)) => (Need::Present, Some(Absent)),
        (Action::GetDelete, Answer::Value(old)) => (Need::Is(Content::of_optional(old.as_ref())), Some(Absent)),
        (Action::Increment(by), Answer::Number(sum)) => match sum.checked_sub(*by) {
            Some(0) => (Need::IsOrAbsent(Content::Number(0)), Some(Content::Number(*sum))),
            Some(before) => (Need::Is(Content::Number(before)), Some(Content::Number(*sum))),
            None => (Need::Never, None),
        },
        _ => (Need::Never, None),
    }
}

/// What an operation of which nothing is known does if it is done at all; `None` if it changes nothing in any case.
pub(crate) fn possible(action: &Action) -> Option<(Need<Content<'_>>, Change<Content<'_>>)> {
    use Content::Absent;
    let becomes = |value| Change::Becomes(Content::of(value));
    Some(match action {
        Action::Get => return None,
        Action::Set(value) | Action::GetSet(value) => (Need::Any, becomes(value)),
        Action::SetIfAbsent(value) => (Need::Is(Absent), becomes(value)),
        Action::SetIfPresent(value) => (Need::Present, becomes(value)),
        Action::CompareAndSet { expected, value } => (Need::Is(Content::of(expected)), becomes(value)),
        Action::Delete | Action::GetDelete => (Need::Present, Change::Becomes(Absent)),
        Action::DeleteIf(expected) => (Need::Is(Content::of(expected)), Change::Becomes(Absent)),
        Action::Increment(by) => (Need::Any, Change::Adds(*by)),
    })
}
