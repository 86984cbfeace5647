//! `simplekv-admin`, as an operator or a script calls it.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::programs;

/// The admin program, pointed at one node.
#[derive(Clone, Debug)]
pub struct Admin {
    program: PathBuf,
    server: String,
}

/// What a call printed and how it ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The exit code; -1 if a signal ended it.
    pub code: i32,
    /// The data.
    pub stdout: String,
    /// Everything else.
    pub stderr: String,
}

impl Admin {
    /// The admin program for the node whose admin address is `server`.
    ///
    /// # Errors
    /// If the program is missing.
    pub fn at(server: &str) -> Result<Self> {
        Ok(Self { program: programs::program("simplekv-admin")?, server: server.to_owned() })
    }

    /// Calls it with the words of `line` as arguments, whatever comes of it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn call(&self, line: &str) -> Result<Outcome> {
        let mut command = Command::new(&self.program);
        command.args(["--server", &self.server]).args(line.split_whitespace()).kill_on_drop(true);
        let output = command.output().await.with_context(|| format!("starting {}", self.program.display()))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        Ok(Outcome { code, stdout: text(output.stdout), stderr: text(output.stderr) })
    }

    /// Calls it and returns what it printed.
    ///
    /// # Errors
    /// If it ended with anything but 0.
    pub async fn run(&self, line: &str) -> Result<String> {
        let outcome = self.call(line).await?;
        ensure!(outcome.code == 0, "simplekv-admin {line} ended with {}: {}", outcome.code, outcome.stderr);
        Ok(outcome.stdout)
    }

    /// Calls it with `--json` and returns the document.
    ///
    /// # Errors
    /// If it ended with anything but 0 or printed something else.
    pub async fn json(&self, line: &str) -> Result<Value> {
        let text = self.run(&format!("{line} --json")).await?;
        serde_json::from_str(&text).with_context(|| text.clone())
    }
}
