//! Any command.

use bytes::Bytes;
use simplekv_types::{ReadPolicy, Reply, Slot};

use super::{awaitable, write_options};
use crate::error::{Error, Result};
use crate::scatter::refused;
use crate::{Client, Key, Kind, Options, Value};

/// See [`Client::cmd`].
///
/// The command is taken for a write, which is right for every command, unless [`Cmd::read`] says otherwise.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct Cmd<'a> {
    client: &'a Client,
    args: Vec<Bytes>,
    slot: Option<Slot>,
    /// The slot of the first key that lies elsewhere than those before it.
    other_slot: Option<Slot>,
    kind: Kind,
    options: Options,
}

write_options!(Cmd);
awaitable!(Cmd -> Reply);

impl<'a> Cmd<'a> {
    pub(crate) fn new(client: &'a Client, name: &str) -> Self {
        let args = vec![Bytes::copy_from_slice(name.as_bytes())];
        // What an unknown command answers may be different each time.
        let options = Options::default().share(false);
        Self { client, args, slot: None, other_slot: None, kind: Kind::Write, options }
    }

    /// Appends a key. At least one is needed, and all must lie in the same slot.
    pub fn key(mut self, key: impl Into<Key>) -> Self {
        let key = key.into();
        let slot = Slot::of_key(key.as_ref());
        if *self.slot.get_or_insert(slot) != slot {
            self.other_slot.get_or_insert(slot);
        }
        self.args.push(key.into_bytes());
        self
    }

    /// Appends an argument that is not a key.
    pub fn arg(mut self, value: impl Into<Value>) -> Self {
        self.args.push(value.into().into_bytes());
        self
    }

    /// Says that the command changes nothing, and which replicas may answer it.
    pub fn read(mut self, policy: ReadPolicy) -> Self {
        self.kind = Kind::Read;
        self.options.read = Some(policy);
        self
    }

    /// The request as a future.
    ///
    /// # Errors
    /// As every request; a command's own error is one, too. [`Error::CrossSlot`], before anything is sent, if the keys lie in
    /// different slots.
    pub async fn send(self) -> Result<Reply> {
        let first = self.slot.ok_or_else(|| Error::Config { field: "cmd", reason: "no key was given".into() })?;
        if let Some(second) = self.other_slot {
            return Err(Error::CrossSlot { first, second });
        }
        refused(self.client.execute(first, self.args, self.kind, self.options).await?)
    }
}
