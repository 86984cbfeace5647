//! Wire to vocabulary and back.

mod failure;
mod kv;
mod peer;
mod request;
mod status;
mod value;

pub use kv::{Answer, Call};
pub use peer::election_sender;
pub use request::{client_id, cluster_id};
pub use status::{failure_in_details, status_of};

/// Why a message from the wire was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A field that must be there is not.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// An identity has the wrong number of bytes.
    #[error("`{field}` has {got} bytes instead of 16")]
    IdLength {
        /// The field.
        field: &'static str,
        /// How many bytes it has.
        got: usize,
    },
    /// A number is outside the range its meaning allows.
    #[error("`{field}` is {got}, {expected}")]
    Range {
        /// The field.
        field: &'static str,
        /// The number.
        got: u64,
        /// What it should be.
        expected: &'static str,
    },
    /// The bytes are no message of the kind.
    #[error("{0}")]
    Encoding(String),
    /// Values are nested deeper than any reply is.
    #[error("values are nested more than {0} deep")]
    TooDeep(usize),
    /// What should be a session token is none.
    #[error(transparent)]
    Token(#[from] simplekv_types::InvalidToken),
}

impl From<prost::DecodeError> for Malformed {
    fn from(error: prost::DecodeError) -> Self {
        Self::Encoding(error.to_string())
    }
}

fn id128(field: &'static str, bytes: &[u8]) -> Result<u128, Malformed> {
    let array: [u8; 16] = bytes.try_into().map_err(|_| Malformed::IdLength { field, got: bytes.len() })?;
    Ok(u128::from_be_bytes(array))
}

fn id128_bytes(id: u128) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(&id.to_be_bytes())
}
