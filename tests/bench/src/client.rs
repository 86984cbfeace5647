//! Load through the Rust client.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use simplekv_client::Client;
use tokio::task::JoinSet;

use crate::args::ClientLoad;
use crate::cpu;
use crate::meter::Meter;
use crate::workload::{self, Operation, Operations, key};

/// Keys written with one call while they are filled in.
const PREFILL_BATCH: u64 = 1000;

pub(crate) async fn run(load: &ClientLoad) -> Result<()> {
    let seed = workload::seed(load.workload.seed);
    println!("seed {seed}");
    let client = connect(&load.seeds, Duration::from_secs(10)).await?;
    let value = workload::value(load.workload.value_bytes, seed);
    if load.workload.prefill {
        prefill(&client, load.workload.keys, &value).await?;
    }
    let cpu_before = load.workload.pid.iter().map(|&pid| cpu::used(pid)).collect::<Result<Vec<_>>>()?;
    let begun = Instant::now();
    let deadline = begun + Duration::from_secs(load.workload.seconds);
    let mut tasks = JoinSet::new();
    for number in 0..load.tasks as u64 {
        tasks.spawn(task(client.clone(), Operations::new(&load.workload, seed, number), value.clone(), deadline));
    }
    let mut meter = Meter::new()?;
    while let Some(task) = tasks.join_next().await {
        meter.merge(&task??)?;
    }
    println!("{}", meter.summary(begun.elapsed()));
    for (&pid, before) in load.workload.pid.iter().zip(cpu_before) {
        let spent = cpu::used(pid)?.saturating_sub(before);
        println!(
            "process {pid}: {:.2} us of CPU per operation",
            spent.as_secs_f64() * 1e6 / meter.count().max(1) as f64
        );
    }
    Ok(())
}

/// Gives every key this value.
pub(crate) async fn prefill(client: &Client, keys: u64, value: &Bytes) -> Result<()> {
    for first in (0..keys).step_by(PREFILL_BATCH as usize) {
        let numbers = first..keys.min(first + PREFILL_BATCH);
        client.mset(numbers.map(|number| (key(number), value.clone()))).await.context("filling in keys")?;
    }
    Ok(())
}

/// A client of the cluster behind these nodes whose requests may take up to `timeout`.
pub(crate) async fn connect(seeds: &[String], timeout: Duration) -> Result<Client> {
    let builder = seeds.iter().fold(Client::builder(), |builder, seed| builder.seed(seed));
    builder.timeout(timeout).build().await.context("connecting to the cluster")
}

async fn task(client: Client, mut operations: Operations, value: Bytes, deadline: Instant) -> Result<Meter> {
    let mut meter = Meter::new()?;
    loop {
        let sent = Instant::now();
        if sent >= deadline {
            return Ok(meter);
        }
        let outcome = match operations.next() {
            Operation::Get(key) => client.get(key).await.map(drop),
            Operation::Set(key) => client.set(key, value.clone()).await.map(drop),
        };
        match outcome {
            Ok(()) => meter.record(sent.elapsed(), 1),
            Err(error) => meter.fail(error),
        }
    }
}
