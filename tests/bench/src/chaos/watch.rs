//! What the nodes say about themselves while things happen to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{interval, timeout};

use crate::chaos::cluster::{Cluster, Node};

const PERIOD: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_millis(250);

/// Looks at every node's metrics, again and again.
#[derive(Debug)]
pub(crate) struct Watch {
    seen: Arc<Mutex<Vec<Seen>>>,
    tasks: Vec<AbortHandle>,
}

/// What one node has said.
#[derive(Debug, Default)]
struct Seen {
    /// Reads it has answered while another node led, over all its runs: what a run had counted after the last look is missing.
    follower_reads: u64,
    /// What its present run had counted at the last look.
    follower_reads_of_run: u64,
    /// Groups it leads, as it believes.
    leads: Vec<String>,
    /// First and last epoch of each group.
    epochs: BTreeMap<String, (u64, u64)>,
}

/// What was seen, all nodes together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Observed {
    pub(crate) follower_reads: u64,
    /// Leaderships that began.
    pub(crate) failovers: u64,
}

impl Watch {
    pub(crate) fn start(cluster: &Cluster) -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        seen.lock().unwrap_or_else(PoisonError::into_inner).resize_with(cluster.nodes.len(), Seen::default);
        let tasks = cluster.nodes.iter().map(Node::admin).enumerate().map(|(place, address)| {
            let seen = Arc::clone(&seen);
            let looks = async move {
                let mut ticks = interval(PERIOD);
                loop {
                    ticks.tick().await;
                    let text = timeout(PATIENCE, metrics(&address)).await.ok().and_then(Result::ok);
                    let mut all = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(seen) = all.get_mut(place) {
                        seen.look(text.as_deref().unwrap_or_default());
                    }
                }
            };
            tokio::spawn(looks).abort_handle()
        });
        Self { tasks: tasks.collect(), seen }
    }

    /// Places of nodes that lead a group.
    pub(crate) fn leaders(&self) -> Vec<usize> {
        let all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().enumerate().filter(|(_, seen)| !seen.leads.is_empty()).map(|(place, _)| place).collect()
    }

    pub(crate) fn observed(&self) -> Observed {
        let all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut epochs: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for (group, &(first, last)) in all.iter().flat_map(|seen| &seen.epochs) {
            let both = epochs.entry(group).or_insert((first, last));
            *both = (both.0.min(first), both.1.max(last));
        }
        Observed {
            follower_reads: all.iter().map(|seen| seen.follower_reads).sum(),
            failovers: epochs.values().map(|(first, last)| last - first).sum(),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Seen {
    fn look(&mut self, text: &str) {
        self.leads.clear();
        for (name, value) in text.lines().filter_map(|line| line.rsplit_once(' ')) {
            let Ok(value) = value.parse::<u64>() else { continue };
            let (name, group) = name.split_once("{group=\"").unwrap_or((name, ""));
            let group = group.trim_end_matches("\"}");
            match name {
                "simplekv_follower_reads_total" => {
                    let new = value.checked_sub(self.follower_reads_of_run).unwrap_or(value);
                    self.follower_reads += new;
                    self.follower_reads_of_run = value;
                }
                "simplekv_group_leader" if value == 1 => self.leads.push(group.to_owned()),
                "simplekv_group_epoch" if value > 0 => {
                    let epochs = self.epochs.entry(group.to_owned()).or_insert((value, value));
                    epochs.1 = epochs.1.max(value);
                }
                _ => (),
            }
        }
    }
}

async fn metrics(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_loses_no_count_and_no_failover() {
        let mut seen = Seen::default();
        seen.look("simplekv_follower_reads_total 10\nsimplekv_group_epoch{group=\"g1\"} 3\nsimplekv_group_leader{group=\"g1\"} 1\n");
        assert_eq!(seen.leads, ["g1"]);
        seen.look("");
        assert!(seen.leads.is_empty());
        seen.look("simplekv_follower_reads_total 4\nsimplekv_group_epoch{group=\"g1\"} 5\nsimplekv_group_leader{group=\"g1\"} 0\n");
        assert_eq!(seen.follower_reads, 14);
        let watch = Watch { seen: Arc::new(Mutex::new(vec![seen, Seen::default()])), tasks: Vec::new() };
        let observed = watch.observed();
        assert_eq!((observed.follower_reads, observed.failovers), (14, 2));
    }
}
