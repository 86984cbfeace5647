//! The arguments of one request, taken one after the other.

use std::slice::IterMut;

use bytes::Bytes;
use simplekv_types::Failure;

use super::{Body, Expiry, Keys};
use crate::number::parse_i64;
use crate::parser::Args;
use crate::table::Spec;

/// What a row of the table knows about its arguments.
pub(crate) type Parse = fn(&mut Words<'_>) -> Result<Body, Failure>;

pub(crate) const SYNTAX: Failure = Failure::command("ERR syntax error");
pub(crate) const NOT_AN_INTEGER: Failure = Failure::command("ERR value is not an integer or out of range");

/// What is left of a request behind the command's (and subcommand's) name. Its number of words has been checked.
pub(crate) struct Words<'a> {
    pub(crate) spec: &'static Spec,
    /// The command's name as it was written.
    pub(crate) name: &'a [u8],
    /// Those taken are left behind empty.
    args: IterMut<'a, Bytes>,
}

/// Whether an expiry is given in seconds or milliseconds.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Seconds,
    Millis,
}

impl<'a> Words<'a> {
    pub(crate) fn new(spec: &'static Spec, args: &'a mut Args) -> Self {
        let names = if spec.is_subcommand { 2 } else { 1 };
        let (names, args) = args.split_at_mut_checked(names).unwrap_or_default();
        Self { spec, name: names.first().map_or(&[], |name| name), args: args.iter_mut() }
    }

    /// How many words are left.
    pub(crate) fn len(&self) -> usize {
        self.args.len()
    }

    /// The next word if there is one.
    pub(crate) fn option(&mut self) -> Option<Bytes> {
        self.args.next().map(std::mem::take)
    }

    /// The next word, which the request cannot do without.
    pub(crate) fn word(&mut self) -> Result<Bytes, Failure> {
        self.option().ok_or(SYNTAX)
    }

    pub(crate) fn integer(&mut self) -> Result<i64, Failure> {
        parse_i64(&self.word()?).ok_or(NOT_AN_INTEGER)
    }

    /// All words that are left.
    pub(crate) fn rest(&mut self) -> Args {
        self.args.by_ref().map(std::mem::take).collect()
    }

    /// The next words, if there are as many.
    pub(crate) fn take(&mut self, count: i64) -> Option<Keys> {
        let count = usize::try_from(count).ok().filter(|count| *count <= self.len())?;
        Some(self.args.by_ref().take(count).map(std::mem::take).collect())
    }

    /// Of LMPOP and ZMPOP: how many keys there are, and the keys; the first apart.
    pub(crate) fn counted_keys(&mut self) -> Result<(Bytes, Keys), Failure> {
        let count = parse_i64(&self.word()?).filter(|count| *count > 0);
        let count = count.ok_or(Failure::command("ERR numkeys should be greater than 0"))?;
        let mut keys = self.take(count).ok_or(SYNTAX)?;
        Ok((keys.remove(0), keys))
    }

    /// Of LMPOP and ZMPOP, at their end: how many elements are taken out.
    pub(crate) fn pop_count(&mut self) -> Result<u64, Failure> {
        match (self.option(), self.option()) {
            (None, _) => Ok(1),
            (Some(option), Some(count)) if option.eq_ignore_ascii_case(b"count") => {
                let count = parse_i64(&count).and_then(|count| u64::try_from(count).ok()).filter(|count| *count > 0);
                let count = count.ok_or(Failure::command("ERR count should be greater than 0"))?;
                self.end()?;
                Ok(count)
            }
            _ => Err(SYNTAX),
        }
    }

    /// Refuses whatever is left.
    pub(crate) fn end(&self) -> Result<(), Failure> {
        if self.args.len() == 0 { Ok(()) } else { Err(SYNTAX) }
    }

    /// Keys and values up to the end.
    pub(crate) fn pairs(&mut self) -> Result<Vec<(Bytes, Bytes)>, Failure> {
        if !self.len().is_multiple_of(2) {
            return Err(crate::table::wrong_arity(self.spec));
        }
        let mut pairs = Vec::with_capacity(self.len() / 2);
        while let (Some(key), Some(value)) = (self.option(), self.option()) {
            pairs.push((key, value));
        }
        Ok(pairs)
    }

    /// What an expiry out of range is answered with.
    pub(crate) fn invalid_expiry(&self) -> Failure {
        Failure::Command(format!("ERR invalid expire time in '{}' command", self.spec.name).into())
    }

    /// A time of the EXPIRE family: any sign.
    pub(crate) fn expiry(&self, number: i64, unit: Unit, relative: bool) -> Result<Expiry, Failure> {
        let millis = match unit {
            Unit::Millis => number,
            Unit::Seconds => number.checked_mul(1000).ok_or_else(|| self.invalid_expiry())?,
        };
        match relative {
            true if millis > Expiry::AFTER_MAX => Err(self.invalid_expiry()),
            true => Ok(Expiry::After(millis)),
            false => Ok(Expiry::At(millis)),
        }
    }

    /// A time of the SET family: it must be positive.
    pub(crate) fn positive_expiry(&self, text: &[u8], unit: Unit, relative: bool) -> Result<Expiry, Failure> {
        let number = parse_i64(text).ok_or(NOT_AN_INTEGER)?;
        if number <= 0 {
            return Err(self.invalid_expiry());
        }
        self.expiry(number, unit, relative)
    }
}
