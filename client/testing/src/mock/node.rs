//! One node's life.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::services::Services;
use super::world::World;

/// A node that has a runtime of its own, so that nothing of it is left when it is killed.
pub(super) struct RunningNode(Runtime);

/// Any free port, or that of a node whose process has just been killed: it may take a moment to be closed.
pub(super) fn listen(address: Option<SocketAddr>) -> TcpListener {
    let address = address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    let listener = (0..2000).find_map(|_| {
        let bound = TcpListener::bind(address);
        if bound.is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        bound.ok()
    });
    let listener = listener.unwrap_or_else(|| panic!("{address} cannot be listened at"));
    listener.set_nonblocking(true).expect("a listener can be made not to block");
    listener
}

pub(super) fn address_of(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("a listener has an address")
}

impl RunningNode {
    pub(super) fn start(id: u32, listener: TcpListener, world: Arc<World>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("the system has a thread left");
        runtime.spawn(Services { id, world }.serve_at(listener));
        Self(runtime)
    }

    pub(super) fn kill(self) {
        self.0.shutdown_background();
    }
}
