//! One reply of a lane's reply frame. In `data.proto`: `OpReply`.

use std::ops::Range;

use bytes::Bytes;
use prost::encoding::encoded_len_varint;
use prost::{DecodeError, Message};
use simplekv_types::{GroupTime, Position, Reply};

use crate::convert::Malformed;
use crate::frame::{REPLIES, delimited, length, put_varint};
use crate::op::{delimited_len, message_len, number_len, put_message, put_number};
use crate::v1;

/// A reply as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct OpReply {
    /// Which operation is answered.
    pub id: u64,
    /// Or why it cannot be read.
    pub reply: Result<Reply, Malformed>,
    /// The group's time when the answer was made; zero if no group was involved.
    pub group_time: GroupTime,
    /// The attempt answered.
    pub attempt: u32,
    /// Where the answer was read or written.
    pub seen: Option<Position>,
    /// Whether the tracker that was named is told when what was read changes.
    pub tracked: bool,
}

const ID: u8 = 0x08;
const VALUE: u8 = 0x12;
const GROUP_TIME: u8 = 0x18;
const ATTEMPT: u8 = 0x20;
const SEEN: u8 = 0x2a;
const TRACKED: u8 = 0x30;

/// The keys of the values that nearly all replies are, within `Value`.
const OK: u8 = 0x0a;
const INT: u8 = 0x18;
const BULK: u8 = 0x22;
const NULL: u8 = 0x32;

/// A value about to be written.
enum Value {
    /// Of one of these kinds, with nothing in it.
    Unit(u8),
    Int(u64),
    Bulk(Bytes),
    Other(v1::Value),
}

impl Value {
    fn of(reply: Reply) -> Self {
        match reply {
            Reply::Ok => Self::Unit(OK),
            Reply::Null => Self::Unit(NULL),
            Reply::Int(number) => Self::Int(zigzag(number)),
            Reply::Bulk(bytes) => Self::Bulk(bytes),
            other => Self::Other(other.into()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Unit(_) => 2,
            Self::Int(number) => 1 + encoded_len_varint(*number),
            Self::Bulk(bytes) => delimited_len(bytes.len()),
            Self::Other(value) => value.encoded_len(),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Unit(key) => out.extend_from_slice(&[*key, 0]),
            Self::Int(number) => {
                out.push(INT);
                put_varint(*number, out);
            }
            Self::Bulk(bytes) => {
                out.push(BULK);
                put_varint(bytes.len() as u64, out);
                out.extend_from_slice(bytes);
            }
            Self::Other(value) => value.encode_raw(out),
        }
    }
}

/// A reply about to be written, of known size.
pub struct Draft {
    id: u64,
    value: Value,
    group_time: u64,
    attempt: u32,
    seen: Option<v1::Position>,
    tracked: bool,
    body: usize,
}

impl Draft {
    /// The reply to an operation.
    #[must_use]
    pub fn new(id: u64, reply: Reply, group_time: GroupTime, attempt: u32, seen: Option<Position>) -> Self {
        let (value, seen) = (Value::of(reply), seen.map(v1::Position::from));
        let body = number_len(id)
            + delimited_len(value.len())
            + number_len(group_time.0)
            + number_len(attempt.into())
            + message_len(seen.as_ref());
        Self { id, value, group_time: group_time.0, attempt, seen, tracked: false, body }
    }

    /// Says whether the tracker that was named is told when what was read changes.
    #[must_use]
    pub fn tracked(self, tracked: bool) -> Self {
        let said = |tracked: bool| number_len(tracked.into());
        Self { tracked, body: self.body - said(self.tracked) + said(tracked), ..self }
    }

    /// How many bytes it takes as a message.
    #[must_use]
    pub fn len(&self) -> usize {
        self.body
    }

    /// Never: a reply says at least which operation it answers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.body == 0
    }

    /// Appends the reply as it stands in a frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.reserve(delimited_len(self.body));
        out.push(REPLIES);
        put_varint(self.body as u64, out);
        put_number(ID, self.id, out);
        out.push(VALUE);
        put_varint(self.value.len() as u64, out);
        self.value.write(out);
        put_number(GROUP_TIME, self.group_time, out);
        put_number(ATTEMPT, self.attempt.into(), out);
        put_message(SEEN, self.seen.as_ref(), out);
        put_number(TRACKED, self.tracked.into(), out);
    }
}

impl OpReply {
    /// The reply that lies in `body` of a frame.
    ///
    /// # Errors
    /// What lies there is no reply.
    pub(crate) fn read(frame: &Bytes, body: Range<usize>) -> Result<Self, DecodeError> {
        let by_the_generated = |body| v1::OpReply::decode(frame.slice(body)).map(Self::from);
        let (mut id, mut group_time, mut attempt, mut tracked) = (0, 0, 0, false);
        let (mut reply, mut seen) = (None, None::<v1::Position>);
        let mut rest = frame.get(body.clone()).unwrap_or_default();
        while let [key, tail @ ..] = rest {
            rest = tail;
            match *key {
                ID => id = length(&mut rest)?,
                // What was said twice is one value made of two.
                VALUE if reply.is_none() => match plain(frame, delimited(&mut rest)?) {
                    Some(plain) => reply = Some(plain),
                    None => return by_the_generated(body),
                },
                GROUP_TIME => group_time = length(&mut rest)?,
                // As the generated code does it: what is too large is cut.
                ATTEMPT => attempt = length(&mut rest)? as u32,
                SEEN => seen.get_or_insert_default().merge(delimited(&mut rest)?)?,
                TRACKED => tracked = length(&mut rest)? != 0,
                _ => return by_the_generated(body),
            }
        }
        let reply = reply.ok_or(Malformed::Missing("op_reply.value"));
        Ok(Self { id, reply, group_time: GroupTime(group_time), attempt, seen: position(seen), tracked })
    }
}

/// A value of one of the kinds that nearly all are; `None` if it is of another, or said in another way.
fn plain(frame: &Bytes, value: &[u8]) -> Option<Reply> {
    let (&key, mut rest) = value.split_first()?;
    let reply = match key {
        OK if rest == [0] => return Some(Reply::Ok),
        NULL if rest == [0] => return Some(Reply::Null),
        BULK => Reply::Bulk(frame.slice_ref(delimited(&mut rest).ok()?)),
        INT => Reply::Int(unzigzag(length(&mut rest).ok()?)),
        _ => return None,
    };
    rest.is_empty().then_some(reply)
}

impl From<v1::OpReply> for OpReply {
    fn from(wire: v1::OpReply) -> Self {
        let value = wire.value.ok_or(Malformed::Missing("op_reply.value"));
        Self {
            id: wire.id,
            reply: value.and_then(Reply::try_from),
            group_time: GroupTime(wire.group_time),
            attempt: wire.attempt,
            seen: position(wire.seen),
            tracked: wire.tracked,
        }
    }
}

/// Without a position that can be read the answer is as good; the session only learns nothing of it.
fn position(wire: Option<v1::Position>) -> Option<Position> {
    Position::try_from(wire?).ok()
}

/// Numbers near zero, of either sign, take few bytes.
fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}
