//! MULTI: collecting commands, and answering for all of them.

use std::collections::HashSet;

use bytes::Bytes;
use simplekv_types::{Failure, Naming, Reply};

use super::Session;
use crate::command::atomic::{COMMANDS_MAX, TOO_MANY, may_be_part, not_allowed};
use crate::command::{Atomic, Body, Command, Keys, Request, Version, Watched};
use crate::control::{ClientCommand, Control, Wait};
use crate::parser::Args;
use crate::table;

/// What a word counts for besides its own bytes.
const WORD_BYTES: usize = 64;
/// Most keys one connection may watch.
const WATCHED_MAX: usize = 10_000;
/// Most bytes of the arguments that wait for one EXEC.
const BYTES_MAX: usize = 64 << 20;

/// What a request comes to while commands are collected.
#[derive(Clone, Debug, PartialEq)]
pub enum Collected {
    /// It is answered by this; it may have been taken up.
    Answered(Reply),
    /// EXEC: this is to be done now.
    Exec(Transaction),
    /// It does not wait for EXEC: QUIT and RESET.
    Now(Control),
}

/// What has been collected since MULTI.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Collection {
    steps: Vec<Step>,
    bytes: usize,
    /// Whether a request was refused, so that EXEC will do nothing.
    is_spoiled: bool,
}

impl Collection {
    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Data(Command),
    Control(Control),
    /// What EXEC answers is known already.
    Told(Reply),
}

/// What EXEC is to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction {
    steps: Vec<Step>,
    watched: Vec<Watched>,
}

impl Transaction {
    /// The commands on data with the watched keys, to be done as one; `None` if there is nothing of that.
    #[must_use]
    pub fn atomic(&self) -> Option<Command> {
        let data = |step: &Step| match step {
            Step::Data(command) => Some(command.clone()),
            Step::Control(_) | Step::Told(_) => None,
        };
        let atomic = Atomic { watched: self.watched.clone(), commands: self.steps.iter().filter_map(data).collect() };
        (!atomic.commands.is_empty() || !atomic.watched.is_empty()).then_some(Command::Atomic(atomic))
    }

    /// Whether the reply to [`Transaction::atomic`] is the answer to EXEC.
    #[must_use]
    pub fn is_all_data(&self) -> bool {
        !self.steps.is_empty() && self.steps.iter().all(|step| matches!(step, Step::Data(_)))
    }

    /// What is to be said in channels, in order: who answers that may have to wait for it.
    pub fn publications(&self) -> impl Iterator<Item = (Naming, &Bytes, &Bytes)> {
        self.steps.iter().filter_map(|step| match step {
            Step::Control(Control::Publish { naming, channel, message }) => Some((*naming, channel, message)),
            _ => None,
        })
    }

    /// Answers the commands that are not about data.
    pub fn answer(&mut self, mut answer: impl FnMut(&Control) -> Reply) {
        for step in &mut self.steps {
            if let Step::Control(control) = step {
                *step = Step::Told(answer(control));
            }
        }
    }

    /// The answer to EXEC, given what the commands on data came to: an empty array if there were none. The others must have been
    /// answered.
    #[must_use]
    pub fn conclude(self, done: Reply) -> Reply {
        let Reply::Array(replies) = done else { return done };
        let mut replies = replies.into_iter();
        let reply = |step| match step {
            Step::Data(_) => {
                let lost = Failure::Uncertain { reason: "a reply is missing".into() };
                replies.next().unwrap_or(Reply::Error(lost))
            }
            Step::Control(_) => Reply::Error(Failure::command("ERR unsupported")),
            Step::Told(reply) => reply,
        };
        Reply::Array(self.steps.into_iter().map(reply).collect())
    }
}

impl Session {
    /// Whether requests are to be collected, since MULTI.
    #[must_use]
    pub fn is_collecting(&self) -> bool {
        self.collection.is_some()
    }

    /// Takes up a request while [`Session::is_collecting`], instead of [`Session::admit`] and [`Session::answer`].
    pub fn collect(&mut self, args: Args) -> Collected {
        let args = copied(&args);
        let bytes = args.iter().map(|arg| WORD_BYTES + arg.len()).sum::<usize>();
        let spec = match table::resolve(&args).and_then(|spec| self.admit(spec).map(|()| spec)) {
            Ok(spec) => spec,
            Err(failure) => return self.spoil(failure),
        };
        let step = match Request::parse(args).map(|request| request.body) {
            Ok(Body::Control(Control::Exec)) => return self.exec(),
            Ok(Body::Control(Control::Discard)) => {
                self.discard();
                return Collected::Answered(Reply::Ok);
            }
            Ok(Body::Control(Control::Multi)) => return refused("ERR MULTI calls can not be nested"),
            Ok(Body::Control(Control::Watch { .. })) => return refused("ERR WATCH inside MULTI is not allowed"),
            Ok(Body::Control(control @ (Control::Quit | Control::Reset))) => return Collected::Now(control),
            Ok(Body::Control(Control::Subscribe { .. } | Control::Unsubscribe { .. })) => {
                return self.spoil(not_allowed(spec.name));
            }
            // What a connection has seen is about what has been answered, which nothing of this is yet.
            Ok(Body::Control(Control::Client(ClientCommand::Read { .. } | ClientCommand::Token))) => {
                return self.spoil(not_allowed(spec.name));
            }
            // What is written by then is not acknowledged yet.
            Ok(Body::Control(Control::Wait(Wait { on_disk: true, .. }))) => return self.spoil(not_allowed(spec.name)),
            Ok(Body::Control(control)) => Step::Control(control),
            Ok(Body::Data(command)) if may_be_part(&command) => Step::Data(command),
            Ok(Body::Data(_)) => return self.spoil(not_allowed(spec.name)),
            // What is asked makes no sense, which EXEC is to say in its place, like Redis.
            Err(failure) => Step::Told(Reply::Error(failure)),
        };
        let collection = self.collection.get_or_insert_default();
        collection.bytes += bytes;
        if collection.steps.len() >= COMMANDS_MAX || collection.bytes > BYTES_MAX {
            // Nothing of it will be done: it need not be kept either.
            collection.steps = Vec::new();
            return self.spoil(TOO_MANY);
        }
        if !collection.is_spoiled {
            collection.steps.push(step);
        }
        self.client.set_queued(Some(collection.len()));
        Collected::Answered(Reply::Status("QUEUED"))
    }

    /// Whether so many more keys may be watched.
    ///
    /// # Errors
    /// That there would be too many.
    pub fn may_watch(&self, count: usize) -> Result<(), Failure> {
        if self.watched.len() + count <= WATCHED_MAX {
            return Ok(());
        }
        Err(Failure::command("ERR too many keys are watched by one connection"))
    }

    /// WATCH has seen these keys.
    pub fn watch(&mut self, keys: impl IntoIterator<Item = Watched>) {
        let mut known: HashSet<Bytes> = self.watched.iter().map(|watched| watched.key.clone()).collect();
        for Watched { key, version } in keys {
            let key = Bytes::copy_from_slice(&key);
            // What it was when it was first watched is what counts.
            if known.insert(key.clone()) {
                self.watched.push(Watched { key, version });
            }
        }
        self.describe();
    }

    /// The answers to OBJECT VERSION for the keys of a WATCH, understood.
    ///
    /// # Errors
    /// The first answer that is none.
    pub fn watched(keys: Keys, versions: impl IntoIterator<Item = Reply>) -> Result<Vec<Watched>, Reply> {
        let watched = |(key, reply)| match reply {
            Reply::Null => Ok(Watched { key, version: None }),
            Reply::Bulk(text) => match Version::parse(&text) {
                Some(version) => Ok(Watched { key, version: Some(version) }),
                None => Err(Reply::Error(Failure::command("ERR the version of a key cannot be read"))),
            },
            other => Err(other),
        };
        keys.into_iter().zip(versions).map(watched).collect()
    }

    fn exec(&mut self) -> Collected {
        let Some(Collection { steps, is_spoiled, .. }) = self.collection.take() else {
            return refused("ERR EXEC without MULTI");
        };
        self.tracking.begin_request();
        let watched = std::mem::take(&mut self.watched);
        self.describe();
        if is_spoiled {
            return refused("EXECABORT Transaction discarded because of previous errors.");
        }
        Collected::Exec(Transaction { steps, watched })
    }

    pub(super) fn discard(&mut self) {
        self.collection = None;
        self.watched = Vec::new();
        self.describe();
    }

    fn spoil(&mut self, failure: Failure) -> Collected {
        if let Some(collection) = &mut self.collection {
            collection.is_spoiled = true;
            collection.steps = Vec::new();
        }
        Collected::Answered(Reply::Error(failure))
    }
}

/// The words of a request in memory of their own: as they come they keep everything alive that was read with them.
fn copied(args: &Args) -> Args {
    let all = Bytes::from(args.concat());
    let mut start = 0;
    let word = |arg: &Bytes| {
        let end = start + arg.len();
        let word = all.slice(start..end);
        start = end;
        word
    };
    args.iter().map(word).collect()
}

fn refused(text: &'static str) -> Collected {
    Collected::Answered(Reply::Error(Failure::command(text)))
}

#[cfg(test)]
mod tests;
