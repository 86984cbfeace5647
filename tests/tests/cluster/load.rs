//! Clients at work while something happens to the cluster, and what they were told held against what is there afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use simplekv_client::Client;
use simplekv_tests::{Ledger, Verdict, wait};
use tokio::task::JoinSet;

/// Keys read back with one call.
const READ_BATCH: usize = 500;
/// Acknowledged writes that show that the cluster works.
const AT_WORK: u64 = 100;

/// Tasks that write, count, and read back what they wrote.
pub(crate) struct Load {
    tasks: JoinSet<Log>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
}

/// What one task was told.
struct Log {
    task: u32,
    ledger: Ledger,
    /// The longest it waited for one answer.
    longest: Duration,
}

/// What came of a load.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    /// The longest that anybody waited for one answer.
    pub(crate) longest: Duration,
}

impl Load {
    /// Starts so many tasks on one client.
    pub(crate) fn start(kv: &Client, tasks: u32) -> Self {
        let mut load = Self { tasks: JoinSet::new(), stop: Arc::default(), acknowledged: Arc::default() };
        for task in 0..tasks {
            let (kv, stop, acknowledged) = (kv.clone(), Arc::clone(&load.stop), Arc::clone(&load.acknowledged));
            load.tasks.spawn(async move {
                let mut log = Log { task, ledger: Ledger::default(), longest: Duration::ZERO };
                for number in 0_u64.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    if log.turn(&kv, number).await {
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                    }
                }
                log
            });
        }
        load
    }

    /// Waits until writes are acknowledged, counted from now.
    pub(crate) async fn at_work(&self) {
        let before = self.acknowledged.load(Ordering::Relaxed);
        let worked = async || (self.acknowledged.load(Ordering::Relaxed) >= before + AT_WORK).then_some(());
        wait::until("writes are acknowledged", worked).await;
    }

    /// Lets every task finish what it has begun, and reads everything back.
    pub(crate) async fn finish(mut self, kv: &Client) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut outcome = Outcome { verdict: Verdict::default(), longest: Duration::ZERO };
        while let Some(log) = self.tasks.join_next().await {
            let log = log.unwrap();
            outcome.longest = outcome.longest.max(log.longest);
            outcome.verdict = outcome.verdict.and(log.judge(kv).await);
        }
        println!("{}, the longest answer took {:?}", outcome.verdict, outcome.longest);
        assert!(outcome.verdict.acked > AT_WORK);
        outcome
    }
}

impl Outcome {
    /// Every promise was kept, and no request failed.
    #[track_caller]
    pub(crate) fn assert_perfect(&self) {
        assert!(self.verdict.is_clean() && self.verdict.client_errors == 0, "{}", self.verdict);
    }
}

impl Log {
    /// One SET with its GET, one INCR. Whether the SET was acknowledged.
    async fn turn(&mut self, kv: &Client, number: u64) -> bool {
        let (key, value) = (format!("l{}:{number}", self.task), number.to_string());
        let sent = Instant::now();
        let set = kv.set(&*key, value.clone()).await;
        let is_set = set.is_ok();
        match set {
            Ok(_) => self.ledger.was_set(key.clone(), value.clone()),
            Err(error) => {
                println!("SET {key}: {error}");
                self.ledger.perhaps_was_set(key.clone(), value.clone());
            }
        }
        self.longest = self.longest.max(sent.elapsed());
        let sent = Instant::now();
        match kv.get(&*key).await {
            Ok(found) => {
                assert!(
                    !is_set || found.as_deref() == Some(value.as_bytes()),
                    "{key} was set to {value}, read {found:?}"
                );
            }
            Err(error) => {
                println!("GET {key}: {error}");
                self.ledger.failed();
            }
        }
        self.longest = self.longest.max(sent.elapsed());
        let sent = Instant::now();
        match kv.incr(counter(self.task)).await {
            Ok(_) => self.ledger.was_incremented(),
            Err(error) => {
                println!("INCR: {error}");
                self.ledger.perhaps_was_incremented();
            }
        }
        self.longest = self.longest.max(sent.elapsed());
        is_set
    }

    async fn judge(&self, kv: &Client) -> Verdict {
        let keys: Vec<&str> = self.ledger.keys().collect();
        let mut found = BTreeMap::new();
        for batch in keys.chunks(READ_BATCH) {
            let values = kv.mget(batch.iter().copied()).await.unwrap();
            let present = batch.iter().zip(values).filter_map(|(key, value)| Some(((*key).to_owned(), value?)));
            found.extend(present.map(|(key, value)| (key, String::from_utf8_lossy(&value).into_owned())));
        }
        let count = kv.get(counter(self.task)).await.unwrap().unwrap_or_default();
        self.ledger.judge(&found, String::from_utf8_lossy(&count).parse().unwrap_or(0))
    }
}

fn counter(task: u32) -> String {
    format!("l{task}")
}
