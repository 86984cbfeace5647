//! Which register an element counts in, and how rare its hash is.

use super::sketch::REGISTER_BITS;

const SEED: u64 = 0xadc8_3b19;
const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
const SHIFT: u32 = 47;

/// MurmurHash2 in its form for 64 bits.
fn hash(bytes: &[u8]) -> u64 {
    let mixed = |word: u64| {
        let word = word.wrapping_mul(FACTOR);
        (word ^ word >> SHIFT).wrapping_mul(FACTOR)
    };
    let (words, tail) = bytes.as_chunks::<8>();
    let start = SEED ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let mut hash =
        words.iter().fold(start, |hash, word| (hash ^ mixed(u64::from_le_bytes(*word))).wrapping_mul(FACTOR));
    if !tail.is_empty() {
        let rest = tail.iter().rev().fold(0, |rest, byte| rest << 8 | u64::from(*byte));
        hash = (hash ^ rest).wrapping_mul(FACTOR);
    }
    hash = (hash ^ hash >> SHIFT).wrapping_mul(FACTOR);
    hash ^ hash >> SHIFT
}

/// The register's number, and one more than the zeros that the rest of the hash ends in.
pub(super) fn register_and_rank(element: &[u8]) -> (usize, u8) {
    let hash = hash(element);
    let register = hash & ((1 << REGISTER_BITS) - 1);
    // The bit on top ends the zeros of a rest that is nothing else.
    let rest = hash >> REGISTER_BITS | 1 << (64 - REGISTER_BITS);
    (register as usize, rest.trailing_zeros() as u8 + 1)
}
