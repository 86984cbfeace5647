//! Keys of any type.

use std::time::Duration;

use simplekv_types::Reply;

use super::{awaitable, command, decimal, read_options, run, truth, unexpected, write_options};
use crate::error::Result;
use crate::{Client, Key, Kind, Options};

/// See [`Client::del`].
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct Del<'a> {
    client: &'a Client,
    key: Key,
    options: Options,
}

write_options!(Del);
awaitable!(Del -> bool);

impl<'a> Del<'a> {
    pub(crate) fn new(client: &'a Client, key: Key) -> Self {
        Self { client, key, options: Options::default() }
    }

    /// The request as a future.
    ///
    /// # Errors
    /// As every write.
    pub async fn send(self) -> Result<bool> {
        truth("DEL", &run(self.client, &self.key, command("DEL", &self.key), Kind::Write, self.options).await?)
    }
}

/// See [`Client::exists`].
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct Exists<'a> {
    client: &'a Client,
    key: Key,
    options: Options,
}

read_options!(Exists);
awaitable!(Exists -> bool);

impl<'a> Exists<'a> {
    pub(crate) fn new(client: &'a Client, key: Key) -> Self {
        Self { client, key, options: Options::default() }
    }

    /// The request as a future.
    ///
    /// # Errors
    /// As every request.
    pub async fn send(self) -> Result<bool> {
        truth("EXISTS", &run(self.client, &self.key, command("EXISTS", &self.key), Kind::Read, self.options).await?)
    }
}

/// See [`Client::expire`].
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct Expire<'a> {
    client: &'a Client,
    key: Key,
    ttl: Duration,
    options: Options,
}

write_options!(Expire);
awaitable!(Expire -> bool);

impl<'a> Expire<'a> {
    pub(crate) fn new(client: &'a Client, key: Key, ttl: Duration) -> Self {
        Self { client, key, ttl, options: Options::default() }
    }

    /// The request as a future.
    ///
    /// # Errors
    /// As every write.
    pub async fn send(self) -> Result<bool> {
        let mut args = command("PEXPIRE", &self.key);
        args.push(decimal(self.ttl.as_millis()));
        truth("PEXPIRE", &run(self.client, &self.key, args, Kind::Write, self.options).await?)
    }
}

/// See [`Client::persist`].
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct Persist<'a> {
    client: &'a Client,
    key: Key,
    options: Options,
}

write_options!(Persist);
awaitable!(Persist -> bool);

impl<'a> Persist<'a> {
    pub(crate) fn new(client: &'a Client, key: Key) -> Self {
        Self { client, key, options: Options::default() }
    }

    /// The request as a future.
    ///
    /// # Errors
    /// As every write.
    pub async fn send(self) -> Result<bool> {
        let args = command("PERSIST", &self.key);
        truth("PERSIST", &run(self.client, &self.key, args, Kind::Write, self.options).await?)
    }
}

/// How long a key has to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The key does not exist.
    Missing,
    /// It lives until it is deleted.
    Never,
    /// It expires after this time.
    In(Duration),
}

/// See [`Client::ttl`].
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct Ttl<'a> {
    client: &'a Client,
    key: Key,
    options: Options,
}

read_options!(Ttl);
awaitable!(Ttl -> Expiry);

impl<'a> Ttl<'a> {
    pub(crate) fn new(client: &'a Client, key: Key) -> Self {
        Self { client, key, options: Options::default() }
    }

    /// The request as a future.
    ///
    /// # Errors
    /// As every request.
    pub async fn send(self) -> Result<Expiry> {
        match run(self.client, &self.key, command("PTTL", &self.key), Kind::Read, self.options).await? {
            Reply::Int(-2) => Ok(Expiry::Missing),
            Reply::Int(-1) => Ok(Expiry::Never),
            Reply::Int(millis) if millis >= 0 => Ok(Expiry::In(Duration::from_millis(millis.unsigned_abs()))),
            other => unexpected("PTTL", &other),
        }
    }
}
