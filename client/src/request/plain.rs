//! Requests that have no settings but those all have. Most commands on collections are such.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use simplekv_types::Reply;
use tokio::time::Instant;

use super::shape::Shape;
use super::{Operation, Request, awaitable, common_options, read_options, sendable, write_options};
use crate::error::Result;
use crate::scatter::refused;
use crate::{Client, Key, Kind, Options, Value};

/// A request that changes nothing: `kv.list("jobs").len()`.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct Read<'a, T> {
    client: &'a Client,
    operation: Operation<T>,
    options: Options,
}

read_options!(Read<T>);
sendable!(Read<T> -> T, "As every request; [`Error::WrongType`](crate::Error::WrongType) if the key holds another type.");

/// A request that changes something: `kv.list("jobs").rpush(["a"])`.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct Write<'a, T> {
    client: &'a Client,
    operation: Operation<T>,
    options: Options,
}

write_options!(Write<T>);
sendable!(Write<T> -> T, "As every write; [`Error::WrongType`](crate::Error::WrongType) if the key holds another type.");

/// A request's further words.
macro_rules! words {
    ($name:ident, $kind:expr) => {
        impl<'a, T> $name<'a, T> {
            pub(crate) fn new(client: &'a Client, name: &'static str, shape: Shape<T>) -> Self {
                Self::of(client, Operation::new($kind, name, shape))
            }

            pub(crate) fn of(client: &'a Client, operation: Operation<T>) -> Self {
                Self { client, operation, options: Options::default() }
            }

            fn map(self, change: impl FnOnce(Operation<T>) -> Operation<T>) -> Self {
                Self { operation: change(self.operation), ..self }
            }

            pub(crate) fn key(self, key: impl Into<Key>) -> Self {
                self.map(|operation| operation.key(key))
            }

            pub(crate) fn value(self, value: impl Into<Value>) -> Self {
                self.map(|operation| operation.value(value))
            }

            pub(crate) fn values(self, values: impl IntoIterator<Item = impl Into<Value>>) -> Self {
                self.map(|operation| operation.values(values))
            }

            pub(crate) fn number(self, number: impl ToString) -> Self {
                self.map(|operation| operation.number(number))
            }

            pub(crate) fn word(self, word: &'static str) -> Self {
                self.map(|operation| operation.word(word))
            }
        }

        impl<T> Request for $name<'_, T> {
            type Output = T;

            fn into_operation(self) -> Operation<T> {
                self.operation
            }
        }
    };
}

words!(Read, Kind::Read);
words!(Write, Kind::Write);

impl<T> Write<'_, T> {
    /// With the settings of the request it was made of.
    pub(crate) fn with(self, options: Options) -> Self {
        Self { options, ..self }
    }
}

impl<T> Read<'_, T> {
    /// Has every request asked by itself: what it answers is drawn.
    pub(crate) fn drawn(mut self) -> Self {
        self.options.share = false;
        self
    }
}

/// A request that waits until there is an element to be taken, `kv.list("jobs").wait_lpop(minute)`; `None` when the time is up.
///
/// Dropping its future ends the waiting; an element that was being taken at that moment may be gone.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct Waiting<'a, T> {
    client: &'a Client,
    /// Tried one after the other, time and again.
    tries: Vec<Operation<Option<T>>>,
    /// Where there may be elements.
    keys: Vec<Bytes>,
    wait: Duration,
    options: Options,
}

// Their deadline is that of each try; how long to wait is said when the request is made.
common_options!(Waiting<T>);
awaitable!(Waiting<T> -> Option<T>);

impl<'a, T> Waiting<'a, T> {
    /// `keys` are where elements are waited for.
    pub(crate) fn new(client: &'a Client, tries: Vec<Operation<Option<T>>>, keys: &[Key], wait: Duration) -> Self {
        let keys = keys.iter().map(|key| key.clone().into_bytes()).collect();
        Self { client, tries, keys, wait, options: Options::default() }
    }

    /// With the settings of the request it was made of, which is not a single one any more.
    pub(crate) fn with(self, options: Options) -> Self {
        Self { options: Options { request_id: None, ..options }, ..self }
    }

    /// The request as a future.
    ///
    /// # Errors
    /// As every write, for the try that failed; [`Error::WrongType`](crate::Error::WrongType) if a key holds another type.
    pub async fn send(self) -> Result<Option<T>> {
        // What is beyond all clocks is for ever.
        let wait = Instant::now().checked_add(self.wait).map(|_| self.wait);
        let (mut tries, mut answer) = (Vec::with_capacity(self.tries.len()), None);
        for operation in self.tries {
            let slot = operation.slot()?;
            let (words, reads) = operation.into_words();
            tries.push((slot, Arc::from(words)));
            answer = Some(reads);
        }
        let Some(answer) = answer else { return Ok(None) };
        let found = self.client.execute_when_there(&tries, &self.keys, wait, self.options).await?;
        match refused(found)? {
            Reply::Null | Reply::NullArray => Ok(None),
            found => answer.read(&found),
        }
    }
}
