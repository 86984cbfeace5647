//! A transaction whose keys belong to several groups, where the settings allow that: each group's part is one frame of its log.
//!
//! The parts are done one after the other. What watched keys are is judged with the first, so that a change of theirs keeps everything from
//! being done; what keeps a later part from being done is answered in the places of its commands and of those behind it.

use simplekv_resp::command::Atomic;
use simplekv_resp::{Command, Scatter, several_groups};
use simplekv_types::{Failure, Reply, Slot};

/// A transaction cut by the groups of its keys.
#[derive(Debug)]
pub(super) struct Parted {
    /// What each group is to do, in the order in which they are asked: what is watched stands in the first. Those asked are empty.
    parts: Vec<Atomic>,
    steps: Vec<Step>,
    /// How many commands the part has that was asked for last.
    asked: usize,
    /// What came of the parts so far.
    replies: Vec<Vec<Reply>>,
    /// What kept one of them from being done, and those behind it from being begun.
    failure: Option<Failure>,
    /// The answer to all of it, of which nothing is done.
    ended: Option<Reply>,
}

/// Where the answer to one command of the transaction is.
#[derive(Debug)]
enum Step {
    Whole(At),
    /// It was cut itself, and is answered by all of these together.
    Cut(Scatter<usize>, Vec<At>),
}

/// A command of a part.
#[derive(Clone, Copy, Debug)]
struct At {
    part: usize,
    place: usize,
}

impl Parted {
    /// Cuts a transaction.
    ///
    /// # Errors
    /// That keys of several groups are watched, or that a command that cannot be cut names such: all of it is refused then.
    pub(super) fn cut<G: PartialEq>(atomic: &Atomic, group_of: impl Fn(Slot) -> G) -> Result<Self, Failure> {
        let group = |key: &[u8]| group_of(Slot::of_key(key));
        let mut groups: Vec<G> = Vec::new();
        let watched = atomic.watched.iter().map(|watched| &watched.key);
        for key in watched.clone().chain(atomic.commands.iter().flat_map(Command::keys)) {
            let group = group(key);
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        if let Some((first, other)) = apart(watched, group) {
            return Err(several_groups(first, other));
        }
        let part_of = |slot: Slot| groups.iter().position(|known| *known == group_of(slot)).unwrap_or(0);
        let mut parted = Self {
            parts: vec![Atomic::default(); groups.len()],
            steps: Vec::with_capacity(atomic.commands.len()),
            asked: 0,
            replies: Vec::new(),
            failure: None,
            ended: None,
        };
        if let Some(first) = parted.parts.first_mut() {
            first.watched.clone_from(&atomic.watched);
        }
        for command in &atomic.commands {
            let step = match apart(command.keys(), group) {
                None => {
                    let part = command.keys().next().map_or(0, |key| part_of(Slot::of_key(key)));
                    Step::Whole(parted.push(part, command.clone()))
                }
                Some((first, other)) => {
                    let mut scatter = command.scatter(part_of).ok_or_else(|| several_groups(first, other))?;
                    let pieces = std::mem::take(&mut scatter.parts);
                    let places = pieces.into_iter().map(|(part, piece)| parted.push(part, piece)).collect();
                    Step::Cut(scatter, places)
                }
            };
            parted.steps.push(step);
        }
        Ok(parted)
    }

    fn push(&mut self, part: usize, command: Command) -> At {
        let commands = self.parts.get_mut(part).map(|part| &mut part.commands).expect("there is a part for each group");
        commands.push(command);
        At { part, place: commands.len() - 1 }
    }

    /// What is to be asked next, of the group that owns the slot; `None` if nothing more is. Each is to be followed by
    /// [`Parted::answered`].
    pub(super) fn ask(&mut self) -> Option<(Slot, Command)> {
        if self.failure.is_some() || self.ended.is_some() {
            return None;
        }
        let part = self.parts.get_mut(self.replies.len()).map(std::mem::take)?;
        self.asked = part.commands.len();
        let atomic = Command::Atomic(part);
        let slot = atomic.keys().next().map_or(Slot::MIN, |key| Slot::of_key(key));
        Some((slot, atomic))
    }

    /// What came of the part that was asked for last.
    pub(super) fn answered(&mut self, reply: Reply) {
        match reply {
            Reply::Array(replies) => self.replies.push(replies),
            // A watched key has changed, or it cannot be known whether: the others are not even begun.
            reply if self.replies.is_empty() => self.ended = Some(reply),
            reply => {
                self.replies.push(vec![reply.clone(); self.asked]);
                self.failure = if let Reply::Error(failure) = reply { Some(failure) } else { None };
            }
        }
    }

    /// The answer to all of it, once there is nothing more to ask.
    pub(super) fn conclude(self) -> Reply {
        let Self { parts, steps, mut replies, failure, ended, .. } = self;
        if let Some(reply) = ended {
            return reply;
        }
        if let Some(failure) = failure {
            let not_done = Reply::Error(not_done(&failure));
            let left: Vec<_> = parts.iter().skip(replies.len()).map(|part| part.commands.len()).collect();
            replies.extend(left.into_iter().map(|commands| vec![not_done.clone(); commands]));
        }
        let mut take = |at: At| {
            let reply = replies.get_mut(at.part).and_then(|replies| replies.get_mut(at.place));
            let lost = || Reply::Error(Failure::Uncertain { reason: "a reply is missing".into() });
            reply.map_or_else(lost, |reply| std::mem::replace(reply, Reply::Null))
        };
        let answer = |step| match step {
            Step::Whole(at) => take(at),
            Step::Cut(scatter, places) => scatter.gather(places.into_iter().map(&mut take).collect()),
        };
        Reply::Array(steps.into_iter().map(answer).collect())
    }
}

/// What is answered to commands behind a part that was not done.
fn not_done(failure: &Failure) -> Failure {
    Failure::Command(format!("ERR not done, for commands before it were not: {failure}").into())
}

/// Two keys of different groups.
fn apart<'a, G: PartialEq>(
    mut keys: impl Iterator<Item = &'a bytes::Bytes>,
    group: impl Fn(&[u8]) -> G,
) -> Option<(&'a bytes::Bytes, &'a bytes::Bytes)> {
    let first = keys.next()?;
    let other = keys.find(|key| group(key) != group(first))?;
    Some((first, other))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use simplekv_resp::command::{Version, Watched};
    use simplekv_resp::{Body, Request};
    use simplekv_types::{GroupId, Lsn};

    use super::*;

    /// Two groups. foo is in slot 12182, foo2 in 1044, bar in 5061.
    fn half(slot: Slot) -> bool {
        slot.number() < 8192
    }

    fn command(line: &str) -> Command {
        let words = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        match Request::parse(words).unwrap().body {
            Body::Data(command) => command,
            Body::Control(other) => panic!("{other:?}"),
        }
    }

    fn atomic(watched: &[&'static str], lines: &[&str]) -> Atomic {
        let version = Some(Version { group: GroupId(1), lsn: Lsn(1) });
        let watched = watched.iter().map(|key| Watched { key: Bytes::from(*key), version }).collect();
        Atomic { watched, commands: lines.iter().map(|line| command(line)).collect() }
    }

    /// Answers the commands of each part with its number and theirs, or the part with what it is to be refused with.
    fn run(atomic: &Atomic, refused: &[(usize, Reply)]) -> (Vec<Atomic>, Reply) {
        let mut asked = Vec::new();
        let mut parted = Parted::cut(atomic, half).unwrap();
        while let Some((_, command)) = parted.ask() {
            let Command::Atomic(part) = command else { panic!("{command:?}") };
            let number = asked.len();
            let answer = |place: usize| match &part.commands[place] {
                Command::MSet { .. } => Reply::Ok,
                _ => Reply::Int((number * 10 + place) as i64),
            };
            let refusal = refused.iter().find(|(part, _)| *part == number).map(|(_, reply)| reply.clone());
            let done = || Reply::Array((0..part.commands.len()).map(answer).collect());
            parted.answered(refusal.unwrap_or_else(done));
            asked.push(part);
        }
        let reply = parted.conclude();
        (asked, reply)
    }

    #[test]
    fn answers_stand_in_the_order_of_the_commands() {
        let whole = atomic(&[], &["incr foo", "mset foo2 1 foo 2 bar 3", "incr foo2", "incr foo"]);
        let (asked, reply) = run(&whole, &[]);
        assert_eq!(
            asked,
            [atomic(&[], &["incr foo", "mset foo 2", "incr foo"]), atomic(&[], &["mset foo2 1 bar 3", "incr foo2"]),]
        );
        assert_eq!(reply, Reply::Array(vec![Reply::Int(0), Reply::Ok, Reply::Int(11), Reply::Int(2)]));
    }

    #[test]
    fn what_is_watched_is_judged_before_anything_is_done() {
        let whole = atomic(&["bar", "foo2"], &["incr foo", "incr bar"]);
        let (asked, reply) = run(&whole, &[]);
        assert_eq!(asked, [atomic(&["bar", "foo2"], &["incr bar"]), atomic(&[], &["incr foo"])]);
        assert_eq!(reply, Reply::Array(vec![Reply::Int(10), Reply::Int(0)]));
        let (asked, reply) = run(&whole, &[(0, Reply::NullArray)]);
        assert_eq!((asked.len(), reply), (1, Reply::NullArray), "a watched key has changed");
        let only_watched = atomic(&["bar"], &["incr foo"]);
        let (asked, _) = run(&only_watched, &[]);
        assert_eq!(asked, [atomic(&["bar"], &[]), atomic(&[], &["incr foo"])]);
    }

    #[test]
    fn what_cannot_be_cut_is_refused_before_anything_is_done() {
        for whole in [atomic(&["foo", "bar"], &["incr foo"]), atomic(&[], &["incr foo", "msetnx foo 1 bar 2"])] {
            let refusal = Parted::cut(&whole, half).unwrap_err();
            assert_eq!(refusal, several_groups(b"foo", b"bar"));
        }
    }

    #[test]
    fn a_part_that_fails_is_told_in_its_places_and_ends_it() {
        let whole = atomic(&[], &["incr foo", "incr bar", "incr foo2", "mset foo 1 bar 2"]);
        let (asked, reply) = run(&whole, &[(0, Reply::Error(Failure::Loading))]);
        assert_eq!((asked.len(), reply), (1, Reply::Error(Failure::Loading)), "nothing was done");
        let (_, reply) = run(&whole, &[(1, Reply::Error(Failure::Loading))]);
        let Reply::Array(replies) = reply else { panic!("{reply:?}") };
        let failed = Reply::Error(Failure::Loading);
        assert_eq!(replies[..3], [Reply::Int(0), failed.clone(), failed]);
        assert!(matches!(replies[3], Reply::Error(Failure::Uncertain { .. })), "half of it was done: {:?}", replies[3]);
    }

    #[test]
    fn what_stands_behind_a_part_that_failed_is_not_begun() {
        let thirds = |slot: Slot| slot.number() / 6000;
        let mut parted =
            Parted::cut(&atomic(&[], &["incr foo2", "incr foo", "incr {06S}", "incr key-3"]), thirds).unwrap();
        let mut asked = 0;
        while parted.ask().is_some() {
            asked += 1;
            parted.answered(if asked == 1 {
                Reply::Array(vec![Reply::Int(1); 2])
            } else {
                Reply::Error(Failure::Loading)
            });
        }
        let Reply::Array(replies) = parted.conclude() else { panic!("it was done in parts") };
        let told: Vec<String> = replies.iter().map(|reply| format!("{reply:?}")).collect();
        assert_eq!(asked, 2, "{told:?}");
        assert_eq!((&*told[0], &*told[2]), ("Int(1)", "Int(1)"));
        assert!(
            told[1].contains("Loading") && told[3].contains("ERR not done, for commands before it were not"),
            "{told:?}"
        );
    }
}
