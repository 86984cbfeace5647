//! Arguments of the commands on keys, whatever they hold.

use bytes::Bytes;
use simplekv_types::{Failure, Slot, SlotRange};

use super::words::{NOT_AN_INTEGER, SYNTAX, Unit};
use super::{Body, Command, ElementScan, ExpireCondition, ObjectQuestion, Scan, TtlForm, Words};
use crate::number::{parse_i64, parse_u64};

type Parsed = Result<Body, Failure>;

fn data(command: Command) -> Parsed {
    Ok(Body::Data(command))
}

pub(crate) fn del(words: &mut Words<'_>) -> Parsed {
    data(Command::Del { keys: words.rest() })
}

pub(crate) fn exists(words: &mut Words<'_>) -> Parsed {
    data(Command::Exists { keys: words.rest() })
}

pub(crate) fn touch(words: &mut Words<'_>) -> Parsed {
    data(Command::Touch { keys: words.rest() })
}

pub(crate) fn type_of(words: &mut Words<'_>) -> Parsed {
    data(Command::Type { key: words.word()? })
}

fn expire_as(words: &mut Words<'_>, unit: Unit, relative: bool) -> Parsed {
    let (key, number) = (words.word()?, words.word()?);
    let condition = expire_condition(words)?;
    let number = parse_i64(&number).ok_or(NOT_AN_INTEGER)?;
    let expiry = words.expiry(number, unit, relative)?;
    data(Command::Expire { key, expiry, condition })
}

fn expire_condition(words: &mut Words<'_>) -> Result<ExpireCondition, Failure> {
    let mut condition = ExpireCondition::default();
    while let Some(option) = words.option() {
        let flag = match option.to_ascii_lowercase().as_slice() {
            b"nx" => &mut condition.absent,
            b"xx" => &mut condition.present,
            b"gt" => &mut condition.greater,
            b"lt" => &mut condition.less,
            _ => {
                let option = String::from_utf8_lossy(&option);
                return Err(Failure::Command(format!("ERR Unsupported option {option}").into()));
            }
        };
        *flag = true;
    }
    if condition.absent && (condition.present || condition.greater || condition.less) {
        return Err(Failure::command("ERR NX and XX, GT or LT options at the same time are not compatible"));
    }
    if condition.greater && condition.less {
        return Err(Failure::command("ERR GT and LT options at the same time are not compatible"));
    }
    Ok(condition)
}

pub(crate) fn expire(words: &mut Words<'_>) -> Parsed {
    expire_as(words, Unit::Seconds, true)
}

pub(crate) fn pexpire(words: &mut Words<'_>) -> Parsed {
    expire_as(words, Unit::Millis, true)
}

pub(crate) fn expireat(words: &mut Words<'_>) -> Parsed {
    expire_as(words, Unit::Seconds, false)
}

pub(crate) fn pexpireat(words: &mut Words<'_>) -> Parsed {
    expire_as(words, Unit::Millis, false)
}

pub(crate) fn ttl(words: &mut Words<'_>) -> Parsed {
    data(Command::Ttl { key: words.word()?, form: TtlForm::Seconds })
}

pub(crate) fn pttl(words: &mut Words<'_>) -> Parsed {
    data(Command::Ttl { key: words.word()?, form: TtlForm::Millis })
}

pub(crate) fn expiretime(words: &mut Words<'_>) -> Parsed {
    data(Command::Ttl { key: words.word()?, form: TtlForm::AtSeconds })
}

pub(crate) fn pexpiretime(words: &mut Words<'_>) -> Parsed {
    data(Command::Ttl { key: words.word()?, form: TtlForm::AtMillis })
}

pub(crate) fn persist(words: &mut Words<'_>) -> Parsed {
    data(Command::Persist { key: words.word()? })
}

pub(crate) fn rename(words: &mut Words<'_>) -> Parsed {
    data(Command::Rename { from: words.word()?, to: words.word()?, if_absent: false })
}

pub(crate) fn renamenx(words: &mut Words<'_>) -> Parsed {
    data(Command::Rename { from: words.word()?, to: words.word()?, if_absent: true })
}

pub(crate) fn copy(words: &mut Words<'_>) -> Parsed {
    let (from, to) = (words.word()?, words.word()?);
    let mut replace = false;
    while let Some(option) = words.option() {
        if option.eq_ignore_ascii_case(b"replace") {
            replace = true;
        } else if option.eq_ignore_ascii_case(b"db") {
            if words.integer()? != 0 {
                return Err(Failure::command("ERR DB index is out of range"));
            }
        } else {
            return Err(SYNTAX);
        }
    }
    if from == to {
        return Err(Failure::command("ERR source and destination objects are the same"));
    }
    data(Command::Copy { from, to, replace })
}

fn object(words: &mut Words<'_>, question: ObjectQuestion) -> Parsed {
    data(Command::Object { key: words.word()?, question })
}

pub(crate) fn object_encoding(words: &mut Words<'_>) -> Parsed {
    object(words, ObjectQuestion::Encoding)
}

pub(crate) fn object_refcount(words: &mut Words<'_>) -> Parsed {
    object(words, ObjectQuestion::RefCount)
}

pub(crate) fn object_idletime(words: &mut Words<'_>) -> Parsed {
    object(words, ObjectQuestion::IdleTime)
}

pub(crate) fn object_freq(words: &mut Words<'_>) -> Parsed {
    object(words, ObjectQuestion::Freq)
}

pub(crate) fn object_version(words: &mut Words<'_>) -> Parsed {
    object(words, ObjectQuestion::Version)
}

pub(crate) fn memory_usage(words: &mut Words<'_>) -> Parsed {
    let key = words.word()?;
    while let Some(option) = words.option() {
        // Values are not sampled, they are known; the option is understood and changes nothing.
        if !option.eq_ignore_ascii_case(b"samples") || words.integer()? < 0 {
            return Err(SYNTAX);
        }
    }
    data(Command::MemoryUsage { key })
}

pub(crate) fn scan(words: &mut Words<'_>) -> Parsed {
    let cursor = cursor(&words.word()?)?;
    let mut scan = Scan { cursor, pattern: None, count: Scan::COUNT_DEFAULT, kind: None, slots: SlotRange::ALL };
    while let Some(option) = words.option() {
        match option.to_ascii_lowercase().as_slice() {
            b"match" => scan.pattern = Some(words.word()?),
            b"type" => scan.kind = Some(words.word()?),
            b"count" => scan.count = scan_count(words)?,
            b"slots" => scan.slots = slot_range(&words.word()?, &words.word()?)?,
            _ => return Err(SYNTAX),
        }
    }
    data(Command::Scan(scan))
}

fn cursor(text: &[u8]) -> Result<u64, Failure> {
    parse_u64(text).ok_or(Failure::command("ERR invalid cursor"))
}

fn scan_count(words: &mut Words<'_>) -> Result<u64, Failure> {
    u64::try_from(words.integer()?).ok().filter(|count| *count > 0).ok_or(SYNTAX)
}

/// What HSCAN, SSCAN and ZSCAN have in common, behind the key.
pub(super) fn element_scan(words: &mut Words<'_>) -> Result<ElementScan, Failure> {
    let mut scan = ElementScan { cursor: cursor(&words.word()?)?, pattern: None, count: Scan::COUNT_DEFAULT };
    while let Some(option) = words.option() {
        match option.to_ascii_lowercase().as_slice() {
            b"match" => scan.pattern = Some(words.word()?),
            b"count" => scan.count = scan_count(words)?,
            _ => return Err(SYNTAX),
        }
    }
    Ok(scan)
}

/// How many elements HRANDFIELD or ZRANDMEMBER draws, if it says so, and whether it wants to be told what belongs to them.
pub(super) fn draws_of(words: &mut Words<'_>, option: &[u8]) -> Result<(Option<i64>, bool), Failure> {
    let count = if words.len() == 0 { None } else { Some(draws(words)?) };
    let with_more = match words.option() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case(option) && words.len() == 0 => true,
        Some(_) => return Err(SYNTAX),
    };
    if with_more && count.is_some_and(|count| !(-i64::MAX / 2..=i64::MAX / 2).contains(&count)) {
        return Err(Failure::command("ERR value is out of range"));
    }
    Ok((count, with_more))
}

pub(super) fn draws(words: &mut Words<'_>) -> Result<i64, Failure> {
    Some(words.integer()?).filter(|count| *count != i64::MIN).ok_or(Failure::command(
        "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
    ))
}

fn slot_range(first: &[u8], last: &[u8]) -> Result<SlotRange, Failure> {
    SlotRange::new(slot(first)?, slot(last)?).ok_or(Failure::command("ERR Invalid slot"))
}

pub(crate) fn slot(text: &[u8]) -> Result<Slot, Failure> {
    let number = parse_i64(text).and_then(|number| u16::try_from(number).ok());
    number.and_then(Slot::new).ok_or(Failure::command("ERR Invalid or out of range slot"))
}

pub(crate) fn keys(words: &mut Words<'_>) -> Parsed {
    data(Command::Keys { pattern: words.word()? })
}

pub(crate) fn randomkey(_words: &mut Words<'_>) -> Parsed {
    data(Command::RandomKey)
}

pub(crate) fn dbsize(_words: &mut Words<'_>) -> Parsed {
    data(Command::DbSize)
}

pub(crate) fn flush(words: &mut Words<'_>) -> Parsed {
    // Dropping slots takes no longer than telling so; both ways are the same.
    match (words.option(), words.len()) {
        (None, _) => data(Command::FlushAll),
        (Some(how), 0) if is_flush_option(&how) => data(Command::FlushAll),
        _ => Err(SYNTAX),
    }
}

fn is_flush_option(how: &Bytes) -> bool {
    how.eq_ignore_ascii_case(b"async") || how.eq_ignore_ascii_case(b"sync")
}
