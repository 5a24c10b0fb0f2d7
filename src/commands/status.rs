//! `fedswarm status`.

use std::path::PathBuf;

use fedswarm_node::run_config::RunConfig;
use fedswarm_node::status::{self, NodeStatus};

use super::run::STATUS_EVERY;
use crate::failure::Failure;

/// Tells where a running node stands, as it last wrote it down in its folder: every ten seconds, and after every round.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  fedswarm status --config node.toml
Exit code 0 if the node runs, 1 if it has not written for half a minute.")]
pub(crate) struct Args {
    /// The node's configuration file (TOML).
    #[arg(long, value_name = "FILE", default_value = "node.toml", env = "FEDSWARM_CONFIG")]
    config: PathBuf,
    /// The node's folder, if not the one in the file.
    #[arg(long, value_name = "DIR", env = "FEDSWARM_FOLDER")]
    folder: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<(), Failure> {
    let config = RunConfig::load(&args.config)?;
    let status = NodeStatus::load(args.folder.as_ref().unwrap_or(&config.folder))?;
    let age = status::now().saturating_sub(status.at);
    let running = age <= 3 * STATUS_EVERY.as_secs();
    let mut report = serde_json::to_value(&status).map_err(|e| Failure::failed(e.to_string()))?;
    report["running"] = running.into();
    if !json {
        println!("member {} of network {}", status.member, status.network);
        println!("round {} is certified by {} voters: record {}", status.round, status.signatures, status.record);
        if let Some(turn) = &status.turn {
            let name = if turn.name.is_empty() { String::new() } else { format!("{} ", turn.name) };
            println!("round {} is in progress: {name}{} aggregates, view {}", turn.round, turn.aggregator, turn.view);
        }
        println!("epoch {}: {} voters, {} members", status.epoch, status.voters, status.members);
        println!("{}; {}", status.reachability, status.addresses.join(", "));
        if let Some(metrics) = &status.metrics {
            println!("metrics at http://{metrics}/metrics, health at http://{metrics}/health");
        }
        println!("{} members connected", status.peers.len());
        for peer in &status.peers {
            let trip = peer.round_trip_us.map_or_else(String::new, |us| format!(", {:.1} ms", us as f64 / 1000.0));
            println!("  {} {} at {}{trip}", peer.member, peer.path, peer.address);
        }
    }
    if !running {
        let text = format!("the node has not written for {age} s: it does not run, or its disk is full");
        return Err(Failure::failed(text).with_json(report));
    }
    if json {
        println!("{report}");
    }
    Ok(())
}
