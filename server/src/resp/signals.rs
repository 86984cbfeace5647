//! What a connection is told by others while it waits.

use std::sync::Arc;

use parking_lot::Mutex;
use simplekv_resp::clients::{Order, Tell};
use simplekv_resp::control::UnblockReason;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What one connection was told and has not noticed yet.
#[derive(Debug, Default)]
pub(super) struct Signals {
    unblocked: Mutex<Option<UnblockReason>>,
    unblock: Notify,
    resume: Notify,
}

impl Signals {
    /// How the connection is told. `ended` drops it wherever it is.
    pub(super) fn tell(self: &Arc<Self>, ended: CancellationToken) -> Tell {
        let signals = Arc::clone(self);
        Box::new(move |order| match order {
            Order::End => ended.cancel(),
            Order::Unblock(reason) => {
                *signals.unblocked.lock() = Some(reason);
                signals.unblock.notify_one();
            }
            Order::Resume => signals.resume.notify_one(),
        })
    }

    /// What was told about an earlier wait does not concern the next.
    pub(super) fn forget(&self) {
        self.unblocked.lock().take();
    }

    /// Waits until somebody says that waiting has to end.
    pub(super) async fn unblocked(&self) -> UnblockReason {
        loop {
            let told = self.unblock.notified();
            if let Some(reason) = self.unblocked.lock().take() {
                return reason;
            }
            told.await;
        }
    }

    /// Waits until a pause may be over.
    pub(super) async fn resumed(&self) {
        self.resume.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn only_what_is_told_during_a_wait_ends_it() {
        let signals = Arc::new(Signals::default());
        let ended = CancellationToken::new();
        let tell = signals.tell(ended.clone());
        tell(Order::Unblock(UnblockReason::Error));
        signals.forget();
        assert_eq!(signals.unblocked().now_or_never(), None, "it was another wait");
        tell(Order::Unblock(UnblockReason::Timeout));
        assert_eq!(signals.unblocked().now_or_never(), Some(UnblockReason::Timeout));
        assert_eq!(signals.unblocked().now_or_never(), None);
        tell(Order::End);
        assert!(ended.is_cancelled());
    }
}
