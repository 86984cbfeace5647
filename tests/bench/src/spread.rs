//! Where linearizable reads go when nobody says anything about it: which share of them each of three replicas answers, what an answer
//! costs it, and whether replicas say anything to each other for it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use simplekv_client::Client;
use simplekv_tests::{Cluster, Shape};
use simplekv_types::{GroupId, NodeId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::args::Spread;
use crate::compare::median;
use crate::workload::{self, key};
use crate::{client, cpu, machine};

const VALUE_BYTES: usize = 100;
/// The greatest share of the reads that the leader of three may be left with.
const SHARE_MAX: f64 = 0.38;

/// What a node has counted.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    commands: u64,
    follower_reads: u64,
    messages: u64,
    cpu: Duration,
}

/// One round.
struct Round {
    elapsed: Duration,
    /// Of each node, the leader's first.
    nodes: Vec<Counted>,
    /// Messages between replicas in a round of the same length in which nobody reads.
    messages_at_rest: u64,
}

pub(crate) async fn run(spread: &Spread) -> Result<bool> {
    println!("{}\n", machine::description().await?);
    let cluster = Cluster::start(&Shape::three_nodes()).await?;
    let kv = client::connect(&cluster.seeds(), Duration::from_secs(10)).await?;
    let value = workload::value(VALUE_BYTES, 1);
    client::prefill(&kv, spread.keys, &value).await?;
    let leader = cluster.leader(GroupId(1)).await?.context("the group has a leader")?;
    println!("{} keys, {VALUE_BYTES}-byte values, {} tasks, led by {leader}\n", spread.keys, spread.tasks);
    println!(
        "| kops/s | leader's share | CPU us per GET: leader | followers | ratio | follower reads | messages between replicas | at rest |\n\
         |---|---|---|---|---|---|---|---|"
    );
    let (mut shares, mut ratios) = (Vec::new(), Vec::new());
    for number in 0..spread.rounds {
        let round = measure(&cluster, &kv, leader, spread, number).await?;
        round.print()?;
        shares.push(round.leaders_share());
        ratios.push(round.ratio()?);
    }
    let (share, ratio) = (median(shares.into_iter()), median(ratios.into_iter()));
    println!("\nleader_share_median={share:.3} follower_to_leader_cpu_median={ratio:.2}");
    Ok(share <= SHARE_MAX)
}

async fn measure(cluster: &Cluster, kv: &Client, leader: NodeId, spread: &Spread, seed: u32) -> Result<Round> {
    let length = Duration::from_secs(spread.seconds);
    let before = count(cluster, leader).await?;
    tokio::time::sleep(length).await;
    let rested = count(cluster, leader).await?;
    let begun = Instant::now();
    let deadline = begun + length;
    let mut tasks = JoinSet::new();
    for task in 0..u64::from(spread.tasks) {
        let (kv, keys) = (kv.clone(), spread.keys);
        let mut random = SmallRng::seed_from_u64(u64::from(seed) << 32 | task);
        tasks.spawn(async move {
            while Instant::now() < deadline {
                kv.get(key(random.random_range(0..keys))).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    let elapsed = begun.elapsed();
    let after = count(cluster, leader).await?;
    let nodes = rested.iter().zip(&after).map(|(from, to)| from.until(to)).collect();
    let messages_at_rest = before.iter().zip(&rested).map(|(from, to)| from.until(to).messages).sum();
    Ok(Round { elapsed, nodes, messages_at_rest })
}

impl Counted {
    fn until(&self, later: &Self) -> Self {
        Self {
            commands: later.commands - self.commands,
            follower_reads: later.follower_reads - self.follower_reads,
            messages: later.messages - self.messages,
            cpu: later.cpu.saturating_sub(self.cpu),
        }
    }

    fn micros_each(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.commands.max(1) as f64
    }
}

impl Round {
    fn commands(&self) -> u64 {
        self.nodes.iter().map(|node| node.commands).sum()
    }

    fn leaders_share(&self) -> f64 {
        self.nodes.first().map_or(0, |leader| leader.commands) as f64 / self.commands().max(1) as f64
    }

    /// What a GET costs the leader, and what it costs a follower on average.
    fn costs(&self) -> Result<(f64, f64)> {
        let (leader, followers) = self.nodes.split_first().context("there is a leader")?;
        let each = followers.iter().map(Counted::micros_each).sum::<f64>() / followers.len() as f64;
        Ok((leader.micros_each(), each))
    }

    fn ratio(&self) -> Result<f64> {
        let (leader, follower) = self.costs()?;
        Ok(follower / leader)
    }

    fn print(&self) -> Result<()> {
        let (leader, follower) = self.costs()?;
        println!(
            "| {:.0} | {:.3} | {leader:.2} | {follower:.2} | {:.2} | {} | {} | {} |",
            self.commands() as f64 / self.elapsed.as_secs_f64() / 1000.0,
            self.leaders_share(),
            self.ratio()?,
            self.nodes.iter().map(|node| node.follower_reads).sum::<u64>(),
            self.nodes.iter().map(|node| node.messages).sum::<u64>(),
            self.messages_at_rest,
        );
        Ok(())
    }
}

/// What each node has counted so far, the leader first.
async fn count(cluster: &Cluster, leader: NodeId) -> Result<Vec<Counted>> {
    let mut counted = Vec::new();
    for node in &cluster.nodes {
        let text = metrics(&node.admin).await?;
        let figure = |name: &str| -> Result<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            Ok(line.with_context(|| format!("the node does not tell {name}"))?.parse()?)
        };
        let figures = Counted {
            commands: figure("simplekv_lane_commands_total")?,
            follower_reads: figure("simplekv_follower_reads_total")?,
            messages: figure("simplekv_peer_messages_total")?,
            cpu: cpu::used(node.process.pid().context("it runs")?)?,
        };
        counted.push((node.id != leader, figures));
    }
    counted.sort_by_key(|(follows, _)| *follows);
    Ok(counted.into_iter().map(|(_, figures)| figures).collect())
}

async fn metrics(admin: &str) -> Result<String> {
    let mut connection = TcpStream::connect(admin).await.with_context(|| format!("connecting to {admin}"))?;
    connection.write_all(b"GET /metrics HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    Ok(answer)
}
