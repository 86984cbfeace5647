//! Which operation comes next.

use bytes::Bytes;
use rand::Rng;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution as _, Zipf};

use crate::args::{Distribution, Workload};

/// Exponent of the zipfian distribution, as in the usual cloud benchmarks.
const EXPONENT: f64 = 0.99;

/// One operation on a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Get(String),
    Set(String),
}

/// An endless row of operations; the same for the same seed.
pub(crate) struct Operations {
    random: SmallRng,
    reads: f64,
    keys: u64,
    zipf: Option<Zipf<f64>>,
}

impl Operations {
    /// The row of one of several tasks.
    pub(crate) fn new(workload: &Workload, seed: u64, task: u64) -> Self {
        let zipf = match workload.distribution {
            Distribution::Uniform => None,
            Distribution::Zipfian => Zipf::new(workload.keys as f64, EXPONENT).ok(),
        };
        let random = SmallRng::seed_from_u64(seed ^ task.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { random, reads: workload.reads, keys: workload.keys, zipf }
    }

    pub(crate) fn next(&mut self) -> Operation {
        let number = match &self.zipf {
            None => self.random.random_range(0..self.keys),
            // Popular keys should not be neighbours: spread the ranks over the keyspace.
            Some(zipf) => (zipf.sample(&mut self.random) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) % self.keys,
        };
        if self.random.random_bool(self.reads) { Operation::Get(key(number)) } else { Operation::Set(key(number)) }
    }
}

/// The 16 bytes redis-benchmark uses as well.
pub(crate) fn key(number: u64) -> String {
    format!("key:{number:012}")
}

/// A value of this length that does not compress to nothing.
pub(crate) fn value(len: usize, seed: u64) -> Bytes {
    let mut random = SmallRng::seed_from_u64(seed);
    (0..len).map(|_| random.random_range(b'a'..=b'z')).collect()
}

/// The seed to use: the wanted one or a fresh one.
pub(crate) fn seed(wanted: Option<u64>) -> u64 {
    wanted.unwrap_or_else(|| rand::rng().random())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(distribution: Distribution, reads: f64) -> Workload {
        Workload {
            keys: 1000,
            distribution,
            value_bytes: 1,
            reads,
            seconds: 1,
            prefill: false,
            seed: None,
            pid: Vec::new(),
        }
    }

    fn keys(distribution: Distribution) -> std::collections::BTreeMap<String, usize> {
        let mut operations = Operations::new(&workload(distribution, 1.0), 7, 0);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..10_000 {
            let Operation::Get(key) = operations.next() else { panic!("only reads were asked for") };
            *counts.entry(key).or_insert(0) += 1;
        }
        counts
    }

    #[test]
    fn a_zipfian_load_has_hot_keys_and_a_uniform_one_has_none() {
        assert!(keys(Distribution::Zipfian).values().max() > Some(&500));
        assert!(keys(Distribution::Uniform).values().max() < Some(&50));
    }

    #[test]
    fn a_seed_repeats_its_operations() {
        let row = |seed, task| {
            let mut operations = Operations::new(&workload(Distribution::Uniform, 0.5), seed, task);
            (0..100).map(|_| operations.next()).collect::<Vec<_>>()
        };
        assert_eq!(row(1, 2), row(1, 2));
        assert_ne!(row(1, 2), row(1, 3));
        assert_eq!(key(0).len(), 16);
    }
}
