//! The current leader dies, again and again, while clients write. Nothing that was acknowledged may be missing afterwards.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use simplekv_tests::{Cluster, Shape};
use simplekv_types::{GroupId, NodeId};

use crate::args::Failover;
use crate::gaps::summary;
use crate::writers::Writers;

/// What one kill did.
struct Kill {
    /// How long the group acknowledged nothing.
    gap: Duration,
    hit_controller: bool,
}

pub(crate) async fn run(failover: &Failover) -> Result<bool> {
    let shape = Shape::six_nodes().with("storage", "flush", failover.flush.to_string());
    let mut cluster = Cluster::start(&shape).await?;
    let writers = Writers::start(&cluster, failover.clients).await?;
    let mut kills: Vec<Kill> = Vec::new();
    for number in 0..failover.kills {
        let group = *writers.groups.get(number as usize % writers.groups.len()).context("there are groups")?;
        let victim = if is_the_controllers_turn(number, failover) {
            lead_with_controller(&cluster).await?
        } else {
            (group, cluster.leader(group).await?.context("the group has a leader")?)
        };
        kills.push(kill(&mut cluster, &writers, victim).await?);
        if let Some(Kill { gap, hit_controller }) = kills.last() {
            let (group, node) = victim;
            let office = if *hit_controller { " and controller" } else { "" };
            println!("kill {}: {node}, leader of {group}{office}: no write for {} ms", number + 1, gap.as_millis());
        }
    }
    let verdict = writers.verify(&cluster).await?;
    let (median, longest) = summary(&kills.iter().map(|kill| kill.gap).collect::<Vec<_>>());
    println!("{verdict} gap_p50_ms={median} gap_max_ms={longest}");
    let controller: Vec<Duration> = kills.iter().filter(|kill| kill.hit_controller).map(|kill| kill.gap).collect();
    let (median, longest) = summary(&controller);
    println!("controller_kills={} controller_gap_p50_ms={median} controller_gap_max_ms={longest}", controller.len());
    Ok(verdict.is_clean() && verdict.client_errors == 0 && controller.len() >= failover.controller_kills as usize)
}

/// Spreads the kills of the controller evenly over all kills.
fn is_the_controllers_turn(number: u32, failover: &Failover) -> bool {
    let wanted = failover.controller_kills.min(failover.kills);
    let due = |kills: u32| u64::from(kills) * u64::from(wanted) / u64::from(failover.kills);
    due(number + 1) > due(number)
}

/// Makes the node that holds elections lead one of its groups.
async fn lead_with_controller(cluster: &Cluster) -> Result<(GroupId, NodeId)> {
    let admin = cluster.admin()?;
    let controller = cluster.controller().await?.context("there is a controller")?;
    let answer = admin.json("list-groups").await?;
    let groups = answer.get("groups").and_then(|groups| groups.as_array()).context("groups are an array")?;
    let name = controller.to_string();
    let hosts = |group: &&serde_json::Value| {
        group
            .get("replicas")
            .and_then(|nodes| nodes.as_array())
            .is_some_and(|nodes| nodes.iter().any(|node| *node == *name))
    };
    let hosted = groups.iter().find(hosts).context("the controller hosts a group")?;
    let group = hosted.get("id").and_then(|id| id.as_str()).context("a group has an id")?.parse()?;
    if hosted.get("leader").is_none_or(|leader| *leader != *name) {
        admin.run(&format!("transfer-leader {group} --to {controller}")).await?;
        cluster.healthy().await?;
    }
    Ok((group, controller))
}

/// Kills the node, and starts it again once its group works without it. Returns when every replica is in sync again.
async fn kill(cluster: &mut Cluster, writers: &Writers, (group, node): (GroupId, NodeId)) -> Result<Kill> {
    writers.at_work(group).await?;
    let hit_controller = cluster.controller().await? == Some(node);
    let process = &mut cluster.node(node).process;
    let killed = Instant::now();
    process.kill()?;
    writers.at_work(group).await?;
    cluster.node(node).process.start()?;
    cluster.healthy().await?;
    Ok(Kill { gap: writers.gaps.longest_since(group, killed), hit_controller })
}

#[cfg(test)]
mod tests {
    use simplekv_types::FlushPolicy;

    use super::*;

    #[test]
    fn the_controller_is_hit_as_often_as_wanted() {
        for (kills, controller_kills) in [(20, 5), (7, 5), (5, 5), (3, 5), (20, 0), (1, 1)] {
            let failover = Failover { kills, controller_kills, clients: 1, flush: FlushPolicy::Always };
            let turns = (0..kills).filter(|&number| is_the_controllers_turn(number, &failover)).count();
            assert_eq!(turns, controller_kills.min(kills) as usize);
        }
    }
}
