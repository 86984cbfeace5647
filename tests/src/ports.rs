//! Ports nobody listens on.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the range the system hands out to outgoing connections, so that a stopped process finds its port free again, and above
/// the one etcd gets its ports from.
const FIRST: u32 = 30_000;
const COUNT: u32 = 2_700;

/// `N` ports of the loopback interface on which nobody listens now, and which this process has not handed out before.
#[must_use]
pub fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes that run at the same time begin at different places.
    let begin = std::process::id().wrapping_mul(97);
    std::array::from_fn(|_| {
        let candidates =
            std::iter::repeat_with(|| begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT + FIRST);
        let ports = candidates.take(COUNT as usize).filter_map(|port| u16::try_from(port).ok());
        ports.into_iter().find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok()).expect("some port is free")
    })
}
