//! Clients that write and remember what they were told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use simplekv_client::Client;
use simplekv_tests::{Admin, Cluster, Ledger, Verdict, wait};
use simplekv_types::{GroupId, Slot, SlotMap};
use tokio::task::JoinSet;

use crate::client;
use crate::gaps::Gaps;

/// Longer than any outage on purpose: what remains an error then is one.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// A writer whose request failed does not make things worse.
const AFTER_FAILURE: Duration = Duration::from_millis(50);
/// Acknowledged writes of a group that show it is at work.
const AT_WORK: u64 = 100;
/// Keys read back with one call.
const READ_BATCH: usize = 500;

/// Writers at work. Each belongs to one group, so that the others go on while that one stands still.
pub(crate) struct Writers {
    tasks: JoinSet<(u16, Ledger)>,
    stop: Arc<AtomicBool>,
    pub(crate) gaps: Arc<Gaps>,
    pub(crate) groups: Vec<GroupId>,
}

impl Writers {
    /// Starts `count` writers, each with a client of its own.
    pub(crate) async fn start(cluster: &Cluster, count: u16) -> Result<Self> {
        let slots = Arc::new(slot_map(&cluster.admin()?).await?);
        let mut groups: Vec<GroupId> = slots.ranges().iter().map(|(_, group)| *group).collect();
        groups.sort_unstable();
        groups.dedup();
        let mut writers =
            Self { tasks: JoinSet::new(), stop: Arc::default(), gaps: Arc::default(), groups: groups.clone() };
        for (number, &group) in (0..count).zip(groups.iter().cycle()) {
            let client = client::connect(&cluster.seeds(), REQUEST_TIMEOUT).await?;
            let (slots, stop, gaps) = (Arc::clone(&slots), Arc::clone(&writers.stop), Arc::clone(&writers.gaps));
            writers.tasks.spawn(async move {
                let writer = Writer { number, group, client, slots, gaps };
                (number, writer.write_until(&stop).await)
            });
        }
        Ok(writers)
    }

    /// Waits until the group acknowledges writes, counted from now.
    pub(crate) async fn at_work(&self, group: GroupId) -> Result<()> {
        let before = self.gaps.count(group);
        let worked = async || (self.gaps.count(group) >= before + AT_WORK).then_some(());
        wait::at_most(wait::LIMIT, "the group acknowledges writes", worked).await
    }

    /// Lets every writer finish its request, then reads everything back.
    pub(crate) async fn verify(mut self, cluster: &Cluster) -> Result<Verdict> {
        self.stop.store(true, Ordering::Relaxed);
        let reader = client::connect(&cluster.seeds(), REQUEST_TIMEOUT).await?;
        let mut verdict = Verdict::default();
        while let Some(writer) = self.tasks.join_next().await {
            let (number, ledger) = writer?;
            verdict = verdict.and(judge(&reader, number, &ledger).await?);
        }
        Ok(verdict)
    }
}

struct Writer {
    number: u16,
    group: GroupId,
    client: Client,
    slots: Arc<SlotMap>,
    gaps: Arc<Gaps>,
}

impl Writer {
    async fn write_until(self, stop: &AtomicBool) -> Ledger {
        let mut ledger = Ledger::default();
        let counter = counter(self.number);
        let counts_here = self.owns(&counter);
        for number in 0_u64.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let key = format!("w{}:{number}", self.number);
            if !self.owns(&key) {
                continue;
            }
            let value = format!("{}-{number}", self.number);
            let set = self.client.set(&*key, value.clone()).await;
            self.tell(set.as_ref().err());
            match set {
                Ok(_) => {
                    self.gaps.acknowledged(self.group, Instant::now());
                    ledger.was_set(key, value);
                }
                Err(error) if error.may_have_applied() => ledger.perhaps_was_set(key, value),
                Err(_) => ledger.failed(),
            }
            let incremented = self.client.incr(&*counter).await;
            self.tell(incremented.as_ref().err());
            match &incremented {
                Ok(_) => {
                    if counts_here {
                        self.gaps.acknowledged(self.group, Instant::now());
                    }
                    ledger.was_incremented();
                }
                Err(error) if error.may_have_applied() => ledger.perhaps_was_incremented(),
                Err(_) => ledger.failed(),
            }
            if incremented.is_err() {
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
        ledger
    }

    #[expect(clippy::print_stderr, reason = "an error is a finding, and a count alone explains nothing")]
    fn tell(&self, error: Option<&simplekv_client::Error>) {
        if let Some(error) = error {
            eprintln!("client {}: {error}", self.number);
        }
    }

    fn owns(&self, key: &str) -> bool {
        self.slots.owner(Slot::of_key(key.as_bytes())) == Some(self.group)
    }
}

fn counter(writer: u16) -> String {
    format!("c{writer}")
}

async fn judge(reader: &Client, number: u16, ledger: &Ledger) -> Result<Verdict> {
    let keys: Vec<&str> = ledger.keys().collect();
    let mut found = BTreeMap::new();
    for batch in keys.chunks(READ_BATCH) {
        let values = reader.mget(batch.iter().copied()).await.context("reading back")?;
        let present = batch.iter().zip(values).filter_map(|(key, value)| Some(((*key).to_owned(), value?)));
        found.extend(present.map(|(key, value)| (key, String::from_utf8_lossy(&value).into_owned())));
    }
    let counter = reader.get(counter(number)).await.context("reading back a counter")?;
    let counter =
        counter.map_or(Ok(0), |text| String::from_utf8_lossy(&text).parse()).context("a counter is a number")?;
    Ok(ledger.judge(&found, counter))
}

/// Which group owns which slot, as the cluster says.
pub(crate) async fn slot_map(admin: &Admin) -> Result<SlotMap> {
    let answer = admin.json("slots").await?;
    let ranges = answer.get("slots").and_then(|slots| slots.as_array()).context("slots are an array")?;
    let ranges = ranges.iter().map(|range| {
        let number = |field: &str| range.get(field)?.as_u64().map(|number| number.to_string());
        let text = number("first").zip(number("last")).map(|(first, last)| format!("{first}-{last}"))?;
        Some((text.parse().ok()?, range.get("group")?.as_str()?.parse().ok()?))
    });
    let ranges: Vec<_> = ranges.collect::<Option<_>>().context("a range has first, last and group")?;
    Ok(SlotMap::new(ranges)?)
}
