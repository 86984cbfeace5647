//! Memory that a batch of commands will look at, fetched before the first of them does.
//!
//! A lookup waits for memory several times in a row. Done for many keys, and many elements, at once the waits overlap.

use bytes::Bytes;
use simplekv_resp::Command;
use simplekv_resp::command::{HashCommand, SetOfCommand, ZsetCommand};
use simplekv_types::Slot;
use smallvec::{SmallVec, smallvec};

use crate::view::AppliedView;

/// So many elements of a collection are fetched together.
const TOGETHER: usize = 32;

/// Names of elements.
type Names<'a> = SmallVec<[&'a [u8]; 1]>;

/// Fetches what these commands will look at: with each the slot of its first key.
pub(crate) fn prefetch<'a>(view: &AppliedView<'_>, commands: impl Iterator<Item = (Slot, &'a Command)> + Clone) {
    for (slot, command) in commands.clone() {
        if !is_blind(command)
            && let Some(key) = command.keys().next()
        {
            view.prefetch(slot, key);
        }
    }
    let mut wanted: Option<Wanted<'_>> = None;
    for (slot, command) in commands {
        if let Some((key, names, ranks)) = elements(command) {
            let is_same = |wanted: &&mut Wanted<'_>| wanted.key == key && wanted.ranks == ranks;
            match wanted.as_mut().filter(is_same) {
                Some(wanted) => wanted.names.extend(names),
                None => {
                    let next = Wanted { key, names: names.into_iter().collect(), ranks };
                    wanted.replace(next).into_iter().for_each(|wanted| wanted.fetch(view));
                }
            }
            if wanted.as_ref().is_some_and(|wanted| wanted.names.len() >= TOGETHER) {
                wanted.take().into_iter().for_each(|wanted| wanted.fetch(view));
            }
        } else if reads_value(command)
            && let Some(key) = command.keys().next()
        {
            view.prefetch_value(slot, key);
        }
    }
    wanted.into_iter().for_each(|wanted| wanted.fetch(view));
}

/// Elements of one key.
struct Wanted<'a> {
    key: &'a Bytes,
    names: SmallVec<[&'a [u8]; TOGETHER]>,
    ranks: bool,
}

impl Wanted<'_> {
    fn fetch(self, view: &AppliedView<'_>) {
        if let Some(found) = view.found(self.key) {
            found.collection.prefetch(&self.names, self.ranks);
        }
    }
}

/// Whether a command writes without looking.
fn is_blind(command: &Command) -> bool {
    matches!(command, Command::Set(_) | Command::MSet { .. } | Command::Del { .. })
}

/// Whether a command looks at the value of its first key.
fn reads_value(command: &Command) -> bool {
    matches!(
        command,
        Command::Get { .. }
            | Command::GetDel { .. }
            | Command::GetEx { .. }
            | Command::IncrBy { .. }
            | Command::IncrByFloat { .. }
            | Command::Append { .. }
            | Command::GetRange { .. }
            | Command::StrLen { .. }
    )
}

/// The elements that a command looks up by their names, if that is what it does, and whether it asks for their ranks.
fn elements(command: &Command) -> Option<(&Bytes, Names<'_>, bool)> {
    let (key, names, ranks): (_, Names<'_>, _) = match command {
        Command::Hash { key, ask } => match ask {
            HashCommand::Get { field }
            | HashCommand::Exists { field }
            | HashCommand::StrLen { field }
            | HashCommand::SetNx { field, .. }
            | HashCommand::IncrBy { field, .. } => (key, one(field), false),
            HashCommand::Set { pairs, .. } => (key, pairs.iter().map(|(field, _)| &**field).collect(), false),
            HashCommand::MGet { fields } | HashCommand::Del { fields } => (key, all(fields), false),
            _ => return None,
        },
        Command::SetOf { key, ask } => match ask {
            SetOfCommand::IsMember { member } => (key, one(member), false),
            SetOfCommand::MIsMember { members } | SetOfCommand::Add { members } | SetOfCommand::Rem { members } => {
                (key, all(members), false)
            }
            _ => return None,
        },
        Command::Zset { key, ask } => match ask {
            ZsetCommand::Score { member } | ZsetCommand::IncrBy { member, .. } => (key, one(member), false),
            ZsetCommand::Rank { member, .. } => (key, one(member), true),
            ZsetCommand::Add { pairs, .. } => (key, pairs.iter().map(|(_, member)| &**member).collect(), false),
            ZsetCommand::MScore { members } | ZsetCommand::Rem { members } => (key, all(members), false),
            _ => return None,
        },
        _ => return None,
    };
    // Of many at once the command itself is the better batch.
    (names.len() <= TOGETHER).then_some((key, names, ranks))
}

fn one(name: &Bytes) -> Names<'_> {
    smallvec![&**name]
}

fn all(names: &[Bytes]) -> Names<'_> {
    names.iter().map(|name| &**name).collect()
}
