//! The segments of the log in order, and how each continues the one before.

use std::io;

use crate::directory::{Directory, Manifest};
use crate::error::{DirectoryError, OpenError};
use crate::frame::{BadFrame, FrameKind, Link, Position};
use crate::fs::Fs;
use crate::options::ReplicaIdentity;
use crate::segment::{self, BadHeader, FIRST_FRAME, Frames, Segment, Stop};

/// The segments the manifest lists, opened and linked.
#[derive(Debug)]
pub(super) struct Chain {
    segments: Vec<Linked>,
}

#[derive(Debug)]
pub(super) struct Linked {
    pub(super) segment: Segment,
    pub(super) link: Link,
    /// Where the segment's part of the log ends, in bytes: where its successor says, or at the latest at the end of the file.
    pub(super) end: u64,
    pub(super) file_bytes: u64,
}

impl Chain {
    /// Opens the segments. That they begin as they must is certain, damage excepted: each was durable before it was listed.
    pub(super) fn open(
        fs: &dyn Fs,
        dir: &Directory,
        identity: &ReplicaIdentity,
        manifest: &Manifest,
    ) -> Result<Self, OpenError> {
        let mut segments: Vec<Linked> = Vec::with_capacity(manifest.log.len());
        for id in &manifest.log {
            let linked = open(fs, dir, identity, *id)?;
            if let Some(before) = segments.last_mut() {
                if linked.link.from.segment != u64::from(before.segment.id)
                    || !(FIRST_FRAME..u64::from(u32::MAX)).contains(&linked.link.from.offset)
                {
                    let what = format!("it continues segment {}", linked.link.from.segment);
                    return Err(OpenError::Inconsistent { path: dir.segment_path(*id), offset: FIRST_FRAME, what });
                }
                before.end = linked.link.from.offset;
            }
            segments.push(linked);
        }
        Ok(Self { segments })
    }

    pub(super) fn segments(&self) -> &[Linked] {
        &self.segments
    }

    pub(super) fn get(&self, id: u64) -> Option<&Linked> {
        self.segments.iter().find(|linked| u64::from(linked.segment.id) == id)
    }

    /// The segments from `id` on up to `end`, with how far each is written.
    pub(super) fn since(&self, id: u64, end: Position) -> Vec<(Segment, u64)> {
        let part = self.segments.iter().filter(|linked| (id..=end.segment).contains(&u64::from(linked.segment.id)));
        part.map(|linked| {
            let written = if u64::from(linked.segment.id) == end.segment { end.offset } else { linked.end };
            (linked.segment.clone(), written)
        })
        .collect()
    }
}

fn open(fs: &dyn Fs, dir: &Directory, identity: &ReplicaIdentity, id: u32) -> Result<Linked, OpenError> {
    let path = dir.segment_path(id);
    let io = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => DirectoryError::Missing { path: path.clone() },
        _ => DirectoryError::Io { path: path.clone(), error },
    };
    let file = fs.open(&path).map_err(io)?;
    let file_bytes = file.length().map_err(io)?;
    let mut header = [0; segment::HEADER_BYTES];
    file.read_at(0, &mut header).map_err(io)?;
    let salt = segment::check_header(&header, id, identity).map_err(|bad| match bad {
        BadHeader::Format(found) => DirectoryError::Format { path: path.clone(), found, supported: segment::FORMAT },
        bad => DirectoryError::Damaged { path: path.clone(), what: bad.to_string() },
    })?;
    let segment = Segment { id, salt, file };
    let link = match Frames::new(&segment, FIRST_FRAME, file_bytes, None).next() {
        Ok(Some(frame)) if frame.kind == FrameKind::Link => Link::decode(frame.payload),
        Ok(_) | Err(Stop::Bad(BadFrame::Blank)) => None,
        Err(Stop::Bad(bad)) => return Err(DirectoryError::Damaged { path, what: format!("its link: {bad}") }.into()),
        Err(Stop::Io(error)) => return Err(io(error).into()),
    };
    let link = link.ok_or_else(|| DirectoryError::Damaged { path: path.clone(), what: "it has no link".to_owned() })?;
    Ok(Linked { segment, link, end: file_bytes, file_bytes })
}
