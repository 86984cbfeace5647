//! What one element costs in a long collection beside a short one: one node, one group, one replica.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng};
use simplekv_resp::decode::Frame;
use simplekv_tests::{Cluster, RespConnection, Shape};
use simplekv_types::GroupId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::args::Collections;
use crate::compare::median;
use crate::meter::Meter;
use crate::{cpu, machine};

/// Elements put by one command while a collection is filled.
const FILL_ELEMENTS: u64 = 500;
/// Commands sent together where the server's part is what is measured.
const PIPELINE: u64 = 64;
const VALUE: [u8; 20] = [b'v'; 20];

/// A key and how many elements it has.
#[derive(Clone, Copy)]
struct Sized {
    key: &'static str,
    elements: u64,
}

/// One of two collections that are compared, and what was measured.
struct Side {
    sized: Sized,
    /// In microseconds.
    times: Vec<f64>,
    bytes: Vec<f64>,
}

impl Side {
    fn of(key: &'static str, elements: u64) -> Self {
        Self { sized: Sized { key, elements }, times: Vec::new(), bytes: Vec::new() }
    }
}

/// Who goes first changes, so that what one leaves behind falls to both.
fn in_turns(sides: &mut [Side; 2], pair: u16) -> Vec<&mut Side> {
    let mut order: Vec<&mut Side> = sides.iter_mut().collect();
    if !pair.is_multiple_of(2) {
        order.reverse();
    }
    order
}

/// The median of the ratios within the pairs.
fn ratio(of: &[f64], to: &[f64]) -> f64 {
    median(of.iter().zip(to).map(|(one, other)| one / other))
}

struct Bench {
    cluster: Cluster,
    connection: RespConnection,
    admin: String,
    rng: StdRng,
}

pub(crate) async fn run(asked: &Collections) -> Result<()> {
    let shape = Shape::one_node().with("storage", "flush", "replicated").with("runtime", "threads", 1);
    let mut cluster = Cluster::start(&shape).await?;
    let leader = cluster.leader(GroupId(1)).await?.context("g1 has no leader")?;
    let node = cluster.node(leader);
    let (resp, admin) = (node.resp.clone(), node.admin.clone());
    let connection = RespConnection::open(&resp).await?;
    let mut bench = Bench { cluster, connection, admin, rng: StdRng::seed_from_u64(1) };
    println!("{}\n", machine::description().await?);
    bench.hashes(asked).await?;
    bench.deletions(asked).await?;
    bench.ranks(asked).await
}

impl Bench {
    /// HSET of a field that is there, one at a time.
    async fn hashes(&mut self, asked: &Collections) -> Result<()> {
        let mut sides = [Side::of("short", 10), Side::of("long", asked.elements)];
        for side in &sides {
            self.fill("HSET", side.sized).await?;
        }
        for pair in 0..asked.pairs {
            for side in in_turns(&mut sides, pair) {
                let (meter, written) = self.set_one_at_a_time(side.sized, asked.operations).await?;
                side.times.push(meter.micros_at(0.99));
                side.bytes.push(written);
            }
        }
        println!("HSET of one of a hash's fields, one at a time, median of {} pairs\n", asked.pairs);
        println!("| fields | p99 us | log bytes per HSET |\n|---|---|---|");
        for Side { sized, times, bytes } in &sides {
            let (p99, bytes) = (median(times.iter().copied()), median(bytes.iter().copied()));
            println!("| {} | {p99:.0} | {bytes:.1} |", sized.elements);
        }
        let [short, long] = &sides;
        println!("| ratio | {:.2} | {:.2} |\n", ratio(&long.times, &short.times), ratio(&long.bytes, &short.bytes));
        Ok(())
    }

    async fn set_one_at_a_time(&mut self, hash: Sized, operations: u64) -> Result<(Meter, f64)> {
        let mut meter = Meter::new()?;
        let before = self.storage_bytes().await?;
        for _ in 0..operations {
            let field = field(self.rng.random_range(0..hash.elements));
            let sent = Instant::now();
            self.connection.push(&[b"HSET", hash.key.as_bytes(), field.as_bytes(), &VALUE]);
            let replies = self.connection.exchange(1).await?;
            meter.record(sent.elapsed(), 1);
            ensure!(replies == [Frame::Int(0)], "HSET answered {replies:?}");
        }
        let written = self.storage_bytes().await?.saturating_sub(before);
        Ok((meter, written as f64 / operations as f64))
    }

    async fn deletions(&mut self, asked: &Collections) -> Result<()> {
        let hash = Sized { key: "deleted", elements: asked.elements };
        let mut took = Vec::new();
        for _ in 0..asked.pairs {
            self.fill("HSET", hash).await?;
            let sent = Instant::now();
            self.connection.push(&[b"DEL", hash.key.as_bytes()]);
            let replies = self.connection.exchange(1).await?;
            took.push(sent.elapsed().as_secs_f64() * 1e6);
            ensure!(replies == [Frame::Int(1)], "DEL answered {replies:?}");
        }
        let most = took.iter().copied().fold(0.0, f64::max);
        println!("DEL of a hash of {} fields, {} times", hash.elements, asked.pairs);
        println!("median {:.0} us, greatest {most:.0} us\n", median(took.into_iter()));
        Ok(())
    }

    /// ZRANK of members that are there, many at a time: what it costs the server.
    async fn ranks(&mut self, asked: &Collections) -> Result<()> {
        let mut sides = [Side::of("few", 1000), Side::of("many", asked.elements)];
        for side in &sides {
            self.fill("ZADD", side.sized).await?;
        }
        for pair in 0..asked.pairs {
            for side in in_turns(&mut sides, pair) {
                side.times.push(self.rank_many(side.sized, asked.operations * 4).await?);
            }
        }
        println!("ZRANK, {PIPELINE} at a time, median of {} pairs\n", asked.pairs);
        println!("| members | CPU us/op |\n|---|---|");
        for Side { sized, times, .. } in &sides {
            println!("| {} | {:.2} |", sized.elements, median(times.iter().copied()));
        }
        let [short, long] = &sides;
        println!("| ratio | {:.2} |", ratio(&long.times, &short.times));
        Ok(())
    }

    async fn rank_many(&mut self, zset: Sized, operations: u64) -> Result<f64> {
        let pids = self.cluster.nodes.iter().map(|node| node.process.pid().context("it runs"));
        let pids: Vec<u32> = pids.collect::<Result<_>>()?;
        let before = cpu::used_by_all(&pids)?;
        let rounds = operations.div_ceil(PIPELINE);
        for _ in 0..rounds {
            for _ in 0..PIPELINE {
                let member = field(self.rng.random_range(0..zset.elements));
                self.connection.push(&[b"ZRANK", zset.key.as_bytes(), member.as_bytes()]);
            }
            let replies = self.connection.exchange(PIPELINE as usize).await?;
            ensure!(replies.iter().all(|reply| matches!(reply, Frame::Int(_))), "ZRANK answered {replies:?}");
        }
        let spent = cpu::used_by_all(&pids)?.saturating_sub(before);
        Ok(spent.as_secs_f64() * 1e6 / (rounds * PIPELINE) as f64)
    }

    async fn fill(&mut self, command: &str, collection: Sized) -> Result<()> {
        for first in (0..collection.elements).step_by(FILL_ELEMENTS as usize) {
            let mut words = vec![command.as_bytes().to_vec(), collection.key.as_bytes().to_vec()];
            for number in first..collection.elements.min(first + FILL_ELEMENTS) {
                let name = field(number).into_bytes();
                words.extend(if command == "ZADD" {
                    // In another order than that of the members.
                    [(number.wrapping_mul(0x9e37_79b9) % 1_000_003).to_string().into_bytes(), name]
                } else {
                    [name, VALUE.to_vec()]
                });
            }
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            self.connection.push(&words);
            let replies = self.connection.exchange(1).await?;
            ensure!(matches!(replies.as_slice(), [Frame::Int(_)]), "{command} answered {replies:?}");
        }
        Ok(())
    }

    /// Bytes in the log, once the node tells the same twice: it reports what it has written a little later.
    async fn storage_bytes(&self) -> Result<u64> {
        let mut told = self.storage_bytes_now().await?;
        let mut looks = tokio::time::interval(Duration::from_millis(100));
        looks.tick().await;
        loop {
            looks.tick().await;
            let now = self.storage_bytes_now().await?;
            if now == told {
                return Ok(now);
            }
            told = now;
        }
    }

    async fn storage_bytes_now(&self) -> Result<u64> {
        let mut stream = TcpStream::connect(&self.admin).await?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: node\r\nConnection: close\r\n\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        let line = text.lines().find(|line| line.starts_with("simplekv_storage_bytes{"));
        let figure = line.and_then(|line| line.rsplit(' ').next()).context("no metric of the storage's bytes")?;
        Ok(figure.parse::<f64>().context("a metric is a number")? as u64)
    }
}

fn field(number: u64) -> String {
    format!("field:{number:010}")
}
