//! Why can't I reach them? Every way of reaching the others is tried, and what came back is told, with what to do about it.

use std::collections::BTreeSet;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fedswarm_network::{Error as NetworkError, MemoryBlobs, Network, NodeId, Path, PeerInfo, Reachability, Router};
use fedswarm_protocol::manifest::Manifest;
use serde::Serialize;

use crate::invitation::Joining;
use crate::run_config::RunConfig;
use crate::{founding, identity};

/// A clock that says less than this (2026-01-01) was never set: seconds since 1970.
const NOT_BEFORE: u64 = 1_767_225_600;

/// How often is looked whether there is nothing left to wait for.
const GLANCE: Duration = Duration::from_millis(100);

/// How it stands with something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Worth knowing; others may make up for it.
    Note,
    /// Nobody is reached this way.
    Bad,
}

/// Something that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was tried.
    pub what: String,
    /// How it stands.
    pub verdict: Verdict,
    /// What came back.
    pub found: String,
    /// What to do, if there is something.
    pub advice: Option<String>,
}

fn finding(verdict: Verdict, what: &str, found: impl Into<String>) -> Finding {
    Finding { what: what.to_owned(), verdict, found: found.into(), advice: None }
}

impl Finding {
    fn advice(self, text: impl Into<String>) -> Self {
        Self { advice: Some(text.into()), ..self }
    }
}

/// Examines a node that does not run, for at most so long.
pub async fn examine(config: &RunConfig, patience: Duration) -> Vec<Finding> {
    let mut findings = vec![clock(), folder(&config.folder)];
    let Some((manifest, network)) = files(config, &mut findings) else { return findings };
    let members: Vec<NodeId> = manifest.founders.iter().map(|founder| NodeId(founder.key.0)).collect();
    let others = members.iter().filter(|id| **id != NodeId(network.me)).count();
    match start(config, &manifest, network.secret, members).await {
        Err(found) => findings.push(found),
        Ok((network, drain)) => {
            findings.push(finding(Verdict::Good, "listening", list(&network.listen_addrs().await)));
            let (peers, reach) = settle(config, &network, others, patience).await;
            ways(config, &reach, &peers, &mut findings);
            met(&manifest, network.id(), &reach, &peers, &mut findings);
            network.shutdown().await;
            drain.abort();
        }
    }
    findings
}

fn clock() -> Finding {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if now >= NOT_BEFORE {
        finding(Verdict::Good, "clock", "set")
    } else {
        finding(Verdict::Note, "clock", format!("it says {now} s since 1970, which is long past"))
            .advice("set the clock; rounds do not depend on it, but the peer book forgets by it")
    }
}

fn folder(folder: &FilePath) -> Finding {
    let tried = std::fs::create_dir_all(folder).and_then(|()| tempfile::NamedTempFile::new_in(folder).map(drop));
    match tried {
        Ok(()) => finding(Verdict::Good, "folder", format!("{} can be written", folder.display())),
        Err(error) => finding(Verdict::Bad, "folder", format!("{}: {error}", folder.display()))
            .advice("make room, or let this user write there; a node keeps its votes on disk before it speaks"),
    }
}

struct Keys {
    secret: [u8; 32],
    me: [u8; 32],
}

/// Manifest, key and invitation.
fn files(config: &RunConfig, findings: &mut Vec<Finding>) -> Option<(Arc<Manifest>, Keys)> {
    let manifest = match founding::load(&config.manifest) {
        Ok(manifest) => manifest,
        Err(error) => {
            let text = "ask a member for the manifest, and compare the network's id with `fedswarm network show`";
            findings.push(finding(Verdict::Bad, "manifest", error.to_string()).advice(text));
            return None;
        }
    };
    findings.push(finding(
        Verdict::Good,
        "manifest",
        format!("{:?}, {} founders", manifest.name, manifest.founders.len()),
    ));
    if !config.key.exists() {
        let found = format!("{} is not there", config.key.display());
        findings.push(
            finding(Verdict::Bad, "key", found).advice("make one with `fedswarm network key`, or restore the backup"),
        );
        return None;
    }
    let secret = match identity::load_or_create(&config.key) {
        Ok(secret) => secret,
        Err(error) => {
            findings.push(finding(Verdict::Bad, "key", error.to_string()));
            return None;
        }
    };
    let me = secret.public();
    let founder = manifest.founders.iter().any(|founder| founder.key == me);
    findings.push(match (&config.join, founder) {
        (_, true) => finding(Verdict::Good, "key", format!("{me}, a founder")),
        (Some(path), false) => match Joining::load(path, &manifest, &secret) {
            Ok(_) => finding(Verdict::Good, "invitation", format!("{} is for this key and network", path.display())),
            Err(error) => finding(Verdict::Bad, "invitation", error.to_string())
                .advice("accept the invitation again with `fedswarm network join`, or ask for another one"),
        },
        (None, false) => finding(Verdict::Note, "key", format!("{me} is no founder, and there is no invitation"))
            .advice("if it was never let in, ask a member for an invitation and name it under `join`"),
    });
    Some((Arc::new(manifest), Keys { secret: secret.to_bytes(), me: me.0 }))
}

type Running = (Network, tokio::task::JoinHandle<()>);

async fn start(
    config: &RunConfig,
    manifest: &Manifest,
    secret: [u8; 32],
    members: Vec<NodeId>,
) -> Result<Running, Finding> {
    let bad = |error: &dyn std::fmt::Display| finding(Verdict::Bad, "configuration", error.to_string());
    let id = manifest.network_id().map_err(|e| bad(&e))?;
    let transport = config.transport().map_err(|e| bad(&e))?;
    let mut wanted = fedswarm_network::Config::new(secret, id, transport);
    wanted.listen = config.listen().map_err(|e| bad(&e))?;
    wanted.bootstraps = RunConfig::addresses(&config.bootstraps).map_err(|e| bad(&e))?;
    wanted.mdns = config.mdns;
    wanted.reach = config.reach().map_err(|e| bad(&e))?;
    wanted.members = members;
    match fedswarm_network::start(wanted, Arc::new(MemoryBlobs::new(0))).await {
        Ok((network, mut events)) => Ok((network, tokio::spawn(async move { while events.recv().await.is_some() {} }))),
        Err(error @ NetworkError::PortInUse { .. }) => Err(finding(Verdict::Bad, "listening", error.to_string())
            .advice("if the node is running, look at `fedswarm status`; to examine it, stop it first")),
        Err(error) => Err(finding(Verdict::Bad, "listening", error.to_string())),
    }
}

/// Waits until there is nothing left to learn, or patience is at its end.
async fn settle(
    config: &RunConfig,
    network: &Network,
    others: usize,
    patience: Duration,
) -> (Vec<PeerInfo>, Reachability) {
    let until = tokio::time::Instant::now() + patience;
    loop {
        let (peers, reach) = (network.peers().await, network.reachability().await);
        let straight = peers.iter().filter(|peer| peer.member && peer.path != Path::Relayed).count();
        let judged = config.bootstraps.is_empty() || reach.is_public() || !reach.refused.is_empty();
        if straight >= others && judged && reach.router != Router::Asked || tokio::time::Instant::now() >= until {
            return (peers, reach);
        }
        tokio::time::sleep(GLANCE).await;
    }
}

/// The ways by which others are found and find this node.
fn ways(config: &RunConfig, reach: &Reachability, peers: &[PeerInfo], findings: &mut Vec<Finding>) {
    findings.push(match (config.mdns, reach.heard_by_mdns) {
        (false, _) => finding(Verdict::Note, "mDNS", "switched off"),
        (true, 0) => finding(Verdict::Note, "mDNS", "nobody answered in the local network")
            .advice("if members are in this network, let multicast through (UDP 5353)"),
        (true, count) => finding(Verdict::Good, "mDNS", format!("heard of {count} addresses")),
    });
    let connected: BTreeSet<NodeId> = peers.iter().map(|peer| peer.id).collect();
    if config.bootstraps.is_empty() {
        findings.push(finding(Verdict::Note, "bootstraps", "none is configured"));
    }
    for (entry, addrs) in entries(config) {
        let what = format!("bootstrap {}", entry.short());
        findings.push(if connected.contains(&entry) {
            finding(Verdict::Good, &what, "connected")
        } else {
            finding(Verdict::Bad, &what, format!("no connection to {}", addrs.join(", ")))
                .advice("is it running, is this its address, is its port open in the firewall on its side?")
        });
    }
    findings.push(match reach.routing {
        0 => finding(Verdict::Note, "Kademlia", "the routing table is empty: members cannot be looked up"),
        count => finding(Verdict::Good, "Kademlia", format!("{count} peers in the routing table")),
    });
    findings.push(nat(reach));
    findings.push(match &reach.router {
        Router::NotAsked => finding(Verdict::Note, "UPnP", "the router was not asked"),
        Router::Asked => finding(Verdict::Note, "UPnP", "no answer yet"),
        Router::Absent => finding(Verdict::Note, "UPnP", "no router answers"),
        Router::BehindAnother => finding(Verdict::Note, "UPnP", "the router is itself behind another one"),
        Router::Forwards(addrs) => finding(Verdict::Good, "UPnP", format!("forwards {}", list(addrs))),
    });
    findings.push(match (reach.relays.len(), reach.relays_offered.len()) {
        (0, 0) => finding(Verdict::Note, "relay", "no bootstrap offers one"),
        (0, offered) if reach.behind_nat == Some(true) => {
            finding(Verdict::Bad, "relay", format!("{offered} are offered, none gave this node a place"))
                .advice("ask the bootstrap's operator whether its relay is full")
        }
        (0, offered) => finding(Verdict::Good, "relay", format!("{offered} are offered, none is needed")),
        (places, _) => finding(Verdict::Good, "relay", format!("a place at {places}")),
    });
}

fn nat(reach: &Reachability) -> Finding {
    let found = match reach.behind_nat {
        Some(true) => format!("{}; seen as {}", reach.verdict(), list(&reach.observed)),
        _ => reach.verdict().to_owned(),
    };
    let advice = "forward the node's port in the router, and name it under reach.external; or rely on holes and relays";
    match (reach.is_public(), reach.relays.is_empty()) {
        (true, _) => finding(Verdict::Good, "reachability", format!("{found}: {}", list(&reach.confirmed))),
        (false, false) => finding(Verdict::Note, "reachability", found).advice(advice),
        (false, true) => finding(Verdict::Note, "reachability", found),
    }
}

/// Who was met, and how.
fn met(manifest: &Manifest, me: NodeId, reach: &Reachability, peers: &[PeerInfo], findings: &mut Vec<Finding>) {
    for founder in manifest.founders.iter().filter(|founder| founder.key.0 != me.0) {
        let name = if founder.name.is_empty() { NodeId(founder.key.0).short() } else { founder.name.clone() };
        let what = format!("member {name}");
        let peer = peers.iter().find(|peer| peer.id.0 == founder.key.0);
        findings.push(match peer.map(|peer| (peer.path, peer.round_trip_us)) {
            None => finding(Verdict::Bad, &what, "not reached").advice("is it running? let it run `fedswarm doctor` as well"),
            Some((Path::Relayed, _)) => {
                let text = format!("through a relay only; {} attempts to punch a hole failed", reach.not_punched);
                finding(Verdict::Note, &what, text).advice(
                    "messages travel, payloads come from members that both reach; one forwarded port on either side mends it",
                )
            }
            Some((path, trip)) => {
                let trip = trip.map_or_else(String::new, |us| format!(", {:.1} ms", us as f64 / 1000.0));
                finding(Verdict::Good, &what, format!("{}{trip}", path.name()))
            }
        });
    }
}

/// Configured entry points, each with its addresses.
fn entries(config: &RunConfig) -> Vec<(NodeId, Vec<String>)> {
    let mut all: Vec<(NodeId, Vec<String>)> = Vec::new();
    for addr in RunConfig::addresses(&config.bootstraps).unwrap_or_default() {
        let Some(id) = NodeId::at_end_of(&addr) else { continue };
        match all.iter_mut().find(|(known, _)| *known == id) {
            Some((_, addrs)) => addrs.push(addr.to_string()),
            None => all.push((id, vec![addr.to_string()])),
        }
    }
    all
}

fn list(addrs: &[fedswarm_network::Multiaddr]) -> String {
    addrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
