//! A disk whose flushes are late.
//!
//! Nothing is lost and nothing fails: what a flush promises holds when it returns, it only returns late. Reads and writes go to the
//! system's cache, and are as fast as ever.

use std::fs;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use simplekv_engine::fs::{File, Fs, Lock, Map};

/// How late flushes are, as somebody outside says.
#[derive(Debug)]
pub(crate) struct Slowness {
    file: Option<PathBuf>,
    late: AtomicU64,
}

/// Another file system with late flushes.
#[derive(Debug)]
pub(crate) struct SlowFs {
    inner: Arc<dyn Fs>,
    slowness: Arc<Slowness>,
}

#[derive(Debug)]
struct SlowFile {
    inner: Arc<dyn File>,
    slowness: Arc<Slowness>,
}

impl Slowness {
    /// Asks the file for milliseconds before each flush; without a file, none is late.
    pub(crate) fn told_by(file: Option<PathBuf>) -> Arc<Self> {
        Arc::new(Self { file, late: AtomicU64::new(0) })
    }

    fn wait(&self) {
        let Some(file) = &self.file else { return };
        let told = fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok());
        let Some(millis) = told.filter(|&millis| millis > 0) else { return };
        std::thread::sleep(Duration::from_millis(millis));
        let late = self.late.fetch_add(1, Ordering::Relaxed) + 1;
        // Who counts finds out by the number that stays the same.
        let _ = fs::write(file.with_extension("count"), late.to_string());
    }
}

impl SlowFs {
    pub(crate) fn new(inner: Arc<dyn Fs>, slowness: Arc<Slowness>) -> Self {
        Self { inner, slowness }
    }

    fn slow(&self, inner: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(SlowFile { inner, slowness: Arc::clone(&self.slowness) })
    }
}

impl Fs for SlowFs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.inner.create_new(path).map(|file| self.slow(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.inner.open(path).map(|file| self.slow(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.slowness.wait();
        self.inner.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        self.inner.lock(path)
    }
}

impl File for SlowFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.inner.write_at(offset, parts)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        self.inner.next_data(offset)
    }

    fn length(&self) -> io::Result<u64> {
        self.inner.length()
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.inner.set_length(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.inner.allocate(length)
    }

    fn map(&self, length: u64) -> io::Result<Option<Arc<dyn Map>>> {
        self.inner.map(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.slowness.wait();
        self.inner.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use simplekv_engine::fs::RealFs;

    use super::*;

    #[test]
    fn a_flush_is_as_late_as_the_file_says_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let told = dir.path().join("slow");
        let slow = SlowFs::new(Arc::new(RealFs), Slowness::told_by(Some(told.clone())));
        let file = slow.create_new(&dir.path().join("data")).unwrap();
        file.sync_data().unwrap();
        assert!(!told.with_extension("count").exists());
        fs::write(&told, "30\n").unwrap();
        let begun = Instant::now();
        file.sync_data().unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(30));
        assert_eq!(fs::read_to_string(told.with_extension("count")).unwrap(), "1");
    }
}
