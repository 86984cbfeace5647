//! The thread that waits for a replica's disk, so that nothing else has to.
//!
//! Requests that arrive while a flush runs are answered by one flush afterwards: group commit without a timer. Under
//! `FlushPolicy::Replicated` flushes are at least the configured interval apart.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use simplekv_types::Lsn;

/// What the log was when a flush was asked for; told again when it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) log_end: Lsn,
    pub(crate) truncations: u64,
}

/// What a flush thread has done.
#[derive(Debug)]
pub(crate) enum Done<E> {
    /// Everything written when this mark was set is on disk.
    Flushed(Mark),
    /// The way to the disk is open.
    Probed(u64),
    /// The disk failed. Nothing follows.
    Failed(E),
}

/// A replica's flush thread. Dropping it ends the thread after the flush it is in.
#[derive(Debug)]
pub(crate) struct FlushThread {
    orders: Arc<Orders>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Orders {
    waiting: Mutex<Waiting>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The newest mark to flush up to; one flush serves all before it.
    mark: Option<Mark>,
    probe: Option<u64>,
    ended: bool,
}

impl FlushThread {
    /// Starts the thread. `flush` does the work; `done` is told on the same thread what has been done.
    ///
    /// # Errors
    /// The operating system refuses another thread.
    pub(crate) fn start<E: 'static>(
        name: String,
        gap: Duration,
        mut flush: impl FnMut() -> Result<(), E> + Send + 'static,
        mut done: impl FnMut(Done<E>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let orders = Arc::new(Orders::default());
        let theirs = Arc::clone(&orders);
        let run = move || {
            let mut last: Option<Instant> = None;
            while let Some((mark, probe)) = theirs.next(last, gap) {
                if let Some(mark) = mark {
                    match flush() {
                        Ok(()) => done(Done::Flushed(mark)),
                        Err(error) => return done(Done::Failed(error)),
                    }
                    last = Some(Instant::now());
                }
                if let Some(probe) = probe {
                    done(Done::Probed(probe));
                }
            }
        };
        let thread = std::thread::Builder::new().name(name).spawn(run)?;
        Ok(Self { orders, thread: Some(thread) })
    }

    /// Asks that everything written so far be flushed.
    pub(crate) fn request(&self, mark: Mark) {
        self.orders.waiting.lock().mark = Some(mark);
        self.orders.news.notify_one();
    }

    /// Asks for a sign that flushes still come through: after the flush the thread is in, if it is in one.
    pub(crate) fn probe(&self, id: u64) {
        self.orders.waiting.lock().probe = Some(id);
        self.orders.news.notify_one();
    }
}

impl Orders {
    /// The next order; `None` when the thread should end. A probe does not wait for the gap between flushes.
    fn next(&self, last: Option<Instant>, gap: Duration) -> Option<(Option<Mark>, Option<u64>)> {
        let mut waiting = self.waiting.lock();
        loop {
            let rest = last.map_or(Duration::ZERO, |last| gap.saturating_sub(last.elapsed()));
            if waiting.ended {
                return None;
            }
            if waiting.mark.is_some() && rest.is_zero() {
                // Taken before the flush begins: what is written from here on needs another one.
                return Some((waiting.mark.take(), waiting.probe.take()));
            }
            if waiting.probe.is_some() {
                return Some((None, waiting.probe.take()));
            }
            if waiting.mark.is_some() {
                let _ = self.news.wait_for(&mut waiting, rest);
            } else {
                self.news.wait(&mut waiting);
            }
        }
    }
}

impl Drop for FlushThread {
    fn drop(&mut self) {
        self.orders.waiting.lock().ended = true;
        self.orders.news.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic in the thread has been printed by its own hook.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn mark(end: u64) -> Mark {
        Mark { log_end: Lsn(end), truncations: 0 }
    }

    #[test]
    fn requests_during_a_flush_share_the_next_one() {
        let (started, starts) = channel();
        let (resume, resumes) = channel::<()>();
        let (done, dones) = channel();
        let flush = move || {
            started.send(()).unwrap();
            resumes.recv().map_err(|_| "test over")
        };
        let thread =
            FlushThread::start("flush".into(), Duration::ZERO, flush, move |what| drop(done.send(what))).unwrap();
        thread.request(mark(1));
        starts.recv().unwrap();
        for end in 2..=5 {
            thread.request(mark(end));
        }
        resume.send(()).unwrap();
        assert!(matches!(dones.recv().unwrap(), Done::Flushed(m) if m == mark(1)));
        starts.recv().unwrap();
        resume.send(()).unwrap();
        assert!(matches!(dones.recv().unwrap(), Done::Flushed(m) if m == mark(5)));
    }

    #[test]
    fn a_failed_flush_is_the_last() {
        let (done, dones) = channel();
        let thread =
            FlushThread::start("flush".into(), Duration::ZERO, || Err("EIO"), move |what| drop(done.send(what)))
                .unwrap();
        thread.request(mark(1));
        assert!(matches!(dones.recv().unwrap(), Done::Failed("EIO")));
        thread.request(mark(2));
        assert!(dones.recv().is_err(), "the thread has ended");
    }

    #[test]
    fn a_probe_does_not_wait_for_the_interval() {
        let (done, dones) = channel();
        let hour = Duration::from_secs(3600);
        let thread =
            FlushThread::start("flush".into(), hour, || Ok::<(), ()>(()), move |what| drop(done.send(what))).unwrap();
        thread.request(mark(1));
        assert!(matches!(dones.recv().unwrap(), Done::Flushed(_)));
        thread.request(mark(2));
        thread.probe(7);
        assert!(matches!(dones.recv().unwrap(), Done::Probed(7)));
    }
}
