//! The last commands that took long, for SLOWLOG.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::clients::KnownClient;

/// Of each request so many words are kept, the last of which says how many more there were.
const WORDS_MAX: usize = 32;
/// Of each word so many bytes are kept.
const WORD_BYTES_MAX: usize = 128;

/// A request that took long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowRequest {
    /// Its number, from 0.
    pub id: u64,
    /// When it was answered: Unix time in seconds.
    pub at: u64,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// Its words, shortened.
    pub args: Vec<Bytes>,
    /// The client's address.
    pub client: String,
    /// The client's name.
    pub client_name: String,
}

/// Which requests are kept, and those that are.
#[derive(Debug)]
pub struct SlowLog {
    /// In microseconds; negative: none are kept.
    slower_than: AtomicI64,
    length_max: AtomicUsize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    next: u64,
    /// The newest first.
    requests: VecDeque<SlowRequest>,
}

impl SlowLog {
    /// What Redis takes for slow, in microseconds.
    pub const SLOWER_THAN_DEFAULT: i64 = 10_000;
    /// How many Redis keeps.
    pub const LENGTH_DEFAULT: usize = 128;
    /// More are not kept, whatever is asked for.
    pub const LENGTH_MAX: usize = 10_000;

    /// An empty one. `slower_than` is in microseconds, negative to keep nothing.
    #[must_use]
    pub fn new(slower_than: i64, length_max: usize) -> Self {
        let length_max = length_max.min(Self::LENGTH_MAX);
        Self {
            slower_than: AtomicI64::new(slower_than),
            length_max: AtomicUsize::new(length_max),
            kept: Mutex::default(),
        }
    }

    /// What is slow; `None` if nothing is kept, so that nobody need measure.
    #[must_use]
    pub fn threshold(&self) -> Option<Duration> {
        u64::try_from(self.slower_than.load(Ordering::Relaxed)).ok().map(Duration::from_micros)
    }

    /// The setting, in microseconds.
    #[must_use]
    pub fn slower_than(&self) -> i64 {
        self.slower_than.load(Ordering::Relaxed)
    }

    pub(crate) fn set_slower_than(&self, micros: i64) {
        self.slower_than.store(micros, Ordering::Relaxed);
    }

    /// How many are kept.
    #[must_use]
    pub fn length_max(&self) -> usize {
        self.length_max.load(Ordering::Relaxed)
    }

    pub(crate) fn set_length_max(&self, length: usize) {
        self.length_max.store(length.min(Self::LENGTH_MAX), Ordering::Relaxed);
        self.kept.lock().requests.truncate(length);
    }

    /// Keeps a request that took so long, whatever the threshold. `now_micros` is Unix time.
    pub fn keep(&self, args: &[Bytes], took: Duration, client: &KnownClient, now_micros: u64) {
        let length_max = self.length_max();
        let args = shortened(args);
        let (client, client_name) = (client.address().to_owned(), client.name());
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let mut kept = self.kept.lock();
        let id = kept.next;
        kept.next += 1;
        kept.requests.push_front(SlowRequest { id, at: now_micros / 1_000_000, micros, args, client, client_name });
        kept.requests.truncate(length_max);
    }

    /// The newest, so many at most.
    #[must_use]
    pub fn newest(&self, count: usize) -> Vec<SlowRequest> {
        self.kept.lock().requests.iter().take(count).cloned().collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.lock().requests.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets them. Numbers go on.
    pub fn clear(&self) {
        self.kept.lock().requests.clear();
    }
}

/// As Redis shortens them. In memory of their own: as they came they keep everything alive that was read with them.
fn shortened(args: &[Bytes]) -> Vec<Bytes> {
    let word = |arg: &Bytes| match arg.len().checked_sub(WORD_BYTES_MAX) {
        None | Some(0) => Bytes::copy_from_slice(arg),
        Some(more) => {
            let mut word = arg.get(..WORD_BYTES_MAX).unwrap_or_default().to_vec();
            word.extend_from_slice(format!("... ({more} more bytes)").as_bytes());
            word.into()
        }
    };
    if args.len() <= WORDS_MAX {
        return args.iter().map(word).collect();
    }
    let more = args.len() - (WORDS_MAX - 1);
    let last = Bytes::from(format!("... ({more} more arguments)"));
    args.iter().take(WORDS_MAX - 1).map(word).chain([last]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> KnownClient {
        KnownClient::new(1, "10.0.0.9:5000".into(), String::new(), 0, Box::new(|_| ()))
    }

    fn args(line: &str) -> Vec<Bytes> {
        line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    #[test]
    fn the_newest_are_kept_and_numbers_go_on() {
        let log = SlowLog::new(0, 2);
        assert_eq!(log.threshold(), Some(Duration::ZERO));
        for line in ["GET a", "GET b", "GET c"] {
            log.keep(&args(line), Duration::from_micros(7), &client(), 1_700_000_000_999_999);
        }
        let newest = log.newest(10);
        assert_eq!(newest.iter().map(|slow| slow.id).collect::<Vec<_>>(), [2, 1]);
        let SlowRequest { at, micros, args: words, client: address, .. } = &newest[0];
        assert_eq!((*at, *micros, words, &address[..]), (1_700_000_000, 7, &args("GET c"), "10.0.0.9:5000"));
        log.clear();
        log.keep(&args("GET d"), Duration::ZERO, &client(), 0);
        assert_eq!(log.newest(1)[0].id, 3);
        log.set_length_max(0);
        log.keep(&args("GET e"), Duration::ZERO, &client(), 0);
        assert!(log.is_empty());
        log.set_slower_than(-1);
        assert_eq!(log.threshold(), None);
    }

    #[test]
    fn long_requests_are_shortened() {
        let many: Vec<Bytes> = (0..40).map(|n| Bytes::from(n.to_string())).collect();
        let words = shortened(&many);
        assert_eq!((words.len(), &words[30][..], &words[31][..]), (32, &b"30"[..], &b"... (9 more arguments)"[..]));
        assert_eq!(shortened(&many[..32]), many[..32]);
        let long = shortened(&[Bytes::from(vec![b'x'; 130]), Bytes::from(vec![b'y'; 128])]);
        assert_eq!(long[0], format!("{}... (2 more bytes)", "x".repeat(128)));
        assert_eq!(long[1], "y".repeat(128));
    }
}
