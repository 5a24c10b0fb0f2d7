//! Machines of their own: a network namespace for each host, joined by two switches between which hosts can be moved.
//!
//! A test that needs them runs itself again inside new network, mount and process namespaces. Whatever happens to it, the
//! kernel removes all that it made there, processes included.

use std::process::{Command, Output};

use crate::network::{NODES, Place, turn};

/// Set in the inner run of a test.
const INSIDE: &str = "FEDSWARM_TEST_WORLD";

/// Programs that come with every Linux that has `ip`.
const UNSHARE: [&str; 5] = ["--net", "--mount", "--pid", "--fork", "--kill-child"];

/// What somebody without privileges needs as well: to be root among its own.
const AS_ROOT: [&str; 2] = ["--user", "--map-root-user"];

/// Names of namespaces live under `/run`, which must be this world's own. The last line tells whether it can have what it needs.
const PREPARE: &str = "set -e
mount -t tmpfs none /run
mkdir /run/netns
ip netns add probe
ip link add name probe0 type veth peer name eth0 netns probe
ip link add name probe1 type bridge
ip link del probe0
ip link del probe1
ip netns exec probe true
ip netns del probe
";

/// `/proc` of this world's processes, and not of those with the same numbers outside.
const PROC: &str = "mount -t proc proc /proc\n";

/// What some tests need beyond namespaces. Its probe fails where the kernel or iptables lacks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing more.
    Namespaces,
    /// Routers that translate addresses.
    Translation,
    /// Packets that get lost, and a link with a limit.
    Hindrance,
    /// What `/proc` says of processes.
    Processes,
}

impl Needs {
    const fn probe(self) -> &'static str {
        match self {
            Self::Namespaces => "",
            Self::Translation => {
                "iptables -w -t nat -A POSTROUTING -o lo -j MASQUERADE --random-fully
iptables -w -t nat -A PREROUTING -i lo -p udp --dport 9 -j DNAT --to 127.0.0.1
iptables -w -t nat -F
sysctl -q -w net.ipv4.ip_forward=1
"
            }
            Self::Hindrance => {
                "iptables -w -A INPUT -m statistic --mode random --probability 0.1 -j DROP
iptables -w -F
tc qdisc add dev lo root tbf rate 1mbit burst 16kb latency 200ms
tc qdisc del dev lo root
"
            }
            Self::Processes => PROC,
        }
    }

    /// What a world has that needs it.
    const fn prepare(self) -> &'static str {
        if matches!(self, Self::Processes) { PROC } else { "" }
    }
}

pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let output = Command::new(words[0]).args(&words[1..]).output().map_err(|e| format!("{}: {e}", words[0]))?;
    said(&output).map_err(|text| format!("{}: {text}", words.join(" ")))
}

fn said(output: &Output) -> Result<(), String> {
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

/// Runs a test in a world of its own, or says why it cannot. The test is told by its path in this program.
pub(crate) fn within(test: &str, needs: Needs, body: impl FnOnce(&World)) {
    within_of(NODES + 1, test, needs, body);
}

/// The same with so many hosts.
pub(crate) fn within_of(hosts: usize, test: &str, needs: Needs, body: impl FnOnce(&World)) {
    alone(test, needs, || body(&World::new(hosts)));
}

/// Runs a test in namespaces where there is nothing yet, or says why it cannot. The test is told by its path in this program.
pub(crate) fn alone(test: &str, needs: Needs, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let _turn = turn();
    let mut reasons = Vec::new();
    for extra in [&[][..], &AS_ROOT] {
        let unshare = || {
            let mut command = Command::new("unshare");
            command.args(UNSHARE).args(extra).arg("--");
            command
        };
        let probe = unshare()
            .args(["sh", "-c", &[PREPARE, needs.probe()].concat()])
            .output()
            .map_err(|e| format!("unshare: {e}"));
        if let Err(reason) = probe.and_then(|output| said(&output)) {
            reasons.push(reason);
            continue;
        }
        let script = format!("{PREPARE}{}exec \"$0\" \"$@\"", needs.prepare());
        let mut command = unshare();
        command.args(["sh", "-c", &script]).arg(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--include-ignored", "--nocapture", "--test-threads", "1"]).env(INSIDE, "1");
        let output = command.output().unwrap();
        println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "it failed in its world");
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "there is no test {test}");
        return;
    }
    // To the terminal, past the capture of output: somebody should know that this was not tested.
    let text = format!("SKIPPED {test}: what it needs is not to be had here: {}\n", reasons.join("; "));
    drop(std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()));
}

/// The two sides of a split.
const SWITCHES: [&str; 2] = ["left", "right"];

/// Hosts with a cable each, plugged into one of two switches.
#[derive(Debug)]
pub(crate) struct World {
    hosts: usize,
}

impl World {
    fn new(hosts: usize) -> Self {
        let must = |words: &[&str]| run(words).unwrap();
        for switch in SWITCHES {
            must(&["ip", "link", "add", "name", switch, "type", "bridge"]);
            must(&["ip", "link", "set", switch, "up"]);
        }
        for number in 0..hosts {
            let (host, port) = (host(number), port(number));
            must(&["ip", "netns", "add", &host]);
            must(&["ip", "link", "add", "name", &port, "type", "veth", "peer", "name", "eth0", "netns", &host]);
            must(&["ip", "link", "set", &port, "master", SWITCHES[0], "up"]);
            let inside = |words: &[&str]| must(&[&["ip", "-n", &host], words].concat());
            inside(&["addr", "add", &format!("{}/24", address(number)), "dev", "eth0"]);
            inside(&["link", "set", "eth0", "up"]);
            inside(&["link", "set", "lo", "up"]);
            // As every host in a local network has; without one, nothing is sent to a multicast address.
            inside(&["route", "add", "default", "dev", "eth0"]);
        }
        Self { hosts }
    }

    /// Gives a host another address, of another network; by their default routes all still reach each other.
    pub(crate) fn renumber(&self, number: usize, address: &str) {
        let inside = |words: &[&str]| run(&[&["ip", "-n", &host(number)], words].concat()).unwrap();
        inside(&["addr", "flush", "dev", "eth0"]);
        inside(&["addr", "add", &format!("{address}/24"), "dev", "eth0"]);
        inside(&["route", "replace", "default", "dev", "eth0"]);
    }

    /// Puts the cables of these nodes into the other switch: between the sides every packet is lost, and nobody is told.
    pub(crate) fn split(&self, away: &[usize]) {
        for node in away {
            run(&["ip", "link", "set", &port(*node), "master", SWITCHES[1]]).unwrap();
        }
    }

    /// Everybody can reach everybody again.
    pub(crate) fn heal(&self) {
        for number in 0..self.hosts {
            run(&["ip", "link", "set", &port(number), "master", SWITCHES[0]]).unwrap();
        }
    }

    /// Adds a rule to a node's firewall.
    ///
    /// # Errors
    /// What iptables says, if there is none or the kernel lacks what the rule needs.
    pub(crate) fn firewall(&self, node: usize, rule: &[&str]) -> Result<(), String> {
        run(&[&["ip", "netns", "exec", &host(node), "iptables", "-w", "-A"], rule].concat())
    }

    /// Takes a node's rules and its limit away.
    pub(crate) fn unhinder(&self, node: usize) {
        run(&["ip", "netns", "exec", &host(node), "iptables", "-w", "-F"]).unwrap();
        // Not every node has a limit.
        drop(run(&["tc", "-n", &host(node), "qdisc", "del", "dev", "eth0", "root"]));
    }

    /// What a node sends is limited to this rate.
    ///
    /// # Errors
    /// What tc says.
    pub(crate) fn limit(&self, node: usize, rate: &str) -> Result<(), String> {
        let tbf = ["tbf", "rate", rate, "burst", "16kb", "latency", "200ms"];
        run(&[&["tc", "-n", &host(node), "qdisc", "add", "dev", "eth0", "root"], &tbf[..]].concat())
    }
}

pub(crate) fn host(number: usize) -> String {
    format!("host{number}")
}

fn port(number: usize) -> String {
    format!("port{number}")
}

/// From the block for documentation, so that it is nobody's.
pub(crate) fn address(number: usize) -> String {
    format!("192.0.2.{}", number + 1)
}

impl Place for World {
    fn wrapper(&self, number: usize) -> Vec<String> {
        ["ip", "netns", "exec", &host(number)].map(str::to_owned).to_vec()
    }

    fn listen(&self, number: usize) -> Vec<String> {
        vec![format!("/ip4/{}/tcp/0", address(number))]
    }
}
