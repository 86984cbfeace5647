//! Single values.

use std::time::Duration;

use bytes::Bytes;

use super::{Operation, Request, read_options, sendable, shape, write_options};
use crate::{Client, Key, Kind, Options, Value};

/// See [`Client::get`].
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct Get<'a> {
    client: &'a Client,
    key: Key,
    options: Options,
}

read_options!(Get);
sendable!(Get -> Option<Bytes>, "As every request; [`Error::WrongType`](crate::Error::WrongType) if the key holds a collection.");

impl<'a> Get<'a> {
    pub(crate) fn new(client: &'a Client, key: Key) -> Self {
        Self { client, key, options: Options::default() }
    }

    /// May be answered by a copy in this process, if the client has a [near-cache](crate::ClientBuilder::near_cache).
    ///
    /// Such an answer is **not linearizable**, whatever the read policy: it may miss a write for as long as the news of it takes to the
    /// replica that answered and from there to here, and for [`NearCache::ttl`](crate::NearCache::ttl) at most if that is cut off unnoticed. What this client has written
    /// itself is never missed; in a [`Session`](crate::Session) neither is anything that the session has seen. What cannot be answered so is
    /// asked for under the read policy as ever.
    pub fn cached(mut self) -> Self {
        self.options.cached = true;
        self
    }
}

impl Request for Get<'_> {
    type Output = Option<Bytes>;

    fn into_operation(self) -> Operation<Option<Bytes>> {
        Operation::new(Kind::Read, "GET", shape::value).key(self.key)
    }
}

/// See [`Client::set`]. `false` only if [`Set::if_absent`] or [`Set::if_present`] did not hold.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct Set<'a> {
    client: &'a Client,
    key: Key,
    value: Value,
    lifetime: Lifetime,
    condition: Option<&'static str>,
    options: Options,
}

#[derive(Clone, Copy, Debug)]
enum Lifetime {
    ForEver,
    Keep,
    For(Duration),
}

write_options!(Set);
sendable!(Set -> bool, "As every write.");

impl<'a> Set<'a> {
    pub(crate) fn new(client: &'a Client, key: Key, value: Value) -> Self {
        Self { client, key, value, lifetime: Lifetime::ForEver, condition: None, options: Options::default() }
    }

    /// Lets the key expire after `ttl`, to the millisecond and at least one. Without it the key lives for ever.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.lifetime = Lifetime::For(ttl);
        self
    }

    /// Keeps the time the key has to live.
    pub fn keep_ttl(mut self) -> Self {
        self.lifetime = Lifetime::Keep;
        self
    }

    /// Sets the key only if it does not exist.
    pub fn if_absent(mut self) -> Self {
        self.condition = Some("NX");
        self
    }

    /// Sets the key only if it exists.
    pub fn if_present(mut self) -> Self {
        self.condition = Some("XX");
        self
    }
}

impl Request for Set<'_> {
    type Output = bool;

    fn into_operation(self) -> Operation<bool> {
        let set = Operation::new(Kind::Write, "SET", shape::done_or_not).key(self.key).value(self.value);
        let set = match self.lifetime {
            Lifetime::ForEver => set,
            Lifetime::Keep => set.word("KEEPTTL"),
            Lifetime::For(ttl) => set.word("PX").number(ttl.as_millis().max(1)),
        };
        self.condition.into_iter().fold(set, Operation::word)
    }
}

/// See [`Client::incr`].
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct Incr<'a> {
    client: &'a Client,
    key: Key,
    by: i64,
    options: Options,
}

write_options!(Incr);
sendable!(Incr -> i64, "As every write; [`Error::Server`](crate::Error::Server) if the value is not a number or the sum does not fit.");

impl<'a> Incr<'a> {
    pub(crate) fn new(client: &'a Client, key: Key) -> Self {
        Self { client, key, by: 1, options: Options::default() }
    }

    /// What to add instead of 1; may be negative.
    pub fn by(mut self, amount: i64) -> Self {
        self.by = amount;
        self
    }
}

impl Request for Incr<'_> {
    type Output = i64;

    fn into_operation(self) -> Operation<i64> {
        Operation::new(Kind::Write, "INCRBY", shape::number).key(self.key).number(self.by)
    }
}
