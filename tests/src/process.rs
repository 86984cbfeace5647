//! One child process: started, paused, killed, and its log.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How many lines of each log a failed test prints.
const LOG_LINES: usize = 60;
/// How often a process that shall end is looked at.
const PERIOD: Duration = Duration::from_millis(5);

/// A program with its arguments, running or not. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// A process that has not been started. Its output is appended to `log`.
    #[must_use]
    pub fn new<A: Into<OsString>>(name: &str, program: PathBuf, args: impl IntoIterator<Item = A>, log: &Path) -> Self {
        let args = args.into_iter().map(Into::into).collect();
        Self { name: name.to_owned(), program, args, envs: Vec::new(), log: log.to_owned(), child: None }
    }

    /// Sets an environment variable for the next start.
    pub fn env(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.envs.push((name.into(), value.into()));
    }

    /// What the process is called in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts the process.
    ///
    /// # Errors
    /// If it runs already or the program cannot be executed.
    pub fn start(&mut self) -> Result<()> {
        if self.is_running() {
            bail!("{} is running already", self.name);
        }
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .envs(self.envs.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.child = Some(command.spawn().with_context(|| format!("starting {}", self.program.display()))?);
        Ok(())
    }

    /// The operating system's number of the running process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether the process has been started and has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// SIGKILL: the process ends without a word. Does nothing if it is not running.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().with_context(|| format!("killing {}", self.name))?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGSTOP: the process stands still, its connections stay open.
    ///
    /// # Errors
    /// If it is not running.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT: a paused process goes on.
    ///
    /// # Errors
    /// If it is not running.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGTERM, and the end of the process.
    ///
    /// # Errors
    /// If it has not ended within `limit`.
    pub fn stop(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.ended(limit)
    }

    /// SIGINT, as Ctrl-C sends it, and the end of the process.
    ///
    /// # Errors
    /// If it has not ended within `limit`.
    pub fn interrupt(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::INT)?;
        self.ended(limit)
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    /// If it has not ended within `limit`, or was never started.
    pub fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let child = self.child.as_mut().with_context(|| format!("{} was not started", self.name))?;
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = child.try_wait()? {
                self.child = None;
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("{} has not ended within {limit:?}", self.name);
            }
            std::thread::sleep(PERIOD);
        }
    }

    /// Everything the process has printed, over all its runs.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid().with_context(|| format!("{} is not running", self.name))?;
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a process number is positive")?;
        kill_process(pid, signal).with_context(|| format!("sending {signal:?} to {}", self.name))
    }

    #[expect(clippy::print_stderr, reason = "for whoever reads why the test failed")]
    fn print_log(&mut self) {
        let state = match self.child.as_mut().map(Child::try_wait) {
            None => "stopped".to_owned(),
            Some(Ok(None)) => "running".to_owned(),
            Some(Ok(Some(status))) => match status.signal() {
                Some(signal) => format!("ended by signal {signal}"),
                None => format!("ended: {status}"),
            },
            Some(Err(error)) => error.to_string(),
        };
        let log = self.log();
        let skipped = log.lines().count().saturating_sub(LOG_LINES);
        let lines: Vec<&str> = log.lines().skip(skipped).collect();
        eprintln!("--- {} ({state}), {skipped} lines before:\n{}", self.name, lines.join("\n"));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.print_log();
        }
        // Nothing can be done about a process that cannot be killed.
        let _ = self.kill();
    }
}
