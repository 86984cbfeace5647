//! Names of things that have an identity of their own: nodes, groups, clusters, clients, and the incarnations of a node's storage
//! and process.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not an identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}, expected {expected}")]
pub struct ParseIdError {
    what: &'static str,
    expected: &'static str,
    text: String,
}

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $what:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&format!(concat!($prefix, "{}"), self.0))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let error = || ParseIdError { what: $what, expected: $expected, text: text.to_owned() };
                let digits = text.strip_prefix($prefix).unwrap_or(text);
                match digits.parse() {
                    Ok(number) if number > 0 => Ok(Self(number)),
                    _ => Err(error()),
                }
            }
        }
    };
}

numbered!(
    /// One server process and its data directory. Numbered from 1, printed `n1`.
    NodeId, "n", "node", "a number from 1, like `n1` or `1`"
);
numbered!(
    /// A replica group: the replicas that own a set of slots. Numbered from 1, printed `g1`.
    GroupId, "g", "group", "a number from 1, like `g1` or `1`"
);

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:x})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                match u128::from_str_radix(text, 16) {
                    Ok(number) if text.len() == 32 => Ok(Self(number)),
                    _ => Err(ParseIdError { what: $what, expected: "32 hexadecimal digits", text: text.to_owned() }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseIdError;

            fn try_from(text: String) -> Result<Self, ParseIdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    };
}

random_id!(
    /// The cluster a data directory or a message belongs to. Random, drawn once by `init`.
    ClusterId, "cluster id"
);
random_id!(
    /// A storage incarnation: random, lives in the data directory, and is drawn anew whenever the directory may have lost
    /// something. A wiped or lossy node therefore comes back as a *different* replica: no acknowledgement, in-sync entry or
    /// election can confuse it with the one that was there before.
    StorageId, "storage id"
);
random_id!(
    /// One client process, for the deduplication of its retried writes. Random, drawn when the client starts.
    ClientId, "client id"
);

/// One run of a node's process: the metadata store's revision at which the process registered. A later run has a greater id.
/// A restarted leader has another run and must not resume its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub u64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_read_as_they_are_printed() {
        assert_eq!("n7".parse(), Ok(NodeId(7)));
        assert_eq!("7".parse(), Ok(GroupId(7)));
        assert_eq!(GroupId(2).to_string(), "g2");
        assert!("n0".parse::<NodeId>().is_err());
        assert!("g1".parse::<NodeId>().is_err());
        let id = StorageId(0xfeed);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("feed".parse::<StorageId>().is_err());
    }
}
