//! The search for an order in which every answer is right.
//!
//! Wing and Gong's search with Lowe's memory: take operations one after the other, of those that nothing left over must precede, and
//! go back where no answer fits any more; a set of taken operations with the value they leave is looked at once. What makes it fast:
//!
//! - An operation that fits and never changes anything is taken at once. It would fit nowhere better. A write of what is there already
//!   is none of those: it may be needed once that has gone.
//! - Of operations that find and leave the same, the one that must come first is tried.
//! - A value that must still be read, and that nobody can write again, is not overwritten.
//! - An operation whose outcome is unknown is taken only directly before one that would not fit without it. Anywhere else it could as
//!   well come later, or never. So those that nobody noticed cost nothing.
//!
//! The memory holds 128-bit sums of random weights instead of sets: that two of a billion sets have the same sum is less likely than
//! a broken machine. Only states in which the search has failed are put there, so a history without trouble needs none.

#![expect(clippy::indexing_slicing, reason = "indices are those of the plan, whose size everything here has")]

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use crate::doubts;
use crate::plan::{Entry, Plan};
use crate::values::{Change, Need, Value};

/// What came of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// There is an order: places in the history. Operations whose outcome is unknown are among them as far as they are needed.
    Order(Vec<u32>),
    /// There is none. The longest beginning of one, in order.
    NoOrder(Vec<u32>),
    /// It took too many steps.
    Undecided,
}

/// Marks an operation whose outcome is unknown, by its class, among those taken.
const DOUBT: u32 = 1 << 31;

/// A search under way.
pub(crate) struct Search<'a> {
    plan: &'a Plan<'a>,
    /// The entries left over, as a ring in their order; the last place is the ring's beginning and end.
    next: Vec<u32>,
    previous: Vec<u32>,
    is_taken: Vec<bool>,
    /// How many of each class have been taken.
    used: Vec<u32>,
    value: Value,
    /// Stands for what has been taken.
    sum: u128,
    /// For each value, how many left-over entries must find exactly it and change nothing, and how many leave it.
    readers: Vec<u32>,
    makers: Vec<u32>,
    /// What has been taken, in order: entries, or classes under [`DOUBT`].
    taken: Vec<u32>,
    frames: Vec<Frame>,
    /// Entries that may come next, frame by frame.
    choices: Vec<u32>,
    failed: HashSet<u128, BuildHasherDefault<Sum>>,
    /// Whether an entry that may come next can come no more.
    is_stuck: bool,
    longest: Vec<u32>,
    steps: u64,
}

/// A point at which there was a choice.
struct Frame {
    /// How much had been taken.
    taken: usize,
    value: Value,
    sum: u128,
    /// Where its choices begin, and which is next.
    first: usize,
    next: usize,
    /// Operations whose outcome is unknown, and the entry they make fit; asked for only after all choices have failed.
    ways: Option<Vec<(Vec<u32>, u32)>>,
}

impl<'a> Search<'a> {
    pub(crate) fn new(plan: &'a Plan<'a>) -> Self {
        let count = u32::try_from(plan.entries.len()).unwrap_or(u32::MAX);
        let mut search = Self {
            plan,
            next: (1..=count).chain([0]).collect(),
            previous: [count].into_iter().chain(0..count).collect(),
            is_taken: vec![false; plan.entries.len()],
            used: vec![0; plan.classes.len()],
            value: Value::ABSENT,
            sum: 0,
            readers: vec![0; plan.values.count()],
            makers: vec![0; plan.values.count()],
            taken: Vec::with_capacity(plan.entries.len()),
            frames: Vec::new(),
            choices: Vec::new(),
            failed: HashSet::default(),
            is_stuck: false,
            longest: Vec::new(),
            steps: 0,
        };
        for entry in &plan.entries {
            if let Some(value) = entry.reads() {
                search.readers[value.index()] += 1;
            }
            if let Some(value) = entry.becomes {
                search.makers[value.index()] += 1;
            }
        }
        search
    }

    /// Searches for at most so many steps; how many it took.
    pub(crate) fn run(mut self, steps_max: u64) -> (Finding, u64) {
        loop {
            self.take_what_changes_nothing();
            if self.next[self.end()] as usize == self.end() {
                return (Finding::Order(self.places(&self.taken)), self.steps);
            }
            if !self.is_hopeless() {
                self.open();
            }
            while !self.step(steps_max) {
                self.remember_longest();
                // What was not tried for want of steps proves nothing.
                if self.steps > steps_max {
                    return (Finding::Undecided, self.steps);
                }
                if !self.close() {
                    return (Finding::NoOrder(self.places(&self.longest)), self.steps);
                }
            }
        }
    }

    fn end(&self) -> usize {
        self.plan.entries.len()
    }

    /// Takes every entry that may come next, fits and changes nothing.
    fn take_what_changes_nothing(&mut self) {
        let mut latest = u64::MAX;
        self.is_stuck = false;
        let mut at = self.next[self.end()];
        while let Some(entry) = self.plan.entries.get(at as usize).filter(|entry| entry.earliest <= latest) {
            let next = self.next[at as usize];
            if entry.changes_nothing() && self.fits(entry) {
                self.take(at);
            } else {
                latest = latest.min(entry.latest);
                self.is_stuck |= self.can_never_fit(entry);
            }
            at = next;
        }
    }

    fn fits(&self, entry: &Entry) -> bool {
        entry.need.holds(self.value) && self.is_free(entry)
    }

    /// Whether everything has been taken that must come before, for other reasons than time.
    fn is_free(&self, entry: &Entry) -> bool {
        self.plan.guards(entry).iter().all(|&guard| self.is_taken[guard as usize])
    }

    /// Whether the value it must find has gone and cannot come back.
    fn can_never_fit(&self, entry: &Entry) -> bool {
        match entry.need {
            Need::Is(value) => {
                value != self.value && self.makers[value.index()] == 0 && !self.plan.doubtful[value.index()]
            }
            Need::Never => true,
            Need::Any | Need::IsOrAbsent(_) | Need::Present | Need::Differs(_) => false,
        }
    }

    /// Whether nothing can come of what has been taken. What comes next writes, since all that only reads is taken.
    fn is_hopeless(&self) -> bool {
        let value = self.value.index();
        let must_stay = self.readers[value] > 0 && self.makers[value] == 0 && !self.plan.doubtful[value];
        must_stay || self.is_stuck || self.failed.contains(&self.state())
    }

    /// Stands for what has been taken and what it left.
    fn state(&self) -> u128 {
        self.sum.wrapping_add(weight(u64::from(self.value.0) | 1 << 40))
    }

    /// Adds the entries that nothing left over must precede by time, as far as they are wanted; the moment by which one of them must come.
    fn candidates(&self, found: &mut Vec<u32>, wanted: impl Fn(&Entry) -> bool) -> u64 {
        let mut latest = u64::MAX;
        let mut at = self.next[self.end()];
        while let Some(entry) = self.plan.entries.get(at as usize).filter(|entry| entry.earliest <= latest) {
            latest = latest.min(entry.latest);
            if wanted(entry) {
                found.push(at);
            }
            at = self.next[at as usize];
        }
        latest
    }

    /// Notes the choices there are here.
    fn open(&mut self) {
        let mut choices = std::mem::take(&mut self.choices);
        let first = choices.len();
        let latest = self.candidates(&mut choices, |entry| self.fits(entry));
        self.choices = choices;
        let entries = &self.plan.entries;
        let wanted = self.wanted_by(latest);
        self.choices[first..].sort_unstable_by_key(|&at| {
            let entry = &entries[at as usize];
            (wanted.is_none() || entry.becomes != wanted, entry.latest)
        });
        let mut kept = first;
        for place in first..self.choices.len() {
            let at = self.choices[place];
            let entry = &entries[at as usize];
            // Exchanging the two in an order that begins with the later one contradicts no time and no answer, unless a session
            // holds something back until it has come.
            let is_same = |other: &u32| {
                let other = &entries[*other as usize];
                !entry.is_guard && (other.need, other.becomes) == (entry.need, entry.becomes)
            };
            if !self.choices[first..kept].iter().any(is_same) {
                self.choices[kept] = at;
                kept += 1;
            }
        }
        self.choices.truncate(kept);
        let (taken, value, sum) = (self.taken.len(), self.value, self.sum);
        self.frames.push(Frame { taken, value, sum, first, next: first, ways: None });
    }

    /// The value that the entry which must come first waits for: what makes it is the likeliest next.
    fn wanted_by(&self, latest: u64) -> Option<Value> {
        let mut at = self.next[self.end()];
        while let Some(entry) = self.plan.entries.get(at as usize) {
            if entry.latest == latest {
                return match entry.need {
                    Need::Is(value) if value != self.value => Some(value),
                    _ => None,
                };
            }
            at = self.next[at as usize];
        }
        None
    }

    /// Goes on from the last point at which there is a choice left. `false` if the last point has none.
    fn step(&mut self, steps_max: u64) -> bool {
        let Some(frame) = self.frames.last() else { return false };
        let (taken, value, sum, next) = (frame.taken, frame.value, frame.sum, frame.next);
        if self.taken.len() > taken {
            self.remember_longest();
            self.put_back(taken);
            (self.value, self.sum) = (value, sum);
        }
        self.steps += 1;
        if self.steps > steps_max {
            return false;
        }
        if let Some(&at) = self.choices.get(next) {
            self.take(at);
        } else if let Some((way, at)) = self.next_way(steps_max) {
            way.into_iter().for_each(|class| self.take_doubt(class));
            self.take(at);
        } else {
            return false;
        }
        self.frames.last_mut().into_iter().for_each(|frame| frame.next += 1);
        true
    }

    /// The next way to make an entry fit with operations whose outcome is unknown.
    fn next_way(&mut self, steps_max: u64) -> Option<(Vec<u32>, u32)> {
        if self.plan.classes.is_empty() {
            return None;
        }
        if self.frames.last()?.ways.is_none() {
            let mut ways = self.ways(steps_max);
            ways.reverse();
            self.frames.last_mut()?.ways = Some(ways);
        }
        self.frames.last_mut()?.ways.as_mut()?.pop()
    }

    /// All of them, those for the entry that must come first before the others.
    fn ways(&mut self, steps_max: u64) -> Vec<(Vec<u32>, u32)> {
        let mut misfits = Vec::new();
        let latest = self.candidates(&mut misfits, |entry| !entry.need.holds(self.value) && self.is_free(entry));
        misfits.sort_unstable_by_key(|&at| self.plan.entries[at as usize].latest);
        let startable = |class: usize| {
            let left = self.plan.classes[class].members.iter().skip(self.used[class] as usize);
            left.take_while(|(start, _)| *start <= latest).count()
        };
        let left: Vec<usize> = (0..self.plan.classes.len()).map(startable).collect();
        let mut found = Vec::new();
        for at in misfits {
            let need = self.plan.entries[at as usize].need;
            let ways = doubts::ways(self.plan, need, self.value, &left, steps_max, &mut self.steps);
            found.extend(ways.into_iter().map(|way| (way, at)));
        }
        found
    }

    /// Gives up the last point at which there was a choice. `false` if there is none.
    fn close(&mut self) -> bool {
        let Some(frame) = self.frames.pop() else { return false };
        self.put_back(frame.taken);
        (self.value, self.sum) = (frame.value, frame.sum);
        self.choices.truncate(frame.first);
        self.failed.insert(self.state());
        true
    }

    fn take(&mut self, at: u32) {
        let place = at as usize;
        let entry = &self.plan.entries[place];
        let (next, previous) = (self.next[place], self.previous[place]);
        self.next[previous as usize] = next;
        self.previous[next as usize] = previous;
        self.is_taken[place] = true;
        if let Some(value) = entry.reads() {
            self.readers[value.index()] -= 1;
        }
        if let Some(value) = entry.becomes {
            self.makers[value.index()] -= 1;
            self.value = value;
        }
        self.sum = self.sum.wrapping_add(weight(u64::from(at)));
        self.taken.push(at);
    }

    fn take_doubt(&mut self, class: u32) {
        self.used[class as usize] += 1;
        self.value = match self.plan.classes[class as usize].change {
            Change::Becomes(value) => value,
            Change::Adds(by) => self.plan.values.sum(self.value, by).unwrap_or(Value::OTHER),
        };
        self.sum = self.sum.wrapping_add(weight(u64::from(class | DOUBT)));
        self.taken.push(class | DOUBT);
    }

    /// Undoes what has been taken beyond so many, but for value and sum.
    fn put_back(&mut self, count: usize) {
        while self.taken.len() > count {
            let Some(at) = self.taken.pop() else { return };
            if at & DOUBT != 0 {
                self.used[(at & !DOUBT) as usize] -= 1;
                continue;
            }
            let place = at as usize;
            let entry = &self.plan.entries[place];
            let (next, previous) = (self.next[place], self.previous[place]);
            self.next[previous as usize] = at;
            self.previous[next as usize] = at;
            self.is_taken[place] = false;
            if let Some(value) = entry.reads() {
                self.readers[value.index()] += 1;
            }
            if let Some(value) = entry.becomes {
                self.makers[value.index()] += 1;
            }
        }
    }

    fn remember_longest(&mut self) {
        if self.taken.len() > self.longest.len() {
            self.longest.clone_from(&self.taken);
        }
    }

    /// Where what was taken stands in the history.
    fn places(&self, taken: &[u32]) -> Vec<u32> {
        let mut used = vec![0; self.used.len()];
        let place = |&at: &u32| {
            let class = (at & !DOUBT) as usize;
            if at & DOUBT == 0 {
                return self.plan.entries[class].place;
            }
            used[class] += 1;
            self.plan.classes[class].members[used[class] - 1].1
        };
        taken.iter().map(place).collect()
    }
}

/// A random number for each thing that can be taken and each value; the same in every run.
fn weight(thing: u64) -> u128 {
    let mix = |mut x: u64| {
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    let high = mix(thing.wrapping_mul(2).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let low = mix(thing.wrapping_mul(2).wrapping_add(2).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    u128::from(high) << 64 | u128::from(low)
}

/// Sums are as good as random already.
#[derive(Default)]
struct Sum(u64);

impl Hasher for Sum {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, sum: u128) {
        self.0 = (sum >> 64) as u64;
    }
}
