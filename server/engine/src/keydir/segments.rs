//! The segments that records are read from, and how many of their bytes are live.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::Location;
use crate::fs::{File, Map, read_exact_at};

/// No more of a record is fetched ahead: behind that the processor sees by itself what is wanted.
const TOUCHED_BYTES: usize = 512;
const CACHE_LINE_BYTES: usize = 64;

/// The segments of the log, by number.
#[derive(Debug)]
pub(super) struct Segments {
    /// Number of the first row.
    first: u32,
    rows: Vec<Option<SegmentRow>>,
    /// Segments with a mapping, oldest first, and the bytes they map together.
    mapped: VecDeque<u32>,
    mapped_bytes: u64,
    mapped_bytes_max: u64,
}

#[derive(Debug)]
struct SegmentRow {
    source: Arc<Source>,
    live_bytes: u64,
}

/// Where a segment's records are read from.
#[derive(Debug)]
pub(crate) struct Source {
    file: Arc<dyn File>,
    map: Option<Arc<dyn Map>>,
    /// Bytes that are mapped.
    mapped_bytes: u64,
}

impl Segments {
    /// Up to `mapped_bytes_max` bytes of the newest segments are mapped.
    pub(super) fn new(mapped_bytes_max: u64) -> Self {
        Self { first: 0, rows: Vec::new(), mapped: VecDeque::new(), mapped_bytes: 0, mapped_bytes_max }
    }

    pub(super) fn source(&self, segment: u32) -> Option<&Arc<Source>> {
        self.row(segment).map(|row| &row.source)
    }

    pub(super) fn live_bytes(&self, segment: u32) -> u64 {
        self.row(segment).map_or(0, |row| row.live_bytes)
    }

    /// Takes up a segment, which is as long as it will ever be, and returns the mappings that must give way to it.
    pub(super) fn add(&mut self, segment: u32, file: Arc<dyn File>) -> Vec<Arc<Source>> {
        if self.rows.is_empty() {
            self.first = segment;
        }
        let row = segment.checked_sub(self.first).expect("segments are added in order") as usize;
        assert!(row >= self.rows.len(), "segment {segment} is added twice");
        let source = Source::open(file, self.mapped_bytes_max);
        if source.map.is_some() {
            self.mapped.push_back(segment);
            self.mapped_bytes += source.mapped_bytes;
        }
        self.rows.resize_with(row, || None);
        self.rows.push(Some(SegmentRow { source: Arc::new(source), live_bytes: 0 }));
        let mut retired = Vec::new();
        while self.mapped_bytes > self.mapped_bytes_max
            && let Some(oldest) = self.mapped.pop_front()
        {
            retired.extend(self.unmap(oldest));
        }
        retired
    }

    /// Takes a segment none of whose records is live out of use.
    pub(super) fn remove(&mut self, segment: u32) {
        self.unmap(segment);
        self.mapped.retain(|mapped| *mapped != segment);
        let row = segment.checked_sub(self.first).and_then(|row| self.rows.get_mut(row as usize));
        if let Some(row) = row {
            assert!(row.as_ref().is_none_or(|row| row.live_bytes == 0), "segment {segment} still has live records");
            *row = None;
        }
    }

    pub(super) fn add_live(&mut self, location: Location) {
        self.row_mut(location.segment).live_bytes += u64::from(location.length);
    }

    pub(super) fn sub_live(&mut self, location: Location) {
        let row = self.row_mut(location.segment);
        row.live_bytes = row.live_bytes.checked_sub(u64::from(location.length)).expect("live bytes are exact");
    }

    /// The segment is read through its file from now on.
    fn unmap(&mut self, segment: u32) -> Option<Arc<Source>> {
        let source = &self.row(segment)?.source;
        let mapped_bytes = source.mapped_bytes;
        let unmapped = Source { file: Arc::clone(&source.file), map: None, mapped_bytes: 0 };
        self.mapped_bytes -= mapped_bytes;
        Some(std::mem::replace(&mut self.row_mut(segment).source, Arc::new(unmapped)))
    }

    fn row(&self, segment: u32) -> Option<&SegmentRow> {
        self.rows.get(segment.checked_sub(self.first)? as usize)?.as_ref()
    }

    fn row_mut(&mut self, segment: u32) -> &mut SegmentRow {
        let row = segment.checked_sub(self.first).and_then(|row| self.rows.get_mut(row as usize));
        row.and_then(Option::as_mut).expect("a record's segment is known as long as the record is live")
    }
}

impl Source {
    fn open(file: Arc<dyn File>, mapped_bytes_max: u64) -> Self {
        let length = file.length().ok().filter(|length| (1..=mapped_bytes_max).contains(length));
        // A mapping is only the faster way: where there is none, reads go through the file, and say what is wrong with it.
        let map = length.and_then(|length| file.map(length).ok().flatten());
        let mapped_bytes = length.filter(|_| map.is_some()).unwrap_or(0);
        Self { file, map, mapped_bytes }
    }

    /// Brings the beginning of a record that is mapped into the processor's caches.
    #[inline]
    pub(crate) fn touch(&self, location: Location) {
        let length = (location.length as usize).min(TOUCHED_BYTES);
        if let Some(bytes) = self.map.as_ref().and_then(|map| map.bytes(u64::from(location.offset), length)) {
            let lines = bytes.iter().step_by(CACHE_LINE_BYTES).chain(bytes.last());
            std::hint::black_box(lines.fold(0_u8, |sum, byte| sum ^ byte));
        }
    }

    /// A record's bytes, whatever they are.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before the record does, else whatever the file answers.
    #[inline]
    pub(crate) fn read(&self, location: Location) -> io::Result<RecordBytes<'_>> {
        let (offset, length) = (u64::from(location.offset), location.length as usize);
        if let Some(bytes) = self.map.as_ref().and_then(|map| map.bytes(offset, length)) {
            return Ok(RecordBytes::Mapped(bytes));
        }
        let mut bytes = vec![0; length];
        read_exact_at(&*self.file, offset, &mut bytes)?;
        Ok(RecordBytes::Read(bytes))
    }
}

/// A record's bytes, in place or read.
#[derive(Debug)]
pub(crate) enum RecordBytes<'a> {
    Mapped(&'a [u8]),
    Read(Vec<u8>),
}

impl RecordBytes<'_> {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Read(bytes) => bytes,
        }
    }

    /// The bytes from `begins` on, for keeps. The record is at least that long.
    pub(crate) fn into_bytes_from(self, begins: usize) -> Bytes {
        match self {
            Self::Mapped(bytes) => Bytes::copy_from_slice(bytes.get(begins..).unwrap_or_default()),
            Self::Read(bytes) => {
                let mut bytes = Bytes::from(bytes);
                bytes.advance(begins);
                bytes
            }
        }
    }
}
