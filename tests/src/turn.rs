//! One cluster at a time on one machine.

use std::fs::File;

use anyhow::{Context, Result};

/// The right to run a cluster; a [`Cluster`](crate::Cluster) takes it by itself. Tests that measure leases in wall-clock time would disturb each other, whatever runner starts them.
#[derive(Debug)]
pub struct Turn(File);

impl Turn {
    /// Waits until no other process or thread runs a cluster. The lock ends with its holder, however that ends.
    ///
    /// # Errors
    /// If the system has no place or no patience for a lock.
    pub async fn take() -> Result<Self> {
        let path = std::env::temp_dir().join("simplekv-whole-system.lock");
        let file = File::options().create(true).append(true).open(&path).with_context(|| path.display().to_string())?;
        let file = tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await??;
        Ok(Self(file))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Closing the file gives the lock back as well; nothing depends on this succeeding.
        let _ = self.0.unlock();
    }
}
