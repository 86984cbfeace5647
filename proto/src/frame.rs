//! The messages of a lane, read and written by hand.
//!
//! A lane carries millions of operations a second, and generated code makes several small objects of each. Here a frame keeps its
//! operations or replies as they travel, encoded one after the other: whoever sends writes each once, and whoever receives reads them in
//! place, their words and values being slices of the frame. The bytes are those of `data.proto`: tests hold them against the generated
//! messages.

use std::ops::Range;

use bytes::{Buf, BufMut, Bytes};
use prost::DecodeError;
use prost::Message;
use prost::encoding::{
    DecodeContext, WireType, bytes as bytes_field, check_wire_type, decode_key, decode_varint, encode_varint,
    encoded_len_varint, skip_field, uint64,
};
use smallvec::SmallVec;

use crate::answer::OpReply;
use crate::op::Op;

/// Messages of one repeated field, encoded one after the other, each with its key and length.
///
/// Invariant: every piece is such a sequence, and all pieces together hold `count` messages.
#[derive(Clone, Debug, Default)]
struct Items {
    pieces: SmallVec<[Bytes; 1]>,
    count: usize,
}

impl Items {
    fn push(&mut self, piece: Bytes, count: usize) {
        if count > 0 {
            self.count += count;
            self.pieces.push(piece);
        }
    }

    fn encoded_len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    fn encode(&self, out: &mut impl BufMut) {
        self.pieces.iter().for_each(|piece| out.put_slice(piece));
    }

    /// Each message without its key and length: the piece it lies in, and where.
    fn bodies(&self) -> impl Iterator<Item = (&Bytes, Range<usize>)> {
        self.pieces.iter().flat_map(|piece| {
            let mut at = 0;
            std::iter::from_fn(move || {
                let mut rest = piece.get(at..).filter(|rest| !rest.is_empty())?;
                // By the invariant there is a key of one byte, a length, and that many bytes.
                rest.advance(1);
                let len = usize::try_from(length(&mut rest).ok()?).ok()?;
                let start = piece.len() - rest.len();
                at = start.checked_add(len)?;
                Some((piece, start..at))
            })
        })
    }

    /// Takes the message at whose key `rest`, the part of `frame` that has not been read, begins. Those that lie one behind the other
    /// stay one piece, in `open`.
    fn take(&mut self, frame: &Bytes, rest: &mut &[u8], open: &mut Option<Range<usize>>) -> Result<(), DecodeError> {
        let begin = frame.len() - rest.len();
        rest.advance(1);
        delimited(rest)?;
        let end = frame.len() - rest.len();
        self.count += 1;
        match open {
            Some(piece) if piece.end == begin => piece.end = end,
            _ => self.close(frame, open.replace(begin..end)),
        }
        Ok(())
    }

    fn close(&mut self, frame: &Bytes, piece: Option<Range<usize>>) {
        if let Some(piece) = piece {
            self.pieces.push(frame.slice(piece));
        }
    }

    /// Takes one message out of a buffer of any kind, as the generated code would.
    fn merge(
        &mut self,
        key: u8,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        let mut body = Bytes::new();
        bytes_field::merge(wire_type, &mut body, buf, ctx)?;
        let mut piece = Vec::with_capacity(body.len() + 11);
        piece.push(key);
        encode_varint(body.len() as u64, &mut piece);
        piece.extend_from_slice(&body);
        self.push(piece.into(), 1);
        Ok(())
    }
}

/// A length or a small number: nearly always of one byte.
pub(crate) fn length(rest: &mut &[u8]) -> Result<u64, DecodeError> {
    match rest {
        [byte @ 0..0x80, tail @ ..] => {
            *rest = tail;
            Ok(u64::from(*byte))
        }
        _ => decode_varint(rest),
    }
}

/// Takes as many bytes off the front as the length says that stands there.
pub(crate) fn delimited<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let whole = *rest;
    let len = length(rest)?;
    match usize::try_from(len).ok().and_then(|len| rest.split_at_checked(len)) {
        Some((taken, tail)) => {
            *rest = tail;
            Ok(taken)
        }
        // Only the generated code's own reader can say what is wrong in its words.
        None => Err(skip_field(WireType::LengthDelimited, 1, &mut { whole }, DecodeContext::default())
            .expect_err("a length beyond the end is refused")),
    }
}

/// Appends a number.
pub(crate) fn put_varint(number: u64, out: &mut Vec<u8>) {
    match u8::try_from(number) {
        Ok(byte @ 0..0x80) => out.push(byte),
        _ => encode_varint(number, out),
    }
}

/// `RequestFrame.ops` as it begins each operation.
pub(crate) const OPS: u8 = 0x1a;
/// `ReplyFrame.replies` as it begins each reply.
pub(crate) const REPLIES: u8 = 0x0a;

/// Operations that travel together to a node. In `data.proto`: `RequestFrame`.
#[derive(Clone, Debug, Default)]
pub struct RequestFrame {
    /// 16 random bytes, the same on every lane and over every reconnect of one client process.
    pub client_id: Bytes,
    /// The slot map version the sender routed by; 0 if it knows none.
    pub map_version: u64,
    ops: Items,
}

impl RequestFrame {
    /// A frame without operations.
    #[must_use]
    pub fn new(client_id: Bytes, map_version: u64) -> Self {
        Self { client_id, map_version, ops: Items::default() }
    }

    /// Appends operations that [`Op::write`] and its like have written.
    pub fn push(&mut self, ops: Bytes, count: usize) {
        self.ops.push(ops, count);
    }

    /// How many operations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.count == 0
    }

    /// The operations in their order. One that is no operation ends the lane it came on.
    pub fn ops(&self) -> impl Iterator<Item = Result<Op, DecodeError>> {
        self.ops.bodies().map(|(piece, body)| Op::read(piece, body))
    }

    fn read(frame: &Bytes) -> Result<Self, DecodeError> {
        let mut read = Self::default();
        let (mut rest, mut open) = (&frame[..], None);
        while let Some(&key) = rest.first() {
            if key == OPS {
                read.ops.take(frame, &mut rest, &mut open)?;
                continue;
            }
            read.ops.close(frame, open.take());
            let (tag, wire_type) = decode_key(&mut rest)?;
            match tag {
                1 => {
                    check_wire_type(WireType::LengthDelimited, wire_type)?;
                    read.client_id = frame.slice_ref(delimited(&mut rest)?);
                }
                _ => read.merge_field(tag, wire_type, &mut rest, DecodeContext::default())?,
            }
        }
        read.ops.close(frame, open);
        Ok(read)
    }
}

impl Message for RequestFrame {
    fn encode_raw(&self, out: &mut impl BufMut) {
        if !self.client_id.is_empty() {
            bytes_field::encode(1, &self.client_id, out);
        }
        if self.map_version != 0 {
            uint64::encode(2, &self.map_version, out);
        }
        self.ops.encode(out);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        match tag {
            1 => bytes_field::merge(wire_type, &mut self.client_id, buf, ctx),
            2 => uint64::merge(wire_type, &mut self.map_version, buf, ctx),
            3 => self.ops.merge(OPS, wire_type, buf, ctx),
            _ => skip_field(wire_type, tag, buf, ctx),
        }
    }

    fn encoded_len(&self) -> usize {
        let client = if self.client_id.is_empty() { 0 } else { bytes_field::encoded_len(1, &self.client_id) };
        let version = if self.map_version == 0 { 0 } else { 1 + encoded_len_varint(self.map_version) };
        client + version + self.ops.encoded_len()
    }

    fn decode(mut buf: impl Buf) -> Result<Self, DecodeError> {
        Self::read(&buf.copy_to_bytes(buf.remaining()))
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Replies that travel together to a client. In `data.proto`: `ReplyFrame`.
#[derive(Clone, Debug, Default)]
pub struct ReplyFrame {
    replies: Items,
    /// Version of the topology the node knows; a greater one than the client's asks it to refresh.
    pub topology_version: u64,
}

impl ReplyFrame {
    /// A frame without replies.
    #[must_use]
    pub fn new(topology_version: u64) -> Self {
        Self { replies: Items::default(), topology_version }
    }

    /// Appends replies that [`OpReply::write`] has written.
    pub fn push(&mut self, replies: Bytes, count: usize) {
        self.replies.push(replies, count);
    }

    /// How many replies there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.replies.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.replies.count == 0
    }

    /// The replies in their order. One that is no reply ends the lane it came on.
    pub fn replies(&self) -> impl Iterator<Item = Result<OpReply, DecodeError>> {
        self.replies.bodies().map(|(piece, body)| OpReply::read(piece, body))
    }

    fn read(frame: &Bytes) -> Result<Self, DecodeError> {
        let mut read = Self::default();
        let (mut rest, mut open) = (&frame[..], None);
        while let Some(&key) = rest.first() {
            if key == REPLIES {
                read.replies.take(frame, &mut rest, &mut open)?;
                continue;
            }
            read.replies.close(frame, open.take());
            let (tag, wire_type) = decode_key(&mut rest)?;
            read.merge_field(tag, wire_type, &mut rest, DecodeContext::default())?;
        }
        read.replies.close(frame, open);
        Ok(read)
    }
}

impl Message for ReplyFrame {
    fn encode_raw(&self, out: &mut impl BufMut) {
        self.replies.encode(out);
        if self.topology_version != 0 {
            uint64::encode(2, &self.topology_version, out);
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        match tag {
            1 => self.replies.merge(REPLIES, wire_type, buf, ctx),
            2 => uint64::merge(wire_type, &mut self.topology_version, buf, ctx),
            _ => skip_field(wire_type, tag, buf, ctx),
        }
    }

    fn encoded_len(&self) -> usize {
        let version = if self.topology_version == 0 { 0 } else { 1 + encoded_len_varint(self.topology_version) };
        self.replies.encoded_len() + version
    }

    fn decode(mut buf: impl Buf) -> Result<Self, DecodeError> {
        Self::read(&buf.copy_to_bytes(buf.remaining()))
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests;
