//! What a connection hears of channels, and of keys it has read.

use std::sync::Arc;

use bytes::Bytes;
use simplekv_resp::control::ClientCommand;
use simplekv_resp::control::tracking::TrackingRequest;
use simplekv_resp::session::message;
use simplekv_resp::tracking::Told;
use simplekv_resp::{Command, Control, Session};
use simplekv_types::{Failure, Naming, Reply};

use crate::channels::{Listener, Message};
use crate::routing::Routing;
use crate::shared::Shared;
use crate::tracking::Tracker;

/// The ears of one connection.
pub(super) struct Ears<'a> {
    shared: &'a Shared,
    /// Once it has subscribed to anything.
    listener: Option<Listener>,
    routing: tokio::sync::watch::Receiver<Arc<Routing>>,
    /// Channels whose fanning out another node may take over.
    shards: Vec<Bytes>,
    /// What it has read, and whoever has it told here what they have.
    tracker: Tracker,
}

/// What a connection that listens is to be told.
pub(super) enum Heard {
    Message(Reply),
    /// Sharded channels are another node's now: their clients have to subscribe there.
    Elsewhere(Vec<Bytes>),
    /// It does not take its messages.
    GivenUp,
    /// Keys have changed.
    Stale(Told),
}

impl<'a> Ears<'a> {
    pub(super) fn new(shared: &'a Shared, connection: u64) -> Self {
        let tracker = shared.tracking().tracker(connection);
        Self { shared, listener: None, routing: shared.routing_changes(), shards: Vec::new(), tracker }
    }

    /// Answers a command on channels or CLIENT TRACKING; `None` if it is none.
    pub(super) fn answer(&mut self, session: &mut Session, control: &Control) -> Option<Reply> {
        match control {
            Control::Subscribe { naming, names } => Some(self.subscribe(session, *naming, names)),
            Control::Unsubscribe { naming, names } => Some(self.unsubscribe(session, *naming, names)),
            Control::Publish { naming: Naming::Shard, channel, message } => {
                Some(match self.shared.channel_is_elsewhere(channel) {
                    Some(failure) => failure.into(),
                    None => count(self.shared.channels().publish(Naming::Shard, channel, message)),
                })
            }
            Control::Publish { channel, message, .. } => Some(count(self.shared.say(channel, message))),
            Control::PubSub(query) => Some(self.shared.channels().answer(query)),
            Control::Client(ClientCommand::Tracking(request)) => Some(self.track(session, request)),
            _ => None,
        }
    }

    /// Hears nothing any more.
    pub(super) fn close(&mut self) {
        self.stop_listening();
        self.tracker.set_terms(None);
    }

    fn stop_listening(&mut self) {
        self.listener = None;
        self.shards = Vec::new();
    }

    fn track(&self, session: &mut Session, request: &TrackingRequest) -> Reply {
        match session.track(request, |id| self.shared.tracking().has(id)) {
            Ok(terms) => {
                self.tracker.set_terms(terms);
                Reply::Ok
            }
            Err(failure) => failure.into(),
        }
    }

    /// Takes down what is going to be read. What is heard of it is told behind the answer, for nothing is heard in between.
    pub(super) fn read(&self, command: &Command) {
        self.shared.tracking().read(self.tracker.id(), command);
    }

    /// Waits for the next thing to be told; for ever if nothing is subscribed to or tracked.
    pub(super) async fn next(&mut self) -> Heard {
        loop {
            let Some(listener) = &mut self.listener else { return Heard::Stale(self.tracker.next().await) };
            let heard = tokio::select! {
                message = listener.next() => return heard_in_channel(message),
                stale = self.tracker.next() => return Heard::Stale(stale),
                changed = self.routing.changed(), if !self.shards.is_empty() => changed,
            };
            let is_elsewhere = |channel: &&Bytes| self.shared.channel_is_elsewhere(channel).is_some();
            let gone: Vec<Bytes> = self.shards.iter().filter(is_elsewhere).cloned().collect();
            match heard {
                Ok(()) if gone.is_empty() => (),
                Ok(()) => return Heard::Elsewhere(gone),
                Err(_) => self.shards = Vec::new(),
            }
        }
    }

    /// What else there is to be told already.
    pub(super) fn next_at_once(&mut self) -> Option<Heard> {
        use futures::FutureExt;
        let stale = self.tracker.next_at_once().map(Heard::Stale);
        stale.or_else(|| self.listener.as_mut()?.next().now_or_never().map(heard_in_channel))
    }

    fn subscribe(&mut self, session: &mut Session, naming: Naming, names: &[Bytes]) -> Reply {
        if naming == Naming::Shard
            && let Err(failure) = self.check_shards(names)
        {
            return failure.into();
        }
        let (new, reply) = session.subscribe(naming, names);
        let listener = self.listener.get_or_insert_with(|| self.shared.channels().listener());
        for name in new {
            listener.subscribe(naming, &name);
            if naming == Naming::Shard {
                self.shards.push(name);
            }
        }
        reply
    }

    /// Also for channels that are another node's now.
    pub(super) fn unsubscribe(&mut self, session: &mut Session, naming: Naming, names: &[Bytes]) -> Reply {
        let (ended, reply) = session.unsubscribe(naming, names);
        if let Some(listener) = &mut self.listener {
            ended.iter().for_each(|name| listener.unsubscribe(naming, name));
        }
        if naming == Naming::Shard {
            self.shards.retain(|channel| !ended.contains(channel));
        }
        if !session.is_subscribed() {
            self.stop_listening();
        }
        reply
    }

    fn check_shards(&self, channels: &[Bytes]) -> Result<(), Failure> {
        let slot = |channel: &Bytes| simplekv_types::Slot::of_key(channel);
        if channels.iter().any(|channel| channels.first().map(slot) != Some(slot(channel))) {
            return Err(Failure::CrossSlot);
        }
        match channels.first().and_then(|channel| self.shared.channel_is_elsewhere(channel)) {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }
}

fn count(heard: usize) -> Reply {
    Reply::Int(i64::try_from(heard).unwrap_or(i64::MAX))
}

fn heard_in_channel(heard: Option<Message>) -> Heard {
    match heard {
        None => Heard::GivenUp,
        Some(Message { naming, name, channel, message: said }) => {
            Heard::Message(message(naming, &name, &channel, &said))
        }
    }
}
