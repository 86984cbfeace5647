//! Who waits for elements of which keys.
//!
//! A waiter stands in a queue at each of its keys. When a key gets elements, whoever has waited longest there is woken and tries what
//! it wanted; when it leaves, having got something or given up, it wakes the next, who may find what is left. So one element wakes one
//! waiter, not all of them, and nobody sleeps beside an element.
//!
//! Invariant: a key with elements has no waiter that has not been woken since it got them, or one that stood before it is trying now.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use simplekv_resp::Keys;
use tokio::sync::Notify;

/// The queues of one group.
#[derive(Debug, Default)]
pub struct Waiters {
    /// How many there are: a writer that begins a key looks no further if there are none.
    count: AtomicUsize,
    queues: Mutex<Queues>,
}

#[derive(Debug, Default)]
struct Queues {
    /// Given to the next waiter.
    number: u64,
    by_key: HashMap<Bytes, VecDeque<Place>>,
}

#[derive(Debug)]
struct Place {
    number: u64,
    woken: Arc<Notify>,
}

/// One that waits, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Waiter {
    waiters: Arc<Waiters>,
    number: u64,
    keys: Keys,
    woken: Arc<Notify>,
    in_queue: bool,
}

impl Waiters {
    /// Stands in the queues of these keys. Only what is tried after that is certain not to miss what it is waiting for.
    pub(crate) fn wait(self: &Arc<Self>, keys: impl IntoIterator<Item = Bytes>) -> Waiter {
        self.count.fetch_add(1, Ordering::SeqCst);
        let woken = Arc::new(Notify::new());
        let mut keys: Keys = keys.into_iter().collect();
        keys.sort_unstable();
        keys.dedup();
        let mut queues = self.queues.lock();
        let number = queues.number;
        queues.number += 1;
        for key in &keys {
            queues.by_key.entry(key.clone()).or_default().push_back(Place { number, woken: Arc::clone(&woken) });
        }
        drop(queues);
        Waiter { waiters: Arc::clone(self), number, keys, woken, in_queue: true }
    }

    /// A key may have got elements: wakes whoever has waited longest for it.
    pub(crate) fn wake(&self, key: &[u8]) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        if let Some(first) = self.queues.lock().by_key.get(key).and_then(VecDeque::front) {
            first.woken.notify_one();
        }
    }

    /// Keys may be another group's now: wakes everybody.
    pub(crate) fn wake_all(&self) {
        if self.count.load(Ordering::SeqCst) > 0 {
            let queues = self.queues.lock();
            queues.by_key.values().flatten().for_each(|place| place.woken.notify_one());
        }
    }

    fn leave(&self, number: u64, keys: &[Bytes]) {
        let mut queues = self.queues.lock();
        for key in keys {
            if let Some(queue) = queues.by_key.get_mut(key) {
                queue.retain(|place| place.number != number);
                if queue.is_empty() {
                    queues.by_key.remove(key);
                }
            }
        }
    }
}

impl Waiter {
    /// Returns once one of the keys may have got elements since the last time.
    pub(crate) async fn woken(&self) {
        self.woken.notified().await;
    }

    /// Leaves the queues; the next is woken only when this is dropped.
    pub(crate) fn step_aside(&mut self) {
        if std::mem::take(&mut self.in_queue) {
            self.waiters.leave(self.number, &self.keys);
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.step_aside();
        for key in &self.keys {
            self.waiters.wake(key);
        }
        self.waiters.count.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn waiter(waiters: &Arc<Waiters>, keys: &[&'static str]) -> Waiter {
        waiters.wait(keys.iter().map(|key| Bytes::from_static(key.as_bytes())))
    }

    fn is_woken(waiter: &Waiter) -> bool {
        waiter.woken().now_or_never().is_some()
    }

    #[test]
    fn who_has_waited_longest_is_woken_and_wakes_the_next_by_leaving() {
        let waiters = Arc::new(Waiters::default());
        waiters.wake(b"a");
        let (first, second) = (waiter(&waiters, &["a", "b", "a"]), waiter(&waiters, &["a"]));
        assert!(!is_woken(&first), "what was before is found by trying");
        waiters.wake(b"a");
        assert_eq!([is_woken(&first), is_woken(&second)], [true, false]);
        drop(first);
        assert!(is_woken(&second), "there may be something left for it");
        assert!(!is_woken(&second));
    }

    #[test]
    fn one_that_was_woken_and_goes_away_wakes_the_next() {
        let waiters = Arc::new(Waiters::default());
        let (first, second) = (waiter(&waiters, &["a"]), waiter(&waiters, &["a"]));
        waiters.wake(b"a");
        drop(first);
        assert!(is_woken(&second));
    }

    #[test]
    fn one_that_steps_aside_leaves_what_comes_now_to_the_next() {
        let waiters = Arc::new(Waiters::default());
        let (mut first, second) = (waiter(&waiters, &["a"]), waiter(&waiters, &["a"]));
        first.step_aside();
        assert!(!is_woken(&second));
        waiters.wake(b"a");
        assert_eq!([is_woken(&first), is_woken(&second)], [false, true]);
    }

    #[test]
    fn nothing_is_kept_of_those_who_have_gone() {
        let waiters = Arc::new(Waiters::default());
        drop(waiter(&waiters, &["a", "b"]));
        assert_eq!((waiters.count.load(Ordering::SeqCst), waiters.queues.lock().by_key.len()), (0, 0));
    }
}
