//! What kind of value a key holds.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The type of a key's value. The number is part of the record format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum ValueType {
    /// A string of bytes.
    #[default]
    String = 0,
    /// A list.
    List = 1,
    /// A set.
    Set = 2,
    /// A set ordered by score.
    Zset = 3,
    /// A hash.
    Hash = 4,
}

impl ValueType {
    /// The type with this number, `None` if there is none.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::String),
            1 => Some(Self::List),
            2 => Some(Self::Set),
            3 => Some(Self::Zset),
            4 => Some(Self::Hash),
            _ => None,
        }
    }

    /// The type's number in records.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The type's name, as TYPE answers it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::Zset => "zset",
            Self::Hash => "hash",
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_types_are_read_as_they_are_written() {
        for code in 0..=u8::MAX {
            assert!(ValueType::from_code(code).is_none_or(|kind| kind.code() == code));
        }
        assert_eq!(ValueType::from_code(0), Some(ValueType::String));
    }
}
