//! `fedswarm doctor`.

use std::path::PathBuf;
use std::time::Duration;

use fedswarm_node::doctor::{Verdict, examine};
use fedswarm_node::run_config::RunConfig;

use crate::failure::Failure;

/// Tries every way of reaching the others, and says what came back and what to do: files, clock, listening, mDNS, each bootstrap,
/// Kademlia, NAT, router, relay, each member. The node itself must not be running.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  fedswarm doctor --config node.toml --seconds 30
Exit code 0 if nothing is bad, 1 otherwise.")]
pub(crate) struct Args {
    /// The node's configuration file (TOML).
    #[arg(long, value_name = "FILE", default_value = "node.toml", env = "FEDSWARM_CONFIG")]
    config: PathBuf,
    /// How long to wait for the others, at most.
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<(), Failure> {
    let config = RunConfig::load(&args.config)?;
    let findings = crate::runtime()?.block_on(examine(&config, Duration::from_secs(args.seconds)));
    let bad = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count();
    let report = serde_json::json!({ "bad": bad, "findings": findings });
    if !json {
        for finding in &findings {
            let mark = match finding.verdict {
                Verdict::Good => "ok  ",
                Verdict::Note => "note",
                Verdict::Bad => "BAD ",
            };
            println!("{mark} {}: {}", finding.what, finding.found);
            if let Some(advice) = &finding.advice {
                println!("     -> {advice}");
            }
        }
    }
    if bad > 0 {
        return Err(Failure::failed(format!("{bad} things are bad")).with_json(report));
    }
    if json {
        println!("{report}");
    }
    Ok(())
}
