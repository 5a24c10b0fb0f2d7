//! `fedswarm bench peak`: what merging takes at most, by the number of inputs.

use std::fmt;

use serde::Serialize;

use super::network::Plan;
use super::peers::{Keep, Loopback, Peers};
use super::{Tell, process};
use crate::{Error, stats};

/// One number of voters, which is the number of inputs that each of them merges.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Voters, each a process with a folder.
    pub nodes: u16,
    /// Resident memory of such a process at its highest, median over the processes.
    pub peak_bytes: u64,
    /// The process that took most.
    pub most_bytes: u64,
    /// All inputs of a round together.
    pub inputs_bytes: u64,
    /// Seconds a round.
    pub round_s: f64,
}

/// All numbers of voters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Bytes of one input, and of the model.
    pub payload_bytes: u64,
    /// Rounds each.
    pub rounds: u64,
    /// One for each number of voters.
    pub rows: Vec<Row>,
}

/// Runs so many voters in processes of their own, for so many rounds; as each aggregates in turn and all recompute, the
/// largest of a process is that of an aggregator when there are as many rounds as voters.
///
/// # Errors
/// [`Error`]: what kept them from running.
pub async fn run(all: &[u16], parameters: u32, rounds: u64, tell: Tell<'_>) -> Result<Figures, Error> {
    let payload_bytes = 4 * u64::from(parameters);
    let mut rows = Vec::new();
    for &nodes in all {
        let plan = Plan { voters: nodes, contributors: 0, parameters, rounds: 0 };
        let mut peers = Peers::start(&plan, &Loopback, Keep::InFolders).await?;
        let seconds = peers.rounds(rounds)?;
        let peaks: Vec<f64> =
            peers.ids().into_iter().filter_map(|id| process::peak_rss_bytes(Some(id))).map(|b| b as f64).collect();
        let unread = || Error::Run("memory can only be read on Linux".to_owned());
        let row = Row {
            nodes,
            peak_bytes: stats::median(&peaks).ok_or_else(unread)? as u64,
            most_bytes: peaks.iter().copied().fold(0.0, f64::max) as u64,
            inputs_bytes: u64::from(nodes) * payload_bytes,
            round_s: seconds / rounds as f64,
        };
        tell(&format!("{nodes} voters: {:.1} MB at most", row.most_bytes as f64 / 1e6));
        rows.push(row);
    }
    Ok(Figures { payload_bytes, rounds, rows })
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        write!(
            f,
            "inputs of {:.1} MB, {} rounds, resident memory of a voter at its highest",
            mb(self.payload_bytes),
            self.rounds
        )?;
        write!(f, "\nvoters  all inputs MB  peak MB  largest MB  s a round")?;
        for row in &self.rows {
            write!(
                f,
                "\n{:>6}  {:>13.1}  {:>7.1}  {:>10.1}  {:>9.3}",
                row.nodes,
                mb(row.inputs_bytes),
                mb(row.peak_bytes),
                mb(row.most_bytes),
                row.round_s
            )?;
        }
        Ok(())
    }
}
