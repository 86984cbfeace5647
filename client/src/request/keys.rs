//! Keys of any type.

use std::time::Duration;

use super::{Operation, Request, read_options, sendable, shape, write_options};
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
sendable!(Del -> bool, "As every write.");

impl<'a> Del<'a> {
    pub(crate) fn new(client: &'a Client, key: Key) -> Self {
        Self { client, key, options: Options::default() }
    }
}

impl Request for Del<'_> {
    type Output = bool;

    fn into_operation(self) -> Operation<bool> {
        Operation::new(Kind::Write, "DEL", shape::truth).key(self.key)
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
sendable!(Exists -> bool, "As every request.");

impl<'a> Exists<'a> {
    pub(crate) fn new(client: &'a Client, key: Key) -> Self {
        Self { client, key, options: Options::default() }
    }
}

impl Request for Exists<'_> {
    type Output = bool;

    fn into_operation(self) -> Operation<bool> {
        Operation::new(Kind::Read, "EXISTS", shape::truth).key(self.key)
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
sendable!(Expire -> bool, "As every write.");

impl<'a> Expire<'a> {
    pub(crate) fn new(client: &'a Client, key: Key, ttl: Duration) -> Self {
        Self { client, key, ttl, options: Options::default() }
    }
}

impl Request for Expire<'_> {
    type Output = bool;

    fn into_operation(self) -> Operation<bool> {
        Operation::new(Kind::Write, "PEXPIRE", shape::truth).key(self.key).number(self.ttl.as_millis())
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
sendable!(Persist -> bool, "As every write.");

impl<'a> Persist<'a> {
    pub(crate) fn new(client: &'a Client, key: Key) -> Self {
        Self { client, key, options: Options::default() }
    }
}

impl Request for Persist<'_> {
    type Output = bool;

    fn into_operation(self) -> Operation<bool> {
        Operation::new(Kind::Write, "PERSIST", shape::truth).key(self.key)
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
sendable!(Ttl -> Expiry, "As every request.");

impl<'a> Ttl<'a> {
    pub(crate) fn new(client: &'a Client, key: Key) -> Self {
        Self { client, key, options: Options::default() }
    }
}

impl Request for Ttl<'_> {
    type Output = Expiry;

    fn into_operation(self) -> Operation<Expiry> {
        Operation::new(Kind::Read, "PTTL", shape::expiry).key(self.key)
    }
}
