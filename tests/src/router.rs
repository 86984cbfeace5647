//! One `simplekv-router`.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::node::{Settings, write_config};
use crate::process::Process;
use crate::{ports, programs, wait};

/// A router and its addresses.
#[derive(Debug)]
pub struct Router {
    /// The process.
    pub process: Process,
    /// Address of the Redis protocol.
    pub resp: String,
    /// Address of the HTTP interface.
    pub http: String,
    /// Address for gRPC.
    pub grpc: String,
}

impl Router {
    /// Starts a router that finds the cluster through `seeds` (gRPC addresses of nodes) and waits until it accepts connections. Its
    /// configuration says `settings` beyond the defaults.
    ///
    /// # Errors
    /// If its program is missing or it does not come up.
    pub async fn start(dir: &Path, seeds: &[String], settings: &Settings) -> Result<Self> {
        let [resp, http, grpc] = ports::free_ports().map(|port: u16| format!("127.0.0.1:{port}"));
        let file = dir.join("router.toml");
        let mut all: Settings = vec![
            ("listen", "resp", resp.clone().into()),
            ("listen", "http", http.clone().into()),
            ("listen", "grpc", grpc.clone().into()),
            ("cluster", "seeds", seeds.to_vec().into()),
            ("log", "format", "pretty".into()),
        ];
        all.extend(settings.iter().cloned());
        write_config(&file, &all)?;
        let program = programs::program("simplekv-router")?;
        let mut process = Process::new("router", program, ["--config".into(), file], &dir.join("router.log"));
        process.start()?;
        let connects = async || tokio::net::TcpStream::connect(&resp).await.ok();
        wait::at_most(Duration::from_secs(30), "the router accepts connections", connects).await?;
        Ok(Self { process, resp, http, grpc })
    }
}
