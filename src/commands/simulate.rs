//! `fedswarm simulate`.

use std::time::Instant;

use fedswarm_simulations::swarm::{self, Options};
use fedswarm_simulations::{progress, table};

use crate::failure::Failure;
use crate::flags::ScenarioFlags;

/// Runs N real libp2p nodes in one process, found through a bootstrap node, and writes a folder with `report.html`,
/// `results.json`, `rounds.csv`, the certified records and every peer's trained model.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  fedswarm simulate
  fedswarm simulate --nodes 20 --rounds 20 --method fedmoe --dirichlet 0.5 --out runs/half
  fedswarm simulate simulations/scenarios/bundled.toml --transport quic
  fedswarm simulate --data DIR --partition FILE.json --rounds 20 --json
  fedswarm simulate simulations/scenarios/virtual_crashes.toml
  fedswarm simulate --transport virtual --no-training --nodes 1000 --rounds 20
  fedswarm simulate --soak --seeds 1..2000")]
pub(crate) struct Args {
    #[command(flatten)]
    scenario: ScenarioFlags,
    /// The method and its options, such as moe-ktl or fedmoe:mix=convex; see `fedswarm methods` [default: moe-ktl].
    #[arg(long, value_name = "M")]
    method: Option<String>,
    /// Fixes everything random [default: 1].
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// With --transport virtual: train nothing. Rounds are then about agreement only; up to 16384 peers, of which the first 64
    /// vote and the others contribute. Figures are printed, nothing is written.
    #[arg(long)]
    no_training: bool,
    /// Keep the nodes' state in the results' folder, and go on with a run of the same scenario that was stopped there.
    #[arg(long, conflicts_with = "no_training")]
    resume: bool,
    #[command(flatten)]
    soak: super::soak::Args,
}

pub(crate) fn run(args: &Args, json: bool, began: Instant) -> Result<(), Failure> {
    if args.soak.is_asked_for() {
        return super::soak::run(&args.soak, json);
    }
    let mut scenario = args.scenario.scenario(args.method.clone(), args.seed)?;
    if args.no_training {
        scenario.virtual_time.get_or_insert_default().training = false;
    }
    scenario.validate()?;
    if !scenario.trains() {
        return super::scale::run(&scenario, json);
    }
    let runtime = crate::runtime()?;
    let options = Options {
        command: scenario.command_line(),
        keep_models: true,
        keep_inputs: Some(swarm::MAX_INPUT_BYTES),
        resume: args.resume,
        stop: super::stop_on_interrupt(&runtime),
        began: Some(began),
    };
    let mut progress = progress::to_stderr();
    let results = runtime.block_on(swarm::run(&scenario, &options, progress.as_mut()))?;
    let out = scenario.out_dir();
    if json {
        let line = results.summary.to_json_line().map_err(|e| Failure::failed(e.to_string()))?;
        println!("{line}");
    } else {
        println!("{}", table::peers(&results));
        println!("\nreport: {}", out.join("report.html").display());
    }
    Ok(())
}
