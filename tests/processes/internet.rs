//! Sites behind routers that translate addresses, and an entry point outside.
//!
//! ```text
//!   host0 host1        host2 host3            host4
//!      \ /                \ /                   |
//!    router0            router1                 |         entry
//!       |                  |                    |           |
//!   ----+------------------+---- internet ------+-----------+----   203.0.113.0/24
//! ```
//!
//! Every site uses the same private addresses, as homes do.

use crate::network::Place;
use crate::world::{host, run};

/// What stands between a site and the internet. Linux keeps a port if it can, and lets in only what answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nat {
    /// Nothing: hosts have addresses of their own.
    Public,
    /// Whoever knows the address of a mapping gets in.
    FullCone,
    /// One mapping for all destinations; only those who were written to get in.
    PortRestricted,
    /// A mapping for each destination, at a port that nobody can foretell.
    Symmetric,
}

/// How long a packet is on its way from a site to the internet; half a round trip between sites is twice that.
const DELAY: &str = "5ms";

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Internet {
    /// The site of each host.
    sites: Vec<usize>,
    nats: Vec<Nat>,
}

fn must(words: &[&str]) {
    run(words).unwrap();
}

fn router(site: usize) -> String {
    format!("router{site}")
}

/// Adds a cable from a namespace, where its end is called `name`, to a bridge in this one.
fn plug(space: &str, name: &str, number: usize, bridge: &str) {
    let port = format!("{bridge}{number}");
    must(&["ip", "link", "add", "name", &port, "type", "veth", "peer", "name", name, "netns", space]);
    must(&["ip", "link", "set", &port, "master", bridge, "up"]);
}

fn address(space: &str, device: &str, address: &str) {
    must(&["ip", "-n", space, "addr", "add", &format!("{address}/24"), "dev", device]);
    must(&["ip", "-n", space, "link", "set", device, "up"]);
    must(&["ip", "-n", space, "link", "set", "lo", "up"]);
}

fn port(number: usize) -> usize {
    4100 + number
}

impl Internet {
    /// Sites, each with a kind of router and so many hosts.
    pub(crate) fn new(wanted: &[(Nat, usize)]) -> Self {
        must(&["ip", "link", "add", "name", "wan", "type", "bridge"]);
        must(&["ip", "link", "set", "wan", "up"]);
        let (mut sites, mut nats) = (Vec::new(), Vec::new());
        for (site, (nat, hosts)) in wanted.iter().enumerate() {
            nats.push(*nat);
            let first = sites.len();
            sites.extend(std::iter::repeat_n(site, *hosts));
            if *nat == Nat::Public {
                (first..first + hosts).for_each(|number| Self::public(&host(number), number, 100 + number));
            } else {
                Self::site(site, *nat, first..first + hosts);
            }
        }
        Self::public(&host(sites.len()), sites.len(), 1);
        Self { sites, nats }
    }

    fn public(space: &str, number: usize, last: usize) {
        must(&["ip", "netns", "add", space]);
        plug(space, "eth0", 200 + number, "wan");
        address(space, "eth0", &format!("203.0.113.{last}"));
        Self::delay(space, "eth0");
    }

    /// Not every kernel has it; without it, sites are as near to each other as hosts.
    fn delay(space: &str, device: &str) {
        if let Err(reason) = run(&["tc", "-n", space, "qdisc", "add", "dev", device, "root", "netem", "delay", DELAY]) {
            eprintln!("no delay on {space}: {reason}");
        }
    }

    fn site(site: usize, nat: Nat, hosts: std::ops::Range<usize>) {
        let (router, lan) = (router(site), format!("lan{site}x"));
        must(&["ip", "netns", "add", &router]);
        plug(&router, "outside", site, "wan");
        address(&router, "outside", &format!("203.0.113.{}", 10 + site));
        Self::delay(&router, "outside");
        must(&["ip", "link", "add", "name", &lan, "type", "bridge"]);
        must(&["ip", "link", "set", &lan, "up"]);
        plug(&router, "inside", 99, &lan);
        address(&router, "inside", "192.168.1.1");
        let within = |words: &[&str]| must(&[&["ip", "netns", "exec", &router], words].concat());
        within(&["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"]);
        // As routers at home do: what nobody asked for is dropped, not refused. A refusal would end a punch.
        within(&["iptables", "-w", "-A", "INPUT", "-i", "outside", "-j", "DROP"]);
        let masquerade = ["iptables", "-w", "-t", "nat", "-A", "POSTROUTING", "-o", "outside", "-j", "MASQUERADE"];
        let random: &[&str] = if nat == Nat::Symmetric { &["--random-fully"] } else { &[] };
        within(&[&masquerade[..], random].concat());
        for number in hosts.clone() {
            let (space, last) = (host(number), 2 + number - hosts.start);
            must(&["ip", "netns", "add", &space]);
            plug(&space, "eth0", number, &lan);
            address(&space, "eth0", &format!("192.168.1.{last}"));
            must(&["ip", "-n", &space, "route", "add", "default", "via", "192.168.1.1"]);
            if nat == Nat::FullCone {
                let (port, to) = (port(number).to_string(), format!("192.168.1.{last}"));
                for protocol in ["tcp", "udp"] {
                    let rule = ["-i", "outside", "-p", protocol, "--dport", &port, "-j", "DNAT", "--to", &to];
                    within(&[&["iptables", "-w", "-t", "nat", "-A", "PREROUTING"], &rule[..]].concat());
                }
            }
        }
    }

    /// What stands between a host and the internet.
    pub(crate) fn nat_of(&self, number: usize) -> Nat {
        self.nats[self.sites[number]]
    }

    /// Pairs of hosts at different sites, each once.
    pub(crate) fn pairs(&self) -> Vec<(usize, usize)> {
        let hosts = self.sites.len();
        let all = (0..hosts).flat_map(|a| (a + 1..hosts).map(move |b| (a, b)));
        all.filter(|(a, b)| self.sites[*a] != self.sites[*b] || self.nat_of(*a) == Nat::Public).collect()
    }
}

impl Place for Internet {
    fn wrapper(&self, number: usize) -> Vec<String> {
        ["ip", "netns", "exec", &host(number)].map(str::to_owned).to_vec()
    }

    fn listen(&self, number: usize) -> Vec<String> {
        let port = port(number);
        vec![format!("/ip4/0.0.0.0/tcp/{port}"), format!("/ip4/0.0.0.0/udp/{port}/quic-v1")]
    }
}
