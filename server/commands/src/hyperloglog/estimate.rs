//! From registers to a number, by Otmar Ertl's improved estimator (arXiv:1702.01284).

use super::sketch::{REGISTER_BITS, REGISTERS};

/// 1 / (2 ln 2).
const ALPHA: f64 = 0.721_347_520_444_481_7;
/// The highest rank a hash can have, without the one that all zeros would have.
const RANK_MAX: usize = 64 - REGISTER_BITS as usize;

/// About how many different elements have left the registers like this. In this order of operations: it is told in full.
pub(super) fn of(registers: &[u8]) -> u64 {
    let mut counts = [0_u32; 64];
    for register in registers {
        if let Some(count) = counts.get_mut(usize::from(*register)) {
            *count += 1;
        }
    }
    let count = |rank: usize| f64::from(counts.get(rank).copied().unwrap_or(0));
    let all = REGISTERS as f64;
    let mut sum = all * tau((all - count(RANK_MAX + 1)) / all);
    for rank in (1..=RANK_MAX).rev() {
        sum = (sum + count(rank)) * 0.5;
    }
    sum += all * sigma(count(0) / all);
    (ALPHA * all * all / sum).round() as u64
}

/// What registers add that nothing has come to.
fn sigma(share: f64) -> f64 {
    if share == 1.0 {
        return f64::INFINITY;
    }
    let (mut power, mut weight, mut sum) = (share, 1.0, share);
    loop {
        power *= power;
        let before = sum;
        sum += power * weight;
        weight += weight;
        if sum == before {
            return sum;
        }
    }
}

/// What registers add that cannot rise any more.
fn tau(share: f64) -> f64 {
    if share == 0.0 || share == 1.0 {
        return 0.0;
    }
    let (mut root, mut weight, mut sum) = (share, 1.0, 1.0 - share);
    loop {
        root = root.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - root) * (1.0 - root) * weight;
        if sum == before {
            return sum / 3.0;
        }
    }
}
