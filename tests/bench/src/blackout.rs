//! All processes die at once while clients write, and come back. Nothing that was acknowledged may be missing afterwards.
//!
//! Every other time etcd lives on: the nodes then come back to sessions and leaderships of the dead.

use std::time::Instant;

use anyhow::Result;
use simplekv_tests::{Cluster, Shape};

use crate::args::Blackout;
use crate::writers::Writers;

pub(crate) async fn run(blackout: &Blackout) -> Result<bool> {
    let shape = Shape::six_nodes().with("storage", "flush", blackout.flush.to_string());
    let mut cluster = Cluster::start(&shape).await?;
    let writers = Writers::start(&cluster, blackout.clients).await?;
    for number in 1..=blackout.times {
        for &group in &writers.groups {
            writers.at_work(group).await?;
        }
        let killed = Instant::now();
        cluster.kill_all_nodes()?;
        let everything = number % 2 == 1;
        if everything {
            cluster.etcd.restart_all().await?;
        }
        for node in &mut cluster.nodes {
            node.process.start()?;
        }
        for &group in &writers.groups {
            writers.at_work(group).await?;
        }
        let etcd = if everything { " (etcd as well)" } else { "" };
        println!("blackout {number}{etcd}: every group works again after {} ms", killed.elapsed().as_millis());
        cluster.healthy().await?;
    }
    let verdict = writers.verify(&cluster).await?;
    println!("{verdict}");
    Ok(verdict.is_clean() && verdict.client_errors == 0)
}
