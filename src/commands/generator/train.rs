//! `fedswarm generator train`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use fedswarm_learning::Error;
use fedswarm_learning::data::{BUNDLED, Dataset};
use fedswarm_learning::generator::native::Origin;
use fedswarm_learning::generator::train::{Exclusion, Progress, Recipe, Stage, Trainer, choose};
use fedswarm_learning::generator::{Generator, Native, Statistics, files};
use fedswarm_learning::partition::Partition;
use fedswarm_protocol::hash::Stream;
use fedswarm_simulations::scenario::Cap;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::failure::Failure;

/// Vectors drawn for the statistics at the end.
const SAMPLES: usize = 1000;

/// Trains a generator on images that are not the members' data: an autoencoder, whose decoder is the synthesis, then a
/// mapping from noise to its latent vectors. An interrupt leaves a checkpoint beside the output, from which --resume goes on;
/// the result is the same as without the interrupt.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  fedswarm generator train --data mnist --out digits.safetensors
  fedswarm generator train --data fashion-mnist --exclude bundled --out fashion.safetensors
  fedswarm generator train --data fashion-mnist --exclude partition.json --out mine.safetensors --resume")]
pub(crate) struct Args {
    /// A file or folder with images (IDX, CIFAR, folders of PNG/JPEG, .npz), or `bundled`.
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// The generator to write, as safetensors.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Leave out every image that any client of this partition file trains or tests on, and every copy of one; or, with
    /// `bundled`, every image that the program has inside. May be given more than once.
    #[arg(long, value_name = "PARTITION|bundled")]
    exclude: Vec<PathBuf>,
    /// Of the partitions that are left out, count only the first so many training and test images of each client: those that
    /// its members hold when they run with the same `--cap`.
    #[arg(long, value_name = "TRAIN/TEST", requires = "exclude")]
    cap: Option<Cap>,
    /// Passes over the images.
    #[arg(long, value_name = "E", default_value_t = Recipe::default().epochs)]
    epochs: u64,
    /// Passes over their latent vectors, to fit the mapping.
    #[arg(long, value_name = "E", default_value_t = Recipe::default().mapping_epochs)]
    mapping_epochs: u64,
    /// Length of a latent vector, an even number.
    #[arg(long, value_name = "H", default_value_t = Recipe::default().latent)]
    latent: usize,
    /// Variance of a pixel (-1 to 1) given its latent vector. Smaller gives sharper images, but latent vectors that the mapping
    /// can imitate less well.
    #[arg(long, value_name = "V", default_value_t = Recipe::default().pixel_variance)]
    pixel_variance: f32,
    /// Fixes first weights, order and noise.
    #[arg(long, value_name = "S", default_value_t = Recipe::default().seed)]
    seed: u64,
    /// Go on from the checkpoint that a stopped run of the same command left.
    #[arg(long)]
    resume: bool,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<(), Failure> {
    let began = Instant::now();
    let checkpoint = args.checkpoint();
    if !args.resume && checkpoint.exists() {
        let path = checkpoint.display();
        return Err(Failure::input(format!("{path}: a stopped run left it; add --resume to go on, or remove it")));
    }
    let (dataset, rows) = args.images()?;
    let origin = Origin {
        data: dataset.name.clone(),
        images: rows.len(),
        excluded: dataset.len() - rows.len(),
        command: args.spelling(),
    };
    let recipe = Recipe {
        latent: args.latent,
        epochs: args.epochs,
        mapping_epochs: args.mapping_epochs,
        pixel_variance: args.pixel_variance,
        seed: args.seed,
        ..Recipe::default()
    };
    let mut trainer = Trainer::new(recipe, dataset, rows, origin.clone())?;
    if args.resume {
        trainer.restore(&files::read_checkpoint(&checkpoint)?)?;
    }
    // Before hours of work: is there a place for its result?
    files::write_whole(&checkpoint, &trainer.checkpoint()?)?;
    let runtime = crate::runtime()?;
    let stop = super::super::stop_on_interrupt(&runtime);
    fit(&mut trainer, &checkpoint, &stop)?;
    let generator = trainer.generator()?;
    generator.save(&args.out)?;
    std::fs::remove_file(&checkpoint).map_err(|e| Failure::failed(format!("{}: {e}", checkpoint.display())))?;
    tell(args, &generator, &origin, began.elapsed(), json)
}

/// Trains to the end, with a checkpoint after every epoch and at an interrupt.
fn fit(trainer: &mut Trainer, checkpoint: &Path, stop: &AtomicBool) -> Result<(), Failure> {
    let bar = ProgressBar::new(0);
    bar.set_style(
        ProgressStyle::with_template("{msg:36} {bar:28} {pos}/{len}").unwrap_or(ProgressStyle::default_bar()),
    );
    while trainer.stage() != Stage::Done {
        let began = Instant::now();
        let mut last = None;
        let epoch = trainer.epoch() + 1;
        let ended = trainer.advance(stop, &mut |progress| {
            bar.set_length(progress.steps);
            bar.set_position(progress.step);
            bar.set_message(line(epoch, progress));
            last = Some(*progress);
        });
        files::write_whole(checkpoint, &trainer.checkpoint()?)?;
        match ended {
            Ok(()) => {}
            Err(Error::Cancelled) => {
                bar.finish_and_clear();
                let path = checkpoint.display();
                let text = format!("stopped; {path} has all that was done: run it again with --resume to go on");
                return Err(Failure::failed(text).with_json(json!({ "stopped": true, "checkpoint": checkpoint })));
            }
            Err(error) => return Err(error.into()),
        }
        if let (true, Some(progress)) = (bar.is_hidden(), last) {
            eprintln!("{}, {:.1} s", line(epoch, &progress), began.elapsed().as_secs_f64());
        }
    }
    bar.finish_and_clear();
    Ok(())
}

fn line(epoch: u64, progress: &Progress) -> String {
    let stage = if progress.stage == Stage::Autoencoder { "autoencoder" } else { "mapping" };
    format!("{stage}, epoch {epoch}: loss {:.1}", progress.loss)
}

fn tell(args: &Args, generator: &Native, origin: &Origin, time: Duration, json: bool) -> Result<(), Failure> {
    let mut stream = Stream::new("generator inspect", &[&args.seed.to_le_bytes(), b"statistics"]);
    let statistics = Statistics::of(generator, SAMPLES, &mut stream)?;
    let bytes = std::fs::metadata(&args.out).map_or(0, |m| m.len());
    let seconds = time.as_secs_f64();
    if json {
        println!(
            "{}",
            json!({
                "out": args.out, "id": generator.id().to_string(), "bytes": bytes, "parameters": generator.card().parameters(),
                "images": origin.images, "excluded": origin.excluded, "statistics": statistics, "seconds": seconds,
            })
        );
    } else {
        println!(
            "{}: {} parameters, {bytes} bytes, id {}",
            args.out.display(),
            generator.card().parameters(),
            generator.id()
        );
        println!("trained on {} images, {} left out, {seconds:.0} s", origin.images, origin.excluded);
        println!("look at it: fedswarm generator inspect {} --out DIR", args.out.display());
    }
    Ok(())
}

impl Args {
    /// Where an interrupt leaves the state of training.
    fn checkpoint(&self) -> PathBuf {
        let mut path = self.out.clone().into_os_string();
        path.push(".checkpoint");
        path.into()
    }

    /// The data set and the images of it that may be seen.
    fn images(&self) -> Result<(Arc<Dataset>, Vec<u32>), Failure> {
        let bad = |e: fedswarm_learning::data::DataError| Failure::input(e.to_string());
        let bundled = self.exclude.iter().any(|e| e.as_os_str() == BUNDLED);
        let bundled = if bundled { Some(Dataset::bundled().map_err(bad)?) } else { None };
        let dataset = Dataset::open(&self.data).map_err(bad)?;
        let partitions = self
            .exclude
            .iter()
            .filter(|e| e.as_os_str() != BUNDLED)
            .map(|path| {
                let partition = Partition::load(path, &dataset).map_err(|e| Failure::input(e.to_string()))?;
                Ok(match self.cap {
                    Some(Cap::At { train, test }) => partition.cap(train, test),
                    Some(Cap::Unlimited) | None => partition,
                })
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        let mut exclusions: Vec<_> = partitions.iter().map(Exclusion::Partition).collect();
        exclusions.extend(bundled.as_ref().map(Exclusion::Dataset));
        let rows = choose(&dataset, &exclusions);
        Ok((Arc::new(dataset), rows))
    }

    /// The command that makes this generator again. Of paths, only the last part: the file will go to others.
    fn spelling(&self) -> String {
        let name = |path: &Path| path.file_name().unwrap_or(path.as_os_str()).display().to_string();
        let mut text = format!("fedswarm generator train --data {} --out {}", name(&self.data), name(&self.out));
        for path in &self.exclude {
            text.push_str(&format!(" --exclude {}", name(path)));
        }
        if let Some(cap) = self.cap {
            text.push_str(&format!(" --cap {cap}"));
        }
        let Self { epochs, mapping_epochs, latent, pixel_variance, seed, .. } = self;
        text.push_str(&format!(" --epochs {epochs} --mapping-epochs {mapping_epochs} --latent {latent}"));
        text.push_str(&format!(" --pixel-variance {pixel_variance} --seed {seed}"));
        text
    }
}
