//! From bytes to replies, for those who ask: tests, benchmarks and the command line.

use bytes::{Buf, Bytes, BytesMut};

use crate::error::ReplyError;
use crate::number::parse_i64;

/// One reply as it came over the wire, RESP2 or RESP3.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// `+`: a status line.
    Status(Bytes),
    /// `-` or `!`: an error, its code first.
    Error(Bytes),
    /// `:`.
    Int(i64),
    /// `$`.
    Bulk(Bytes),
    /// `=`: text, without its format hint.
    Text(Bytes),
    /// `_`, `$-1` or `*-1`.
    Null,
    /// `,`.
    Double(f64),
    /// `#`.
    Bool(bool),
    /// `(`: the digits of a number too long for `Int`.
    BigNumber(Bytes),
    /// `*`.
    Array(Vec<Frame>),
    /// `%`.
    Map(Vec<(Frame, Frame)>),
    /// `~`.
    Set(Vec<Frame>),
    /// `>`: not an answer to anything that was asked.
    Push(Vec<Frame>),
}

impl Frame {
    /// The bytes of a string, text, status or error.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Status(bytes) | Self::Error(bytes) | Self::Bulk(bytes) | Self::Text(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// Deepest nesting of a reply. Nothing this project answers comes near it; a server must not exhaust its client's stack.
const DEPTH_MAX: usize = 128;
/// Longest reply unless the reader says otherwise.
const REPLY_BYTES_MAX: usize = 1 << 30;
/// Longest line: an error, a status, a number.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Cuts a connection's bytes into replies.
///
/// Remembers the arrays it is inside of, so that a long reply costs one pass however it arrives in pieces. After an error the
/// connection cannot be understood any more.
#[derive(Debug)]
pub struct Decoder {
    /// The aggregates not yet complete, outermost first. Invariant: at most [`DEPTH_MAX`].
    open: Vec<Open>,
    /// Bytes of the current reply already taken off the buffer.
    taken: usize,
    reply_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Array,
    Map,
    Set,
    Push,
    /// Pairs that describe the reply which follows; dropped.
    Attribute,
}

#[derive(Debug)]
struct Open {
    kind: Kind,
    /// How many elements are still to come. Invariant: at least 1.
    missing: usize,
    items: Vec<Frame>,
}

enum Piece {
    Whole(Frame),
    Begin(Kind, usize),
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder at the beginning of a connection.
    #[must_use]
    pub fn new() -> Self {
        Self { open: Vec::new(), taken: 0, reply_bytes: REPLY_BYTES_MAX }
    }

    /// Accepts only replies of up to this many bytes.
    #[must_use]
    pub fn with_limit(mut self, reply_bytes: usize) -> Self {
        self.reply_bytes = reply_bytes;
        self
    }

    /// Takes the next complete reply off the front of `buf`; `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`ReplyError`] if the bytes are not a reply or exceed a limit.
    pub fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Frame>, ReplyError> {
        loop {
            let before = buf.len();
            let Some(piece) = self.piece(buf)? else {
                // A reply in one piece is limited while it still arrives.
                return if self.taken + buf.len() > self.reply_bytes { Err(self.too_large()) } else { Ok(None) };
            };
            self.taken += before - buf.len();
            if self.taken > self.reply_bytes {
                return Err(self.too_large());
            }
            let complete = match piece {
                Piece::Whole(frame) => self.close(frame),
                Piece::Begin(Kind::Attribute, 0) => None,
                Piece::Begin(kind, 0) => self.close(finish(kind, Vec::new())),
                Piece::Begin(_, _) if self.open.len() >= DEPTH_MAX => {
                    return Err(ReplyError::TooDeep { limit: DEPTH_MAX });
                }
                Piece::Begin(kind, missing) => {
                    self.open.push(Open { kind, missing, items: Vec::new() });
                    None
                }
            };
            if let Some(frame) = complete {
                self.taken = 0;
                return Ok(Some(frame));
            }
        }
    }

    fn too_large(&self) -> ReplyError {
        ReplyError::TooLarge { limit: self.reply_bytes }
    }

    /// Puts a frame where it belongs, and every aggregate it completes. Returns the reply if that is complete.
    fn close(&mut self, mut frame: Frame) -> Option<Frame> {
        while let Some(mut open) = self.open.pop() {
            open.items.push(frame);
            open.missing -= 1;
            if open.missing > 0 {
                self.open.push(open);
                return None;
            }
            if matches!(open.kind, Kind::Attribute) {
                return None;
            }
            frame = finish(open.kind, open.items);
        }
        Some(frame)
    }

    /// Takes one line, and the string that belongs to it, off the buffer.
    fn piece(&self, buf: &mut BytesMut) -> Result<Option<Piece>, ReplyError> {
        let Some(&kind) = buf.first() else { return Ok(None) };
        let Some(end) = line_end(buf)? else { return Ok(None) };
        let line = buf.get(1..end).unwrap_or_default();
        match kind {
            b'$' | b'=' | b'!' => {
                let Some(len) = length(line)? else {
                    buf.advance(end + 2);
                    return Ok(Some(Piece::Whole(Frame::Null)));
                };
                if len > self.reply_bytes {
                    return Err(self.too_large());
                }
                string(buf, kind, end + 2, len)
            }
            b'*' | b'%' | b'~' | b'>' | b'|' => {
                let piece = aggregate(kind, line)?;
                buf.advance(end + 2);
                Ok(Some(piece))
            }
            _ => {
                scalar_is_known(kind)?;
                let mut line = buf.split_to(end + 2).freeze();
                line.truncate(end);
                line.advance(1);
                Ok(Some(Piece::Whole(scalar(kind, line)?)))
            }
        }
    }
}

fn line_end(buf: &[u8]) -> Result<Option<usize>, ReplyError> {
    match buf.windows(2).take(LINE_BYTES_MAX).position(|pair| pair == b"\r\n") {
        Some(end) => Ok(Some(end)),
        None if buf.len() > LINE_BYTES_MAX => Err(ReplyError::TooLarge { limit: LINE_BYTES_MAX }),
        None => Ok(None),
    }
}

/// A length or count; `None` for -1, RESP2's null.
fn length(line: &[u8]) -> Result<Option<usize>, ReplyError> {
    match parse_i64(line) {
        Some(-1) => Ok(None),
        Some(number) => usize::try_from(number).map(Some).map_err(|_| misspelled(line)),
        None => Err(misspelled(line)),
    }
}

fn misspelled(line: &[u8]) -> ReplyError {
    ReplyError::Number(String::from_utf8_lossy(line).into_owned())
}

fn string(buf: &mut BytesMut, kind: u8, start: usize, len: usize) -> Result<Option<Piece>, ReplyError> {
    match buf.get(start + len..start + len + 2) {
        None => return Ok(None),
        Some(b"\r\n") => (),
        Some(_) => return Err(ReplyError::StringEnd),
    }
    buf.advance(start);
    let bytes = buf.split_to(len).freeze();
    buf.advance(2);
    Ok(Some(Piece::Whole(match kind {
        b'!' => Frame::Error(bytes),
        // The format is three characters and a colon.
        b'=' => Frame::Text(bytes.slice(bytes.len().min(4)..)),
        _ => Frame::Bulk(bytes),
    })))
}

fn aggregate(kind: u8, line: &[u8]) -> Result<Piece, ReplyError> {
    let (kind, factor) = match kind {
        b'*' => (Kind::Array, 1),
        b'%' => (Kind::Map, 2),
        b'~' => (Kind::Set, 1),
        b'|' => (Kind::Attribute, 2),
        _ => (Kind::Push, 1),
    };
    match length(line)? {
        None => Ok(Piece::Whole(Frame::Null)),
        Some(count) => Ok(Piece::Begin(kind, count.checked_mul(factor).ok_or_else(|| misspelled(line))?)),
    }
}

fn scalar_is_known(kind: u8) -> Result<(), ReplyError> {
    match kind {
        b'+' | b'-' | b':' | b',' | b'(' | b'#' | b'_' => Ok(()),
        other => Err(ReplyError::UnknownType(other)),
    }
}

fn scalar(kind: u8, line: Bytes) -> Result<Frame, ReplyError> {
    Ok(match (kind, &line[..]) {
        (b'+', _) => Frame::Status(line),
        (b'-', _) => Frame::Error(line),
        (b'(', _) => Frame::BigNumber(line),
        (b':', digits) => Frame::Int(parse_i64(digits).ok_or_else(|| misspelled(digits))?),
        (b',', text) => {
            let text = std::str::from_utf8(text).map_err(|_| misspelled(text))?;
            Frame::Double(text.parse().map_err(|_| misspelled(text.as_bytes()))?)
        }
        (b'#', b"t") => Frame::Bool(true),
        (b'#', b"f") => Frame::Bool(false),
        (b'_', b"") => Frame::Null,
        (_, other) => return Err(misspelled(other)),
    })
}

fn finish(kind: Kind, items: Vec<Frame>) -> Frame {
    match kind {
        Kind::Array => Frame::Array(items),
        Kind::Set => Frame::Set(items),
        Kind::Push => Frame::Push(items),
        Kind::Map | Kind::Attribute => {
            let mut pairs = Vec::with_capacity(items.len() / 2);
            let mut items = items.into_iter();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                pairs.push((key, value));
            }
            Frame::Map(pairs)
        }
    }
}

#[cfg(test)]
mod tests;
