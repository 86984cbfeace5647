//! Arguments of the commands on the bits of a string.

use bytes::Bytes;
use simplekv_types::Failure;

use super::words::{NOT_AN_INTEGER, SYNTAX};
use super::{Body, Command, Words};
use crate::number::parse_i64;

type Parsed = Result<Body, Failure>;

/// A part of a value. Both ends belong to it; negative positions count from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitRange {
    /// The first byte or bit.
    pub start: i64,
    /// The last one; `None` for the end of the value, behind which more zeros may be thought of.
    pub end: Option<i64>,
    /// Whether positions count bits and not bytes.
    pub in_bits: bool,
}

/// What BITOP does with values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitOperation {
    /// Bits set in all of them.
    And,
    /// Bits set in any of them.
    Or,
    /// Bits set in an odd number of them.
    Xor,
    /// Bits not set in the only one.
    Not,
}

/// An integer of any width within a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitInteger {
    /// Whether it has a sign.
    pub signed: bool,
    /// How many bits it has: 1 to 64, at most 63 without a sign.
    pub width: u8,
    /// Its highest bit's place. Bit 0 is the highest of the first byte.
    pub offset: u64,
}

/// What becomes of an integer that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Its lowest bits stay.
    Wrap,
    /// It becomes the greatest or the least that fits.
    Saturate,
    /// Nothing is done, and nothing answered.
    Fail,
}

/// One step of BITFIELD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitFieldStep {
    /// Answers an integer.
    Get(BitInteger),
    /// Sets one, and answers what it was.
    Set(BitInteger, i64, Overflow),
    /// Adds to one, and answers what it is.
    IncrBy(BitInteger, i64, Overflow),
}

const NOT_AN_OFFSET: Failure = Failure::command("ERR bit offset is not an integer or out of range");

/// Offsets are below this: the longest string Redis knows has 512 MB.
const OFFSET_END: u64 = 1 << 32;

fn data(command: Command) -> Parsed {
    Ok(Body::Data(command))
}

fn offset(word: &[u8]) -> Result<u64, Failure> {
    let number = parse_i64(word).and_then(|number| u64::try_from(number).ok());
    number.filter(|offset| *offset < OFFSET_END).ok_or(NOT_AN_OFFSET)
}

pub(crate) fn getbit(words: &mut Words<'_>) -> Parsed {
    data(Command::GetBit { key: words.word()?, offset: offset(&words.word()?)? })
}

pub(crate) fn setbit(words: &mut Words<'_>) -> Parsed {
    let (key, offset) = (words.word()?, offset(&words.word()?)?);
    let on = match words.word()?.as_ref() {
        b"0" => false,
        b"1" => true,
        _ => return Err(Failure::command("ERR bit is not an integer or out of range")),
    };
    data(Command::SetBit { key, offset, on })
}

/// `start [end [BYTE | BIT]]`, the end only if it `may_be_open`.
fn range(words: &mut Words<'_>, may_be_open: bool) -> Result<Option<BitRange>, Failure> {
    let Some(start) = words.option() else { return Ok(None) };
    let (end, unit) = (words.option(), words.option());
    words.end()?;
    if end.is_none() && !may_be_open {
        return Err(SYNTAX);
    }
    let integer = |word: &Bytes| parse_i64(word).ok_or(NOT_AN_INTEGER);
    let start = integer(&start)?;
    let end = || end.as_ref().map(integer).transpose();
    let in_bits = || match unit.as_deref() {
        None => Ok(false),
        Some(unit) if unit.eq_ignore_ascii_case(b"bit") => Ok(true),
        Some(unit) if unit.eq_ignore_ascii_case(b"byte") => Ok(false),
        Some(_) => Err(SYNTAX),
    };
    // Of two senseless words BITPOS complains of the unit, BITCOUNT of the end.
    let (in_bits, end) = if may_be_open {
        (in_bits()?, end()?)
    } else {
        let end = end()?;
        (in_bits()?, end)
    };
    Ok(Some(BitRange { start, end, in_bits }))
}

pub(crate) fn bitcount(words: &mut Words<'_>) -> Parsed {
    data(Command::BitCount { key: words.word()?, range: range(words, false)? })
}

pub(crate) fn bitpos(words: &mut Words<'_>) -> Parsed {
    let (key, bit) = (words.word()?, words.integer()?);
    let on = match bit {
        0 => false,
        1 => true,
        _ => return Err(Failure::command("ERR The bit argument must be 1 or 0.")),
    };
    data(Command::BitPos { key, on, range: range(words, true)? })
}

pub(crate) fn bitop(words: &mut Words<'_>) -> Parsed {
    let known = [
        (b"and".as_slice(), BitOperation::And),
        (b"or", BitOperation::Or),
        (b"xor", BitOperation::Xor),
        (b"not", BitOperation::Not),
    ];
    let name = words.word()?;
    let (_, operation) = known.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).ok_or(SYNTAX)?;
    let (to, keys) = (words.word()?, words.rest());
    if operation == BitOperation::Not && keys.len() != 1 {
        return Err(Failure::command("ERR BITOP NOT must be called with a single source key."));
    }
    data(Command::BitOp { operation, to, keys })
}

pub(crate) fn bitfield(words: &mut Words<'_>) -> Parsed {
    let (key, steps) = (words.word()?, steps(words)?);
    data(Command::BitField { key, steps })
}

pub(crate) fn bitfield_ro(words: &mut Words<'_>) -> Parsed {
    let (key, steps) = (words.word()?, steps(words)?);
    if !steps.iter().all(|step| matches!(step, BitFieldStep::Get(_))) {
        return Err(Failure::command("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    data(Command::BitField { key, steps })
}

fn steps(words: &mut Words<'_>) -> Result<Vec<BitFieldStep>, Failure> {
    let mut steps = Vec::new();
    let mut overflow = Overflow::Wrap;
    while let Some(name) = words.option() {
        // A step that is cut short is no step, whatever its words are.
        let is = |step: &[u8], words_needed: usize| name.eq_ignore_ascii_case(step) && words.len() >= words_needed;
        if is(b"overflow", 1) {
            overflow = match words.word()? {
                how if how.eq_ignore_ascii_case(b"wrap") => Overflow::Wrap,
                how if how.eq_ignore_ascii_case(b"sat") => Overflow::Saturate,
                how if how.eq_ignore_ascii_case(b"fail") => Overflow::Fail,
                _ => return Err(Failure::command("ERR Invalid OVERFLOW type specified")),
            };
        } else if is(b"get", 2) {
            steps.push(BitFieldStep::Get(bit_integer(words)?));
        } else if is(b"set", 3) {
            steps.push(BitFieldStep::Set(bit_integer(words)?, words.integer()?, overflow));
        } else if is(b"incrby", 3) {
            steps.push(BitFieldStep::IncrBy(bit_integer(words)?, words.integer()?, overflow));
        } else {
            return Err(SYNTAX);
        }
    }
    Ok(steps)
}

/// `i16 #3`: a type and where it stands, in integers of its own width if a `#` says so.
fn bit_integer(words: &mut Words<'_>) -> Result<BitInteger, Failure> {
    const NO_TYPE: Failure = Failure::command(
        "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
    );
    let (kind, place) = (words.word()?, words.word()?);
    let (signed, digits) = match kind.as_ref() {
        [b'i', digits @ ..] => (true, digits),
        [b'u', digits @ ..] => (false, digits),
        _ => return Err(NO_TYPE),
    };
    let most = if signed { 64 } else { 63 };
    let width = parse_i64(digits).and_then(|width| u8::try_from(width).ok());
    let width = width.filter(|width| (1..=most).contains(width)).ok_or(NO_TYPE)?;
    let (number, unit) = match place.as_ref() {
        [b'#', number @ ..] => (number, u64::from(width)),
        number => (number, 1),
    };
    let number = parse_i64(number).and_then(|number| u64::try_from(number).ok()).ok_or(NOT_AN_OFFSET)?;
    let offset = number.checked_mul(unit).filter(|offset| *offset < OFFSET_END).ok_or(NOT_AN_OFFSET)?;
    Ok(BitInteger { signed, width, offset })
}
