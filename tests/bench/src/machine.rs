//! Where and how a table was measured, to be printed above it: figures without their command and machine prove nothing later.

use std::fs;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// This call, the machine, and whom it is compared with.
pub(crate) async fn description() -> Result<String> {
    Ok(format!("{}\nredis-server: {}", of_this_call()?, redis_version().await?))
}

/// This call and the machine.
pub(crate) fn of_this_call() -> Result<String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let cores = std::thread::available_parallelism()?;
    let model = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| model(&text)).unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").context("reading the kernel's release")?;
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| gibibytes(&text)).unwrap_or(0);
    let build =
        if cfg!(debug_assertions) { "dev profile, for development and not for figures" } else { "release profile" };
    Ok(format!(
        "command: simplekv-bench {}\nbuild: simplekv {}, {build}\nmachine: {cores} cores ({model}), {memory} GiB, Linux {}",
        args.join(" "),
        env!("CARGO_PKG_VERSION"),
        kernel.trim(),
    ))
}

/// What the processor calls itself.
fn model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The machine's memory, rounded.
fn gibibytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some((kibibytes + (1 << 19)) >> 20)
}

async fn redis_version() -> Result<String> {
    let output = Command::new("redis-server").arg("--version").output().await.context("starting redis-server")?;
    ensure!(output.status.success(), "redis-server --version ended with {}", output.status);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    version(&said).map(str::to_owned).with_context(|| format!("redis-server --version printed `{said}`"))
}

/// `7.0.15` of `Redis server v=7.0.15 sha=…`.
fn version(said: &str) -> Option<&str> {
    said.split(' ').find_map(|word| word.strip_prefix("v="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_tells_is_read() {
        assert_eq!(version("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0"), Some("7.0.15"));
        assert_eq!(model("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n").as_deref(), Some("Some CPU @ 2 GHz"));
        assert_eq!(gibibytes("MemTotal:       16384000 kB\nMemFree: 1 kB\n"), Some(16));
        assert_eq!((version("nonsense"), model(""), gibibytes("MemTotal: much")), (None, None, None));
    }
}
