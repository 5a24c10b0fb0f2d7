//! `fedswarm bench start`: from the start of the process until all its nodes are meshed.

use std::fmt;

use fedswarm_network::TransportKind;
use serde::Serialize;

use super::crowd::Crowd;
use super::network::Plan;
use super::{Tell, process};
use crate::Error;

/// What it took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Members.
    pub members: usize,
    /// Of them, those that vote.
    pub voters: u16,
    /// Seconds from exec until every node runs.
    pub started_s: f64,
    /// Seconds from exec until every voter is connected to every voter and every node is in the mesh of every topic.
    pub meshed_s: f64,
    /// Processor seconds until then, of all nodes and the entry point.
    pub cpu_s: f64,
    /// Connections that were set up until then, each counted once; those with the entry point, doubles, and those that were closed
    /// again among them.
    pub opened: u64,
    /// Connections that were not let in until then.
    pub denied: u64,
    /// Seconds from exec until every node is connected to everybody whom it wants: contributors to all voters.
    pub settled_s: f64,
    /// Connections between members then.
    pub connections: usize,
    /// The fewest peers that any node has in the mesh of any topic.
    pub least_degree: usize,
    /// Bytes that all nodes sent until then.
    pub sent_bytes: u64,
    /// Processor seconds a second of all nodes together, once formed, with nothing to do.
    pub idle_cpu: f64,
}

/// How long a swarm that has formed is left alone before its idle cost is measured.
const CALM_S: u64 = 5;

/// For how long the idle cost is measured: all connections are pinged once in this time.
const IDLE_S: u64 = 15;

/// Starts a swarm and measures.
///
/// # Errors
/// [`Error`]: what kept it from forming.
pub async fn run(plan: &Plan, transport: TransportKind, tell: Tell<'_>) -> Result<Figures, Error> {
    let age = || process::seconds_since_exec().unwrap_or(f64::NAN);
    let cpu = || process::cpu_seconds(None).unwrap_or(f64::NAN);
    let mut crowd = Crowd::start(plan, transport, false).await?;
    let started_s = age();
    tell(&format!("{} nodes run", plan.members()));
    let least_degree = crowd.meshed().await?;
    let (meshed_s, cpu_s) = (age(), cpu());
    let (mut opened, mut denied) = (0, 0);
    for node in &crowd.nodes {
        let gauges = node.network().gauges().await;
        (opened, denied) = (opened + gauges.opened, denied + gauges.denied);
    }
    // Each node has counted its own connection with the entry point.
    let opened = (opened + plan.members() as u64) / 2;
    let sent_bytes = crowd.nodes.iter().map(|node| node.network().traffic().sent).sum();
    let connections = crowd.settled().await?;
    let settled_s = age();
    tell("all are meshed; now looking at what they cost when they do nothing");
    tokio::time::sleep(std::time::Duration::from_secs(CALM_S)).await;
    let before = cpu();
    tokio::time::sleep(std::time::Duration::from_secs(IDLE_S)).await;
    let idle_cpu = (cpu() - before) / IDLE_S as f64;
    crowd.end().await;
    Ok(Figures {
        members: plan.members(),
        voters: plan.voters,
        started_s,
        meshed_s,
        cpu_s,
        opened,
        denied,
        settled_s,
        connections,
        least_degree,
        sent_bytes,
        idle_cpu,
    })
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { members, voters, started_s, meshed_s, cpu_s, opened, denied, settled_s, connections, .. } = self;
        writeln!(
            f,
            "{members} nodes, {voters} of them voters: all running after {started_s:.2} s, all meshed after {meshed_s:.2} s"
        )?;
        writeln!(
            f,
            "  until then {cpu_s:.2} s of processor time, {opened} connections opened and {denied} denied, {:.1} MB sent; at least {} peers in every mesh",
            self.sent_bytes as f64 / 1e6,
            self.least_degree
        )?;
        writeln!(
            f,
            "  every contributor connected to every voter after {settled_s:.2} s; {connections} connections between members"
        )?;
        write!(f, "  idle: {:.2} % of a core for all of them", self.idle_cpu * 100.0)
    }
}
