//! What the gRPC lane saves: the same operations, 64 in a frame of one long stream, or one in a call of its own.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use simplekv_proto::v1::data_client::DataClient;
use simplekv_proto::v1::kv_client::KvClient;
use simplekv_proto::{Manner, Op, v1};
use simplekv_tests::{Cluster, Shape};
use simplekv_types::{ReadPolicy, Reply};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use crate::args::Lane;
use crate::workload::{self, key};
use crate::{cpu, machine, resp};

const VALUE_BYTES: usize = 100;
const OPS_PER_FRAME: u64 = 64;
/// What is said of each besides its words: nothing.
const MANNER: Manner =
    Manner { read: ReadPolicy::Linearizable, dedupe: None, timeout_ms: 0, seen: None, group: None, tracker: 0 };
/// Streams, and connections of the unary calls.
const CONNECTIONS: u64 = 4;
/// Frames on the way in each stream.
const FRAMES_IN_FLIGHT: usize = 4;
/// Unary calls on the way on each connection.
const CALLS_IN_FLIGHT: u64 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Get,
    Set,
}

/// One measurement.
struct Figure {
    ops: u64,
    elapsed: Duration,
    server_cpu: Duration,
}

pub(crate) async fn run(lane: &Lane) -> Result<()> {
    println!("{}\n", machine::description().await?);
    let shape = Shape::one_node().with("storage", "flush", "replicated").with("storage", "flush_interval_ms", 1000);
    let cluster = Cluster::start(&shape).await?;
    let node = cluster.nodes.first().context("there is one node")?;
    let pid = node.process.pid().context("it runs")?;
    resp::prefill(&node.resp, lane.keys, VALUE_BYTES).await?;
    println!(
        "{} keys, {VALUE_BYTES}-byte values, {OPS_PER_FRAME} operations a frame, {CONNECTIONS} connections\n",
        lane.keys
    );
    println!(
        "| load | lane kops/s | unary kops/s | lane ops per server CPU second | unary | ratio |\n|---|---|---|---|---|---|"
    );
    for kind in [Kind::Get, Kind::Set] {
        for _ in 0..lane.rounds {
            let streamed = measure(pid, streams(&node.grpc, kind, lane)).await?;
            let called = measure(pid, calls(&node.grpc, kind, lane)).await?;
            println!(
                "| {kind:?} | {:.0} | {:.0} | {:.0} | {:.0} | {:.1} |",
                streamed.rate() / 1000.0,
                called.rate() / 1000.0,
                streamed.ops_per_cpu_second(),
                called.ops_per_cpu_second(),
                streamed.ops_per_cpu_second() / called.ops_per_cpu_second(),
            );
        }
    }
    Ok(())
}

impl Figure {
    fn rate(&self) -> f64 {
        self.ops as f64 / self.elapsed.as_secs_f64()
    }

    fn ops_per_cpu_second(&self) -> f64 {
        self.ops as f64 / self.server_cpu.as_secs_f64()
    }
}

async fn measure(pid: u32, load: impl Future<Output = Result<u64>>) -> Result<Figure> {
    let (begun, before) = (Instant::now(), cpu::used(pid)?);
    let ops = load.await?;
    Ok(Figure { ops, elapsed: begun.elapsed(), server_cpu: cpu::used(pid)?.saturating_sub(before) })
}

async fn connect(grpc: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{grpc}"))?;
    endpoint.connect().await.with_context(|| format!("connecting to {grpc}"))
}

/// Operations done by all streams together.
async fn streams(grpc: &str, kind: Kind, lane: &Lane) -> Result<u64> {
    let deadline = Instant::now() + Duration::from_secs(lane.seconds);
    let mut tasks = JoinSet::new();
    for number in 0..CONNECTIONS {
        tasks.spawn(stream(connect(grpc).await?, kind, lane.keys, number, deadline));
    }
    sum(tasks).await
}

async fn stream(channel: Channel, kind: Kind, keys: u64, seed: u64, deadline: Instant) -> Result<u64> {
    let (frames, outgoing) = mpsc::channel(FRAMES_IN_FLIGHT);
    let mut random = SmallRng::seed_from_u64(seed);
    let value = workload::value(VALUE_BYTES, seed);
    let client_id = Bytes::copy_from_slice(&[u8::try_from(seed)?; 16]);
    let mut next_id = 0;
    let mut frame = || {
        let mut ops = Vec::new();
        for _ in 0..OPS_PER_FRAME {
            next_id += 1;
            let words = args(kind, &mut random, keys, &value);
            Op::write(next_id, words.iter().map(|word| &word[..]), &MANNER, &mut ops);
        }
        let mut frame = v1::RequestFrame::new(client_id.clone(), 0);
        frame.push(ops.into(), OPS_PER_FRAME as usize);
        frame
    };
    for _ in 0..FRAMES_IN_FLIGHT {
        frames.send(frame()).await?;
    }
    let mut replies = DataClient::new(channel).call(ReceiverStream::new(outgoing)).await?.into_inner();
    let (mut done, mut unanswered) = (0, FRAMES_IN_FLIGHT as u64 * OPS_PER_FRAME);
    while unanswered > 0 {
        let reply = replies.message().await?.context("the node ended the stream")?;
        for answer in reply.replies() {
            if let Reply::Error(failure) = answer?.reply? {
                bail!("the node refused an operation: {failure}");
            }
        }
        done += reply.len() as u64;
        unanswered -= reply.len() as u64;
        // Replies may be grouped otherwise than requests: a new frame goes out for every 64 answers.
        while Instant::now() < deadline && unanswered + OPS_PER_FRAME <= FRAMES_IN_FLIGHT as u64 * OPS_PER_FRAME {
            frames.send(frame()).await?;
            unanswered += OPS_PER_FRAME;
        }
    }
    Ok(done)
}

/// Operations done by all callers together.
async fn calls(grpc: &str, kind: Kind, lane: &Lane) -> Result<u64> {
    let deadline = Instant::now() + Duration::from_secs(lane.seconds);
    let mut tasks = JoinSet::new();
    for number in 0..CONNECTIONS {
        let channel = connect(grpc).await?;
        for caller in 0..CALLS_IN_FLIGHT {
            tasks.spawn(call(channel.clone(), kind, lane.keys, number * CALLS_IN_FLIGHT + caller, deadline));
        }
    }
    sum(tasks).await
}

async fn call(channel: Channel, kind: Kind, keys: u64, seed: u64, deadline: Instant) -> Result<u64> {
    let mut kv = KvClient::new(channel);
    let mut random = SmallRng::seed_from_u64(seed);
    let value = workload::value(VALUE_BYTES, seed);
    let mut done = 0;
    while Instant::now() < deadline {
        let key = Bytes::from(key(random.random_range(0..keys)));
        match kind {
            Kind::Get => drop(kv.get(v1::GetRequest { key, read: None, session: String::new() }).await?),
            Kind::Set => {
                drop(kv.set(v1::SetRequest { key, value: value.clone(), ttl_ms: 0, session: String::new() }).await?)
            }
        }
        done += 1;
    }
    Ok(done)
}

async fn sum(mut tasks: JoinSet<Result<u64>>) -> Result<u64> {
    let mut total = 0;
    while let Some(task) = tasks.join_next().await {
        total += task??;
    }
    Ok(total)
}

fn args(kind: Kind, random: &mut SmallRng, keys: u64, value: &Bytes) -> Vec<Bytes> {
    let key = Bytes::from(key(random.random_range(0..keys)));
    match kind {
        Kind::Get => vec![Bytes::from_static(b"GET"), key],
        Kind::Set => vec![Bytes::from_static(b"SET"), key, value.clone()],
    }
}
