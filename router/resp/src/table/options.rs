//! Keys that stand behind an option.

use bytes::Bytes;

/// Options with arguments, of commands that can store what they find. The key stands behind STORE or STOREDIST; of several, the last
/// counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where the first option may stand; 0 if no key stands behind any.
    pub from: i8,
    /// How many arguments each has. What is not named here has none.
    arguments: &'static [(&'static str, usize)],
}

impl Options {
    /// None.
    pub(super) const NONE: Self = Self::new(0, &[]);

    pub(super) const fn new(from: i8, arguments: &'static [(&'static str, usize)]) -> Self {
        Self { from, arguments }
    }

    /// The words a key stands behind.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        self.arguments.iter().map(|(name, _)| *name).filter(|name| name.starts_with("STORE"))
    }

    /// Where the key stands.
    pub(super) fn key(self, args: &[Bytes]) -> Option<usize> {
        let (mut at, mut found) = (usize::from(self.from.unsigned_abs()), None);
        while let Some(word) = args.get(at).filter(|_| self.from > 0) {
            let option = self.arguments.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word));
            let is_store = option.is_some_and(|(name, _)| self.words().any(|word| word == *name));
            found = Some(at + 1).filter(|key| is_store && *key < args.len()).or(found);
            // A word that is an option's argument is none itself.
            at += 1 + option.map_or(0, |(_, arguments)| *arguments);
        }
        found
    }
}
