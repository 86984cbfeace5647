//! Arguments of the commands on hashes.

use bytes::Bytes;
use simplekv_types::Failure;

use super::generic::{draws_of, element_scan};
use super::to_args::{number, scan_words, text};
use super::{Body, Command, ElementScan, Words};
use crate::parser::Args;

type Parsed = Result<Body, Failure>;

/// What is asked of a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashCommand {
    /// HGET: the value of a field.
    Get {
        /// The field.
        field: Bytes,
    },
    /// HMGET: the values of several fields.
    MGet {
        /// The fields; at least one.
        fields: Args,
    },
    /// HGETALL: fields with their values.
    GetAll,
    /// HKEYS: the fields.
    Keys,
    /// HVALS: the values.
    Vals,
    /// HLEN: how many fields there are.
    Len,
    /// HEXISTS: whether a field is there.
    Exists {
        /// The field.
        field: Bytes,
    },
    /// HSTRLEN: the length of a field's value.
    StrLen {
        /// The field.
        field: Bytes,
    },
    /// HRANDFIELD: some of the fields.
    RandField {
        /// How many; negative: and one may come twice. None: one, not in an array.
        count: Option<i64>,
        /// Whether their values are told, too.
        with_values: bool,
    },
    /// HSCAN.
    Scan(ElementScan),
    /// HSET, HMSET: gives fields values.
    Set {
        /// Fields and values; at least one pair.
        pairs: Vec<(Bytes, Bytes)>,
        /// Whether the answer is how many fields are new.
        counts: bool,
    },
    /// HSETNX: gives a field a value that is not there.
    SetNx {
        /// The field.
        field: Bytes,
        /// Its value.
        value: Bytes,
    },
    /// HDEL: takes fields out.
    Del {
        /// The fields; at least one.
        fields: Args,
    },
    /// HINCRBY.
    IncrBy {
        /// The field.
        field: Bytes,
        /// What is added.
        delta: i64,
    },
    /// HINCRBYFLOAT. The number is read where the hash is, as INCRBYFLOAT's is.
    IncrByFloat {
        /// The field.
        field: Bytes,
        /// What is added, as text.
        increment: Bytes,
    },
}

fn ask(key: Bytes, ask: HashCommand) -> Parsed {
    Ok(Body::Data(Command::Hash { key, ask }))
}

pub(crate) fn hget(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, HashCommand::Get { field: words.word()? })
}

pub(crate) fn hmget(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, HashCommand::MGet { fields: words.rest() })
}

pub(crate) fn hgetall(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, HashCommand::GetAll)
}

pub(crate) fn hkeys(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, HashCommand::Keys)
}

pub(crate) fn hvals(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, HashCommand::Vals)
}

pub(crate) fn hlen(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, HashCommand::Len)
}

pub(crate) fn hexists(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, HashCommand::Exists { field: words.word()? })
}

pub(crate) fn hstrlen(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, HashCommand::StrLen { field: words.word()? })
}

pub(crate) fn hrandfield(words: &mut Words<'_>) -> Parsed {
    let key = words.word()?;
    let (count, with_values) = draws_of(words, b"withvalues")?;
    ask(key, HashCommand::RandField { count, with_values })
}

pub(crate) fn hscan(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, HashCommand::Scan(element_scan(words)?))
}

pub(crate) fn hset(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, HashCommand::Set { pairs: words.pairs()?, counts: true })
}

pub(crate) fn hmset(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, HashCommand::Set { pairs: words.pairs()?, counts: false })
}

pub(crate) fn hsetnx(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, HashCommand::SetNx { field: words.word()?, value: words.word()? })
}

pub(crate) fn hdel(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, HashCommand::Del { fields: words.rest() })
}

pub(crate) fn hincrby(words: &mut Words<'_>) -> Parsed {
    let (key, field) = (words.word()?, words.word()?);
    ask(key, HashCommand::IncrBy { field, delta: words.integer()? })
}

pub(crate) fn hincrbyfloat(words: &mut Words<'_>) -> Parsed {
    let (key, field) = (words.word()?, words.word()?);
    ask(key, HashCommand::IncrByFloat { field, increment: words.word()? })
}

impl HashCommand {
    /// Whether it may change data.
    pub(super) fn is_write(&self) -> bool {
        match self {
            Self::Set { .. }
            | Self::SetNx { .. }
            | Self::Del { .. }
            | Self::IncrBy { .. }
            | Self::IncrByFloat { .. } => true,
            Self::Get { .. }
            | Self::MGet { .. }
            | Self::GetAll
            | Self::Keys
            | Self::Vals
            | Self::Len
            | Self::Exists { .. }
            | Self::StrLen { .. }
            | Self::RandField { .. }
            | Self::Scan(_) => false,
        }
    }

    pub(super) fn to_args(&self, key: &Bytes) -> Args {
        let of = |name: &'static str, words: &[&Bytes]| -> Args {
            [&text(name), key].into_iter().chain(words.iter().copied()).cloned().collect()
        };
        let many = |name, words: &Args| of(name, &words.iter().collect::<Vec<_>>());
        match self {
            Self::Get { field } => of("HGET", &[field]),
            Self::MGet { fields } => many("HMGET", fields),
            Self::GetAll => of("HGETALL", &[]),
            Self::Keys => of("HKEYS", &[]),
            Self::Vals => of("HVALS", &[]),
            Self::Len => of("HLEN", &[]),
            Self::Exists { field } => of("HEXISTS", &[field]),
            Self::StrLen { field } => of("HSTRLEN", &[field]),
            Self::RandField { count: None, .. } => of("HRANDFIELD", &[]),
            Self::RandField { count: Some(count), with_values: false } => of("HRANDFIELD", &[&number(*count)]),
            Self::RandField { count: Some(count), with_values: true } => {
                of("HRANDFIELD", &[&number(*count), &text("WITHVALUES")])
            }
            Self::Scan(scan) => of("HSCAN", &scan_words(scan).iter().collect::<Vec<_>>()),
            Self::Set { pairs, counts } => {
                let words: Vec<&Bytes> = pairs.iter().flat_map(|(field, value)| [field, value]).collect();
                of(if *counts { "HSET" } else { "HMSET" }, &words)
            }
            Self::SetNx { field, value } => of("HSETNX", &[field, value]),
            Self::Del { fields } => many("HDEL", fields),
            Self::IncrBy { field, delta } => of("HINCRBY", &[field, &number(*delta)]),
            Self::IncrByFloat { field, increment } => of("HINCRBYFLOAT", &[field, increment]),
        }
    }
}
