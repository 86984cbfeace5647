//! Reading a segment frame by frame, front to back.

use std::io;

use crate::frame::{self, ALIGNMENT, BadFrame, FrameHeader, FrameKind, HEADER_BYTES, Place, Position};
use crate::segment::Segment;

/// How much is read from the file at once.
const CHUNK_BYTES: usize = 1 << 20;

/// The frames of a part of a segment.
pub(crate) struct Frames<'a> {
    segment: &'a Segment,
    /// Where the next frame begins.
    offset: u64,
    /// Where the part ends: no frame goes beyond.
    end: u64,
    /// Checksum the next frame must name; `None` if it is not known.
    previous: Option<u32>,
    buffer: Vec<u8>,
    /// Offset of the buffer in the file, and how much of it is filled.
    buffered_from: u64,
    buffered: usize,
}

/// A frame that was verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: FrameKind,
    /// Where it begins in the file.
    pub(crate) offset: u64,
    /// Checksum of the frame before it.
    pub(crate) previous: u32,
    pub(crate) payload: &'a [u8],
}

/// What stops a scan.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The bytes at [`Frames::offset`] are not a frame.
    Bad(BadFrame),
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<BadFrame> for Stop {
    fn from(bad: BadFrame) -> Self {
        Self::Bad(bad)
    }
}

impl<'a> Frames<'a> {
    /// The frames of `from..end`. `previous` is the checksum of the frame before `from`, if it is known.
    pub(crate) fn new(segment: &'a Segment, from: u64, end: u64, previous: Option<u32>) -> Self {
        Self { segment, offset: from, end, previous, buffer: Vec::new(), buffered_from: from, buffered: 0 }
    }

    /// Where the next frame begins, or the bad one that ended the scan.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Checksum of the last frame that was read.
    pub(crate) fn previous(&self) -> Option<u32> {
        self.previous
    }

    /// The next frame; `None` at the end of the part.
    pub(crate) fn next(&mut self) -> Result<Option<Frame<'_>>, Stop> {
        if self.offset >= self.end {
            return Ok(None);
        }
        let header = self.header()?;
        if self.previous.is_some_and(|previous| previous != header.previous) {
            // Verified first: a damaged frame is damaged, not unchained.
            self.verified(&header)?;
            return Err(BadFrame::Unchained.into());
        }
        let kind = self.verified(&header)?;
        let offset = self.offset;
        let payload = header.length as usize;
        self.offset += frame::framed_bytes(payload);
        self.previous = Some(header.checksum);
        let payload = self.bytes_at(offset + HEADER_BYTES as u64, payload)?;
        Ok(Some(Frame { kind, offset, previous: header.previous, payload }))
    }

    /// The next note of a flush, wherever it is: what stands between need not be intact. `None` if there is none up to the end.
    ///
    /// Only notes are looked for, whose length is known: bytes made to look like many long frames cost nothing.
    pub(crate) fn find_flush(&mut self) -> Result<Option<Position>, Stop> {
        while self.offset + HEADER_BYTES as u64 <= self.end {
            let found = match self.header() {
                Ok(header) if header.is_flush() => self.verified(&header).map(|_| true),
                other => other.map(|_| false),
            };
            let payload_at = self.offset + HEADER_BYTES as u64;
            self.offset += ALIGNMENT;
            match found {
                Ok(true) => return Ok(Position::decode(self.bytes_at(payload_at, Position::BYTES)?)),
                Ok(false) | Err(Stop::Bad(_)) => (),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Whether any frame up to the end is intact, wherever it is. Gives up, and answers no, after `budget` bytes of what merely looks
    /// like frames.
    pub(crate) fn has_intact(&mut self, mut budget: u64) -> io::Result<bool> {
        while self.offset + HEADER_BYTES as u64 <= self.end {
            let found = self.header().and_then(|header| {
                budget = budget.saturating_sub(u64::from(header.length));
                self.verified(&header)
            });
            match found {
                Ok(_) => return Ok(true),
                Err(Stop::Io(error)) => return Err(error),
                Err(Stop::Bad(_)) if budget == 0 => return Ok(false),
                Err(Stop::Bad(_)) => self.offset += ALIGNMENT,
            }
        }
        Ok(false)
    }

    /// One past the last byte of `from..end` that is not zero; `from` if all are.
    pub(crate) fn written_end(segment: &Segment, from: u64, end: u64) -> io::Result<u64> {
        let mut written = from;
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut offset = from;
        while let Some(data) = segment.file.next_data(offset)?.filter(|data| *data < end) {
            offset = data;
            let n = segment.file.read_at(offset, &mut buffer)?;
            if n == 0 {
                break;
            }
            let chunk = buffer.get(..n).unwrap_or_default();
            if let Some(last) = chunk.iter().rposition(|byte| *byte != 0) {
                written = offset + last as u64 + 1;
            }
            offset += n as u64;
        }
        Ok(written.min(end))
    }

    fn header(&mut self) -> Result<FrameHeader, Stop> {
        if self.offset + HEADER_BYTES as u64 > self.end {
            let rest = usize::try_from(self.end - self.offset).unwrap_or(0);
            let blank = self.bytes_at(self.offset, rest)?.iter().all(|byte| *byte == 0);
            return Err(if blank { BadFrame::Blank } else { BadFrame::NoFrame }.into());
        }
        let offset = self.offset;
        let bytes = self.bytes_at(offset, HEADER_BYTES)?.first_chunk().ok_or(BadFrame::NoFrame)?;
        let header = FrameHeader::parse(bytes)?;
        if offset + HEADER_BYTES as u64 + u64::from(header.length) > self.end {
            return Err(BadFrame::CutOff { length: header.length }.into());
        }
        Ok(header)
    }

    fn verified(&mut self, header: &FrameHeader) -> Result<FrameKind, Stop> {
        let place = Place { segment: u64::from(self.segment.id), salt: self.segment.salt, offset: self.offset };
        let payload = self.bytes_at(self.offset + HEADER_BYTES as u64, header.length as usize)?;
        Ok(header.verify(place, payload)?)
    }

    /// Bytes of the file, read ahead. What the file does not have is missing from the answer.
    fn bytes_at(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let buffered_end = self.buffered_from + self.buffered as u64;
        if offset < self.buffered_from || offset + length as u64 > buffered_end {
            let ahead = usize::try_from(self.end - offset).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let wanted = length.max(ahead);
            if self.buffer.len() < wanted {
                self.buffer.resize(wanted, 0);
            }
            self.buffered_from = offset;
            self.buffered = self.segment.file.read_at(offset, self.buffer.get_mut(..wanted).unwrap_or_default())?;
        }
        let start = usize::try_from(offset - self.buffered_from).unwrap_or(usize::MAX);
        Ok(self.buffer.get(start..(start + length).min(self.buffered)).unwrap_or_default())
    }
}
