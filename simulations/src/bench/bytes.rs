//! `fedswarm bench bytes`: what a round puts on the wire, counted by the kernel at the interfaces of hosts of their own.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::Tell;
use super::namespaces::Hosts;
use super::network::Plan;
use super::peers::{Keep, Peers};
use crate::Error;

/// Rounds before those that are counted.
const WARM_UP: u64 = 3;

/// Until what belongs to the last round, acknowledgements above all, is on the wire.
const SETTLE: Duration = Duration::from_millis(500);

/// How long an idle network is looked at.
const IDLE: Duration = Duration::from_secs(5);

/// Numbers in the model of which control traffic is measured: its payloads are a few dozen bytes.
const SMALL: u32 = 16;

/// One number of nodes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Voters, each a process on a host of its own.
    pub nodes: u16,
    /// Bytes of one payload.
    pub payload_bytes: u64,
    /// Bytes a round that all hosts sent, frames and all.
    pub round_bytes: u64,
    /// What every voter must get to recompute: N (N - 1) payloads.
    pub optimum_bytes: u64,
    /// What a star would need: every payload to its middle and the result back, 2 (N - 1).
    pub star_bytes: u64,
    /// What a ring that reduces would need, 2 (N - 1): the least at which everybody has the sum, and nobody can check it.
    pub all_reduce_bytes: u64,
    /// Bytes a round with payloads of 64 bytes: what agreement itself takes.
    pub control_bytes: u64,
    /// Bytes a second when nothing is done.
    pub idle_bytes_per_s: f64,
    /// Seconds a round, with the large payloads.
    pub round_s: f64,
}

impl Row {
    /// What was sent, divided by what had to be.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.round_bytes as f64 / self.optimum_bytes as f64
    }
}

/// All numbers of nodes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Numbers in the model.
    pub parameters: u32,
    /// Rounds that were counted.
    pub rounds: u64,
    /// One for each number of nodes.
    pub rows: Vec<Row>,
}

struct Counted {
    round_bytes: u64,
    idle_bytes_per_s: f64,
    round_s: f64,
}

async fn count(nodes: u16, parameters: u32, rounds: u64) -> Result<Counted, Error> {
    let plan = Plan { voters: nodes, contributors: 0, parameters, rounds: 0 };
    let hosts = Hosts::new(nodes.into())?;
    let mut peers = Peers::start(&plan, &hosts, Keep::InMemory).await?;
    peers.rounds(WARM_UP)?;
    // The entry point lives on this runtime: it must go on while nothing is done.
    tokio::time::sleep(IDLE).await;
    let idle = hosts.sent_bytes()?;
    tokio::time::sleep(IDLE).await;
    let before = hosts.sent_bytes()?;
    let seconds = peers.rounds(rounds)?;
    tokio::time::sleep(SETTLE).await;
    let after = hosts.sent_bytes()?;
    Ok(Counted {
        round_bytes: (after - before) / rounds,
        idle_bytes_per_s: (before - idle) as f64 / IDLE.as_secs_f64(),
        round_s: seconds / rounds as f64,
    })
}

/// Counts for each of these numbers of nodes. Call it inside [`super::namespaces::enter`].
///
/// # Errors
/// [`Error`]: what kept them from running.
pub async fn run(all: &[u16], parameters: u32, rounds: u64, tell: Tell<'_>) -> Result<Figures, Error> {
    let mut rows = Vec::new();
    for &nodes in all {
        let large = count(nodes, parameters, rounds).await?;
        let small = count(nodes, SMALL, rounds).await?;
        let (n, payload_bytes) = (u64::from(nodes), 4 * u64::from(parameters));
        let row = Row {
            nodes,
            payload_bytes,
            round_bytes: large.round_bytes,
            optimum_bytes: n * (n - 1) * payload_bytes,
            star_bytes: 2 * (n - 1) * payload_bytes,
            all_reduce_bytes: 2 * (n - 1) * payload_bytes,
            control_bytes: small.round_bytes,
            idle_bytes_per_s: small.idle_bytes_per_s,
            round_s: large.round_s,
        };
        tell(&format!("{nodes} nodes: {:.3} of the optimum, {} bytes of control", row.ratio(), row.control_bytes));
        rows.push(row);
    }
    Ok(Figures { parameters, rounds, rows })
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} parameters, {} rounds, bytes of all hosts a round as the kernel counts them",
            self.parameters, self.rounds
        )?;
        write!(f, "\nnodes  total MB  optimum MB  ratio  star MB  all-reduce MB  control kB  idle kB/s  s a round")?;
        for row in &self.rows {
            let mb = |bytes: u64| bytes as f64 / 1e6;
            write!(
                f,
                "\n{:>5}  {:>8.2}  {:>10.2}  {:>5.3}  {:>7.2}  {:>13.2}  {:>10.1}  {:>9.2}  {:>9.3}",
                row.nodes,
                mb(row.round_bytes),
                mb(row.optimum_bytes),
                row.ratio(),
                mb(row.star_bytes),
                mb(row.all_reduce_bytes),
                row.control_bytes as f64 / 1e3,
                row.idle_bytes_per_s / 1e3,
                row.round_s,
            )?;
        }
        Ok(())
    }
}
