//! Half of all slots change hands while clients write into them: how fast they are copied, and what the clients notice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::StreamExt;
use simplekv_client::Client;
use simplekv_tests::{Cluster, Ledger, Shape, Verdict};
use simplekv_types::{Slot, SlotRange};
use tokio::task::JoinSet;

use crate::args::Moves;
use crate::meter::Meter;
use crate::workload::key;
use crate::{client, machine, workload};

/// The slots that move: all of the first group's.
const MOVING: &str = "0-8191";
const TARGET: &str = "g2";
/// Longer than any handover that is one.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Keys written or read back with one call.
const BATCH: usize = 500;
const BATCHES_AT_ONCE: usize = 4;

/// Before, during and after the move.
const PHASES: [&str; 3] = ["before", "during", "after"];

/// What a writer was told, and how long it took.
struct Told {
    number: u16,
    ledger: Ledger,
    meters: Vec<Meter>,
}

pub(crate) async fn run(moves: &Moves) -> Result<bool> {
    println!("{}\n", machine::of_this_call()?);
    let replicas = |first: u32| (first..first + moves.replicas).collect::<Vec<u32>>();
    let groups = vec![replicas(1), replicas(1 + moves.replicas)];
    let shape = Shape { groups, ..Shape::six_nodes() }.with("storage", "flush", moves.flush.to_string());
    let cluster = Cluster::start(&shape).await?;
    let kv = client::connect(&cluster.seeds(), REQUEST_TIMEOUT).await?;
    let range: SlotRange = MOVING.parse().map_err(|_| anyhow::anyhow!("{MOVING} is a range"))?;
    let keys: Vec<String> =
        (0..).map(key).filter(|key| range.contains(Slot::of_key(key.as_bytes()))).take(moves.keys as usize).collect();
    let value = workload::value(moves.value_bytes, 1);
    fill(&kv, &keys, &value).await?;

    let (stop, phase) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut writers = JoinSet::new();
    for number in 0..moves.writers {
        let kv = client::connect(&cluster.seeds(), REQUEST_TIMEOUT).await?;
        writers.spawn(write(kv, number, range, Arc::clone(&stop), Arc::clone(&phase)));
    }
    let pause = Duration::from_secs(moves.seconds);
    tokio::time::sleep(pause).await;
    phase.store(1, Ordering::Relaxed);
    let began = Instant::now();
    let report = cluster.admin()?.json(&format!("migrate-slot {MOVING} --to {TARGET} --timeout 60s")).await?;
    let took = began.elapsed();
    phase.store(2, Ordering::Relaxed);
    ensure!(report.get("done").and_then(serde_json::Value::as_bool) == Some(true), "the move was not done: {report}");
    tokio::time::sleep(pause).await;
    stop.store(true, Ordering::Relaxed);

    let mut verdict = Verdict::default();
    let mut meters = PHASES.iter().map(|_| Meter::new()).collect::<Result<Vec<Meter>>>()?;
    while let Some(told) = writers.join_next().await {
        let told = told??;
        for (all, own) in meters.iter_mut().zip(&told.meters) {
            all.merge(own)?;
        }
        verdict = verdict.and(judge(&kv, &told).await?);
    }
    let payload = (moves.keys as usize * moves.value_bytes) as f64 / 1e6;
    println!(
        "{} keys of {} bytes in slots {MOVING}, {} replicas each, {} writers into these slots",
        moves.keys, moves.value_bytes, moves.replicas, moves.writers
    );
    println!("moved in {:.2} s: {:.1} MB/s of values", took.as_secs_f64(), payload / took.as_secs_f64());
    for ((name, meter), elapsed) in PHASES.iter().zip(&meters).zip([pause, took, pause]) {
        println!("{name:6}  {}", meter.summary(elapsed));
    }
    let missing = missing(&kv, &keys, &value).await?;
    println!("{verdict} missing={missing}");
    Ok(verdict.is_clean() && verdict.client_errors == 0 && missing == 0)
}

async fn fill(kv: &Client, keys: &[String], value: &Bytes) -> Result<()> {
    let set = async |batch: &[String]| kv.mset(batch.iter().map(|key| (key.clone(), value.clone()))).await;
    let batches = keys.chunks(BATCH).map(set);
    let mut filling = std::pin::pin!(futures::stream::iter(batches).buffer_unordered(BATCHES_AT_ONCE));
    while let Some(filled) = filling.next().await {
        filled.context("filling in keys")?;
    }
    Ok(())
}

/// How many of these keys do not have this value.
async fn missing(kv: &Client, keys: &[String], value: &Bytes) -> Result<usize> {
    let get = async |batch: &[String]| kv.mget(batch.iter().map(String::as_str)).await;
    let batches = keys.chunks(BATCH).map(get);
    let mut reading = std::pin::pin!(futures::stream::iter(batches).buffer_unordered(BATCHES_AT_ONCE));
    let mut missing = 0;
    while let Some(values) = reading.next().await {
        let values = values.context("reading keys back")?;
        missing += values.iter().filter(|found| found.as_ref() != Some(value)).count();
    }
    Ok(missing)
}

fn counter(number: u16, range: SlotRange) -> String {
    let mut names = (0..).map(|salt| format!("count{number}:{salt}"));
    names.find(|name| range.contains(Slot::of_key(name.as_bytes()))).unwrap_or_default()
}

/// Sets keys of its own in the slots that move, and counts.
async fn write(
    kv: Client,
    number: u16,
    range: SlotRange,
    stop: Arc<AtomicBool>,
    phase: Arc<AtomicUsize>,
) -> Result<Told> {
    let mut told = Told { number, ledger: Ledger::default(), meters: Vec::new() };
    for _ in PHASES {
        told.meters.push(Meter::new()?);
    }
    let counter = counter(number, range);
    for turn in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("w{number}:{turn}");
        if !range.contains(Slot::of_key(key.as_bytes())) {
            continue;
        }
        let Some(meter) = told.meters.get_mut(phase.load(Ordering::Relaxed)) else { break };
        let sent = Instant::now();
        match kv.set(&*key, turn.to_string()).await {
            Ok(_) => told.ledger.was_set(key, turn.to_string()),
            Err(error) => {
                meter.fail(&error);
                told.ledger.perhaps_was_set(key, turn.to_string());
            }
        }
        meter.record(sent.elapsed(), 1);
        let sent = Instant::now();
        match kv.incr(&*counter).await {
            Ok(_) => told.ledger.was_incremented(),
            Err(error) => {
                meter.fail(&error);
                told.ledger.perhaps_was_incremented();
            }
        }
        meter.record(sent.elapsed(), 1);
    }
    Ok(told)
}

async fn judge(kv: &Client, told: &Told) -> Result<Verdict> {
    let keys: Vec<&str> = told.ledger.keys().collect();
    let mut found = BTreeMap::new();
    for batch in keys.chunks(BATCH) {
        let values = kv.mget(batch.iter().copied()).await.context("reading back what was written")?;
        let present = batch.iter().zip(values).filter_map(|(key, value)| Some(((*key).to_owned(), value?)));
        found.extend(present.map(|(key, value)| (key, String::from_utf8_lossy(&value).into_owned())));
    }
    let range: SlotRange = MOVING.parse().map_err(|_| anyhow::anyhow!("{MOVING} is a range"))?;
    let count = kv.get(counter(told.number, range)).await?.unwrap_or_default();
    Ok(told.ledger.judge(&found, String::from_utf8_lossy(&count).parse().unwrap_or(0)))
}
