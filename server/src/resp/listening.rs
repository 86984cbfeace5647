//! What a connection hears of channels.

use std::sync::Arc;

use bytes::Bytes;
use simplekv_resp::session::message;
use simplekv_resp::{Control, Session};
use simplekv_types::{Failure, Naming, Reply};

use crate::channels::{Listener, Message};
use crate::routing::Routing;
use crate::shared::Shared;

/// The ears of one connection.
pub(super) struct Ears<'a> {
    shared: &'a Shared,
    /// Once it has subscribed to anything.
    listener: Option<Listener>,
    routing: tokio::sync::watch::Receiver<Arc<Routing>>,
    /// Channels whose fanning out another node may take over.
    shards: Vec<Bytes>,
}

/// What a connection that listens is to be told.
pub(super) enum Heard {
    Message(Reply),
    /// Sharded channels are another node's now: their clients have to subscribe there.
    Elsewhere(Vec<Bytes>),
    /// It does not take its messages.
    GivenUp,
}

impl<'a> Ears<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self { shared, listener: None, routing: shared.routing_changes(), shards: Vec::new() }
    }

    /// Answers a command on channels; `None` if it is none.
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
            _ => None,
        }
    }

    /// Hears nothing any more.
    pub(super) fn close(&mut self) {
        self.listener = None;
        self.shards = Vec::new();
    }

    /// Waits for the next thing to be told; for ever if nothing is subscribed to.
    pub(super) async fn next(&mut self) -> Heard {
        loop {
            let Some(listener) = &mut self.listener else { return std::future::pending().await };
            let heard = tokio::select! {
                message = listener.next() => return told(message),
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
        self.listener.as_mut()?.next().now_or_never().map(told)
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
            self.close();
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

fn told(heard: Option<Message>) -> Heard {
    match heard {
        None => Heard::GivenUp,
        Some(Message { naming, name, channel, message: said }) => {
            Heard::Message(message(naming, &name, &channel, &said))
        }
    }
}
