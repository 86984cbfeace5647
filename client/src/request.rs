//! Requests as callers write them: `client.set("k", "v").ttl(minute).await`.
//!
//! A request does nothing until it is awaited.

mod cmd;
mod keys;
mod many;
mod operation;
mod plain;
mod scan;
pub(crate) mod shape;
mod strings;

use bytes::Bytes;
use simplekv_types::Reply;

pub use cmd::Cmd;
pub use keys::{Del, Exists, Expire, Expiry, Persist, Ttl};
pub use many::{MGet, MSet};
pub(crate) use operation::Answer;
pub use operation::{Operation, Request};
pub use plain::{Read, Waiting, Write};
pub use scan::Scan;
pub(crate) use scan::pattern;
pub use strings::{Get, Incr, Set};

use crate::error::{Error, Result};

/// Settings every request has.
macro_rules! common_options {
    ($name:ident $(<$t:ident>)?) => {
        impl$(<$t>)? $name<'_ $(, $t)?> {
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
    ($name:ident $(<$t:ident>)?) => {
        $crate::request::common_options!($name $(<$t>)?);

        impl$(<$t>)? $name<'_ $(, $t)?> {
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
    ($name:ident $(<$t:ident>)?) => {
        $crate::request::common_options!($name $(<$t>)?);

        impl$(<$t>)? $name<'_ $(, $t)?> {
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
    ($name:ident $(<$t:ident>)? -> $output:ty) => {
        impl<'a $(, $t: 'a)?> IntoFuture for $name<'a $(, $t)?> {
            type Output = $crate::Result<$output>;
            type IntoFuture = futures::future::BoxFuture<'a, Self::Output>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(self.send())
            }
        }
    };
}

/// Sending a request that asks one thing.
macro_rules! sendable {
    ($name:ident $(<$t:ident>)? -> $output:ty, $errors:literal) => {
        $crate::request::awaitable!($name $(<$t>)? -> $output);

        impl$(<$t>)? $name<'_ $(, $t)?> {
            /// The request as a future, without the allocation that `.await` on the request itself makes.
            ///
            /// # Errors
            #[doc = $errors]
            pub async fn send(self) -> $crate::Result<$output> {
                let (client, options) = (self.client, self.options);
                $crate::request::Request::into_operation(self).run(client, options).await
            }
        }
    };
}

pub(crate) use {awaitable, common_options, read_options, sendable, write_options};

fn decimal(number: impl ToString) -> Bytes {
    Bytes::from(number.to_string())
}

fn unexpected<T>(command: &'static str, reply: &Reply) -> Result<T> {
    Err(Error::Unexpected { command, got: format!("{reply:?}") })
}
