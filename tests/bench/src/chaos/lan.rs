//! A network of one machine: a namespace for each host, a bridge between them, and links that can be cut.
//!
//! A cut is a rule on the bridge that drops what one host sends to another; each direction has its own. Connections stay open, as on a
//! network that is broken: nobody is told. The rules count, so a cut that stopped nothing is known to have been none.

use std::net::Ipv4Addr;
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};

/// What all names begin with that this leaves on the machine while it runs.
const PREFIX: &str = "skvchaos";
/// The namespace of the bridge.
const BRIDGE: &str = "lan";
/// Addresses that are set aside for such experiments (RFC 2544).
const NETWORK: [u8; 3] = [198, 18, 77];
/// What the clients are on the network.
pub(crate) const CLIENTS: Host = Host { name: "clients", number: 1 };

/// A participant of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// Unique, short, and fit for the name of an interface.
    pub(crate) name: &'static str,
    /// The last part of its address.
    pub(crate) number: u8,
}

/// The network. Dropping it removes everything that belongs to it.
#[derive(Debug)]
pub(crate) struct Lan {
    hosts: Vec<Host>,
}

/// A direction between two hosts in which nothing gets through.
#[derive(Debug)]
pub(crate) struct Cut {
    /// The number of its rule.
    handle: u64,
}

impl Host {
    pub(crate) fn address(self) -> Ipv4Addr {
        let [a, b, c] = NETWORK;
        Ipv4Addr::new(a, b, c, self.number)
    }

    /// The beginning of a command line that runs the rest on this host.
    pub(crate) fn enter(self) -> Vec<String> {
        ["netns".to_owned(), "exec".to_owned(), namespace(self.name)].into()
    }
}

fn namespace(name: &str) -> String {
    format!("{PREFIX}-{name}")
}

/// Says what is missing for namespaces.
pub(crate) fn require() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "chaos needs root: every node gets a network namespace of its own. Run it as root, or with sudo"
    );
    for program in ["ip", "nft"] {
        let found = Command::new(program).arg("-V").output();
        ensure!(
            found.is_ok(),
            "chaos needs the program `{program}` (Debian, Ubuntu: apt-get install iproute2 nftables)"
        );
    }
    let trial = format!("{PREFIX}-trial");
    let _ = run("ip", &["netns", "del", &trial]);
    ip(&format!("netns add {trial}")).context("chaos needs network namespaces, and may not make one here")?;
    let rules = run("ip", &["netns", "exec", &trial, "nft", "add", "table", "bridge", "chaos"]);
    ip(&format!("netns del {trial}"))?;
    rules.context("chaos needs nftables rules for bridges, and cannot make one here")?;
    Ok(())
}

impl Lan {
    /// A network of these hosts and the clients, who stay where this program runs.
    pub(crate) fn create(hosts: &[Host]) -> Result<Self> {
        let lan = Self { hosts: hosts.to_vec() };
        // What a run left behind that was killed. Only one runs at a time.
        lan.remove();
        let bridge = namespace(BRIDGE);
        ip(&format!("netns add {bridge}"))?;
        ip(&format!("-n {bridge} link add name lan0 type bridge"))?;
        ip(&format!("-n {bridge} link set dev lan0 up"))?;
        for host in hosts {
            let (name, own) = (host.name, namespace(host.name));
            ip(&format!("netns add {own}"))?;
            ip(&format!("-n {bridge} link add name {name} type veth peer name eth0 netns {own}"))?;
            ip(&format!("-n {bridge} link set dev {name} master lan0 up"))?;
            ip(&format!("-n {own} addr add {}/24 dev eth0", host.address()))?;
            ip(&format!("-n {own} link set dev eth0 up"))?;
            ip(&format!("-n {own} link set dev lo up"))?;
        }
        let name = CLIENTS.name;
        ip(&format!("link add name {PREFIX} type veth peer name {name} netns {bridge}"))?;
        ip(&format!("-n {bridge} link set dev {name} master lan0 up"))?;
        ip(&format!("addr add {}/24 dev {PREFIX}", CLIENTS.address()))?;
        ip(&format!("link set dev {PREFIX} up"))?;
        nft("add table bridge chaos")?;
        nft("add chain bridge chaos forward { type filter hook forward priority 0; policy accept; }")?;
        Ok(lan)
    }

    /// Lets nothing through from one host to another.
    pub(crate) fn cut(&self, from: Host, to: Host) -> Result<Cut> {
        let (from, to) = (from.address(), to.address());
        let rule = format!("add rule bridge chaos forward ip saddr {from} ip daddr {to} counter drop");
        let answer = nft(&format!("--echo --handle {rule}"))?;
        let handle = answer.split("# handle ").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        Ok(Cut { handle: handle.with_context(|| format!("nft has told no handle: {answer}"))? })
    }

    /// Lets everything through again; how many packets had been stopped.
    pub(crate) fn heal(&self, cut: Cut) -> Result<u64> {
        let rules = nft("--handle list chain bridge chaos forward")?;
        let end = format!("# handle {}", cut.handle);
        let rule = rules.lines().find(|line| line.trim_end().ends_with(&end)).context("the cut is gone")?;
        let stopped = rule.split("packets ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        nft(&format!("delete rule bridge chaos forward handle {}", cut.handle))?;
        stopped.with_context(|| format!("nft has told no count: {rule}"))
    }

    /// Removes what there is, as far as there is any.
    fn remove(&self) {
        for name in self.hosts.iter().map(|host| host.name).chain([BRIDGE]) {
            let namespace = namespace(name);
            // Processes in it keep a namespace alive beyond its name.
            let pids = run("ip", &["netns", "pids", &namespace]).unwrap_or_default();
            let pids = pids.split_whitespace().filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?));
            for pid in pids {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            let _ = run("ip", &["netns", "del", &namespace]);
        }
        // Gone with its other end, sooner or later.
        let _ = run("ip", &["link", "del", "dev", PREFIX]);
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        self.remove();
    }
}

fn ip(line: &str) -> Result<String> {
    run("ip", &line.split(' ').collect::<Vec<_>>())
}

/// Runs nft where the bridge is.
fn nft(line: &str) -> Result<String> {
    let bridge = namespace(BRIDGE);
    let mut args = vec!["netns", "exec", &bridge, "nft"];
    args.extend(line.split(' '));
    run("ip", &args)
}

fn run(program: &str, args: &[&str]) -> Result<String> {
    let output: Output = Command::new(program).args(args).output().with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("{program} {}: {}", args.join(" "), said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
