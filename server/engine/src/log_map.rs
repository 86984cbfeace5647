//! Where the batches of the log are: the newest in memory, all of them in segments.
//!
//! Shared by the writer and by those who read the log back, for replication and for moving slots.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use simplekv_types::{Batch, Lsn};

use crate::engine::Shared;
use crate::error::ReadLogError;
use crate::frame::{BadFrame, FrameKind, Position, read_batch};
use crate::segment::{FIRST_FRAME, Frames, Segment, Stop};

/// Within a segment, every so many bytes a batch can be gone to directly.
const INDEX_BYTES: u64 = 64 << 10;

/// The segments of the log and its newest batches.
#[derive(Debug)]
pub(crate) struct LogMap {
    /// In log order; the last one is active.
    segments: Vec<Mapped>,
    /// The newest batches, contiguous up to `end`.
    tail: VecDeque<Batch>,
    tail_bytes: usize,
    tail_bytes_max: usize,
    /// The first record that can be read.
    start: Lsn,
    end: Lsn,
}

#[derive(Debug)]
struct Mapped {
    segment: Segment,
    /// The first record in it.
    base: Lsn,
    /// Where its part of the log ends, in bytes.
    end: u64,
    /// Some of its batches with their offsets, in order.
    index: Vec<(Lsn, u64)>,
}

/// Where to read next.
enum Source {
    Memory(Vec<Batch>),
    Disk { segment: Segment, from: u64, end: u64 },
}

impl LogMap {
    pub(crate) fn new(tail_bytes_max: usize) -> Self {
        Self {
            segments: Vec::new(),
            tail: VecDeque::new(),
            tail_bytes: 0,
            tail_bytes_max,
            start: Lsn::ZERO,
            end: Lsn::ZERO,
        }
    }

    pub(crate) fn start(&self) -> Lsn {
        self.start
    }

    /// The log goes on in another segment, from where `from` is on. What the map knows beyond is no longer part of the log.
    /// Nothing but the segment's beginning is written yet, up to `end`.
    pub(crate) fn roll(&mut self, segment: Segment, from: Position, end: u64) {
        self.truncate(from);
        self.segments.push(Mapped { segment, base: from.lsn, end, index: Vec::new() });
    }

    /// A batch stands at `offset` of the last segment, up to `end`.
    pub(crate) fn push(&mut self, batch: Batch, offset: u64, end: u64) {
        assert!(batch.base == self.end, "a batch at {} after the log's end {}", batch.base, self.end);
        let last = self.segments.last_mut().expect("the log always has an active segment");
        last.end = end;
        if last.index.last().is_none_or(|(_, indexed)| offset >= indexed + INDEX_BYTES) {
            last.index.push((batch.base, offset));
        }
        self.end = batch.end();
        self.tail_bytes += batch.records.len();
        self.tail.push_back(batch);
        while self.tail.len() > 1 && self.tail_bytes > self.tail_bytes_max {
            let dropped = self.tail.pop_front();
            self.tail_bytes -= dropped.map_or(0, |batch| batch.records.len());
        }
    }

    /// Bytes written to each segment, in log order.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (&Segment, u64)> {
        self.segments.iter().map(|mapped| (&mapped.segment, mapped.end))
    }

    fn truncate(&mut self, to: Position) {
        while let Some(batch) = self.tail.pop_back_if(|batch| batch.base >= to.lsn) {
            self.tail_bytes -= batch.records.len();
        }
        self.segments.retain(|mapped| u64::from(mapped.segment.id) <= to.segment);
        if let Some(last) = self.segments.last_mut() {
            last.end = to.offset;
            last.index.retain(|(lsn, _)| *lsn < to.lsn);
        }
        self.end = to.lsn;
    }

    fn source(&self, from: Lsn, max_bytes: usize) -> Result<Source, ReadLogError> {
        if from < self.start {
            return Err(ReadLogError::BelowLogStart { log_start: self.start });
        }
        if from >= self.end || self.tail.front().is_some_and(|first| first.base <= from) {
            return Ok(Source::Memory(self.tail_from(from, max_bytes)));
        }
        // The last segment that begins at or before the record; an empty one shares its base with the next.
        let after = self.segments.partition_point(|mapped| mapped.base <= from);
        let Some(mapped) = after.checked_sub(1).and_then(|index| self.segments.get(index)) else {
            return Err(ReadLogError::BelowLogStart { log_start: self.start });
        };
        let known = mapped.index.partition_point(|(lsn, _)| *lsn <= from);
        let offset =
            known.checked_sub(1).and_then(|index| mapped.index.get(index)).map_or(FIRST_FRAME, |(_, offset)| *offset);
        Ok(Source::Disk { segment: mapped.segment.clone(), from: offset, end: mapped.end })
    }

    fn tail_from(&self, from: Lsn, max_bytes: usize) -> Vec<Batch> {
        let first = self.tail.partition_point(|batch| batch.end() <= from);
        let mut bytes = 0;
        let mut batches = Vec::new();
        for batch in self.tail.range(first..) {
            if !batches.is_empty() && bytes + batch.records.len() > max_bytes {
                break;
            }
            bytes += batch.records.len();
            batches.push(batch.clone());
        }
        batches
    }
}

/// Reads the log back, from any thread. Cheap to clone. Recent batches come from memory, older ones from disk: then a call blocks.
#[derive(Clone, Debug)]
pub struct LogReader {
    shared: Arc<Shared>,
}

impl LogReader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Batches from the one that contains `from` on, contiguous, at least one if there is any and else up to about `max_bytes` of
    /// records. Empty at the end of the log. What is read may be truncated at the same time: whoever may truncate must check that
    /// nothing has happened since.
    ///
    /// # Errors
    /// [`ReadLogError`].
    pub fn read(&self, from: Lsn, max_bytes: usize) -> Result<Vec<Batch>, ReadLogError> {
        let (segment, offset, end) = match self.shared.log.read().source(from, max_bytes)? {
            Source::Memory(batches) => return Ok(batches),
            Source::Disk { segment, from, end } => (segment, from, end),
        };
        read_segment(&segment, offset, end, from, max_bytes)
    }

    /// The first record that can be read.
    #[must_use]
    pub fn log_start(&self) -> Lsn {
        self.shared.log.read().start()
    }
}

fn read_segment(
    segment: &Segment,
    offset: u64,
    end: u64,
    from: Lsn,
    max_bytes: usize,
) -> Result<Vec<Batch>, ReadLogError> {
    let mut frames = Frames::new(segment, offset, end, None);
    let mut batches: Vec<Batch> = Vec::new();
    let mut bytes = 0;
    loop {
        let at = frames.offset();
        let corrupt = |reason| ReadLogError::Corrupt { segment: u64::from(segment.id), offset: at, reason };
        let frame = match frames.next() {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(batches),
            Err(Stop::Bad(reason)) => return Err(corrupt(reason)),
            Err(Stop::Io(error)) => return Err(ReadLogError::Io { segment: u64::from(segment.id), error }),
        };
        if frame.kind != FrameKind::Batch {
            continue;
        }
        let batch = read_batch(frame.payload, Bytes::copy_from_slice).ok_or_else(|| corrupt(BadFrame::NoFrame))?;
        if batch.end() <= from {
            continue;
        }
        if !batches.is_empty() && bytes + batch.records.len() > max_bytes {
            return Ok(batches);
        }
        bytes += batch.records.len();
        batches.push(batch);
    }
}
