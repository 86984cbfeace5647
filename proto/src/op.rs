//! One operation of a lane's request frame. In `data.proto`: `Op`.

use std::ops::Range;

use bytes::Bytes;
use prost::encoding::encoded_len_varint;
use prost::{DecodeError, Message};
use simplekv_types::{Dedupe, GroupId, Position, ReadPolicy};
use smallvec::SmallVec;

use crate::frame::{OPS, delimited, length, put_varint};
use crate::v1;

/// The words of one operation: slices of the frame they came in.
pub type Words = SmallVec<[Bytes; 3]>;

/// An operation as it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Op {
    /// Unique among the operations in flight on its stream.
    pub id: u64,
    /// The command and its arguments, as Redis spells them.
    pub args: Words,
    /// Which replicas may answer. Ignored by writes.
    pub read: Option<v1::ReadPolicy>,
    /// Present on a write that must be applied once however often it is sent.
    pub dedupe: Option<v1::Dedupe>,
    /// How long the caller still waits, in milliseconds; 0 means the server's default.
    pub timeout_ms: u32,
    /// What a read must not be older than.
    pub seen: Option<v1::Position>,
    /// The group a command without keys is for; 0: the keys decide.
    pub group: u32,
    /// Whom to tell when what this reads changes; 0: nobody.
    pub tracker: u64,
}

const ID: u8 = 0x08;
const ARGS: u8 = 0x12;
const READ: u8 = 0x1a;
const DEDUPE: u8 = 0x22;
const TIMEOUT_MS: u8 = 0x28;
const SEEN: u8 = 0x32;
const GROUP: u8 = 0x38;
const TRACKER: u8 = 0x40;

/// What an operation says besides its number and its words.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Which replicas may answer. Not said of a write with an identity.
    pub read: ReadPolicy,
    /// The identity of a write.
    pub dedupe: Option<Dedupe>,
    /// How long the caller still waits, in milliseconds.
    pub timeout_ms: u32,
    /// What a read must not be older than.
    pub seen: Option<Position>,
    /// For commands without keys.
    pub group: Option<GroupId>,
    /// Whom to tell when what is read changes; 0: nobody.
    pub tracker: u64,
}

impl Op {
    /// Appends an operation as it stands in a frame. At most [`u32::MAX`] bytes: whoever asks for more was refused before.
    pub fn write<'a>(id: u64, words: impl Iterator<Item = &'a [u8]> + Clone, manner: &Manner, out: &mut Vec<u8>) {
        let read = manner.dedupe.is_none().then(|| v1::ReadPolicy::from(manner.read));
        let dedupe = manner.dedupe.map(v1::Dedupe::from);
        let seen = manner.seen.map(v1::Position::from);
        let group = manner.group.map_or(0, |group| group.0);
        let len = number_len(id)
            + words.clone().map(|word| delimited_len(word.len())).sum::<usize>()
            + message_len(read.as_ref())
            + message_len(dedupe.as_ref())
            + number_len(manner.timeout_ms.into())
            + message_len(seen.as_ref())
            + number_len(group.into())
            + number_len(manner.tracker);
        out.reserve(delimited_len(len));
        out.push(OPS);
        put_varint(len as u64, out);
        put_number(ID, id, out);
        for word in words {
            out.push(ARGS);
            put_varint(word.len() as u64, out);
            out.extend_from_slice(word);
        }
        put_message(READ, read.as_ref(), out);
        put_message(DEDUPE, dedupe.as_ref(), out);
        put_number(TIMEOUT_MS, manner.timeout_ms.into(), out);
        put_message(SEEN, seen.as_ref(), out);
        put_number(GROUP, group.into(), out);
        put_number(TRACKER, manner.tracker, out);
    }

    /// The operation that lies in `body` of a frame.
    ///
    /// # Errors
    /// What lies there is no operation.
    pub(crate) fn read(frame: &Bytes, body: Range<usize>) -> Result<Self, DecodeError> {
        let mut op = Self::default();
        let mut rest = frame.get(body.clone()).unwrap_or_default();
        while let [key, tail @ ..] = rest {
            rest = tail;
            match *key {
                ID => op.id = length(&mut rest)?,
                ARGS => op.args.push(frame.slice_ref(delimited(&mut rest)?)),
                READ => op.read.get_or_insert_default().merge(delimited(&mut rest)?)?,
                DEDUPE => op.dedupe.get_or_insert_default().merge(delimited(&mut rest)?)?,
                // As the generated code does it: what is too large is cut.
                TIMEOUT_MS => op.timeout_ms = length(&mut rest)? as u32,
                SEEN => op.seen.get_or_insert_default().merge(delimited(&mut rest)?)?,
                GROUP => op.group = length(&mut rest)? as u32,
                TRACKER => op.tracker = length(&mut rest)?,
                // Of a newer sender, or spelled as nobody does: the generated code knows what to make of it.
                _ => return v1::Op::decode(frame.slice(body)).map(Self::from),
            }
        }
        Ok(op)
    }
}

impl From<v1::Op> for Op {
    fn from(wire: v1::Op) -> Self {
        let v1::Op { id, args, read, dedupe, timeout_ms, seen, group, tracker } = wire;
        Self { id, args: args.into(), read, dedupe, timeout_ms, seen, group, tracker }
    }
}

pub(crate) fn delimited_len(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

/// Zero is not said.
pub(crate) fn number_len(number: u64) -> usize {
    if number == 0 { 0 } else { 1 + encoded_len_varint(number) }
}

pub(crate) fn message_len(message: Option<&impl Message>) -> usize {
    message.map_or(0, |message| delimited_len(message.encoded_len()))
}

pub(crate) fn put_number(key: u8, number: u64, out: &mut Vec<u8>) {
    if number != 0 {
        out.push(key);
        put_varint(number, out);
    }
}

pub(crate) fn put_message(key: u8, message: Option<&impl Message>, out: &mut Vec<u8>) {
    if let Some(message) = message {
        out.push(key);
        put_varint(message.encoded_len() as u64, out);
        message.encode_raw(out);
    }
}
