//! An order of names that is the same everywhere.

/// Positions are below two to this power: numbers that every client's language can hold.
pub const POSITION_BITS: u32 = 53;

/// Where a name stands: the first bits of SipHash-2-4 of it under an all-zero key.
///
/// It must be the same everywhere and for ever, so it cannot be secret. It is a strong hash nevertheless: names that share a position
/// are shown together by a scan, and nobody should be able to make up many of them cheaply.
#[must_use]
pub fn position_of(name: &[u8]) -> u64 {
    siphash([0, 0], name) >> (64 - POSITION_BITS)
}

fn siphash([k0, k1]: [u64; 2], bytes: &[u8]) -> u64 {
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        compress(&mut v, u64::from_le_bytes(*word));
    }
    let tail = rest.iter().rev().fold(0, |tail, &byte| tail << 8 | u64::from(byte));
    compress(&mut v, (bytes.len() as u64) << 56 | tail);
    let [_, _, v2, _] = &mut v;
    *v2 ^= 0xff;
    for _ in 0..4 {
        round(&mut v);
    }
    v.iter().fold(0, |hash, word| hash ^ word)
}

fn compress(v: &mut [u64; 4], word: u64) {
    let [_, _, _, v3] = v;
    *v3 ^= word;
    round(v);
    round(v);
    let [v0, ..] = v;
    *v0 ^= word;
}

fn round(v: &mut [u64; 4]) {
    let [v0, v1, v2, v3] = v;
    *v0 = v0.wrapping_add(*v1);
    *v2 = v2.wrapping_add(*v3);
    *v1 = v1.rotate_left(13) ^ *v0;
    *v3 = v3.rotate_left(16) ^ *v2;
    *v0 = v0.rotate_left(32);
    *v2 = v2.wrapping_add(*v1);
    *v0 = v0.wrapping_add(*v3);
    *v1 = v1.rotate_left(17) ^ *v2;
    *v3 = v3.rotate_left(21) ^ *v0;
    *v2 = v2.rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_siphash() {
        // The example of the paper that introduced it.
        let message: Vec<u8> = (0..15).collect();
        assert_eq!(siphash([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908], &message), 0xa129_ca61_49be_45e5);
        assert_eq!(siphash([0, 0], b""), 0x1e92_4b9d_7377_00d7);
    }
}
