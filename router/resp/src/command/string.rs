//! Arguments of the commands on strings.

use bytes::Bytes;
use simplekv_types::Failure;

use super::words::{SYNTAX, Unit};
use super::{Body, Command, Expiry, ExpiryChange, Set, SetCondition, SetExpiry, ValueCondition, Words};
use crate::table::wrong_arity;

type Parsed = Result<Body, Failure>;

fn data(command: Command) -> Parsed {
    Ok(Body::Data(command))
}

fn set_to(key: Bytes, value: Bytes) -> Set {
    Set { key, value, condition: SetCondition::Always, expiry: SetExpiry::Clear, get: false }
}

pub(crate) fn get(words: &mut Words<'_>) -> Parsed {
    data(Command::Get { key: words.word()? })
}

pub(crate) fn set(words: &mut Words<'_>) -> Parsed {
    let mut set = set_to(words.word()?, words.word()?);
    let mut expiry = None;
    // Later options replace earlier ones of the same name, and exclude those of other names: as in Redis.
    while let Some(option) = words.option() {
        if option.eq_ignore_ascii_case(b"nx") {
            set.condition = condition(&set.condition, SetCondition::IfAbsent)?;
        } else if option.eq_ignore_ascii_case(b"xx") {
            set.condition = condition(&set.condition, SetCondition::IfPresent)?;
        } else if option.eq_ignore_ascii_case(b"ifeq") {
            set.condition = condition(&set.condition, SetCondition::IfValue(ValueCondition::Equal(words.word()?)))?;
        } else if option.eq_ignore_ascii_case(b"ifne") {
            set.condition = condition(&set.condition, SetCondition::IfValue(ValueCondition::NotEqual(words.word()?)))?;
        } else if option.eq_ignore_ascii_case(b"get") {
            set.get = true;
        } else if option.eq_ignore_ascii_case(b"keepttl") && expiry.is_none() {
            set.expiry = SetExpiry::Keep;
        } else if set.expiry != SetExpiry::Keep {
            expiry = Some(expiry_option(&option, expiry, words)?);
        } else {
            return Err(SYNTAX);
        }
    }
    // Numbers are read only once the options are known to fit together.
    if let Some(option) = expiry {
        set.expiry = SetExpiry::Expire(option.read(words)?);
    }
    data(Command::Set(set))
}

/// The condition `new` if it may follow `old`: only a condition of the same name may.
fn condition(old: &SetCondition, new: SetCondition) -> Result<SetCondition, Failure> {
    let fits = *old == SetCondition::Always || std::mem::discriminant(old) == std::mem::discriminant(&new);
    if fits { Ok(new) } else { Err(SYNTAX) }
}

/// EX, PX, EXAT or PXAT with its number still a text.
struct ExpiryOption {
    unit: Unit,
    relative: bool,
    name: &'static [u8],
    number: Bytes,
}

impl ExpiryOption {
    fn read(&self, words: &Words<'_>) -> Result<Expiry, Failure> {
        words.positive_expiry(&self.number, self.unit, self.relative)
    }
}

fn expiry_option(option: &[u8], earlier: Option<ExpiryOption>, words: &mut Words<'_>) -> Result<ExpiryOption, Failure> {
    let known: [(&'static [u8], Unit, bool); 4] = [
        (b"ex", Unit::Seconds, true),
        (b"px", Unit::Millis, true),
        (b"exat", Unit::Seconds, false),
        (b"pxat", Unit::Millis, false),
    ];
    let (name, unit, relative) =
        known.into_iter().find(|(name, ..)| option.eq_ignore_ascii_case(name)).ok_or(SYNTAX)?;
    match earlier {
        Some(earlier) if earlier.name != name => Err(SYNTAX),
        _ => Ok(ExpiryOption { unit, relative, name, number: words.word()? }),
    }
}

pub(crate) fn setnx(words: &mut Words<'_>) -> Parsed {
    data(Command::SetNx { key: words.word()?, value: words.word()? })
}

fn set_expiring(words: &mut Words<'_>, unit: Unit) -> Parsed {
    let (key, number, value) = (words.word()?, words.word()?, words.word()?);
    let expiry = SetExpiry::Expire(words.positive_expiry(&number, unit, true)?);
    data(Command::Set(Set { expiry, ..set_to(key, value) }))
}

pub(crate) fn setex(words: &mut Words<'_>) -> Parsed {
    set_expiring(words, Unit::Seconds)
}

pub(crate) fn psetex(words: &mut Words<'_>) -> Parsed {
    set_expiring(words, Unit::Millis)
}

pub(crate) fn getset(words: &mut Words<'_>) -> Parsed {
    data(Command::Set(Set { get: true, ..set_to(words.word()?, words.word()?) }))
}

pub(crate) fn getdel(words: &mut Words<'_>) -> Parsed {
    data(Command::GetDel { key: words.word()? })
}

pub(crate) fn getex(words: &mut Words<'_>) -> Parsed {
    let key = words.word()?;
    let (mut persist, mut expiry) = (false, None);
    while let Some(option) = words.option() {
        if option.eq_ignore_ascii_case(b"persist") && expiry.is_none() {
            persist = true;
        } else if !persist {
            expiry = Some(expiry_option(&option, expiry, words)?);
        } else {
            return Err(SYNTAX);
        }
    }
    let change = match expiry {
        Some(option) => ExpiryChange::Expire(option.read(words)?),
        None if persist => ExpiryChange::Persist,
        None => ExpiryChange::Keep,
    };
    data(Command::GetEx { key, change })
}

pub(crate) fn mget(words: &mut Words<'_>) -> Parsed {
    data(Command::MGet { keys: words.rest() })
}

pub(crate) fn mset(words: &mut Words<'_>) -> Parsed {
    data(Command::MSet { pairs: words.pairs()? })
}

pub(crate) fn msetnx(words: &mut Words<'_>) -> Parsed {
    data(Command::MSetNx { pairs: words.pairs()? })
}

pub(crate) fn append(words: &mut Words<'_>) -> Parsed {
    data(Command::Append { key: words.word()?, value: words.word()? })
}

pub(crate) fn strlen(words: &mut Words<'_>) -> Parsed {
    data(Command::StrLen { key: words.word()? })
}

pub(crate) fn getrange(words: &mut Words<'_>) -> Parsed {
    data(Command::GetRange { key: words.word()?, start: words.integer()?, end: words.integer()? })
}

pub(crate) fn setrange(words: &mut Words<'_>) -> Parsed {
    let (key, offset, value) = (words.word()?, words.integer()?, words.word()?);
    let offset = u64::try_from(offset).map_err(|_| Failure::command("ERR offset is out of range"))?;
    data(Command::SetRange { key, offset, value })
}

pub(crate) fn incr(words: &mut Words<'_>) -> Parsed {
    data(Command::IncrBy { key: words.word()?, delta: 1 })
}

pub(crate) fn decr(words: &mut Words<'_>) -> Parsed {
    data(Command::IncrBy { key: words.word()?, delta: -1 })
}

pub(crate) fn incrby(words: &mut Words<'_>) -> Parsed {
    data(Command::IncrBy { key: words.word()?, delta: words.integer()? })
}

pub(crate) fn decrby(words: &mut Words<'_>) -> Parsed {
    let (key, decrement) = (words.word()?, words.integer()?);
    let delta = decrement.checked_neg().ok_or(Failure::command("ERR decrement would overflow"))?;
    data(Command::IncrBy { key, delta })
}

pub(crate) fn incrbyfloat(words: &mut Words<'_>) -> Parsed {
    data(Command::IncrByFloat { key: words.word()?, increment: words.word()? })
}

pub(crate) fn delex(words: &mut Words<'_>) -> Parsed {
    let key = words.word()?;
    let condition = match (words.option(), words.option(), words.option()) {
        (None, ..) => return data(Command::Del { keys: [key].into_iter().collect() }),
        (Some(option), Some(value), None) if option.eq_ignore_ascii_case(b"ifeq") => ValueCondition::Equal(value),
        (Some(option), Some(value), None) if option.eq_ignore_ascii_case(b"ifne") => ValueCondition::NotEqual(value),
        (Some(_), Some(_), None) => return Err(Failure::command("ERR Invalid condition. Use IFEQ or IFNE")),
        _ => return Err(wrong_arity(words.spec)),
    };
    data(Command::DelIf { key, condition })
}

pub(crate) fn delifeq(words: &mut Words<'_>) -> Parsed {
    data(Command::DelIf { key: words.word()?, condition: ValueCondition::Equal(words.word()?) })
}
