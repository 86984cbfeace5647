//! Clients that do what applications do, and write down what they are told.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use simplekv_client::{Client, Reply};
use simplekv_history::{Action, Answer, Operation, Outcome, Text, Writer};
use simplekv_tests::wait;
use simplekv_types::{GroupId, Slot, SlotMap};
use tokio::task::JoinSet;

use crate::chaos::cluster::Cluster;
use crate::client;
use crate::gaps::Gaps;
use crate::writers::slot_map;

/// Clients of the library, each with connections of its own, and tasks that share one of them.
const CLIENTS: u32 = 3;
const TASKS_PER_CLIENT: u32 = 4;
/// Shorter than what may happen: some outcomes remain unknown, as they do to applications.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);
/// For reading everything back when nothing happens any more.
const PATIENT: Duration = Duration::from_secs(60);
/// Pause between a task's requests, at most.
const THINK: Duration = Duration::from_millis(8);
/// Keys that all tasks use at a time, of each sort.
const REGISTERS: u32 = 12;
const COUNTERS: u32 = 4;
const LOCKS: u32 = 4;
/// How long they are used before others take their place: what happens to a key should depend on a short past.
const GENERATION: Duration = Duration::from_secs(20);
/// Acknowledged writes of a group that show it is at work.
const AT_WORK: u64 = 20;
/// Keys read back with one call.
const READ_BATCH: usize = 200;

/// Clients at work.
pub(crate) struct Clients {
    tasks: JoinSet<Result<()>>,
    stop: Arc<AtomicBool>,
    log: Arc<Log>,
    pub(crate) gaps: Arc<Gaps>,
    groups: Vec<GroupId>,
}

/// The history so far.
struct Log {
    begun: Instant,
    told: Mutex<(Vec<Operation>, Writer)>,
}

impl Log {
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn append(&self, operation: Operation) -> Result<()> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.1.append(&operation).context("writing the history")?;
        told.0.push(operation);
        Ok(())
    }
}

impl Clients {
    pub(crate) async fn start(cluster: &Cluster, seed: u64, history: &Path, about: &str) -> Result<Self> {
        let slots = Arc::new(slot_map(&cluster.admin()?).await?);
        let mut groups: Vec<GroupId> = slots.ranges().iter().map(|(_, group)| *group).collect();
        groups.sort_unstable();
        groups.dedup();
        let writer = Writer::create(history, about).with_context(|| history.display().to_string())?;
        let log = Arc::new(Log { begun: Instant::now(), told: Mutex::new((Vec::new(), writer)) });
        let mut clients = Self { tasks: JoinSet::new(), stop: Arc::default(), log, gaps: Arc::default(), groups };
        for number in 0..CLIENTS {
            let client = client::connect(&cluster.seeds(), REQUEST_TIMEOUT).await?;
            for task in (number..CLIENTS * TASKS_PER_CLIENT).step_by(CLIENTS as usize) {
                let teller = Teller {
                    number: task,
                    client: client.clone(),
                    random: SmallRng::seed_from_u64(seed ^ u64::from(task + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                    written: 0,
                    log: Arc::clone(&clients.log),
                    gaps: Arc::clone(&clients.gaps),
                    slots: Arc::clone(&slots),
                };
                clients.tasks.spawn(teller.work_until(Arc::clone(&clients.stop)));
            }
        }
        Ok(clients)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.log.now() / 1_000_000
    }

    /// Waits until every group acknowledges writes, counted from now.
    pub(crate) async fn every_group_writes(&self) -> Result<()> {
        for &group in &self.groups {
            let before = self.gaps.count(group);
            let worked = async || (self.gaps.count(group) >= before + AT_WORK).then_some(());
            wait::at_most(wait::LIMIT, &format!("{group} acknowledges writes"), worked).await?;
        }
        Ok(())
    }

    /// Lets every task finish its request, and reads everything back. The whole history.
    pub(crate) async fn stop(&mut self, cluster: &Cluster) -> Result<Vec<Operation>> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(task) = self.tasks.join_next().await {
            task??;
        }
        let reader = client::connect(&cluster.seeds(), PATIENT).await?;
        let mut keys: Vec<Text> = {
            let told = self.log.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.0.iter().map(|operation| operation.key.clone()).collect()
        };
        keys.sort_unstable();
        keys.dedup();
        for batch in keys.chunks(READ_BATCH) {
            let start = self.log.now();
            let values = reader.mget(batch.iter().map(|key| key.to_string())).await.context("reading back")?;
            let end = self.log.now();
            for (key, value) in batch.iter().zip(values) {
                let read = Operation::new(CLIENTS * TASKS_PER_CLIENT, key.clone(), Action::Get, start);
                self.log.append(read.answered(value_of(value), end))?;
            }
        }
        let mut told = self.log.told.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut told.0))
    }
}

/// Whether the operation writes a key that nobody else ever writes.
pub(crate) fn is_only_write(operation: &Operation) -> bool {
    operation.key.starts_with('u') && matches!(operation.action, Action::Set(_))
}

/// One task.
struct Teller {
    number: u32,
    client: Client,
    random: SmallRng,
    /// How many values it has made up.
    written: u64,
    log: Arc<Log>,
    gaps: Arc<Gaps>,
    slots: Arc<SlotMap>,
}

impl Teller {
    async fn work_until(mut self, stop: Arc<AtomicBool>) -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            self.turn().await?;
            let think = self.random.random_range(Duration::ZERO..THINK);
            tokio::time::sleep(think).await;
        }
        Ok(())
    }

    async fn turn(&mut self) -> Result<()> {
        let generation = self.log.begun.elapsed().as_secs() / GENERATION.as_secs();
        let register = format!("r{generation}:{}", self.random.random_range(0..REGISTERS));
        let counter = format!("c{generation}:{}", self.random.random_range(0..COUNTERS));
        let lock = format!("l{generation}:{}", self.random.random_range(0..LOCKS));
        match self.random.random_range(0..100) {
            0..38 => self.get(register).await,
            38..54 => self.set(register).await,
            54..58 => self.delete(register).await,
            58..64 => self.swap(register).await,
            64..78 => self.increment(counter).await,
            78..84 => self.get(counter).await,
            84..88 => self.take_lock(lock).await,
            88..92 => self.delete(lock).await,
            _ => {
                let key = format!("u{}:{}", self.number, self.written);
                self.set(key).await
            }
        }
    }

    async fn get(&self, key: String) -> Result<()> {
        let asked = self.client.get(key.clone()).send();
        self.tell(key, Action::Get, asked, value_of).await
    }

    async fn set(&mut self, key: String) -> Result<()> {
        let value = self.value();
        let asked = self.client.set(key.clone(), value.to_string()).send();
        self.tell(key, Action::Set(value), asked, |_| Answer::Done).await
    }

    async fn delete(&self, key: String) -> Result<()> {
        let asked = self.client.del(key.clone()).into_future();
        self.tell(key, Action::Delete, asked, |was_there| Answer::Number(i64::from(was_there))).await
    }

    async fn swap(&mut self, key: String) -> Result<()> {
        let value = self.value();
        let asked = self.client.cmd("GETSET").key(key.clone()).arg(value.to_string()).into_future();
        let answer = |reply| match reply {
            Reply::Bulk(value) => value_of(Some(value)),
            // Anything else than nothing is no answer to this: it will fit nowhere.
            Reply::Null => Answer::Value(None),
            _ => Answer::Done,
        };
        self.tell(key, Action::GetSet(value), asked, answer).await
    }

    async fn increment(&self, key: String) -> Result<()> {
        let asked = self.client.incr(key.clone()).into_future();
        self.tell(key, Action::Increment(1), asked, Answer::Number).await
    }

    async fn take_lock(&mut self, key: String) -> Result<()> {
        let value = self.value();
        let asked = self.client.set(key.clone(), value.to_string()).if_absent().send();
        self.tell(key, Action::SetIfAbsent(value), asked, |was_set| Answer::Number(i64::from(was_set))).await
    }

    /// A value that nobody writes twice.
    fn value(&mut self) -> Text {
        self.written += 1;
        format!("{}-{}", self.number, self.written).into()
    }

    /// Waits for the answer, and writes it down.
    async fn tell<T>(
        &self,
        key: String,
        action: Action,
        asked: impl Future<Output = simplekv_client::Result<T>>,
        answer: impl FnOnce(T) -> Answer,
    ) -> Result<()> {
        let group = self.slots.owner(Slot::of_key(key.as_bytes()));
        let operation = Operation::new(self.number, key, action, self.log.now());
        let outcome = asked.await;
        let end = self.log.now();
        let operation = match outcome {
            Ok(told) => operation.answered(answer(told), end),
            Err(error) if !operation.is_read() && error.may_have_applied() => operation.unknown(end),
            Err(_) => operation.failed(end),
        };
        if let (Outcome::Ok(_), false, Some(group)) = (&operation.outcome, operation.is_read(), group) {
            self.gaps.acknowledged(group, Instant::now());
        }
        self.log.append(operation)
    }
}

fn value_of(value: Option<Bytes>) -> Answer {
    Answer::Value(value.map(|bytes| String::from_utf8_lossy(&bytes).into()))
}
