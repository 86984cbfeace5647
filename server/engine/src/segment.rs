//! Segment files: their names, their headers, and reading them frame by frame.

use std::sync::Arc;

use bytes::{Buf, BufMut};
use simplekv_types::{ClusterId, GroupId, StorageId};

use crate::checksum::crc32c;
use crate::options::ReplicaIdentity;

pub(crate) use self::frames::{Frame, Frames, Stop};

mod frames;

/// Bytes of a segment's header; its first frame begins behind.
pub(crate) const HEADER_BYTES: usize = 128;
/// Offset of a segment's first frame.
pub(crate) const FIRST_FRAME: u64 = HEADER_BYTES as u64;
/// The newest layout this code reads.
pub(crate) const FORMAT: u32 = 1;

const MAGIC: [u8; 8] = *b"skvlog\r\n";
/// A segment of the raw log, as opposed to one written by a merge.
const ROLE_RAW: u32 = 0;

/// An open segment file.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) id: u32,
    /// Checksum of its header, part of every frame's checksum.
    pub(crate) salt: u32,
    pub(crate) file: Arc<dyn crate::fs::File>,
}

/// The file name of a segment.
pub(crate) fn file_name(id: u32) -> String {
    format!("{id:06}.log")
}

/// The segment a file name belongs to.
pub(crate) fn parse_file_name(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".log")?;
    let id = digits.parse().ok().filter(|id| *id > 0)?;
    // Only one name per segment: `7.log` is not ours.
    (file_name(id) == name).then_some(id)
}

/// A segment's header and its salt.
pub(crate) fn encode_header(id: u32, identity: &ReplicaIdentity) -> ([u8; HEADER_BYTES], u32) {
    let mut header = [0; HEADER_BYTES];
    let mut fields = header.as_mut_slice();
    fields.put_slice(&MAGIC);
    fields.put_u32_le(FORMAT);
    fields.put_u32_le(ROLE_RAW);
    fields.put_u64_le(u64::from(id));
    fields.put_u128_le(identity.cluster.0);
    fields.put_u128_le(identity.storage.0);
    fields.put_u32_le(identity.group.0);
    let (covered, stored) = header.split_at_mut(HEADER_BYTES - 4);
    let salt = crc32c(covered);
    stored.copy_from_slice(&salt.to_le_bytes());
    (header, salt)
}

/// Why a segment's header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadHeader {
    #[error("the header is damaged")]
    Damaged,
    #[error("the header is in format {0}")]
    Format(u32),
    #[error("the header is of segment {0}")]
    OtherSegment(u64),
    #[error("the segment belongs to group {1} of cluster {0}")]
    Foreign(ClusterId, GroupId),
    #[error("the segment has role {0}")]
    Role(u32),
}

/// Checks a header and returns the salt. The storage in it is the one the segment was *written* by; a directory that was given
/// another keeps its segments.
pub(crate) fn check_header(header: &[u8; HEADER_BYTES], id: u32, identity: &ReplicaIdentity) -> Result<u32, BadHeader> {
    let (covered, stored) = header.split_at(HEADER_BYTES - 4);
    let mut fields = covered;
    let mut magic = [0; 8];
    fields.copy_to_slice(&mut magic);
    let format = fields.get_u32_le();
    let salt = crc32c(covered);
    if magic != MAGIC || stored != salt.to_le_bytes() {
        return Err(BadHeader::Damaged);
    }
    if format > FORMAT {
        return Err(BadHeader::Format(format));
    }
    let role = fields.get_u32_le();
    let found = fields.get_u64_le();
    let cluster = ClusterId(fields.get_u128_le());
    let _written_by = StorageId(fields.get_u128_le());
    let group = GroupId(fields.get_u32_le());
    if found != u64::from(id) {
        return Err(BadHeader::OtherSegment(found));
    }
    if cluster != identity.cluster || group != identity.group {
        return Err(BadHeader::Foreign(cluster, group));
    }
    if role != ROLE_RAW { Err(BadHeader::Role(role)) } else { Ok(salt) }
}
