//! Arguments of the commands on channels.

use bytes::Bytes;
use simplekv_types::{Failure, Naming};

use super::Control;
use crate::command::{Body, Keys, Words};

type Parsed = Result<Body, Failure>;

/// What PUBSUB asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PubSubQuery {
    /// CHANNELS, SHARDCHANNELS: which have subscribers.
    Channels {
        /// Of these; never [`Naming::Pattern`].
        naming: Naming,
        /// Only those that match.
        pattern: Option<Bytes>,
    },
    /// NUMSUB, SHARDNUMSUB: how many subscribers channels have.
    NumSub {
        /// Of these; never [`Naming::Pattern`].
        naming: Naming,
        /// The channels.
        channels: Keys,
    },
    /// NUMPAT: how many patterns are subscribed to.
    NumPat,
}

fn control(control: Control) -> Parsed {
    Ok(Body::Control(control))
}

fn names(words: &mut Words<'_>) -> Keys {
    words.rest().into_iter().collect()
}

pub(crate) fn subscribe(words: &mut Words<'_>) -> Parsed {
    control(Control::Subscribe { naming: Naming::Channel, names: names(words) })
}

pub(crate) fn psubscribe(words: &mut Words<'_>) -> Parsed {
    control(Control::Subscribe { naming: Naming::Pattern, names: names(words) })
}

pub(crate) fn ssubscribe(words: &mut Words<'_>) -> Parsed {
    control(Control::Subscribe { naming: Naming::Shard, names: names(words) })
}

pub(crate) fn unsubscribe(words: &mut Words<'_>) -> Parsed {
    control(Control::Unsubscribe { naming: Naming::Channel, names: names(words) })
}

pub(crate) fn punsubscribe(words: &mut Words<'_>) -> Parsed {
    control(Control::Unsubscribe { naming: Naming::Pattern, names: names(words) })
}

pub(crate) fn sunsubscribe(words: &mut Words<'_>) -> Parsed {
    control(Control::Unsubscribe { naming: Naming::Shard, names: names(words) })
}

pub(crate) fn publish(words: &mut Words<'_>) -> Parsed {
    control(Control::Publish { naming: Naming::Channel, channel: words.word()?, message: words.word()? })
}

pub(crate) fn spublish(words: &mut Words<'_>) -> Parsed {
    control(Control::Publish { naming: Naming::Shard, channel: words.word()?, message: words.word()? })
}

fn channels_of(words: &mut Words<'_>, naming: Naming) -> Parsed {
    let pattern = words.option();
    words.end().map_err(|_| {
        let name = words.spec.own_name().to_ascii_uppercase();
        let text = format!("ERR unknown subcommand or wrong number of arguments for '{name}'. Try PUBSUB HELP.");
        Failure::Command(text.into())
    })?;
    control(Control::PubSub(PubSubQuery::Channels { naming, pattern }))
}

pub(crate) fn channels(words: &mut Words<'_>) -> Parsed {
    channels_of(words, Naming::Channel)
}

pub(crate) fn shardchannels(words: &mut Words<'_>) -> Parsed {
    channels_of(words, Naming::Shard)
}

pub(crate) fn numsub(words: &mut Words<'_>) -> Parsed {
    control(Control::PubSub(PubSubQuery::NumSub { naming: Naming::Channel, channels: names(words) }))
}

pub(crate) fn shardnumsub(words: &mut Words<'_>) -> Parsed {
    control(Control::PubSub(PubSubQuery::NumSub { naming: Naming::Shard, channels: names(words) }))
}

pub(crate) fn numpat(_words: &mut Words<'_>) -> Parsed {
    control(Control::PubSub(PubSubQuery::NumPat))
}
