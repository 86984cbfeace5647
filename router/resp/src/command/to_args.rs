//! From a typed command back to words: for forwarding a part of it, and for the slow log.

use bytes::Bytes;
use simplekv_types::SlotRange;

use super::{
    BitFieldStep, BitInteger, BitOperation, BitRange, Command, ElementScan, ExpireCondition, Expiry, ExpiryChange,
    ObjectQuestion, Overflow, Scan, Set, SetCondition, SetExpiry, TtlForm, ValueCondition,
};
use crate::parser::Args;

impl Command {
    /// A request that means this command. Where several do, the most general: SETEX comes back as SET.
    #[must_use]
    pub fn to_args(&self) -> Args {
        let mut args = Args::new();
        let mut out = |words: &[&Bytes]| args.extend(words.iter().copied().cloned());
        match self {
            Self::Get { key } => out(&[&text("GET"), key]),
            Self::Set(set) => return set_args(set),
            Self::SetNx { key, value } => out(&[&text("SETNX"), key, value]),
            Self::GetDel { key } => out(&[&text("GETDEL"), key]),
            Self::GetEx { key, change } => {
                out(&[&text("GETEX"), key]);
                match change {
                    ExpiryChange::Keep => (),
                    ExpiryChange::Persist => args.push(text("PERSIST")),
                    ExpiryChange::Expire(expiry) => args.extend(expiry_args(*expiry)),
                }
            }
            Self::MGet { keys } => return list("MGET", keys),
            Self::MSet { pairs } => return flat("MSET", pairs),
            Self::MSetNx { pairs } => return flat("MSETNX", pairs),
            Self::Append { key, value } => out(&[&text("APPEND"), key, value]),
            Self::StrLen { key } => out(&[&text("STRLEN"), key]),
            Self::GetRange { key, start, end } => out(&[&text("GETRANGE"), key, &number(*start), &number(*end)]),
            Self::SetRange { key, offset, value } => out(&[&text("SETRANGE"), key, &number(*offset), value]),
            Self::GetBit { .. }
            | Self::SetBit { .. }
            | Self::BitCount { .. }
            | Self::BitPos { .. }
            | Self::BitOp { .. }
            | Self::BitField { .. } => return bit_args(self),
            Self::Hash { key, ask } => return ask.to_args(key),
            Self::Atomic(atomic) => return atomic.to_args(),
            Self::Blocking(blocking) => return blocking.to_args(),
            Self::List { key, ask } => return ask.to_args(key),
            Self::SetOf { key, ask } => return ask.to_args(key),
            Self::Zset { key, ask } => return ask.to_args(key),
            Self::Geo { key, ask } => return ask.to_args(key),
            Self::HyperLogLog { key, ask } => return ask.to_args(key),
            Self::Sort(sort) => return sort.to_args(),
            Self::IncrBy { key, delta } => out(&[&text("INCRBY"), key, &number(*delta)]),
            Self::IncrByFloat { key, increment } => out(&[&text("INCRBYFLOAT"), key, increment]),
            Self::Del { keys } => return list("DEL", keys),
            Self::DelIf { key, condition } => {
                out(&[&text("DELEX"), key]);
                args.extend(value_condition_args(condition));
            }
            Self::Exists { keys } => return list("EXISTS", keys),
            Self::Touch { keys } => return list("TOUCH", keys),
            Self::Type { key } => out(&[&text("TYPE"), key]),
            Self::Expire { key, expiry, condition } => return expire_args(key, *expiry, *condition),
            Self::ExpireIf(expire) => return expire.to_args(),
            Self::Ttl { key, form } => out(&[&text(ttl_name(*form)), key]),
            Self::Persist { key } => out(&[&text("PERSIST"), key]),
            Self::Rename { from, to, if_absent: false } => out(&[&text("RENAME"), from, to]),
            Self::Rename { from, to, if_absent: true } => out(&[&text("RENAMENX"), from, to]),
            Self::Copy { from, to, replace } => {
                out(&[&text("COPY"), from, to]);
                if *replace {
                    args.push(text("REPLACE"));
                }
            }
            Self::Object { key, question } => out(&[&text("OBJECT"), &text(object_name(*question)), key]),
            Self::MemoryUsage { key } => out(&[&text("MEMORY"), &text("USAGE"), key]),
            Self::Scan(scan) => return scan_args(scan),
            Self::Keys { pattern } => out(&[&text("KEYS"), pattern]),
            Self::RandomKey => out(&[&text("RANDOMKEY")]),
            Self::DbSize => out(&[&text("DBSIZE")]),
            Self::FlushAll => out(&[&text("FLUSHALL")]),
        }
        args
    }
}

pub(super) const fn text(word: &'static str) -> Bytes {
    Bytes::from_static(word.as_bytes())
}

pub(super) fn number(number: impl itoa::Integer) -> Bytes {
    Bytes::copy_from_slice(itoa::Buffer::new().format(number).as_bytes())
}

fn list(name: &'static str, keys: &[Bytes]) -> Args {
    std::iter::once(text(name)).chain(keys.iter().cloned()).collect()
}

fn flat(name: &'static str, pairs: &[(Bytes, Bytes)]) -> Args {
    std::iter::once(text(name)).chain(pairs.iter().flat_map(|(key, value)| [key.clone(), value.clone()])).collect()
}

/// Of the commands on bits.
fn bit_args(command: &Command) -> Args {
    let mut args = Args::new();
    let mut out = |words: &[&Bytes]| args.extend(words.iter().copied().cloned());
    match command {
        Command::GetBit { key, offset } => out(&[&text("GETBIT"), key, &number(*offset)]),
        Command::SetBit { key, offset, on } => out(&[&text("SETBIT"), key, &number(*offset), &number(u8::from(*on))]),
        Command::BitCount { key, range } => {
            out(&[&text("BITCOUNT"), key]);
            args.extend(range.iter().flat_map(bit_range_args));
        }
        Command::BitPos { key, on, range } => {
            out(&[&text("BITPOS"), key, &number(u8::from(*on))]);
            args.extend(range.iter().flat_map(bit_range_args));
        }
        Command::BitOp { operation, to, keys } => {
            out(&[&text("BITOP"), &text(bit_operation_name(*operation)), to]);
            args.extend(keys.iter().cloned());
        }
        Command::BitField { key, steps } => {
            out(&[&text("BITFIELD"), key]);
            args.extend(steps.iter().flat_map(bit_field_args));
        }
        _ => (),
    }
    args
}

fn bit_range_args(range: &BitRange) -> Vec<Bytes> {
    let mut args = vec![number(range.start)];
    if let Some(end) = range.end {
        args.extend([number(end), text(if range.in_bits { "BIT" } else { "BYTE" })]);
    }
    args
}

fn bit_operation_name(operation: BitOperation) -> &'static str {
    match operation {
        BitOperation::And => "AND",
        BitOperation::Or => "OR",
        BitOperation::Xor => "XOR",
        BitOperation::Not => "NOT",
    }
}

fn bit_field_args(step: &BitFieldStep) -> Vec<Bytes> {
    let place = |place: &BitInteger| {
        let kind = format!("{}{}", if place.signed { 'i' } else { 'u' }, place.width);
        [Bytes::from(kind), number(place.offset)]
    };
    let overflow = |overflow: &Overflow| match overflow {
        Overflow::Wrap => "WRAP",
        Overflow::Saturate => "SAT",
        Overflow::Fail => "FAIL",
    };
    let (how, name, at, value) = match step {
        BitFieldStep::Get(at) => return std::iter::once(text("GET")).chain(place(at)).collect(),
        BitFieldStep::Set(at, value, how) => (how, "SET", at, value),
        BitFieldStep::IncrBy(at, value, how) => (how, "INCRBY", at, value),
    };
    [text("OVERFLOW"), text(overflow(how)), text(name)].into_iter().chain(place(at)).chain([number(*value)]).collect()
}

fn set_args(set: &Set) -> Args {
    let mut args: Args = [text("SET"), set.key.clone(), set.value.clone()].into_iter().collect();
    match &set.condition {
        SetCondition::Always => (),
        SetCondition::IfAbsent => args.push(text("NX")),
        SetCondition::IfPresent => args.push(text("XX")),
        SetCondition::IfValue(condition) => args.extend(value_condition_args(condition)),
    }
    if set.get {
        args.push(text("GET"));
    }
    match set.expiry {
        SetExpiry::Clear => (),
        SetExpiry::Keep => args.push(text("KEEPTTL")),
        SetExpiry::Expire(expiry) => args.extend(expiry_args(expiry)),
    }
    args
}

fn expiry_args(expiry: Expiry) -> [Bytes; 2] {
    match expiry {
        Expiry::After(millis) => [text("PX"), number(millis)],
        Expiry::At(millis) => [text("PXAT"), number(millis)],
    }
}

fn value_condition_args(condition: &ValueCondition) -> [Bytes; 2] {
    match condition {
        ValueCondition::Equal(value) => [text("IFEQ"), value.clone()],
        ValueCondition::NotEqual(value) => [text("IFNE"), value.clone()],
    }
}

fn expire_args(key: &Bytes, expiry: Expiry, condition: ExpireCondition) -> Args {
    let (name, millis) = match expiry {
        Expiry::After(millis) => ("PEXPIRE", millis),
        Expiry::At(millis) => ("PEXPIREAT", millis),
    };
    let ExpireCondition { absent, present, greater, less } = condition;
    let options = [(absent, "NX"), (present, "XX"), (greater, "GT"), (less, "LT")];
    let options = options.into_iter().filter(|(set, _)| *set).map(|(_, name)| text(name));
    [text(name), key.clone(), number(millis)].into_iter().chain(options).collect()
}

fn ttl_name(form: TtlForm) -> &'static str {
    match form {
        TtlForm::Seconds => "TTL",
        TtlForm::Millis => "PTTL",
        TtlForm::AtSeconds => "EXPIRETIME",
        TtlForm::AtMillis => "PEXPIRETIME",
    }
}

fn object_name(question: ObjectQuestion) -> &'static str {
    match question {
        ObjectQuestion::Encoding => "ENCODING",
        ObjectQuestion::RefCount => "REFCOUNT",
        ObjectQuestion::IdleTime => "IDLETIME",
        ObjectQuestion::Freq => "FREQ",
        ObjectQuestion::Version => "VERSION",
    }
}

fn scan_args(scan: &Scan) -> Args {
    let mut args: Args = [text("SCAN"), number(scan.cursor), text("COUNT"), number(scan.count)].into_iter().collect();
    if let Some(pattern) = &scan.pattern {
        args.extend([text("MATCH"), pattern.clone()]);
    }
    if let Some(kind) = &scan.kind {
        args.extend([text("TYPE"), kind.clone()]);
    }
    if scan.slots != SlotRange::ALL {
        args.extend([text("SLOTS"), number(scan.slots.first().number()), number(scan.slots.last().number())]);
    }
    args
}

/// Of HSCAN, SSCAN and ZSCAN, behind the key.
pub(super) fn scan_words(scan: &ElementScan) -> Vec<Bytes> {
    let mut args = vec![number(scan.cursor), text("COUNT"), number(scan.count)];
    if let Some(pattern) = &scan.pattern {
        args.extend([text("MATCH"), pattern.clone()]);
    }
    args
}
