//! The numbers of a client's writes, and which of them have been answered.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use simplekv_types::{ClientId, Seq};
use smallvec::SmallVec;

/// Hands out the numbers of writes and knows below which number every write has been answered: nodes forget those results.
#[derive(Debug)]
pub(crate) struct Sequence {
    client: ClientId,
    window: Mutex<Window>,
}

/// Invariant: the write numbered `first + i` has been answered iff `answered[i]`; the first one in the window never has, and all
/// numbers below `first` have.
#[derive(Debug)]
struct Window {
    first: u64,
    answered: VecDeque<bool>,
}

impl Sequence {
    pub(crate) fn new(client: ClientId) -> Arc<Self> {
        Arc::new(Self { client, window: Mutex::new(Window { first: 1, answered: VecDeque::new() }) })
    }

    pub(crate) fn client(&self) -> ClientId {
        self.client
    }

    /// The next number. It counts as answered once the returned value is dropped: by then nobody asks for its result any more,
    /// whether it was answered, given up or cancelled.
    pub(crate) fn begin(self: &Arc<Self>) -> WriteNumber {
        let mut window = self.window.lock();
        let seq = window.first + window.answered.len() as u64;
        window.answered.push_back(false);
        WriteNumber { seq: Seq(seq), ack_below: Seq(window.first), sequence: Arc::clone(self) }
    }

    /// The next `count` numbers at once. Each counts as answered once the returned value is dropped, unless it was let go.
    pub(crate) fn begin_together(self: &Arc<Self>, count: usize) -> WriteNumbers {
        let mut window = self.window.lock();
        let first = window.first + window.answered.len() as u64;
        let unanswered = window.answered.len() + count;
        window.answered.resize(unanswered, false);
        let (count, ack_below, sequence) = (count as u64, Seq(window.first), Arc::clone(self));
        WriteNumbers { first, count, ack_below, let_go: SmallVec::new(), sequence }
    }

    fn end(&self, numbers: impl IntoIterator<Item = u64>) {
        let mut window = self.window.lock();
        for number in numbers {
            let at = usize::try_from(number - window.first).expect("a window fits in memory");
            *window.answered.get_mut(at).expect("a number in use lies in the window") = true;
        }
        while window.answered.front() == Some(&true) {
            window.answered.pop_front();
            window.first += 1;
        }
    }
}

/// The numbers of writes in progress that were begun together.
#[derive(Debug)]
pub(crate) struct WriteNumbers {
    first: u64,
    count: u64,
    /// All writes below had been answered when these began.
    pub(crate) ack_below: Seq,
    /// Those whose writes go on by themselves.
    let_go: SmallVec<[u64; 2]>,
    sequence: Arc<Sequence>,
}

impl WriteNumbers {
    /// The number of the write that was begun as this one of them.
    pub(crate) fn number(&self, at: usize) -> Seq {
        debug_assert!((at as u64) < self.count, "it was begun with the others");
        Seq(self.first + at as u64)
    }

    /// Lets go of one of them, which is not answered yet.
    pub(crate) fn let_go(&mut self, seq: Seq) -> WriteNumber {
        self.let_go.push(seq.0);
        WriteNumber { seq, ack_below: self.ack_below, sequence: Arc::clone(&self.sequence) }
    }
}

impl Drop for WriteNumbers {
    fn drop(&mut self) {
        let numbers = self.first..self.first + self.count;
        self.sequence.end(numbers.filter(|number| !self.let_go.contains(number)));
    }
}

/// The number of one write in progress.
#[derive(Debug)]
pub(crate) struct WriteNumber {
    pub(crate) seq: Seq,
    /// All writes below had been answered when this one began.
    pub(crate) ack_below: Seq,
    sequence: Arc<Sequence>,
}

impl Drop for WriteNumber {
    fn drop(&mut self) {
        self.sequence.end([self.seq.0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ack_below_is_the_smallest_unanswered_number() {
        let sequence = Sequence::new(ClientId(1));
        let first = sequence.begin();
        let second = sequence.begin();
        assert_eq!((first.seq, first.ack_below), (Seq(1), Seq(1)));
        assert_eq!((second.seq, second.ack_below), (Seq(2), Seq(1)));
        drop(second);
        assert_eq!(sequence.begin().ack_below, Seq(1), "1 is still open");
        drop(first);
        let next = sequence.begin();
        assert_eq!((next.seq, next.ack_below), (Seq(4), Seq(4)));
    }

    #[test]
    fn what_began_together_ends_together_but_for_what_was_let_go() {
        let sequence = Sequence::new(ClientId(1));
        let mut numbers = sequence.begin_together(3);
        assert_eq!([0, 1, 2].map(|at| numbers.number(at)), [Seq(1), Seq(2), Seq(3)]);
        assert_eq!(numbers.ack_below, Seq(1));
        let second = numbers.let_go(Seq(2));
        assert_eq!((second.seq, second.ack_below), (Seq(2), Seq(1)));
        drop(numbers);
        let next = sequence.begin();
        assert_eq!((next.seq, next.ack_below), (Seq(4), Seq(2)));
        drop(second);
        assert_eq!(sequence.begin_together(2).ack_below, Seq(4));
    }
}
