//! Waiting for conditions, with a reason and a limit.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

/// How long anything may take before it counts as never.
pub const LIMIT: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const PERIOD: Duration = Duration::from_millis(20);

/// Looks until there is something to see, and returns it.
///
/// # Panics
/// After [`LIMIT`], with the reason: read it as "waited until …".
pub async fn until<T>(reason: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    match at_most(LIMIT, reason, look).await {
        Ok(seen) => seen,
        Err(error) => panic!("{error}"),
    }
}

/// Looks until there is something to see, for at most `limit`.
///
/// # Errors
/// After the limit.
pub async fn at_most<T>(limit: Duration, reason: &str, mut look: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(seen) = look().await {
            return Ok(seen);
        }
        if Instant::now() >= deadline {
            bail!("waited for {limit:?} until {reason}");
        }
        tokio::time::sleep(PERIOD).await;
    }
}
