//! Writing the log: frames into the active segment, and one segment after the other.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;

use simplekv_types::{Batch, Lsn};

use crate::directory::{Directory, Manifest};
use crate::frame::{self, BATCH_HEADER_BYTES, FrameKind, Link, Place, Position, framed_bytes, padding};
use crate::fs::Fs;
use crate::options::ReplicaIdentity;
use crate::segment::{self, FIRST_FRAME, Segment};

/// Everything a segment holds before its first batch: its link, and the note of a truncation.
pub(crate) const PREAMBLE_END: u64 = FIRST_FRAME + 64 + 24;

/// The writing end of a replica's log.
#[derive(Debug)]
pub(crate) struct Log {
    fs: Arc<dyn Fs>,
    dir: Directory,
    identity: ReplicaIdentity,
    segment_bytes: u64,
    manifest: Manifest,
    active: Active,
    /// Frame headers of the write being put together; kept for its memory.
    scratch: Vec<u8>,
}

/// The end of the active segment.
#[derive(Clone, Debug)]
pub(crate) struct Active {
    pub(crate) segment: Segment,
    /// Where the next frame goes.
    pub(crate) offset: u64,
    /// Room was reserved up to here.
    pub(crate) capacity: u64,
    /// Checksum of the last frame.
    pub(crate) checksum: u32,
}

/// Where a batch's frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FramePlace {
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    /// Checksum of the frame before it: where the log goes on if it is cut here.
    pub(crate) previous: u32,
}

/// A part of a write.
enum Part<'a> {
    Scratch(Range<usize>),
    Records(&'a [u8]),
}

impl Log {
    pub(crate) fn new(
        fs: Arc<dyn Fs>,
        dir: Directory,
        identity: ReplicaIdentity,
        segment_bytes: u64,
        manifest: Manifest,
        active: Active,
    ) -> Self {
        Self { fs, dir, identity, segment_bytes, manifest, active, scratch: Vec::new() }
    }

    pub(crate) fn fs(&self) -> &dyn Fs {
        &*self.fs
    }

    pub(crate) fn shared_fs(&self) -> Arc<dyn Fs> {
        Arc::clone(&self.fs)
    }

    pub(crate) fn dir(&self) -> &Directory {
        &self.dir
    }

    pub(crate) fn active(&self) -> &Active {
        &self.active
    }

    /// Whether frames of that many bytes fit into the active segment.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        self.active.offset + bytes <= self.active.capacity
    }

    /// Writes a SYNC frame and the batches with one write, and adds the place of each batch's frame to `frames`. They fit.
    ///
    /// # Errors
    /// Whatever the file answers; any part may have been written.
    pub(crate) fn write(
        &mut self,
        flushed: Option<Position>,
        batches: &[Batch],
        frames: &mut Vec<FramePlace>,
    ) -> io::Result<()> {
        self.scratch.clear();
        let mut parts: Vec<Part<'_>> = Vec::with_capacity(2 * batches.len() + 1);
        let mut end = self.active.clone();
        let mut begun = 0;
        if let Some(flushed) = flushed {
            end.add(FrameKind::Sync, &flushed.encode(), &[], &mut self.scratch);
        }
        for batch in batches {
            frames.push(FramePlace { segment: end.segment.id, offset: end.offset, previous: end.checksum });
            let padded = end.add(FrameKind::Batch, &frame::batch_header(batch), &batch.records, &mut self.scratch);
            parts.push(Part::Scratch(begun..self.scratch.len()));
            parts.push(Part::Records(&batch.records));
            begun = self.scratch.len();
            self.scratch.resize(begun + padded, 0);
        }
        parts.push(Part::Scratch(begun..self.scratch.len()));
        let slices: Vec<IoSlice<'_>> = parts
            .iter()
            .map(|part| match part {
                Part::Scratch(range) => IoSlice::new(self.scratch.get(range.clone()).unwrap_or_default()),
                Part::Records(records) => IoSlice::new(records),
            })
            .collect();
        self.active.segment.file.write_at(self.active.offset, &slices)?;
        self.active = end;
        Ok(())
    }

    /// Goes on in a new segment from `link` on, whose frame has `checksum`. `cut` says that records behind were truncated, `bytes` is
    /// what will be written next.
    ///
    /// The segment is durable, and listed, before anything is written to it.
    ///
    /// # Errors
    /// `StorageFull` if there was no room and nothing was changed. After any other error nothing may be assumed about the disk.
    pub(crate) fn roll(&mut self, link: &Link, checksum: u32, cut: Option<Lsn>, bytes: u64) -> io::Result<Active> {
        let id = self.manifest.next;
        let capacity = self.segment_bytes.max(PREAMBLE_END + bytes);
        let new = create_segment(&*self.fs, &self.dir, id, &self.identity, capacity, link, checksum, cut)?;
        let keeps = |other: &&u32| u64::from(**other) <= link.from.segment;
        let log: Vec<u32> = self.manifest.log.iter().filter(keeps).copied().chain([id]).collect();
        // Those that could not be removed yet as well: a segment that no list names is taken for part of a newer log.
        let cut_off = self.manifest.log.iter().filter(|other| !keeps(other));
        let dropped = self.manifest.dropped.iter().chain(cut_off).copied().collect();
        let manifest = Manifest { next: id + 1, log, dropped };
        if let Err(error) = manifest.write(&*self.fs, &self.dir) {
            if error.kind() == io::ErrorKind::StorageFull {
                self.dir.remove(&*self.fs, &segment::file_name(id)).map_err(io::Error::other)?;
            }
            return Err(error);
        }
        self.manifest = manifest;
        self.active = new.clone();
        Ok(new)
    }

    /// Gives back what a segment has beyond its part of the log, and removes segments that no longer belong to it. Neither matters
    /// for what the log says, so a failure is left to the next roll or start.
    pub(crate) fn tidy(&mut self, sealed: &Segment, end: u64) {
        let _ = sealed.file.set_length(end);
        let (dir, fs) = (&self.dir, &*self.fs);
        self.manifest.dropped.retain(|id| dir.remove(fs, &segment::file_name(*id)).is_err());
    }
}

impl Active {
    /// Adds a frame behind the others, its payload's `rest` excepted, and returns the padding that must follow.
    fn add(&mut self, kind: FrameKind, first: &[u8], rest: &[u8], to: &mut Vec<u8>) -> usize {
        let place = Place { segment: u64::from(self.segment.id), salt: self.segment.salt, offset: self.offset };
        self.checksum = frame::begin(place, kind, self.checksum, first, rest, to);
        self.offset += framed_bytes(first.len() + rest.len());
        padding(first.len() + rest.len())
    }

    /// The point behind the last frame.
    pub(crate) fn position(&self, lsn: Lsn) -> Position {
        Position { lsn, segment: u64::from(self.segment.id), offset: self.offset }
    }
}

/// Bytes a batch occupies in a segment.
pub(crate) fn batch_bytes(batch: &Batch) -> u64 {
    framed_bytes(BATCH_HEADER_BYTES + batch.records.len())
}

/// Bytes a SYNC frame occupies in a segment.
pub(crate) const SYNC_BYTES: u64 = 40;

/// Creates a segment that continues the log at `link`, durably. It is no part of the log until the manifest lists it.
///
/// # Errors
/// `StorageFull` if there was no room; then there is no such file. Else whatever the file system answers.
#[expect(
    clippy::too_many_arguments,
    reason = "the parts of a segment's beginning; a struct for one call would hide them"
)]
pub(crate) fn create_segment(
    fs: &dyn Fs,
    dir: &Directory,
    id: u32,
    identity: &ReplicaIdentity,
    capacity: u64,
    link: &Link,
    checksum: u32,
    cut: Option<Lsn>,
) -> io::Result<Active> {
    let path = dir.segment_path(id);
    let file = match fs.create_new(&path) {
        // An attempt that found no room could not even remove its file.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs.remove(&path)?;
            fs.create_new(&path)?
        }
        created => created?,
    };
    let (header, salt) = segment::encode_header(id, identity);
    let mut bytes = header.to_vec();
    let mut active = Active { segment: Segment { id, salt, file }, offset: FIRST_FRAME, capacity, checksum };
    active.add(FrameKind::Link, &link.encode(), &[], &mut bytes);
    if let Some(lsn) = cut {
        active.add(FrameKind::Trunc, &lsn.0.to_le_bytes(), &[], &mut bytes);
    }
    let file = &active.segment.file;
    if let Err(error) = file.allocate(capacity).and_then(|()| file.write_at(0, &[IoSlice::new(&bytes)])) {
        if error.kind() == io::ErrorKind::StorageFull {
            fs.remove(&path).map_err(io::Error::other)?;
        }
        return Err(error);
    }
    file.sync_data().map_err(io::Error::other)?;
    fs.sync_dir(&dir.path).map_err(io::Error::other)?;
    Ok(active)
}
