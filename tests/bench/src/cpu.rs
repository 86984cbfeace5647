//! CPU time of processes, and on which cores they run.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// User and system time a process has used so far, all its threads together. Counted by the kernel in ticks, usually of 10 ms.
pub(crate) fn used(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let ticks = ticks(&stat).with_context(|| format!("{path} reads `{stat}`"))?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// The sum over several processes.
pub(crate) fn used_by_all(pids: &[u32]) -> Result<Duration> {
    pids.iter().map(|&pid| used(pid)).sum()
}

/// Fields 14 and 15. The second field is the program's name in brackets and may contain anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// Binds all threads of a running process to one core.
pub(crate) fn pin(pid: u32, core: u32) -> Result<()> {
    let args = ["-a", "-c", "-p", &core.to_string(), &pid.to_string()];
    let status = Command::new("taskset").args(args).stdout(Stdio::null()).status().context("starting taskset")?;
    ensure!(status.success(), "taskset could not bind process {pid} to core {core}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_brackets_do_not_shift_the_fields() {
        assert_eq!(ticks("12 (a) b) S 1 2 3 4 5 6 7 8 9 10 300 20 0 0"), Some(320));
        assert_eq!(ticks("nonsense"), None);
    }

    #[test]
    fn this_process_has_used_some() {
        assert!(used(std::process::id()).is_ok());
        assert!(used(u32::MAX).is_err());
    }
}
