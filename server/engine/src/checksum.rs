//! CRC-32C (Castagnoli): the one checksum of everything on disk, computed by the processor where it can.

use crc_fast::{CrcAlgorithm, Digest};

/// CRC-32C of `bytes`.
#[inline]
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    narrow(crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes))
}

/// CRC-32C of the parts as if they stood together.
pub(crate) fn crc32c_parts(parts: [&[u8]; 2]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    for part in parts {
        digest.update(part);
    }
    narrow(digest.finalize())
}

fn narrow(checksum: u64) -> u32 {
    u32::try_from(checksum).expect("a 32-bit CRC fits in 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_polynomial_is_castagnoli() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c_parts([b"1234", b"56789"]), 0xe306_9283);
    }
}
