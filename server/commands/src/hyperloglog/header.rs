//! What a HyperLogLog's string begins with.
//!
//! | bytes | |
//! |---|---|
//! | 4 | `HYLL` |
//! | 1 | 0 full size, 1 in runs |
//! | 3 | nothing |
//! | 8 | an estimate, little-endian; its highest bit says that it is out of date |

use bytes::Bytes;
use simplekv_types::Failure;

use super::sketch::Sketch;

pub(super) const HEADER_BYTES: usize = 16;
const MAGIC: &[u8] = b"HYLL";
const OUT_OF_DATE: u8 = 0x80;

#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    in_runs: bool,
    /// What is behind the encoding: kept as it is.
    rest: [u8; 11],
}

impl Header {
    pub(super) fn new() -> Self {
        Self { in_runs: true, rest: [0; 11] }
    }

    /// `None` if the value is none of a HyperLogLog, by its beginning and its length.
    pub(super) fn of(value: &[u8]) -> Option<Self> {
        let (&encoding, rest) = value.strip_prefix(MAGIC)?.split_first()?;
        let &rest = rest.first_chunk()?;
        let in_runs = match encoding {
            0 if value.len() == HEADER_BYTES + Sketch::FULL_BYTES => false,
            1 => true,
            _ => return None,
        };
        Some(Self { in_runs, rest })
    }

    /// The estimate that Redis has left here, if nothing was added since.
    pub(super) fn estimate(&self) -> Option<u64> {
        let estimate = u64::from_le_bytes(*self.rest.last_chunk()?);
        (estimate >> 63 == 0).then_some(estimate)
    }

    /// What the value with this header has counted.
    pub(super) fn sketch(&self, value: &[u8]) -> Result<Sketch, Failure> {
        let body = value.get(HEADER_BYTES..).unwrap_or_default();
        let sketch = if self.in_runs { Sketch::of_runs(body) } else { Some(Sketch::of_full_size(body)) };
        sketch.ok_or(Failure::command("INVALIDOBJ Corrupted HLL object detected"))
    }

    /// The value that holds this from now on.
    pub(super) fn value(mut self, sketch: &Sketch) -> Bytes {
        if let Some(last) = self.rest.last_mut() {
            *last |= OUT_OF_DATE;
        }
        let encoding = [u8::from(!sketch.is_full_size())];
        [MAGIC, &encoding, &self.rest, &sketch.bytes()].concat().into()
    }
}
