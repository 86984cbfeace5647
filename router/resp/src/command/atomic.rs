//! Several commands done as one.

use std::fmt;

use bytes::Bytes;
use simplekv_types::{Failure, GroupId, Lsn, Slot};

use super::to_args::{number, text};
use super::{Body, Command, Request, SYNTAX, Words};
use crate::number::parse_u64;
use crate::parser::Args;
use crate::table;

/// Most commands of one. Their effects together must fit into one batch of the log, which is the limit most will meet first.
pub(crate) const COMMANDS_MAX: usize = 65_536;

/// Commands that are done as one, all of them or, if a watched key has changed, none: what EXEC runs.
///
/// Invariant: each is about keys, and none of them is such a command itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Atomic {
    /// What keys must be.
    pub watched: Vec<Watched>,
    /// The commands, in order. One that fails does not keep those behind it from being done.
    pub commands: Vec<Command>,
}

/// What a key must be for commands to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The key.
    pub key: Bytes,
    /// Its version; `None` if it must not be there.
    pub version: Option<Version>,
}

/// Which of a key's states is meant. No two states of a key have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The group that owned the key.
    pub group: GroupId,
    /// The last record of its log that changed anything about the key.
    pub lsn: Lsn,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.group.0, self.lsn.0)
    }
}

impl Version {
    /// The version in a text as it is displayed; `None` if it is none.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let dash = text.iter().position(|&byte| byte == b'-')?;
        let group = parse_u64(text.get(..dash)?).and_then(|group| u32::try_from(group).ok())?;
        Some(Self { group: GroupId(group), lsn: Lsn(parse_u64(text.get(dash + 1..)?)?) })
    }
}

/// How a key that must not be there is written.
const ABSENT: &[u8] = b"-";

/// `ATOMIC watched [key version ...] [words word [word ...] ...]`.
pub(crate) fn atomic(words: &mut Words<'_>) -> Result<Body, Failure> {
    let mut atomic = Atomic::default();
    let count = words.integer()?;
    let mut watched = words.take(count.checked_mul(2).ok_or(SYNTAX)?).ok_or(SYNTAX)?.into_iter();
    while let (Some(key), Some(version)) = (watched.next(), watched.next()) {
        let version = match &*version {
            ABSENT => None,
            version => Some(Version::parse(version).ok_or(Failure::command("ERR Invalid version"))?),
        };
        atomic.watched.push(Watched { key, version });
    }
    while words.len() > 0 {
        let count = words.integer()?;
        let args: Args = words.take(count).filter(|args| !args.is_empty()).ok_or(SYNTAX)?.into_iter().collect();
        // Before it is understood: one within the other, they would be understood without end.
        let spec = table::resolve(&args)?;
        if spec.name == words.spec.name {
            return Err(not_allowed(spec.name));
        }
        match Request::parse(args)?.body {
            Body::Data(command) if may_be_part(&command) => atomic.commands.push(command),
            _ => return Err(not_allowed(spec.name)),
        }
        if atomic.commands.len() > COMMANDS_MAX {
            return Err(TOO_MANY);
        }
    }
    if atomic.commands.is_empty() && atomic.watched.is_empty() {
        return Err(SYNTAX);
    }
    Ok(Body::Data(Command::Atomic(atomic)))
}

pub(crate) const TOO_MANY: Failure = Failure::command("ERR too many commands in one transaction");

/// Whether a command may be one of several that are done as one: it must be about keys that belong to a group.
pub(crate) fn may_be_part(command: &Command) -> bool {
    !command.is_keyspace_wide() && !matches!(command, Command::Atomic(_))
}

pub(crate) fn not_allowed(name: &str) -> Failure {
    Failure::Command(format!("ERR Command not allowed inside a transaction: {name}").into())
}

/// Why commands on keys of several groups cannot be done as one: the answer that names two of the keys.
#[must_use]
pub fn several_groups(one: &[u8], other: &[u8]) -> Failure {
    let name = |key: &[u8]| format!("'{}' (slot {})", String::from_utf8_lossy(key), Slot::of_key(key));
    let (one, other) = (name(one), name(other));
    let text =
        format!("CROSSSLOT Keys in request don't belong to the same group: {one} and {other}. Nothing was done.");
    Failure::Command(text.into())
}

impl Atomic {
    pub(super) fn keys(&self) -> Box<dyn Iterator<Item = &Bytes> + '_> {
        let watched = self.watched.iter().map(|watched| &watched.key);
        Box::new(watched.chain(self.commands.iter().flat_map(Command::keys)))
    }

    pub(super) fn to_args(&self) -> Args {
        let mut args: Args = [text("ATOMIC"), number(self.watched.len())].into_iter().collect();
        for Watched { key, version } in &self.watched {
            let version = version.map_or(Bytes::from_static(ABSENT), |version| version.to_string().into());
            args.extend([key.clone(), version]);
        }
        for command in &self.commands {
            let words = command.to_args();
            args.push(number(words.len()));
            args.extend(words);
        }
        args
    }
}
