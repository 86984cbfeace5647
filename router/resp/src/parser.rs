//! From bytes to requests.
//!
//! A request is a flat array of bulk strings, or one line of words. The parser is fed a buffer that only grows between calls; it
//! remembers how far it understood, so that a large request costs one pass however it arrives in pieces. It allocates nothing for
//! a length it was merely told.

use bytes::{Buf, Bytes, BytesMut};
use smallvec::SmallVec;

use crate::error::ProtocolError;
use crate::inline;

/// The words of one request, its command's name first. They are slices of the buffer they arrived in: a word that is kept for long
/// keeps that buffer, and should be copied.
pub type Args = SmallVec<[Bytes; 3]>;

/// What a request may not exceed. A request over a limit ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Most bytes of one request, framing included.
    pub request_bytes: usize,
    /// Most bytes of one argument.
    pub argument_bytes: usize,
    /// Most arguments, the command's name included.
    pub arguments: usize,
    /// Most bytes of a request on one line.
    pub inline_bytes: usize,
    /// Whether the client has yet to authenticate, which only changes what it is told.
    pub unauthenticated: bool,
}

impl RequestLimits {
    /// What a client may send before it has authenticated: enough for HELLO and AUTH.
    pub const UNAUTHENTICATED: Self = Self {
        request_bytes: 10 * 16_384,
        argument_bytes: 16_384,
        arguments: 10,
        inline_bytes: 16_384,
        unauthenticated: true,
    };
}

impl Default for RequestLimits {
    /// 64 MiB a request, 16 MiB an argument, a million arguments, 64 KiB a line.
    fn default() -> Self {
        Self {
            request_bytes: 64 << 20,
            argument_bytes: 16 << 20,
            arguments: 1 << 20,
            inline_bytes: 64 << 10,
            unauthenticated: false,
        }
    }
}

/// Cuts one connection's bytes into requests.
///
/// After an error the connection cannot be understood any more: answer the error and close it.
#[derive(Debug)]
pub struct Parser {
    limits: RequestLimits,
    stage: Stage,
    /// Where the part not yet understood begins. Invariant: at most the length of the buffer.
    pos: usize,
    /// Where the arguments found so far lie.
    spans: SmallVec<[Span; 8]>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Between requests, or inside a line of which `searched` bytes hold no end.
    Start { searched: usize },
    /// At the length of the next of `missing` arguments.
    Length { missing: usize },
    /// Inside the next of `missing` arguments.
    Argument { missing: usize, len: usize },
}

impl Default for Parser {
    fn default() -> Self {
        Self::new(RequestLimits::default())
    }
}

impl Parser {
    /// A parser at the beginning of a connection.
    #[must_use]
    pub fn new(limits: RequestLimits) -> Self {
        Self { limits, stage: Stage::Start { searched: 0 }, pos: 0, spans: SmallVec::new() }
    }

    /// Changes the limits, as after authentication. A request already begun is held to the new ones from here on.
    pub fn set_limits(&mut self, limits: RequestLimits) {
        self.limits = limits;
    }

    /// Takes the next complete request off the front of `buf`; `None` when more bytes are needed. Between calls bytes may only be
    /// appended to `buf`. What stays in it after `None` is an unfinished request.
    ///
    /// # Errors
    /// [`ProtocolError`] if the bytes are not a request or exceed a limit.
    pub fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Args>, ProtocolError> {
        loop {
            match self.stage {
                Stage::Start { searched } => match buf.first() {
                    None => return Ok(None),
                    Some(b'*') => {
                        if !self.begin(buf)? {
                            return Ok(None);
                        }
                    }
                    Some(_) => match self.line(buf, searched)? {
                        None => return Ok(None),
                        Some(args) if args.is_empty() => (),
                        Some(args) => return Ok(Some(args)),
                    },
                },
                Stage::Length { missing } => {
                    if !self.length(buf, missing)? {
                        return Ok(None);
                    }
                }
                Stage::Argument { missing, len } => {
                    if !self.argument(buf, missing, len)? {
                        return Ok(None);
                    }
                    if missing == 1 {
                        return Ok(Some(self.take(buf)));
                    }
                }
            }
        }
    }

    /// Reads how many arguments follow. False when more bytes are needed.
    fn begin(&mut self, buf: &mut BytesMut) -> Result<bool, ProtocolError> {
        let Some(header) = header(buf.get(1..).unwrap_or_default()).ok_or(ProtocolError::ArgumentCount)? else {
            return Ok(false);
        };
        let Ok(count) = usize::try_from(header.number) else {
            // No arguments: nothing is asked, nothing is answered.
            buf.advance(1 + header.len);
            return Ok(true);
        };
        if count > self.limits.arguments {
            return Err(match self.limits.unauthenticated {
                true => ProtocolError::UnauthenticatedArgumentCount,
                false => ProtocolError::ArgumentCount,
            });
        }
        if count == 0 {
            buf.advance(1 + header.len);
            return Ok(true);
        }
        self.pos = 1 + header.len;
        self.stage = Stage::Length { missing: count };
        Ok(true)
    }

    /// Reads the length of the next argument. False when more bytes are needed.
    fn length(&mut self, buf: &BytesMut, missing: usize) -> Result<bool, ProtocolError> {
        match buf.get(self.pos) {
            None => return Ok(false),
            Some(b'$') => (),
            Some(&other) => return Err(ProtocolError::ExpectedDollar { got: char::from(other) }),
        }
        let digits = buf.get(self.pos + 1..).unwrap_or_default();
        let Some(header) = header(digits).ok_or(ProtocolError::ArgumentLength)? else { return Ok(false) };
        let len = usize::try_from(header.number).map_err(|_| ProtocolError::ArgumentLength)?;
        if len > self.limits.argument_bytes {
            return Err(match self.limits.unauthenticated {
                true => ProtocolError::UnauthenticatedArgumentLength,
                false => ProtocolError::ArgumentLength,
            });
        }
        let start = self.pos + 1 + header.len;
        if start.saturating_add(len) > self.limits.request_bytes {
            return Err(ProtocolError::RequestTooLarge { limit: self.limits.request_bytes });
        }
        self.pos = start;
        self.stage = Stage::Argument { missing, len };
        Ok(true)
    }

    /// Steps over the next argument. False when more bytes are needed.
    fn argument(&mut self, buf: &BytesMut, missing: usize, len: usize) -> Result<bool, ProtocolError> {
        let end = self.pos + len;
        match buf.get(end..end + 2) {
            None => return Ok(false),
            Some(b"\r\n") => (),
            Some(_) => return Err(ProtocolError::ArgumentEnd),
        }
        self.spans.push(Span { start: self.pos, end });
        self.pos = end + 2;
        self.stage = Stage::Length { missing: missing - 1 };
        Ok(true)
    }

    /// Takes the request off the buffer whose arguments lie at the spans.
    fn take(&mut self, buf: &mut BytesMut) -> Args {
        let mut frame = buf.split_to(self.pos).freeze();
        let mut args = Args::new();
        if let Some((last, others)) = self.spans.split_last() {
            args.reserve(self.spans.len());
            args.extend(others.iter().map(|span| frame.slice(span.start..span.end)));
            // The last one is the frame itself, cut to size: one reference less to count.
            frame.truncate(last.end);
            frame.advance(last.start);
            args.push(frame);
        }
        // Keeps the room of a request with many arguments only if it is small: connections are many.
        if self.spans.len() > 256 {
            self.spans = SmallVec::new();
        } else {
            self.spans.clear();
        }
        self.pos = 0;
        self.stage = Stage::Start { searched: 0 };
        args
    }

    /// Takes a request on one line. Empty if the line is.
    fn line(&mut self, buf: &mut BytesMut, searched: usize) -> Result<Option<Args>, ProtocolError> {
        let unread = buf.get(searched..).unwrap_or_default();
        let end = unread.iter().position(|&byte| byte == b'\n').map(|at| searched + at);
        if end.unwrap_or(buf.len()) > self.limits.inline_bytes {
            return Err(ProtocolError::LineTooLong);
        }
        let Some(end) = end else {
            self.stage = Stage::Start { searched: buf.len() };
            return Ok(None);
        };
        let mut line = buf.split_to(end + 1).freeze();
        line.truncate(if line.ends_with(b"\r\n") { end - 1 } else { end });
        self.stage = Stage::Start { searched: 0 };
        let args = inline::split(&line)?;
        if args.len() > self.limits.arguments {
            return Err(ProtocolError::ArgumentCount);
        }
        Ok(Some(args))
    }
}

struct Header {
    number: i64,
    /// Bytes it takes up, its line end included.
    len: usize,
}

/// Reads a number and its line end. `None` if there is none, `Some(None)` if it is incomplete.
///
/// Judges each byte as it comes, so that the verdict cannot depend on how the bytes were cut.
fn header(bytes: &[u8]) -> Option<Option<Header>> {
    let (negative, digits) = match bytes {
        [] => return Some(None),
        // Nearly all: a request has few arguments, and they are short.
        [digit @ b'0'..=b'9', b'\r', b'\n', ..] => {
            return Some(Some(Header { number: i64::from(digit - b'0'), len: 3 }));
        }
        [tens @ b'1'..=b'9', digit @ b'0'..=b'9', b'\r', b'\n', ..] => {
            return Some(Some(Header { number: i64::from(tens - b'0') * 10 + i64::from(digit - b'0'), len: 4 }));
        }
        [b'-', rest @ ..] => (true, rest),
        _ => (false, bytes),
    };
    let mut magnitude: i64 = 0;
    for (count, &byte) in digits.iter().enumerate() {
        match byte {
            // A number is spelled without leading zeros; a lone zero has no sign.
            b'0'..=b'9' if count == 0 || magnitude > 0 => {
                magnitude = magnitude.checked_mul(10)?.checked_add(i64::from(byte - b'0'))?;
            }
            b'\r' if count > 0 && !(negative && magnitude == 0) => {
                let len = usize::from(negative) + count + 2;
                let number = if negative { -magnitude } else { magnitude };
                return match digits.get(count + 1) {
                    None => Some(None),
                    Some(b'\n') => Some(Some(Header { number, len })),
                    Some(_) => None,
                };
            }
            _ => return None,
        }
    }
    Some(None)
}

#[cfg(test)]
mod tests;
