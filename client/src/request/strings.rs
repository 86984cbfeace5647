//! Single values.

use std::time::Duration;

use bytes::Bytes;
use simplekv_types::Reply;

use super::{awaitable, command, decimal, read_options, run, unexpected, write_options};
use crate::error::Result;
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
awaitable!(Get -> Option<Bytes>);

impl<'a> Get<'a> {
    pub(crate) fn new(client: &'a Client, key: Key) -> Self {
        Self { client, key, options: Options::default() }
    }

    /// The request as a future, without the allocation that `.await` on the request itself makes.
    ///
    /// # Errors
    /// As every request; [`Error::WrongType`](crate::Error::WrongType) if the key holds a collection.
    pub async fn send(self) -> Result<Option<Bytes>> {
        match run(self.client, &self.key, command("GET", &self.key), Kind::Read, self.options).await? {
            Reply::Bulk(value) => Ok(Some(value)),
            Reply::Null => Ok(None),
            other => unexpected("GET", &other),
        }
    }
}

/// See [`Client::set`].
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
awaitable!(Set -> bool);

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

    /// The request as a future. `false` only if [`Set::if_absent`] or [`Set::if_present`] did not hold.
    ///
    /// # Errors
    /// As every write.
    pub async fn send(self) -> Result<bool> {
        let mut args = command("SET", &self.key);
        args.push(self.value.into_bytes());
        match self.lifetime {
            Lifetime::ForEver => (),
            Lifetime::Keep => args.push(Bytes::from_static(b"KEEPTTL")),
            Lifetime::For(ttl) => args.extend([Bytes::from_static(b"PX"), decimal(ttl.as_millis().max(1))]),
        }
        args.extend(self.condition.map(|condition| Bytes::from_static(condition.as_bytes())));
        match run(self.client, &self.key, args, Kind::Write, self.options).await? {
            Reply::Ok => Ok(true),
            Reply::Null => Ok(false),
            other => unexpected("SET", &other),
        }
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
awaitable!(Incr -> i64);

impl<'a> Incr<'a> {
    pub(crate) fn new(client: &'a Client, key: Key) -> Self {
        Self { client, key, by: 1, options: Options::default() }
    }

    /// What to add instead of 1; may be negative.
    pub fn by(mut self, amount: i64) -> Self {
        self.by = amount;
        self
    }

    /// The request as a future.
    ///
    /// # Errors
    /// As every write; [`Error::Server`](crate::Error::Server) if the value is not a number or the sum does not fit.
    pub async fn send(self) -> Result<i64> {
        let mut args = command("INCRBY", &self.key);
        args.push(decimal(self.by));
        match run(self.client, &self.key, args, Kind::Write, self.options).await? {
            Reply::Int(number) => Ok(number),
            other => unexpected("INCRBY", &other),
        }
    }
}
