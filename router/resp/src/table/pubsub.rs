//! The rows of the commands on channels.

use super::{Flags, Group, KeyPositions as Keys, Spec};
use crate::control::connection::{container, help};
use crate::control::pubsub as parse;

const LISTEN: Flags = Flags::PUBSUB.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE);
const PUBLISH: Flags = Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST);
const QUERY: Flags = Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE);
const PUBSUB: Group = Group::PubSub;

const EACH: &str = "O(1) for each name";

pub(super) const SPECS: &[Spec] = &[
    Spec::new("subscribe", -2, LISTEN, Keys::NONE, parse::subscribe)
        .doc(PUBSUB, "2.0.0", "channel [channel ...]", "Listens to the messages of channels.")
        .complexity(EACH),
    Spec::new("psubscribe", -2, LISTEN, Keys::NONE, parse::psubscribe)
        .doc(PUBSUB, "2.0.0", "pattern [pattern ...]", "Listens to the messages of channels whose names match.")
        .complexity(EACH),
    Spec::new("ssubscribe", -2, LISTEN, Keys::ALL, parse::ssubscribe)
        .doc(PUBSUB, "7.0.0", "shardchannel [shardchannel ...]", "Listens to the messages of sharded channels.")
        .complexity(EACH),
    Spec::new("unsubscribe", -1, LISTEN, Keys::NONE, parse::unsubscribe)
        .doc(PUBSUB, "2.0.0", "[channel [channel ...]]", "Ends listening to channels.")
        .complexity(EACH),
    Spec::new("punsubscribe", -1, LISTEN, Keys::NONE, parse::punsubscribe)
        .doc(PUBSUB, "2.0.0", "[pattern [pattern ...]]", "Ends listening to channels whose names match.")
        .complexity(EACH),
    Spec::new("sunsubscribe", -1, LISTEN, Keys::ALL, parse::sunsubscribe)
        .doc(PUBSUB, "7.0.0", "[shardchannel [shardchannel ...]]", "Ends listening to sharded channels.")
        .complexity(EACH),
    Spec::new("publish", 3, PUBLISH, Keys::NONE, parse::publish)
        .doc(PUBSUB, "2.0.0", "channel message", "Sends a message to all who listen to a channel.")
        .complexity("O(N+M) in the number of subscribers and of all patterns"),
    Spec::new("spublish", 3, PUBLISH, Keys::ONE, parse::spublish)
        .doc(PUBSUB, "7.0.0", "shardchannel message", "Sends a message to all who listen to a sharded channel.")
        .complexity("O(N) in the number of subscribers"),
    Spec::new("pubsub", -2, Flags::NONE, Keys::NONE, container)
        .doc(PUBSUB, "2.8.0", "", "Asks about channels.")
        .complexity("Depends on the subcommand")
        .subcommands(PUBSUB_SPECS),
];

const PUBSUB_SPECS: &[Spec] = &[
    Spec::new("pubsub|channels", -2, QUERY, Keys::NONE, parse::channels)
        .doc(PUBSUB, "2.8.0", "[pattern]", "Answers which channels have subscribers.")
        .complexity("O(N) in the number of channels"),
    Spec::new("pubsub|numsub", -2, QUERY, Keys::NONE, parse::numsub)
        .doc(PUBSUB, "2.8.0", "[channel [channel ...]]", "Answers how many subscribers channels have.")
        .complexity(EACH),
    Spec::new("pubsub|numpat", 2, QUERY, Keys::NONE, parse::numpat).doc(
        PUBSUB,
        "2.8.0",
        "",
        "Answers how many patterns are listened to.",
    ),
    Spec::new("pubsub|shardchannels", -2, QUERY, Keys::NONE, parse::shardchannels)
        .doc(PUBSUB, "7.0.0", "[pattern]", "Answers which sharded channels have subscribers.")
        .complexity("O(N) in the number of channels"),
    Spec::new("pubsub|shardnumsub", -2, QUERY, Keys::NONE, parse::shardnumsub)
        .doc(
            PUBSUB,
            "7.0.0",
            "[shardchannel [shardchannel ...]]",
            "Answers how many subscribers sharded channels have.",
        )
        .complexity(EACH),
    Spec::new("pubsub|help", 2, Flags::LOADING.and(Flags::STALE), Keys::NONE, help).doc(
        PUBSUB,
        "6.2.0",
        "",
        "Answers what PUBSUB can be asked.",
    ),
];
