//! Many independent operations in one go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use simplekv_types::{ReadPolicy, Reply, Slot};
use tokio::sync::Semaphore;

use crate::error::{Error, Result};
use crate::request::Request;
use crate::results::{Number, Place, Results};
use crate::{Client, Kind, Options};

/// Operations of a batch that are under way at a time: some for every node, and few beside what a client may have in flight.
const OPERATIONS_AT_ONCE: usize = 2048;
/// Operations on one slot that travel together.
const PART_OPERATIONS_MAX: usize = 256;

/// See [`Client::batch`].
#[derive(Debug)]
#[must_use = "a batch does nothing until it is awaited"]
pub struct Batch<'a> {
    client: &'a Client,
    number: Number,
    operations: Vec<Queued>,
    options: Options,
}

/// One operation, without what its answer is read as.
#[derive(Debug)]
struct Queued {
    slot: Result<Slot>,
    words: Arc<[Bytes]>,
    kind: Kind,
}

impl Client {
    /// Collects independent operations that travel together: in as few round trips as there are nodes, mostly. Each has its own result,
    /// and one that fails stops no other.
    ///
    /// Not a transaction, for that see [`Client::atomic`]. Operations on keys of one slot are executed in their order, those on different
    /// slots at the same time; requests of others may come in between.
    ///
    /// ```
    /// # simplekv_testing::example(async |kv| {
    /// kv.hash("user:1").set("name", "alice").await?;
    /// let mut batch = kv.batch();
    /// let name = batch.add(kv.hash("user:1").get("name"));
    /// let jobs = batch.add(kv.list("jobs").len());
    /// let visits = batch.add(kv.incr("visits"));
    /// let mut results = batch.await;
    /// assert_eq!(results.take(name)?.as_deref(), Some(&b"alice"[..]));
    /// assert_eq!((results.take(jobs)?, results.take(visits)?), (0, 1));
    /// # Ok(())
    /// # });
    /// ```
    pub fn batch(&self) -> Batch<'_> {
        Batch { client: self, number: Number::next(), operations: Vec::new(), options: Options::default() }
    }
}

impl Batch<'_> {
    /// Adds an operation, and tells where its result will be. Settings of the request itself, such as a deadline, do not count: the
    /// batch has its own.
    pub fn add<R: Request>(&mut self, request: R) -> Place<R::Output> {
        let operation = request.into_operation();
        let (slot, kind) = (operation.slot(), operation.kind());
        let (words, answer) = operation.into_words();
        self.operations.push(Queued { slot, words: words.into(), kind });
        self.number.place(self.operations.len() - 1, answer)
    }

    /// How many operations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Deadline of each operation over all its attempts, instead of the client's.
    pub fn timeout(mut self, total: Duration) -> Self {
        self.options.timeout = Some(total);
        self
    }

    /// Does not try again after an attempt that failed or was refused. Redirects are followed all the same.
    pub fn no_retry(mut self) -> Self {
        self.options.retry = false;
        self
    }

    /// Which replicas may answer the reads, instead of the client's default. Reads on a slot that is written to as well are answered by
    /// its leader.
    pub fn read(mut self, policy: ReadPolicy) -> Self {
        self.options.read = Some(policy);
        self
    }

    /// Runs the operations. What fails, fails one by one: [`Results::take`].
    pub async fn send(self) -> Results {
        let mut results: Vec<Result<Reply>> = Vec::with_capacity(self.operations.len());
        let mut by_slot: BTreeMap<Slot, Vec<(usize, Queued)>> = BTreeMap::new();
        for (at, mut queued) in self.operations.into_iter().enumerate() {
            // Each is overwritten by its answer.
            results.push(Err(Error::Closed));
            match std::mem::replace(&mut queued.slot, Ok(Slot::MIN)) {
                Ok(slot) => by_slot.entry(slot).or_default().push((at, queued)),
                Err(error) => results.splice(at.., [Err(error)]).for_each(drop),
            }
        }
        // On one lane of each node, they meet in its frames.
        let options = self.options.lane(rand::random::<u32>() as usize);
        let places = Semaphore::new(OPERATIONS_AT_ONCE);
        let parts = by_slot.into_iter().map(|(slot, queued)| run_slot(self.client, &places, slot, queued, options));
        let mut parts: FuturesUnordered<_> = parts.collect();
        while let Some(answers) = parts.next().await {
            for (at, answer) in answers {
                if let Some(result) = results.get_mut(at) {
                    *result = answer;
                }
            }
        }
        Results::new(self.number, results)
    }
}

async fn run_slot(
    client: &Client,
    places: &Semaphore,
    slot: Slot,
    queued: Vec<(usize, Queued)>,
    options: Options,
) -> Vec<(usize, Result<Reply>)> {
    let mut answers = Vec::with_capacity(queued.len());
    for part in queued.chunks(PART_OPERATIONS_MAX) {
        // Never closed; and a part is never larger than there are places.
        let _places = places.acquire_many(part.len() as u32).await;
        let commands = part.iter().map(|(_, queued)| (Arc::clone(&queued.words), queued.kind)).collect();
        let replies = client.execute_in_order(slot, commands, options).await;
        answers.extend(part.iter().map(|(at, _)| *at).zip(replies));
    }
    answers
}

impl<'a> IntoFuture for Batch<'a> {
    type Output = Results;
    type IntoFuture = BoxFuture<'a, Results>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
