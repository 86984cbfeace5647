//! How often each node turns to the store while nothing happens. Multiplied by all nodes, this is most of what the store has to do.

use std::time::Duration;

/// A member that has said nothing on a watch for this long is asked whether it is there.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// What the listings of all nodes together may ask the store for in a second, in bytes.
const LISTED_PER_SECOND: u128 = 16 << 20;

/// How long after a keep-alive of a session the next one is sent: three tries fit into its time to live.
#[must_use]
pub fn keep_alive_interval(ttl: Duration) -> Duration {
    ttl / 3
}

/// How long after a listing the next one follows: `least`, or longer where so many nodes list so many bytes.
///
/// What a listing mends are events that a watch has lost, which is rare; in a cluster of thousands the listings would be most of what
/// the store sends.
#[must_use]
pub fn relist_interval(least: Duration, nodes: usize, bytes: usize) -> Duration {
    let all = nodes as u128 * bytes as u128;
    least.max(Duration::from_millis(u64::try_from(all * 1000 / LISTED_PER_SECOND).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_large_clusters_list_less_often() {
        let minute = Duration::from_secs(60);
        assert_eq!(relist_interval(minute, 3, 20_000), minute);
        assert_eq!(relist_interval(minute, 300, 300_000), minute);
        assert_eq!(relist_interval(minute, 4096, 4 << 20), Duration::from_secs(1024));
    }
}
