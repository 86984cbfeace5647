//! One request over several groups: cut into a part for each, and one reply made of theirs.
//!
//! The parts are executed independently: a request that is cut is not atomic. Which commands may be cut at all is decided here.

use std::collections::HashMap;
use std::hash::Hash;

use simplekv_types::{Failure, Reply, Slot};

use crate::command::{Command, Keys};

/// A request in parts.
#[derive(Clone, Debug)]
pub struct Scatter<P> {
    /// Where each part goes, and what it asks. In the order in which the places first occur among the keys.
    pub parts: Vec<(P, Command)>,
    merge: Merge,
    is_write: bool,
    /// For each part, where its keys stand in the whole request. Empty unless the reply has a place for each key.
    positions: Vec<Vec<usize>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Merge {
    /// `OK` if all say so.
    AllOk,
    /// The sum of numbers.
    Sum,
    /// Lists one behind the other.
    Concat,
    /// The first that is not null.
    FirstFound,
    /// Each value in the place of its key.
    ByKey,
}

impl Command {
    /// Cuts MGET, MSET, DEL, UNLINK, EXISTS and TOUCH by the place each key belongs to (a slot, a group). `None` for all others.
    ///
    /// A key named twice stays with its first naming, in order, so that the last value of an MSET wins and DEL counts once.
    pub fn scatter<P: Copy + Eq + Hash>(&self, place_of: impl Fn(Slot) -> P) -> Option<Scatter<P>> {
        let merge = match self {
            Self::MGet { .. } => Merge::ByKey,
            Self::MSet { .. } => Merge::AllOk,
            Self::Del { .. } | Self::Exists { .. } | Self::Touch { .. } => Merge::Sum,
            _ => return None,
        };
        let mut places: Vec<P> = Vec::new();
        let mut positions: Vec<Vec<usize>> = Vec::new();
        let mut part_of: HashMap<P, usize> = HashMap::new();
        for (at, key) in self.keys().enumerate() {
            let place = place_of(Slot::of_key(key));
            let part = *part_of.entry(place).or_insert_with(|| {
                places.push(place);
                positions.push(Vec::new());
                positions.len() - 1
            });
            positions.get_mut(part).expect("a part has its positions").push(at);
        }
        let parts = places.into_iter().zip(&positions).map(|(place, at)| (place, self.part(at))).collect();
        Some(Scatter { parts, merge, is_write: self.is_write(), positions })
    }

    /// The same command with only the keys at these positions.
    fn part(&self, at: &[usize]) -> Self {
        let pick = |keys: &Keys| at.iter().filter_map(|at| keys.get(*at)).cloned().collect();
        match self {
            Self::MGet { keys } => Self::MGet { keys: pick(keys) },
            Self::Del { keys } => Self::Del { keys: pick(keys) },
            Self::Exists { keys } => Self::Exists { keys: pick(keys) },
            Self::Touch { keys } => Self::Touch { keys: pick(keys) },
            Self::MSet { pairs } => Self::MSet { pairs: at.iter().filter_map(|at| pairs.get(*at)).cloned().collect() },
            other => other.clone(),
        }
    }

    /// Makes one reply of those of all groups to a command on the whole keyspace; `None` for other commands, and for SCAN, which asks
    /// one group at a time. It is an error if there are none: nobody was asked.
    #[must_use]
    pub fn gather(&self, replies: Vec<Reply>) -> Option<Reply> {
        let merge = match self {
            Self::Keys { .. } => Merge::Concat,
            Self::DbSize => Merge::Sum,
            Self::FlushAll => Merge::AllOk,
            Self::RandomKey => Merge::FirstFound,
            _ => return None,
        };
        Some(failure_among(&replies, self.is_write()).map_or_else(|| merge.apply(replies), Reply::Error))
    }
}

impl<P> Scatter<P> {
    /// Makes one reply of those of the parts, given in the order of the parts.
    ///
    /// If one failed, so did the whole. A write of which other parts were done is [`Failure::Uncertain`], whatever kept that one from
    /// being done: it must not look as if nothing had happened.
    #[must_use]
    pub fn gather(&self, replies: Vec<Reply>) -> Reply {
        if let Some(failure) = failure_among(&replies, self.is_write) {
            return Reply::Error(failure);
        }
        if self.merge != Merge::ByKey {
            return self.merge.apply(replies);
        }
        let mut all = vec![Reply::Null; self.positions.iter().map(Vec::len).sum()];
        for (reply, positions) in replies.into_iter().zip(&self.positions) {
            let Reply::Array(values) = reply else { return unexpected() };
            for (value, at) in values.into_iter().zip(positions) {
                if let Some(place) = all.get_mut(*at) {
                    *place = value;
                }
            }
        }
        Reply::Array(all)
    }
}

/// The failure of the whole, if a part failed or there is none. An unknown outcome is told before a known one.
fn failure_among(replies: &[Reply], is_write: bool) -> Option<Failure> {
    if replies.is_empty() {
        return Some(Failure::NotServing { reason: "no group is known that could be asked".into() });
    }
    let failures =
        || replies.iter().filter_map(|reply| if let Reply::Error(failure) = reply { Some(failure) } else { None });
    let failure = failures().find(|failure| failure.may_have_applied()).or_else(|| failures().next())?;
    let (parts, failed) = (replies.len(), failures().count());
    if !is_write || failed == parts {
        return Some(failure.clone());
    }
    let done = parts - failed;
    Some(Failure::Uncertain { reason: format!("{done} of {parts} parts were done, {failed} failed: {failure}").into() })
}

fn unexpected() -> Reply {
    Reply::Error(Failure::command("ERR the parts of a request were answered in different shapes"))
}

impl Merge {
    fn apply(self, replies: Vec<Reply>) -> Reply {
        match self {
            Self::AllOk if replies.iter().all(|reply| *reply == Reply::Ok) => Reply::Ok,
            Self::Sum => replies
                .iter()
                .try_fold(
                    0i64,
                    |sum, reply| if let Reply::Int(number) = reply { sum.checked_add(*number) } else { None },
                )
                .map_or_else(unexpected, Reply::Int),
            Self::Concat => {
                let mut all = Vec::new();
                for reply in replies {
                    let Reply::Array(items) = reply else { return unexpected() };
                    all.extend(items);
                }
                Reply::Array(all)
            }
            Self::FirstFound => replies.into_iter().find(|reply| *reply != Reply::Null).unwrap_or(Reply::Null),
            Self::AllOk | Self::ByKey => unexpected(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn keys(names: &[&'static str]) -> Keys {
        names.iter().map(|name| Bytes::from(*name)).collect()
    }

    /// Two places: one for slots below the middle, one for those above.
    fn half(slot: Slot) -> bool {
        slot.number() < 8192
    }

    #[test]
    fn values_come_back_in_the_order_of_their_keys() {
        // foo is in slot 12182, foo2 in 1044, bar in 5061.
        let scatter = Command::MGet { keys: keys(&["foo", "foo2", "bar", "foo"]) }.scatter(half).unwrap();
        assert_eq!(
            scatter.parts,
            [
                (false, Command::MGet { keys: keys(&["foo", "foo"]) }),
                (true, Command::MGet { keys: keys(&["foo2", "bar"]) })
            ]
        );
        let reply = scatter.gather(vec![
            Reply::Array(vec![Reply::Int(0), Reply::Int(3)]),
            Reply::Array(vec![Reply::Int(1), Reply::Int(2)]),
        ]);
        assert_eq!(reply, Reply::Array((0..4).map(Reply::Int).collect()));
    }

    #[test]
    fn counts_are_summed_and_failures_win() {
        let scatter = Command::Exists { keys: keys(&["foo", "foo2"]) }.scatter(half).unwrap();
        let failed = |failure: &Failure| Reply::Error(failure.clone());
        let unknown = Failure::Uncertain { reason: "the leader changed".into() };
        assert_eq!(scatter.gather(vec![Reply::Int(1), Reply::Int(0)]), Reply::Int(1));
        assert_eq!(scatter.gather(vec![Reply::Int(1), failed(&Failure::Loading)]), failed(&Failure::Loading));
        assert_eq!(scatter.gather(vec![failed(&Failure::Loading), failed(&unknown)]), failed(&unknown));
    }

    #[test]
    fn a_write_that_was_partly_done_does_not_look_undone() {
        let refused = || Reply::Error(Failure::NoReplicas { in_sync: 1, required: 2 });
        let partly = |reply| match reply {
            Reply::Error(failure @ Failure::Uncertain { .. }) => failure.to_string(),
            other => panic!("{other:?}"),
        };
        let pairs = keys(&["foo", "foo2"]).into_iter().map(|key| (key.clone(), key)).collect();
        for (command, done) in
            [(Command::Del { keys: keys(&["foo", "foo2"]) }, Reply::Int(0)), (Command::MSet { pairs }, Reply::Ok)]
        {
            let scatter = command.scatter(half).unwrap();
            let text = partly(scatter.gather(vec![done, refused()]));
            assert!(text.contains("1 of 2 parts were done, 1 failed: "), "{text}");
            assert_eq!(scatter.gather(vec![refused(), refused()]), refused(), "nothing was done");
        }
        partly(Command::FlushAll.gather(vec![refused(), Reply::Ok]).unwrap());
    }

    #[test]
    fn nobody_asked_is_no_success() {
        for command in [Command::FlushAll, Command::DbSize, Command::RandomKey, Command::Keys { pattern: "*".into() }] {
            let reply = command.gather(Vec::new());
            assert!(matches!(reply, Some(Reply::Error(Failure::NotServing { .. }))), "{command:?}: {reply:?}");
        }
    }

    #[test]
    fn pairs_of_one_key_stay_in_order() {
        let pair = |key: &'static str, value: &'static str| (Bytes::from(key), Bytes::from(value));
        let mset = Command::MSet { pairs: vec![pair("foo", "1"), pair("foo2", "2"), pair("foo", "3")] };
        let scatter = mset.scatter(half).unwrap();
        assert_eq!(scatter.parts[0].1, Command::MSet { pairs: vec![pair("foo", "1"), pair("foo", "3")] });
        assert_eq!(scatter.gather(vec![Reply::Ok, Reply::Ok]), Reply::Ok);
    }

    #[test]
    fn what_must_be_atomic_is_not_cut() {
        assert!(Command::MSetNx { pairs: Vec::new() }.scatter(half).is_none());
        assert!(Command::Get { key: "k".into() }.scatter(half).is_none());
    }

    #[test]
    fn replies_of_all_groups_become_one() {
        let array = |numbers: &[i64]| Reply::Array(numbers.iter().copied().map(Reply::Int).collect());
        let all = Command::Keys { pattern: "*".into() };
        assert_eq!(all.gather(vec![array(&[1]), array(&[2, 3])]), Some(array(&[1, 2, 3])));
        assert_eq!(Command::DbSize.gather(vec![Reply::Int(2), Reply::Int(3)]), Some(Reply::Int(5)));
        assert_eq!(Command::FlushAll.gather(vec![Reply::Ok, Reply::Ok]), Some(Reply::Ok));
        assert_eq!(Command::RandomKey.gather(vec![Reply::Null, Reply::fixed("k")]), Some(Reply::fixed("k")));
        assert_eq!(Command::Get { key: "k".into() }.gather(Vec::new()), None);
    }
}
