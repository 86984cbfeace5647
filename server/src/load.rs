//! What is asked of this node: of which slots, exactly, and of which keys most.
//!
//! Counting is one relaxed addition for each slot of a command. Which keys are asked for most is estimated from one operation in
//! [`SAMPLED`], drawn at random: a fixed stride would see the same place of every pipeline.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use simplekv_resp::Command;
use simplekv_types::{SLOT_COUNT, Slot};

use self::space_saving::SpaceSaving;

mod space_saving;

/// On average one of so many operations is looked at for its keys.
const SAMPLED: u32 = 64;
/// How many keys are told apart. The estimate of a key is too high by at most what all were asked divided by this.
const KEYS: usize = 128;
/// Keys are counted anew after this time.
const WINDOW: Duration = Duration::from_secs(10);

/// Counters of one node. They never fall while the process runs.
#[derive(Debug)]
pub(crate) struct Load {
    slots: Box<[SlotLoad]>,
    reads: Mutex<Windows>,
    writes: Mutex<Windows>,
}

/// What was asked of one slot.
#[derive(Debug, Default)]
struct SlotLoad {
    reads: AtomicU64,
    writes: AtomicU64,
}

/// How much a key is asked for, by estimate.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HotKey {
    pub(crate) key: Bytes,
    /// Operations a second. Never too low, but for what the draw makes of it.
    pub(crate) rate: f64,
    /// By how much `rate` may be too high.
    pub(crate) excess: f64,
}

/// The keys of the time that runs, and of the one before.
#[derive(Debug)]
struct Windows {
    since: Instant,
    current: SpaceSaving,
    last: Option<(SpaceSaving, Duration)>,
}

impl Default for Load {
    fn default() -> Self {
        let slots = (0..SLOT_COUNT).map(|_| SlotLoad::default()).collect();
        let windows = || Mutex::new(Windows::new(Instant::now()));
        Self { slots, reads: windows(), writes: windows() }
    }
}

impl Load {
    /// A command was taken for execution here. `slot`: of its first key.
    pub(crate) fn note(&self, command: &Command, slot: Slot) {
        let is_write = command.is_write();
        self.count(slot, is_write);
        for key in command.keys().skip(1) {
            let other = Slot::of_key(key);
            if other != slot {
                self.count(other, is_write);
            }
        }
        if is_drawn() {
            let windows = if is_write { &self.writes } else { &self.reads };
            let mut windows = windows.lock();
            windows.turn(Instant::now());
            command.keys().for_each(|key| windows.current.note(key));
        }
    }

    fn count(&self, slot: Slot, is_write: bool) {
        if let Some(load) = self.slots.get(slot.index()) {
            let counter = if is_write { &load.writes } else { &load.reads };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reads and writes asked of a slot since the process began. A command of several slots counts in each.
    pub(crate) fn of_slot(&self, slot: Slot) -> (u64, u64) {
        let load = |load: &SlotLoad| (load.reads.load(Ordering::Relaxed), load.writes.load(Ordering::Relaxed));
        self.slots.get(slot.index()).map_or((0, 0), load)
    }

    /// The keys that are read most, first the one that is most.
    pub(crate) fn hot_reads(&self) -> Vec<HotKey> {
        self.reads.lock().hot(Instant::now())
    }

    /// The keys that are written most.
    pub(crate) fn hot_writes(&self) -> Vec<HotKey> {
        self.writes.lock().hot(Instant::now())
    }
}

impl Windows {
    fn new(since: Instant) -> Self {
        Self { since, current: SpaceSaving::new(KEYS), last: None }
    }

    /// Begins another window if this one has lasted long enough.
    fn turn(&mut self, now: Instant) {
        let lasted = now.saturating_duration_since(self.since);
        if lasted < WINDOW {
            return;
        }
        let current = std::mem::replace(&mut self.current, SpaceSaving::new(KEYS));
        // What nobody looked at or added to for so long is about a time that has passed.
        self.last = (lasted < 2 * WINDOW).then_some((current, lasted));
        self.since = now;
    }

    /// The keys of both windows, as if they were one.
    fn hot(&mut self, now: Instant) -> Vec<HotKey> {
        self.turn(now);
        let running = now.saturating_duration_since(self.since);
        let last = self.last.as_ref();
        let lasted = running + last.map_or(Duration::ZERO, |(_, lasted)| *lasted);
        let per_second = f64::from(SAMPLED) / lasted.as_secs_f64().max(0.1);
        let mut keys: HashMap<Bytes, (u64, u64)> = HashMap::new();
        for counted in [Some(&self.current), last.map(|(keys, _)| keys)].into_iter().flatten() {
            for (key, count, excess) in counted.all() {
                let sum = keys.entry(key.clone()).or_default();
                *sum = (sum.0 + count, sum.1 + excess);
            }
        }
        let hot = |(key, (count, excess)): (Bytes, (u64, u64))| HotKey {
            key,
            rate: count as f64 * per_second,
            excess: excess as f64 * per_second,
        };
        let mut keys: Vec<HotKey> = keys.into_iter().map(hot).collect();
        keys.sort_unstable_by(|one, other| other.rate.total_cmp(&one.rate).then_with(|| one.key.cmp(&other.key)));
        keys
    }
}

/// Whether this operation is one of those looked at.
fn is_drawn() -> bool {
    thread_local! {
        // Drawn numbers, and how many operations are still to pass. Seeds that differ between threads are not needed.
        static TURN: Cell<(u32, u32)> = const { Cell::new((0x9E37_79B9, SAMPLED)) };
    }
    TURN.with(|turn| {
        let (mut drawn, left) = turn.get();
        if left > 1 {
            turn.set((drawn, left - 1));
            return false;
        }
        // Marsaglia's xorshift with 32 bits.
        drawn ^= drawn << 13;
        drawn ^= drawn >> 17;
        drawn ^= drawn << 5;
        // Between 1 and twice the average less one, each as likely as any other.
        turn.set((drawn, 1 + drawn % (2 * SAMPLED - 1)));
        true
    })
}

#[cfg(test)]
mod tests {
    use simplekv_resp::{Body, Request};

    use super::*;

    fn command(words: &str) -> Command {
        let words: Vec<Bytes> = words.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        match Request::parse(words.into()).unwrap().body {
            Body::Data(command) => command,
            other => panic!("{other:?}"),
        }
    }

    fn note(load: &Load, words: &str) {
        let command = command(words);
        let slot = command.keys().next().map_or(Slot::MIN, |key| Slot::of_key(key));
        load.note(&command, slot);
    }

    #[test]
    fn every_operation_counts_in_each_of_its_slots() {
        let load = Load::default();
        (0..1000).for_each(|_| note(&load, "GET a"));
        (0..10).for_each(|_| note(&load, "SET a 1"));
        note(&load, "MGET b a {b}2");
        note(&load, "DEL {a}1 {a}2");
        let of = |key: &[u8]| load.of_slot(Slot::of_key(key));
        assert_eq!((of(b"a"), of(b"b"), of(b"c")), ((1001, 11), (1, 0), (0, 0)));
    }

    #[test]
    fn what_is_asked_most_stands_first_and_its_rate_is_about_right() {
        let load = Load::default();
        for round in 0..20_000 {
            note(&load, "GET hot");
            note(&load, &format!("GET cold{}", round % 1000));
            note(&load, "SET other 1");
        }
        let begun = load.reads.lock().since;
        let hot = load.reads.lock().hot(begun + Duration::from_secs(1));
        let first = hot.first().unwrap();
        assert_eq!(first.key, "hot");
        assert!((15_000.0..25_000.0).contains(&first.rate), "{first:?}");
        assert_eq!(load.hot_writes().iter().map(|hot| &*hot.key).collect::<Vec<_>>(), [b"other"]);
    }

    #[test]
    fn a_window_that_nobody_looked_at_in_time_is_forgotten() {
        let begun = Instant::now();
        let mut windows = Windows::new(begun);
        windows.current.note(b"k");
        let rates = |hot: Vec<HotKey>| hot.iter().map(|key| (key.rate * 10.0).round()).collect::<Vec<_>>();
        assert_eq!(rates(windows.hot(begun + WINDOW)), [64.0], "the last window, which was whole");
        windows.current.note(b"k");
        windows.current.note(b"k");
        assert_eq!(rates(windows.hot(begun + WINDOW + WINDOW / 2)), [128.0], "three in one and a half");
        assert_eq!(rates(windows.hot(begun + 2 * WINDOW)), [128.0], "two in the last");
        windows.current.note(b"k");
        assert_eq!(rates(windows.hot(begun + 5 * WINDOW)), [0.0; 0]);
    }
}
