//! Hashes.

use std::collections::HashMap;

use bytes::Bytes;

use super::{View, Walk};
use crate::Value;
use crate::request::{Read, Write, shape};

/// See [`Client::hash`](crate::Client::hash). A hash that is not there is one without fields, and one without fields is not there.
#[derive(Clone, Debug)]
pub struct Hash<'a>(pub(super) View<'a>);

impl<'a> Hash<'a> {
    /// Gives a field a value. `true` if the field is new.
    pub fn set(&self, field: impl Into<Value>, value: impl Into<Value>) -> Write<'a, bool> {
        self.0.write("HSET", shape::truth).value(field).value(value)
    }

    /// Gives fields values, all of them at once; at least one. How many of the fields are new.
    pub fn set_all<F: Into<Value>, V: Into<Value>>(&self, fields: impl IntoIterator<Item = (F, V)>) -> Write<'a, u64> {
        let words = fields.into_iter().flat_map(|(field, value)| [field.into(), value.into()]);
        self.0.write("HSET", shape::count).values(words)
    }

    /// Gives a field a value if it has none. `true` if it had none.
    pub fn set_if_absent(&self, field: impl Into<Value>, value: impl Into<Value>) -> Write<'a, bool> {
        self.0.write("HSETNX", shape::truth).value(field).value(value)
    }

    /// Adds to the number in a field; one that is not there counts as 0. The new number.
    ///
    /// Fails with [`Error::Server`](crate::Error::Server) if the value is not a whole number, or the sum is beyond an `i64`.
    pub fn incr(&self, field: impl Into<Value>, by: i64) -> Write<'a, i64> {
        self.0.write("HINCRBY", shape::number).value(field).number(by)
    }

    /// Adds to the number in a field, which may have a fraction; one that is not there counts as 0. The new number.
    ///
    /// Fails with [`Error::Server`](crate::Error::Server) if the value is not a number, or the sum is not finite.
    pub fn incr_float(&self, field: impl Into<Value>, by: f64) -> Write<'a, f64> {
        self.0.write("HINCRBYFLOAT", shape::float).value(field).number(by)
    }

    /// Takes fields out; at least one. How many were there.
    pub fn del(&self, fields: impl IntoIterator<Item = impl Into<Value>>) -> Write<'a, u64> {
        self.0.write("HDEL", shape::count).values(fields)
    }

    /// The value of a field.
    pub fn get(&self, field: impl Into<Value>) -> Read<'a, Option<Bytes>> {
        self.0.read("HGET", shape::value).value(field)
    }

    /// The values of fields, in their order; at least one.
    pub fn get_many(&self, fields: impl IntoIterator<Item = impl Into<Value>>) -> Read<'a, Vec<Option<Bytes>>> {
        self.0.read("HMGET", shape::values_in_places).values(fields)
    }

    /// All fields with their values, in one answer. For a large hash, walk: [`Hash::scan`].
    pub fn get_all(&self) -> Read<'a, HashMap<Bytes, Bytes>> {
        self.0.read("HGETALL", shape::map)
    }

    /// All fields.
    pub fn fields(&self) -> Read<'a, Vec<Bytes>> {
        self.0.read("HKEYS", shape::values)
    }

    /// All values.
    pub fn values(&self) -> Read<'a, Vec<Bytes>> {
        self.0.read("HVALS", shape::values)
    }

    /// How many fields there are.
    pub fn len(&self) -> Read<'a, u64> {
        self.0.read("HLEN", shape::count)
    }

    /// Whether there is a field.
    pub fn contains(&self, field: impl Into<Value>) -> Read<'a, bool> {
        self.0.read("HEXISTS", shape::truth).value(field)
    }

    /// The length of a field's value in bytes; 0 if there is no such field.
    pub fn value_len(&self, field: impl Into<Value>) -> Read<'a, u64> {
        self.0.read("HSTRLEN", shape::count).value(field)
    }

    /// One of the fields, drawn.
    pub fn random(&self) -> Read<'a, Option<Bytes>> {
        self.0.read("HRANDFIELD", shape::value).drawn()
    }

    /// Some of the fields, drawn: up to `count` different ones. If it is negative, exactly as many as it says without its sign, and one
    /// may come several times.
    pub fn random_many(&self, count: i64) -> Read<'a, Vec<Bytes>> {
        self.0.read("HRANDFIELD", shape::values).number(count).drawn()
    }

    /// Like [`Hash::random_many`], with the fields' values.
    pub fn random_with_values(&self, count: i64) -> Read<'a, Vec<(Bytes, Bytes)>> {
        self.0.read("HRANDFIELD", shape::fields).number(count).word("WITHVALUES").drawn()
    }

    /// Walks over the fields with their values: `hash.scan().prefix("visits:").stream()`.
    pub fn scan(&self) -> Walk<'a, (Bytes, Bytes)> {
        Walk::new(&self.0, "HSCAN", shape::fields)
    }
}
