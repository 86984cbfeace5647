//! What clients want to be told when it happens.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use simplekv_proto::v1;
use simplekv_proto::v1::event::What;
use simplekv_proto::v1::listen_request::Ask;
use simplekv_proto::v1::subscribe::Naming as Wire;
use simplekv_resp::session::Stale;
use simplekv_resp::{Body, Command, Control, Request};
use simplekv_types::{Failure, Naming, Position, Reply, Slot};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tonic::{Status, Streaming};

use crate::awaited;
use crate::channels::Message;
use crate::group::{GroupRequest, Submission};
use crate::rpc::status;
use crate::shared::Shared;
use crate::tracking::Tracker;

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
    let mut tracking: Option<(u64, Arc<Tracker>)> = None;
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
        match ask {
            Some(Ask::Wait(v1::WaitForElements { keys })) if waits.has_room() => {
                waits.add(id, tell_when_there(Arc::clone(&shared), id, keys, events.clone()));
            }
            Some(Ask::Subscribe(wanted)) if waits.has_room() => {
                waits.add(id, tell_what_is_said(Arc::clone(&shared), id, wanted, events.clone()));
            }
            Some(Ask::Track(wanted)) if wanted.prefixes.len() <= ASKED_MAX => {
                let (known, tracker) = tracking.get_or_insert_with(|| {
                    let tracker = Arc::new(shared.tracking().tracker(tracker_number()));
                    waits.add(id, tell_what_changes(Arc::clone(&tracker), id, events.clone()));
                    (id, tracker)
                });
                tracker.track_prefixes(wanted.prefixes.into_iter().collect());
                let what = What::Tracking(v1::Tracking { tracker: tracker.id() });
                let _ = events.send(Ok(v1::Event { id: *known, what: Some(what) })).await;
            }
            Some(Ask::Publish(said)) => {
                let heard = v1::Event { id, what: Some(publish(&shared, &said)) };
                // That nobody listens any more shows above.
                let _ = events.send(Ok(heard)).await;
            }
            Some(Ask::Question(question)) if waits.has_room() => {
                waits.add(id, tell_what_is_known(Arc::clone(&shared), id, question, events.clone()));
            }
            Some(Ask::Stop(_)) => {
                if let Some(wait) = waits.running.remove(&id) {
                    wait.abort();
                }
                tracking = tracking.filter(|(known, _)| *known != id);
            }
            Some(Ask::Wait(_) | Ask::Subscribe(_) | Ask::Question(_) | Ask::Track(_)) => {
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
    fn has_room(&mut self) -> bool {
        if self.running.len() >= self.tidy_at.clamp(64, ASKED_MAX) {
            self.running.retain(|_, wait| !wait.is_finished());
            self.tidy_at = self.running.len() * 2;
        }
        self.running.len() < ASKED_MAX
    }

    fn add(&mut self, id: u64, wait: impl Future<Output = ()> + Send + 'static) {
        let wait = tokio::spawn(wait).abort_handle();
        // A client that uses a number twice does not care for what it was before.
        if let Some(other) = self.running.insert(id, wait) {
            other.abort();
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

async fn tell_what_is_known(
    shared: Arc<Shared>,
    id: u64,
    question: v1::Question,
    events: mpsc::Sender<Result<v1::Event, Status>>,
) {
    let what = match known(&shared, question).await {
        Some(reply) => What::Answer(reply.into()),
        None => What::Ended(v1::Ended {}),
    };
    let _ = events.send(Ok(v1::Event { id, what: Some(what) })).await;
}

/// The answer to a question; `None` if it is not for this node.
async fn known(shared: &Shared, v1::Question { args, seen }: v1::Question) -> Option<Reply> {
    match Request::parse(args.into()).ok()?.body {
        Body::Control(Control::PubSub(query)) => Some(shared.channels().answer(&query)),
        Body::Control(Control::Wait(wait)) => {
            let position = Position::try_from(seen?).ok()?;
            awaited::group(shared, &wait, position, awaited::deadline(&wait)).await
        }
        _ => None,
    }
}

/// Numbers of connections of the Redis protocol count from 1, and these lie beyond all that they can name. Drawn, so that a client that
/// still has one of an earlier run of the node cannot mean another client's.
fn tracker_number() -> u64 {
    rand::random::<u64>() | 1 << 63
}

async fn tell_what_changes(tracker: Arc<Tracker>, id: u64, events: mpsc::Sender<Result<v1::Event, Status>>) {
    loop {
        let what = What::Stale(match tracker.next().await.own {
            Stale::Everything => v1::Stale { keys: Vec::new(), everything: true },
            Stale::Keys(keys) => v1::Stale { keys: keys.into_iter().collect(), everything: false },
        });
        if events.send(Ok(v1::Event { id, what: Some(what) })).await.is_err() {
            return;
        }
    }
}

fn publish(shared: &Shared, said: &v1::Publish) -> What {
    let v1::Publish { channel, message, .. } = said;
    let by = match said.naming() {
        Wire::Shard if shared.channel_is_elsewhere(channel).is_some() => return What::Ended(v1::Ended {}),
        Wire::Shard => shared.channels().publish(Naming::Shard, channel, message),
        Wire::Channel | Wire::Pattern => shared.say(channel, message),
    };
    What::Heard(v1::Heard { by: by as u64 })
}

async fn tell_what_is_said(
    shared: Arc<Shared>,
    id: u64,
    wanted: v1::Subscribe,
    events: mpsc::Sender<Result<v1::Event, Status>>,
) {
    let tell = |what| {
        let events = events.clone();
        async move { events.send(Ok(v1::Event { id, what: Some(what) })).await.is_ok() }
    };
    let naming = match wanted.naming() {
        Wire::Channel => Naming::Channel,
        Wire::Pattern => Naming::Pattern,
        Wire::Shard => Naming::Shard,
    };
    let is_elsewhere = || naming == Naming::Shard && shared.channel_is_elsewhere(&wanted.name).is_some();
    let mut routing = shared.routing_changes();
    let mut listener = shared.channels().listener();
    listener.subscribe(naming, &wanted.name);
    let mut goes_on = !is_elsewhere() && tell(What::Listening(v1::Listening {})).await;
    while goes_on {
        goes_on = tokio::select! {
            message = listener.next() => match message {
                Some(Message { channel, message, .. }) => tell(What::Message(v1::Message { channel, message })).await,
                None => break,
            },
            changed = routing.changed(), if naming == Naming::Shard => changed.is_ok() && !is_elsewhere(),
        };
    }
    tell(What::Ended(v1::Ended {})).await;
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
    let requests = vec![GroupRequest { command, dedupe: None, barrier: false, origin: None }];
    if hosted.submit(Submission { requests, respond }).is_err() {
        return true;
    }
    let reply = answers.await.ok().and_then(|mut answers| answers.pop()).map(|answer| answer.reply);
    reply != Some(Reply::Int(0))
}
