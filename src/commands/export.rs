//! `fedswarm export`.

use std::path::PathBuf;

use fedswarm_learning::export;
use fedswarm_node::run_config::RunConfig;

use crate::failure::Failure;

/// Writes a node's trained model, as of its last measured round, as safetensors. The file says what it is: method, architecture,
/// image shape and class names are in its metadata.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  fedswarm export --config node.toml --out model.safetensors
Peers of a simulation have their models in the folder `models` of its results already.")]
pub(crate) struct Args {
    /// The node's configuration file.
    #[arg(long, value_name = "FILE", default_value = "node.toml")]
    config: PathBuf,
    /// Where to write the model.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<(), Failure> {
    let config = RunConfig::load(&args.config)?;
    let source = config.folder.join(super::run::MODEL_FILE);
    if !source.exists() {
        return Err(Failure::input(format!(
            "{}: no model yet; it is written once the node has begun",
            source.display()
        )));
    }
    // Read and written anew rather than copied, so that a damaged file does not pass.
    let (card, tensors) = export::load(&source)?;
    export::save(&args.out, &card, &tensors)?;
    let parameters: usize = tensors.iter().map(|t| t.values.len()).sum();
    if json {
        println!(
            "{}",
            serde_json::json!({ "out": args.out, "method": card.method, "architecture": card.architecture, "parameters": parameters })
        );
    } else {
        println!("{}: {} with {}, {parameters} parameters", args.out.display(), card.method, card.architecture);
    }
    Ok(())
}
