//! The command table: everything that is known about a command before it runs.
//!
//! One row drives the parse of arguments, the errors about their number, which keys a request touches, what COMMAND and COMMAND DOCS
//! answer, the completion of the command line and the command reference of the documentation.

use std::borrow::Cow;

use bytes::Bytes;
use simplekv_types::Failure;

use crate::command::Parse;
use crate::number::parse_u64;
use crate::parser::Args;

mod bitmap;
mod cluster;
mod connection;
mod generic;
mod geo;
mod hash;
mod hyperloglog;
mod key_use;
mod list;
mod options;
mod pubsub;
mod scripting;
mod server;
mod set_of;
mod string;
mod transactions;
mod zset;

pub use key_use::{KeyPlace, KeySpec, KeyUse};
pub use options::Options;

/// What a command does to what, as bits. The names are those COMMAND answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    /// Nothing in particular.
    pub const NONE: Self = Self(0);
    /// May change data.
    pub const WRITE: Self = Self(1);
    /// Reads data and never changes it.
    pub const READONLY: Self = Self(1 << 1);
    /// May need memory, and is refused when there is none.
    pub const DENYOOM: Self = Self(1 << 2);
    /// For operators.
    pub const ADMIN: Self = Self(1 << 3);
    /// Not for scripts.
    pub const NOSCRIPT: Self = Self(1 << 4);
    /// Answered while the node loads its data.
    pub const LOADING: Self = Self(1 << 5);
    /// Answered by a replica that is behind.
    pub const STALE: Self = Self(1 << 6);
    /// Takes a time that does not depend on how much data there is.
    pub const FAST: Self = Self(1 << 7);
    /// Answered before the client has authenticated.
    pub const NO_AUTH: Self = Self(1 << 8);
    /// Answered while a script runs.
    pub const ALLOW_BUSY: Self = Self(1 << 9);
    /// May wait for somebody else to do something.
    pub const BLOCKING: Self = Self(1 << 10);
    /// Where all its keys stand depends on its arguments.
    pub const MOVABLE_KEYS: Self = Self(1 << 11);
    /// Not in the slow log: what it runs is.
    pub const SKIP_SLOWLOG: Self = Self(1 << 12);
    /// About channels.
    pub const PUBSUB: Self = Self(1 << 13);

    const NAMES: [&'static str; 14] = [
        "write",
        "readonly",
        "denyoom",
        "admin",
        "noscript",
        "loading",
        "stale",
        "fast",
        "no_auth",
        "allow_busy",
        "blocking",
        "movablekeys",
        "skip_slowlog",
        "pubsub",
    ];

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are among these.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names of these.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().enumerate().filter(move |(bit, _)| self.0 >> bit & 1 == 1).map(|(_, name)| name)
    }
}

/// Where in a request its keys stand, counted from the command's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPositions {
    /// The first key; 0 if there are none.
    pub first: i8,
    /// The last key; counted from the end if negative, -1 being the last argument.
    pub last: i8,
    /// From one key to the next.
    pub step: i8,
    /// Where the number of further keys stands, which follow it; 0 if no keys are counted.
    pub counted: i8,
    /// Options behind one of which a key may stand.
    pub options: Options,
}

impl KeyPositions {
    /// No keys.
    pub const NONE: Self = Self::new(0, 0, 0);
    /// One key behind the command's name.
    pub const ONE: Self = Self::new(1, 1, 1);
    /// Two keys behind the command's name.
    pub const TWO: Self = Self::new(1, 2, 1);
    /// All arguments.
    pub const ALL: Self = Self::new(1, -1, 1);
    /// Every other argument, beginning with the first.
    pub const PAIRS: Self = Self::new(1, -1, 2);
    /// One key behind the subcommand's name.
    pub const SUBCOMMAND: Self = Self::new(2, 2, 1);

    const fn new(first: i8, last: i8, step: i8) -> Self {
        Self { first, last, step, counted: 0, options: Options::NONE }
    }

    /// These, and as many keys as the argument at this position says, behind it.
    const fn and_counted(mut self, counted: i8) -> Self {
        self.counted = counted;
        self
    }

    /// These, and the key behind one of the options that may stand from this position on.
    const fn and_stored(mut self, from: i8, arguments: &'static [(&'static str, usize)]) -> Self {
        self.options = Options::new(from, arguments);
        self
    }
}

/// Which part of the documentation a command belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Any key, whatever it holds.
    Generic,
    /// Strings.
    String,
    /// The bits of strings.
    Bitmap,
    /// Hashes.
    Hash,
    /// Lists.
    List,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Several commands as one.
    Transactions,
    /// Places on the earth, in sorted sets.
    Geo,
    /// Estimates of how many different elements there were, in strings.
    HyperLogLog,
    /// Channels.
    PubSub,
    /// Scripts.
    Scripting,
    /// The connection.
    Connection,
    /// The server.
    Server,
    /// The cluster.
    Cluster,
}

impl Group {
    /// The group's name, as COMMAND DOCS answers it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::Bitmap => "bitmap",
            Self::Hash => "hash",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Transactions => "transactions",
            Self::Geo => "geo",
            Self::HyperLogLog => "hyperloglog",
            Self::PubSub => "pubsub",
            Self::Scripting => "scripting",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Cluster => "cluster",
        }
    }
}

/// One row: a command, or a subcommand with its name written `client|setname`.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Lower case.
    pub name: &'static str,
    /// How many arguments it takes, its name (and its subcommand's) included; negative if that is the least number.
    pub arity: i16,
    /// What it does to what.
    pub flags: Flags,
    /// Where its keys stand.
    pub keys: KeyPositions,
    /// Where it is documented.
    pub group: Group,
    /// The Redis version that introduced it; `1.0.0` of this project for what Redis does not have says so in the summary.
    pub since: &'static str,
    /// How its cost grows.
    pub complexity: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// Its arguments in the notation of the Redis documentation, without its name: `key [EX seconds | PERSIST]`.
    pub syntax: &'static str,
    /// What a router that splits a request should know, in Redis' words.
    pub tips: &'static [&'static str],
    /// Whether its name has two words.
    pub(crate) is_subcommand: bool,
    /// The commands behind this name. Invariant: a row with subcommands is never run itself, except COMMAND.
    pub subcommands: &'static [Spec],
    pub(crate) parse: Parse,
}

impl Spec {
    const fn new(name: &'static str, arity: i16, flags: Flags, keys: KeyPositions, parse: Parse) -> Self {
        Self {
            name,
            arity,
            flags,
            keys,
            group: Group::Generic,
            since: "1.0.0",
            complexity: "O(1)",
            summary: "",
            syntax: "",
            tips: &[],
            is_subcommand: has_bar(name.as_bytes()),
            subcommands: &[],
            parse,
        }
    }

    const fn doc(mut self, group: Group, since: &'static str, syntax: &'static str, summary: &'static str) -> Self {
        self.group = group;
        self.since = since;
        self.syntax = syntax;
        self.summary = summary;
        self
    }

    const fn complexity(mut self, complexity: &'static str) -> Self {
        self.complexity = complexity;
        self
    }

    const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.tips = tips;
        self
    }

    const fn subcommands(mut self, subcommands: &'static [Spec]) -> Self {
        self.subcommands = subcommands;
        self
    }

    /// Whether it may change data.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        self.flags.contains(Flags::WRITE)
    }

    /// Whether a request of this many words fits.
    #[must_use]
    pub fn takes(&self, words: usize) -> bool {
        let needed = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { words >= needed } else { words == needed }
    }

    /// The name without the command it belongs to: `setname` of `client|setname`.
    #[must_use]
    pub fn own_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, own)| own)
    }

    /// Positions of the keys in a request.
    pub fn key_positions(&self, args: &[Bytes]) -> impl Iterator<Item = usize> {
        let KeyPositions { first, last, step, counted, options } = self.keys;
        let words = args.len();
        let counted = usize::from(counted.unsigned_abs());
        let count = args.get(counted).filter(|_| counted > 0).and_then(|count| parse_u64(count)).unwrap_or(0);
        let more = usize::try_from(count).unwrap_or(usize::MAX).min(words.saturating_sub(counted + 1));
        let last = if last < 0 { words.saturating_sub(usize::from(last.unsigned_abs())) } else { last as usize };
        let first = if first > 0 { first as usize } else { usize::MAX };
        let fixed = (first..=last.min(words.saturating_sub(1))).step_by((step as usize).max(1));
        fixed.chain(counted + 1..=counted + more).chain(options.key(args))
    }
}

#[expect(clippy::indexing_slicing, reason = "the loop stays below the length; iterators are not const")]
const fn has_bar(name: &[u8]) -> bool {
    let mut at = 0;
    while at < name.len() {
        if name[at] == b'|' {
            return true;
        }
        at += 1;
    }
    false
}

const COUNT: usize = string::SPECS.len()
    + bitmap::SPECS.len()
    + hash::SPECS.len()
    + list::SPECS.len()
    + set_of::SPECS.len()
    + zset::SPECS.len()
    + geo::SPECS.len()
    + hyperloglog::SPECS.len()
    + generic::SPECS.len()
    + transactions::SPECS.len()
    + pubsub::SPECS.len()
    + scripting::SPECS.len()
    + connection::SPECS.len()
    + server::SPECS.len()
    + cluster::SPECS.len();

/// All commands, subcommands inside the rows of their commands.
pub static TABLE: [Spec; COUNT] = all();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks the bounds")]
const fn all() -> [Spec; COUNT] {
    let parts = [
        string::SPECS,
        bitmap::SPECS,
        hash::SPECS,
        list::SPECS,
        set_of::SPECS,
        zset::SPECS,
        geo::SPECS,
        hyperloglog::SPECS,
        generic::SPECS,
        transactions::SPECS,
        pubsub::SPECS,
        scripting::SPECS,
        connection::SPECS,
        server::SPECS,
        cluster::SPECS,
    ];
    let mut table = [string::SPECS[0]; COUNT];
    let (mut part, mut at) = (0, 0);
    while part < parts.len() {
        let mut row = 0;
        while row < parts[part].len() {
            table[at] = parts[part][row];
            at += 1;
            row += 1;
        }
        part += 1;
    }
    table
}

/// Rows by the hash of their names, with at least half of the places empty so that a miss ends soon.
const PLACES: usize = 512;
const EMPTY: u16 = u16::MAX;
static INDEX: [u16; PLACES] = index();
const _: () = assert!(COUNT < PLACES / 2, "the index is too small for the table");

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks the bounds")]
const fn index() -> [u16; PLACES] {
    let mut index = [EMPTY; PLACES];
    let mut row = 0;
    while row < COUNT {
        let mut place = place_of(TABLE[row].name.as_bytes());
        while index[place] != EMPTY {
            place = (place + 1) % PLACES;
        }
        index[place] = row as u16;
        row += 1;
    }
    index
}

#[expect(clippy::indexing_slicing, reason = "the loop stays below the length; iterators are not const")]
const fn place_of(name: &[u8]) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    let mut at = 0;
    while at < name.len() {
        // Letters of either case fall together; that other bytes do as well costs a comparison.
        hash = (hash ^ (name[at] | 0x20) as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    (hash ^ hash >> 15) as usize % PLACES
}

/// No command's name is longer. Longer words are not even hashed.
const NAME_BYTES_MAX: usize = 32;

/// The command of this name, in any case.
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static Spec> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let mut place = place_of(name);
    loop {
        // An empty place holds a number that no row has.
        let spec = TABLE.get(usize::from(*INDEX.get(place)?))?;
        if spec.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(spec);
        }
        place = (place + 1) % PLACES;
    }
}

/// The command or subcommand of a full name as the table writes it, `client|setname`, in any case.
#[must_use]
pub fn find_full(name: &[u8]) -> Option<&'static Spec> {
    match name.iter().position(|&byte| byte == b'|') {
        None => find(name),
        Some(bar) => subcommand(find(name.get(..bar)?)?, name.get(bar + 1..)?),
    }
}

fn subcommand(spec: &'static Spec, name: &[u8]) -> Option<&'static Spec> {
    spec.subcommands.iter().find(|sub| sub.own_name().as_bytes().eq_ignore_ascii_case(name))
}

/// The row a request means, with the number of its arguments checked. Of commands with subcommands, the subcommand's.
///
/// # Errors
/// Redis' errors about unknown commands and subcommands and about the number of arguments.
pub fn resolve(args: &[Bytes]) -> Result<&'static Spec, Failure> {
    let spec = row(args)?;
    if spec.takes(args.len()) { Ok(spec) } else { Err(wrong_arity(spec)) }
}

/// Like [`resolve`], however many arguments there are.
pub(crate) fn row(args: &[Bytes]) -> Result<&'static Spec, Failure> {
    let (name, rest) = args.split_first().ok_or_else(|| unknown_command(&[], &[]))?;
    let spec = find(name).ok_or_else(|| unknown_command(name, rest))?;
    match rest.first() {
        Some(sub) if !spec.subcommands.is_empty() => subcommand(spec, sub).ok_or_else(|| unknown_subcommand(spec, sub)),
        _ => Ok(spec),
    }
}

pub(crate) fn wrong_arity(spec: &Spec) -> Failure {
    Failure::Command(format!("ERR wrong number of arguments for '{}' command", spec.name).into())
}

/// Of each word only so much is repeated in an error.
const QUOTED_BYTES_MAX: usize = 128;

/// What of a word is repeated in an error. Like Redis, nothing behind a zero byte.
fn quoted(word: &[u8], max: usize) -> Cow<'_, str> {
    let end = word.iter().take(max).position(|&byte| byte == 0).unwrap_or(max);
    String::from_utf8_lossy(word.get(..end).unwrap_or(word))
}

fn unknown_command(name: &[u8], rest: &[Bytes]) -> Failure {
    let mut args = String::new();
    for arg in rest {
        let Some(left) = QUOTED_BYTES_MAX.checked_sub(args.len()).filter(|left| *left > 0) else { break };
        args.push_str(&format!("'{}' ", quoted(arg, left)));
    }
    let name = quoted(name, QUOTED_BYTES_MAX);
    Failure::Command(format!("ERR unknown command '{name}', with args beginning with: {args}").into())
}

fn unknown_subcommand(spec: &Spec, sub: &[u8]) -> Failure {
    let sub = quoted(sub, QUOTED_BYTES_MAX);
    let name = spec.name.to_ascii_uppercase();
    Failure::Command(format!("ERR unknown subcommand '{sub}'. Try {name} HELP.").into())
}

/// The row of a request of which nothing can be wrong but the number of its words, and that is right: GET, and SET without options. Nearly
/// all requests of most clients are such, and who only passes them on need not know more of them: the key is the second word.
#[must_use]
pub fn plain(args: &[Bytes]) -> Option<&'static Spec> {
    let (name, len) = (args.first()?, args.len());
    let spec = find(name).filter(|_| matches!(len, 2 | 3))?;
    matches!((spec.name, len), ("get", 2) | ("set", 3)).then_some(spec)
}

/// The keys of a request, for callers that need no more than that.
///
/// # Errors
/// As [`resolve`].
pub fn keys_of(args: &Args) -> Result<impl Iterator<Item = &Bytes>, Failure> {
    let spec = resolve(args)?;
    Ok(spec.key_positions(args).filter_map(|at| args.get(at)))
}

#[cfg(test)]
mod tests;
