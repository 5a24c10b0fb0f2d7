//! `fedswarm bench memory`: what a node costs in memory, beside its model, in a process with others and in one of its own.

use std::fmt;

use fedswarm_network::TransportKind;
use serde::Serialize;

use super::crowd::Crowd;
use super::network::Plan;
use super::peers::{Keep, Loopback, Peers};
use super::{Tell, process};
use crate::{Error, stats};

/// Rounds before memory is read.
const ROUNDS: u64 = 10;

/// What nodes cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Numbers in the shared model; each takes 4 bytes in a payload.
    pub parameters: u32,
    /// Nodes that were put into one process.
    pub nodes: usize,
    /// Of them, those that vote.
    pub voters: u16,
    /// Resident bytes of that process before the first node.
    pub empty_bytes: u64,
    /// Resident bytes after some rounds.
    pub full_bytes: u64,
    /// The difference, divided by the nodes.
    pub per_node_bytes: u64,
    /// Nodes that were put into processes of their own, all of them voters.
    pub processes: usize,
    /// Proportional set size of such a process, median: what several share is divided among them.
    pub pss_bytes: u64,
    /// The largest.
    pub most_pss_bytes: u64,
    /// Of the median, heap and stacks: what is no file of the program.
    pub anonymous_bytes: u64,
}

/// Puts a plan's nodes into this process, and then so many voters into processes of their own.
///
/// # Errors
/// [`Error`]: what kept them from running.
pub async fn run(plan: &Plan, processes: u16, tell: Tell<'_>) -> Result<Figures, Error> {
    let rss = || process::rss_bytes(None).ok_or_else(|| Error::Run("memory can only be read on Linux".to_owned()));
    let empty_bytes = rss()?;
    let mut crowd = Crowd::start(&Plan { rounds: 0, ..*plan }, TransportKind::Tcp, false).await?;
    crowd.meshed().await?;
    crowd.settled().await?;
    crowd.gate.allow(ROUNDS);
    crowd.rounds_to(crowd.founded.round + ROUNDS, |_, _, _| {}).await?;
    let full_bytes = rss()?;
    crowd.end().await;
    tell(&format!("{} nodes in one process are done", plan.members()));
    let alone = Plan { voters: processes, contributors: 0, rounds: 0, ..*plan };
    let mut peers = Peers::start(&alone, &Loopback, Keep::InMemory).await?;
    peers.rounds(ROUNDS)?;
    let read = |read: fn(Option<u32>) -> Option<u64>| {
        peers.ids().into_iter().filter_map(|id| read(Some(id))).map(|bytes| bytes as f64).collect::<Vec<_>>()
    };
    let (pss, anonymous) = (read(process::pss_bytes), read(process::anonymous_pss_bytes));
    let median = |values: &[f64]| stats::median(values).unwrap_or_default() as u64;
    Ok(Figures {
        parameters: plan.parameters,
        nodes: plan.members(),
        voters: plan.voters,
        empty_bytes,
        full_bytes,
        per_node_bytes: full_bytes.saturating_sub(empty_bytes) / plan.members() as u64,
        processes: pss.len(),
        pss_bytes: median(&pss),
        most_pss_bytes: pss.iter().copied().fold(0.0, f64::max) as u64,
        anonymous_bytes: median(&anonymous),
    })
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        writeln!(
            f,
            "{} nodes ({} voters, {} parameters) in one process: {:.2} MB a node; {:.1} MB before the first, {:.1} MB with all",
            self.nodes,
            self.voters,
            self.parameters,
            mb(self.per_node_bytes),
            mb(self.empty_bytes),
            mb(self.full_bytes)
        )?;
        write!(
            f,
            "{} processes of one node: {:.1} MB each (median PSS), {:.1} MB at most; {:.1} MB of it heap and stacks",
            self.processes,
            mb(self.pss_bytes),
            mb(self.most_pss_bytes),
            mb(self.anonymous_bytes)
        )
    }
}
