//! Why can't I reach them? Every way of reaching the others is tried, and what came back is told, with what to do about it.
//!
//! First what needs no network (`host`), then a start of the network layer with the node's own key, addresses and peer book, and
//! from what that learns the ways in and out (`ways`) and the members one by one (`members`).

mod host;
mod members;
mod ways;

use std::sync::Arc;
use std::time::Duration;

use fedswarm_network::{
    Error as NetworkError, MemoryBlobs, Missing, Network, NodeId, Path, PeerInfo, Reachability, Router,
};
use serde::Serialize;

use self::host::Files;
use crate::run_config::RunConfig;

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
    /// Nobody is reached this way, or the node cannot run.
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

fn good(what: &str, found: impl Into<String>) -> Finding {
    finding(Verdict::Good, what, found)
}

fn note(what: &str, found: impl Into<String>) -> Finding {
    finding(Verdict::Note, what, found)
}

fn bad(what: &str, found: impl Into<String>) -> Finding {
    finding(Verdict::Bad, what, found)
}

impl Finding {
    fn advice(self, text: impl Into<String>) -> Self {
        Self { advice: Some(text.into()), ..self }
    }
}

/// What the network layer has learned.
struct Learned {
    me: NodeId,
    peers: Vec<PeerInfo>,
    missing: Vec<Missing>,
    reach: Reachability,
}

/// Examines a node that does not run, for at most so long.
pub async fn examine(config: &RunConfig, patience: Duration) -> Vec<Finding> {
    let mut findings = host::folder(&config.folder);
    let Some(files) = host::files(config, &mut findings) else { return findings };
    let others = files.members.iter().filter(|(id, _)| *id != files.me).count();
    match start(config, &files).await {
        Err(found) => findings.push(found),
        Ok((network, drain)) => {
            findings.push(ways::listening(&network.listen_addrs().await));
            let learned = settle(config, &network, others, patience).await;
            findings.push(host::clock(learned.reach.clock_ahead_s));
            ways::all(config, &learned, &mut findings);
            members::met(&files.members, &learned, &mut findings);
            network.shutdown().await;
            drain.abort();
        }
    }
    findings
}

type Running = (Network, tokio::task::JoinHandle<()>);

async fn start(config: &RunConfig, files: &Files) -> Result<Running, Finding> {
    let wrong = |error: &dyn std::fmt::Display| bad("configuration", error.to_string());
    let transport = config.transport().map_err(|e| wrong(&e))?;
    let mut wanted = fedswarm_network::Config::new(files.secret, files.network, transport);
    wanted.listen = config.listen().map_err(|e| wrong(&e))?;
    wanted.bootstraps = RunConfig::addresses(&config.bootstraps).map_err(|e| wrong(&e))?;
    wanted.mdns = config.mdns;
    wanted.reach = config.reach().map_err(|e| wrong(&e))?;
    wanted.members = files.members.iter().map(|(id, _)| *id).collect();
    match fedswarm_network::start(wanted, Arc::new(MemoryBlobs::new(0))).await {
        Ok((network, mut events)) => Ok((network, tokio::spawn(async move { while events.recv().await.is_some() {} }))),
        Err(error @ NetworkError::PortInUse { .. }) => Err(bad("listening", error.to_string())
            .advice("find who has the port (ss -lntup), or name another one under listen")),
        Err(error) => Err(bad("listening", error.to_string())),
    }
}

/// Waits until there is nothing left to learn, or patience is at its end.
async fn settle(config: &RunConfig, network: &Network, others: usize, patience: Duration) -> Learned {
    let until = tokio::time::Instant::now() + patience;
    loop {
        let (peers, reach) = (network.peers().await, network.reachability().await);
        let straight = peers.iter().filter(|peer| peer.member && peer.path != Path::Relayed).count();
        let judged = config.bootstraps.is_empty() || reach.is_public() || !reach.refused.is_empty();
        let settled = straight >= others && judged && reach.router != Router::Asked;
        if settled || tokio::time::Instant::now() >= until {
            return Learned { me: network.id(), peers, missing: network.missing().await, reach };
        }
        tokio::time::sleep(GLANCE).await;
    }
}

fn list(addrs: &[fedswarm_network::Multiaddr]) -> String {
    addrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
