//! Arguments of the commands on sets.

use bytes::Bytes;
use simplekv_types::Failure;

use super::generic::{draws, element_scan};
use super::to_args::{number, scan_words, text};
use super::words::SYNTAX;
use super::{Body, Command, ElementScan, Words};
use crate::number::parse_i64;
use crate::parser::Args;

type Parsed = Result<Body, Failure>;

/// What is made of several sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOperation {
    /// The members that are in all of them.
    Inter,
    /// The members that are in any of them.
    Union,
    /// The members of the first that are in none of the others.
    Diff,
}

/// What is asked of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetOfCommand {
    /// SISMEMBER: whether a member is there.
    IsMember {
        /// The member.
        member: Bytes,
    },
    /// SMISMEMBER: which of several members are there.
    MIsMember {
        /// The members; at least one.
        members: Args,
    },
    /// SCARD: how many members there are.
    Len,
    /// SMEMBERS: the members.
    Members,
    /// SRANDMEMBER: some of the members.
    RandMember {
        /// How many; negative: and one may come twice. None: one, not in an array.
        count: Option<i64>,
    },
    /// SSCAN.
    Scan(ElementScan),
    /// SINTER, SUNION, SDIFF: what is made of this set and others.
    Combine {
        /// What is made of them.
        operation: SetOperation,
        /// The keys behind the first.
        more: Args,
    },
    /// SINTERCARD: how many members this set and others have in common.
    InterCard {
        /// The keys behind the first.
        more: Args,
        /// Where counting stops; 0: nowhere.
        limit: u64,
    },
    /// SADD: puts members in.
    Add {
        /// The members; at least one.
        members: Args,
    },
    /// SREM: takes members out.
    Rem {
        /// The members; at least one.
        members: Args,
    },
    /// SPOP: takes some of the members out.
    Pop {
        /// How many. None: one, not in an array.
        count: Option<u64>,
    },
    /// SMOVE: takes a member out and puts it into another set.
    Move {
        /// The key of the other one.
        to: Bytes,
        /// The member.
        member: Bytes,
    },
    /// SINTERSTORE, SUNIONSTORE, SDIFFSTORE: stores what is made of sets in the key, whatever that held.
    Store {
        /// What is made of them.
        operation: SetOperation,
        /// Their keys; at least one.
        from: Args,
    },
}

fn ask(key: Bytes, ask: SetOfCommand) -> Parsed {
    Ok(Body::Data(Command::SetOf { key, ask }))
}

pub(crate) fn sismember(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, SetOfCommand::IsMember { member: words.word()? })
}

pub(crate) fn smismember(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, SetOfCommand::MIsMember { members: words.rest() })
}

pub(crate) fn scard(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, SetOfCommand::Len)
}

pub(crate) fn smembers(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, SetOfCommand::Members)
}

pub(crate) fn srandmember(words: &mut Words<'_>) -> Parsed {
    let key = words.word()?;
    let count = match words.len() {
        0 => None,
        1 => Some(draws(words)?),
        _ => return Err(SYNTAX),
    };
    ask(key, SetOfCommand::RandMember { count })
}

pub(crate) fn sscan(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, SetOfCommand::Scan(element_scan(words)?))
}

fn combine(words: &mut Words<'_>, operation: SetOperation) -> Parsed {
    ask(words.word()?, SetOfCommand::Combine { operation, more: words.rest() })
}

pub(crate) fn sinter(words: &mut Words<'_>) -> Parsed {
    combine(words, SetOperation::Inter)
}

pub(crate) fn sunion(words: &mut Words<'_>) -> Parsed {
    combine(words, SetOperation::Union)
}

pub(crate) fn sdiff(words: &mut Words<'_>) -> Parsed {
    combine(words, SetOperation::Diff)
}

pub(crate) fn sintercard(words: &mut Words<'_>) -> Parsed {
    let keys = parse_i64(&words.word()?).filter(|keys| *keys > 0);
    let keys = keys.ok_or(Failure::command("ERR numkeys should be greater than 0"))?;
    let keys = usize::try_from(keys).ok().filter(|keys| *keys <= words.len());
    let keys = keys.ok_or(Failure::command("ERR Number of keys can't be greater than number of args"))?;
    let key = words.word()?;
    let more = (1..keys).map(|_| words.word()).collect::<Result<_, Failure>>()?;
    let mut limit = 0;
    while let Some(option) = words.option() {
        if !option.eq_ignore_ascii_case(b"limit") {
            return Err(SYNTAX);
        }
        limit = not_negative(&words.word()?, Failure::command("ERR LIMIT can't be negative"))?;
    }
    ask(key, SetOfCommand::InterCard { more, limit })
}

fn not_negative(text: &[u8], failure: Failure) -> Result<u64, Failure> {
    parse_i64(text).and_then(|number| u64::try_from(number).ok()).ok_or(failure)
}

pub(crate) fn sadd(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, SetOfCommand::Add { members: words.rest() })
}

pub(crate) fn srem(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, SetOfCommand::Rem { members: words.rest() })
}

pub(crate) fn spop(words: &mut Words<'_>) -> Parsed {
    const OUT_OF_RANGE: Failure = Failure::command("ERR value is out of range, must be positive");
    let key = words.word()?;
    let count = match words.len() {
        0 => None,
        1 => Some(not_negative(&words.word()?, OUT_OF_RANGE)?),
        _ => return Err(SYNTAX),
    };
    ask(key, SetOfCommand::Pop { count })
}

pub(crate) fn smove(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, SetOfCommand::Move { to: words.word()?, member: words.word()? })
}

fn store(words: &mut Words<'_>, operation: SetOperation) -> Parsed {
    ask(words.word()?, SetOfCommand::Store { operation, from: words.rest() })
}

pub(crate) fn sinterstore(words: &mut Words<'_>) -> Parsed {
    store(words, SetOperation::Inter)
}

pub(crate) fn sunionstore(words: &mut Words<'_>) -> Parsed {
    store(words, SetOperation::Union)
}

pub(crate) fn sdiffstore(words: &mut Words<'_>) -> Parsed {
    store(words, SetOperation::Diff)
}

impl SetOfCommand {
    /// The keys behind the first.
    pub(super) fn more_keys(&self) -> &[Bytes] {
        match self {
            Self::Combine { more, .. } | Self::InterCard { more, .. } => more,
            Self::Move { to, .. } => std::slice::from_ref(to),
            Self::Store { from, .. } => from,
            Self::IsMember { .. }
            | Self::MIsMember { .. }
            | Self::Len
            | Self::Members
            | Self::RandMember { .. }
            | Self::Scan(_)
            | Self::Add { .. }
            | Self::Rem { .. }
            | Self::Pop { .. } => &[],
        }
    }

    /// Whether it may change data.
    pub(super) fn is_write(&self) -> bool {
        match self {
            Self::Add { .. } | Self::Rem { .. } | Self::Pop { .. } | Self::Move { .. } | Self::Store { .. } => true,
            Self::IsMember { .. }
            | Self::MIsMember { .. }
            | Self::Len
            | Self::Members
            | Self::RandMember { .. }
            | Self::Scan(_)
            | Self::Combine { .. }
            | Self::InterCard { .. } => false,
        }
    }

    pub(super) fn to_args(&self, key: &Bytes) -> Args {
        let of = |name: &'static str, words: &[Bytes]| -> Args {
            [&text(name), key].into_iter().chain(words).cloned().collect()
        };
        match self {
            Self::IsMember { member } => of("SISMEMBER", std::slice::from_ref(member)),
            Self::MIsMember { members } => of("SMISMEMBER", members),
            Self::Len => of("SCARD", &[]),
            Self::Members => of("SMEMBERS", &[]),
            Self::RandMember { count: None } => of("SRANDMEMBER", &[]),
            Self::RandMember { count: Some(count) } => of("SRANDMEMBER", &[number(*count)]),
            Self::Scan(scan) => of("SSCAN", &scan_words(scan)),
            Self::Combine { operation: SetOperation::Inter, more } => of("SINTER", more),
            Self::Combine { operation: SetOperation::Union, more } => of("SUNION", more),
            Self::Combine { operation: SetOperation::Diff, more } => of("SDIFF", more),
            Self::InterCard { more, limit } => {
                let keys = [text("SINTERCARD"), number(more.len() + 1), key.clone()];
                keys.into_iter().chain(more.iter().cloned()).chain([text("LIMIT"), number(*limit)]).collect()
            }
            Self::Add { members } => of("SADD", members),
            Self::Rem { members } => of("SREM", members),
            Self::Pop { count: None } => of("SPOP", &[]),
            Self::Pop { count: Some(count) } => of("SPOP", &[number(*count)]),
            Self::Move { to, member } => of("SMOVE", &[to.clone(), member.clone()]),
            Self::Store { operation: SetOperation::Inter, from } => of("SINTERSTORE", from),
            Self::Store { operation: SetOperation::Union, from } => of("SUNIONSTORE", from),
            Self::Store { operation: SetOperation::Diff, from } => of("SDIFFSTORE", from),
        }
    }
}
