//! Requests as callers write them: `client.set("k", "v").ttl(minute).await`.
//!
//! A request does nothing until it is awaited.

mod cmd;
mod keys;
mod many;
mod scan;
mod strings;

use bytes::Bytes;
use simplekv_types::{Reply, Slot};

pub use cmd::Cmd;
pub use keys::{Del, Exists, Expire, Expiry, Persist, Ttl};
pub use many::{MGet, MSet};
pub use scan::Scan;
pub use strings::{Get, Incr, Set};

use crate::error::{Error, Result};
use crate::scatter::refused;
use crate::{Client, Key, Kind, Options, Target};

/// Settings every request has.
macro_rules! common_options {
    ($name:ident) => {
        impl $name<'_> {
            /// Deadline over all attempts, instead of the client's.
            pub fn timeout(mut self, total: std::time::Duration) -> Self {
                self.options.timeout = Some(total);
                self
            }

            /// Does not try again after an attempt that failed or was refused. Redirects are followed all the same.
            pub fn no_retry(mut self) -> Self {
                self.options.retry = false;
                self
            }
        }
    };
}

/// Settings of requests that read.
macro_rules! read_options {
    ($name:ident) => {
        $crate::request::common_options!($name);

        impl $name<'_> {
            /// Which replicas may answer, instead of the client's default.
            pub fn read(mut self, policy: simplekv_types::ReadPolicy) -> Self {
                self.options.read = Some(policy);
                self
            }
        }
    };
}

/// Settings of requests that write.
macro_rules! write_options {
    ($name:ident) => {
        $crate::request::common_options!($name);

        impl $name<'_> {
            /// Makes the write under this identity, see [`Client::request_id`](crate::Client::request_id).
            pub fn request_id(mut self, id: $crate::RequestId) -> Self {
                self.options.request_id = Some(id);
                self
            }
        }
    };
}

/// `.await` on a request.
macro_rules! awaitable {
    ($name:ident -> $output:ty) => {
        impl<'a> IntoFuture for $name<'a> {
            type Output = $crate::Result<$output>;
            type IntoFuture = futures::future::BoxFuture<'a, Self::Output>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(self.send())
            }
        }
    };
}

use {awaitable, common_options, read_options, write_options};

/// Runs a command on one key. `args` is the command's name, the key and what follows.
async fn run(client: &Client, key: &Key, args: Vec<Bytes>, kind: Kind, options: Options) -> Result<Reply> {
    let target = Target::Slot(Slot::of_key(key.as_ref()));
    refused(client.execute(target, args, kind, options).await?)
}

/// Command and key as arguments, sharing the key's bytes.
fn command(name: &'static str, key: &Key) -> Vec<Bytes> {
    vec![Bytes::from_static(name.as_bytes()), key.clone().into_bytes()]
}

fn decimal(number: impl ToString) -> Bytes {
    Bytes::from(number.to_string())
}

fn unexpected<T>(command: &'static str, reply: &Reply) -> Result<T> {
    Err(Error::Unexpected { command, got: format!("{reply:?}") })
}

fn truth(command: &'static str, reply: &Reply) -> Result<bool> {
    match reply {
        Reply::Int(number) => Ok(*number != 0),
        Reply::Bool(truth) => Ok(*truth),
        other => unexpected(command, other),
    }
}
