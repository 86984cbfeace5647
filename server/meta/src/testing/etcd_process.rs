//! Real etcd processes, to be killed, paused and restarted.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// Generous: several clusters may start at once on a small machine.
const HEALTHY_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Ports are taken from below the range the system gives to outgoing connections: a killed member gets its port back.
const FIRST_PORT: u16 = 12_000;
const PORTS: u16 = 18_000;

/// Why etcd could not be started.
#[derive(Debug, thiserror::Error)]
pub enum EtcdProcessError {
    /// There is no such program.
    #[error(
        "`{program}` is not installed. Install it (Debian, Ubuntu: `apt-get install etcd-server`; elsewhere the release of \
         etcd 3.4 or later), or name the program in SIMPLEKV_ETCD"
    )]
    NotInstalled {
        /// What was looked for.
        program: String,
    },
    /// The operating system refused.
    #[error("cannot run etcd: {0}")]
    Io(#[from] io::Error),
    /// It ended, or did not become healthy in time.
    #[error("etcd at {endpoint} did not become healthy; the end of its log:\n{log}")]
    NotHealthy {
        /// The member.
        endpoint: String,
        /// Its last words.
        log: String,
    },
}

/// An etcd cluster of this machine with data in a temporary directory. Everything ends and is removed when it is dropped.
///
/// Members are numbered from 0. Elections take half a second at most, so that sessions can be as short as one second.
#[derive(Debug)]
pub struct EtcdCluster {
    members: Vec<Member>,
    dir: TempDir,
}

/// What the members of a cluster had stored at some time.
#[derive(Debug)]
pub struct EtcdBackup {
    dir: TempDir,
}

#[derive(Debug)]
struct Member {
    client_port: u16,
    peer_port: u16,
    process: Option<Child>,
}

impl EtcdCluster {
    /// Starts a cluster of so many members, at least one, and waits until it is healthy.
    ///
    /// # Errors
    /// [`EtcdProcessError`]; its text is meant for the person who runs the tests.
    pub async fn start(members: usize) -> Result<Self, EtcdProcessError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let result = Self::try_start(members.max(1)).await;
            // Somebody may have taken a port between its choice and its use.
            let is_taken = matches!(&result, Err(EtcdProcessError::NotHealthy { log, .. }) if log.contains("address already in use"));
            if !is_taken || attempts == 3 {
                return result;
            }
        }
    }

    async fn try_start(members: usize) -> Result<Self, EtcdProcessError> {
        let dir = tempfile::Builder::new().prefix("simplekv-etcd-").tempdir()?;
        let ports = free_ports(2 * members)?;
        let members = ports
            .chunks_exact(2)
            .filter_map(|pair| match pair {
                &[client_port, peer_port] => Some(Member { client_port, peer_port, process: None }),
                _ => None,
            })
            .collect();
        let mut cluster = Self { members, dir };
        cluster.restart_all().await?;
        Ok(cluster)
    }

    /// How many members there are, running or not.
    #[must_use]
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// The client addresses of all members, as `host:port`. They never change.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(Member::endpoint).collect()
    }

    /// Kills a member as `kill -9` does. No effect if it does not run.
    ///
    /// # Panics
    /// If there is no such member.
    pub fn kill(&mut self, member: usize) {
        self.member(member).kill();
    }

    /// Kills all members.
    pub fn kill_all(&mut self) {
        self.members.iter_mut().for_each(Member::kill);
    }

    /// Stops a member in its tracks: its connections stay open and nothing is answered. It has stopped when this returns.
    ///
    /// # Panics
    /// If there is no such member.
    pub fn pause(&mut self, member: usize) {
        self.member(member).stop();
    }

    /// Lets a paused member go on.
    ///
    /// # Panics
    /// If there is no such member.
    pub fn resume(&mut self, member: usize) {
        self.member(member).signal(Signal::CONT);
    }

    /// Starts a member on the data it had, killing it first if it runs, and waits until it is healthy, for which it needs a
    /// majority.
    ///
    /// # Errors
    /// [`EtcdProcessError`].
    ///
    /// # Panics
    /// If there is no such member.
    pub async fn restart(&mut self, member: usize) -> Result<(), EtcdProcessError> {
        self.spawn(member)?;
        self.wait_healthy(member).await
    }

    /// Starts all members on the data they had, killing them first, and waits until they are healthy.
    ///
    /// # Errors
    /// [`EtcdProcessError`].
    pub async fn restart_all(&mut self) -> Result<(), EtcdProcessError> {
        for member in 0..self.members.len() {
            self.spawn(member)?;
        }
        for member in 0..self.members.len() {
            self.wait_healthy(member).await?;
        }
        Ok(())
    }

    /// Kills all members, throws their data away and starts an empty cluster on the same addresses: what a client sees of a store
    /// that was restored from an old backup.
    ///
    /// # Errors
    /// [`EtcdProcessError`].
    pub async fn restart_empty(&mut self) -> Result<(), EtcdProcessError> {
        self.kill_all();
        for member in 0..self.members.len() {
            std::fs::remove_dir_all(self.data(member))?;
        }
        self.restart_all().await
    }

    /// Kills all members and copies what they have stored: a backup.
    ///
    /// # Errors
    /// [`EtcdProcessError::Io`].
    pub fn save(&mut self) -> Result<EtcdBackup, EtcdProcessError> {
        self.kill_all();
        let dir = tempfile::Builder::new().prefix("simplekv-etcd-backup-").tempdir()?;
        for member in 0..self.members.len() {
            copy_dir(&self.data(member), &dir.path().join(format!("m{member}")))?;
        }
        Ok(EtcdBackup { dir })
    }

    /// Kills all members and puts a backup in the place of their data; start them again afterwards.
    ///
    /// # Errors
    /// [`EtcdProcessError::Io`].
    pub fn restore(&mut self, backup: &EtcdBackup) -> Result<(), EtcdProcessError> {
        self.kill_all();
        for member in 0..self.members.len() {
            std::fs::remove_dir_all(self.data(member))?;
            copy_dir(&backup.dir.path().join(format!("m{member}")), &self.data(member))?;
        }
        Ok(())
    }

    fn member(&mut self, member: usize) -> &mut Member {
        let size = self.members.len();
        self.members.get_mut(member).unwrap_or_else(|| panic!("there is no member {member} of {size}"))
    }

    fn data(&self, member: usize) -> PathBuf {
        self.dir.path().join(format!("m{member}"))
    }

    fn log(&self, member: usize) -> PathBuf {
        self.dir.path().join(format!("m{member}.log"))
    }

    fn spawn(&mut self, member: usize) -> Result<(), EtcdProcessError> {
        let peers: Vec<String> = self
            .members
            .iter()
            .enumerate()
            .map(|(n, member)| format!("m{n}=http://127.0.0.1:{}", member.peer_port))
            .collect();
        let (data, log) = (self.data(member), File::options().create(true).append(true).open(self.log(member))?);
        let this = self.member(member);
        this.kill();
        let (client, peer) = (format!("http://{}", this.endpoint()), format!("http://127.0.0.1:{}", this.peer_port));
        let program = std::env::var_os("SIMPLEKV_ETCD").unwrap_or_else(|| OsString::from("etcd"));
        let mut command = Command::new(&program);
        command
            .env_clear() // ETCD_* variables would be options
            .args(["--name", &format!("m{member}")])
            .arg("--data-dir")
            .arg(data)
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &peers.join(","), "--initial-cluster-state", "new"])
            .args(["--heartbeat-interval", "50", "--election-timeout", "500"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let process = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                EtcdProcessError::NotInstalled { program: program.to_string_lossy().into_owned() }
            }
            _ => EtcdProcessError::Io(error),
        })?;
        this.process = Some(process);
        Ok(())
    }

    async fn wait_healthy(&mut self, member: usize) -> Result<(), EtcdProcessError> {
        let endpoint = self.member(member).endpoint();
        let deadline = Instant::now() + HEALTHY_WITHIN;
        while !is_healthy(&endpoint).await {
            if Instant::now() > deadline || !self.member(member).is_running() {
                return Err(EtcdProcessError::NotHealthy { endpoint, log: end_of(&self.log(member)) });
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

impl Member {
    fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Both fail only if it has ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    fn stop(&mut self) {
        self.signal(Signal::STOP);
        if let Some(pid) = self.process.as_ref().map(Pid::from_child) {
            let ended_or_stopped = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            // An error would mean that there is nothing to wait for.
            let _ = waitid(WaitId::Pid(pid), ended_or_stopped);
        }
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(pid) = self.process.as_ref().map(Pid::from_child) {
            // Fails only if it has ended already; it is not reaped, so the number is not another's.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Asks etcd's health page, which reads linearizably itself.
async fn is_healthy(endpoint: &str) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(endpoint).await?;
        stream.write_all(format!("GET /health HTTP/1.0\r\nHost: {endpoint}\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        io::Result::Ok(answer)
    };
    matches!(timeout(Duration::from_secs(2), ask).await, Ok(Ok(answer)) if answer.contains(r#""health":"true""#))
}

/// Ports nobody listens on. Test processes that run at once begin at different places.
fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let origin = u16::try_from(std::process::id() % u32::from(PORTS)).unwrap_or(0).wrapping_mul(97) % PORTS;
    let mut listeners = Vec::new();
    for _ in 0..PORTS {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % PORTS;
        let port = FIRST_PORT + (origin + step) % PORTS;
        // Held until all are found, so that none is found twice.
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            listeners.push((port, listener));
        }
        if listeners.len() == count {
            return Ok(listeners.into_iter().map(|(port, _)| port).collect());
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no free ports"))
}

fn end_of(log: &Path) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(15)).copied().collect::<Vec<_>>().join("\n")
}
