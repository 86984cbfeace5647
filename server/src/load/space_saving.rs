//! The most frequent keys of a stream, in bounded memory.
//!
//! Space-Saving of Metwally, Agrawal and El Abbadi ("Efficient Computation of Frequent and Top-k Elements in Data Streams", 2005): a
//! key that is not counted yet takes the counter of the least frequent one and its count with it. A key that makes up more than one of
//! `capacity` of the stream is always counted; a count is too high by at most what its counter had before.

use std::collections::HashMap;

use bytes::Bytes;

/// Counters of some keys.
#[derive(Debug)]
pub(super) struct SpaceSaving {
    /// Invariant: at most `capacity`.
    counters: HashMap<Bytes, Counter>,
    capacity: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    count: u64,
    /// What the counter had when it was taken over.
    excess: u64,
}

impl SpaceSaving {
    pub(super) fn new(capacity: usize) -> Self {
        Self { counters: HashMap::new(), capacity }
    }

    /// A key was seen.
    pub(super) fn note(&mut self, key: &[u8]) {
        if let Some(counter) = self.counters.get_mut(key) {
            counter.count += 1;
            return;
        }
        let mut excess = 0;
        if self.counters.len() >= self.capacity {
            let least = self.counters.iter().min_by_key(|(_, counter)| counter.count);
            if let Some((least, count)) = least.map(|(key, counter)| (key.clone(), counter.count)) {
                self.counters.remove(&least);
                excess = count;
            }
        }
        // A copy: the key would keep the frame alive that it came in.
        self.counters.insert(Bytes::copy_from_slice(key), Counter { count: excess + 1, excess });
    }

    /// The keys with their counts, and by how much each may be too high, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Bytes, u64, u64)> {
        self.counters.iter().map(|(key, counter)| (key, counter.count, counter.excess))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_keys_stay_whatever_comes_between() {
        let mut keys = SpaceSaving::new(10);
        for round in 0..1000_u32 {
            keys.note(b"first");
            keys.note(format!("rare{round}").as_bytes());
            if round % 2 == 0 {
                keys.note(b"second");
            }
        }
        let mut all: Vec<_> = keys.all().map(|(key, count, excess)| (count, excess, &**key)).collect();
        all.sort_unstable_by(|one, other| other.cmp(one));
        assert_eq!(all.len(), 10);
        let [(count, excess, first), (_, _, second)] = all.get(..2).unwrap() else { panic!("there are ten") };
        assert_eq!((*first, *count, *excess, *second), (b"first".as_slice(), 1000, 0, b"second".as_slice()));
        for (count, excess, key) in all {
            let seen = if key.starts_with(b"rare") { 1 } else { 1000 };
            assert!(count - excess <= seen, "{key:?} {count} {excess}");
        }
    }
}
