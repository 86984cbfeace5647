//! What clients want to be told when it happens.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use simplekv_proto::v1;
use simplekv_proto::v1::event::What;
use simplekv_proto::v1::listen_request::Ask;
use simplekv_resp::Command;
use simplekv_types::{Failure, Reply, Slot};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tonic::{Status, Streaming};

use crate::group::{GroupRequest, Submission};
use crate::rpc::status;
use crate::shared::Shared;

/// Most that one client may wait for at a time.
const ASKED_MAX: usize = 65_536;
/// How long a client that was told has for trying what it wanted before the next one is told that something may be left.
const HEAD_START: Duration = Duration::from_millis(20);

/// Serves one client until either side ends the stream.
pub(super) async fn serve(
    shared: Arc<Shared>,
    mut asked: Streaming<v1::ListenRequest>,
    events: mpsc::Sender<Result<v1::Event, Status>>,
) {
    let mut waits = Waits::default();
    loop {
        let request = tokio::select! {
            request = asked.message() => request,
            () = events.closed() => return,
        };
        let v1::ListenRequest { id, ask } = match request {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(status) => {
                let _ = events.send(Err(status)).await;
                return;
            }
        };
        waits.forget_those_done();
        match ask {
            Some(Ask::Wait(v1::WaitForElements { keys })) if waits.running.len() < ASKED_MAX => {
                let wait = tell_when_there(Arc::clone(&shared), id, keys, events.clone());
                waits.running.insert(id, tokio::spawn(wait).abort_handle());
            }
            Some(Ask::Stop(_)) => {
                if let Some(wait) = waits.running.remove(&id) {
                    wait.abort();
                }
            }
            Some(Ask::Wait(_)) => {
                let failure = Failure::Busy { what: "too much is waited for on one stream" };
                let _ = events.send(Err(status::failure(&failure))).await;
                return;
            }
            // Of a newer client: it will not be told, and asks again when it thinks fit.
            None => (),
        }
    }
}

/// What runs for one client; ends with it.
#[derive(Default)]
struct Waits {
    running: HashMap<u64, AbortHandle>,
    /// When so many run, those that are done are looked for.
    tidy_at: usize,
}

impl Waits {
    fn forget_those_done(&mut self) {
        if self.running.len() >= self.tidy_at.max(64) {
            self.running.retain(|_, wait| !wait.is_finished());
            self.tidy_at = self.running.len() * 2;
        }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.running.values().for_each(AbortHandle::abort);
    }
}

async fn tell_when_there(
    shared: Arc<Shared>,
    id: u64,
    keys: Vec<Bytes>,
    events: mpsc::Sender<Result<v1::Event, Status>>,
) {
    let woken = || Ok(v1::Event { id, what: Some(What::Woken(v1::Woken {})) });
    let mut routing = shared.routing_changes();
    let Some(mut waiter) = shared.wait_for(keys.iter()) else {
        let _ = events.send(woken()).await;
        return;
    };
    // Whoever gets elements from now on wakes it; what is there already has to be looked for.
    while !may_have_elements(&shared, &keys).await {
        tokio::select! {
            () = waiter.woken() => break,
            changed = routing.changed() => if changed.is_err() { return },
        }
    }
    waiter.step_aside();
    if events.send(woken()).await.is_ok() {
        tokio::time::sleep(HEAD_START).await;
    }
}

/// Whether one of the keys is there, as the group's writer sees it: with all that is evaluated, whether committed or not. Also if that
/// cannot be known here.
async fn may_have_elements(shared: &Shared, keys: &[Bytes]) -> bool {
    let first = keys.first().map_or(Slot::MIN, |key| Slot::of_key(key));
    let Some(group) =
        shared.routing().owner(first).filter(|group| !shared.routing().led_elsewhere(*group, shared.node()))
    else {
        return true;
    };
    let Some(hosted) = shared.hosted(group) else { return true };
    let command = Command::Exists { keys: keys.iter().cloned().collect() };
    let (respond, answers) = oneshot::channel();
    let requests = vec![GroupRequest { command, dedupe: None, barrier: false }];
    if hosted.submit(Submission { requests, respond }).is_err() {
        return true;
    }
    let reply = answers.await.ok().and_then(|mut answers| answers.pop()).map(|answer| answer.reply);
    reply != Some(Reply::Int(0))
}
