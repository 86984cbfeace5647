//! Which reads that went in parcels are in the air.
//!
//! A read that is one of many shares a flight only if others really ask for the same at the same time, and to find out must cost next
//! to nothing. So it leaves no more than a mark, by its hash, where a later one may see it; that one then goes by way of
//! [`Flights`](crate::singleflight::Flights), where whoever comes next joins it. A mark is a hint: that of another request in its place
//! costs one more flight, and nobody ever waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use smallvec::SmallVec;

/// Several for each read a client may have in flight by default, in 128 KiB.
const MARKS: usize = 1 << 15;

/// The marks of a client's reads. Zero: none.
#[derive(Debug)]
pub(crate) struct Airborne(Box<[AtomicU32]>);

/// What one who is about to leave sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Nobody asks for the same; it has left its mark.
    Clear,
    /// Somebody does.
    Same,
    /// There is no telling: its place is taken.
    Crowded,
}

/// Marks that are taken away when this is dropped.
#[derive(Debug)]
pub(crate) struct Marks {
    airborne: Arc<Airborne>,
    places: SmallVec<[u32; 8]>,
}

impl Airborne {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self((0..MARKS).map(|_| AtomicU32::new(0)).collect()))
    }

    pub(crate) fn marks(self: &Arc<Self>) -> Marks {
        Marks { airborne: Arc::clone(self), places: SmallVec::new() }
    }

    fn mark(&self, place: u32) -> Option<&AtomicU32> {
        self.0.get(place as usize)
    }
}

impl Marks {
    /// Looks around and leaves a mark.
    pub(crate) fn leave(&mut self, hash: u64) -> Sight {
        // The halves are independent of each other.
        let (place, tag) = ((hash % MARKS as u64) as u32, (hash >> 32) as u32 | 1);
        let Some(mark) = self.airborne.mark(place) else { return Sight::Crowded };
        // Nothing else is read or written by whoever sees it.
        match mark.compare_exchange(0, tag, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => {
                self.places.push(place);
                Sight::Clear
            }
            Err(other) if other == tag => Sight::Same,
            Err(_) => Sight::Crowded,
        }
    }
}

impl Drop for Marks {
    fn drop(&mut self) {
        for mark in self.places.iter().filter_map(|place| self.airborne.mark(*place)) {
            mark.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_the_same_is_seen_until_it_lands() {
        let airborne = Airborne::new();
        let (mut mine, mut others) = (airborne.marks(), airborne.marks());
        let (hash, beside) = (5 << 40 | 7, 9 << 40 | 7);
        assert_eq!(mine.leave(hash), Sight::Clear);
        assert_eq!(others.leave(hash), Sight::Same);
        assert_eq!(others.leave(beside), Sight::Crowded);
        drop(others);
        assert_eq!(airborne.marks().leave(hash), Sight::Same, "only its own marks are taken away");
        drop(mine);
        assert_eq!(airborne.marks().leave(beside), Sight::Clear);
    }
}
