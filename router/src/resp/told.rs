//! What a connection is told by others.

use std::sync::Arc;

use parking_lot::Mutex;
use simplekv_resp::clients::{Order, Tell};
use simplekv_resp::control::UnblockReason;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// That what waits is to wait no longer.
#[derive(Debug, Default)]
pub(super) struct Unblocked {
    reason: Mutex<Option<UnblockReason>>,
    told: Notify,
}

impl Unblocked {
    /// What was told about an earlier wait does not concern the next.
    pub(super) fn forget(&self) {
        self.reason.lock().take();
    }

    /// Waits until it is told.
    pub(super) async fn told(&self) {
        loop {
            let told = self.told.notified();
            if self.reason.lock().is_some() {
                return;
            }
            told.await;
        }
    }

    /// What was told, once.
    pub(super) fn take(&self) -> Option<UnblockReason> {
        self.reason.lock().take()
    }
}

/// What others may tell one connection.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// Drops the connection wherever it is.
    pub(super) ended: CancellationToken,
    /// Filled once the connection has begun.
    pub(super) unblocked: Mutex<Arc<Unblocked>>,
    /// A pause may be over.
    pub(super) resumed: Notify,
}

impl Signals {
    /// How the connection is told.
    pub(super) fn tell(self: &Arc<Self>) -> Tell {
        let signals = Arc::clone(self);
        Box::new(move |order| match order {
            Order::End => signals.ended.cancel(),
            Order::Unblock(reason) => {
                let unblocked = Arc::clone(&signals.unblocked.lock());
                *unblocked.reason.lock() = Some(reason);
                unblocked.told.notify_one();
            }
            Order::Resume => signals.resumed.notify_one(),
        })
    }
}
