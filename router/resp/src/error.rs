//! Bytes that are not the Redis protocol.

use simplekv_types::Failure;

/// Why a connection's bytes cannot be understood any further. It must be answered and closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The number of arguments is not a number, or beyond the limit.
    #[error("invalid multibulk length")]
    ArgumentCount,
    /// More arguments than a client may send before it has authenticated.
    #[error("unauthenticated multibulk length")]
    UnauthenticatedArgumentCount,
    /// An argument's length is not a number, negative, or beyond the limit.
    #[error("invalid bulk length")]
    ArgumentLength,
    /// A longer argument than a client may send before it has authenticated.
    #[error("unauthenticated bulk length")]
    UnauthenticatedArgumentLength,
    /// Something else stands where an argument should begin.
    #[error("expected '$', got '{got}'")]
    ExpectedDollar {
        /// The byte that stands there.
        got: char,
    },
    /// An argument is not followed by a line end: its length was wrong.
    #[error("expected CRLF after an argument")]
    ArgumentEnd,
    /// The request as a whole is beyond the limit.
    #[error("the request exceeds {limit} bytes")]
    RequestTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// A request on one line is beyond the limit.
    #[error("too big inline request")]
    LineTooLong,
    /// A request on one line opens a quote that does not end its word.
    #[error("unbalanced quotes in request")]
    UnbalancedQuotes,
    /// The first line of an HTTP request.
    #[error("this port speaks the Redis protocol, not HTTP")]
    ForeignProtocol,
}

impl From<ProtocolError> for Failure {
    fn from(error: ProtocolError) -> Self {
        Self::Command(format!("ERR Protocol error: {error}").into())
    }
}

/// Why bytes are not a reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// No reply begins with this byte.
    #[error("no reply begins with byte {0:#04x}")]
    UnknownType(u8),
    /// A number, length or count is misspelled or out of range.
    #[error("`{0}` is not a valid number here")]
    Number(String),
    /// A string is not followed by a line end.
    #[error("a string does not end where its length says")]
    StringEnd,
    /// Arrays are nested deeper than any reply.
    #[error("nested deeper than {limit} levels")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// The reply exceeds the reader's limit.
    #[error("a reply exceeds {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}
