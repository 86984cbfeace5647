//! One command by itself, with no connection in whose order it would stand.

use std::time::Duration;

use simplekv_client::{Kind, Options, ReadPolicy, RequestId, Session};
use simplekv_resp::{Args, Body, Request};
use simplekv_types::{Failure, Reply};
use tokio::time::{Instant, timeout};

use super::task::{Task, Words};
use super::wide;
use crate::error;
use crate::shared::Shared;

const NO_CONNECTION: Failure =
    Failure::command("ERR this command is about a connection or a server, which a single call does not have");
const IDENTITY_WAITS: Failure = Failure::command("ERR a command that waits cannot have an identity: it is many writes");

/// A command and what its caller says of it.
pub(crate) struct Alone {
    pub(crate) words: Args,
    pub(crate) policy: ReadPolicy,
    /// The write's, if the caller gave it one.
    pub(crate) identity: Option<RequestId>,
    /// How long the caller waits, if that was said.
    pub(crate) patience: Option<Duration>,
}

impl Alone {
    /// Runs the command. Dropping the future lets go of it; a write may be done all the same.
    pub(crate) async fn run(self, shared: &Shared, session: &Session) -> Reply {
        let task = match self.task(shared.limits.request_bytes) {
            Ok(task) => task,
            Err(failure) => return failure.into(),
        };
        let writes = task.is_write();
        let reply = self.perform(task, shared, session).await;
        let (size, limit) = (reply.memory_bytes(), shared.limits.output_bytes);
        match size > limit {
            false => reply,
            true if writes => Failure::Uncertain { reason: "the result is too large to be sent".into() }.into(),
            true => Failure::TooLarge { what: "reply", size: size as u64, limit: limit as u64 }.into(),
        }
    }

    /// Where the command goes. Its words are not copied.
    fn task(&self, bytes_max: usize) -> Result<Task, Failure> {
        let size: usize = self.words.iter().map(bytes::Bytes::len).sum();
        if size > bytes_max {
            return Err(Failure::TooLarge { what: "request", size: size as u64, limit: bytes_max as u64 });
        }
        let Body::Data(command) = Request::parse(self.words.clone())?.body else { return Err(NO_CONNECTION) };
        let task = Task::of(command, self.words.clone(), false)?;
        match (&task, self.identity) {
            // Who repeats it might find it cut otherwise, and what was done under the identity would not be known there.
            (Task::Wide { kind: Kind::Write, .. }, Some(_)) => Err(Failure::CrossSlot),
            (Task::Blocking { .. }, Some(_)) => Err(IDENTITY_WAITS),
            _ => Ok(task),
        }
    }

    async fn perform(&self, task: Task, shared: &Shared, session: &Session) -> Reply {
        let limit = shared.limits.request_timeout;
        let total = self.patience.map_or(limit, |patience| patience.min(limit));
        let mut options = Options::default().read(self.policy);
        options.request_id = self.identity;
        match task {
            Task::Single { slot, words, kind, share, track: _ } => {
                let until = Instant::now() + total;
                let Ok(Ok(_place)) = timeout(total, shared.admission.acquire()).await else {
                    return Failure::Timeout { what: "its turn".into() }.into();
                };
                let left = until.saturating_duration_since(Instant::now());
                let words: Words = words.into_iter().collect();
                match self.patience {
                    // A read with a deadline of its own would impose it on those who share it: it is let go of instead.
                    Some(_) if share => {
                        let read = timeout(left, session.execute(slot, words, kind, options)).await;
                        let late = || Failure::Timeout { what: "an answer from the cluster".into() }.into();
                        read.map_or_else(|_| late(), |read| read.unwrap_or_else(error::reply))
                    }
                    Some(_) => {
                        session.execute(slot, words, kind, options.timeout(left)).await.unwrap_or_else(error::reply)
                    }
                    None => session.execute(slot, words, kind, options).await.unwrap_or_else(error::reply),
                }
            }
            Task::Wide { command, kind, .. } => {
                let run = wide::run(shared, session, command, kind, options, false);
                let Some(patience) = self.patience else { return run.await };
                timeout(patience, run).await.unwrap_or_else(|_| match kind {
                    Kind::Read => Failure::Timeout { what: "answers from the cluster".into() }.into(),
                    Kind::Write => {
                        Failure::Uncertain { reason: "the time was up before all parts were done".into() }.into()
                    }
                })
            }
            Task::Blocking { tries, keys, timeout: wait } => {
                let wait = wait.into_iter().chain(self.patience).min();
                // A try is not cut off: what it takes would be lost.
                tokio::select! {
                    found = session.execute_when_there(&tries, &keys, wait, options) => {
                        found.unwrap_or_else(error::reply)
                    }
                    // A try may be under way.
                    () = shared.stopping.cancelled() => Failure::Uncertain { reason: "the router is stopping".into() }.into(),
                }
            }
            Task::Publish { .. } => NO_CONNECTION.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost::Message;
    use simplekv_proto::convert::Call;
    use simplekv_proto::v1;

    use super::*;

    fn alone(words: &[&'static str], identity: Option<RequestId>) -> Alone {
        let words = words.iter().map(|word| Bytes::from_static(word.as_bytes())).collect();
        Alone { words, policy: ReadPolicy::Linearizable, identity, patience: None }
    }

    /// From the message to what is given to the client, a value stays where it arrived.
    #[test]
    fn a_value_is_not_copied_on_its_way_through() {
        let set = v1::SetRequest { key: "k".into(), value: vec![7; 1 << 20].into(), ..v1::SetRequest::default() };
        let message = Bytes::from(set.encode_to_vec());
        let call = Call::try_from(v1::SetRequest::decode(message.clone()).unwrap()).unwrap();
        let alone = Alone { words: call.words.into(), ..alone(&[], None) };
        let Ok(Task::Single { words, .. }) = alone.task(usize::MAX) else { panic!("a key is in one slot") };
        assert_eq!(words.last(), Some(&set.value));
        assert!(words.iter().skip(1).all(|word| message.as_ptr_range().contains(&word.as_ptr())));
    }

    #[test]
    fn an_identity_is_for_one_write_to_one_slot() {
        let id = "0000000000000000000000000000feed-1-5".parse().ok();
        assert!(id.is_some());
        assert!(alone(&["MSET", "{t}a", "1", "{t}b", "2"], id).task(1000).is_ok());
        assert!(matches!(alone(&["MSET", "a", "1", "b", "2"], id).task(1000), Err(Failure::CrossSlot)));
        assert!(alone(&["MSET", "a", "1", "b", "2"], None).task(1000).is_ok());
        assert_eq!(alone(&["BLPOP", "a", "0"], id).task(1000).err(), Some(IDENTITY_WAITS));
    }

    #[test]
    fn what_is_no_command_on_data_is_refused() {
        assert_eq!(alone(&["PING"], None).task(1000).err(), Some(NO_CONNECTION));
        assert_eq!(alone(&["SUBSCRIBE", "c"], None).task(1000).err(), Some(NO_CONNECTION));
        assert!(matches!(alone(&["GETT", "k"], None).task(1000), Err(Failure::Command(_))));
        assert!(matches!(alone(&[], None).task(1000), Err(Failure::Command(_))));
        assert!(matches!(alone(&["RENAME", "foo", "foo2"], None).task(1000), Err(Failure::CrossSlot)));
        let too_large = alone(&["GET", "key"], None).task(5).err();
        assert_eq!(too_large, Some(Failure::TooLarge { what: "request", size: 6, limit: 5 }));
    }
}
