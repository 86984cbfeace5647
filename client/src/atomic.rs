//! Several operations as one.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use simplekv_types::{Reply, Slot};
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::request::Request;
use crate::results::{Number, Place, Results};
use crate::scatter::refused;
use crate::topology::Topology;
use crate::{Client, Key, Kind, Options, RequestId, Version};

/// See [`Client::atomic`].
#[derive(Debug)]
#[must_use = "nothing is done until it is awaited"]
pub struct Atomic<'a> {
    client: &'a Client,
    number: Number,
    /// What keys must be: a version, or not there.
    checks: Vec<(Key, Option<Version>)>,
    /// All words of the operations, behind each other's number of words.
    words: Vec<Bytes>,
    /// Of the operations, in the order they came.
    keys: Vec<Key>,
    operations: usize,
    /// An operation that cannot be asked.
    broken: Option<Error>,
    options: Options,
}

/// What became of an [`Atomic`] that could be decided.
#[derive(Debug)]
#[must_use = "nothing was done if a watched key had changed"]
pub enum Outcome {
    /// All operations were done, as one. An operation of itself may have failed, as one on a key of another type does: it has changed
    /// nothing then, and the others were done all the same.
    Done(Results),
    /// A watched key had changed: nothing was done.
    Changed,
}

impl Outcome {
    /// The results, `None` if a watched key had changed.
    #[must_use]
    pub fn done(self) -> Option<Results> {
        match self {
            Self::Done(results) => Some(results),
            Self::Changed => None,
        }
    }
}

impl Client {
    /// Collects operations that are done as one: nobody sees some of them done and others not, nothing comes in between, and they are
    /// lost or kept together. All keys must belong to one group of nodes, which those with the same `{tag}` do.
    ///
    /// Keys can be watched: if one of them is not any more what it was when its [version](Client::version) was told, nothing is done.
    ///
    /// ```
    /// # simplekv_testing::example(async |kv| {
    /// use simplekv_client::Outcome;
    ///
    /// let stock = "{shop}:stock";
    /// kv.set(stock, "3").await?;
    /// loop {
    ///     let version = kv.version(stock).await?;
    ///     if kv.get(stock).await?.is_none() {
    ///         break; // sold out
    ///     }
    ///     let mut atomic = kv.atomic().check(stock, version);
    ///     let left = atomic.add(kv.incr(stock).by(-1));
    ///     atomic.add(kv.list("{shop}:orders").rpush(["alice"]));
    ///     if let Outcome::Done(mut results) = atomic.await? {
    ///         assert_eq!(results.take(left)?, 2);
    ///         break;
    ///     }
    ///     // Somebody else was faster.
    /// }
    /// assert_eq!(kv.list("{shop}:orders").range(0, -1).await?, ["alice"]);
    /// # Ok(())
    /// # });
    /// ```
    pub fn atomic(&self) -> Atomic<'_> {
        Atomic {
            client: self,
            number: Number::next(),
            checks: Vec::new(),
            words: Vec::new(),
            keys: Vec::new(),
            operations: 0,
            broken: None,
            options: Options::default(),
        }
    }
}

impl Atomic<'_> {
    /// Does nothing at all unless the key has this version, as [`Client::version`] told it; `None` means that it must not be there.
    pub fn check(mut self, key: impl Into<Key>, version: Option<Version>) -> Self {
        self.checks.push((key.into(), version));
        self
    }

    /// Does nothing at all if the key is there.
    pub fn check_absent(self, key: impl Into<Key>) -> Self {
        self.check(key, None)
    }

    /// Adds an operation, which sees what those before it did, and tells where its result will be. Settings of the request itself, such
    /// as a deadline, do not count.
    pub fn add<R: Request>(&mut self, request: R) -> Place<R::Output> {
        let operation = request.into_operation();
        let known = self.keys.len();
        self.keys.extend(operation.each_key().cloned().map(Key::from));
        if self.keys.len() == known {
            self.broken = self.broken.take().or(operation.slot().err());
        }
        let (words, answer) = operation.into_words();
        self.words.push(words.len().to_string().into());
        self.words.extend(words);
        self.operations += 1;
        self.number.place(self.operations - 1, answer)
    }

    /// Deadline over all attempts, instead of the client's.
    pub fn timeout(mut self, total: Duration) -> Self {
        self.options.timeout = Some(total);
        self
    }

    /// Does not try again after an attempt that failed or was refused. Redirects are followed all the same.
    pub fn no_retry(mut self) -> Self {
        self.options.retry = false;
        self
    }

    /// Does all of it under this identity, see [`Client::request_id`]: at most once, however often it is asked for.
    pub fn request_id(mut self, id: RequestId) -> Self {
        self.options.request_id = Some(id);
        self
    }

    /// Does it.
    ///
    /// # Errors
    /// As every write. [`Error::SeveralGroups`] with two of the keys, if these do not belong to one group: nothing was done, and unless
    /// slots are moving at this moment nothing was sent. A key's group may change when slots move, so keys that must stay together need
    /// the same `{tag}`.
    pub async fn commit(mut self) -> Result<Outcome> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        let Some(first) = self.each_key().next() else {
            return Ok(Outcome::Done(Results::new(self.number, [])));
        };
        let slot = Slot::of_key(first.as_ref());
        self.options = self.one_group(slot).await?;
        let reply = self.client.execute(slot, self.to_words(), Kind::Write, self.options).await?;
        match reply {
            Reply::NullArray => Ok(Outcome::Changed),
            Reply::Array(replies) if replies.len() == self.operations => {
                Ok(Outcome::Done(Results::new(self.number, replies.into_iter().map(Ok))))
            }
            other => {
                // Slots that moved a moment ago may be the reason.
                if matches!(other, Reply::Error(_)) {
                    self.parted(&self.client.core().slots.load()).map_or(Ok(()), Err)?;
                }
                let got = refused(other)?;
                Err(Error::Unexpected { command: "ATOMIC", got: format!("{got:?}") })
            }
        }
    }

    /// Makes sure that all keys belong to one group, as far as is known; what the options are then, for that may have taken time.
    async fn one_group(&self, first: Slot) -> Result<Options> {
        let (core, mut options) = (self.client.core(), self.options);
        let is_known =
            |topology: &Topology| self.each_key().all(|key| topology.owner(Slot::of_key(key.as_ref())).is_some());
        if !is_known(&core.slots.load()) {
            let (began, total) = (Instant::now(), options.timeout.unwrap_or(core.config.timeouts.total));
            core.topology_with(total, Error::SlotUnserved { slot: first }, is_known).await?;
            options.timeout = Some(total.saturating_sub(began.elapsed()));
        }
        self.parted(&core.slots.load()).map_or(Ok(options), Err)
    }

    /// Two keys that belong to different groups, as an error.
    fn parted(&self, topology: &Topology) -> Option<Error> {
        let group = |key: &Key| topology.owner(Slot::of_key(key.as_ref())).map(|group| group.id);
        let mut keys = self.each_key();
        let first = keys.next()?;
        let second = keys.find(|key| group(key) != group(first))?;
        Some(Error::SeveralGroups { first: first.clone(), second: second.clone() })
    }

    fn each_key(&self) -> impl Iterator<Item = &Key> {
        self.checks.iter().map(|(key, _)| key).chain(&self.keys)
    }

    /// `ATOMIC checks [key version ...] [words word [word ...] ...]`.
    fn to_words(&self) -> Vec<Bytes> {
        let mut words = vec![Bytes::from_static(b"ATOMIC"), self.checks.len().to_string().into()];
        for (key, version) in &self.checks {
            let version = version.as_ref().map_or(Bytes::from_static(b"-"), |version| version.to_string().into());
            words.extend([key.clone().into_bytes(), version]);
        }
        words.extend(self.words.iter().cloned());
        words
    }
}

impl<'a> IntoFuture for Atomic<'a> {
    type Output = Result<Outcome>;
    type IntoFuture = BoxFuture<'a, Result<Outcome>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.commit())
    }
}
