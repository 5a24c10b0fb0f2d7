//! `fedswarm compare`.

use std::path::PathBuf;

use fedswarm_simulations::compare::{Grid, parse_seeds};
use fedswarm_simulations::progress;
use fedswarm_simulations::swarm::{self, Options};

use crate::failure::Failure;
use crate::flags::ScenarioFlags;

/// Runs every method with every seed, on the same partitions and first weights, and prints means, deviations and paired
/// differences with 95 % intervals; `compare.html` has all curves in one plot. Interrupted, it goes on where it was when started
/// again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  fedswarm compare --methods local,fedavg,fedmoe --seeds 1..5
  fedswarm compare --methods local,moe-local,fedmoe --seeds 1..5 --rounds 60 --at 10,20 --data DIR --partition FILE.json
  fedswarm compare --methods fedavg,fedavg:head=etf,moe-ktl --seeds 1..3 --reach 80
  fedswarm compare --methods fedmoe,fedmoe:mix=convex --seeds 1,3,5 scenario.toml")]
pub(crate) struct Args {
    #[command(flatten)]
    scenario: ScenarioFlags,
    /// Methods with their options, separated by commas; options of one method by `+`, as in `fedmoe:mix=convex+gate_lr=0.1`.
    #[arg(long, value_name = "LIST", value_delimiter = ',', required = true)]
    methods: Vec<String>,
    /// Seeds: a range such as 1..5 (both included) or a list such as 1,3,5.
    #[arg(long, value_name = "SEEDS", default_value = "1..5")]
    seeds: String,
    /// Rounds to compare beside the last.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    at: Vec<u64>,
    /// An accuracy in per cent: how many rounds does each method need to reach it?
    #[arg(long, value_name = "PERCENT")]
    reach: Option<f64>,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<(), Failure> {
    let mut scenario = args.scenario.scenario(None, None)?;
    // `local` is a column of its own here.
    scenario.local_baseline = false;
    let out = scenario.out.clone().unwrap_or_else(|| PathBuf::from("runs/compare"));
    let methods = args.methods.iter().map(|m| m.replace('+', ",")).collect();
    let (seeds, at) = (parse_seeds(&args.seeds)?, args.at.clone());
    let reach = args.reach.map(|percent| percent / 100.0);
    let grid = Grid { methods, seeds, scenario, out: out.clone(), at, reach };
    let runtime = crate::runtime()?;
    let stop = super::stop_on_interrupt(&runtime);
    let mut progress = progress::to_stderr();
    let mut comparison = grid.run(progress.as_mut(), |scenario, progress| {
        let stop = std::sync::Arc::clone(&stop);
        let options = Options {
            command: scenario.command_line(),
            keep_models: false,
            keep_inputs: None,
            resume: false,
            stop,
            began: None,
        };
        runtime.block_on(swarm::run(scenario, &options, progress))
    })?;
    comparison.command = command_line();
    comparison.write(&out)?;
    if json {
        println!("{}", serde_json::to_string(&comparison).map_err(|e| Failure::failed(e.to_string()))?);
    } else {
        println!("{}", comparison.table());
        println!("\nreport: {}", out.join("compare.html").display());
    }
    Ok(())
}

/// The command as it was typed, for the tables that come of it.
fn command_line() -> String {
    std::iter::once("fedswarm".to_owned()).chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" ")
}
