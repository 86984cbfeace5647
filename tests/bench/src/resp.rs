//! Load on a Redis protocol port.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bytes::Bytes;
use simplekv_resp::decode::Frame;
use simplekv_tests::RespConnection;
use tokio::task::JoinSet;

use crate::args::RespLoad;
use crate::cpu;
use crate::meter::Meter;
use crate::workload::{self, Operation, Operations, key};

/// Requests in flight while keys are filled in.
const PREFILL_PIPELINE: u64 = 512;

pub(crate) async fn run(load: &RespLoad) -> Result<()> {
    let seed = workload::seed(load.workload.seed);
    println!("seed {seed}");
    if load.workload.prefill {
        prefill(&load.server, load.workload.keys, load.workload.value_bytes).await?;
    }
    let cpu_before = load.workload.pid.iter().map(|&pid| cpu::used(pid)).collect::<Result<Vec<_>>>()?;
    let begun = Instant::now();
    let deadline = begun + Duration::from_secs(load.workload.seconds);
    let mut tasks = JoinSet::new();
    for task in 0..load.connections as u64 {
        let operations = Operations::new(&load.workload, seed, task);
        tasks.spawn(connection(load.clone(), operations, workload::value(load.workload.value_bytes, seed), deadline));
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

/// Writes every key once.
pub(crate) async fn prefill(server: &str, keys: u64, value_bytes: usize) -> Result<()> {
    let mut connection = RespConnection::open(server).await?;
    let value = workload::value(value_bytes, 0);
    for first in (0..keys).step_by(PREFILL_PIPELINE as usize) {
        let numbers = first..keys.min(first + PREFILL_PIPELINE);
        for number in numbers.clone() {
            connection.push(&[b"SET", key(number).as_bytes(), &value]);
        }
        for reply in connection.exchange(numbers.count()).await? {
            if let Frame::Error(error) = reply {
                bail!("{server} refused a SET: {}", String::from_utf8_lossy(&error));
            }
        }
    }
    Ok(())
}

async fn connection(load: RespLoad, mut operations: Operations, value: Bytes, deadline: Instant) -> Result<Meter> {
    let mut connection = RespConnection::open(&load.server).await?;
    let mut meter = Meter::new()?;
    loop {
        let sent = Instant::now();
        if sent >= deadline {
            return Ok(meter);
        }
        for _ in 0..load.pipeline {
            match operations.next() {
                Operation::Get(key) => connection.push(&[b"GET", key.as_bytes()]),
                Operation::Set(key) => connection.push(&[b"SET", key.as_bytes(), &value]),
            }
        }
        for reply in connection.exchange(load.pipeline.into()).await? {
            if let Frame::Error(error) = reply {
                meter.fail(String::from_utf8_lossy(&error));
            }
        }
        meter.record(sent.elapsed(), load.pipeline.into());
    }
}
