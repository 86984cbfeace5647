//! What a data command asks of the cluster.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use simplekv_client::Kind;
use simplekv_resp::command::Blocking;
use simplekv_resp::table::{Flags, Spec};
use simplekv_resp::{Args, Command, Transaction};
use simplekv_types::{Failure, Naming, Reply, Slot};

use crate::metrics::Class;

/// A data command with where it goes.
pub(super) enum Task {
    /// All its keys lie in one slot.
    Single { slot: Slot, words: Args, kind: Kind, share: bool, track: bool },
    /// Says something in a channel.
    Publish { naming: Naming, channel: Bytes, message: Bytes },
    /// Waits until there is something to be found.
    Blocking { tries: Vec<(Slot, Words)>, keys: Vec<Bytes>, timeout: Option<Duration> },
    /// Concerns several slots, or is the part of EXEC that is about data; `conclude` makes the answer of what that comes to.
    Wide { command: Command, kind: Kind, conclude: Option<Conclude>, track: bool },
}

/// Makes an answer of a reply.
pub(super) type Conclude = Box<dyn FnOnce(Reply) -> BoxFuture<'static, Reply> + Send>;

/// A request's words, shared by all attempts to make it.
pub(super) type Words = Arc<[Bytes]>;

impl Task {
    /// A request that [`simplekv_resp::plain`] knows, of a connection that tracks nothing: the key is its second word.
    pub(super) fn plain(spec: &Spec, words: Args) -> Self {
        let slot = words.get(1).map_or(Slot::MIN, |key| Slot::of_key(key));
        let is_write = spec.flags.contains(Flags::WRITE);
        let kind = if is_write { Kind::Write } else { Kind::Read };
        Self::Single { slot, words, kind, share: !is_write, track: false }
    }

    /// `args` are the words `command` was parsed from; `track`: whether changes of what it reads are to be told.
    ///
    /// # Errors
    /// [`Failure::CrossSlot`] if the keys lie in different slots and the command cannot be cut.
    pub(super) fn of(command: Command, args: Args, track: bool) -> Result<Self, Failure> {
        let kind = if command.is_write() { Kind::Write } else { Kind::Read };
        if let Command::Blocking(blocking) = &command {
            return Self::blocking(&command, blocking);
        }
        match command.slot() {
            Ok(Some(slot)) => {
                // Hot keys are read with these; other reads are too rare to be worth a look at who else is reading.
                let share = matches!(command, Command::Get { .. } | Command::MGet { .. });
                Ok(Self::Single { slot, words: args, kind, share, track })
            }
            // Only who knows the groups can tell whether these belong to one.
            Err(_) if matches!(command, Command::Atomic(_)) => Ok(Self::Wide { command, kind, conclude: None, track }),
            Err(failure) if command.scatter(|slot| slot).is_none() => Err(failure),
            Ok(None) | Err(_) => Ok(Self::Wide { command, kind, conclude: None, track }),
        }
    }

    /// What EXEC is to do; the answer if that is all.
    pub(super) fn exec(
        transaction: Transaction,
        conclude: impl FnOnce(Transaction, Reply) -> BoxFuture<'static, Reply> + Send + 'static,
    ) -> Result<Self, BoxFuture<'static, Reply>> {
        let Some(command) = transaction.atomic() else {
            return Err(conclude(transaction, Reply::Array(Vec::new())));
        };
        match command.slot() {
            Ok(Some(slot)) if transaction.is_all_data() => Ok(Self::Single {
                slot,
                words: command.to_args().into_iter().collect(),
                kind: Kind::Write,
                share: false,
                track: false,
            }),
            _ => {
                let conclude: Conclude = Box::new(move |done| conclude(transaction, done));
                Ok(Self::Wide { command, kind: Kind::Write, conclude: Some(conclude), track: false })
            }
        }
    }

    fn blocking(command: &Command, blocking: &Blocking) -> Result<Self, Failure> {
        let tries = match command.slot() {
            Ok(_) => vec![command.clone()],
            Err(failure) => blocking.one_by_one().ok_or(failure)?,
        };
        let with_slot = |command: Command| {
            let slot = command.keys().next().map_or(Slot::MIN, |key| Slot::of_key(key));
            (slot, command.to_args().into_iter().collect())
        };
        let tries = tries.into_iter().map(with_slot).collect();
        Ok(Self::Blocking { tries, keys: blocking.awaited().cloned().collect(), timeout: blocking.timeout })
    }

    /// What is remembered of it if it takes long. What waits for somebody else is not slow.
    pub(super) fn words(&self) -> Option<Words> {
        match self {
            Self::Single { words, .. } => Some(words.iter().cloned().collect()),
            Self::Wide { command, .. } => Some(command.to_args().into_iter().collect()),
            Self::Publish { .. } | Self::Blocking { .. } => None,
        }
    }

    pub(super) fn class(&self) -> Class {
        match self {
            Self::Single { kind: Kind::Read, .. } => Class::Read,
            Self::Single { kind: Kind::Write, .. } | Self::Blocking { .. } | Self::Publish { .. } => Class::Write,
            Self::Wide { .. } => Class::Wide,
        }
    }

    pub(super) fn is_write(&self) -> bool {
        match self {
            Self::Single { kind, .. } | Self::Wide { kind, .. } => *kind == Kind::Write,
            Self::Blocking { .. } | Self::Publish { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(line: &'static str) -> Result<Task, Failure> {
        let args: Args = line.split(' ').map(|word| Bytes::from_static(word.as_bytes())).collect();
        let request = simplekv_resp::Request::parse(args.clone()).unwrap();
        let simplekv_resp::Body::Data(command) = request.body else { panic!("{line} is not about data") };
        Task::of(command, args, false)
    }

    #[test]
    fn a_command_goes_where_its_keys_are() {
        assert!(matches!(task("GET foo"), Ok(Task::Single { kind: Kind::Read, share: true, .. })));
        assert!(matches!(task("SET foo 1"), Ok(Task::Single { kind: Kind::Write, share: false, .. })));
        assert!(matches!(task("MGET {t}a {t}b"), Ok(Task::Single { .. })));
        assert!(matches!(task("MGET foo foo2"), Ok(Task::Wide { kind: Kind::Read, .. })));
        assert!(matches!(task("MSET foo 1 foo2 2"), Ok(Task::Wide { kind: Kind::Write, .. })));
        assert!(matches!(task("DBSIZE"), Ok(Task::Wide { kind: Kind::Read, .. })));
        assert!(matches!(task("RENAME foo foo2"), Err(Failure::CrossSlot)));
        assert!(matches!(task("MSETNX foo 1 foo2 2"), Err(Failure::CrossSlot)));
    }

    #[test]
    fn a_plain_request_is_what_it_would_be_if_it_were_parsed() {
        let parts = |task| match task {
            Task::Single { slot, words, kind, share, .. } => (slot, words, kind, share),
            _ => panic!("it is about one slot"),
        };
        for line in ["GET foo", "get {a}b", "SET foo 1", "sEt bar NX"] {
            let args: Args = line.split(' ').map(|word| Bytes::from_static(word.as_bytes())).collect();
            let spec = simplekv_resp::plain(&args).unwrap();
            assert_eq!(parts(Task::plain(spec, args)), parts(task(line).unwrap()));
        }
        for line in ["GET", "GET foo bar", "SET foo", "SET foo 1 NX", "MGET foo", "APPEND foo x", "NONSENSE foo"] {
            let args: Args = line.split(' ').map(|word| Bytes::from_static(word.as_bytes())).collect();
            assert!(simplekv_resp::plain(&args).is_none(), "{line}");
        }
    }
}
