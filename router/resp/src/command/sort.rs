//! Arguments of SORT.

use bytes::Bytes;
use simplekv_types::{Failure, Slot};

use super::to_args::{number, text};
use super::words::SYNTAX;
use super::{Body, Command, Words};
use crate::parser::Args;

type Parsed = Result<Body, Failure>;

/// SORT and SORT_RO with their options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// The key of a list, set or sorted set.
    pub key: Bytes,
    /// In which order its elements come.
    pub order: SortOrder,
    /// ALPHA: whether texts are compared, not numbers.
    pub alphabetical: bool,
    /// DESC: whether the greatest comes first.
    pub descending: bool,
    /// How many elements are left out at the beginning. Negative: none.
    pub offset: i64,
    /// How many come at most. Negative: all.
    pub count: i64,
    /// What is told of each element. Empty: the element.
    pub gets: Vec<SortGet>,
    /// The key of a list that is made of what would be told.
    pub store: Option<Bytes>,
}

/// In which order elements come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SortOrder {
    /// In their own.
    Own,
    /// BY with a pattern: in that of the values they stand for.
    By(KeyPattern),
    /// BY with anything else: in that of the list or of the scores.
    AsTheyAre,
}

/// What is told of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SortGet {
    /// GET #: the element.
    Element,
    /// The value it stands for.
    Value(KeyPattern),
    /// Anything else: nothing.
    Nothing,
}

/// Where the value is that an element stands for: the element takes the place of the first `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPattern {
    /// What stands in the key before the element.
    pub before: Bytes,
    /// What stands there behind it.
    pub behind: Bytes,
    /// The field, if the key is that of a hash.
    pub field: Option<Bytes>,
}

impl KeyPattern {
    /// `None` if no element would be in the key.
    fn parse(word: &Bytes) -> Option<Self> {
        let star = word.iter().position(|byte| *byte == b'*')?;
        let (before, mut behind) = (word.slice(..star), word.slice(star + 1..));
        let arrow = behind.windows(2).position(|pair| pair == b"->");
        // An arrow that nothing stands behind is a part of the key.
        let field = arrow.map(|arrow| behind.slice(arrow + 2..)).filter(|field| !field.is_empty());
        if let (Some(arrow), Some(_)) = (arrow, &field) {
            behind.truncate(arrow);
        }
        Some(Self { before, behind, field })
    }

    /// Whether every key it can make is in the slot of this one: it has a hash tag that no element can get in front of.
    fn stays_with(&self, key: &[u8]) -> bool {
        let mut parts = self.before.splitn(2, |byte| *byte == b'{');
        let tag = parts.nth(1).and_then(|rest| rest.iter().position(|byte| *byte == b'}'));
        tag.is_some_and(|len| len > 0) && Slot::of_key(&self.before) == Slot::of_key(key)
    }

    /// The key an element stands for.
    #[must_use]
    pub fn key_of(&self, element: &[u8]) -> Bytes {
        [&self.before, element, &self.behind].concat().into()
    }

    fn word(&self) -> Bytes {
        let field = self.field.as_ref().map(|field| [b"->", &**field].concat()).unwrap_or_default();
        [&*self.before, b"*", &self.behind, &field].concat().into()
    }
}

fn sort_as(words: &mut Words<'_>, may_store: bool) -> Parsed {
    let key = words.word()?;
    let (mut order, mut gets, mut alphabetical, mut descending) = (SortOrder::Own, Vec::new(), false, false);
    let (mut offset, mut count, mut store) = (0, -1, None);
    while let Some(option) = words.option() {
        match option.to_ascii_lowercase().as_slice() {
            b"asc" => descending = false,
            b"desc" => descending = true,
            b"alpha" => alphabetical = true,
            b"limit" if words.len() >= 2 => (offset, count) = (words.integer()?, words.integer()?),
            b"store" if may_store && words.len() >= 1 => store = Some(words.word()?),
            b"by" if words.len() >= 1 => {
                let by = by(&words.word()?, &key)?;
                // Where nothing is sorted once, nothing is sorted by anything else.
                if order != SortOrder::AsTheyAre {
                    order = by;
                }
            }
            b"get" if words.len() >= 1 => gets.push(get(&words.word()?, &key)?),
            _ => return Err(SYNTAX),
        }
    }
    let sort = Sort { key, order, alphabetical, descending, offset, count, gets, store };
    Ok(Body::Data(Command::Sort(sort)))
}

/// What is read must be where the command is: Redis refuses patterns in a cluster, we those that might lead to another slot.
fn by(word: &Bytes, key: &[u8]) -> Result<SortOrder, Failure> {
    match KeyPattern::parse(word) {
        None => Ok(SortOrder::AsTheyAre),
        Some(pattern) if pattern.stays_with(key) => Ok(SortOrder::By(pattern)),
        Some(_) => Err(Failure::command("ERR BY option of SORT denied in cluster mode.")),
    }
}

fn get(word: &Bytes, key: &[u8]) -> Result<SortGet, Failure> {
    match KeyPattern::parse(word) {
        None if **word == *b"#" => Ok(SortGet::Element),
        None => Ok(SortGet::Nothing),
        Some(pattern) if pattern.stays_with(key) => Ok(SortGet::Value(pattern)),
        Some(_) => Err(Failure::command("ERR GET option of SORT denied in cluster mode.")),
    }
}

pub(crate) fn sort(words: &mut Words<'_>) -> Parsed {
    sort_as(words, true)
}

pub(crate) fn sort_ro(words: &mut Words<'_>) -> Parsed {
    sort_as(words, false)
}

impl Sort {
    /// Whether values of keys are read that it does not name.
    #[must_use]
    pub fn reads_others(&self) -> bool {
        matches!(self.order, SortOrder::By(_)) || self.tells_others()
    }

    /// Whether values of keys are told that it does not name.
    #[must_use]
    pub fn tells_others(&self) -> bool {
        self.gets.iter().any(|get| matches!(get, SortGet::Value(_)))
    }

    pub(super) fn to_args(&self) -> Args {
        let mut args: Args = [text("SORT"), self.key.clone()].into_iter().collect();
        match &self.order {
            SortOrder::Own => (),
            SortOrder::By(pattern) => args.extend([text("BY"), pattern.word()]),
            SortOrder::AsTheyAre => args.extend([text("BY"), text("nosort")]),
        }
        if (self.offset, self.count) != (0, -1) {
            args.extend([text("LIMIT"), number(self.offset), number(self.count)]);
        }
        for get in &self.gets {
            let word = match get {
                SortGet::Element => text("#"),
                SortGet::Value(pattern) => pattern.word(),
                SortGet::Nothing => text("nothing"),
            };
            args.extend([text("GET"), word]);
        }
        args.extend(self.descending.then(|| text("DESC")));
        args.extend(self.alphabetical.then(|| text("ALPHA")));
        args.extend(self.store.iter().flat_map(|store| [text("STORE"), store.clone()]));
        args
    }
}

#[cfg(test)]
mod tests;
