//! Debian's redis-server and its own load generator.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use simplekv_tests::{Process, free_ports, wait};
use tokio::net::TcpStream;
use tokio::process::Command;

/// Starts redis-server with its log on, flushed every second, on a free port; returns it with its address.
pub(crate) async fn start(dir: &Path) -> Result<(Process, String)> {
    let [port] = free_ports();
    let dir_arg = dir.display().to_string();
    let args = format!(
        "--port {port} --bind 127.0.0.1 --protected-mode no --save '' --appendonly yes --appendfsync everysec \
         --auto-aof-rewrite-percentage 0 --dir {dir_arg}"
    );
    let args = args.split_whitespace().map(|arg| arg.trim_matches('\'').to_owned());
    let mut server = Process::new("redis-server", "redis-server".into(), args, &dir.join("redis.log"));
    server.start()?;
    let address = format!("127.0.0.1:{port}");
    let connects = async || TcpStream::connect(&address).await.ok();
    wait::at_most(Duration::from_secs(10), "redis-server accepts connections", connects).await?;
    Ok((server, address))
}

/// One run of redis-benchmark: 50 clients, 100-byte values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// By the name redis-benchmark gives its test.
    pub(crate) command: &'static str,
    pub(crate) pipeline: u32,
    /// How many different keys.
    pub(crate) keys: u64,
    pub(crate) requests: u64,
    /// The core the load runs on, if it is bound to one.
    pub(crate) core: Option<u32>,
}

impl Run {
    /// Operations a second.
    pub(crate) async fn against(&self, address: &str) -> Result<f64> {
        let (host, port) = address.rsplit_once(':').context("an address has a port")?;
        let mut line = format!(
            "-h {host} -p {port} -c 50 -d 100 -r {} -P {} -n {} --csv",
            self.keys, self.pipeline, self.requests
        );
        line += &match self.command {
            // Its own test spreads the keys of one command over slots, which a node of a cluster refuses.
            "mset" => format!(" MSET{}", format!(" {{t}}:__rand_int__ {}", "x".repeat(100)).repeat(10)),
            command => format!(" -t {command}"),
        };
        let mut command = match self.core {
            None => Command::new("redis-benchmark"),
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["-c", &core.to_string(), "redis-benchmark"]);
                command
            }
        };
        let output =
            command.args(line.split(' ')).kill_on_drop(true).output().await.context("starting redis-benchmark")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "redis-benchmark against {address}: {text}{said}");
        rate(&text, self.command).with_context(|| format!("redis-benchmark printed `{text}{said}`"))
    }
}

/// The second field of the line `"SET","161290.33",…`, or `"MSET (10 keys)","16129.03",…`.
fn rate(csv: &str, command: &str) -> Option<f64> {
    let name = format!("\"{}", command.to_uppercase());
    let is_meant = |line: &&str| line.strip_prefix(&name).is_some_and(|rest| rest.starts_with(['"', ' ']));
    csv.lines().find(is_meant)?.split(',').nth(1)?.trim_matches('"').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_from_the_commands_own_line() {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\"\n\"SET\",\"161290.33\",\"0.2\"\n\"GET\",\"7\",\"0.1\"\n";
        assert_eq!(rate(csv, "set"), Some(161_290.33));
        assert_eq!(rate(csv, "get"), Some(7.0));
        assert_eq!(rate("\"MSETNX\",\"7\"\n\"MSET (10 keys)\",\"16.5\",\"1\"\n", "mset"), Some(16.5));
        assert_eq!(rate("Error from server", "get"), None);
    }
}
