//! A cluster in namespaces of its own, clients that write down what they are told, and everything that may happen to it.
//!
//! Nodes are processes, each on its own network interface; the cluster is real and so are the faults. What clients were told is judged
//! afterwards by `simplekv-history`, which knows nothing of what happened.

mod clients;
mod cluster;
mod deck;
mod fault;
mod figures;
mod lan;
mod watch;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use simplekv_tests::Turn;
use tempfile::TempDir;

use crate::args::Chaos;
use crate::chaos::clients::Clients;
use crate::chaos::cluster::Cluster;
use crate::chaos::deck::Deck;
use crate::chaos::fault::{Fault, Kind};
use crate::chaos::figures::Figures;
use crate::chaos::lan::Lan;
use crate::chaos::watch::Watch;
use crate::workload;

/// Most faults at a time.
const AT_ONCE_MAX: usize = 2;
/// How long a run may go on for kinds of faults of which nothing has come yet.
const EXTRA: Duration = Duration::from_secs(60);
/// How many faults come and go before everything is left alone until it has recovered.
const FAULTS_BETWEEN_RESTS: u32 = 12;

pub(crate) async fn run(chaos: &Chaos) -> Result<bool> {
    let seed = workload::seed(chaos.seed);
    let duration = Duration::from_secs_f64(chaos.minutes * 60.0);
    lan::require()?;
    println!("chaos: seed={seed} minutes={} nodes={} groups={}", chaos.minutes, cluster::NODES, cluster::GROUPS.len());
    println!("links: a network namespace for each process, one bridge between them; cuts are nftables rules on it");
    let _turn = Turn::take().await?;
    let dir = TempDir::with_prefix("simplekv-chaos-")?;
    let outcome = Run::new(chaos, seed, &dir).await;
    let mut run = match outcome {
        Ok(run) => run,
        Err(error) => return Err(error.context(kept(dir))),
    };
    let outcome = async {
        run.disturb(duration).await?;
        run.finish().await
    };
    match outcome.await {
        Ok(figures) => {
            println!("{figures}");
            drop(run);
            if !figures.is_clean() {
                println!("{}", kept(dir));
            }
            Ok(figures.is_clean())
        }
        Err(error) => {
            drop(run);
            Err(error.context(kept(dir)))
        }
    }
}

/// Leaves what the processes wrote where it is.
fn kept(dir: TempDir) -> String {
    format!("logs, data and history are kept in {}", dir.keep().display())
}

struct Run {
    random: SmallRng,
    deck: Deck,
    figures: Figures,
    clients: Clients,
    watch: Watch,
    /// Declared last: everything else ends first.
    cluster: Cluster,
}

impl Run {
    async fn new(chaos: &Chaos, seed: u64, dir: &TempDir) -> Result<Self> {
        let mut random = SmallRng::seed_from_u64(seed);
        let lan = Lan::create(&cluster::hosts())?;
        let cluster = Cluster::start(dir.path(), lan, &mut random).await?;
        let history = chaos.history.clone().unwrap_or_else(|| dir.path().join("history.jsonl"));
        let about = format!("simplekv-bench chaos --minutes {} --seed {seed}", chaos.minutes);
        let clients = Clients::start(&cluster, seed, &history, &about).await?;
        let watch = Watch::start(&cluster);
        Ok(Self { random, deck: Deck::default(), figures: Figures::default(), clients, watch, cluster })
    }

    /// Lets faults come and go for so long. At the end all of them are over.
    async fn disturb(&mut self, duration: Duration) -> Result<()> {
        let deadline = Instant::now() + duration;
        let mut active: Vec<(Instant, Fault)> = Vec::new();
        let mut since_rest = 0;
        loop {
            let now = Instant::now();
            let is_late = now >= deadline && self.deck.has_dealt_all();
            // Then one by one, to see what is still missing.
            let at_once = if is_late { 1 } else { AT_ONCE_MAX };
            let missing = if is_late && active.is_empty() { self.figures.missing() } else { Vec::new() };
            let has_all = missing.is_empty() || now >= deadline + EXTRA;
            let is_over = is_late && active.is_empty() && has_all;
            let must_rest = is_over || since_rest >= FAULTS_BETWEEN_RESTS;
            if let Some(due) = active.iter().position(|(until, _)| *until <= now) {
                let (_, fault) = active.swap_remove(due);
                self.end(fault)?;
            } else if active.len() < at_once && !must_rest {
                match self.begin(missing.first().copied(), &active)? {
                    None => wait_for_next(&active).await,
                    Some(fault) => {
                        let lasts = Duration::from_millis(self.random.random_range(fault.kind().lasts_ms()));
                        println!("{:>7} ms: {fault} for {} ms", self.clients.now_ms(), lasts.as_millis());
                        active.push((Instant::now() + lasts, fault));
                        since_rest += 1;
                        // Every other fault comes alone.
                        if self.random.random_bool(0.5) {
                            tokio::time::sleep(lasts).await;
                        }
                    }
                }
            } else if active.is_empty() {
                self.rest().await?;
                since_rest = 0;
                if is_over {
                    return Ok(());
                }
            } else {
                wait_for_next(&active).await;
            }
        }
    }

    /// The next fault, of this kind or the one that is dealt; `None` if whom it may hit is hit already.
    fn begin(&mut self, wanted: Option<Kind>, active: &[(Instant, Fault)]) -> Result<Option<Fault>> {
        let kind = wanted.unwrap_or_else(|| self.deck.deal(&mut self.random));
        let busy: Vec<_> = active.iter().map(|(_, fault)| fault.target()).collect();
        let fault = Fault::begin(kind, &mut self.cluster, &self.watch, &busy, &mut self.random)?;
        if fault.is_none() && wanted.is_none() {
            self.deck.take_back(kind);
        }
        Ok(fault)
    }

    fn end(&mut self, fault: Fault) -> Result<()> {
        let (kind, what) = (fault.kind(), fault.to_string());
        let happened = fault.end(&mut self.cluster, &mut self.random).with_context(|| format!("ending: {what}"))?;
        self.figures.note(kind, happened);
        Ok(())
    }

    /// Waits until every replica is in sync again and every group acknowledges writes: faults must not leave anything behind.
    async fn rest(&mut self) -> Result<()> {
        let begun = Instant::now();
        self.cluster.nobody_has_left()?;
        self.cluster.healthy().await?;
        self.clients.every_group_writes().await?;
        let took = begun.elapsed();
        println!("{:>7} ms: everything has recovered after {} ms", self.clients.now_ms(), took.as_millis());
        self.figures.recovered(took);
        Ok(())
    }

    /// Stops the clients, reads everything back, and judges.
    async fn finish(&mut self) -> Result<Figures> {
        let history = self.clients.stop(&self.cluster).await?;
        let mut figures = std::mem::take(&mut self.figures);
        figures.false_clocks(self.cluster.false_clocks());
        figures.observed = self.watch.observed();
        figures.silences = self.clients.gaps.silences(figures::SILENCE);
        figures.judge(&history);
        Ok(figures)
    }
}

async fn wait_for_next(active: &[(Instant, Fault)]) {
    let next = active.iter().map(|(until, _)| *until).min();
    tokio::time::sleep_until(next.unwrap_or_else(Instant::now).into()).await;
}
