//! What a command answers, in the shapes of RESP3; RESP2, gRPC and HTTP render the same value their own way.

use bytes::Bytes;

use crate::Failure;

/// The answer to one command.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `+OK`.
    Ok,
    /// A status line other than `OK`, as in `+PONG`.
    Status(&'static str),
    /// A number.
    Int(i64),
    /// A string of bytes.
    Bulk(Bytes),
    /// Text with a format hint (`txt`), as INFO answers; a plain bulk in RESP2.
    Text(Bytes),
    /// Nothing: a missing key, a condition that did not hold.
    Null,
    /// No array at all, where RESP2 tells it from a missing string.
    NullArray,
    /// A float; a bulk with its text in RESP2.
    Double(f64),
    /// A float told in as many decimals as it has, but no more than 17; a bulk with its text in RESP2.
    Decimal(f64),
    /// A truth value; 1 or 0 in RESP2.
    Bool(bool),
    /// Values in order.
    Array(Vec<Reply>),
    /// Key-value pairs; a flat array in RESP2.
    Map(Vec<(Reply, Reply)>),
    /// Pairs in order, each an array of its own; a flat array in RESP2.
    Pairs(Vec<(Reply, Reply)>),
    /// Messages that are pushed, one after the other; arrays in RESP2.
    Pushes(Vec<Vec<Reply>>),
    /// Values without order; an array in RESP2.
    Set(Vec<Reply>),
    /// The command was refused or failed.
    Error(Failure),
}

impl Reply {
    /// A bulk string of text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Bulk(Bytes::from(text.into()))
    }

    /// A bulk string of static text.
    #[must_use]
    pub const fn fixed(text: &'static str) -> Self {
        Self::Bulk(Bytes::from_static(text.as_bytes()))
    }

    /// About how many bytes it takes up in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        const EACH: usize = size_of::<Reply>();
        let all = |items: &[Self]| items.iter().map(Self::memory_bytes).sum::<usize>();
        match self {
            Self::Bulk(bytes) | Self::Text(bytes) => EACH + bytes.len(),
            Self::Array(items) | Self::Set(items) => EACH + all(items),
            Self::Pushes(pushes) => EACH + pushes.iter().map(|items| all(items)).sum::<usize>(),
            Self::Map(pairs) | Self::Pairs(pairs) => {
                EACH + pairs.iter().map(|(one, other)| one.memory_bytes() + other.memory_bytes()).sum::<usize>()
            }
            _ => EACH,
        }
    }

    /// `Bulk` of the value, or `Null`.
    #[must_use]
    pub fn bulk_or_null(value: Option<Bytes>) -> Self {
        value.map_or(Self::Null, Self::Bulk)
    }
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        Self::Error(failure)
    }
}
