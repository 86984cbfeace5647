//! Which of a key's states is meant.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::Client;
use crate::Key;
use crate::request::{Read, shape};

/// Which of a key's states is meant: no two states of a key have the same version, a new one of the same name included. Printed and
/// parsed as text; says nothing but whether it is the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(Arc<str>);

impl Version {
    /// As nodes write them: the group, and the place in its log.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (group, place) = text.split_once('-')?;
        let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        (is_number(group) && is_number(place)).then(|| Self(Arc::from(text)))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text.as_bytes()).ok_or_else(|| format!("`{text}` is not a version"))
    }
}

impl Client {
    /// The version of a key, whatever it holds; `None` if it does not exist. For [`Atomic::check`](crate::Atomic::check): ask for it
    /// before reading what the decision rests on, so that nothing can change unseen between the two.
    pub fn version(&self, key: impl Into<Key>) -> Read<'_, Option<Version>> {
        Read::new(self, "OBJECT VERSION", shape::version).key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_as_it_is_printed() {
        let version: Version = "3-1700".parse().unwrap();
        assert_eq!(version.to_string(), "3-1700");
        for text in ["", "-", "3", "3-", "-1", "a-1", "3-1-1"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }
}
