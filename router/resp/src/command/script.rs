//! EVAL and EVALSHA of scripts that are known by heart.
//!
//! No script is run here. But a lock is given back, and kept for longer, only if it is still held by who does so, and clients do that with
//! scripts of their libraries which are the same everywhere. These few are recognised, and done as the commands they amount to.

use bytes::Bytes;
use simplekv_types::Failure;

use super::to_args::{number, text};
use super::{Body, Command, Expiry, Keys, NOT_AN_INTEGER, ValueCondition, Words};
use crate::number::parse_i64;
use crate::parser::Args;

/// A script that is known.
#[derive(Debug)]
pub struct KnownScript {
    /// What its text hashes to: SHA-1, in lower case.
    pub sha: &'static str,
    /// Its text.
    pub text: &'static str,
    meaning: Meaning,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// Deletes the key if it holds the token.
    Release,
    /// Lets the key live for longer if it holds the token and would have lapsed.
    Extend,
    /// Lets the key live for so long if it holds the token.
    Reacquire,
}

/// Lets a key that holds a token live for so long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpireIf {
    /// The key.
    pub key: Bytes,
    /// What its value must be.
    pub value: Bytes,
    /// For how long, in milliseconds. Invariant: at most [`Expiry::AFTER_MAX`].
    pub millis: i64,
    /// From when that is counted.
    pub from: ExpireFrom,
}

/// From when a time to live is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpireFrom {
    /// From now on, whether the key had one or not.
    Now,
    /// From now on, for a key that had one.
    NowIfMortal,
    /// From when the key would have lapsed, if it had.
    Lapse,
}

/// The scripts of redis-py's `Lock`, and the one of Redis' documentation in two ways of writing it.
pub static KNOWN_SCRIPTS: [KnownScript; 5] = [
    KnownScript {
        sha: RELEASE_SHA,
        text: "
        local token = redis.call('get', KEYS[1])
        if not token or token ~= ARGV[1] then
            return 0
        end
        redis.call('del', KEYS[1])
        return 1
    ",
        meaning: Meaning::Release,
    },
    KnownScript {
        sha: EXTEND_SHA,
        text: "
        local token = redis.call('get', KEYS[1])
        if not token or token ~= ARGV[1] then
            return 0
        end
        local expiration = redis.call('pttl', KEYS[1])
        if not expiration then
            expiration = 0
        end
        if expiration < 0 then
            return 0
        end

        local newttl = ARGV[2]
        if ARGV[3] == \"0\" then
            newttl = ARGV[2] + expiration
        end
        redis.call('pexpire', KEYS[1], newttl)
        return 1
    ",
        meaning: Meaning::Extend,
    },
    KnownScript {
        sha: REACQUIRE_SHA,
        text: "
        local token = redis.call('get', KEYS[1])
        if not token or token ~= ARGV[1] then
            return 0
        end
        redis.call('pexpire', KEYS[1], ARGV[2])
        return 1
    ",
        meaning: Meaning::Reacquire,
    },
    KnownScript {
        sha: "b70c2384248f88e6b75b9f89241a180f856ad852",
        text: "if redis.call(\"get\",KEYS[1]) == ARGV[1] then return redis.call(\"del\",KEYS[1]) else return 0 end",
        meaning: Meaning::Release,
    },
    KnownScript {
        sha: "647c65a442733a1aa440f99908d249d13b4d6c4a",
        text: "if redis.call(\"get\",KEYS[1]) == ARGV[1] then\n    return redis.call(\"del\",KEYS[1])\nelse\n    return 0\nend",
        meaning: Meaning::Release,
    },
];

const RELEASE_SHA: &str = "c3f8721cbb97f72bc19e972846bd7aaf91901658";
const EXTEND_SHA: &str = "a4e8783852e6b949f9ef3a97212805108459a890";
const REACQUIRE_SHA: &str = "1cac51482acf5858da00f6d685d68f886cd6b6b2";

const NO_SCRIPT: Failure = Failure::command("NOSCRIPT No matching script. Please use EVAL.");
/// What is answered to scripts that are not known.
pub(crate) const UNKNOWN_SCRIPT: Failure =
    Failure::command("ERR scripts are not run here, apart from a few that locks are made of");

/// The known script of this text. Nothing depends on how it is laid out.
pub(crate) fn by_text(text: &[u8]) -> Option<&'static KnownScript> {
    fn essence(text: &[u8]) -> impl Iterator<Item = u8> {
        let visible = text.iter().filter(|byte| !byte.is_ascii_whitespace());
        visible.map(|&byte| if byte == b'\'' { b'"' } else { byte })
    }
    KNOWN_SCRIPTS.iter().find(|known| essence(known.text.as_bytes()).eq(essence(text)))
}

/// The known script of this hash, in any case.
pub(crate) fn by_sha(sha: &[u8]) -> Option<&'static KnownScript> {
    KNOWN_SCRIPTS.iter().find(|known| known.sha.as_bytes().eq_ignore_ascii_case(sha))
}

pub(crate) fn eval(words: &mut Words<'_>) -> Result<Body, Failure> {
    let text = words.word()?;
    let keys = keys(words)?;
    by_text(&text).ok_or(UNKNOWN_SCRIPT)?.command(keys, words)
}

pub(crate) fn evalsha(words: &mut Words<'_>) -> Result<Body, Failure> {
    let sha = words.word()?;
    if sha.len() != RELEASE_SHA.len() {
        return Err(NO_SCRIPT);
    }
    let keys = keys(words)?;
    by_sha(&sha).ok_or(NO_SCRIPT)?.command(keys, words)
}

fn keys(words: &mut Words<'_>) -> Result<Keys, Failure> {
    let count = words.integer()?;
    if count < 0 {
        return Err(Failure::command("ERR Number of keys can't be negative"));
    }
    words.take(count).ok_or(Failure::command("ERR Number of keys can't be greater than number of args"))
}

impl KnownScript {
    /// The command it amounts to with these keys, and what is left of the words for its arguments.
    fn command(&self, keys: Keys, words: &mut Words<'_>) -> Result<Body, Failure> {
        let key = <[Bytes; 1]>::try_from(keys.into_vec());
        let (Ok([key]), Some(value)) = (key, words.option()) else { return Err(TOO_FEW) };
        let from = match self.meaning {
            Meaning::Release => {
                return Ok(Body::Data(Command::DelIf { key, condition: ValueCondition::Equal(value) }));
            }
            Meaning::Extend => None,
            Meaning::Reacquire => Some(ExpireFrom::Now),
        };
        let millis = parse_i64(&words.option().ok_or(TOO_FEW)?).ok_or(NOT_AN_INTEGER)?;
        if millis > Expiry::AFTER_MAX {
            return Err(Failure::command("ERR invalid expire time in 'pexpire' command"));
        }
        let from = from.unwrap_or_else(|| match words.option().as_deref() {
            Some(b"0") => ExpireFrom::Lapse,
            _ => ExpireFrom::NowIfMortal,
        });
        Ok(Body::Data(Command::ExpireIf(ExpireIf { key, value, millis, from })))
    }
}

const TOO_FEW: Failure = Failure::command("ERR this script takes one key and its arguments");

impl ExpireIf {
    pub(super) fn to_args(&self) -> Args {
        let Self { key, value, millis, from } = self;
        let (sha, replaces) = match from {
            ExpireFrom::Now => (REACQUIRE_SHA, None),
            ExpireFrom::NowIfMortal => (EXTEND_SHA, Some("1")),
            ExpireFrom::Lapse => (EXTEND_SHA, Some("0")),
        };
        let words = [text("EVALSHA"), text(sha), number(1), key.clone(), value.clone(), number(*millis)];
        words.into_iter().chain(replaces.map(text)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Request;

    fn parsed(words: &[&str]) -> Result<Command, Failure> {
        let args = words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        match Request::parse(args)?.body {
            Body::Data(command) => Ok(command),
            Body::Control(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_lock_is_given_back_as_by_the_command_for_it() {
        let delifeq = parsed(&["DELIFEQ", "lock", "me"]);
        for known in KNOWN_SCRIPTS.iter().filter(|known| known.meaning == Meaning::Release) {
            assert_eq!(parsed(&["EVAL", known.text, "1", "lock", "me"]), delifeq);
            assert_eq!(parsed(&["evalsha", &known.sha.to_uppercase(), "1", "lock", "me"]), delifeq);
        }
        let otherwise =
            "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";
        assert_eq!(parsed(&["EVAL", otherwise, "1", "lock", "me"]), delifeq, "how it is laid out does not matter");
    }

    #[test]
    fn what_is_not_known_is_not_run() {
        for (words, expected) in [
            (vec!["EVAL", "return 1", "0"], UNKNOWN_SCRIPT),
            (vec!["EVALSHA", &"0".repeat(40), "0"], NO_SCRIPT),
            (vec!["EVALSHA", "short", "x"], NO_SCRIPT),
            (vec!["EVAL", KNOWN_SCRIPTS[0].text, "x"], NOT_AN_INTEGER),
            (vec!["EVAL", KNOWN_SCRIPTS[0].text, "0"], TOO_FEW),
            (vec!["EVAL", KNOWN_SCRIPTS[0].text, "1", "lock"], TOO_FEW),
            (vec!["EVAL", KNOWN_SCRIPTS[0].text, "2", "lock", "other", "me"], TOO_FEW),
            (vec!["EVALSHA", EXTEND_SHA, "1", "lock", "me", "soon", "0"], NOT_AN_INTEGER),
        ] {
            assert_eq!(parsed(&words), Err(expected), "{words:?}");
        }
        let extended = parsed(&["EVALSHA", EXTEND_SHA, "1", "lock", "me", "100", "0"]).unwrap();
        assert_eq!(Request::parse(extended.to_args()).unwrap().body, Body::Data(extended));
    }
}
