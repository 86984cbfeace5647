//! Any command.

use simplekv_types::{ReadPolicy, Reply};

use super::{Operation, Request, sendable, shape, write_options};
use crate::{Client, Key, Options, Value};

/// See [`Client::cmd`].
///
/// The command is taken for a write, which is right for every command, unless [`Cmd::read`] says otherwise.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct Cmd<'a> {
    client: &'a Client,
    operation: Operation<Reply>,
    options: Options,
}

write_options!(Cmd);
sendable!(
    Cmd -> Reply,
    "As every request; a command's own error is one, too. [`Error::CrossSlot`](crate::Error::CrossSlot), before anything is sent, if \
     the keys lie in different slots."
);

impl<'a> Cmd<'a> {
    pub(crate) fn new(client: &'a Client, name: &str) -> Self {
        // What an unknown command answers may be different each time.
        let options = Options::default().share(false);
        Self { client, operation: Operation::named(name, shape::as_it_is), options }
    }

    /// Appends a key. At least one is needed, and all must lie in the same slot.
    pub fn key(self, key: impl Into<Key>) -> Self {
        Self { operation: self.operation.key(key), ..self }
    }

    /// Appends an argument that is not a key.
    pub fn arg(self, value: impl Into<Value>) -> Self {
        Self { operation: self.operation.value(value), ..self }
    }

    /// Says that the command changes nothing, and which replicas may answer it.
    pub fn read(mut self, policy: ReadPolicy) -> Self {
        self.options.read = Some(policy);
        Self { operation: self.operation.reading(), ..self }
    }
}

impl Request for Cmd<'_> {
    type Output = Reply;

    fn into_operation(self) -> Operation<Reply> {
        self.operation
    }
}
