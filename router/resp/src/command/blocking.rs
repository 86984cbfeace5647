//! Commands that wait for elements.

use std::time::Duration;

use bytes::Bytes;
use simplekv_types::{Failure, Reply};

use super::list::end;
use super::to_args::text;
use super::{Body, Command, Keys, ListCommand, ListEnd, SYNTAX, Words, ZsetCommand};
use crate::number::parse_f64;
use crate::parser::Args;

type Parsed = Result<Body, Failure>;

/// A command that, where it finds nothing, is tried again when one of its keys may have got elements.
///
/// Executed as it stands it is tried once, as Redis does it in transactions; waiting is the business of whoever serves the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocking {
    /// What is tried.
    pub attempt: Box<Command>,
    /// Whether the elements stand beside their key in the answer and not in an array of their own.
    pub is_flat: bool,
    /// How long to wait; `None` for ever.
    pub timeout: Option<Duration>,
}

impl Blocking {
    /// Whether an answer says that there was nothing to be found.
    #[must_use]
    pub fn is_nothing(reply: &Reply) -> bool {
        matches!(reply, Reply::Null | Reply::NullArray)
    }

    /// What is answered when the time is up.
    pub const NOTHING: Reply = Reply::NullArray;

    /// The keys where something may be found: not the one that an element is moved to.
    pub fn awaited(&self) -> impl Iterator<Item = &Bytes> {
        let count =
            if matches!(&*self.attempt, Command::List { ask: ListCommand::Move { .. }, .. }) { 1 } else { usize::MAX };
        self.attempt.keys().take(count)
    }

    /// What to try one after the other where the keys lie in several slots; `None` if that is not the same as what is asked.
    #[must_use]
    pub fn one_by_one(&self) -> Option<Vec<Command>> {
        let one = |key: &Bytes| -> Option<Command> {
            let mut attempt = (*self.attempt).clone();
            match &mut attempt {
                Command::List { key: first, ask: ListCommand::MPop { more, .. } } => {
                    (*first, *more) = (key.clone(), Args::new());
                }
                Command::Zset { key: first, ask: ZsetCommand::MPop { more, .. } } => {
                    (*first, *more) = (key.clone(), Keys::new());
                }
                _ => return None,
            }
            Some(Command::Blocking(Self { attempt: Box::new(attempt), ..self.clone() }))
        };
        self.attempt.keys().map(one).collect()
    }

    pub(super) fn keys(&self) -> Box<dyn Iterator<Item = &Bytes> + '_> {
        Box::new(self.attempt.keys())
    }

    pub(super) fn to_args(&self) -> Args {
        let timeout = Bytes::from(self.timeout.unwrap_or_default().as_secs_f64().to_string());
        let name = match (&*self.attempt, self.is_flat) {
            (Command::List { ask: ListCommand::MPop { end: ListEnd::Left, .. }, .. }, true) => "BLPOP",
            (Command::List { ask: ListCommand::MPop { end: ListEnd::Right, .. }, .. }, true) => "BRPOP",
            (Command::Zset { ask: ZsetCommand::MPop { highest: false, .. }, .. }, true) => "BZPOPMIN",
            (Command::Zset { ask: ZsetCommand::MPop { highest: true, .. }, .. }, true) => "BZPOPMAX",
            (Command::List { ask: ListCommand::Move { .. }, .. }, _) => "BLMOVE",
            (Command::List { .. }, false) => "BLMPOP",
            _ => "BZMPOP",
        };
        if self.is_flat {
            return std::iter::once(text(name)).chain(self.attempt.keys().cloned()).chain([timeout]).collect();
        }
        let words = self.attempt.to_args().into_iter().skip(1);
        if name == "BLMOVE" {
            return std::iter::once(text(name)).chain(words).chain([timeout]).collect();
        }
        [text(name), timeout].into_iter().chain(words).collect()
    }
}

fn blocking(attempt: Command, is_flat: bool, timeout: Option<Duration>) -> Parsed {
    Ok(Body::Data(Command::Blocking(Blocking { attempt: Box::new(attempt), is_flat, timeout })))
}

/// Longest time to wait that is told from for ever.
const SECONDS_MAX: f64 = i64::MAX as f64 / 1000.0;

/// Milliseconds that nobody will see the end of. Below, a time is the same in seconds and a fraction.
const FOR_EVER: u64 = 1 << 51;

fn timeout(word: &[u8]) -> Result<Option<Duration>, Failure> {
    let seconds = parse_f64(word).filter(|seconds| seconds.is_finite());
    let seconds = seconds.ok_or(Failure::command("ERR timeout is not a float or out of range"))?;
    if seconds < 0.0 {
        return Err(Failure::command("ERR timeout is negative"));
    }
    if seconds > SECONDS_MAX {
        return Err(Failure::command("ERR timeout is out of range"));
    }
    let millis = seconds * 1000.0;
    // What was meant to be whole may be a little more or less; all else is not shorter than asked for: what is less than a millisecond
    // would be for ever.
    let is_whole = (millis - millis.round()).abs() <= millis * f64::EPSILON;
    let millis = if is_whole { millis.round() } else { millis.ceil() } as u64;
    Ok((millis > 0 && millis < FOR_EVER).then(|| Duration::from_millis(millis)))
}

/// The keys, and the timeout behind them.
fn keys_and_timeout(words: &mut Words<'_>) -> Result<(Bytes, Keys, Option<Duration>), Failure> {
    let mut keys: Keys = words.rest().into_iter().collect();
    let timeout = timeout(&keys.pop().ok_or(SYNTAX)?)?;
    if keys.is_empty() {
        return Err(SYNTAX);
    }
    Ok((keys.remove(0), keys, timeout))
}

fn pop_list(words: &mut Words<'_>, end: ListEnd) -> Parsed {
    let (key, more, timeout) = keys_and_timeout(words)?;
    let more = more.into_iter().collect();
    blocking(Command::List { key, ask: ListCommand::MPop { more, end, count: 1 } }, true, timeout)
}

pub(crate) fn blpop(words: &mut Words<'_>) -> Parsed {
    pop_list(words, ListEnd::Left)
}

pub(crate) fn brpop(words: &mut Words<'_>) -> Parsed {
    pop_list(words, ListEnd::Right)
}

fn pop_zset(words: &mut Words<'_>, highest: bool) -> Parsed {
    let (key, more, timeout) = keys_and_timeout(words)?;
    blocking(Command::Zset { key, ask: ZsetCommand::MPop { more, highest, count: 1 } }, true, timeout)
}

pub(crate) fn bzpopmin(words: &mut Words<'_>) -> Parsed {
    pop_zset(words, false)
}

pub(crate) fn bzpopmax(words: &mut Words<'_>) -> Parsed {
    pop_zset(words, true)
}

pub(crate) fn blmove(words: &mut Words<'_>) -> Parsed {
    let (key, to) = (words.word()?, words.word()?);
    let (from_end, to_end) = (end(words)?, end(words)?);
    let timeout = timeout(&words.word()?)?;
    blocking(Command::List { key, ask: ListCommand::Move { to, from_end, to_end } }, false, timeout)
}

pub(crate) fn brpoplpush(words: &mut Words<'_>) -> Parsed {
    let (key, to) = (words.word()?, words.word()?);
    let timeout = timeout(&words.word()?)?;
    let (from_end, to_end) = (ListEnd::Right, ListEnd::Left);
    blocking(Command::List { key, ask: ListCommand::Move { to, from_end, to_end } }, false, timeout)
}

fn behind_timeout(words: &mut Words<'_>, parse: crate::command::Parse) -> Parsed {
    // What stands behind it is looked at first, as Redis does.
    let seconds = words.word()?;
    match parse(words)? {
        Body::Data(attempt) => blocking(attempt, false, timeout(&seconds)?),
        Body::Control(_) => Err(SYNTAX),
    }
}

pub(crate) fn blmpop(words: &mut Words<'_>) -> Parsed {
    behind_timeout(words, super::list::lmpop)
}

pub(crate) fn bzmpop(words: &mut Words<'_>) -> Parsed {
    behind_timeout(words, super::zset::zmpop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_the_same_wherever_it_is_read() {
        for (text, millis) in [
            ("2.007", 2007),
            ("0.0001", 1),
            ("0.0010001", 2),
            ("1e-300", 1),
            ("3", 3000),
            ("2251799813685.247", (1 << 51) - 1),
        ] {
            assert_eq!(timeout(text.as_bytes()), Ok(Some(Duration::from_millis(millis))), "{text}");
        }
        for text in ["0", "-0", "9142103017295006", "9223372036854775"] {
            assert_eq!(timeout(text.as_bytes()), Ok(None), "{text} is for ever");
        }
    }
}
