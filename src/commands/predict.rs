//! `fedswarm predict`.

use std::path::PathBuf;

use fedswarm_learning::data::load_images;
use fedswarm_learning::device::DeviceKind;
use fedswarm_learning::export;

use crate::failure::Failure;

/// Labels images with an exported model.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  fedswarm predict --model runs/moe-ktl-seed1/models/peer-0.safetensors shoe.png bag.jpg")]
pub(crate) struct Args {
    /// The model file.
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Images, PNG or JPEG, of the size that the model was trained on.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// What computes.
    #[arg(long, default_value_t = DeviceKind::Flex)]
    device: DeviceKind,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<(), Failure> {
    let (card, mut member) = export::open(&args.model, args.device)?;
    let pixels = load_images(&args.images, card.task().input).map_err(|e| Failure::input(e.to_string()))?;
    let mut rows = Vec::new();
    for (path, probabilities) in args.images.iter().zip(member.predict(&pixels)?) {
        let best = probabilities.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        let Some((class, probability)) = best else { continue };
        let name = card.classes.get(class).cloned().unwrap_or_else(|| class.to_string());
        if json {
            rows.push(serde_json::json!({ "image": path, "class": class, "name": name, "probability": probability }));
        } else {
            println!("{}  {name}  {:.1} %", path.display(), 100.0 * probability);
        }
    }
    if json {
        println!("{}", serde_json::json!({ "predictions": rows }));
    }
    Ok(())
}
