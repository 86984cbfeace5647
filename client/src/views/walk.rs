//! A walk over the elements of one key.

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use simplekv_types::Reply;

use super::View;
use crate::error::{Error, Result};
use crate::request::shape::{Shape, page};
use crate::request::{Operation, pattern, read_options};
use crate::{Client, Key, Kind, Options, Value};

/// A walk over the elements of a hash, a set or a sorted set, a few at a time: see [`Hash::scan`](crate::Hash::scan),
/// [`SetOf::scan`](crate::SetOf::scan) and [`Zset::scan`](crate::Zset::scan). A deadline holds for each step of the walk, not for the
/// whole.
///
/// An element that is there from the beginning of the walk to its end is found at least once, even if the key's slot moves or its leader
/// changes meanwhile; one that comes or goes may be found or not. In no order.
///
/// ```
/// # simplekv_testing::example(async |kv| {
/// use futures::TryStreamExt;
///
/// kv.hash("user:1").set_all([("name", "alice"), ("visits:/", "3"), ("visits:/cart", "1")]).await?;
/// let mut visits = kv.hash("user:1").scan().prefix("visits:").stream();
/// let mut pages = 0;
/// while let Some((page, count)) = visits.try_next().await? {
///     println!("{page:?}: {count:?}");
///     pages += 1;
/// }
/// assert_eq!(pages, 2);
/// # Ok(())
/// # });
/// ```
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until its stream is polled"]
pub struct Walk<'a, T> {
    client: &'a Client,
    name: &'static str,
    key: Key,
    pattern: Option<Bytes>,
    count: u64,
    shape: Shape<Vec<T>>,
    options: Options,
}

read_options!(Walk<T>);

impl<'a, T> Walk<'a, T> {
    pub(super) fn new(view: &View<'a>, name: &'static str, shape: Shape<Vec<T>>) -> Self {
        let View { client, key } = view.clone();
        Self { client, name, key, pattern: None, count: 100, shape, options: Options::default().share(false) }
    }

    /// Only elements whose name, which is a hash's field or a set's member, begins with this.
    pub fn prefix(mut self, prefix: impl Into<Value>) -> Self {
        self.pattern = Some(pattern(prefix.into().as_ref()));
        self
    }

    /// Only elements whose name fits a pattern, as Redis writes them: `*`, `?`, `[a-z]`, `\` before what is meant as it is.
    pub fn matching(mut self, pattern: impl Into<Value>) -> Self {
        self.pattern = Some(pattern.into().into_bytes());
        self
    }

    /// About how many elements the node looks at in one step; at least 1, and no more than 10000 are. Default 100.
    pub fn count(mut self, count: u64) -> Self {
        self.count = count.max(1);
        self
    }

    fn step(&self, cursor: u64) -> Operation<Reply> {
        let operation = Operation::new(Kind::Read, self.name, |reply| page(reply).map(|_| reply.clone()));
        let operation = operation.key(self.key.clone()).number(cursor).word("COUNT").number(self.count);
        self.pattern.iter().cloned().fold(operation, |operation, pattern| operation.word("MATCH").value(pattern))
    }

    /// The elements of one step, and where the next one begins, if there is one.
    async fn page(&self, cursor: u64) -> Result<(Vec<T>, Option<u64>)> {
        let reply = self.step(cursor).run(self.client, self.options).await?;
        let read = page(&reply).and_then(|(next, found)| Some(((self.shape)(found)?, (next > 0).then_some(next))));
        read.ok_or_else(|| Error::Unexpected { command: self.name, got: format!("{reply:?}") })
    }
}

impl<'a, T: Send + 'a> Walk<'a, T> {
    /// The elements. After an error the stream ends.
    pub fn stream(self) -> BoxStream<'a, Result<T>> {
        let pages = futures::stream::try_unfold((self, Some(0)), |(walk, cursor)| async move {
            let Some(cursor) = cursor else { return Ok::<_, Error>(None) };
            let (found, next) = walk.page(cursor).await?;
            Ok(Some((futures::stream::iter(found.into_iter().map(Ok)), (walk, next))))
        });
        pages.try_flatten().boxed()
    }
}
