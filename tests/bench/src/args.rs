//! What can be typed.

use std::path::PathBuf;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use simplekv_types::FlushPolicy;

/// Loads a simplekv cluster, measures it, and breaks it on purpose.
#[derive(Debug, Parser)]
#[command(name = "simplekv-bench", version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Load a Redis protocol port: a node, a router, or any other server
    Resp(RespLoad),
    /// Load a cluster through the Rust client
    Client(ClientLoad),
    /// Compare one node, and one group of three, with redis-server: interleaved, as ratios
    Compare(Compare),
    /// Measure what one element costs in a long collection beside a short one
    Collections(Collections),
    /// Compare the gRPC lane at 64 operations a frame with unary calls
    Lane(Lane),
    /// Measure what a router's hop costs: its CPU time for an operation, and the node's with and without it
    Hop(Hop),
    /// Read linearizably from three replicas: which share each answers, and what an answer costs it
    Spread(Spread),
    /// Kill the current leader again and again while clients write, then look for every write
    Failover(Failover),
    /// Kill all nodes at once while clients write, every other time etcd with them, start all again, then look for every write
    Blackout(Blackout),
    /// Move half of all slots to another group while clients write into them, then look for every write
    Moves(Moves),
    /// Cut links, pause and kill processes, slow down disks and falsify clocks while clients write down what they are told; then judge it
    Chaos(Chaos),
    /// Judge histories that clients have written down; exit code 1 if one is wrong or undecided
    Check(Check),
    /// Reckon what the control plane of a large cluster costs, and simulate how a change reaches every client
    Scale(Scale),
}

#[derive(Clone, Debug, Group)]
pub(crate) struct Moves {
    /// How many keys move, besides those that are written meanwhile
    #[arg(long, value_name = "N", default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) keys: u64,
    /// Length of each of their values, in bytes
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) value_bytes: usize,
    /// How many writers there are
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) writers: u16,
    /// How many replicas each of the two groups has
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=5))]
    pub(crate) replicas: u32,
    /// How long the writers are measured before and after, in seconds
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) seconds: u64,
    /// When nodes flush
    #[arg(long, value_name = "always|replicated|os", default_value = "replicated")]
    pub(crate) flush: FlushPolicy,
}

/// Which keys are asked for, how often, and what they hold.
#[derive(Clone, Debug, Group)]
pub(crate) struct Workload {
    /// How many different keys there are
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) keys: u64,
    /// Which of them are asked for
    #[arg(long, default_value = "uniform")]
    pub(crate) distribution: Distribution,
    /// Length of each value, in bytes
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) value_bytes: usize,
    /// Share of reads, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, value_parser = share)]
    pub(crate) reads: f64,
    /// How long to load, in seconds
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) seconds: u64,
    /// Write every key once before
    #[arg(long)]
    pub(crate) prefill: bool,
    /// Begins the row of random numbers; printed, so that a run can be repeated
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Report the CPU time of this server process; may be repeated
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Distribution {
    /// Each key as often as any other
    Uniform,
    /// A few keys most of the time (exponent 0.99)
    Zipfian,
}

#[derive(Clone, Debug, Group)]
pub(crate) struct RespLoad {
    /// Address of the Redis protocol port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7379")]
    pub(crate) server: String,
    /// How many connections
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) connections: usize,
    /// Requests sent before their answers are read
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) pipeline: u16,
    #[command(flatten)]
    pub(crate) workload: Workload,
}

#[derive(Clone, Debug, Group)]
pub(crate) struct ClientLoad {
    /// gRPC addresses of nodes
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', default_value = "127.0.0.1:7410")]
    pub(crate) seeds: Vec<String>,
    /// How many tasks share the client, each with one request at a time
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) tasks: usize,
    #[command(flatten)]
    pub(crate) workload: Workload,
}

#[derive(Clone, Debug, Group)]
pub(crate) struct Compare {
    /// How often each cell is measured on both sides, one after the other
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) pairs: u16,
    /// How long one measurement takes, in seconds, about
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) seconds: u64,
    /// How many keys are filled in before
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) keys: u64,
    /// Servers on core 0, load on core 1
    #[arg(long)]
    pub(crate) pin: bool,
    /// Leave out the group of three replicas
    #[arg(long)]
    pub(crate) one_node_only: bool,
}

#[derive(Clone, Debug, Group)]
pub(crate) struct Collections {
    /// How many elements the long ones have
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) elements: u64,
    /// How many operations a measurement has
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) operations: u64,
    /// How often each is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) pairs: u16,
}

#[derive(Clone, Debug, Group)]
pub(crate) struct Lane {
    /// How long each measurement takes, in seconds
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) seconds: u64,
    /// How often each is measured
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rounds: u16,
    /// How many keys are filled in before
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) keys: u64,
}

#[derive(Clone, Debug, Group)]
pub(crate) struct Hop {
    /// How long each measurement takes, in seconds, about
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// How often each is measured, through the router and directly
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rounds: u16,
    /// How many keys are filled in before
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) keys: u64,
}

#[derive(Clone, Debug, Group)]
pub(crate) struct Failover {
    /// How many leaders are killed
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) kills: u32,
    /// Least number of kills that hit the node which holds elections
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) controller_kills: u32,
    /// How many clients write
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) clients: u16,
    /// When the log reaches the disk
    #[arg(long, default_value_t = FlushPolicy::Always)]
    pub(crate) flush: FlushPolicy,
}

#[derive(Clone, Debug, Group)]
pub(crate) struct Blackout {
    /// How often everything is killed
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) times: u32,
    /// How many clients write
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) clients: u16,
    /// When the log reaches the disk
    #[arg(long, default_value_t = FlushPolicy::Always)]
    pub(crate) flush: FlushPolicy,
}

#[derive(Clone, Debug, Group)]
pub(crate) struct Spread {
    /// How often it is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Length of each round
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// How many different keys there are
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) keys: u64,
    /// How many tasks read at a time
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) tasks: u16,
}

#[derive(Clone, Debug, Group)]
pub(crate) struct Chaos {
    /// How long, in minutes. The first round of faults is finished in any case
    #[arg(long, value_name = "N", default_value_t = 5.0, value_parser = minutes)]
    pub(crate) minutes: f64,
    /// Begins the row of random numbers; printed. It repeats the choice of faults, not their timing
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Where the history is written; else it is removed after a run in which nothing is wrong
    #[arg(long, value_name = "FILE")]
    pub(crate) history: Option<PathBuf>,
}

#[derive(Clone, Debug, Group)]
pub(crate) struct Check {
    /// Histories, as docs/histories.md describes them
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Decisions tried per key before it is left undecided
    #[arg(long, value_name = "N", default_value_t = simplekv_history::Checker::default().steps_per_key)]
    pub(crate) steps: u64,
}

#[derive(Clone, Debug, Group)]
pub(crate) struct Scale {
    /// How many groups there are
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..=16384))]
    pub(crate) groups: u32,
    /// How many replicas each has, every one on a node of its own
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=9))]
    pub(crate) replicas: u32,
    /// How many clients watch the topology
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) clients: u32,
    /// Begins the row of random numbers of the simulated network
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if minutes > 0.0 && minutes <= 10_000.0 => Ok(minutes),
        _ => Err("expected a number of minutes above 0".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
        for line in [
            "chaos --minutes 0.5 --seed 7",
            "check --steps 5 a b",
            "failover --kills 20",
            "scale --groups 40 --replicas 3 --clients 1000 --seed 2",
            "compare --pairs 3 --pin",
            "hop --rounds 3 --seconds 1",
            "resp --pipeline 16 --distribution zipfian --pid 7",
        ] {
            Args::try_parse_from(["simplekv-bench"].into_iter().chain(line.split(' ')))
                .unwrap_or_else(|e| panic!("{e}"));
        }
        for line in [
            "check",
            "chaos --minutes 0",
            "resp --reads 1.5",
            "resp --pipeline 0",
            "scale --groups 1",
            "failover --flush sometimes",
        ] {
            assert!(Args::try_parse_from(["simplekv-bench"].into_iter().chain(line.split(' '))).is_err(), "{line}");
        }
    }
}
