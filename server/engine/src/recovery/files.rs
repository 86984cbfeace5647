//! Which files are there, and which of them may go.

use std::io;

use simplekv_types::{Epoch, GroupTime, Lineage, Lsn};

use crate::directory::{self, Directory, Manifest, Meta};
use crate::error::DirectoryError;
use crate::frame::{Link, Position};
use crate::fs::Fs;
use crate::log::{PREAMBLE_END, create_segment};
use crate::options::{Options, ReplicaIdentity};
use crate::segment::{self, Frames, Segment};

/// Creates an empty replica. `META` comes last: without it nothing in the directory means anything yet.
pub(super) fn create(
    fs: &dyn Fs,
    dir: &Directory,
    identity: ReplicaIdentity,
    options: &Options,
) -> Result<Meta, DirectoryError> {
    for name in dir.list(fs)? {
        match segment::parse_file_name(&name) {
            // A log without an identity is not ours to overwrite.
            Some(id) if is_written(fs, dir, id)? => return Err(dir.missing("META")),
            Some(_) => dir.remove(fs, &name)?,
            None => (),
        }
    }
    let from = Position { lsn: Lsn::ZERO, segment: 0, offset: 0 };
    let link = Link { from, lineage: Lineage(0), epoch: Epoch::ZERO, time: GroupTime::ZERO };
    let io = |error| dir.io(error);
    create_segment(fs, dir, 1, &identity, options.segment_bytes, &link, 0, None).map_err(io)?;
    Manifest { next: 2, log: vec![1], dropped: Vec::new() }.write(fs, dir).map_err(io)?;
    let meta = Meta { identity, epoch: Epoch::ZERO, lineage: Lineage(0) };
    meta.write(fs, dir).map_err(io)?;
    Ok(meta)
}

/// Reads the manifest and accounts for every file: removes what interrupted work left behind, and returns the names of what is not
/// the engine's. A segment with records in it that the manifest does not know is an error, never garbage.
pub(super) fn account(fs: &dyn Fs, dir: &Directory) -> Result<(Manifest, Vec<String>), DirectoryError> {
    let manifest = Manifest::read(fs, dir)?.ok_or_else(|| dir.missing("MANIFEST"))?;
    let mut unknown = Vec::new();
    for name in dir.list(fs)? {
        match segment::parse_file_name(&name) {
            Some(id) if manifest.log.contains(&id) => (),
            Some(id) if manifest.dropped.contains(&id) => dir.remove(fs, &name)?,
            Some(id) if id < manifest.next || is_written(fs, dir, id)? => {
                return Err(DirectoryError::Unlisted { path: dir.segment_path(id) });
            }
            // Created, but not listed before the crash: never used.
            Some(_) => dir.remove(fs, &name)?,
            None if directory::is_temporary(&name) => dir.remove(fs, &name)?,
            None if directory::is_known(&name) => (),
            None => unknown.push(name),
        }
    }
    Ok((manifest, unknown))
}

/// Whether a segment holds anything behind what it is created with.
fn is_written(fs: &dyn Fs, dir: &Directory, id: u32) -> Result<bool, DirectoryError> {
    let path = dir.segment_path(id);
    let written = || -> io::Result<bool> {
        let file = fs.open(&path)?;
        let end = file.length()?;
        let segment = Segment { id, salt: 0, file };
        Ok(Frames::written_end(&segment, PREAMBLE_END, end.max(PREAMBLE_END))? > PREAMBLE_END)
    };
    written().map_err(|error| DirectoryError::Io { path: path.clone(), error })
}
