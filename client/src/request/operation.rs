//! What a request asks, apart from who asks it.

use bytes::Bytes;
use simplekv_types::{Reply, Slot};
use smallvec::SmallVec;

use super::shape::Shape;
use crate::error::{Error, Result};
use crate::scatter::refused;
use crate::{Client, Key, Kind, Options, Value};

/// A request that can be part of a [`Batch`](crate::Batch) or of an [`Atomic`](crate::Atomic): any that asks one thing and does not
/// wait for elements.
pub trait Request {
    /// What it answers.
    type Output;

    /// What it asks. Its settings, such as a deadline, are left behind.
    fn into_operation(self) -> Operation<Self::Output>;
}

/// A command with its arguments, and how its answer is read. Made by [`Request::into_operation`].
#[derive(Clone, Debug)]
#[must_use = "an operation does nothing by itself"]
pub struct Operation<T> {
    name: &'static str,
    args: Vec<Bytes>,
    /// Which of the arguments are keys.
    keys: SmallVec<[usize; 1]>,
    kind: Kind,
    shape: Shape<T>,
}

impl<T> Operation<T> {
    /// `name` may be of two words.
    pub(crate) fn new(kind: Kind, name: &'static str, shape: Shape<T>) -> Self {
        let args = name.split(' ').map(|word| Bytes::from_static(word.as_bytes())).collect();
        Self { name, args, keys: SmallVec::new(), kind, shape }
    }

    /// A command whose name is not known beforehand.
    pub(crate) fn named(name: &str, shape: Shape<T>) -> Self {
        let args = vec![Bytes::copy_from_slice(name.as_bytes())];
        Self { name: "cmd", args, keys: SmallVec::new(), kind: Kind::Write, shape }
    }

    /// The same, taken for one that changes nothing.
    pub(crate) fn reading(mut self) -> Self {
        self.kind = Kind::Read;
        self
    }

    pub(crate) fn key(mut self, key: impl Into<Key>) -> Self {
        self.keys.push(self.args.len());
        self.args.push(key.into().into_bytes());
        self
    }

    pub(crate) fn keys(self, keys: impl IntoIterator<Item = impl Into<Key>>) -> Self {
        keys.into_iter().fold(self, Self::key)
    }

    /// The number of some keys, and the keys.
    pub(crate) fn counted_keys(self, keys: &[Key]) -> Self {
        self.number(keys.len()).keys(keys.iter().cloned())
    }

    pub(crate) fn value(mut self, value: impl Into<Value>) -> Self {
        self.args.push(value.into().into_bytes());
        self
    }

    pub(crate) fn values(self, values: impl IntoIterator<Item = impl Into<Value>>) -> Self {
        values.into_iter().fold(self, Self::value)
    }

    pub(crate) fn number(self, number: impl ToString) -> Self {
        self.value(number.to_string())
    }

    pub(crate) fn word(self, word: &'static str) -> Self {
        self.value(Bytes::from_static(word.as_bytes()))
    }

    pub(crate) fn word_if(self, is_meant: bool, word: &'static str) -> Self {
        if is_meant { self.word(word) } else { self }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn each_key(&self) -> impl Iterator<Item = &Bytes> {
        self.keys.iter().filter_map(|&at| self.args.get(at))
    }

    /// The slot of all keys.
    ///
    /// # Errors
    /// [`Error::CrossSlot`] if they lie in several, [`Error::Config`] if there is none.
    pub(crate) fn slot(&self) -> Result<Slot> {
        let mut slots = self.each_key().map(|key| Slot::of_key(key));
        let no_key = || Error::Config { field: self.name, reason: "no key was given".into() };
        let first = slots.next().ok_or_else(no_key)?;
        match slots.find(|slot| *slot != first) {
            Some(second) => Err(Error::CrossSlot { first, second }),
            None => Ok(first),
        }
    }

    /// The words, and what reads the answer to them.
    pub(crate) fn into_words(self) -> (Vec<Bytes>, Answer<T>) {
        (self.args, Answer { name: self.name, shape: self.shape })
    }

    /// Asks it.
    pub(crate) async fn run(self, client: &Client, options: Options) -> Result<T> {
        let (slot, kind) = (self.slot()?, self.kind);
        let (args, answer) = self.into_words();
        answer.read(&refused(client.execute(slot, args, kind, options).await?)?)
    }
}

/// How the answer to a command is read.
#[derive(Clone, Debug)]
pub(crate) struct Answer<T> {
    name: &'static str,
    shape: Shape<T>,
}

impl<T> Answer<T> {
    /// # Errors
    /// [`Error::Unexpected`] if the reply has another shape.
    pub(crate) fn read(&self, reply: &Reply) -> Result<T> {
        let unexpected = || Error::Unexpected { command: self.name, got: format!("{reply:?}") };
        (self.shape)(reply).ok_or_else(unexpected)
    }
}
