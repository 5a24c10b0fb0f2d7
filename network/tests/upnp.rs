//! A router that forwards ports for whoever asks, and a node behind it that asks. The router is `miniupnpd` in a network namespace:
//! `cargo test --release -p fedswarm-network --features upnp --test upnp -- --nocapture`. Skipped, with the reason, where it cannot be
//! had.
#![cfg(feature = "upnp")]
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/places.rs"]
mod network;
#[path = "../../tests/processes/world.rs"]
#[allow(dead_code)]
mod world;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{PATIENCE, config, ids, start_with};
use fedswarm_network::{Router, TransportKind};
use world::{Needs, alone, run};

/// Set in the run that is the node.
const NODE: &str = "FEDSWARM_TEST_NODE";

const TEST: &str = "a_router_that_is_asked_forwards_the_ports_of_a_node";

/// The router: a side to the home, and one to the internet with an address that is nobody's private one.
const HOME: &str = "192.168.77";
const OUTSIDE: &str = "11.22.33.44";

/// The chains are those into which miniupnpd writes.
const CHAINS: &str = "table inet filter {
  chain forward { type filter hook forward priority 0; policy accept; jump miniupnpd; }
  chain miniupnpd { }
  chain prerouting { type nat hook prerouting priority -100; policy accept; jump prerouting_miniupnpd; }
  chain postrouting { type nat hook postrouting priority 100; policy accept; jump postrouting_miniupnpd; oifname wan masquerade; }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
}
";

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn router(folder: &std::path::Path) -> Daemon {
    let must = |words: &str| run(&words.split(' ').collect::<Vec<_>>()).unwrap();
    for place in ["router", "home"] {
        must(&format!("ip netns add {place}"));
        must(&format!("ip -n {place} link set lo up"));
    }
    must("ip link add lan netns router type veth peer name eth0 netns home");
    must("ip link add wan netns router type veth peer name far");
    for (place, addr, device) in [
        ("router", format!("{HOME}.1"), "lan"),
        ("router", OUTSIDE.to_owned(), "wan"),
        ("home", format!("{HOME}.2"), "eth0"),
    ] {
        must(&format!("ip -n {place} addr add {addr}/24 dev {device}"));
        must(&format!("ip -n {place} link set {device} up"));
    }
    must("ip link set far up");
    must(&format!("ip -n home route add default via {HOME}.1"));
    let (chains, settings) = (folder.join("chains.nft"), folder.join("miniupnpd.conf"));
    std::fs::write(&chains, CHAINS).unwrap();
    must(&format!("ip netns exec router nft -f {}", chains.display()));
    must("ip netns exec router sysctl -q -w net.ipv4.ip_forward=1");
    // Multicast must reach its side to the home.
    must("ip -n router route add 239.0.0.0/8 dev lan");
    let text = format!(
        "ext_ifname=wan\nlistening_ip=lan\nenable_upnp=yes\nenable_natpmp=no\nsecure_mode=yes\nport=5555\n\
         upnp_table_name=filter\nupnp_nat_table_name=filter\nupnp_forward_chain=miniupnpd\n\
         upnp_nat_chain=prerouting_miniupnpd\nupnp_nat_postrouting_chain=postrouting_miniupnpd\n\
         uuid=00000000-0000-0000-0000-000000000001\nallow 1024-65535 {HOME}.0/24 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n"
    );
    std::fs::write(&settings, text).unwrap();
    let mut command = Command::new("ip");
    command.args(["netns", "exec", "router", "miniupnpd", "-d", "-P"]).arg(folder.join("pid")).arg("-f").arg(settings);
    let mut daemon = Daemon(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    // libp2p asks once: whoever is not there then is taken for absent.
    let mut said = BufReader::new(daemon.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(said.any(|line| line.contains("HTTP listening")), "miniupnpd ended");
    std::thread::spawn(move || said.for_each(drop));
    daemon
}

async fn node() {
    let mut config = config(TransportKind::TcpAndQuic, 0, &ids(1), None);
    config.listen =
        vec![format!("/ip4/{HOME}.2/tcp/0").parse().unwrap(), format!("/ip4/{HOME}.2/udp/0/quic-v1").parse().unwrap()];
    config.reach.upnp = true;
    let node = start_with(config).await;
    let asked = tokio::time::timeout(PATIENCE, async {
        loop {
            match node.net.reachability().await.router {
                Router::Forwards(addrs) if addrs.len() == 2 => return addrs,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    let Ok(addrs) = asked.await else { panic!("{:?}", node.net.reachability().await) };
    println!("the router forwards {addrs:?}");
    assert!(addrs.iter().all(|addr| addr.to_string().contains(OUTSIDE)), "{addrs:?}");
}

#[test]
fn a_router_that_is_asked_forwards_the_ports_of_a_node() {
    if std::env::var_os(NODE).is_some() {
        return tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(node());
    }
    for program in ["miniupnpd", "nft"] {
        if Command::new(program).arg("--version").output().is_err() {
            return eprintln!("SKIPPED {TEST}: {program} is not installed (Debian: miniupnpd-nftables and nftables)");
        }
    }
    alone(TEST, Needs::Translation, || {
        let folder = tempfile::tempdir().unwrap();
        let _router = router(folder.path());
        let mut command = Command::new("ip");
        command.args(["netns", "exec", "home"]).arg(std::env::current_exe().unwrap());
        command.args(["--exact", TEST, "--nocapture"]).env(NODE, "1");
        let output = command.output().unwrap();
        println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success());
        let rules = Command::new("ip").args("netns exec router nft list ruleset".split(' ')).output().unwrap();
        let rules = String::from_utf8_lossy(&rules.stdout).into_owned();
        assert_eq!(rules.lines().filter(|line| line.contains("dnat ip to 192.168.77.2:")).count(), 2, "{rules}");
    });
}
