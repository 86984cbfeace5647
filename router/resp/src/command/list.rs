//! Arguments of the commands on lists.

use bytes::Bytes;
use simplekv_types::Failure;

use super::to_args::{number, text};
use super::words::{NOT_AN_INTEGER, SYNTAX};
use super::{Body, Command, Words};
use crate::number::parse_i64;
use crate::parser::Args;
use crate::table::wrong_arity;

type Parsed = Result<Body, Failure>;

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListEnd {
    /// LEFT: where the first element is.
    Left,
    /// RIGHT: where the last one is.
    Right,
}

/// What is asked of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListCommand {
    /// LLEN: how many elements there are.
    Len,
    /// LRANGE: the elements from one to another. Negative positions count from the end.
    Range {
        /// The first one.
        start: i64,
        /// The last one.
        end: i64,
    },
    /// LINDEX: one element. The number is read where the list is: Redis looks for that first.
    Index {
        /// Where it stands, as text; negative: from the end.
        index: Bytes,
    },
    /// LPOS: where an element stands.
    Pos {
        /// The element.
        element: Bytes,
        /// With which match to begin; negative: from the end. Never 0.
        rank: i64,
        /// How many matches, 0 meaning all. None: one, not in an array.
        count: Option<u64>,
        /// How many elements are looked at, 0 meaning all.
        len_max: u64,
    },
    /// LPUSH, RPUSH, LPUSHX, RPUSHX: puts elements in at an end.
    Push {
        /// Where.
        end: ListEnd,
        /// One after the other; at least one.
        elements: Args,
        /// Only into a list that is there.
        if_present: bool,
    },
    /// LPOP, RPOP: takes elements out at an end.
    Pop {
        /// Where.
        end: ListEnd,
        /// How many. None: one, not in an array.
        count: Option<u64>,
    },
    /// LSET: replaces an element. The number is read where the list is: Redis looks for that first.
    Set {
        /// Where it stands, as text; negative: from the end.
        index: Bytes,
        /// What stands there from now on.
        element: Bytes,
    },
    /// LINSERT: puts an element in next to another.
    Insert {
        /// Whether before it or behind it.
        before: bool,
        /// The other: the first one that is equal to this.
        pivot: Bytes,
        /// The element.
        element: Bytes,
    },
    /// LREM: takes out the elements that are equal to this.
    Rem {
        /// How many at most, 0 meaning all; negative: from the end.
        count: i64,
        /// The element.
        element: Bytes,
    },
    /// LTRIM: takes out all elements but those from one to another. Negative positions count from the end.
    Trim {
        /// The first one.
        start: i64,
        /// The last one.
        end: i64,
    },
    /// LMOVE, RPOPLPUSH: takes an element out and puts it into another list, or at an end of the same.
    Move {
        /// The key of the other list.
        to: Bytes,
        /// Where it is taken out.
        from_end: ListEnd,
        /// Where it is put in.
        to_end: ListEnd,
    },
    /// LMPOP: takes elements out of the first of several lists that is there.
    MPop {
        /// The keys behind the first.
        more: Args,
        /// Where.
        end: ListEnd,
        /// How many at most; at least 1.
        count: u64,
    },
}

fn ask(key: Bytes, ask: ListCommand) -> Parsed {
    Ok(Body::Data(Command::List { key, ask }))
}

pub(crate) fn llen(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, ListCommand::Len)
}

pub(crate) fn lrange(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, ListCommand::Range { start: words.integer()?, end: words.integer()? })
}

pub(crate) fn lindex(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, ListCommand::Index { index: words.word()? })
}

pub(crate) fn lpos(words: &mut Words<'_>) -> Parsed {
    let (key, element) = (words.word()?, words.word()?);
    let (mut rank, mut count, mut len_max) = (1, None, 0);
    while let Some(option) = words.option() {
        let number = words.option().ok_or(SYNTAX)?;
        match option.to_ascii_lowercase().as_slice() {
            b"rank" => rank = match_rank(&number)?,
            b"count" => count = Some(at_least(0, &number, Failure::command("ERR COUNT can't be negative"))?),
            b"maxlen" => len_max = at_least(0, &number, Failure::command("ERR MAXLEN can't be negative"))?,
            _ => return Err(SYNTAX),
        }
    }
    ask(key, ListCommand::Pos { element, rank, count, len_max })
}

/// With which match LPOS begins.
fn match_rank(text: &[u8]) -> Result<i64, Failure> {
    match parse_i64(text).ok_or(NOT_AN_INTEGER)? {
        0 => Err(Failure::command(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start \
             from the end of the list",
        )),
        // It has no opposite. Redis 7.0 finds the last match for it, later ones refuse it.
        i64::MIN => Err(Failure::command(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        )),
        rank => Ok(rank),
    }
}

/// A number that is not smaller than `least`, or else, whatever is wrong with it, this refusal.
fn at_least(least: u64, text: &[u8], refusal: Failure) -> Result<u64, Failure> {
    let number = parse_i64(text).and_then(|number| u64::try_from(number).ok());
    number.filter(|number| *number >= least).ok_or(refusal)
}

fn push(words: &mut Words<'_>, end: ListEnd, if_present: bool) -> Parsed {
    ask(words.word()?, ListCommand::Push { end, elements: words.rest(), if_present })
}

pub(crate) fn lpush(words: &mut Words<'_>) -> Parsed {
    push(words, ListEnd::Left, false)
}

pub(crate) fn rpush(words: &mut Words<'_>) -> Parsed {
    push(words, ListEnd::Right, false)
}

pub(crate) fn lpushx(words: &mut Words<'_>) -> Parsed {
    push(words, ListEnd::Left, true)
}

pub(crate) fn rpushx(words: &mut Words<'_>) -> Parsed {
    push(words, ListEnd::Right, true)
}

fn pop(words: &mut Words<'_>, end: ListEnd) -> Parsed {
    let key = words.word()?;
    if words.len() > 1 {
        return Err(wrong_arity(words.spec));
    }
    let refusal = Failure::command("ERR value is out of range, must be positive");
    let count = words.option().map(|count| at_least(0, &count, refusal)).transpose()?;
    ask(key, ListCommand::Pop { end, count })
}

pub(crate) fn lpop(words: &mut Words<'_>) -> Parsed {
    pop(words, ListEnd::Left)
}

pub(crate) fn rpop(words: &mut Words<'_>) -> Parsed {
    pop(words, ListEnd::Right)
}

pub(crate) fn lset(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, ListCommand::Set { index: words.word()?, element: words.word()? })
}

pub(crate) fn linsert(words: &mut Words<'_>) -> Parsed {
    let key = words.word()?;
    let before = match words.word()?.to_ascii_lowercase().as_slice() {
        b"before" => true,
        b"after" => false,
        _ => return Err(SYNTAX),
    };
    ask(key, ListCommand::Insert { before, pivot: words.word()?, element: words.word()? })
}

pub(crate) fn lrem(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, ListCommand::Rem { count: words.integer()?, element: words.word()? })
}

pub(crate) fn ltrim(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, ListCommand::Trim { start: words.integer()?, end: words.integer()? })
}

pub(super) fn end(words: &mut Words<'_>) -> Result<ListEnd, Failure> {
    match words.word()?.to_ascii_lowercase().as_slice() {
        b"left" => Ok(ListEnd::Left),
        b"right" => Ok(ListEnd::Right),
        _ => Err(SYNTAX),
    }
}

pub(crate) fn lmove(words: &mut Words<'_>) -> Parsed {
    let (key, to) = (words.word()?, words.word()?);
    ask(key, ListCommand::Move { to, from_end: end(words)?, to_end: end(words)? })
}

pub(crate) fn rpoplpush(words: &mut Words<'_>) -> Parsed {
    let (key, to) = (words.word()?, words.word()?);
    ask(key, ListCommand::Move { to, from_end: ListEnd::Right, to_end: ListEnd::Left })
}

pub(crate) fn lmpop(words: &mut Words<'_>) -> Parsed {
    let keys = at_least(1, &words.word()?, Failure::command("ERR numkeys should be greater than 0"))?;
    let key = words.word()?;
    // However many are announced, it ends with the words there are.
    let more = (1..keys).map(|_| words.word()).collect::<Result<_, _>>()?;
    let (end, mut count) = (end(words)?, None);
    while let Some(option) = words.option() {
        let number = words.option().ok_or(SYNTAX)?;
        if count.is_some() || !option.eq_ignore_ascii_case(b"count") {
            return Err(SYNTAX);
        }
        count = Some(at_least(1, &number, Failure::command("ERR count should be greater than 0"))?);
    }
    ask(key, ListCommand::MPop { more, end, count: count.unwrap_or(1) })
}

impl ListEnd {
    const fn name(self) -> Bytes {
        match self {
            Self::Left => text("LEFT"),
            Self::Right => text("RIGHT"),
        }
    }
}

impl ListCommand {
    /// The keys behind the first.
    pub(super) fn more_keys(&self) -> &[Bytes] {
        match self {
            Self::Move { to, .. } => std::slice::from_ref(to),
            Self::MPop { more, .. } => more,
            _ => &[],
        }
    }

    /// Whether it may change data.
    pub(super) fn is_write(&self) -> bool {
        match self {
            Self::Push { .. }
            | Self::Pop { .. }
            | Self::Set { .. }
            | Self::Insert { .. }
            | Self::Rem { .. }
            | Self::Trim { .. }
            | Self::Move { .. }
            | Self::MPop { .. } => true,
            Self::Len | Self::Range { .. } | Self::Index { .. } | Self::Pos { .. } => false,
        }
    }

    pub(super) fn to_args(&self, key: &Bytes) -> Args {
        let of = |name: &'static str, words: &[&Bytes]| -> Args {
            [&text(name), key].into_iter().chain(words.iter().copied()).cloned().collect()
        };
        match self {
            Self::Len => of("LLEN", &[]),
            Self::Range { start, end } => of("LRANGE", &[&number(*start), &number(*end)]),
            Self::Index { index } => of("LINDEX", &[index]),
            Self::Pos { element, rank, count, len_max } => {
                let mut args = of("LPOS", &[element, &text("RANK"), &number(*rank)]);
                args.extend(count.iter().flat_map(|count| [text("COUNT"), number(*count)]));
                args.extend([text("MAXLEN"), number(*len_max)]);
                args
            }
            Self::Push { end, elements, if_present } => {
                let name = match (end, if_present) {
                    (ListEnd::Left, false) => "LPUSH",
                    (ListEnd::Right, false) => "RPUSH",
                    (ListEnd::Left, true) => "LPUSHX",
                    (ListEnd::Right, true) => "RPUSHX",
                };
                of(name, &elements.iter().collect::<Vec<_>>())
            }
            Self::Pop { end, count } => {
                let count = count.map(number);
                of(if *end == ListEnd::Left { "LPOP" } else { "RPOP" }, &count.iter().collect::<Vec<_>>())
            }
            Self::Set { index, element } => of("LSET", &[index, element]),
            Self::Insert { before, pivot, element } => {
                of("LINSERT", &[&text(if *before { "BEFORE" } else { "AFTER" }), pivot, element])
            }
            Self::Rem { count, element } => of("LREM", &[&number(*count), element]),
            Self::Trim { start, end } => of("LTRIM", &[&number(*start), &number(*end)]),
            Self::Move { to, from_end, to_end } => of("LMOVE", &[to, &from_end.name(), &to_end.name()]),
            Self::MPop { more, end, count } => {
                let keys = [text("LMPOP"), number(more.len() + 1), key.clone()].into_iter().chain(more.iter().cloned());
                keys.chain([end.name(), text("COUNT"), number(*count)]).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests;
