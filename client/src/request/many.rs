//! Many keys at once.

use bytes::Bytes;
use simplekv_types::Reply;

use super::{awaitable, read_options, unexpected, write_options};
use crate::error::Result;
use crate::scatter::{gather, scatter};
use crate::{Client, Key, Kind, Options, Value};

/// See [`Client::mget`].
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct MGet<'a> {
    client: &'a Client,
    keys: Vec<Key>,
    options: Options,
}

read_options!(MGet);
awaitable!(MGet -> Vec<Option<Bytes>>);

impl<'a> MGet<'a> {
    pub(crate) fn new(client: &'a Client, keys: Vec<Key>) -> Self {
        Self { client, keys, options: Options::default() }
    }

    /// The request as a future. A key that holds a collection reads as `None`, as in Redis.
    ///
    /// # Errors
    /// As every request, if any part of it failed.
    pub async fn send(self) -> Result<Vec<Option<Bytes>>> {
        let items: Vec<Vec<Bytes>> = self.keys.into_iter().map(|key| vec![key.into_bytes()]).collect();
        let mut values = vec![None; items.len()];
        let parts = scatter(self.client, "MGET", items, Kind::Read, self.options).await;
        for (items, reply) in gather(parts, Kind::Read)? {
            let Reply::Array(replies) = reply else { return unexpected("MGET", &reply) };
            if replies.len() != items.len() {
                return unexpected("MGET", &Reply::Array(replies));
            }
            for (at, reply) in items.into_iter().zip(replies) {
                let place = values.get_mut(at).expect("a part names items of the request");
                *place = match reply {
                    Reply::Bulk(value) => Some(value),
                    Reply::Null => None,
                    other => return unexpected("MGET", &other),
                };
            }
        }
        Ok(values)
    }
}

/// See [`Client::mset`].
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is awaited"]
pub struct MSet<'a> {
    client: &'a Client,
    pairs: Vec<(Key, Value)>,
    options: Options,
}

write_options!(MSet);
awaitable!(MSet -> ());

impl<'a> MSet<'a> {
    pub(crate) fn new(client: &'a Client, pairs: Vec<(Key, Value)>) -> Self {
        Self { client, pairs, options: Options::default() }
    }

    /// The request as a future.
    ///
    /// # Errors
    /// As every write; [`Error::Partial`](crate::Error::Partial) if it was done on some slots only.
    pub async fn send(self) -> Result<()> {
        let items = self.pairs.into_iter().map(|(key, value)| vec![key.into_bytes(), value.into_bytes()]).collect();
        let parts = scatter(self.client, "MSET", items, Kind::Write, self.options).await;
        for (_, reply) in gather(parts, Kind::Write)? {
            if reply != Reply::Ok {
                return unexpected("MSET", &reply);
            }
        }
        Ok(())
    }
}
