//! The numbers of a client's writes, and which of them have been answered.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use simplekv_types::{ClientId, Seq};

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

    fn end(&self, seq: Seq) {
        let mut window = self.window.lock();
        let at = usize::try_from(seq.0 - window.first).expect("a window fits in memory");
        *window.answered.get_mut(at).expect("a number in use lies in the window") = true;
        while window.answered.front() == Some(&true) {
            window.answered.pop_front();
            window.first += 1;
        }
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
        self.sequence.end(self.seq);
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
}
