//! What a connection has subscribed to.

use std::collections::BTreeSet;

use bytes::Bytes;
use simplekv_types::{Failure, Naming, Reply};

use super::Session;
use crate::encode::Protocol;
use crate::table::Spec;

/// The channels and patterns of one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscriptions {
    names: BTreeSet<(Naming, Bytes)>,
}

impl Subscriptions {
    pub(super) fn count(&self, naming: Naming) -> usize {
        self.names.iter().filter(|(other, _)| *other == naming).count()
    }

    /// What the answers about subscriptions count: sharded channels by themselves, everything else together.
    fn told(&self, naming: Naming) -> Reply {
        let count = match naming {
            Naming::Shard => self.count(Naming::Shard),
            Naming::Channel | Naming::Pattern => self.count(Naming::Channel) + self.count(Naming::Pattern),
        };
        Reply::Int(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

/// What a message is called, and what it says.
#[must_use]
pub fn message(naming: Naming, name: &Bytes, channel: &Bytes, message: &Bytes) -> Reply {
    let bulk = |bytes: &Bytes| Reply::Bulk(bytes.clone());
    Reply::Pushes(vec![match naming {
        Naming::Channel => vec![Reply::fixed("message"), bulk(channel), bulk(message)],
        Naming::Pattern => vec![Reply::fixed("pmessage"), bulk(name), bulk(channel), bulk(message)],
        Naming::Shard => vec![Reply::fixed("smessage"), bulk(channel), bulk(message)],
    }])
}

fn word(naming: Naming, begins: bool) -> Reply {
    Reply::fixed(match (naming, begins) {
        (Naming::Channel, true) => "subscribe",
        (Naming::Pattern, true) => "psubscribe",
        (Naming::Shard, true) => "ssubscribe",
        (Naming::Channel, false) => "unsubscribe",
        (Naming::Pattern, false) => "punsubscribe",
        (Naming::Shard, false) => "sunsubscribe",
    })
}

impl Session {
    /// Whether the connection has subscribed to anything.
    #[must_use]
    pub fn is_subscribed(&self) -> bool {
        !self.subscriptions.names.is_empty()
    }

    /// Takes down subscriptions. Returns those that are new, and the answer.
    pub fn subscribe(&mut self, naming: Naming, names: &[Bytes]) -> (Vec<Bytes>, Reply) {
        let mut new = Vec::new();
        let push = |name: &Bytes| {
            if self.subscriptions.names.insert((naming, name.clone())) {
                new.push(name.clone());
            }
            vec![word(naming, true), Reply::Bulk(name.clone()), self.subscriptions.told(naming)]
        };
        let pushes = names.iter().map(push).collect();
        self.describe();
        (new, Reply::Pushes(pushes))
    }

    /// Forgets subscriptions, all of this naming if none is named. Returns those that there were, and the answer.
    pub fn unsubscribe(&mut self, naming: Naming, names: &[Bytes]) -> (Vec<Bytes>, Reply) {
        let all: Vec<Bytes>;
        let names = match names {
            [] => {
                let subscribed = self.subscriptions.names.iter().filter(|(other, _)| *other == naming);
                all = subscribed.map(|(_, name)| name.clone()).collect();
                &all
            }
            names => names,
        };
        let mut ended = Vec::new();
        let push = |name: &Bytes| {
            if self.subscriptions.names.remove(&(naming, name.clone())) {
                ended.push(name.clone());
            }
            vec![word(naming, false), Reply::Bulk(name.clone()), self.subscriptions.told(naming)]
        };
        let mut pushes: Vec<Vec<Reply>> = names.iter().map(push).collect();
        if pushes.is_empty() {
            pushes.push(vec![word(naming, false), Reply::Null, self.subscriptions.told(naming)]);
        }
        self.describe();
        (ended, Reply::Pushes(pushes))
    }

    /// Whether a subscriber may ask this: before RESP3 its connection carries messages where answers would be.
    pub(super) fn may_ask(&self, spec: &Spec) -> Result<(), Failure> {
        const ALLOWED: &[&str] = &[
            "subscribe",
            "psubscribe",
            "ssubscribe",
            "unsubscribe",
            "punsubscribe",
            "sunsubscribe",
            "ping",
            "quit",
            "reset",
        ];
        if !self.is_listening() || ALLOWED.contains(&spec.name) {
            return Ok(());
        }
        let text = format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
            spec.name
        );
        Err(Failure::Command(text.into()))
    }

    /// Whether all the connection may do is listen.
    pub(super) fn is_listening(&self) -> bool {
        self.protocol == Protocol::Resp2 && self.is_subscribed()
    }
}
