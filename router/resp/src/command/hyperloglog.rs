//! Arguments of the commands on HyperLogLogs.

use bytes::Bytes;
use simplekv_types::Failure;

use super::to_args::text;
use super::{Body, Command, Words};
use crate::parser::Args;

/// What a string that counts nothing is answered with.
pub const NOT_A_HYPERLOGLOG: Failure = Failure::command("WRONGTYPE Key is not a valid HyperLogLog string value.");

type Parsed = Result<Body, Failure>;

/// What is asked of a HyperLogLog: about how many different elements there were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HyperLogLogCommand {
    /// PFCOUNT: how many there were, in this one and others together.
    Count {
        /// The keys behind the first.
        more: Args,
    },
    /// PFADD: counts elements, those that were there before never again.
    Add {
        /// The elements. None: the key is only to be there.
        elements: Args,
    },
    /// PFMERGE: adds what others have counted.
    Merge {
        /// Their keys.
        from: Args,
    },
}

fn ask(key: Bytes, ask: HyperLogLogCommand) -> Parsed {
    Ok(Body::Data(Command::HyperLogLog { key, ask }))
}

pub(crate) fn pfadd(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, HyperLogLogCommand::Add { elements: words.rest() })
}

pub(crate) fn pfcount(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, HyperLogLogCommand::Count { more: words.rest() })
}

pub(crate) fn pfmerge(words: &mut Words<'_>) -> Parsed {
    ask(words.word()?, HyperLogLogCommand::Merge { from: words.rest() })
}

impl HyperLogLogCommand {
    /// The keys behind the first.
    pub(super) fn more_keys(&self) -> &[Bytes] {
        match self {
            Self::Count { more: keys } | Self::Merge { from: keys } => keys,
            Self::Add { .. } => &[],
        }
    }

    /// Whether it may change data.
    pub(super) fn is_write(&self) -> bool {
        match self {
            Self::Add { .. } | Self::Merge { .. } => true,
            Self::Count { .. } => false,
        }
    }

    pub(super) fn to_args(&self, key: &Bytes) -> Args {
        let (name, rest) = match self {
            Self::Count { more } => ("PFCOUNT", more),
            Self::Add { elements } => ("PFADD", elements),
            Self::Merge { from } => ("PFMERGE", from),
        };
        [&text(name), key].into_iter().chain(rest).cloned().collect()
    }
}
