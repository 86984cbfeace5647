//! What only nodes know: who listens to channels, and how far what was written has spread.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use simplekv_client::Session;
use simplekv_resp::control::pubsub::PubSubQuery;
use simplekv_resp::control::{Wait, least};
use simplekv_types::{Naming, Position, Reply};

use crate::error;

/// How much later than it was told to a node may answer a WAIT.
const GRACE: Duration = Duration::from_secs(5);

/// Answers PUBSUB for the listeners of all nodes, this router's among them.
pub(super) async fn pubsub(session: Session, query: PubSubQuery) -> Reply {
    match session.ask_nodes(&words(&query)).await {
        Ok(answers) => together(&query, answers),
        Err(failed) => error::reply(failed),
    }
}

fn words(query: &PubSubQuery) -> Vec<Bytes> {
    let word = |word: &'static str| Bytes::from_static(word.as_bytes());
    let is_shard = |naming: &Naming| *naming == Naming::Shard;
    let mut words = vec![word("PUBSUB")];
    match query {
        PubSubQuery::Channels { naming, pattern } => {
            words.push(word(if is_shard(naming) { "SHARDCHANNELS" } else { "CHANNELS" }));
            words.extend(pattern.clone());
        }
        PubSubQuery::NumSub { naming, channels } => {
            words.push(word(if is_shard(naming) { "SHARDNUMSUB" } else { "NUMSUB" }));
            words.extend(channels.iter().cloned());
        }
        PubSubQuery::NumPat => words.push(word("NUMPAT")),
    }
    words
}

/// All channels once, in order; of numbers, the sum. Of a pattern that is listened to at several nodes each is counted.
fn together(query: &PubSubQuery, answers: Vec<Reply>) -> Reply {
    let mut names: BTreeMap<Bytes, i64> = BTreeMap::new();
    let mut sum: i64 = 0;
    for answer in answers {
        match answer {
            Reply::Int(count) => sum = sum.saturating_add(count),
            Reply::Array(items) => {
                let mut last = None;
                for item in items {
                    match item {
                        Reply::Bulk(name) => {
                            names.entry(name.clone()).or_default();
                            last = Some(name);
                        }
                        Reply::Int(count) => {
                            let known = last.take().and_then(|name| names.get_mut(&name));
                            known.into_iter().for_each(|known| *known = known.saturating_add(count));
                        }
                        _ => (),
                    }
                }
            }
            other => return other,
        }
    }
    match query {
        PubSubQuery::NumPat => Reply::Int(sum),
        PubSubQuery::Channels { .. } => Reply::Array(names.into_keys().map(Reply::Bulk).collect()),
        PubSubQuery::NumSub { channels, .. } => {
            let count = |channel: &Bytes| Reply::Int(names.get(channel).copied().unwrap_or(0));
            Reply::Array(channels.iter().flat_map(|channel| [Reply::Bulk(channel.clone()), count(channel)]).collect())
        }
    }
}

/// Waits until what the connection has seen is in enough places, in the group where it takes longest. `groups` are asked if it has seen
/// nothing.
pub(super) async fn wait(session: Session, wait: Wait, groups: Vec<simplekv_types::GroupId>) -> Reply {
    let seen = session.token();
    let mut positions = seen.positions().to_vec();
    if positions.is_empty() {
        positions.extend(groups.into_iter().map(Position::start));
    }
    let timeout = (wait.timeout_ms > 0).then(|| Duration::from_millis(wait.timeout_ms).saturating_add(GRACE));
    let answers = positions.into_iter().map(|position| {
        let session = session.clone();
        async move { session.ask_leader(wait.to_args(), position, timeout).await.unwrap_or_else(error::reply) }
    });
    least(futures::future::join_all(answers).await, &wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(name: &'static str) -> Reply {
        Reply::fixed(name)
    }

    #[test]
    fn channels_are_told_once_and_their_listeners_added_up() {
        let query = PubSubQuery::Channels { naming: Naming::Channel, pattern: Some("n*".into()) };
        assert_eq!(words(&query), ["PUBSUB", "CHANNELS", "n*"]);
        let answers = vec![Reply::Array(vec![bulk("nb"), bulk("na")]), Reply::Array(vec![bulk("nb")])];
        assert_eq!(together(&query, answers), Reply::Array(vec![bulk("na"), bulk("nb")]));
        let channels = [Bytes::from_static(b"b"), Bytes::from_static(b"a")].into_iter().collect();
        let query = PubSubQuery::NumSub { naming: Naming::Shard, channels };
        assert_eq!(words(&query), ["PUBSUB", "SHARDNUMSUB", "b", "a"]);
        let node = |a, b| Reply::Array(vec![bulk("b"), Reply::Int(b), bulk("a"), Reply::Int(a)]);
        let expected = vec![bulk("b"), Reply::Int(5), bulk("a"), Reply::Int(1)];
        assert_eq!(together(&query, vec![node(1, 2), node(0, 3)]), Reply::Array(expected));
        assert_eq!(together(&PubSubQuery::NumPat, vec![Reply::Int(2), Reply::Int(1)]), Reply::Int(3));
    }
}
