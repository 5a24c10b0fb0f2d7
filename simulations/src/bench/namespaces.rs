//! Hosts of their own on Linux: a network namespace for each node, joined by one switch, whose counters are those of the kernel.
//!
//! The command runs itself again inside new network, mount and process namespaces; whatever happens to it, the kernel removes all
//! that it made there.

use std::process::Command;

use super::peers::Ground;
use crate::Error;

/// Set in the inner run.
const INSIDE: &str = "FEDSWARM_BENCH_INSIDE";

/// Programs that come with every Linux that has `ip`.
const UNSHARE: [&str; 5] = ["--net", "--mount", "--pid", "--fork", "--kill-child"];

/// What somebody without privileges needs as well: to be root among its own.
const AS_ROOT: [&str; 2] = ["--user", "--map-root-user"];

/// Names of namespaces live under `/run`, and `/proc` must be of the new process namespace.
const PREPARE: &str = "set -e
mount -t tmpfs none /run
mount -t proc none /proc
mkdir /run/netns
ip link add name switch type bridge
ip addr add 192.0.2.254/24 dev switch
ip link set switch up
ip link set lo up
";

/// Runs this command again, with the same arguments, in namespaces of its own; true if this is that inner run already, and the
/// output of the outer one is done when it returns false.
///
/// # Errors
/// [`Error::Run`] where there are no namespaces, with what the system says.
pub fn enter() -> Result<bool, Error> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(true);
    }
    let program = std::env::current_exe().map_err(|e| Error::Run(e.to_string()))?;
    let mut reasons = Vec::new();
    for extra in [&[][..], &AS_ROOT] {
        let probe = Command::new("unshare").args(UNSHARE).args(extra).args(["--", "sh", "-c", PREPARE]).output();
        match probe {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                reasons.push(String::from_utf8_lossy(&output.stderr).trim().to_owned());
                continue;
            }
            Err(error) => {
                reasons.push(format!("unshare: {error}"));
                continue;
            }
        }
        let script = format!("{PREPARE}exec \"$0\" \"$@\"");
        let mut command = Command::new("unshare");
        command.args(UNSHARE).args(extra).args(["--", "sh", "-c", &script]).arg(&program);
        let status = command.args(std::env::args_os().skip(1)).env(INSIDE, "1").status();
        return match status {
            Ok(status) if status.success() => Ok(false),
            Ok(status) => Err(Error::Run(format!("it failed in its namespaces: {status}"))),
            Err(error) => Err(Error::Run(format!("unshare: {error}"))),
        };
    }
    Err(Error::Run(format!("no network namespaces here, so nobody else can count: {}", reasons.join("; "))))
}

fn run(words: &[&str]) -> Result<(), Error> {
    let output = Command::new(words[0]).args(&words[1..]).output();
    let output = output.map_err(|e| Error::Run(format!("{}: {e}", words.join(" "))))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Run(format!("{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim())))
}

/// Hosts on one switch.
#[derive(Debug)]
pub struct Hosts {
    count: usize,
}

impl Hosts {
    /// Makes so many hosts; what earlier ones left is removed.
    ///
    /// # Errors
    /// [`Error::Run`] with what `ip` says.
    pub fn new(count: usize) -> Result<Self, Error> {
        for node in 0..count {
            let (host, port) = (host(node), port(node));
            run(&["ip", "netns", "add", &host])?;
            run(&["ip", "link", "add", "name", &port, "type", "veth", "peer", "name", "eth0", "netns", &host])?;
            run(&["ip", "link", "set", &port, "master", "switch", "up"])?;
            run(&["ip", "-n", &host, "addr", "add", &format!("192.0.2.{}/24", node + 1), "dev", "eth0"])?;
            run(&["ip", "-n", &host, "link", "set", "eth0", "up"])?;
            run(&["ip", "-n", &host, "link", "set", "lo", "up"])?;
        }
        Ok(Self { count })
    }

    /// Bytes that all hosts together have put on their cables, frames and all, as the kernel counts them on the switch's side.
    ///
    /// # Errors
    /// [`Error::Run`] if the counters cannot be read.
    pub fn sent_bytes(&self) -> Result<u64, Error> {
        let text = std::fs::read_to_string("/proc/net/dev").map_err(|e| Error::Run(format!("/proc/net/dev: {e}")))?;
        let counts = text.lines().filter_map(|line| {
            let (name, counts) = line.split_once(':')?;
            let known = name.trim().strip_prefix("port")?.parse::<usize>().ok()? < self.count;
            // What the switch receives from a host.
            if known { counts.split_whitespace().next()?.parse::<u64>().ok() } else { None }
        });
        Ok(counts.sum())
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for node in 0..self.count {
            // The kernel would remove the cable with its host, but takes its time: the next one of that name may come first.
            drop(run(&["ip", "link", "del", &port(node)]));
            drop(run(&["ip", "netns", "del", &host(node)]));
        }
    }
}

fn host(node: usize) -> String {
    format!("host{node}")
}

fn port(node: usize) -> String {
    format!("port{node}")
}

impl Ground for Hosts {
    fn wrapper(&self, node: usize) -> Vec<String> {
        ["ip", "netns", "exec", &host(node)].map(str::to_owned).to_vec()
    }

    /// From the block for documentation, so that it is nobody's.
    fn listen(&self, node: usize) -> String {
        format!("/ip4/192.0.2.{}/tcp/0", node + 1)
    }

    fn entry(&self) -> String {
        "/ip4/192.0.2.254/tcp/0".to_owned()
    }
}
