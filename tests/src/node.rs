//! One `simplekv-server` with its configuration file and its disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use simplekv_types::NodeId;

use crate::process::Process;
use crate::{ports, programs};

/// Values of the configuration file that differ from the defaults, by section and key.
pub type Settings = Vec<(&'static str, &'static str, toml::Value)>;

/// How long a node may take to hand over its leaderships and end.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A node. Its addresses and its disk stay the same over restarts.
#[derive(Debug)]
pub struct Node {
    /// Its number in the cluster.
    pub id: NodeId,
    /// The process, to be killed, paused and started again.
    pub process: Process,
    /// Address of the data lanes.
    pub grpc: String,
    /// Address of the Redis protocol.
    pub resp: String,
    /// Address of the admin service.
    pub admin: String,
    disk: PathBuf,
}

impl Node {
    /// A node below `dir` that has not been started.
    ///
    /// # Errors
    /// If its program is missing or its configuration cannot be written.
    pub fn new(dir: &Path, id: NodeId, etcd: Vec<String>, settings: &Settings) -> Result<Self> {
        let [grpc, resp, admin] = ports::free_ports().map(|port: u16| format!("127.0.0.1:{port}"));
        let disk = dir.join(id.to_string());
        let file = dir.join(format!("{id}.toml"));
        let mut all: Settings = vec![
            ("node", "id", i64::from(id.0).into()),
            ("listen", "grpc", grpc.clone().into()),
            ("listen", "resp", resp.clone().into()),
            ("listen", "admin", admin.clone().into()),
            ("etcd", "endpoints", etcd.into()),
            ("storage", "dir", disk.display().to_string().into()),
            ("log", "format", "pretty".into()),
        ];
        all.extend(settings.iter().cloned());
        write_config(&file, &all)?;
        let log = dir.join(format!("{id}.log"));
        let process =
            Process::new(&id.to_string(), programs::program("simplekv-server")?, ["--config".into(), file], &log);
        Ok(Self { id, process, grpc, resp, admin, disk })
    }

    /// The data directory.
    #[must_use]
    pub fn disk(&self) -> &Path {
        &self.disk
    }

    /// Lets the node hand over its leaderships and end.
    ///
    /// # Errors
    /// If it does not end in time, or ends with an error.
    pub fn stop(&mut self) -> Result<()> {
        let status = self.process.stop(STOP_LIMIT)?;
        anyhow::ensure!(status.success(), "{} ended with {status}", self.id);
        Ok(())
    }

    /// Removes everything the node has stored. The node must not be running.
    ///
    /// # Errors
    /// If it runs, or the system refuses.
    pub fn wipe_disk(&mut self) -> Result<()> {
        anyhow::ensure!(!self.process.is_running(), "{} is running", self.id);
        fs::remove_dir_all(&self.disk).with_context(|| self.disk.display().to_string())
    }
}

/// Writes settings as the sections of a configuration file. Of two values of a key the later counts.
pub(crate) fn write_config(file: &Path, settings: &Settings) -> Result<()> {
    let mut config = toml::Table::new();
    for (section, key, value) in settings {
        let section = config.entry(*section).or_insert_with(|| toml::Table::new().into());
        section.as_table_mut().context("sections are tables")?.insert((*key).to_owned(), value.clone());
    }
    fs::write(file, toml::to_string(&config)?).with_context(|| file.display().to_string())
}
