//! `fedswarm generator inspect`.

use std::path::PathBuf;

use fedswarm_learning::generator::native::Origin;
use fedswarm_learning::generator::{self, Generator, Statistics};
use fedswarm_protocol::hash::Stream;
use serde_json::json;

use crate::failure::Failure;

/// Rows and columns of the grid of samples.
const SIDE: usize = 10;

/// How many times larger a pixel is in the grid.
const ZOOM: usize = 2;

/// Name of the grid in the folder.
const GRID: &str = "grid.png";

/// Draws samples of a generator and prints what its latent vectors are like.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  fedswarm generator inspect digits --out grids
  fedswarm generator inspect mine.safetensors --samples 5000 --json
  fedswarm generator inspect synthesis.onnx --mapping mapping.onnx")]
pub(crate) struct Args {
    /// A generator: `digits` or `fashion` (bundled), a .safetensors file of `generator train`, an .onnx graph that takes `w`, or
    /// an .npz file of dense layers.
    #[arg(value_name = "FILE|NAME")]
    generator: PathBuf,
    /// For ONNX: the graph that makes `w` of noise; without it, noise is `w`.
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// Write a picture with 100 samples, grid.png, to this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Vectors to draw for the statistics.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    samples: u32,
    /// Fixes what is drawn.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<(), Failure> {
    let opened = generator::open(&args.generator, args.mapping.as_deref())?;
    let generator: &dyn Generator = &opened;
    let draw = |what: &str| Stream::new("generator inspect", &[&args.seed.to_le_bytes(), what.as_bytes()]);
    let statistics = Statistics::of(generator, args.samples as usize, &mut draw("statistics"))?;
    let grid = match &args.out {
        Some(folder) => {
            let images = generator.synthesise(&generator.sample(SIDE * SIDE, &mut draw("grid"))?)?;
            std::fs::create_dir_all(folder).map_err(|e| Failure::input(format!("{}: {e}", folder.display())))?;
            let path = folder.join(GRID);
            generator::save_grid(&path, &images, generator.image(), SIDE, ZOOM)?;
            Some(path)
        }
        None => None,
    };
    let shape = generator.image();
    if json {
        println!(
            "{}",
            json!({
                "generator": args.generator, "id": generator.id().to_string(), "latent": generator.latent(),
                "image": [shape.channels, shape.height, shape.width], "card": opened.card(),
                "statistics": statistics, "grid": grid,
            })
        );
        return Ok(());
    }
    println!("generator         {} ({})", args.generator.display(), generator.id());
    println!("image             {shape}");
    println!("latent            {} numbers", generator.latent());
    if let Some(card) = opened.card() {
        println!("weights           {}", card.parameters());
        let Origin { data, images, excluded, command } = &card.origin;
        println!("trained on        {data}: {images} images, {excluded} left out");
        println!("made by           {command}");
    }
    print(&statistics);
    if let Some(path) = grid {
        println!("grid              {}", path.display());
    }
    Ok(())
}

fn print(statistics: &Statistics) {
    let Statistics { samples, mean, variance: [least, middle, most], squared_distance, kernel, pixels, variety } =
        statistics;
    println!("samples           {samples}");
    println!("latent mean       {mean:.3} (root mean square over coordinates)");
    println!("latent variance   {middle:.3} (coordinates from {least:.3} to {most:.3})");
    println!("squared distance  {squared_distance:.1} between two vectors, on average");
    println!("FedKTL's kernel   {kernel:.3} between two vectors, on average (0: all far apart, 4: all equal)");
    println!("pixels            {:.3} to {:.3}", pixels[0], pixels[1]);
    println!("variety           {variety:.3} (mean squared difference of two images, per pixel)");
}
