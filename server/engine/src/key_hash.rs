//! The one hash of a key, computed once when its record is appended and used for everything after.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::FixedState;

/// Hashes keys under a seed of this process, so that nobody outside can choose keys that collide.
#[derive(Clone, Debug)]
pub(crate) struct KeyHasher(FixedState);

impl KeyHasher {
    pub(crate) fn new(seed: u64) -> Self {
        Self(FixedState::with_seed(seed))
    }

    #[inline]
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(key);
        hasher.finish()
    }
}
