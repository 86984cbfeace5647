//! Requests as words: what the command table's own notation of arguments allows, and then spoiled.

use simplekv_resp::syntax::{self, Argument, ArgumentKind};
use simplekv_resp::table::{Spec, TABLE};

use crate::rng::Rng;

pub(crate) type Words = Vec<Vec<u8>>;

const KEYS: &[&str] = &["k", "{t}a", "{t}b", "", "a b", "\u{0}\r\n", "{}", "{", "key:1"];
const INTEGERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "3",
    "10",
    "-100",
    "16383",
    "16384",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551616",
    "01",
    "+1",
    " 1",
    "1 ",
    "-0",
    "",
    "1e3",
];
const DOUBLES: &[&str] =
    &["0.5", "-1.5", "inf", "-inf", "nan", "1e308", "1e309", "-0", "(1", "[a", "-", "+", "0x1p-3", "1_0", "."];
const TEXTS: &[&str] =
    &["v", "", "hello world", "\"", "'", "\\x41", "*", "[a-", "\u{fffd}", "$3\r\n", "*1\r\n", "{t}", "u8", "#1", "OK"];
/// Words that mean something somewhere, in places where they may not.
const OPTIONS: &[&str] = &[
    "EX",
    "PX",
    "NX",
    "XX",
    "GT",
    "LT",
    "CH",
    "INCR",
    "GET",
    "KEEPTTL",
    "PERSIST",
    "COUNT",
    "MATCH",
    "TYPE",
    "LIMIT",
    "BY",
    "ASC",
    "DESC",
    "ALPHA",
    "STORE",
    "WITHSCORES",
    "WITHVALUES",
    "BYSCORE",
    "BYLEX",
    "REV",
    "AGGREGATE",
    "SUM",
    "WEIGHTS",
    "BEFORE",
    "AFTER",
    "LEFT",
    "RIGHT",
    "AND",
    "NOT",
    "BIT",
    "BYTE",
    "OVERFLOW",
    "FAIL",
    "SET",
    "FROMMEMBER",
    "FROMLONLAT",
    "BYRADIUS",
    "BYBOX",
    "ANY",
    "WITHCOORD",
    "REPLACE",
    "DB",
    "AUTH",
    "SETNAME",
    "ON",
    "OFF",
    "SKIP",
    "ID",
    "YES",
    "NO",
    "IFEQ",
    "km",
    "HELP",
    "ASYNC",
    "SYNC",
];

/// The rows of the command table with their arguments understood.
pub(crate) struct Grammar {
    rows: Vec<(&'static Spec, Vec<Argument>)>,
}

impl Grammar {
    pub(crate) fn new() -> Self {
        let all = TABLE.iter().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands));
        Self { rows: all.map(|spec| (spec, syntax::arguments(spec.syntax))).collect() }
    }

    /// One request, mostly as its row describes it.
    pub(crate) fn request(&self, rng: &mut Rng) -> Words {
        let (spec, arguments) = rng.pick(&self.rows);
        let mut words: Words = spec.name.split('|').map(|name| written(name, rng)).collect();
        for argument in arguments {
            given(argument, rng, &mut words, 0);
        }
        if rng.one_in(3) {
            spoil(rng, &mut words);
        }
        // What EXEC runs: requests within a request.
        if rng.one_in(40) {
            let count = words.len().to_string().into_bytes();
            words.splice(0..0, [b"ATOMIC".to_vec(), b"0".to_vec(), count]);
        }
        words
    }
}

/// A name in some case.
fn written(name: &str, rng: &mut Rng) -> Vec<u8> {
    match rng.below(4) {
        0 => name.to_ascii_uppercase().into_bytes(),
        1 => name.bytes().map(|byte| if rng.one_in(2) { byte.to_ascii_uppercase() } else { byte }).collect(),
        _ => name.as_bytes().to_vec(),
    }
}

/// Adds what may be given for an argument. The notation nests no deeper than a few levels.
fn given(argument: &Argument, rng: &mut Rng, words: &mut Words, depth: usize) {
    let times = match (argument.optional && rng.one_in(2), argument.multiple) {
        (true, _) => 0,
        (false, true) => 1 + rng.below(4),
        (false, false) => 1,
    };
    for _ in 0..times {
        if let Some(token) = argument.token {
            words.push(written(token, rng));
        }
        match argument.kind {
            ArgumentKind::PureToken => {
                if argument.token.is_none() {
                    words.push(written(&argument.name, rng));
                }
            }
            ArgumentKind::OneOf if depth < 8 => given(rng.pick(&argument.arguments), rng, words, depth + 1),
            ArgumentKind::Block if depth < 8 => {
                argument.arguments.iter().for_each(|inner| given(inner, rng, words, depth + 1));
            }
            ArgumentKind::Key => words.push(rng.pick(KEYS).as_bytes().to_vec()),
            ArgumentKind::Double if rng.one_in(2) => words.push(rng.pick(DOUBLES).as_bytes().to_vec()),
            ArgumentKind::Integer | ArgumentKind::UnixTime | ArgumentKind::Double => words.push(integer(rng)),
            ArgumentKind::String | ArgumentKind::Pattern | ArgumentKind::OneOf | ArgumentKind::Block => {
                words.push(text(rng));
            }
        }
    }
}

fn integer(rng: &mut Rng) -> Vec<u8> {
    match rng.below(4) {
        0 => rng.pick(INTEGERS).as_bytes().to_vec(),
        1 => (rng.next() as i64 >> rng.below(64)).to_string().into_bytes(),
        // Where words are counted, this is often right.
        _ => rng.below(5).to_string().into_bytes(),
    }
}

fn text(rng: &mut Rng) -> Vec<u8> {
    match rng.below(8) {
        0 => integer(rng),
        1 => rng.pick(DOUBLES).as_bytes().to_vec(),
        2 => rng.pick(OPTIONS).as_bytes().to_vec(),
        3 => (0..rng.below(40)).map(|_| rng.next() as u8).collect(),
        4 => vec![b'x'; rng.below(300)],
        _ => rng.pick(TEXTS).as_bytes().to_vec(),
    }
}

fn spoil(rng: &mut Rng, words: &mut Words) {
    for _ in 0..1 + rng.below(3) {
        let at = rng.below(words.len() + 1);
        match rng.below(6) {
            0 if at < words.len() => drop(words.remove(at)),
            1 => {
                let repeated = words.get(at).cloned().unwrap_or_default();
                words.insert(at, repeated);
            }
            2 => words.insert(at, rng.pick(OPTIONS).as_bytes().to_vec()),
            3 => words.insert(at, integer(rng)),
            4 => words.push(text(rng)),
            _ => {
                if let Some(word) = words.get_mut(at) {
                    *word = text(rng);
                }
            }
        }
    }
}
